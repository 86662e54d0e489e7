"""What happens when something is pressed; values of the page go in and come out.

Nothing here knows Gradio but for the names of the parts of the page.
"""

import asyncio
import time
from html import escape
from pathlib import Path
from typing import NamedTuple

from sklunlearn.explorer import _pictures
from sklunlearn.explorer._code import code_of
from sklunlearn.explorer._queue import RunStopped
from sklunlearn.explorer._requests import (
    CLASS,
    QUERY,
    ask_class,
    ask_query,
    ask_rows,
    parse_rows,
)

__all__ = [
    "EXPECTED",
    "Page",
    "Step",
    "chosen_views",
    "live_views",
    "save_model_file",
    "save_report",
    "status",
    "watch_run",
]

_REGIONS = "Decision regions of the original, the unlearned and the retrained network"
# What the user's values can raise; the message is shown.
EXPECTED = (ValueError, TypeError, ArithmeticError, RuntimeError, OSError)
_POLL, _DRAW = 0.1, 0.25  # seconds
_N_SHOWN = 6  # epochs
_MAX_CHARACTERS = 600  # of a message, which may quote a file


class Page:
    """What one page shows: its session, the rows that are picked, and the run that is chosen."""

    def __init__(self, session):
        self.session = session
        self._begin()

    def _begin(self):
        self.picked, self.chosen = set(), None
        # The class that a session asks for first, of which the sheet shows rows.
        self.label = str(self.session.source.classes[-1])

    def take_data(self, name, path=None):
        """Bundled data by name, or an uploaded file."""
        if path is None:
            self.session.choose(name)
        else:
            self.session.upload(path)
        self._begin()

    def ask(self, how, label, query, rows):
        """Put the request that the page describes; says in one line what it is."""
        source = self.session.source
        if how == CLASS:
            request = ask_class(source, label)
        elif how == QUERY:
            request = ask_query(source, query)
        else:
            request = ask_rows(source, parse_rows(rows, len(source.y)))
        if request.key != self.session.request.key or request.code != self.session.request.code:
            self.session.ask(request)
            self.chosen = None
        return f"To forget: {request.title}, {request.mask.sum()} of {len(request.mask)} rows."

    def toggle(self, x, y):
        """Pick the row at a pixel, or put it back; all picked rows as a text."""
        row = _pictures.row_at(self.session.source, self.label, x, y)
        if row is not None:
            self.picked ^= {row}
        return ", ".join(map(str, sorted(self.picked)))

    def click_front(self, x, y):
        """Go back to the run at a pixel of the trade-off; None if there is none near."""
        run = _pictures.run_at(self.session.runs, self.chosen, x, y)
        if run is not None:
            self.chosen = run
        return run

    def close(self):
        """The page is gone."""
        self.session.close()
        self.chosen = None


def status(text, error=False):
    """A line that screen readers speak."""
    kind = "status error" if error else "status"
    if len(text) > _MAX_CHARACTERS:
        text = f"{text[:_MAX_CHARACTERS]} ..."
    return f'<div class="{kind}" role="status" aria-live="polite">{escape(text)}</div>'


class Step(NamedTuple):
    """A line of text, and the Run that is in progress with a new epoch, or that is there.

    `epoch` is the one to show of the former; None: its last.
    """

    text: str
    live: object = None
    run: object = None
    epoch: int | None = None


async def watch_run(page, begin):
    """Begin a run and follow it, then follow the retraining.

    Parameters
    ----------
    page : Page
        The page.
    begin : callable
        Starts the run; returns its Job.

    Yields
    ------
    step : Step
        Where it stands.

    Notes
    -----
    If it is closed before the end, the run is stopped: nobody watches any more.
    """
    session, workshop = page.session, page.session.lab.workshop
    job = await asyncio.to_thread(begin)
    try:
        live, n_drawn = session.running, 0
        async for text, fresh in _poll(job, workshop, "unlearning"):
            n_drawn += fresh
            yield Step(text, live=live if fresh else None)
        if job.error is not None:
            raise job.error
        run = page.chosen = job.result
        if run.reference is None:
            text = "Unlearned. A network is retrained without the rows ..."
            yield Step(text, run=run)
            job = session.start_reference(run)
            # Epochs of small data go by faster than they can be seen.
            n = len(run.frames)
            for i in range(1, min(n, _N_SHOWN) + 1 if n_drawn < _N_SHOWN else 1):
                epoch = round(i * n / min(n, _N_SHOWN))
                yield Step(f"Unlearned: epoch {epoch} of {n}.", live=run, epoch=epoch)
                await asyncio.sleep(_POLL)
            async for text, _ in _poll(job, workshop, "retraining"):
                yield Step(f"Unlearned; {text}")
            if isinstance(job.error, RunStopped):
                yield Step("Unlearned; the retraining was stopped.", run=run)
                return
            if job.error is not None:
                raise job.error
        seconds = run.unlearner.unlearning_time_, run.reference.unlearning_time_
        text = f"Done: unlearned in {seconds[0]:.2f} s, retrained in {seconds[1]:.2f} s."
        yield Step(text, run=run)
    finally:
        job.stop()  # of no effect after its end


async def _poll(job, workshop, doing):
    last, n_seen, drawn_at = None, 0, 0.0
    while not job.done.is_set():
        before = workshop.position(job)
        events = list(job.events)
        if before:
            text = f"{before} run{'s' * (before > 1)} before yours ..."
        elif events and "epoch" in events[-1]:
            shares = [f"{k} accuracy {v:.2f}" for k, v in events[-1].items() if k != "epoch"]
            notes = [event["note"] for event in events if "note" in event]
            text = f"{[doing, *notes][-1]}: epoch {events[-1]['epoch']}, {', '.join(shares)}"
        else:
            text = f"{events[-1]['note'] if events else doing} ..."
        n_events, now = len(events), time.monotonic()
        # A picture takes as long as a few epochs may.
        # There are none again when the original network is trained and the run begins.
        has_epoch = n_events != n_seen and events and "epoch" in events[-1]
        fresh = bool(has_epoch and now - drawn_at >= _DRAW)
        if fresh or text != last:
            last = text
            if fresh:
                n_seen, drawn_at = n_events, now
            yield text, fresh
        await asyncio.sleep(_POLL)


def save_report(run, folder):
    """Write the HTML report of a run; its path."""
    path = Path(folder) / f"unlearning-report-{run.number}.html"
    run.report.to_html(path)
    return str(path)


def save_model_file(run, folder):
    """Write the released model of a run; its path."""
    from sklunlearn.persistence import save_model

    path = Path(folder) / f"unlearned-{run.number}.safetensors"
    save_model(run.unlearner.release(), path)
    return str(path)


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
