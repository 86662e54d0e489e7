"""Following a run from its beginning to the retraining that comes after it."""

import asyncio
import time
from typing import NamedTuple

from sklunlearn.explorer._queue import RunStopped

__all__ = ["Step", "watch_run"]

_POLL, _DRAW = 0.1, 0.25  # seconds
_N_SHOWN = 6  # epochs


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
