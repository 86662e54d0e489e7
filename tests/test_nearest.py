import numpy as np
import pandas as pd
import pytest
import torch
from scipy.spatial.distance import cdist
from torch.utils.data import TensorDataset

from sklunlearn import RetrainUnlearner
from sklunlearn._nearest import distances_to
from sklunlearn.requests import forget_mask

RNG = np.random.default_rng(0)
X = RNG.normal(size=(1500, 3)) * [1, 100, 0.01]  # in more than one batch
SCALED = (X - X.mean(axis=0)) / X.std(axis=0)


def test_distances_are_between_standardised_rows():
    expected = cdist(SCALED, SCALED[[3, 70]]).min(axis=1)
    np.testing.assert_allclose(distances_to(X, [3, 70]), expected, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(distances_to(X, X[[3, 70]]), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "rows",
    [
        X,
        X.tolist(),
        pd.DataFrame(X, index=np.arange(1500)[::-1]),
        torch.tensor(X),
        TensorDataset(torch.tensor(X), torch.zeros(1500)),
        X.reshape(1500, 1, 3, 1),
    ],
    ids=["ndarray", "list", "DataFrame", "tensor", "Dataset", "images"],
)
@pytest.mark.parametrize("amount", [{"n_samples": 20}, {"fraction": 20 / 1500}])
def test_the_nearest_rows(rows, amount):
    expected = np.sort(cdist(SCALED, SCALED[[3, 70]]).min(axis=1).argsort()[:20])
    mask = forget_mask(X=rows, nearest=[3, 70], **amount)
    assert np.flatnonzero(mask).tolist() == expected.tolist()
    assert mask[[3, 70]].all()


def test_one_index():
    assert np.flatnonzero(forget_mask(X=X, nearest=5, n_samples=1)).tolist() == [5]


def test_the_nearest_of_the_rows_that_meet_the_other_criteria():
    y = np.arange(1500) % 2
    distances = cdist(SCALED, SCALED[[3]])[:, 0]
    expected = [i for i in distances.argsort() if y[i] == 0][:4]
    mask = forget_mask(y, X=X, classes=0, nearest=[3], n_samples=4)
    assert np.flatnonzero(mask).tolist() == sorted(expected)


def test_memory_map(tmp_path):
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    expected = forget_mask(X=X, nearest=[3], n_samples=20)
    np.testing.assert_array_equal(forget_mask(X=mapped, nearest=[3], n_samples=20), expected)


def test_a_function_as_embedding():
    mask = forget_mask(X=X, nearest=[3], n_samples=9, embedding=lambda batch: batch[:, 1:2])
    expected = np.abs(X[:, 1] - X[3, 1]).argsort()[:9]
    assert np.flatnonzero(mask).tolist() == sorted(expected.tolist())


def test_what_enters_the_head_of_a_network():
    data = X[:90, :2].astype(np.float32)
    unlearner = RetrainUnlearner(random_state=0).fit(data, np.arange(90) % 3)
    module, entered = unlearner.net_.module_.eval(), []
    layers = [layer for layer in module.modules() if isinstance(layer, torch.nn.Linear)]
    hook = layers[-1].register_forward_pre_hook(lambda layer, args: entered.append(args[0]))
    with torch.no_grad():
        module(torch.tensor(data))
    hook.remove()
    embedding = entered[0].numpy()
    spread = embedding.std(axis=0)
    scaled = embedding / np.where(spread > 0, spread, 1)
    expected = cdist(scaled, scaled[[7]])[:, 0].argsort()[:5]
    for given in (unlearner, unlearner.net_):
        mask = forget_mask(X=data, nearest=[7], n_samples=5, embedding=given)
        assert np.flatnonzero(mask).tolist() == sorted(expected.tolist())


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"nearest": [3]}, ValueError, "say how many"),
        ({"nearest": [1500], "n_samples": 2}, ValueError, "index 1500, but X has 1500 rows"),
        ({"nearest": [-1], "n_samples": 2}, ValueError, "index -1"),
        ({"nearest": [], "n_samples": 2}, ValueError, "got shape \\(0,\\)"),
        ({"nearest": np.array([], dtype=int), "n_samples": 2}, ValueError, "is empty"),
        ({"nearest": [0.5, 1.5], "n_samples": 2}, ValueError, r"\(n_examples, 3\)"),
        ({"nearest": [[0.5, 1.5]], "n_samples": 2}, ValueError, r"got shape \(1, 2\)"),
        ({"nearest": "p1", "n_samples": 2}, ValueError, "must hold row indices"),
        ({"nearest": np.full((1, 3), np.nan), "n_samples": 2}, ValueError, "NaN"),
        ({"nearest": [3], "n_samples": 2, "X": None}, ValueError, "pass `X`"),
        ({"nearest": [3], "n_samples": 2, "X": X[:, 0]}, ValueError, "X must hold numbers"),
        ({"nearest": [3], "n_samples": 2, "embedding": 3}, TypeError, "got int"),
        (
            {"nearest": [3], "n_samples": 2, "embedding": RetrainUnlearner()},
            ValueError,
            "not fitted",
        ),
        (
            {"nearest": [3], "n_samples": 2, "embedding": lambda batch: batch[:, 0]},
            ValueError,
            "one vector a row",
        ),
        ({"n_samples": 2, "embedding": len}, ValueError, "pass `nearest` too"),
    ],
)
def test_errors_of_nearest(arguments, error, message):
    with pytest.raises(error, match=message):
        forget_mask(np.zeros(1500), **{"X": X, **arguments})


@pytest.mark.parametrize("embedding", [None, lambda rows: rows / 0])
def test_values_that_are_missing(embedding):
    X = np.ones((4, 2))
    X[1] = np.nan if embedding is None else 0
    with np.errstate(all="ignore"), pytest.raises(ValueError, match="infinite or missing"):
        forget_mask(X=X, nearest=[0], n_samples=1, embedding=embedding)
