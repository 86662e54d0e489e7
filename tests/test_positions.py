import itertools
import resource

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from sklunlearn import _positions
from sklunlearn._positions import (
    Others,
    drawn_batches,
    others,
    shuffled_batches,
    split_evenly,
)


@pytest.mark.parametrize(
    ("n", "batch_size", "sizes"),
    [
        (10, 5, [5, 5]),
        (10, 4, [4, 3, 3]),
        (65, 64, [33, 32]),
        (3, 64, [3]),
        (1, 1, [1]),
        (3, 1, [1, 1, 1]),
        (0, 4, []),
    ],
)
def test_batches_are_few_and_of_nearly_equal_size(n, batch_size, sizes):
    order = torch.arange(n).flip(0)
    batches = list(split_evenly(order, batch_size))
    assert [len(batch) for batch in batches] == sizes
    assert [int(i) for batch in batches for i in batch] == order.tolist()


@pytest.mark.parametrize("make", [shuffled_batches, drawn_batches])
@pytest.mark.parametrize(("n", "batch_size"), [(1, 1), (1, 64), (2, 1), (50, 7), (64, 64), (65, 9)])
def test_random_batches_hold_every_number_once(make, n, batch_size):
    torch.manual_seed(0)
    batches = list(make(n, batch_size))
    assert all(0 < len(batch) <= batch_size and batch.dtype == torch.int64 for batch in batches)
    assert sorted(torch.cat(batches).tolist()) == list(range(n))


@pytest.mark.parametrize("make", [shuffled_batches, drawn_batches])
def test_random_batches_hold_each_number_equally_often(make):
    torch.manual_seed(0)
    counts = np.zeros((3, 12))  # of each number, in each of the three batches
    for _ in range(500):
        for place, batch in zip(counts, make(12, 4), strict=True):
            place[batch.numpy()] += 1
    assert chisquare(counts, axis=1).pvalue.min() > 1e-3


def test_drawn_batches_follow_the_seed_and_differ_between_passes():
    passes = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        passes.append([torch.cat(list(drawn_batches(40, 8))).tolist() for _ in range(2)])
    assert passes[0] == passes[1] != passes[2]
    assert passes[0][0] != passes[0][1]


def test_when_batches_are_drawn_does_not_matter_to_other_draws():
    draws = []
    for n_batches in (1, 3):
        torch.manual_seed(0)
        list(itertools.islice(drawn_batches(40, 8), n_batches))
        draws.append(torch.rand(1).item())
    assert draws[0] == draws[1]


def test_few_batches_of_very_many_make_no_list():
    began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert len(next(drawn_batches(10**9, 8))) == 8
    # In KiB. A list would take 8 GB.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - began < 10**6


MASKS = {
    "some": np.arange(20) % 3 == 0,
    "none": np.zeros(5, dtype=bool),
    "all": np.ones(5, dtype=bool),
    "first": np.arange(5) < 2,
    "last": np.arange(5) >= 3,
    "runs": np.arange(40) // 5 % 2 == 0,
}


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_others_are_those_that_are_not_marked(mask):
    expected, found = np.flatnonzero(~mask), Others(mask)
    assert len(found) == len(expected)
    np.testing.assert_array_equal(np.asarray(found), expected)
    np.testing.assert_array_equal(found[:], expected)
    np.testing.assert_array_equal(found[2:9], expected[2:9])
    assert found[[]].dtype == np.int64 and len(found[[]]) == 0
    if len(expected):
        numbers = np.random.default_rng(0).integers(len(expected), size=10)
        np.testing.assert_array_equal(found[numbers], expected[numbers])
        np.testing.assert_array_equal(found[[0]], expected[[0]])


def test_others_of_few_are_an_array(monkeypatch):
    mask = MASKS["some"]
    assert isinstance(others(mask), np.ndarray)
    monkeypatch.setattr(_positions, "MANY", 19)
    assert isinstance(others(mask), Others)
    np.testing.assert_array_equal(np.asarray(others(mask)), np.flatnonzero(~mask))
