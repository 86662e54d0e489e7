"""Which part of the page does what."""

import asyncio
import contextlib
import tempfile
from pathlib import Path

import gradio as gr

from sklunlearn.explorer._files import save_model_file, save_report
from sklunlearn.explorer._knobs import knobs_of
from sklunlearn.explorer._layout import N_KNOBS
from sklunlearn.explorer._page import EXPECTED, Page
from sklunlearn.explorer._queue import RunStopped
from sklunlearn.explorer._requests import CLASS, QUERY, ROWS
from sklunlearn.explorer._sessions import Session
from sklunlearn.explorer._updates import (
    boxes_of,
    choices_of,
    draw_sheet,
    lists_of,
    methods_of,
    views_of,
)
from sklunlearn.explorer._views import chosen_views, live_views, status
from sklunlearn.explorer._watching import watch_run

__all__ = ["Events"]

_ENDED = "The session of this page has ended, with its runs and data: load the page again."


class Events:
    """Connects the parts of a page to what they do.

    Parameters
    ----------
    blocks : gradio.Blocks
        The page.
    page : gradio.State
        Holds the Page of a session.
    parts : Parts
        What is on it.
    lab : Lab
        What sessions share.
    """

    def __init__(self, blocks, page, parts, lab):
        self.blocks, self.page, self.parts, self.lab = blocks, page, parts, lab
        self.views = [parts.figures, parts.picture, parts.front, parts.code, parts.epoch]

    def connect(self):
        """Say what happens by each event."""
        parts = self.parts
        private = {"api_visibility": "private", "show_progress": "hidden"}
        request = [parts.how, parts.label, parts.query, parts.rows]
        lists = [parts.run, parts.first, parts.second]
        choices = [parts.label, parts.method, parts.sheet, parts.rows]
        result = [parts.status, parts.progress, *self.views, *lists]

        opened = self.blocks.load(
            self._open, None, [self.page, parts.status, *choices, *parts.knobs], **private
        )
        shown = [parts.progress, *self.views, *lists]
        opened.then(self._clear, self.page, shown, **private)
        for event, take, part in (
            (parts.data.input, self._take_data, parts.data),
            (parts.upload.upload, self._take_file, parts.upload),
        ):
            event(
                take,
                [self.page, part, parts.how],
                [parts.status, *choices, *parts.knobs, parts.how],
                **private,
            ).then(self._clear, self.page, shown, **private).then(
                # For who chose to pick rows while the data were on their way.
                self._show_sheet,
                [self.page, parts.label, parts.how],
                parts.sheet,
                **private,
            )
        parts.how.change(
            self._show_how,
            [self.page, parts.how],
            [parts.label, parts.query, parts.picking, parts.sheet],
            **private,
        )
        asked = [parts.status, parts.method, *parts.knobs]
        for event in (parts.label.input, parts.how.input, parts.query.submit, parts.rows.submit):
            event(self._ask, [self.page, parts.method, *request], asked, **private).then(
                self._clear, self.page, shown, **private
            )
        parts.label.input(
            self._show_sheet, [self.page, parts.label, parts.how], parts.sheet, **private
        )
        parts.sheet.select(self._pick, self.page, [parts.sheet, parts.rows], **private).then(
            self._ask, [self.page, parts.method, *request], asked, **private
        ).then(self._clear, self.page, shown, **private)
        parts.method.input(self._show_knobs, [self.page, parts.method], parts.knobs, **private)
        parts.unlearn.click(
            self._unlearn, [self.page, parts.method, *request, *parts.knobs], result, **private
        )
        parts.compose.click(
            self._compose,
            [self.page, parts.first, parts.second, parts.composition],
            result,
            **private,
        )
        # Not queued: a stop must not wait for what it stops.
        parts.stop.click(
            lambda page: page and page.session.stop(), self.page, None, queue=False, **private
        )
        parts.run.input(self._choose, [self.page, parts.run], self.views, **private)
        parts.front.select(self._click, self.page, [*self.views, parts.run], **private)
        parts.epoch.input(self._show_epoch, [self.page, parts.epoch], parts.picture, **private)
        parts.save.click(
            self._save, self.page, [parts.status, parts.report, parts.model], **private
        )

    def _open(self):
        page = Page(Session(self.lab))
        return [page, status("Ready."), *choices_of(page), *boxes_of(page, None)]

    def _clear(self, page):
        _check(page)
        if page.chosen is not None:  # the data and the request are those of before
            return [gr.skip()] * (1 + len(self.views) + 3)
        lists = [gr.update(choices=[], value=None)] * 3
        hidden = gr.update(visible=False)
        return ["", "", "", gr.update(value=None, visible=False), "", hidden, *lists]

    def _take_data(self, page, name, how):
        _check(page)
        page.take_data(name)
        words = f"{len(page.session.source.y)} rows to learn from."
        return self._show_data(page, words, how)

    def _take_file(self, page, path, how):
        _check(page)
        try:
            page.take_data(None, path)
        except EXPECTED as error:
            n_others = 4 + 1 + N_KNOBS + 1
            return [status(str(error), error=True), *[gr.skip()] * n_others]
        finally:
            Path(path).unlink(missing_ok=True)  # it is in memory now
        words = f"{Path(path).name}: {len(page.session.source.y)} rows to learn from."
        return self._show_data(page, words, how)

    def _show_data(self, page, words, how):
        # Written only if it changes: else it would undo what a quick user chooses meanwhile.
        how = gr.skip() if how == CLASS else CLASS
        return [status(words), *choices_of(page), *boxes_of(page, None), how]

    def _show_how(self, page, how):
        _check(page)
        sheet = draw_sheet(page) if how == ROWS else gr.skip()
        by_picture = how == ROWS and page.session.source.kind == "images"
        return [
            gr.update(visible=how == CLASS or by_picture),
            gr.update(visible=how == QUERY),
            gr.update(visible=how == ROWS),
            sheet,
        ]

    def _show_sheet(self, page, label, how):
        _check(page)
        page.label = label
        return draw_sheet(page) if how == ROWS else gr.skip()

    def _ask(self, page, method, how, label, query, rows):
        _check(page)
        if (how == QUERY and not query.strip()) or (how == ROWS and not rows.strip()):
            return [gr.skip()] * (3 + N_KNOBS)
        try:
            text = page.ask(how, label, query, rows)
        except EXPECTED as error:
            return [status(str(error), error=True), *[gr.skip()] * (2 + N_KNOBS)]
        if method in page.session.methods:
            return [status(text), methods_of(page, keep=True), *[gr.skip()] * (1 + N_KNOBS)]
        return [status(text), methods_of(page), *boxes_of(page, None)]

    def _pick(self, page, event: gr.SelectData):
        _check(page)
        rows = page.toggle(*event.index)
        return [draw_sheet(page), rows]

    def _show_knobs(self, page, method):
        _check(page)
        return boxes_of(page, method)

    async def _unlearn(self, page, method, how, label, query, rows, boxes_of, *texts):
        def begin():
            page.ask(how, label, query, rows)
            known = page.session.methods.get(method)
            fresh = known is not None and method == boxes_of
            names = [knob.name for knob in knobs_of(known)] if fresh else []
            # There are more boxes than knobs of most methods.
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
        if page is None:
            yield [status(_ENDED, error=True), gr.skip(), *keep]
            return
        try:
            # Closed with this one when the page is left in mid-run, which ends the run.
            async with contextlib.aclosing(watch_run(page, begin)) as steps:
                async for step in steps:
                    if step.run is not None:
                        # In a thread, as all that takes long: the loop serves all pages.
                        shown = await asyncio.to_thread(views_of, page)
                        keep = [*shown, *lists_of(page)]
                        progress = await asyncio.to_thread(live_views, step.run)
                        yield [status(step.text), progress[0], *keep]
                        keep = [gr.skip()] * len(keep)
                    elif step.live is not None:
                        progress, picture = await asyncio.to_thread(
                            live_views, step.live, step.epoch
                        )
                        picture = gr.skip() if picture is None else picture
                        others = [gr.skip()] * (len(keep) - 2)
                        yield [status(step.text), progress, gr.skip(), picture, *others]
                    else:
                        yield [status(step.text), gr.skip(), *keep]
        except RunStopped as error:
            yield await self._failed(page, str(error), error=False)
        except EXPECTED as error:
            yield await self._failed(page, str(error))
        except Exception as error:  # the page is to say it, whatever it is
            text = f"The run failed, {type(error).__name__}: {error}. The model is as it was."
            yield await self._failed(page, text)

    async def _failed(self, page, text, error=True):
        """What was shown before the run."""
        shown = await asyncio.to_thread(views_of, page)
        return [status(text, error=error), gr.skip(), *shown, *[gr.skip()] * 3]

    def _choose(self, page, number):
        _check(page)
        try:
            page.chosen = page.session.find(number)
        except ValueError as error:
            raise gr.Error(str(error)) from error
        return views_of(page)

    def _click(self, page, event: gr.SelectData):
        _check(page)
        run = page.click_front(*event.index)
        if run is None:
            return [gr.skip()] * (len(self.views) + 1)
        return [*views_of(page), run.number]

    def _show_epoch(self, page, epoch):
        _check(page)
        return gr.skip() if page.chosen is None else chosen_views(page, epoch)["picture"]

    def _save(self, page):
        _check(page)
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


def _check(page):
    if page is None:
        raise gr.Error(_ENDED)


def _cache(blocks):
    """Gradio's folder of files to hand out, which it clears when they are old."""
    folder = Path(blocks.GRADIO_CACHE)
    folder.mkdir(parents=True, exist_ok=True)
    return folder
