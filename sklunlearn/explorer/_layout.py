"""The parts of the page, and where they are."""

import gradio as gr

from sklunlearn.explorer._knobs import knobs_of, methods_for
from sklunlearn.explorer._requests import CLASS, QUERY, ROWS
from sklunlearn.explorer._sessions import COMPOSITIONS, MAX_RUNS
from sklunlearn.explorer._sources import BUNDLED
from sklunlearn.explorer._uploads import LIMITS
from sklunlearn.explorer._views import status

__all__ = ["N_KNOBS", "Parts"]

# Boxes for the parameters of whichever method has most.
N_KNOBS = max(
    len(knobs_of(method)) for kind in ("class", "rows") for method in methods_for(kind).values()
)
_N_IN_FRONT = 3
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


class Parts:
    """Lays out the page; each part is an attribute."""

    def __init__(self):
        gr.Markdown(_INTRO)
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                self._lay_out_choices()
            with gr.Column(scale=3, min_width=300):
                self._lay_out_results()

    def _lay_out_choices(self):
        names = [(title, name) for name, (title, _) in BUNDLED.items()]
        self.data = gr.Dropdown(names, value="digits", label="Data")
        with gr.Accordion("Data of your own", open=False):
            gr.Markdown(_UPLOAD)
            self.upload = gr.File(label="File", file_types=[".csv", ".npz", ".zip"])
        self.how = gr.Radio([CLASS, QUERY, ROWS], value=CLASS, label="What to forget")
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
            for i in range(_N_IN_FRONT, N_KNOBS):
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
                gr.Markdown("Click a point to go back to its run.")
                self.front = gr.Image(
                    label="Forget accuracy against test accuracy of each run",
                    show_label=False,
                    interactive=False,
                    visible=False,
                    format="png",
                    buttons=[],
                    elem_id="front",
                )
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
