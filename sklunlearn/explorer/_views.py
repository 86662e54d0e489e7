"""What is shown of a run, by the names of the parts of the page."""

from html import escape

from sklunlearn.explorer import _pictures
from sklunlearn.explorer._code import code_of

__all__ = ["chosen_views", "live_views", "status"]

_REGIONS = "Decision regions of the original, the unlearned and the retrained network"
_MAX_CHARACTERS = 600  # of a message, which may quote a file


def status(text, error=False):
    """A line that screen readers speak."""
    kind = "status error" if error else "status"
    if len(text) > _MAX_CHARACTERS:
        text = f"{text[:_MAX_CHARACTERS]} ..."
    return f'<div class="{kind}" role="status" aria-live="polite">{escape(text)}</div>'


def live_views(run, epoch=None):
    """Progress of a run, and in the plane its decision regions, up to an epoch or to the last."""
    history = list(run.history)[:epoch]
    text = "Forget and retain accuracy after each epoch"
    progress = _pictures.to_html(_pictures.draw_progress(history), text) if history else ""
    if not run.frames:
        return progress, None
    return progress, _pictures.to_html(_pictures.draw_regions(run, epoch), _REGIONS)


def chosen_views(page, epoch=None):
    """The table, pictures and code of the run that is chosen."""
    run = page.chosen
    if run is None:
        return {"figures": "", "picture": "", "front": None, "code": "", "epochs": 1}
    kind = run.source.kind
    if kind == "points":
        picture = _pictures.to_html(_pictures.draw_regions(run, epoch), _REGIONS)
    elif kind == "images":
        text = "Forgotten images, their boundary points and what each network says of them"
        drawn = [_pictures.to_html(figure, text) for figure in _pictures.draw_forgotten(run)]
        picture = f'<div class="pictures">{"".join(drawn)}</div>'
    else:
        picture = ""
    front = _pictures.draw_front(page.session.runs, run)
    return {
        "figures": _pictures.figures_table(run),
        "picture": picture,
        "front": _pictures.pixels_of(front),
        "code": code_of(run),
        "epochs": max(1, len(run.frames)),
    }
