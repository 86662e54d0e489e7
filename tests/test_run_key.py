import functools
import random

import numpy as np
import pytest
import torch
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback, EarlyStopping, LRScheduler
from torch import nn
from torch.utils.data import Dataset, Subset, TensorDataset

from sklunlearn import NegGradUnlearner, SCRUBUnlearner
from sklunlearn import _run_key as module
from sklunlearn._data import Rows, on_device
from sklunlearn._run_key import key_of_run

DATA = np.arange(12.0, dtype=np.float32).reshape(4, 3)


def make_net(**params):
    net = NeuralNetClassifier(
        nn.Linear, module__in_features=2, module__out_features=2, lr=0.1, **params
    )
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002
    random.seed(0)
    return net.initialize()


def key(data=(DATA,), *, net=None, **settings):
    return key_of_run(make_net() if net is None else net, data, **settings)


class Odd(Dataset):
    def __init__(self, n):
        self.n, self.lock = n, (lambda: None)

    def __len__(self):
        return self.n


class Mine(Callback):
    def __init__(self, rate=1):
        self.rate, self.seen = rate, []


@pytest.fixture(autouse=True)
def _global_states():
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002
    yield
    torch.set_rng_state(states[0])
    np.random.set_state(states[1])  # noqa: NPY002
    random.setstate(states[2])


def test_equal_runs_have_equal_keys():
    assert key() == key((DATA.copy(),))
    assert key() == key((np.asfortranarray(DATA),))
    assert len(key()) == 32
    assert int(key(), 16)


@pytest.mark.parametrize(
    "draw",
    [lambda: torch.rand(1), lambda: np.random.rand(), random.random],  # noqa: NPY002
)
def test_random_states_count(draw):
    net = make_net()
    draw()
    assert key(net=net) != key()


def test_weights_and_versions_count(monkeypatch):
    net = make_net()
    with torch.no_grad():
        net.module_.bias[0] += 1
    assert key(net=net) != key()
    before = key()
    monkeypatch.setattr(module, "_VERSIONS", ["other"])
    assert key() != before


def test_parameters_of_the_net_count():
    nets = [
        {},
        {"batch_size": 7},
        {"optimizer__momentum": 0.5},
        {"optimizer": torch.optim.Adam},
        {"criterion": nn.CrossEntropyLoss},
        {"callbacks": [EarlyStopping(patience=3)]},
        {"callbacks": [("rate", LRScheduler("StepLR", step_size=3))]},
        {"callbacks": [("rate", LRScheduler("StepLR", step_size=4))]},
        {"callbacks": [Mine(rate=1)]},
        {"callbacks": [Mine(rate=2)]},
        {"iterator_train__shuffle": True},
    ]
    assert len({key(net=make_net(**params)) for params in nets}) == len(nets)


def test_what_a_callback_has_seen_does_not_count():
    seen = Mine()
    seen.seen.append(1)
    assert key(net=make_net(callbacks=[seen])) == key(net=make_net(callbacks=[Mine()]))


@pytest.mark.parametrize("verbose", [0, 1])
def test_what_is_shown_does_not_count(verbose):
    method = NegGradUnlearner(memory=f"folder{verbose}", verbose=verbose)
    assert key(params=method) == key(params=NegGradUnlearner())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (DATA, DATA + 1e-6),
        (DATA, DATA.astype(np.float64)),
        (DATA, DATA.reshape(3, 4)),
        (np.array("a"), np.array("b")),
        (np.array(["a", 1], dtype=object), np.array(["a", 2], dtype=object)),
        (Rows(DATA), Rows(DATA, indices=np.array([0, 1, 3, 2]))),
        (Rows(DATA), Rows(DATA, y=np.arange(4))),
        (TensorDataset(torch.zeros(2)), TensorDataset(torch.ones(2))),
        (Subset(Odd(3), [0]), Subset(Odd(3), [1])),
        (Odd(3), Odd(4)),
    ],
)
def test_data_count(one, other):
    assert key((one,)) == key((one,))
    assert key((one,)) != key((other,))


def test_what_is_stored_with_the_rows_counts():
    rows = Rows(DATA)
    rows["target"] = torch.zeros(4)
    assert key((rows,)) != key((Rows(DATA),))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
def test_where_the_rows_are_does_not_count(dtype, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_BLOCK", 30)  # two rows and a half
    X = DATA.astype(dtype)
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    held = on_device(X, "cpu")
    for indices in (np.arange(4), np.array([3, 1])):
        keys = {key((Rows(source, indices=indices),)) for source in (X, mapped, Rows(mapped), held)}
        assert len(keys) == 1
    assert key((Rows(held),)) != key((Rows(on_device(X + 1, "cpu")),))
    assert key((Rows(held),)) != key((Rows(held.reshape(4, 3, 1)),))


def test_where_a_method_has_its_rows_does_not_count():
    methods = [NegGradUnlearner(data_on_device=on) for on in (False, True)]
    assert len({key(params=method) for method in methods}) == 1


def make_function(value):
    def function(n=0):
        return value if n == 0 else function(n - 1)

    return function


class Scaled(nn.Module):
    """Of which nothing is printed, and which has no weights."""

    def __init__(self, scale):
        super().__init__()
        self.scale = scale

    def forward(self, X):
        return self.scale * X


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (SCRUBUnlearner(rewind=(DATA, [0, 1])), SCRUBUnlearner(rewind=(DATA + 1, [0, 1]))),
        (functools.partial(max, 1), functools.partial(max, 2)),
        (nn.Dropout(0.1), nn.Dropout(0.2)),
        (torch.optim.SGD, torch.optim.Adam),
        (torch.relu, torch.sigmoid),
        (np.add, np.multiply),
        (make_function(1), make_function(2)),
        (make_function(DATA), make_function(DATA + 1)),
        (lambda x: x, lambda x: -x),
        (lambda x: x + 1, lambda x: x + 2),
        (lambda x, by=1: x, lambda x, by=2: x),
        (Scaled(1).forward, Scaled(2).forward),
        (Scaled(1), Scaled(2)),
        (1, 1.0),
        (None, "None"),
        (b"a", b"b"),
        ({1, 2}, {1, 3}),
        (frozenset({"a"}), frozenset({"b"})),
        (range(2), range(3)),
        (torch.float32, torch.float64),
        (np.dtype("f4"), np.dtype("f8")),
    ],
)
def test_settings_count(one, other):
    assert key(params=one) == key(params=one)
    assert key(params=one) != key(params=other)


def test_a_memory_map_is_read_in_blocks(tmp_path, monkeypatch):
    np.save(tmp_path / "X.npy", DATA)
    X = np.load(tmp_path / "X.npy", mmap_mode="r")
    whole = key((DATA,))
    monkeypatch.setattr(module, "_BLOCK", 24)  # two rows
    assert key((X,)) == whole
