import numpy as np
import pytest
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.metrics import confusion_matrix

from sklunlearn.metrics import interclass_confusion, make_confusion

Y = np.repeat([0, 1, 2], [30, 20, 10])


@pytest.mark.parametrize("n, n_a, n_b", [(2, 1, 1), (7, 4, 3), (40, 20, 20)])
def test_swap(n, n_a, n_b):
    before = Y.copy()
    confused, forget = make_confusion(Y, 0, 1, n, random_state=0)
    np.testing.assert_array_equal(Y, before)
    assert forget.dtype == bool
    assert ((Y == 0) & forget).sum() == n_a
    assert ((Y == 1) & forget).sum() == n_b
    np.testing.assert_array_equal(confused[forget], 1 - Y[forget])
    np.testing.assert_array_equal(confused[~forget], Y[~forget])


def test_swap_is_random_and_repeatable():
    first, again, other = (make_confusion(Y, 0, 1, 6, random_state=s)[1] for s in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_swap_of_names():
    confused, forget = make_confusion(["a", "long", "a", "z"], "a", "long", 2, random_state=0)
    assert forget.sum() == 2
    assert sorted(confused) == ["a", "a", "long", "z"]
    assert confused[1] == "a"


@pytest.mark.parametrize("names", [[0, 1, 2], ["x", "y", "z"]])
def test_confusion_matrix(names):
    rng = np.random.default_rng(0)
    y_true, y_pred = rng.integers(3, size=(2, 200))
    cm = confusion_matrix(y_true, y_pred)
    n = cm[0].sum() + cm[2].sum()
    names = np.array(names)
    classes = (names[0], names[2])
    result = interclass_confusion(names[y_true], names[y_pred], classes=classes)
    assert result.targeted_error == pytest.approx((cm[0, 2] + cm[2, 0]) / n, abs=1e-9)
    errors = cm[0].sum() - cm[0, 0] + cm[2].sum() - cm[2, 2]
    assert result.total_error == pytest.approx(errors / n, abs=1e-9)
    swapped = interclass_confusion(list(names[y_true]), names[y_pred], classes=classes[::-1])
    assert swapped == result


def test_extremes():
    assert interclass_confusion([0, 1], [0, 1], classes=(0, 1)) == (0, 0)
    assert interclass_confusion([0, 1], [1, 0], classes=[0, 1]) == (1, 1)
    assert interclass_confusion([0, 1, 2], [2, 2, 0], classes=(0, 1)) == (0, 1)


@pytest.mark.parametrize("y_true", [[], [0, 0], [1, 2]])
def test_class_without_rows(y_true):
    with pytest.warns(UndefinedMetricWarning, match="needs rows of both classes"):
        assert np.isnan(interclass_confusion(y_true, y_true, classes=(0, 1))).all()


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: make_confusion([[0, 1]], 0, 1, 2), ValueError, "`y` has shape"),
        (lambda: make_confusion(Y, 0, 0, 2), ValueError, "two different labels.*got 0, 0"),
        (lambda: make_confusion(Y, 0, 1, 1), ValueError, "at least 2, got 1"),
        (lambda: make_confusion(Y, 0, 1, 2.0), TypeError, "an integer"),
        (lambda: make_confusion(Y, 0, 1, 42), ValueError, "20 rows of class 1.* at least 21"),
        (lambda: make_confusion(Y, 0, 5, 2), ValueError, "0 rows of class 5"),
        (lambda: make_confusion(Y, "0", 1, 2), ValueError, "0 rows of class '0'"),
        (lambda: interclass_confusion(Y, Y[:5], classes=(0, 1)), ValueError, "5 labels for 60"),
        (lambda: interclass_confusion([Y], Y, classes=(0, 1)), ValueError, "`y_true` has shape"),
        (lambda: interclass_confusion(Y, Y, classes=(0, 1, 2)), ValueError, "got 0, 1, 2"),
        (lambda: interclass_confusion(Y, Y, classes=(0, 0)), ValueError, "two different labels"),
        (lambda: interclass_confusion(Y, Y, classes=0), ValueError, "two different labels"),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
