"""Numbers at the edge of what can be computed: an answer, or a clear error and nothing changed."""

import numpy as np
import pandas as pd
import pytest
import torch
from registry import ALL, WHOLE_CLASSES, WITHOUT_TRAINING
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from skorch import NeuralNetClassifier

from sklunlearn._nets import weights_digest
from sklunlearn.exceptions import DivergenceError
from sklunlearn.gradient import GradientUnlearner
from sklunlearn.networks import MLP

GRADIENT = [one for one in ALL if isinstance(one, GradientUnlearner)]


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def name_of(unlearner):
    return type(unlearner).__name__


def forget_of(unlearner, y):
    """A class, or every fifth row."""
    if name_of(unlearner) in WHOLE_CLASSES:
        return y == y[0]
    return np.arange(len(y)) % 5 == 0


def make_net(n_features, n_classes, **params):
    return NeuralNetClassifier(
        MLP,
        module__n_features=n_features,
        module__n_classes=n_classes,
        module__hidden=(8,),
        criterion=torch.nn.CrossEntropyLoss,
        lr=0.05,
        max_epochs=2,
        batch_size=25,
        train_split=None,
        verbose=0,
        **params,
    )


def assert_answers(unlearner, X):
    probabilities = unlearner.predict_proba(X)
    assert np.isfinite(probabilities).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-4)


# Steps that explode


@pytest.mark.parametrize("lr", [1e3, 1e10, 1e30, 1e300])
@pytest.mark.parametrize("unlearner", GRADIENT, ids=name_of)
def test_steps_that_explode(unlearner, lr, trained_net, X, y):
    unlearner = clone(unlearner).set_params(estimator=FrozenEstimator(trained_net), lr=lr)
    unlearner.fit(X, y)
    before, attributes = weights_digest(unlearner.net_), dict(vars(unlearner))
    try:
        unlearner.unlearn(X, y, forget=forget_of(unlearner, y))
    except DivergenceError as error:
        assert "Lower `lr`" in str(error)
        assert vars(unlearner) == attributes
        assert weights_digest(unlearner.net_) == before
    else:
        assert_answers(unlearner, X)
        assert np.isfinite(unlearner.forget_loss_).all()
    assert weights_digest(trained_net) == before


# Nothing to learn from


@pytest.mark.parametrize("unlearner", ALL, ids=name_of)
def test_rows_without_a_gradient(unlearner, X, y):
    """A network whose hidden units are all dead: only its last biases can change."""
    net = make_net(4, 3).fit(X, y)
    with torch.no_grad():
        for layer in net.module_.features.modules():
            if isinstance(layer, torch.nn.Linear):
                layer.bias.fill_(-1e6)
    unlearner = clone(unlearner).set_params(estimator=FrozenEstimator(net)).fit(X, y)
    unlearner.unlearn(X, y, forget=forget_of(unlearner, y))
    assert_answers(unlearner, X)


@pytest.mark.parametrize("kind", ["some odd", "all constant"])
@pytest.mark.parametrize("unlearner", ALL, ids=name_of)
def test_odd_features(unlearner, kind, X, y):
    odd = [np.full(75, 7.0), np.zeros(75), X[:, 0] > 5.8, X[:, 1] * 1e-30, X[:, 2] * 1e15, X[:, 3]]
    X = np.column_stack(odd if kind == "some odd" else odd[:2]).astype(np.float32)
    # The default network standardises what it is given.
    unlearner = clone(unlearner).fit(X, y)
    unlearner.unlearn(X, y, forget=forget_of(unlearner, y))
    assert_answers(unlearner, X)


# Few rows, few classes, many classes


@pytest.mark.parametrize("unlearner", ALL, ids=name_of)
@pytest.mark.parametrize("forgotten", [True, False])
def test_a_class_with_one_row(unlearner, forgotten, net, X, y):
    y = y.copy()
    y[y == 2] = 1
    y[7] = 2
    forget = y == 2 if forgotten else y == 1 if name_of(unlearner) in WHOLE_CLASSES else y == 0
    if not forgotten:
        forget &= np.arange(75) != 7
    unlearner = clone(unlearner).set_params(estimator=net).fit(X, y)
    unlearner.unlearn(X, y, forget=forget)
    assert_answers(unlearner, X)


@pytest.mark.parametrize("n_classes", [2, 1000])
@pytest.mark.parametrize("unlearner", ALL, ids=name_of)
def test_numbers_of_classes(unlearner, n_classes):
    if name_of(unlearner) == "CertifiedUnlearner":
        n_classes = min(n_classes, 100)  # a Newton method for each
    rng = np.random.default_rng(0)
    n = max(60, 2 * n_classes)
    y = np.arange(n) % n_classes
    X = (rng.normal(size=(n, 4)) + y[:, None] / n_classes).astype(np.float32)
    net = FrozenEstimator(make_net(4, n_classes, classes=list(range(n_classes))).fit(X, y))
    unlearner = clone(unlearner).set_params(estimator=net).fit(X, y)
    whole = n_classes > 2 or name_of(unlearner) in WHOLE_CLASSES
    unlearner.unlearn(X, y, forget=(y == 1) if whole else np.arange(n) < 6)
    assert_answers(unlearner, X)
    assert unlearner.predict_proba(X).shape == (n, n_classes)


# Types of data


TYPES = {
    "float16": lambda X: X.astype(np.float16),
    "float64": lambda X: X.astype(np.float64),
    "longdouble": lambda X: X.astype(np.longdouble),
    "big endian": lambda X: X.astype(">f4"),
    "float16 tensor": lambda X: torch.from_numpy(X).half(),
    "float64 tensor": lambda X: torch.from_numpy(X).double(),
    "bfloat16 tensor": lambda X: torch.from_numpy(X).to(torch.bfloat16),
    "tensor with a gradient": lambda X: torch.from_numpy(X).requires_grad_(),
    "not contiguous": lambda X: np.repeat(X, 2, axis=1)[:, ::2],
    "Fortran": np.asfortranarray,
    "reversed": lambda X: X[::-1].copy()[::-1],
    "odd index": lambda X: pd.DataFrame(X, index=["a"] * 75),
    "nullable": lambda X: pd.DataFrame(X, columns=list("abcd")).astype("Float32"),
}


@pytest.mark.parametrize("convert", TYPES.values(), ids=TYPES)
@pytest.mark.parametrize("unlearner", [ALL[2], *GRADIENT[:4]], ids=name_of)
def test_types_of_data_mean_the_same(unlearner, convert, net, X, y):
    # Eighths: numbers that every type has, bfloat16 with its eight bits too.
    X = np.round(X * 8).clip(0, 63) / 8
    plain = clone(unlearner).set_params(estimator=clone(net)).fit(X, y)
    plain.unlearn(X, y, forget=np.arange(75) % 5 == 0)
    data = convert(X.copy())
    unlearner = clone(unlearner).set_params(estimator=net).fit(data, y)
    unlearner.unlearn(data, y, forget=np.arange(75) % 5 == 0)
    assert weights_digest(unlearner.net_) == weights_digest(plain.net_)
    np.testing.assert_array_equal(unlearner.predict_proba(data), plain.predict_proba(X))


LABELS = {
    "str": ["a", "b", "c"],
    "object": np.array(["a", "b", "c"], dtype=object),
    "negative": [-3, -2, 7],
    "uint8": np.array([0, 128, 255], dtype=np.uint8),
    "category": pd.Categorical(["c", "a", "b"]),
}


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
def test_types_of_labels(labels, net, X, y):
    given = labels[y] if isinstance(labels, pd.Categorical) else np.asarray(labels)[y]
    unlearner = clone(GRADIENT[0]).set_params(estimator=net).fit(X, given)
    unlearner.unlearn(X, given, forget=[0, 30])
    assert set(unlearner.classes_.tolist()) == set(np.asarray(labels).tolist())
    assert set(unlearner.predict(X).tolist()) <= set(np.asarray(labels).tolist())


def test_boolean_labels(net, X, y):
    unlearner = clone(GRADIENT[0]).set_params(estimator=net.set_params(module__n_classes=2))
    unlearner.fit(X, y == 1).unlearn(X, y == 1, forget=[0, 30])
    assert unlearner.classes_.tolist() == [False, True]
    assert unlearner.predict(X).dtype == bool


@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e39])
def test_what_float32_cannot_hold(bad, net, X, y):
    unlearner = clone(GRADIENT[0]).set_params(estimator=net).fit(X, y)
    before = weights_digest(unlearner.net_)
    X = X.astype(np.float64)
    X[3, 1] = bad
    for call in (
        lambda: unlearner.unlearn(X, y, forget=[0]),
        lambda: unlearner.predict(X),
        lambda: clone(unlearner).fit(X, y),
    ):
        with pytest.raises(ValueError, match=r"NaN|infinity|too large"):
            call()
    assert weights_digest(unlearner.net_) == before


@pytest.mark.parametrize("n", [1, 2])
def test_batches_of_one_row_with_batchnorm(n, X, y):
    module = torch.nn.Sequential(
        torch.nn.Linear(4, 5), torch.nn.BatchNorm1d(5), torch.nn.ReLU(), torch.nn.Linear(5, 3)
    )
    net = NeuralNetClassifier(
        module,
        criterion=torch.nn.CrossEntropyLoss,
        train_split=None,
        max_epochs=1,
        verbose=0,
    ).fit(X, y)
    for unlearner in GRADIENT:
        if name_of(unlearner) in WHOLE_CLASSES | WITHOUT_TRAINING:
            continue
        unlearner = clone(unlearner).set_params(estimator=FrozenEstimator(net), batch_size=1)
        unlearner.fit(X, y)
        try:
            unlearner.unlearn(X, y, forget=np.arange(n))
        except DivergenceError as error:  # by the variance of a single row
            assert "Lower `lr`" in str(error)
        assert_answers(unlearner, X)
