"""Sessions: runs, stops, compositions and code, with no page."""

import contextlib
import io
import threading

import numpy as np
import pytest
import torch

from sklunlearn import SISAUnlearner, all_unlearners
from sklunlearn.explorer import _pictures, _sessions
from sklunlearn.explorer._code import code_of
from sklunlearn.explorer._knobs import knobs_of, methods_for, parse_knobs
from sklunlearn.explorer._queue import Job, QueueFullError, RunStopped, Workshop
from sklunlearn.explorer._requests import ask_class, ask_query, ask_rows, parse_rows
from sklunlearn.explorer._sessions import BusyError, Lab, Session
from sklunlearn.explorer._sources import BUNDLED, load_bundled


def finish(job):
    assert job.done.wait(60)
    if job.error is not None:
        raise job.error
    return job.result


@pytest.fixture(scope="module")
def lab():
    return Lab()


@pytest.fixture
def session(lab):
    session = Session(lab)
    session.choose("moons_blobs")
    return session


def weights(net):
    return torch.cat([p.detach().ravel().clone() for p in net.module_.parameters()])


def figures(frame):
    return frame[~frame["metric"].isin(["seconds", "speed_up"])].reset_index(drop=True)


def run_code(code):
    names = {}
    with contextlib.redirect_stdout(io.StringIO()):
        exec(compile(code, "explorer", "exec"), names)
    return names


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_data(name):
    source = load_bundled(name)
    assert source is load_bundled(name)
    assert len(source.y) + len(source.y_test) in (600, 569, 900, 1797)
    with pytest.raises(ValueError, match="read-only"):
        source.X[0] = 0


@pytest.mark.parametrize(
    ("method", "texts"),
    [
        ("BoundaryUnlearner", {"max_epochs": "3"}),
        ("BoundaryExpandUnlearner", {"max_epochs": "2"}),
        ("RetrainUnlearner", {}),
        ("SSDUnlearner", {"alpha": "5"}),
    ],
)
def test_code_gives_the_same_figures(session, method, texts):
    run = finish(session.start(method, texts))
    finish(session.start_reference(run))
    names = run_code(code_of(run))
    assert figures(names["report"].to_frame()).equals(figures(run.report.to_frame()))
    assert torch.equal(weights(names["unlearner"].net_), weights(run.unlearner.net_))


def test_code_of_query_rows_and_composition(session):
    session.ask(ask_query(session.source, "domain == 0"))
    run = finish(session.start("NegGradUnlearner", {"max_epochs": "1"}))
    finish(session.start_reference(run))
    assert "forget_test=forget_mask(metadata=metadata_test" in code_of(run)
    assert figures(run_code(code_of(run))["report"].to_frame()).equals(
        figures(run.report.to_frame())
    )
    session.ask(ask_rows(session.source, [3, 5, 8]))
    finish(session.start("FineTuneUnlearner", {"max_epochs": "1"}))
    finish(session.start("NegGradUnlearner", {"max_epochs": "1"}))
    run = finish(session.compose(*(run.number for run in session.runs)))
    finish(session.start_reference(run))
    assert len(session.runs) == 3
    assert figures(run_code(code_of(run))["report"].to_frame()).equals(
        figures(run.report.to_frame())
    )


def test_progress_is_that_of_the_network(session):
    job = session.start("BoundaryUnlearner", {"max_epochs": "3"})
    run = finish(job)
    assert [event["epoch"] for event in run.history] == [1, 2, 3]
    mask, source = run.request.mask, run.source
    assert run.history[-1]["forget"] == run.unlearner.score(source.X[mask], source.y[mask])
    assert len(run.frames) == 3


def test_stop(session):
    finish(session.start("FineTuneUnlearner", {"max_epochs": "1"}))
    runs, original = session.runs, weights(session.lab.originals["moons_blobs"])
    job = session.start("FineTuneUnlearner", {"max_epochs": "200"})
    while len(job.events) < 2 and not job.done.is_set():
        pass
    session.stop()
    with pytest.raises(RunStopped, match="as it was"):
        finish(job)
    assert 2 <= len(job.events) < 200
    assert session.runs == runs
    assert torch.equal(weights(session.lab.originals["moons_blobs"]), original)


def test_stop_of_retraining_as_a_method(session):
    job = session.start("RetrainUnlearner")
    while not job.events and not job.done.is_set():
        pass
    session.stop()
    with pytest.raises(RunStopped):
        finish(job)


def test_one_run_at_a_time(session):
    job = session.start("FineTuneUnlearner", {"max_epochs": "200"})
    with pytest.raises(BusyError, match="in progress"):
        session.start("FineTuneUnlearner")
    session.stop()
    job.done.wait(60)
    session.close()
    with pytest.raises(BusyError, match="ended"):
        session.start("FineTuneUnlearner")


def test_sessions_are_separate(lab, session):
    other = Session(lab)
    other.choose("moons_blobs")
    run = finish(session.start("NegGradUnlearner", {"max_epochs": "1"}))
    finish(session.start_reference(run))
    assert other.runs == []
    # What they share are networks of bundled data, and rows that nobody can write to.
    assert other.source is session.source
    with pytest.raises(ValueError, match="no run 1"):
        other.find(1)


def test_uploads_are_not_shared(lab, tmp_path):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "digits.npz", X=rng.normal(size=(40, 3)), y=np.arange(40) % 2)
    session = Session(lab)
    session.upload(tmp_path / "digits.npz")
    before = dict(lab.originals), dict(lab.references)
    run = finish(session.start("NegGradUnlearner", {"max_epochs": "1"}))
    finish(session.start_reference(run))
    assert (dict(lab.originals), dict(lab.references)) == before
    assert session._originals and session._references
    session.close()
    assert not (session._originals or session._references or session.runs)


def test_refused_upload_changes_nothing(session, tmp_path):
    (tmp_path / "a.txt").write_text("no")
    source, request = session.source, session.request
    with pytest.raises(ValueError, match="neither"):
        session.upload(tmp_path / "a.txt")
    assert session.source is source and session.request is request


def test_number_of_runs_is_bounded(session, monkeypatch):
    monkeypatch.setattr(_sessions, "MAX_RUNS", 2)
    for _ in range(3):
        finish(session.start("NegGradUnlearner", {"max_epochs": "1"}))
    assert [run.number for run in session.runs] == [2, 3]


def test_reference_that_is_used_stays(monkeypatch):
    monkeypatch.setattr(_sessions, "_MAX_REFERENCES", 2)
    lab = Lab()
    lab.keep_reference("a", 1)
    lab.keep_reference("b", 2)
    assert lab.find_reference("a") == 1
    lab.keep_reference("c", 3)
    assert lab.find_reference("b") is None
    assert [lab.find_reference(key) for key in "ac"] == [1, 3]


def test_another_request_lets_runs_go(session):
    finish(session.start("NegGradUnlearner", {"max_epochs": "1"}))
    session.ask(ask_class(session.source, "blob 0"))
    assert session.runs == []


def test_queue_order_and_end():
    workshop, gate, order = Workshop(max_waiting=3), threading.Event(), []
    first = workshop.submit(lambda job: gate.wait(60))
    first.started.wait(60)
    late = workshop.submit(lambda job: order.append("late"), urgent=False)
    soon = workshop.submit(lambda job: order.append("soon"))
    gone = workshop.submit(lambda job: order.append("gone"))
    assert [workshop.position(job) for job in (first, soon, gone, late)] == [0, 1, 2, 3]
    with pytest.raises(QueueFullError):
        workshop.submit(lambda job: None)
    gone.stop()
    gate.set()
    assert late.done.wait(60)
    assert order == ["soon", "late"] and isinstance(gone.error, RunStopped)


def test_methods_and_knobs():
    offered = methods_for("rows")
    assert set(offered) == {n for n, m in all_unlearners("rows") if m is not SISAUnlearner}
    for method in methods_for("class").values():
        for knob in knobs_of(method):
            assert knob.sentence, (method, knob.name)
            assert "\\" not in knob.sentence and "`" not in knob.sentence
    assert "retain_weight" in [knob.name for knob in knobs_of(offered["BoundaryUnlearner"])]


def test_parse_knobs():
    method = methods_for("rows")["BoundaryUnlearner"]
    texts = {"lr": "0.1", "max_epochs": "10", "clip": "data", "stop_accuracy": "", "noise": "0.0"}
    assert parse_knobs(method, texts) == {"lr": 0.1, "clip": "data"}


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ({"lr": "-1"}, "'lr' parameter"),
        ({"lr": "fast"}, "'lr' parameter"),
        ({"lr": "__import__('os')"}, "'lr' parameter"),
        ({"max_epochs": "100000"}, "at most 200"),
        ({"callbacks": "[]"}, "no parameter 'callbacks'"),
        ({"lr": "1" * 101}, "101 characters"),
    ],
)
def test_bad_knobs(texts, message):
    with pytest.raises(ValueError, match=message):
        parse_knobs(methods_for("rows")["BoundaryUnlearner"], texts)


def test_parse_rows():
    assert parse_rows("3, 17 20-22;3", 30) == [3, 17, 20, 21, 22]
    for text, message in [("x", "no row"), ("30", "out of range"), ("5-3", "out of range")]:
        with pytest.raises(ValueError, match=message):
            parse_rows(text, 30)


def test_kind_of_request():
    source = load_bundled("moons_blobs")
    assert ask_class(source, "blob 0").kind == "class"
    rows = np.flatnonzero(source.y == "blob 0")
    assert ask_rows(source, rows).kind == "class"
    assert ask_rows(source, rows[1:]).kind == "rows"
    with pytest.raises(ValueError, match="no metadata"):
        ask_query(load_bundled("digits"), "domain == 0")


def test_row_at_is_the_row_that_is_drawn():
    source = load_bundled("digits")
    rows = _pictures.rows_offered(source, "3")
    assert _pictures.row_at(source, "3", 5 * 48 + 20, 2 * 48 + 20) == rows[25]
    before, after = (_pictures.draw_choice(source, "3", picked) for picked in ([], [rows[25]]))
    changed = np.argwhere((before != after).any(axis=2))
    assert changed.min(axis=0).tolist() == [96, 240]
    assert changed.max(axis=0).tolist() == [143, 287]


@pytest.mark.parametrize("name", ["moons_blobs", "breast_cancer"])
def test_row_at_in_the_plane(name):
    source = load_bundled(name)
    row = 17
    before, after = (_pictures.draw_choice(source, None, picked) for picked in ([], [row]))
    y, x = np.argwhere((before != after).any(axis=2)).mean(axis=0)
    assert _pictures.row_at(source, None, x, y) == row


def test_pictures():
    session = Session(Lab())  # where nothing was retrained yet
    session.choose("moons_blobs")
    run = finish(session.start("BoundaryUnlearner", {"max_epochs": "2"}))
    for figure in (
        _pictures.draw_progress(run.history),
        _pictures.draw_regions(run, 1),
        _pictures.draw_front(session.runs, run),
    ):
        assert 'alt="what &lt;is&gt; seen"' in _pictures.to_html(figure, "what <is> seen")
    assert "Retraining without" in _pictures.figures_table(run)
    finish(session.start_reference(run))
    table = _pictures.figures_table(run)
    assert "Retraining without" not in table and "0.000 to 0.000" in table


def test_forgotten_images(lab):
    session = Session(lab)
    run = finish(session.start("NegGradUnlearner", {"max_epochs": "1"}))
    figures = _pictures.draw_forgotten(run, 4)
    assert [len(figure.axes) for figure in figures] == [6, 2]
    first = int(np.flatnonzero(run.request.mask)[0])
    assert figures[0].axes[0].get_title() == f"row {first}: 9"
    said = run.unlearner.predict_proba(run.source.X[[first]])[0]
    word = f"unlearned: {run.source.classes[said.argmax()]} {said.max():.2f}"
    assert word in figures[0].axes[1].get_xlabel()


def test_job_keeps_no_work():
    job = Job(lambda job: 3)
    job._run()
    assert job.result == 3 and job._work is None
