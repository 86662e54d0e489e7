"""Generated data, labels, requests and unlearners, good and bad, for the property-based tests.

``SKLUNLEARN_EXAMPLES=10`` in the environment makes ten times as many cases, from new random draws;
by default there are 2000 in all, always the same.
"""

import os
import warnings

import numpy as np
import pandas as pd
import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from registry import ALL
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch import NeuralNetClassifier
from torch.utils.data import TensorDataset

from sklunlearn.exceptions import DivergenceError
from sklunlearn.networks import MLP

__all__ = ["EXPECTED", "examples", "forgets", "labels", "numbers", "quietly", "rows", "unlearners"]

# What a call may raise; those of this package are kinds of these.
EXPECTED = (ValueError, TypeError, NotFittedError, DivergenceError)

_TIMES = int(os.environ.get("SKLUNLEARN_EXAMPLES", "1"))


def examples(n):
    """Settings of a test of `n` cases, or of a multiple of them."""
    return settings(
        max_examples=n * _TIMES,
        deadline=None,
        database=None,
        derandomize=_TIMES == 1,
        suppress_health_check=list(HealthCheck),
    )


def quietly(function, *args, **kwargs):
    """What a call returns, or the exception of an expected kind that it raises."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return function(*args, **kwargs)
        except EXPECTED as error:
            assert str(error), "an error must say what is wrong"
            return error


def mostly(good, bad, share=6):
    """`good`, and once in a while `bad`."""
    return st.integers(1, share).flatmap(lambda i: bad if i == share else good)


numbers = st.one_of(
    st.sampled_from([0, 1, -1, 0.5, 2, 1e-9, 1e9, 1e300, np.nan, np.inf, -np.inf, True, None, "a"]),
    st.floats(-3, 3),
    st.integers(-3, 70),
)

_LAYOUTS = {
    "plain": lambda X: X,
    "fortran": np.asfortranarray,
    "strided": lambda X: np.repeat(X, 2, axis=0)[::2],
    "reversed": lambda X: X[::-1].copy()[::-1],
    "columns": lambda X: np.repeat(X, 2, axis=1)[:, ::2],
    "big endian": lambda X: X.astype(X.dtype.newbyteorder(">")),
}


def _read_only(X):
    X = X.copy()
    X.flags.writeable = False
    return X


_FORMS = {
    "array": lambda X: X,
    "read-only": _read_only,
    "list": lambda X: X.tolist(),
    "frame": lambda X: pd.DataFrame(X, index=[f"r{i % 3}" for i in range(len(X))]),
    "named frame": lambda X: pd.DataFrame(
        X, columns=[f"c{j}" for j in range(X.shape[1])], index=np.arange(len(X))[::-1] * 7
    ),
    "tensor": lambda X: torch.from_numpy(np.ascontiguousarray(X.astype(X.dtype.newbyteorder("=")))),
    "bfloat16": lambda X: torch.tensor(X.astype(np.float32)).to(torch.bfloat16),
    "float16 tensor": lambda X: torch.tensor(X.astype(np.float16)),
    "object": lambda X: X.astype(object),
    "matrix with an axis more": lambda X: X[:, :, None],
}


@st.composite
def rows(draw, n, n_features=None):
    """About `n` rows of a table, in many types and forms; some hold numbers that are refused."""
    n_features = draw(st.integers(1, 4)) if n_features is None else n_features
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    X = rng.normal(size=(n, n_features)) * draw(st.sampled_from([1, 1, 1, 30, 1e-6, 1e5]))
    if draw(st.integers(0, 4)) == 0:
        X[:, 0] = draw(st.sampled_from([0.0, 1.0, -7.0]))  # a constant feature
    bad = [np.nan, np.inf, -np.inf, 1e39, 1e30, 1e300]
    if draw(st.integers(0, 9)) == 0:
        X[draw(st.integers(0, n - 1)), -1] = draw(st.sampled_from(bad))
    kind = draw(
        mostly(
            st.sampled_from(["f4", "f8", "f2", "i1", "i4", "u1", "bool"]),
            st.sampled_from(["c8", "U5", "i8", "S3"]),
            8,
        )
    )
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        X = X.astype(kind)
        X = _LAYOUTS[draw(st.sampled_from(list(_LAYOUTS)))](X)
        form = draw(
            mostly(st.sampled_from(["array", "read-only"]), st.sampled_from(list(_FORMS)), 2)
        )
        return quietly(_FORMS[form], X)


_LABELS = {
    "int": np.array([0, 1, 2, 3]),
    "negative": np.array([-5, 3, 70, 71]),
    "uint8": np.array([0, 9, 200, 255], dtype=np.uint8),
    "str": np.array(["a", "b c", "", "ä"]),
    "object": np.array(["x", "y", "z", "w"], dtype=object),
    "bool": np.array([False, True, True, False]),
    "float": np.array([0.0, 1.0, 2.0, -1.0]),
    "not whole": np.array([0.5, 1.5, 2.5, 3.5]),
    "mixed": np.array(["a", 1, None, 2.5], dtype=object),
    "large": np.array([2**62, -(2**62), 0, 1]),
}


@st.composite
def labels(draw, n):
    """`n` labels of one to four classes, in many types."""
    kind = draw(mostly(st.sampled_from(list(_LABELS)[:7]), st.sampled_from(list(_LABELS))))
    n_classes = draw(mostly(st.integers(2, 4), st.integers(1, 4)))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    y = _LABELS[kind][np.append(np.arange(n_classes), rng.integers(n_classes, size=n))[:n]]
    wrap = draw(
        mostly(
            st.just(lambda y: y),
            st.sampled_from(
                [
                    list,
                    pd.Series,
                    pd.Categorical,
                    lambda y: pd.Series(y, index=np.arange(n) * 3, dtype="category"),
                    lambda y: y[:, None],
                    lambda y: y[1:],
                    lambda y: np.stack([y, y], axis=1),
                    lambda y: None,
                    lambda y: torch.as_tensor(np.asarray(y, dtype=np.int64)),
                ]
            ),
            5,
        )
    )
    return quietly(wrap, y)


@st.composite
def forgets(draw, n):
    """Masks and indices of `n` rows, and what is neither."""
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    mask = rng.random(n) < draw(st.sampled_from([0.2, 0.5]))
    mask[0] = True
    indices = np.flatnonzero(mask)
    good = [
        mask,
        indices,
        indices.tolist(),
        indices[::-1],
        pd.Series(mask),
        torch.from_numpy(mask),
        indices.astype(np.uint8),
        _read_only(mask),
    ]
    bad = [
        mask[1:],
        ~mask & mask,
        mask | True,
        mask.astype(float),
        mask.astype(str),
        mask.astype(object),
        mask[:, None],
        np.arange(n),
        [n],
        [-1],
        [1, 1],
        [],
        [2**70],
        None,
        3,
        "all",
        {0: 1},
        [[1], [2, 3]],
        np.array(1.5),
        pd.array([True] + [None] * (n - 1), dtype="boolean"),
    ]
    picked = st.integers(0, 99)
    chosen = draw(mostly(picked.map(lambda i: good[i % 8]), picked.map(lambda i: bad[i % 20]), 4))
    return chosen


_PARAMS = {
    "lr": [1e-3, 0.1, 1, 100.0, 1e30, 0, -1, np.nan, np.inf, "x", None],
    "max_epochs": [0, 1, 2, -1, 1.5, True, None],
    "batch_size": [1, 2, 3, 1000, 0, 2.0, None],
    "retain_weight": [0, 0.5, 1, 1e30, -1, np.nan],
    "max_grad_norm": [None, 1e-6, 1.0, 0, np.inf],
    "stop_accuracy": [None, 0, 0.5, 1, 2],
    "trainable": ["all", "head", 1, 0, 99, -1, "x", None],
    "freeze_batchnorm": [True, False, None],
    "optimizer": [None, torch.optim.Adam, torch.optim.RMSprop, int, "sgd"],
    "random_state": [None, 0, np.random.RandomState(0), "x", -1, 2**40],
    "net_params": [None, {}, {"verbose": 0}, {"foo": 1}, {3: 1}],
    "callbacks": [None, [], [3], "x"],
    "verbose": [0, False, -1, "x"],
    "memory": [None, 3],
    "dampening": [0.1, 0, 1e9, -1, np.nan],
    "alpha": [0, 1, np.inf, -1],
    "n_shards": [1, 3, 50, 0],
    "n_slices": [1, 2, 7, 0],
    "noise": [0, 1, 1e9, -1],
    "l2": [1e-9, 1.0, 1e9, 0],
    "temperature": [1e-6, 1, 1e6, 0],
}


@st.composite
def parameters(draw, unlearner):
    """Up to three parameters of an unlearner, good and bad."""
    names = sorted(_PARAMS.keys() & unlearner.get_params(deep=False).keys())
    chosen = draw(st.lists(st.sampled_from(names), max_size=3, unique=True))
    return {name: draw(st.sampled_from(_PARAMS[name])) for name in chosen}


def _net(n_features, n_classes):
    return NeuralNetClassifier(
        MLP,
        module__n_features=n_features,
        module__n_classes=n_classes,
        module__hidden=(3,),
        criterion=torch.nn.CrossEntropyLoss,
        max_epochs=1,
        batch_size=8,
        train_split=None,
        verbose=0,
    )


@st.composite
def unlearners(draw, X, y):
    """An unlearner around a network that may or may not suit the data."""
    unlearner = clone(draw(st.sampled_from(ALL)))
    shape = np.shape(X)
    n_features = shape[1] if len(shape) > 1 else 1
    try:
        n_classes = len(set(np.asarray(y).ravel().tolist()))
    except TypeError:
        n_classes = 2
    net = _net(n_features, n_classes)
    kind = draw(
        mostly(st.just("net"), st.sampled_from(["default", "pipeline", "odd", "frozen"]), 2)
    )
    estimator = {
        "net": net,
        "default": None,
        "pipeline": make_pipeline(StandardScaler(), net),
        "odd": _net(n_features + 1, n_classes),
        "frozen": net,
    }[kind]
    if kind == "frozen":
        rng = np.random.default_rng(0)
        y_seen = np.append(np.arange(n_classes), rng.integers(n_classes, size=9))
        net.fit(rng.normal(size=(len(y_seen), n_features)).astype(np.float32), y_seen)
        estimator = FrozenEstimator(net)
    params = draw(mostly(st.just({}), parameters(unlearner), 3))
    return unlearner.set_params(estimator=estimator, **params)


def as_dataset(X, y):
    """A torch Dataset of them, or a ValueError where they have no such form."""
    X, y = np.asarray(X, dtype=np.float32), np.asarray(y, dtype=np.int64)
    if len(X) != len(y):
        raise ValueError("torch refuses these")
    return TensorDataset(torch.tensor(X), torch.tensor(y))
