import numpy as np
import pytest
from composing import BatchNormNet, accuracy, initialized, loss

from sklunlearn._merge_rows import MergeRows, best_compromise, best_forgetter, best_retainer


@pytest.fixture
def net():
    return initialized(BatchNormNet)


@pytest.fixture
def forget(y):
    return y == 1


def scores_by_hand(net, forget_rows, retain_rows):
    return {
        "forget_accuracy": accuracy(net, *forget_rows),
        "forget_loss": loss(net, *forget_rows),
        "retain_accuracy": accuracy(net, *retain_rows),
        "retain_loss": loss(net, *retain_rows),
    }


def assert_scores(actual, expected):
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        assert actual[name] == pytest.approx(value, rel=1e-5), name


def test_scores_are_of_the_rows_of_the_request(net, X, y, forget):
    rows = MergeRows(X, y, forget, None, 1000)
    expected = scores_by_hand(net, (X[forget], y[forget]), (X[~forget], y[~forget]))
    assert_scores(rows.scores(net), expected)
    assert sorted(rows.retain.indices) == np.flatnonzero(~forget).tolist()


@pytest.mark.parametrize("marked", ["none", "some", "all"])
def test_held_out_rows_take_their_place(net, X, y, forget, marked):
    held_out = X[::2] + 1, (y[::2] + 1) % 3
    mask = {"none": np.zeros(38, bool), "some": np.arange(38) < 9, "all": np.ones(38, bool)}[marked]
    rows = MergeRows(X, y, forget, (*held_out, mask), 1000)
    forget_rows, retain_rows = [[part[m] for part in held_out] for m in (mask, ~mask)]
    if marked == "none":
        forget_rows = X[forget], y[forget]
    if marked == "all":
        retain_rows = X[~forget], y[~forget]
    assert_scores(rows.scores(net), scores_by_hand(net, forget_rows, retain_rows))
    # What statistics are of does not depend on them.
    assert sorted(rows.retain.indices) == np.flatnonzero(~forget).tolist()


def test_no_more_rows_than_allowed_are_looked_at_and_they_are_drawn(net, X, y, forget):
    drawn = MergeRows(X, y, forget, None, 7).retain.indices
    assert len(set(drawn)) == 7
    assert not forget[drawn].any()
    assert set(MergeRows(X, y, forget, None, 7).retain.indices) != set(drawn)


def of(forget_accuracy=0.0, retain_accuracy=1.0, retain_loss=0.1):
    return {
        "forget_accuracy": forget_accuracy,
        "forget_loss": 1.0,
        "retain_accuracy": retain_accuracy,
        "retain_loss": retain_loss,
    }


@pytest.mark.parametrize(
    "scores, best",
    [
        ([of(retain_accuracy=0.8), of(retain_accuracy=0.9)], "b"),
        ([of(retain_accuracy=0.9), of(retain_accuracy=0.8)], "a"),
        ([of(retain_loss=0.3), of(retain_loss=0.2)], "b"),
        ([of(retain_loss=0.2), of(retain_loss=0.2)], "a"),
        ([of(0.0, 0.8), of(1.0, 0.9)], "b"),
    ],
)
def test_best_retainer(scores, best):
    assert best_retainer(dict(zip("ab", scores, strict=True))) == best


@pytest.mark.parametrize(
    "scores, target, best",
    [
        ([of(0.5), of(0.2)], 0.0, "b"),
        ([of(0.5), of(0.2)], 0.4, "a"),
        ([of(0.5), of(0.2)], 1.0, "a"),
        ([of(0.25, 0.8), of(0.75, 0.9)], 0.5, "b"),
        ([of(0.25), of(0.75, retain_loss=0.05)], 0.5, "b"),
        ([of(0.25), of(0.75)], 0.5, "a"),
    ],
)
def test_best_forgetter(scores, target, best):
    assert best_forgetter(dict(zip("ab", scores, strict=True)), target) == best


@pytest.mark.parametrize(
    "scores, target, best",
    [
        ([of(0.2, 0.9), of(0.0, 0.8), of(0.1, 0.95)], 0.0, 2),
        ([of(0.2, 0.9), of(0.0, 0.8), of(0.1, 0.95)], 0.2, 0),
        ([of(0.5, 0.9), of(0.0, 0.5)], 0.0, 1),
        ([of(0.0, 0.9), of(0.0, 0.9, 0.05)], 0.0, 1),
        ([of(), of()], 0.0, 0),
    ],
)
def test_best_compromise(scores, target, best):
    assert best_compromise(scores, target) == best
