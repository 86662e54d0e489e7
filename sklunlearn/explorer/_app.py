"""The page: its layout, and which part of it does what."""

import os
import tempfile
from pathlib import Path

# Before the import: Gradio reports its own import otherwise.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import gradio as gr

from sklunlearn.explorer import _pictures
from sklunlearn.explorer._handlers import (
    EXPECTED,
    Page,
    chosen_views,
    save_model_file,
    save_report,
    status,
    watch_run,
)
from sklunlearn.explorer._knobs import knobs_of
from sklunlearn.explorer._queue import RunStopped
from sklunlearn.explorer._sessions import COMPOSITIONS, MAX_RUNS, Lab, Session
from sklunlearn.explorer._sources import BUNDLED
from sklunlearn.explorer._uploads import LIMITS

__all__ = ["build", "launch"]

_N_KNOBS = 26
_N_IN_FRONT = 3
_HOURS = 3600
_CLASS, _QUERY, _ROWS = "class", "metadata query", "picked rows"
_STYLE = (Path(__file__).parent / "_style.css").read_text(encoding="utf-8")
_INTRO = (
    "# See forgetting happen\nA network learns all rows. Choose some of them, have a method "
    "unlearn them, and compare with a network that was retrained without them. Equal figures do "
    "not show that nothing of the rows is left in the weights."
)
_UPLOAD = (
    f"A .csv with a column `label` (columns `meta_...` can be asked by), an .npz with `X` and `y`, "
    f"or a .zip of images in a folder for each class or with `metadata.csv` (`file,label,...`). At "
    f"most {LIMITS['bytes'] // 10**6} MB, {LIMITS['rows']} rows, {LIMITS['features']} features, "
    f"{LIMITS['side']} pixels on a side. It stays in the memory of this page's session."
)


def build(lab=None):
    """The page as a :class:`gradio.Blocks`, not launched.

    Parameters
    ----------
    lab : Lab or None, default=None
        What its sessions share. None: a new one.

    Returns
    -------
    blocks : gradio.Blocks
    """
    return _Builder(lab or Lab()).blocks


def launch(*, host="127.0.0.1", port=7860, block=True):
    """Serve the page.

    Parameters
    ----------
    host : str, default="127.0.0.1"
        Address to listen at.
    port : int, default=7860
        Port to listen at; 0: any that is free.
    block : bool, default=True
        Whether to return only when the server ends.

    Returns
    -------
    blocks : gradio.Blocks
    """
    blocks = build()
    if block:
        print(f"The explorer is at http://{host}:{port}; press Ctrl-C to end it.", flush=True)
    blocks.queue(default_concurrency_limit=64, max_size=200)
    blocks.launch(
        server_name=host,
        server_port=port or None,
        share=False,
        prevent_thread_lock=not block,
        max_file_size=LIMITS["bytes"],
        state_session_capacity=200,
        footer_links=[],
        ssr_mode=False,
        quiet=True,
        theme=gr.themes.Default(
            primary_hue="blue",
            neutral_hue="slate",
            font=["system-ui", "sans-serif"],
            font_mono=["ui-monospace", "monospace"],
        ),
        css=_STYLE,
        js="() => document.body.classList.remove('dark')",  # pictures have a light ground
    )
    return blocks


class _Builder:
    """Lays out the page, then says what each part does."""

    def __init__(self, lab):
        self.lab = lab
        self.blocks = gr.Blocks(
            title="sklunlearn explorer", analytics_enabled=False, delete_cache=(600, _HOURS)
        )
        with self.blocks:
            self.page = gr.State(
                None, time_to_live=2 * _HOURS, delete_callback=lambda page: page and page.close()
            )
            gr.Markdown(_INTRO)
            with gr.Row():
                with gr.Column(scale=2, min_width=300):
                    self._lay_out_choices()
                with gr.Column(scale=3, min_width=300):
                    self._lay_out_results()
            self._connect()

    def _lay_out_choices(self):
        names = [(title, name) for name, (title, _) in BUNDLED.items()]
        self.data = gr.Dropdown(names, value="digits", label="Data")
        with gr.Accordion("Data of your own", open=False):
            gr.Markdown(_UPLOAD)
            self.upload = gr.File(label="File", file_types=[".csv", ".npz", ".zip"])
        self.how = gr.Radio([_CLASS, _QUERY, _ROWS], value=_CLASS, label="What to forget")
        self.label = gr.Dropdown(label="Class", interactive=True)
        self.query = gr.Textbox(
            label="Query", placeholder="device == 'scanner_0' and year < 2012", visible=False
        )
        with gr.Column(visible=False) as self.picking:
            gr.Markdown("Click rows to mark them, click again to put them back.")
            self.sheet = gr.Image(
                label="Rows to pick from",
                show_label=False,
                interactive=False,
                format="png",
                buttons=[],
                elem_id="sheet",
            )
            self.rows = gr.Textbox(label="Rows", info="Numbers and ranges, such as 3, 17, 20-40.")
        self.method = gr.Dropdown(label="Method", interactive=True, elem_id="method")
        # Which method the boxes are for: who is quick sends the boxes of the method before.
        self.boxes_of = gr.Textbox(visible="hidden")
        self.knobs = [self.boxes_of]
        for i in range(_N_IN_FRONT):
            self.knobs.append(gr.Textbox(visible=False, interactive=True, elem_id=f"knob{i}"))
        with gr.Accordion("More parameters", open=False):
            for i in range(_N_IN_FRONT, _N_KNOBS):
                self.knobs.append(gr.Textbox(visible=False, interactive=True, elem_id=f"knob{i}"))
        with gr.Row():
            self.unlearn = gr.Button("Unlearn", variant="primary", elem_id="unlearn")
            self.stop = gr.Button("Stop", elem_id="stop")

    def _lay_out_results(self):
        self.status = gr.HTML(status("Loading ..."), elem_id="status")
        self.progress = gr.HTML(elem_id="progress")
        self.figures = gr.HTML(elem_id="figures")
        self.picture = gr.HTML(elem_id="picture")
        self.epoch = gr.Slider(1, 2, 1, step=1, label="Epoch", visible=False, elem_id="epoch")
        with gr.Tabs():
            with gr.Tab("Trade-off"):
                self.front = gr.HTML(elem_id="front")
                self.run = gr.Dropdown(
                    label=f"Go back to a run (the last {MAX_RUNS} are kept)", interactive=True
                )
            with gr.Tab("Compose"):
                gr.Markdown("One network of two runs that forgot the same rows.")
                with gr.Row():
                    self.first = gr.Dropdown(label="First run", interactive=True)
                    self.second = gr.Dropdown(label="Second run", interactive=True)
                    self.composition = gr.Dropdown(
                        list(COMPOSITIONS), value=COMPOSITIONS[0], label="How"
                    )
                self.compose = gr.Button("Compose")
            with gr.Tab("Code"):
                self.code = gr.Code(language="python", label="Python", elem_id="code")
            with gr.Tab("Save"):
                gr.Markdown("Make the files of the chosen run, then download them.")
                self.save = gr.Button("Make files")
                self.report = gr.DownloadButton("Report (HTML)", visible=False)
                self.model = gr.DownloadButton("Released model", visible=False)

    def _connect(self):
        private = {"api_visibility": "private", "show_progress": "hidden"}
        request = [self.how, self.label, self.query, self.rows]
        self.views = [self.figures, self.picture, self.front, self.code, self.epoch]
        lists = [self.run, self.first, self.second]
        choices = [self.label, self.method, self.sheet, self.rows]
        result = [self.status, self.progress, *self.views, *lists]

        opened = self.blocks.load(
            self._open, None, [self.page, self.status, *choices, *self.knobs], **private
        )
        opened.then(self._clear, None, [self.progress, *self.views, *lists], **private)
        for part, event in ((self.data, self.data.input), (self.upload, self.upload.upload)):
            event(
                self._take_data if part is self.data else self._take_file,
                [self.page, part],
                [self.status, *choices, *self.knobs, self.how],
                **private,
            ).then(self._clear, None, [self.progress, *self.views, *lists], **private)
        self.how.change(
            self._show_how,
            [self.page, self.how],
            [self.label, self.query, self.picking, self.sheet],
            **private,
        )
        asked = [self.status, self.method, *self.knobs]
        for event in (self.label.input, self.how.input, self.query.submit, self.rows.submit):
            event(self._ask, [self.page, self.method, *request], asked, **private)
        self.label.input(self._show_sheet, [self.page, self.label, self.how], self.sheet, **private)
        self.sheet.select(self._pick, self.page, [self.sheet, self.rows], **private).then(
            self._ask, [self.page, self.method, *request], asked, **private
        )
        self.method.input(self._show_knobs, [self.page, self.method], self.knobs, **private)
        self.unlearn.click(
            self._unlearn, [self.page, self.method, *request, *self.knobs], result, **private
        )
        self.compose.click(
            self._compose, [self.page, self.first, self.second, self.composition], result, **private
        )
        # Not queued: a stop must not wait for what it stops.
        self.stop.click(
            lambda page: page and page.session.stop(), self.page, None, queue=False, **private
        )
        self.run.input(self._choose, [self.page, self.run], self.views, **private)
        self.epoch.input(self._show_epoch, [self.page, self.epoch], self.picture, **private)
        self.save.click(self._save, self.page, [self.status, self.report, self.model], **private)

    def _open(self):
        page = Page(Session(self.lab))
        return [page, status("Ready."), *_choices(page), *_knobs(page, None)]

    def _clear(self):
        lists = [gr.update(choices=[], value=None)] * 3
        return ["", "", "", "", "", gr.update(visible=False), *lists]

    def _take_data(self, page, name):
        page.take_data(name)
        words = f"{len(page.session.source.y)} rows to learn from."
        return [status(words), *_choices(page), *_knobs(page, None), _CLASS]

    def _take_file(self, page, path):
        try:
            page.take_data(None, path)
        except EXPECTED as error:
            n_others = 4 + 1 + _N_KNOBS + 1
            return [status(str(error), error=True), *[gr.skip()] * n_others]
        finally:
            Path(path).unlink(missing_ok=True)  # it is in memory now
        words = f"{Path(path).name}: {len(page.session.source.y)} rows to learn from."
        return [status(words), *_choices(page), *_knobs(page, None), _CLASS]

    def _show_how(self, page, how):
        sheet = _sheet(page) if how == _ROWS else gr.skip()
        by_picture = how == _ROWS and page.session.source.kind == "images"
        return [
            gr.update(visible=how == _CLASS or by_picture),
            gr.update(visible=how == _QUERY),
            gr.update(visible=how == _ROWS),
            sheet,
        ]

    def _show_sheet(self, page, label, how):
        page.label = label
        return _sheet(page) if how == _ROWS else gr.skip()

    def _ask(self, page, method, how, label, query, rows):
        if (how == _QUERY and not query.strip()) or (how == _ROWS and not rows.strip()):
            return [gr.skip()] * (3 + _N_KNOBS)
        try:
            text = page.ask(how, label, query, rows)
        except EXPECTED as error:
            return [status(str(error), error=True), *[gr.skip()] * (2 + _N_KNOBS)]
        if method in page.session.methods:
            names = [name.removesuffix("Unlearner") for name in page.session.methods]
            pairs = list(zip(names, page.session.methods, strict=True))
            return [status(text), gr.update(choices=pairs), *[gr.skip()] * (1 + _N_KNOBS)]
        return [status(text), _methods(page), *_knobs(page, None)]

    def _pick(self, page, event: gr.SelectData):
        rows = page.toggle(*event.index)
        return [_sheet(page), rows]

    def _show_knobs(self, page, method):
        return _knobs(page, method)

    async def _unlearn(self, page, method, how, label, query, rows, boxes_of, *texts):
        def begin():
            page.ask(how, label, query, rows)
            known = page.session.methods.get(method)
            fresh = known is not None and method == boxes_of
            names = [knob.name for knob in knobs_of(known)] if fresh else []
            # There may be more knobs than boxes, or fewer.
            return page.session.start(method, dict(zip(names, texts, strict=False)))

        async for update in self._follow(page, begin):
            yield update

    async def _compose(self, page, first, second, how):
        def begin():
            return page.session.compose(first, second, how)

        async for update in self._follow(page, begin):
            yield update

    async def _follow(self, page, begin):
        keep = [gr.skip()] * (len(self.views) + 3)
        n_drawn = 0
        try:
            async for text, history, run in watch_run(page, begin):
                # Not every epoch: a picture takes as long as a few of them.
                draw = history and (run is not None or len(history) >= n_drawn + 2)
                n_drawn = len(history) if draw else n_drawn
                progress = _progress(history) if draw else gr.skip()
                shown = keep if run is None else [*_views(page), *_lists(page)]
                yield [status(text), progress, *shown]
        except RunStopped as error:
            yield [status(str(error)), gr.skip(), *keep]
        except EXPECTED as error:
            yield [status(str(error), error=True), gr.skip(), *keep]

    def _choose(self, page, number):
        page.chosen = page.session.find(number)
        return _views(page)

    def _show_epoch(self, page, epoch):
        return gr.skip() if page.chosen is None else chosen_views(page, epoch)["picture"]

    def _save(self, page):
        hidden = [gr.update(visible=False)] * 2
        if page.chosen is None:
            return [status("Unlearn first: there is no run to save.", error=True), *hidden]
        folder = tempfile.mkdtemp(prefix="sklunlearn-", dir=_cache(self.blocks))
        try:
            paths = save_report(page.chosen, folder), save_model_file(page.chosen, folder)
        except (*EXPECTED, ImportError) as error:
            return [status(str(error), error=True), *hidden]
        updates = [gr.update(value=path, visible=True) for path in paths]
        return [status(f"Run {page.chosen.label} is ready to download."), *updates]


def _cache(blocks):
    """Gradio's folder of files to hand out, which it clears when they are old."""
    folder = Path(blocks.GRADIO_CACHE)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _choices(page):
    labels = [str(label) for label in page.session.source.classes]
    asked = page.session.request.title.removeprefix("class ")
    page.label = asked
    return [gr.update(choices=labels, value=asked), _methods(page), None, ""]


def _methods(page):
    names = list(page.session.methods)
    pairs = [(name.removesuffix("Unlearner"), name) for name in names]
    first = "BoundaryUnlearner" if "BoundaryUnlearner" in names else names[0]
    return gr.update(choices=pairs, value=first)


def _knobs(page, method):
    methods = page.session.methods
    method = methods.get(method) or methods.get("BoundaryUnlearner") or next(iter(methods.values()))
    knobs = knobs_of(method)[:_N_KNOBS]
    updates = [
        gr.update(label=k.name, info=k.sentence, value=_written(k.default), visible=True)
        for k in knobs
    ]
    unused = [gr.update(visible=False, value="")] * (_N_KNOBS - len(knobs))
    return [method.__name__, *updates, *unused]


def _written(default):
    return default if isinstance(default, str) else repr(default)


def _sheet(page):
    return _pictures.draw_choice(page.session.source, page.label, page.picked)


def _progress(history):
    figure = _pictures.draw_progress(history)
    return _pictures.to_html(figure, "Forget and retain accuracy after each epoch")


def _views(page):
    views = chosen_views(page)
    n_epochs = views.pop("epochs")
    slider = gr.update(maximum=max(2, n_epochs), value=n_epochs, visible=n_epochs > 1)
    return [*views.values(), slider]


def _lists(page):
    runs = page.session.runs
    pairs = [(run.label, run.number) for run in runs]
    members = [(run.label, run.number) for run in runs if not run.members]
    numbers = [number for _, number in members]
    last = page.chosen.number if page.chosen in runs else None
    return [
        gr.update(choices=pairs, value=last),
        gr.update(choices=members, value=numbers[-2] if len(numbers) > 1 else None),
        gr.update(choices=members, value=numbers[-1] if numbers else None),
    ]
