import hashlib

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.sparse import csr_array
from torch.utils.data import TensorDataset

from sklunlearn._partition import partition


@pytest.fixture
def rows():
    """2500 rows, more than two blocks of 1024; float32 values."""
    return np.random.default_rng(0).normal(size=(2500, 3)).astype(np.float32)


def places_of(X, salt=1, n_shards=4, n_slices=3):
    shards, slices = partition(X, salt, n_shards, n_slices)
    assert shards.dtype == slices.dtype == np.int64
    return (shards * n_slices + slices).tolist()


def test_places_are_those_of_a_keyed_hash():
    X = np.array([[1.5, -2.0], [0.0, 1e10]], dtype=np.float32)
    expected = []
    for row in X:
        digest = hashlib.blake2b(row.tobytes(), key=b"77", digest_size=8).digest()
        expected.append(int.from_bytes(digest, "little"))
    shards, slices = partition(X, 77, 1000, 999)
    assert shards.tolist() == [number % 1000 for number in expected]
    assert slices.tolist() == [number // 1000 % 999 for number in expected]


def test_the_place_of_a_row_does_not_depend_on_other_rows(rows):
    places = np.array(places_of(rows))
    order = np.random.default_rng(1).permutation(2500)
    assert places_of(rows[order]) == places[order].tolist()
    some = np.arange(2500) % 7 == 0
    assert places_of(rows[some]) == places[some].tolist()


def test_the_place_of_a_row_does_not_depend_on_what_holds_it(rows):
    rows[0] = [0.0, -0.0, 1.0]
    places = places_of(rows)
    positive = rows.copy()
    positive[0] = np.abs(rows[0])
    table = pd.DataFrame(rows)
    for same in (
        rows.astype(np.float64),
        np.asfortranarray(rows),
        rows.astype(object),
        rows.tolist(),
        rows[:, None, :, None],
        table,
        table.astype("Float64"),
        csr_array(rows),
        TensorDataset(torch.from_numpy(rows), torch.zeros(2500)),
        positive,
    ):
        assert places_of(same) == places
    assert places_of(rows * 1.001) != places


def test_tables_with_texts_and_missing_values(rows):
    table = pd.DataFrame(rows, columns=list("abc")).astype({"a": "float64"})
    table["number"] = np.arange(2500) % 5
    table["text"] = np.where(np.arange(2500) % 2, "ape", "elephant")
    table["when"] = pd.Timestamp("2025-01-01")
    table.loc[::3, "b"] = np.nan
    table.loc[::7, "text"] = None
    places = np.array(places_of(table))
    assert len(set(places)) == 12
    assert places_of(table.astype({"number": float})) == places.tolist()
    assert places_of(table.values.tolist()) == places.tolist()
    assert places_of(table[::-1]) == places[::-1].tolist()
    other = table.assign(text="bee")
    assert np.mean(np.array(places_of(other)) == places) < 0.2


def test_texts():
    texts = [f"word {i}" for i in range(40)]
    places = places_of(texts)
    assert len(set(places)) > 6
    assert places_of(np.array(texts)) == places_of(np.array(texts, dtype=object)) == places
    assert places_of(texts[::-1]) == places[::-1]


def test_equal_rows_are_together_and_numbers_beyond_float32_are_no_error():
    assert len(set(places_of(np.ones((50, 2))))) == 1
    assert len(places_of(np.array([[1e300, -1e300]]))) == 1


def test_places_are_uniform_and_shards_independent_of_slices(rows):
    counts = np.bincount(places_of(rows), minlength=12)
    # Chi-squared with 11 degrees of freedom: beyond 31 in one of 1000 draws.
    assert np.sum((counts - 2500 / 12) ** 2 / (2500 / 12)) < 31


def test_another_salt_gives_an_independent_partition(rows):
    first, second = (np.array(places_of(rows, salt)) for salt in (1, 2))
    counts = np.bincount(first * 12 + second, minlength=144)
    # 143 degrees of freedom.
    assert np.sum((counts - 2500 / 144) ** 2 / (2500 / 144)) < 200


@pytest.mark.parametrize("n_shards", [1, 5])
@pytest.mark.parametrize("n_slices", [1, 4])
def test_expected_cost_of_forgetting_one_row(n_shards, n_slices):
    X = np.arange(4000.0).reshape(-1, 1)
    shards, slices = partition(X, 3, n_shards, n_slices)
    counts = np.bincount(shards * n_slices + slices).reshape(n_shards, n_slices)
    # Each stage trains for the same number of epochs on its slice and those before it.
    cost = counts.cumsum(axis=1)
    forgotten = [cost[s, r:].sum() for s, r in zip(shards, slices, strict=True)]
    expected = (2 * n_slices + 1) / (3 * n_slices * n_shards)
    assert np.mean(forgotten) / cost.sum() == pytest.approx(expected, rel=0.03)
