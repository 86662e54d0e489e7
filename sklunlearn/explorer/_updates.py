"""What parts of the page show of a session."""

import gradio as gr

from sklunlearn.explorer import _pictures
from sklunlearn.explorer._knobs import knobs_of
from sklunlearn.explorer._layout import N_KNOBS
from sklunlearn.explorer._views import chosen_views

__all__ = ["boxes_of", "choices_of", "draw_sheet", "lists_of", "methods_of", "views_of"]


def choices_of(page):
    """Class, method, sheet and rows of new data."""
    labels = [str(label) for label in page.session.source.classes]
    return [gr.update(choices=labels, value=page.label), methods_of(page), None, ""]


def methods_of(page, keep=False):
    """Methods for the request; the one that is chosen can be kept."""
    methods = page.session.methods
    pairs = [(name.removesuffix("Unlearner"), name) for name in methods]
    return gr.update(choices=pairs) if keep else gr.update(choices=pairs, value=_first(methods))


def _first(methods):
    return "BoundaryUnlearner" if "BoundaryUnlearner" in methods else next(iter(methods))


def boxes_of(page, method):
    """The method, and a box for each of its parameters."""
    methods = page.session.methods
    method = methods.get(method) or methods[_first(methods)]
    knobs = knobs_of(method)
    updates = [
        gr.update(label=k.name, info=k.sentence, value=_written(k.default), visible=True)
        for k in knobs
    ]
    unused = [gr.update(visible=False, value="")] * (N_KNOBS - len(knobs))
    return [method.__name__, *updates, *unused]


def _written(default):
    return default if isinstance(default, str) else repr(default)


def draw_sheet(page):
    """Rows to pick from."""
    return _pictures.draw_choice(page.session.source, page.label, page.picked)


def views_of(page):
    """What is shown of the chosen run: figures, picture, front, code and slider of epochs."""
    views = chosen_views(page)
    n_epochs, front = views.pop("epochs"), views["front"]
    views["front"] = gr.update(value=front, visible=front is not None)
    slider = gr.update(maximum=max(2, n_epochs), value=n_epochs, visible=n_epochs > 1)
    return [*views.values(), slider]


def lists_of(page):
    """Runs to go back to, and to compose."""
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
