"""What ends a run, and what a run leaves alone when it is ended."""

import asyncio
import threading

import numpy as np
import pytest
import torch
from torch import nn

from sklunlearn import ComposedUnlearner
from sklunlearn.explorer import _guard, _pictures, _runs, _watching
from sklunlearn.explorer._code import code_of
from sklunlearn.explorer._guard import guarded
from sklunlearn.explorer._page import Page
from sklunlearn.explorer._queue import Job, RunStopped, Workshop
from sklunlearn.explorer._requests import ask_query, parse_rows
from sklunlearn.explorer._sessions import Lab, Session
from sklunlearn.explorer._views import live_views, status
from sklunlearn.explorer._watching import watch_run


@pytest.fixture
def session():
    session = Session(LAB)
    session.choose("moons_blobs")
    return session


LAB = Lab()


def finish(job):
    assert job.done.wait(60)
    if job.error is not None:
        raise job.error
    return job.result


def hold(workshop):
    """Keep the worker busy until the event that is returned is set."""
    gate = threading.Event()
    workshop.submit(lambda job: gate.wait(60)).started.wait(60)
    return gate


def test_guard_looks_at_calls_of_its_thread():
    net, job, X = nn.Linear(2, 2), Job(None), torch.zeros(1, 2)
    job.started.set()
    others = []
    with guarded(job):
        net(X)
        job.stop()
        thread = threading.Thread(target=lambda: others.append(net(X)))
        thread.start()
        thread.join()
        with pytest.raises(RunStopped):
            net(X)
    assert len(others) == 1
    net(X)
    with guarded(Job(None), seconds=-1), pytest.raises(TimeoutError, match="more than -1 s"):
        net(X)


def test_method_without_epochs_ends_in_time(session, monkeypatch):
    finish(session.start("SSDUnlearner"))
    monkeypatch.setattr(_guard, "MAX_SECONDS", -1)
    with pytest.raises(TimeoutError):
        finish(session.start("SSDUnlearner"))
    assert len(session.runs) == 1


def test_composition_can_be_stopped(session, monkeypatch):
    for _ in range(2):
        finish(session.start("NegGradUnlearner", {"max_epochs": "1"}))
    runs = session.runs
    fit = ComposedUnlearner.fit

    def stopped_fit(self, *args, **kwargs):
        session.stop()
        return fit(self, *args, **kwargs)

    monkeypatch.setattr(ComposedUnlearner, "fit", stopped_fit)
    with pytest.raises(RunStopped):
        finish(session.compose(*(run.number for run in runs)))
    assert session.runs is runs


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, MemoryError, KeyError])
def test_worker_outlives_a_run(error):
    workshop = Workshop()

    def fail(job):
        raise error("no more")

    with pytest.raises(error):
        finish(workshop.submit(fail))
    assert finish(workshop.submit(lambda job: 3)) == 3


def test_what_waits_ends_at_once():
    workshop = Workshop(max_waiting=1)
    gate = hold(workshop)
    waiting = workshop.submit(lambda job: 3)
    waiting.stop()
    assert waiting.done.is_set() and isinstance(waiting.error, RunStopped)
    assert workshop.position(waiting) == 0
    after = workshop.submit(lambda job: 4)  # its place is free
    assert workshop.position(after) == 1
    gate.set()
    assert finish(after) == 4


def test_page_that_is_left_ends_its_run(session):
    page, gate = Page(session), hold(LAB.workshop)

    async def leave():
        steps = watch_run(page, lambda: session.start("FineTuneUnlearner", {"max_epochs": "200"}))
        first = await anext(steps)
        await steps.aclose()
        return first

    assert asyncio.run(leave()).text == "1 run before yours ..."
    assert isinstance(session.job.error, RunStopped)
    gate.set()


def test_events_may_be_cleared_while_they_are_watched():
    """The original network's training has epochs of its own, before those of the run."""
    job, workshop = Job(None), Workshop()
    job.started.set()
    job.report({"note": "training the original network"})
    job.report({"epoch": 1, "retain": 0.5})

    async def watch():
        texts = []
        async for text, _ in _watching._poll(job, workshop, "unlearning"):
            texts.append(text)
            if len(texts) == 1:
                job.events.clear()
            else:
                job.done.set()
        return texts

    first = "training the original network: epoch 1, retain accuracy 0.50"
    assert asyncio.run(watch()) == [first, "unlearning ..."]


def test_regions_are_there_during_a_run(session, monkeypatch):
    """Every epoch can be drawn from what the run has so far, which is without an unlearner."""
    seen, report = [], Job.report

    def spy(job, event):
        run = session.running
        if "forget" in event:
            seen.append((len(run.history), len(run.frames), live_views(run)))
        report(job, event)

    finish(session.start("BoundaryUnlearner", {"max_epochs": "1"}))  # trains the original
    monkeypatch.setattr(Job, "report", spy)
    run = finish(session.start("BoundaryUnlearner", {"max_epochs": "2"}))
    assert [entry[:2] for entry in seen] == [(1, 1), (2, 2)]
    pictures = [picture for *_, (_, picture) in seen]
    assert len(set(pictures)) == 2 and all("<img" in picture for picture in pictures)
    original = run.unlearner.fitted_.module_
    assert np.array_equal(run.regions["original"], _runs.regions_of(original, run.source))
    assert live_views(run, 1)[0] != live_views(run)[0]


def test_frames_are_shown_when_the_run_was_too_quick(session):
    page = Page(session)

    async def watch():
        begin = lambda: session.start("BoundaryUnlearner", {"max_epochs": "4"})  # noqa: E731
        return [step async for step in watch_run(page, begin)]

    LAB.references.clear()
    steps = asyncio.run(watch())
    assert [step.epoch for step in steps if step.epoch is not None] == [1, 2, 3, 4]
    assert steps[-1].run is page.chosen and steps[-1].text.startswith("Done:")


def test_click_goes_back_to_the_nearest_run(session):
    page = Page(session)
    for method in ("BoundaryUnlearner", "FineTuneUnlearner", "FineTuneUnlearner"):
        finish(session.start(method, {"max_epochs": "1", "lr": "0.000001"}))
    runs = session.runs
    points = [_pictures._point(run, "unlearned") for run in runs]
    pixels = _pictures.pixels_of(_pictures.draw_front(runs, runs[0]))
    # The chosen one alone is red; its middle is found by its color.
    y, x = np.argwhere((pixels == (0xB3, 0x26, 0x1E)).all(axis=2)).mean(axis=0)
    page.chosen = runs[0]
    assert page.click_front(400, 5) is None and page.chosen is runs[0]
    same = [run for run, point in zip(runs, points, strict=True) if point == points[0]]
    assert page.click_front(x, y) is same[1 % len(same)]
    # Those at one point come in turn.
    assert points[1] == points[2]
    page.chosen = runs[1]
    pixels = _pictures.pixels_of(_pictures.draw_front(runs[1:], runs[1]))
    session.runs = runs[1:]
    figure = _pictures.draw_front(runs[1:], runs[1])
    figure.canvas.draw()
    x, y = figure.axes[0].transData.transform(points[1])
    y = pixels.shape[0] - y
    assert [page.click_front(x, y).number for _ in range(2)] == [runs[2].number, runs[1].number]
    assert _pictures.run_at([], None, 0, 0) is None


STRANGE = [
    "<script>alert(1)</script>",
    "$\\frac{$ 'a\" #{x}\\",
    "**b** [c](javascript:d)\nimport os",
]


def test_names_are_text(tmp_path):
    """Of classes, columns and files; in pictures, HTML and code."""
    rng = np.random.default_rng(0)
    y = np.arange(60) % 3
    X = rng.normal(size=(60, 1, 8, 8)) + y[:, None, None, None]
    path = tmp_path / "it's <b>\"$x{}.npz"
    np.savez(path, X=X, y=np.array(STRANGE)[y])
    session = Session(Lab())
    session.upload(path)
    run = finish(session.start("NegGradUnlearner", {"max_epochs": "1"}))
    page = Page(session)
    page.chosen = run
    table = _pictures.figures_table(run) + status(run.label + run.request.title)
    assert "<script>alert" not in table and "<b>" not in table
    for figure in _pictures.draw_forgotten(run):
        _pictures.pixels_of(figure)
    compile(code_of(run), "code", "exec")
    assert repr(path.name) in code_of(run) and repr(session.request.title[6:]) in code_of(run)
    assert "<script>alert" not in run.report.to_html()


def test_texts_that_are_too_long(session):
    with pytest.raises(ValueError, match="60001 characters"):
        parse_rows("1" * 60001, 30)
    with pytest.raises(ValueError, match="3000 characters"):
        ask_query(session.source, "1" * 3000)
    assert len(status("<" * 10**6)) < 4000
