import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.metrics import accuracy_score, balanced_accuracy_score, recall_score

from sklunlearn.metrics import forget_accuracy, per_class_accuracy, retain_accuracy

NAMES = np.array(["benign", "melanoma", "nevus", "wart"])


def random_labels(seed=0, n_samples=200):
    rng = np.random.default_rng(seed)
    y_true, y_pred = rng.integers(0, 4, size=(2, n_samples))
    y_pred = np.where(rng.random(n_samples) < 0.6, y_true, y_pred)
    return y_true, y_pred, rng.random(n_samples) < 0.3


@pytest.mark.parametrize("as_labels", [np.asarray, NAMES.take, torch.tensor])
def test_accuracies_are_those_of_scikit_learn_on_the_rows(as_labels):
    y_true, y_pred, forget = random_labels()
    on_forget = accuracy_score(y_true[forget], y_pred[forget])
    on_retain = accuracy_score(y_true[~forget], y_pred[~forget])
    assert on_forget != on_retain
    labels = as_labels(y_true), as_labels(y_pred)
    for request in [forget, forget.tolist(), np.flatnonzero(forget), pd.Series(forget)]:
        assert forget_accuracy(*labels, forget=request) == pytest.approx(on_forget, abs=1e-12)
        assert retain_accuracy(*labels, forget=request) == pytest.approx(on_retain, abs=1e-12)


@pytest.mark.parametrize("accuracy", [forget_accuracy, retain_accuracy])
def test_accuracy_does_not_depend_on_the_order_of_rows_or_the_names_of_classes(accuracy):
    y_true, y_pred, forget = random_labels()
    order = np.random.default_rng(1).permutation(len(forget))
    expected = accuracy(y_true, y_pred, forget=forget)
    assert accuracy(y_true[order], y_pred[order], forget=forget[order]) == expected
    assert accuracy(NAMES[3 - y_true], NAMES[3 - y_pred], forget=forget) == expected


def test_accuracies_of_one_row():
    with pytest.warns(UndefinedMetricWarning, match="leaves none of the 1 rows"):
        assert np.isnan(retain_accuracy(["a"], ["b"], forget=[True]))
    assert forget_accuracy(["a"], ["b"], forget=[True]) == 0
    assert forget_accuracy(["a"], ["a"], forget=[True]) == 1


@pytest.mark.parametrize("nobody", [[False, False], [], np.array([], dtype=int)])
def test_no_forget_row_is_nan_with_a_warning_at_the_call(nobody):
    with pytest.warns(UndefinedMetricWarning, match="marks none of the 2 rows") as caught:
        assert np.isnan(forget_accuracy([0, 1], [0, 0], forget=nobody))
    assert caught[0].filename == __file__
    assert retain_accuracy([0, 1], [0, 0], forget=nobody) == 0.5


@pytest.mark.parametrize("as_labels", [np.asarray, NAMES.take])
def test_per_class_accuracy_is_the_recall_of_scikit_learn(as_labels):
    y_true, y_pred, _ = map(as_labels, random_labels(2))
    recalls = recall_score(y_true, y_pred, average=None)
    accuracies = per_class_accuracy(y_true, y_pred)
    np.testing.assert_allclose(accuracies, recalls, rtol=0, atol=1e-12)
    assert accuracies.mean() == pytest.approx(balanced_accuracy_score(y_true, y_pred), abs=1e-12)
    wanted = as_labels(np.array([3, 1]))
    accuracies = per_class_accuracy(y_true, y_pred, labels=wanted)
    np.testing.assert_allclose(accuracies, recalls[[3, 1]], rtol=0, atol=1e-12)


def test_per_class_accuracy_of_an_absent_class_is_nan_with_a_warning():
    with pytest.warns(UndefinedMetricWarning, match=r"no row of the classes \['c'\]") as caught:
        accuracies = per_class_accuracy(["a", "a", "b"], ["a", "b", "b"], labels=["c", "b", "a"])
    np.testing.assert_array_equal(accuracies, [np.nan, 1, 0.5])
    assert caught[0].filename == __file__
    with pytest.warns(UndefinedMetricWarning, match=r"no row of the classes \[2\]"):
        accuracies = per_class_accuracy([0, 1, 0], [0, 2, 0])  # a class that is only predicted
    np.testing.assert_array_equal(accuracies, [1, 0, np.nan])


def test_per_class_accuracy_of_one_class():
    np.testing.assert_array_equal(per_class_accuracy([3, 3, 3, 3], [3, 3, 3, 3]), [1])


@pytest.mark.parametrize("accuracy", [forget_accuracy, retain_accuracy])
@pytest.mark.parametrize(
    "y_true, y_pred, forget, error, match",
    [
        ([0, 1], [0, 1], None, TypeError, "`forget` is required"),
        ([0, 1], [0, 1], [True], ValueError, "mask of 1 rows, but the data has 2"),
        ([0, 1], [0, 1], [2], ValueError, "index 2"),
        ([0, 1], [0, 1], ["a", "b"], TypeError, "expected bool or int"),
    ],
)
def test_bad_requests(accuracy, y_true, y_pred, forget, error, match):
    with pytest.raises(error, match=match):
        accuracy(y_true, y_pred, forget=forget)


@pytest.mark.parametrize(
    "accuracy",
    [
        lambda y_true, y_pred: forget_accuracy(y_true, y_pred, forget=[0]),
        lambda y_true, y_pred: retain_accuracy(y_true, y_pred, forget=[0]),
        per_class_accuracy,
    ],
)
@pytest.mark.parametrize(
    "y_true, y_pred, error, match",
    [
        ([0, 1], [0, 1, 1], ValueError, "`y_pred` has 3 labels for 2 rows"),
        ([0, 1], [[0], [1]], ValueError, r"`y_pred` has shape \(2, 1\), expected \(n_samples,\)"),
        (0, [0], ValueError, r"`y_true` has shape \(\), expected \(n_samples,\)"),
        ([0, 1], ["0", "1"], TypeError, "`y_true` holds numbers and `y_pred` holds strings"),
        (["a", 1], ["a", "b"], TypeError, "strings only or numbers only, got int, str"),
        (["a", np.nan], ["a", "b"], TypeError, "strings only or numbers only, got float, str"),
        (["a", None], ["a", "b"], TypeError, "got NoneType, str"),
        ([0, None], [0, 1], TypeError, "got NoneType, int"),
        ([0, np.nan], [0, 1], ValueError, "`y_true` holds nan"),
        ([0, 1], np.array([0, np.inf]), ValueError, "`y_pred` holds inf"),
        ([0, 1j], [0, 1], TypeError, "got complex, int"),
    ],
)
def test_bad_labels(accuracy, y_true, y_pred, error, match):
    with pytest.raises(error, match=match):
        accuracy(y_true, y_pred)


@pytest.mark.parametrize(
    "labels, error, match",
    [
        ([0, 1, 0], ValueError, "`labels` repeats 0"),
        (["a", "b"], TypeError, "`labels` holds strings and `y_true` holds numbers"),
        ([[0, 1]], ValueError, "`labels` has shape"),
        ([0, np.nan], ValueError, "`labels` holds nan"),
    ],
)
def test_per_class_accuracy_with_bad_labels(labels, error, match):
    with pytest.raises(error, match=match):
        per_class_accuracy([0, 1], [0, 1], labels=labels)


def test_inputs_are_not_changed():
    y_true, y_pred, forget = random_labels()
    before = [array.copy() for array in (y_true, y_pred, forget)]
    forget_accuracy(y_true, y_pred, forget=forget)
    retain_accuracy(y_true, y_pred, forget=forget)
    per_class_accuracy(y_true, y_pred)
    for array, copy in zip((y_true, y_pred, forget), before, strict=True):
        np.testing.assert_array_equal(array, copy)
