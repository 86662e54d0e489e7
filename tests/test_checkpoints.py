import hashlib
import io
import json
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from registry import ALL
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from skorch.callbacks import Callback, Checkpoint, EarlyStopping, LRScheduler
from skorch.dataset import ValidSplit
from test_files import full_disk
from torch import nn

from sklunlearn import (
    AMUNUnlearner,
    BoundaryUnlearner,
    ComposedUnlearner,
    DUCKUnlearner,
    FineTuneUnlearner,
    ICUUnlearner,
    NegGradUnlearner,
    RandomLabelUnlearner,
    RetrainUnlearner,
    SCRUBUnlearner,
    SISAUnlearner,
)
from sklunlearn import _checkpoints as module
from sklunlearn._nets import weights_digest
from sklunlearn.gradient import GradientUnlearner
from sklunlearn.persistence import checkpoints

KILLS = int(os.environ.get("SKLUNLEARN_KILLS", "12"))
FAULTS = Path(__file__).parent / "faults" / "kill_runs.py"
GRADIENT_METHODS = [method for method in ALL if isinstance(method, GradientUnlearner)]


def interrupt():
    """As Ctrl-C does; a callback that raises it by itself would merely stop the run."""
    raise KeyboardInterrupt


class Watch(Callback):
    """Notes the epochs that are begun, and interrupts at the end of the n-th of them."""

    # Of the class: a parameter of a callback makes it another run.
    interrupted_at = None
    log = []

    def on_epoch_begin(self, net, **kwargs):
        self.log.append(len(net.history))

    def on_epoch_end(self, net, **kwargs):
        if len(self.log) == self.interrupted_at:
            interrupt()


def watched(interrupted_at=None):
    """A callback that notes all epochs from now on, and the list of them."""
    Watch.interrupted_at, Watch.log = interrupted_at, []
    return Watch(), Watch.log


@pytest.fixture(autouse=True)
def _each_epoch(monkeypatch):
    monkeypatch.setattr(module, "_PAUSE", 0)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "long" / "run"


@pytest.fixture
def frozen(trained_net):
    return FrozenEstimator(trained_net)


def files_in(folder):
    return sorted(folder.iterdir()) if folder.exists() else []


def checkpoints_in(folder):
    return [path.name for path in files_in(folder) if path.suffix == ".checkpoint"]


def unlearn(method, X, y, *, forget=2, interrupted_at=None):
    """The unlearner, and the epochs that it began."""
    watch, log = watched(interrupted_at)
    unlearner = clone(method).set_params(callbacks=[*(method.callbacks or []), watch])
    return unlearner.fit(X, y).unlearn(X, y, forget=y == forget), log


def unlearn_in_two(method, X, y, folder, interrupted_at):
    """Interrupted and started again: the unlearner, and the epochs of the second start."""
    with pytest.raises(KeyboardInterrupt), checkpoints(checkpoint_dir=folder):
        unlearn(method, X, y, interrupted_at=interrupted_at)
    assert len(files_in(folder)) >= (interrupted_at > 1)
    torch.rand(3)  # another process would not have the same states
    with checkpoints(checkpoint_dir=folder):
        return unlearn(method, X, y)


# Runs of gradient methods


@pytest.mark.parametrize("method", GRADIENT_METHODS, ids=lambda m: type(m).__name__)
def test_an_interrupted_run_goes_on_where_it_was(method, frozen, X, y, folder):
    method = clone(method).set_params(estimator=frozen, max_epochs=4, stop_accuracy=None)
    expected, all_epochs = unlearn(method, X, y)
    assert len(all_epochs) >= 4
    for at in (1, len(all_epochs) - 1):
        found, epochs = unlearn_in_two(method, X, y, folder, interrupted_at=at)
        assert epochs == all_epochs[at - 1 :]  # the one that was not ended, and those after it
        assert weights_digest(found.net_) == weights_digest(expected.net_)
        assert found.history_[:, "train_loss"] == expected.history_[:, "train_loss"]
        assert found.history_[:, "train_loss_best"] == expected.history_[:, "train_loss_best"]
        assert files_in(folder) == []


@pytest.mark.parametrize(
    "method",
    [
        BoundaryUnlearner(noise=0.2, relabel="epoch", uncrossed="skip"),
        BoundaryUnlearner(noise=0.2, relabel="batch"),
        RandomLabelUnlearner(resample="epoch"),
        FineTuneUnlearner(l1_weight=0.01, reinitialize=True),
        NegGradUnlearner(optimizer=torch.optim.RMSprop, max_grad_norm=0.5, trainable="head"),
        NegGradUnlearner(batch_size=20),  # an epoch ends within a pass over the forget rows
        NegGradUnlearner(callbacks=[("rate", LRScheduler("StepLR", step_size=2, gamma=0.1))]),
        NegGradUnlearner(
            callbacks=[("stop", EarlyStopping("train_loss", patience=2, load_best=True))]
        ),
    ],
    ids=["skip", "noise", "resample", "reinitialize", "clipped", "parts", "rate", "stop"],
)
def test_what_changes_in_a_run_comes_back(method, frozen, X, y, folder):
    method.set_params(estimator=frozen, max_epochs=5, random_state=1)
    expected, all_epochs = unlearn(method, X, y)
    for at in (2, 3):
        found, epochs = unlearn_in_two(method, X, y, folder, interrupted_at=at)
        assert epochs == all_epochs[at - 1 :]
        assert weights_digest(found.net_) == weights_digest(expected.net_)


@pytest.mark.parametrize("cls", [BoundaryUnlearner, SCRUBUnlearner, AMUNUnlearner])
def test_a_run_whose_data_were_on_the_device_goes_on_without(cls, frozen, X, y, folder):
    method = cls(frozen, max_epochs=4, random_state=0)
    expected, all_epochs = unlearn(method, X, y)
    with pytest.raises(KeyboardInterrupt), checkpoints(folder):
        unlearn(clone(method).set_params(data_on_device=True), X, y, interrupted_at=3)
    with checkpoints(folder):
        found, epochs = unlearn(method, X, y)
    assert epochs == all_epochs[2:]
    assert weights_digest(found.net_) == weights_digest(expected.net_)


def test_attributes_of_the_method_come_back(frozen, X, y, folder):
    method = ICUUnlearner(frozen, max_epochs=4, random_state=0)
    expected, _ = unlearn(method, X, y)
    found, _ = unlearn_in_two(method, X, y, folder, interrupted_at=3)
    assert found.n_active_ == expected.n_active_
    assert len(found.n_active_) == 4

    method = SCRUBUnlearner(frozen, max_epochs=4, msteps=2, rewind=(X, y), random_state=0)
    expected, _ = unlearn(method, X, y)
    found, _ = unlearn_in_two(method, X, y, folder, interrupted_at=4)
    assert found.rewound_to_ == expected.rewound_to_
    assert weights_digest(found.net_) == weights_digest(expected.net_)

    method = BoundaryUnlearner(frozen, max_epochs=3, noise=0.2, relabel="epoch", random_state=0)
    expected, _ = unlearn(method, X, y)
    found, _ = unlearn_in_two(method, X, y, folder, interrupted_at=3)
    assert torch.equal(found.search_.logits, expected.search_.logits)
    np.testing.assert_array_equal(found.search_.n_steps, expected.search_.n_steps)


def test_a_run_that_had_stopped_does_not_go_on(frozen, X, y, folder):
    # It stops in the first phase; the interruption is in the second.
    method = DUCKUnlearner(
        frozen, lr=0.02, ratio=0, stop_accuracy=0.9, tune_epochs=3, random_state=0
    )
    expected, all_epochs = unlearn(method, X, y)
    n_first = len(all_epochs) - 3
    assert 0 < n_first < method.max_epochs
    found, epochs = unlearn_in_two(method, X, y, folder, interrupted_at=n_first + 2)
    assert epochs == all_epochs[-2:]
    assert weights_digest(found.net_) == weights_digest(expected.net_)


def test_a_stream_of_requests(frozen, X, y, folder):
    def work(interrupted_at=None):
        watch, log = watched(interrupted_at)
        unlearner = NegGradUnlearner(frozen, max_epochs=2, callbacks=[watch], random_state=0)
        unlearner.fit(X, y)
        for row in range(3):
            unlearner.partial_unlearn(X[row:], y[row:], forget=[0])
        return unlearner, len(log)

    expected, _ = work()
    with pytest.raises(KeyboardInterrupt), checkpoints(folder):
        work(interrupted_at=4)
    with checkpoints(folder):
        found, n_epochs = work()
    assert n_epochs == 3  # the fourth again, and two
    assert len(found.records_) == 3
    assert weights_digest(found.net_) == weights_digest(expected.net_)


# Trainings


class Noisy(nn.Module):
    """With dropout, running statistics, and a buffer that no state_dict holds."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 3)
        )
        self.register_buffer("n_calls", torch.zeros(()), persistent=False)

    def forward(self, x):
        if self.training:
            self.n_calls += 1
        return self.layers(x) * (1 + self.n_calls / 100)


def fit(net, X, y, interrupted_at=None, make=NegGradUnlearner):
    """The fitted unlearner, and the epochs that were begun."""
    watch, log = watched(interrupted_at)
    net = clone(net).set_params(callbacks=[*(net.callbacks or []), ("watch", watch)])
    return make(net, random_state=0).fit(X, y), log


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"module": Noisy, "train_split": ValidSplit(0.2)},  # which draws
        {"optimizer": torch.optim.SGD, "optimizer__momentum": 0.9},
        {"callbacks": [("rate", LRScheduler("ReduceLROnPlateau", patience=0))]},
        {"callbacks": [("stop", EarlyStopping("train_loss", load_best=True, patience=2))]},
        {"module": Noisy, "callbacks": [("lr", LRScheduler("CosineAnnealingLR", T_max=7))]},
    ],
    ids=["plain", "draws", "momentum", "rate", "stop", "cosine"],
)
def test_an_interrupted_training_goes_on_where_it_was(params, net, X, y, folder):
    if params.get("module") is Noisy:
        for name in ("module__n_features", "module__n_classes", "module__hidden"):
            delattr(net, name)
    net.set_params(**params)
    expected, all_epochs = fit(net, X, y)
    for at in (1, 4):
        with pytest.raises(KeyboardInterrupt), checkpoints(folder):
            fit(net, X, y, interrupted_at=at)
        with checkpoints(folder):
            found, epochs = fit(net, X, y)
        assert epochs == all_epochs[at - 1 :]
        assert weights_digest(found.net_) == weights_digest(expected.net_)
        assert found.net_.history[:, "train_loss"] == expected.net_.history[:, "train_loss"]
        assert [name for name, _ in found.net_.callbacks_] == [
            name for name, _ in expected.net_.callbacks_
        ]


def test_a_generator_of_the_nets_own_comes_back(net, X, y, folder):
    net.set_params(iterator_train__shuffle=True)

    def work(interrupted_at=None):
        # `clone` copies it, with its state.
        net.set_params(iterator_train__generator=torch.Generator().manual_seed(5))
        return fit(net, X, y, interrupted_at)

    expected, _ = work()
    with pytest.raises(KeyboardInterrupt), checkpoints(folder):
        work(interrupted_at=4)
    with checkpoints(folder):
        found, epochs = work()
    assert epochs[0] == 4
    assert weights_digest(found.net_) == weights_digest(expected.net_)


def test_what_has_ended_is_passed_over(net, X, y, folder):
    expected = RetrainUnlearner(net, random_state=0).fit(X, y, forget=y == 1)
    with pytest.raises(KeyboardInterrupt), checkpoints(folder):
        fit(net, X, y, make=RetrainUnlearner)
        interrupt()
    with checkpoints(folder):
        found, epochs = fit(net, X, y, make=RetrainUnlearner)
        assert epochs == []
        found.unlearn(X, y, forget=y == 1)
    assert epochs == list(range(1, 11))
    assert weights_digest(found.net_) == weights_digest(expected.net_)
    assert found.history_[:, "train_loss"] == expected.history_[:, "train_loss"]


@pytest.mark.parametrize("n_kept", [3, 14])
@pytest.mark.parametrize("name", ["shards", "composition", "retrain"])
def test_runs_of_several_parts(name, n_kept, net, X, y, folder, monkeypatch):
    members = [("a", BoundaryUnlearner(max_epochs=2)), ("b", FineTuneUnlearner(max_epochs=2))]
    unlearner = {
        "shards": SISAUnlearner(net, n_shards=2, n_slices=2, random_state=0),
        "composition": ComposedUnlearner(members, estimator=net, finetune_epochs=9, random_state=0),
        "retrain": RetrainUnlearner(net, random_state=0),
    }[name]
    expected = clone(unlearner).fit(X, y, forget=[0, 30])
    kept, keep = [], module._Stage.keep

    def counted(stage):
        keep(stage)
        kept.append(stage)
        if len(kept) == n_kept:
            interrupt()

    monkeypatch.setattr(module._Stage, "keep", counted)
    n_starts = 0
    while True:
        n_starts += 1
        try:
            with checkpoints(folder):
                found = clone(unlearner).fit(X, y, forget=[0, 30])
            break
        except KeyboardInterrupt:
            n_kept += 9
    assert n_starts >= 2 or len(kept) < n_kept
    assert weights_digest(found.net_) == weights_digest(expected.net_)


def test_another_callback_may_pickle_the_net(net, X, y, folder, tmp_path):
    net.set_params(callbacks=[("save", Checkpoint(monitor=None, dirname=tmp_path / "own"))])
    net.set_params(callbacks__save__f_pickle="net.pkl")
    with checkpoints(folder):
        found = NegGradUnlearner(net, random_state=0).fit(X, y)
    data = (tmp_path / "own" / "net.pkl").read_bytes()
    assert b"RunState" not in data
    inside = pickle.loads(data)
    np.testing.assert_array_equal(inside.predict_proba(X), found.net_.predict_proba(X))


# Killed


def test_killed_at_random_moments():
    result = subprocess.run(
        [sys.executable, FAULTS, str(KILLS)], capture_output=True, text=True, check=True
    )
    total = json.loads(result.stdout)
    assert set(total) == {"fit", "boundary", "neggrad", "phases", "retrain", "shards"}
    for counts in total.values():
        assert counts["kills"] >= KILLS // len(total)
        assert counts["equal"] == counts["rounds"]
        assert counts["files_left"] == 0


def test_a_new_process_goes_on(folder):
    command = [sys.executable, FAULTS, "once", "phases", folder]
    # The order of sets and of ids differs from one process to the next.
    with subprocess.Popen(command, env=os.environ | {"PYTHONHASHSEED": "1"}) as first:
        while first.poll() is None and not checkpoints_in(folder):
            time.sleep(0.001)
        first.send_signal(signal.SIGKILL)
    before = checkpoints_in(folder)
    again = subprocess.run(
        command,
        env=os.environ | {"PYTHONHASHSEED": "2"},
        capture_output=True,
        text=True,
        check=True,
    )
    sys.path.insert(0, str(FAULTS.parent))
    try:
        import kill_runs
    finally:
        sys.path.remove(str(FAULTS.parent))
    assert before
    assert again.stdout.strip() == kill_runs.program("phases", None)
    assert "other runs" not in again.stderr
    assert files_in(folder) == []  # those of the first process were known


# The folder


def interrupted(folder, frozen, X, y, **params):
    params = {"max_epochs": 3, "random_state": 0} | params
    with pytest.raises(KeyboardInterrupt), checkpoints(folder):
        unlearn(NegGradUnlearner(frozen, **params), X, y, interrupted_at=2)
    (path,) = files_in(folder)
    return path


@pytest.mark.parametrize(
    "change",
    [
        {"random_state": 1},
        {"lr": 0.02},
        {"max_epochs": 4},
        {"batch_size": 5},
        {"optimizer": torch.optim.RMSprop},
        {"forget_weight": 0.5},
        {"trainable": "head"},
        {"stop_accuracy": 0.0},
        {"net_params": {"optimizer__weight_decay": 0.1}},
    ],
    ids=str,
)
def test_another_run_starts_from_its_beginning(change, frozen, X, y, folder):
    path = interrupted(folder, frozen, X, y)
    method = NegGradUnlearner(frozen, **({"max_epochs": 3, "random_state": 0} | change))
    expected, all_epochs = unlearn(method, X, y)
    with pytest.warns(UserWarning, match="are of other runs") as caught, checkpoints(folder):
        found, epochs = unlearn(method, X, y)
    assert {warning.filename for warning in caught} == {__file__}
    assert epochs == all_epochs
    assert weights_digest(found.net_) == weights_digest(expected.net_)
    assert files_in(folder) == [path]


@pytest.mark.parametrize("what", ["value", "label", "weight", "forget"])
def test_other_data_are_another_run(what, frozen, X, y, folder):
    interrupted(folder, frozen, X, y)
    forget = 2
    if what == "value":
        X[70, 3] += 1e-6
    elif what == "label":
        y[1] = 1
    elif what == "weight":
        with torch.no_grad():
            next(frozen.estimator.module_.parameters())[0] += 1e-6
    else:
        forget = 1
    with pytest.warns(UserWarning, match="are of other runs"), checkpoints(folder):
        method = NegGradUnlearner(frozen, max_epochs=3, random_state=0)
        assert len(unlearn(method, X, y, forget=forget)[1]) == 3


class Bomb:
    def __reduce__(self):
        return pytest.fail, ("code in a checkpoint was run",)


def with_digest(payload):
    return module._MAGIC + hashlib.sha256(payload).digest() + payload


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:20],
        lambda data: data[:-1],
        lambda data: data[:500] + bytes([data[500] ^ 1]) + data[501:],
        lambda data: b"sklunlearn checkpoint 9\n" + data[24:],
        lambda data: pickle.dumps(Bomb()),
        lambda data: with_digest(pickle.dumps(Bomb())),
        lambda data: with_digest(torch_saved(Bomb())),
    ],
)
def test_a_damaged_checkpoint_is_not_used(damage, frozen, X, y, folder):
    path = interrupted(folder, frozen, X, y)
    path.write_bytes(damage(path.read_bytes()))
    method = NegGradUnlearner(frozen, max_epochs=3, random_state=0)
    expected, _ = unlearn(method, X, y)
    with pytest.warns(UserWarning, match=f"{path.name} is damaged") as caught, checkpoints(folder):
        found, epochs = unlearn(method, X, y)
    assert caught[0].filename == __file__
    assert epochs == [1, 2, 3]
    assert weights_digest(found.net_) == weights_digest(expected.net_)
    assert files_in(folder) == []


def torch_saved(value):
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def test_the_folder_is_for_its_owner_and_left_empty(frozen, X, y, folder):
    path = interrupted(folder, frozen, X, y)
    if os.name == "posix":
        assert folder.stat().st_mode & 0o777 == 0o700
        # Also in a folder that was there before, and that others may look into.
        assert path.stat().st_mode & 0o777 == 0o600
    (folder / f".{path.name}.x1.tmp").write_bytes(b"of a process that was killed in its writing")
    (folder / "notes.txt").write_text("not ours")
    with checkpoints(folder) as yielded:
        found, _ = unlearn(NegGradUnlearner(frozen, max_epochs=3, random_state=0), X, y)
    assert yielded == folder
    assert [path.name for path in files_in(folder)] == ["notes.txt"]
    # Nothing in the model knows of it.
    found.set_params(callbacks=None)
    for model in (found, found.release()):
        assert str(folder).encode() not in pickle.dumps(model)


def test_nothing_is_written_outside_of_the_context(frozen, X, y, folder, monkeypatch):
    with checkpoints(folder):
        pass
    monkeypatch.setattr(module, "atomic_write", lambda *args: pytest.fail("it was written"))
    NegGradUnlearner(frozen, max_epochs=1).fit(X, y, forget=[0])


def test_checkpoints_are_apart(frozen, X, y, folder, monkeypatch):
    clock, written = [0.0], []
    monkeypatch.setattr(module, "_PAUSE", 20)
    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])

    class Takes2(Callback):
        def on_epoch_end(self, net, **kwargs):
            clock[0] += 2

    def write(path, data, private):
        clock[0] += 0.25  # 20 times as long are 5 seconds
        written.append(clock[0] - 0.25)

    monkeypatch.setattr(module, "atomic_write", write)
    with checkpoints(folder):
        callbacks = [Takes2()]
        NegGradUnlearner(frozen, max_epochs=8, random_state=0, callbacks=callbacks).fit(
            X, y, forget=[0]
        )
    # At the ends of epochs 1, 4 and 7; each write has moved the clock too.
    assert written == [2.0, 8.25, 14.5]


def test_random_state_must_be_set(net, frozen, X, y, folder):
    unlearner = NegGradUnlearner(frozen, max_epochs=1).fit(X, y)
    with checkpoints(folder):
        with pytest.raises(ValueError, match="`random_state` is None: set it to an integer"):
            unlearner.unlearn(X, y, forget=[0])
        with pytest.raises(ValueError, match="`random_state` is None"):
            NegGradUnlearner(net).fit(X, y)
        unlearner.set_params(random_state=np.random.RandomState(0)).unlearn(X, y, forget=[0])


class Collects(Callback):
    def on_epoch_end(self, net, **kwargs):
        self.last_ = object()


def test_what_has_no_form_is_named_and_the_run_starts_again(frozen, X, y, folder):
    method = NegGradUnlearner(frozen, max_epochs=3, random_state=0, callbacks=[Collects()])
    expected, _ = unlearn(method, X, y)
    message = r"'last_' of Collects holds a builtins\.object.*starts from its beginning"
    with pytest.warns(UserWarning, match=message), pytest.raises(KeyboardInterrupt):
        with checkpoints(folder):
            unlearn(method, X, y, interrupted_at=2)
    assert files_in(folder) == []
    with pytest.warns(UserWarning, match=message) as caught, checkpoints(folder):
        found, epochs = unlearn(method, X, y)
    assert caught[0].filename == __file__
    assert epochs == [1, 2, 3]
    assert weights_digest(found.net_) == weights_digest(expected.net_)


def test_a_full_disk_does_not_end_the_run(frozen, X, y, folder):
    method = NegGradUnlearner(frozen, max_epochs=3, random_state=0)
    expected, _ = unlearn(method, X, y)
    with pytest.warns(UserWarning, match="could not be written") as caught, checkpoints(folder):
        with full_disk(1000):
            found, _ = unlearn(method, X, y)
    assert caught[0].filename == __file__
    assert weights_digest(found.net_) == weights_digest(expected.net_)
    assert files_in(folder) == []


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"), checkpoints(tmp_path / "file"):
        pass
