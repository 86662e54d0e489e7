"""Kill processes that write, at random moments, and look at what they leave behind.

Run as ``python tests/faults/kill_writers.py FOLDER N_KILLS``; prints the counts as JSON.
"""

import json
import os
import random
import signal
import sys
import time
import warnings
from pathlib import Path

import numpy as np

from sklunlearn import NegGradUnlearner
from sklunlearn._files import atomic_write
from sklunlearn.audit import append_records, verify_records, was_forgotten
from sklunlearn.persistence import load_model, save_model

PAYLOADS = [bytes([value]) * 4_000_000 for value in (1, 2)]


def killed(work, rng, max_seconds):
    """What a process had reported when it was killed: the lines that ``work(report)`` wrote."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(read)
            work(lambda text: os.write(write, f"{text}\n".encode()))
        finally:
            os._exit(1)
    os.close(write)
    with open(read) as reports:
        first = reports.readline()  # it is at work
        time.sleep(rng.uniform(0, max_seconds))
        os.kill(child, signal.SIGKILL)
        rest = reports.read().splitlines()
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), "it ended by itself"
    return [first.strip(), *rest]


def kill_atomic_write(folder, rng):
    path = folder / "payload"
    atomic_write(path, PAYLOADS[0])

    def work(report):
        report("started")
        while True:
            for payload in PAYLOADS:
                atomic_write(path, payload)

    killed(work, rng, 0.03)
    assert path.read_bytes() in PAYLOADS, "neither the old nor the new file"
    return left_behind(folder)


def kill_save_model(folder, rng, models, X):
    path = folder / "model"
    save_model(models[0], path)

    def work(report):
        report("started")
        while True:
            for model in models:
                save_model(model, path)

    killed(work, rng, 0.06)
    found = load_model(path).predict_proba(X)
    assert any(np.array_equal(found, model.predict_proba(X)) for model in models)
    return left_behind(folder)


def kill_append(path, rng, X):
    """Returns how many appends a process had reported, and whether a line was cut short."""

    def work(report):
        report(verify_records(path))
        i = 0
        while True:
            record = {"requested_at": f"{os.getpid()}.{i}", "n_forget": 1}
            report(append_records(path, record, X, forget=[i % len(X)]))
            i += 1

    *reported, last = killed(work, rng, 0.02)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        append_records(path, {"requested_at": f"after {os.getpid()} {rng.random()}"})
    for digest in (*reported, last):
        verify_records(path, last_digest=digest)
    return len(reported), len(caught)


def append_at_once(path, n_writers, n_records):
    """Number of records in a log that several processes have written to at the same time."""
    children = []
    for writer in range(n_writers):
        child = os.fork()
        if child == 0:
            status = 1
            try:
                for i in range(n_records):
                    append_records(path, {"requested_at": f"{writer}.{i}"})
                status = 0
            finally:
                os._exit(status)
        children.append(child)
    assert all(os.waitpid(child, 0)[1] == 0 for child in children)
    verify_records(path)
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    writers = [entry["record"]["requested_at"].partition(".")[0] for entry in entries]
    assert writers != sorted(writers), "one came after the other"
    return len({entry["record"]["requested_at"] for entry in entries})


def left_behind(folder):
    """Number of temporary files, each the trace of a kill in the middle of a write."""
    temporary = list(folder.glob(".*.tmp"))
    for path in temporary:
        path.unlink()
    return len(temporary)


def main(folder, n_kills):
    rng = random.Random(0)
    X = np.random.default_rng(0).normal(size=(60, 4)).astype("float32")
    y = np.arange(60) % 3
    models = [
        NegGradUnlearner(random_state=seed, max_epochs=1).fit(X, y, forget=[0]) for seed in (0, 1)
    ]
    log = folder / "requests.jsonl"
    append_records(log, {"requested_at": "before"}, X, forget=[0])
    counts = dict.fromkeys(
        ["kills", "in_atomic_write", "in_save_model", "appended", "lines_cut_short"], 0
    )
    for i in range(n_kills):
        kind = i % 3
        if kind == 0:
            counts["in_atomic_write"] += kill_atomic_write(folder, rng)
        elif kind == 1:
            counts["in_save_model"] += kill_save_model(folder, rng, models, X)
        else:
            appended, cut_short = kill_append(log, rng, X)
            counts["appended"] += appended
            counts["lines_cut_short"] += cut_short
        counts["kills"] += 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the records without rows
        assert was_forgotten(log, X[:1])[0][0] == 1
    counts["appended_at_once"] = append_at_once(folder / "at_once.jsonl", 3, 40)
    counts["lines"] = len(log.read_text().splitlines())
    print(json.dumps(counts))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
