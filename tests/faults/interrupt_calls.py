"""Raise KeyboardInterrupt and MemoryError at random lines of the package, and look at what is left.

Run as ``python tests/faults/interrupt_calls.py N_ERRORS``; prints the counts as JSON.
"""

import json
import os
import random
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import torch
from sklearn.base import clone
from skorch import NeuralNetClassifier

import sklunlearn
from sklunlearn import (
    BoundaryUnlearner,
    CertifiedUnlearner,
    ComposedUnlearner,
    DUCKUnlearner,
    FineTuneUnlearner,
    NegGradUnlearner,
    SCRUBUnlearner,
    SISAUnlearner,
)
from sklunlearn._nets import shallow_copy, weights_digest
from sklunlearn.audit import append_records, verify_records
from sklunlearn.networks import MLP
from sklunlearn.persistence import checkpoints, load_model, save_model

ROOT = os.path.dirname(sklunlearn.__file__) + os.sep
ERRORS = [KeyboardInterrupt, MemoryError]
X = np.random.default_rng(0).normal(size=(30, 4)).astype("float32")
Y = np.arange(30) % 3
NET = NeuralNetClassifier(
    MLP,
    module__n_features=4,
    module__n_classes=3,
    module__hidden=(3,),
    criterion=torch.nn.CrossEntropyLoss,
    max_epochs=2,
    batch_size=16,
    train_split=None,
    verbose=0,
)
METHODS = [
    NegGradUnlearner(NET, max_epochs=2, random_state=0),
    BoundaryUnlearner(NET, max_epochs=2, random_state=0),
    SCRUBUnlearner(NET, max_epochs=2, msteps=1, random_state=0),
    DUCKUnlearner(NET, max_epochs=2, ratio=1, tune_epochs=1, random_state=0),
    CertifiedUnlearner(NET, random_state=0),
    SISAUnlearner(NET, n_shards=2, n_slices=2, random_state=0),
    ComposedUnlearner(
        [("a", BoundaryUnlearner(max_epochs=1)), ("b", FineTuneUnlearner(max_epochs=1))],
        estimator=NET,
        finetune_epochs=1,
        random_state=0,
    ),
]


def traced(work, error=None, at=None):
    """Do the work, with an error at a line of the package; returns what it raised, and the lines.

    Lines are counted in the order in which they are run, of all frames of the package.
    """
    n_lines, place = 0, None

    def on_line(frame, event, argument):
        nonlocal n_lines, place
        if event == "line":
            n_lines += 1
            if n_lines == at:
                place = f"{frame.f_code.co_filename.removeprefix(ROOT)}:{frame.f_lineno}"
                raise error
        return on_line

    def on_call(frame, event, argument):
        return on_line if frame.f_code.co_filename.startswith(ROOT) else None

    sys.settrace(on_call)
    try:
        work()
    except (*ERRORS, Exception) as raised:
        return raised, n_lines, place
    finally:
        sys.settrace(None)
    return None, n_lines, place


class Call:
    """A call of an unlearner, from `start`, and what the unlearner is after it."""

    def __init__(self, start, work):
        self.start, self.work = start, work
        self.before = state_of(start)
        whole = shallow_copy(start)
        _, self.n_lines, _ = traced(lambda: work(whole))
        self.after = outcome_of(whole)
        assert state_of(start) == self.before

    def interrupt(self, error, at):
        unlearner = shallow_copy(self.start)
        raised, _, place = traced(lambda: self.work(unlearner), error, at)
        is_before = state_of(unlearner) == self.before
        assert is_before or outcome_of(unlearner) == self.after, f"neither, after {place}"
        assert raised is not None or outcome_of(unlearner) == self.after, f"cut short at {place}"
        self.work(unlearner)  # nothing stands in the way of the same call
        if is_before:
            assert outcome_of(unlearner) == self.after, f"another result, after {place}"
        assert state_of(self.start) == self.before, f"what was copied has changed, after {place}"
        return "before" if is_before else "completed"


class Save:
    """`save_model` in the place of another model's file."""

    def __init__(self, folder, models):
        self.path, self.models = folder / "model", models
        save_model(models[0], self.path)
        self.old = self.path.read_bytes()
        _, self.n_lines, _ = traced(lambda: save_model(models[1], self.path))

    def interrupt(self, error, at):
        self.path.write_bytes(self.old)
        raised, _, place = traced(lambda: save_model(self.models[1], self.path), error, at)
        assert os.listdir(self.path.parent) == [self.path.name], f"a file is left, after {place}"
        is_before = self.path.read_bytes() == self.old
        digests = [weights_digest(model.net_) for model in self.models]
        assert weights_digest(load_model(self.path).net_) == digests[not is_before]
        assert raised is not None or not is_before, f"nothing was written, after {place}"
        return "before" if is_before else "completed"


class Append:
    """`append_records` to a log that has a line."""

    def __init__(self, folder):
        self.path = folder / "requests.jsonl"
        append_records(self.path, {"n_forget": 1, "requested_at": "before"}, X, forget=[0])
        self.n_done = 0
        self.first = self.path.read_bytes()
        _, self.n_lines, _ = traced(self.append)

    def append(self):
        record = {"n_forget": 2, "requested_at": f"{self.n_done}"}
        return append_records(self.path, record, X, forget=[1, 2])

    def interrupt(self, error, at):
        self.n_done += 1
        old = self.path.read_bytes()
        raised, _, place = traced(self.append, error, at)
        new = self.path.read_bytes()
        verify_records(self.path)
        assert new.startswith(old), f"lines are lost, after {place}"
        is_before = new == old
        assert raised is not None or not is_before, f"nothing was appended, after {place}"
        if is_before:
            self.append()
        assert verify_records(self.path) and self.path.read_bytes().count(b"\n") == (
            old.count(b"\n") + 1
        )
        return "before" if is_before else "completed"


def state_of(unlearner):
    """Weights, of the original too, and which objects the attributes are."""
    return {name: id(value) for name, value in vars(unlearner).items()}, outcome_of(unlearner)


def outcome_of(unlearner):
    nets = [getattr(unlearner, name, None) for name in ("net_", "fitted_")]
    return [net and weights_digest(net) for net in nets], len(getattr(unlearner, "records_", []))


def make_targets(folder):
    """By kind of call, those to interrupt."""
    fitted = [clone(method).fit(X, Y) for method in METHODS]

    def fit(unlearner):
        unlearner.fit(X, Y, forget=[0, 4])

    def unlearn(unlearner):
        unlearner.unlearn(X, Y, forget=[0, 4], max_retain_drop=1)

    def partial_unlearn(unlearner):
        unlearner.partial_unlearn(X, Y, forget=[3])

    def with_checkpoints(unlearner):
        with tempfile.TemporaryDirectory() as own, checkpoints(own):
            unlearner.unlearn(X, Y, forget=[0, 4])

    for name in ("saved", "log"):
        (folder / name).mkdir()
    once = [shallow_copy(each).unlearn(X, Y, forget=[1]) for each in fitted[:2]]
    return {
        "fit": [Call(clone(method), fit) for method in METHODS[::3]],
        "unlearn": [Call(each, unlearn) for each in fitted],
        "partial_unlearn": [Call(each, partial_unlearn) for each in [*once, *fitted[4:]]],
        "checkpoints": [Call(each, with_checkpoints) for each in fitted[:2]],
        "save_model": [Save(folder / "saved", once)],
        "append_records": [Append(folder / "log")],
    }


def random_states():
    numpy = np.random.get_state()  # noqa: NPY002
    return (
        random.getstate(),
        (*numpy[:1], numpy[1].tolist(), *numpy[2:]),
        torch.get_rng_state().tolist(),
    )


def set_random_states(states):
    random.setstate(states[0])
    np.random.set_state(states[1])  # noqa: NPY002
    torch.set_rng_state(torch.tensor(states[2], dtype=torch.uint8))


def main(folder, n_errors):
    rng, counts, problems = random.Random(0), {}, []
    umask = os.umask(0o022)
    targets = make_targets(folder)
    kinds, at_first, moved = list(targets), random_states(), 0
    for i in range(n_errors):
        kind, error = kinds[i % len(kinds)], ERRORS[i // len(kinds) % 2]
        target = rng.choice(targets[kind])
        of_kind = counts.setdefault(f"{kind} {error.__name__}", {"before": 0, "completed": 0})
        at = rng.randint(1, target.n_lines)
        try:
            of_kind[target.interrupt(error, at)] += 1
        except Exception as problem:
            problems.append(f"{kind}, {error.__name__} at line {at}: {problem!r}")
        moved += random_states() != at_first
        set_random_states(at_first)
        assert os.umask(0o022) == 0o022
    os.umask(umask)
    total = {"errors": n_errors, "moved_random_states": moved, "problems": problems}
    print(json.dumps({**total, "counts": counts}))


if __name__ == "__main__":
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        main(Path(folder), int(sys.argv[1]))
