import numpy as np
import pytest
from scipy.stats import entropy
from sklearn.calibration import calibration_curve
from sklearn.exceptions import UndefinedMetricWarning

from sklunlearn.metrics import confidence_gap, entropy_gap, expected_calibration_error


def random_proba(seed, n_samples=300, n_classes=4):
    return np.random.default_rng(seed).dirichlet(np.full(n_classes, 0.5), size=n_samples)


def error_by_hand(y_true, proba, n_bins):
    """Row by row, with columns of the classes 0, 1, ..."""
    bins = {}
    for label, row in zip(y_true, proba, strict=True):
        confidence = max(row)
        b = next(b for b in range(1, n_bins + 1) if confidence <= b / n_bins)
        bins.setdefault(b, []).append((confidence, list(row).index(confidence) == label))
    error = 0
    for held in bins.values():
        confidences, right = zip(*held, strict=True)
        error += abs(sum(right) / len(held) - sum(confidences) / len(held)) * len(held)
    return error / len(y_true)


def test_vector_of_the_calibration_error():
    confidence = np.array([0.95, 0.85, 0.75, 0.65, 0.55, 0.92])
    y_true = 1 - np.array([1, 1, 0, 1, 0, 1])  # class 0 is predicted throughout
    proba = np.c_[confidence, 1 - confidence]
    error = expected_calibration_error(y_true, proba, n_bins=10)
    assert error == pytest.approx(0.321667, abs=1e-6)


@pytest.mark.parametrize("n_bins", [1, 2, 7, 10, 15, 1000])
def test_calibration_error_by_hand(n_bins):
    proba = random_proba(0)
    y_true = np.random.default_rng(1).integers(0, 4, size=300)
    y_true = np.where(np.arange(300) % 2, y_true, proba.argmax(axis=1))
    expected = error_by_hand(y_true, proba, n_bins)
    assert expected > 0.01
    error = expected_calibration_error(y_true, proba, n_bins=n_bins)
    assert error == pytest.approx(expected, abs=1e-12)


def test_calibration_error_from_the_curve_of_scikit_learn():
    proba = random_proba(2)
    y_true = np.random.default_rng(3).integers(0, 4, size=300)
    confidence, is_right = proba.max(axis=1), y_true == proba.argmax(axis=1)
    share, mean = calibration_curve(is_right, confidence, n_bins=15)
    n_rows = np.histogram(confidence, bins=np.linspace(0, 1, 16))[0]
    expected = (n_rows[n_rows > 0] * np.abs(share - mean)).sum() / 300
    assert expected_calibration_error(y_true, proba) == pytest.approx(expected, abs=1e-12)


def test_bins_are_closed_on_the_right():
    # 0.6 and 0.7 are in different bins of ten, 0.7 and 0.65 in one: 0.7 is its right edge.
    proba = np.array([[0.7, 0.3], [0.65, 0.35]])
    error = expected_calibration_error([0, 1], proba, n_bins=10, labels=[0, 1])
    assert error == pytest.approx(abs(0.5 - 0.675), abs=1e-12)
    proba = np.array([[0.7, 0.3], [0.6, 0.4]])
    error = expected_calibration_error([0, 1], proba, n_bins=10, labels=[0, 1])
    assert error == pytest.approx((0.3 + 0.6) / 2, abs=1e-12)


@pytest.mark.parametrize("as_labels", [np.asarray, np.array(["a", "b", "c", "d"]).take])
def test_columns_are_those_of_labels_in_any_order(as_labels):
    proba = random_proba(4)
    y_true = np.random.default_rng(5).integers(0, 4, size=300)
    expected = error_by_hand(y_true, proba, 15)
    order = np.array([2, 0, 3, 1])
    labels = as_labels(order)
    y_true = as_labels(y_true)
    assert expected_calibration_error(y_true, proba) == pytest.approx(expected, abs=1e-12)
    error = expected_calibration_error(y_true, proba[:, order], labels=labels)
    assert error == pytest.approx(expected, abs=1e-12)


def test_ties_go_to_the_lowest_label():
    assert expected_calibration_error([0], [[0.5, 0.5]], labels=[0, 1]) == 0.5
    assert expected_calibration_error([0], [[0.5, 0.5]], labels=[1, 0]) == 0.5
    # Wrong label, and so the error is the confidence: three classes, two of them tied.
    proba = [[0.2, 0.4, 0.4]]
    assert expected_calibration_error(["b"], proba, labels=["a", "b", "c"]) == pytest.approx(0.6)
    assert expected_calibration_error(["b"], proba, labels=["a", "c", "b"]) == pytest.approx(0.6)
    assert expected_calibration_error(["c"], proba, labels=["a", "c", "b"]) == pytest.approx(0.4)


def test_rows_of_one_class_and_one_row():
    proba = random_proba(6)
    y_true = np.full(300, 2)
    error = expected_calibration_error(y_true, proba, labels=range(4))
    assert error == pytest.approx(error_by_hand(y_true, proba, 15), abs=1e-12)
    assert expected_calibration_error([7], [[1.0]]) == 0
    assert expected_calibration_error([1], [[1, 0]], labels=[0, 1]) == 1


def test_confidence_a_rounding_above_one_is_in_the_last_bin():
    proba = np.array([[1 + 1e-6, 0.0], [0.99, 0.01]])
    error = expected_calibration_error([1, 0], proba)
    assert error == pytest.approx(abs(0.5 - 0.995), abs=1e-5)


def test_gaps_by_hand():
    p, q = random_proba(7, 30), random_proba(8, 50)
    expected = sum(map(max, p)) / 30 - sum(map(max, q)) / 50
    assert confidence_gap(p, q) == pytest.approx(expected, abs=1e-12)
    p[::3, 1], q[::3, 2] = 0, 0
    p, q = (proba / proba.sum(axis=1, keepdims=True) for proba in (p, q))
    for base in [None, 2, 10]:
        expected = entropy(p, base=base, axis=1).mean() - entropy(q, base=base, axis=1).mean()
        assert entropy_gap(p, q, base=base) == pytest.approx(expected, abs=1e-12)
    nats = entropy(p, axis=1).mean() - entropy(q, axis=1).mean()
    assert entropy_gap(p, q) == pytest.approx(nats, abs=1e-12)


@pytest.mark.parametrize("gap", [confidence_gap, entropy_gap])
def test_gaps_are_signed_and_do_not_depend_on_order(gap):
    p, q = random_proba(9, 30), random_proba(10, 30)
    assert gap(p, p) == 0
    assert gap(p, q) == pytest.approx(-gap(q, p), abs=1e-12)
    assert gap(p[::-1], q[:, ::-1]) == pytest.approx(gap(p, q), abs=1e-12)


def test_sign_of_the_gaps():
    unsure, sure = [[0.5, 0.5]], [[1, 0], [0, 1]]
    assert confidence_gap(unsure, sure) == -0.5
    assert entropy_gap(unsure, sure, base=2) == 1
    assert entropy_gap(sure, unsure, base=2) == -1


def test_no_row_is_nan_with_a_warning_at_the_call():
    some, nothing = [[0.5, 0.5]], np.empty((0, 2))
    for gap in [confidence_gap, entropy_gap]:
        with pytest.warns(
            UndefinedMetricWarning, match=f"{gap.__name__} is nan: `proba`"
        ) as caught:
            assert np.isnan(gap(nothing, some))
        assert caught[0].filename == __file__
        with pytest.warns(UndefinedMetricWarning, match="`reference` has no row"):
            assert np.isnan(gap(some, nothing))
    with pytest.warns(UndefinedMetricWarning, match="expected_calibration_error is nan") as caught:
        assert np.isnan(expected_calibration_error([], nothing, labels=["a", "b"]))
    assert caught[0].filename == __file__


GOOD = [[0.5, 0.5], [0.1, 0.9]]


@pytest.mark.parametrize(
    "call",
    [
        lambda proba: expected_calibration_error([0, 1], proba),
        lambda proba: confidence_gap(proba, GOOD),
        lambda proba: confidence_gap(GOOD, proba),
        lambda proba: entropy_gap(proba, GOOD),
        lambda proba: entropy_gap(GOOD, proba),
    ],
)
@pytest.mark.parametrize(
    "proba, error, match",
    [
        ([[3.0, 0.6], [0, 1]], ValueError, "row 0 has minimum 0.6 and sum 3.6.*softmax"),
        ([[0, 1], [1.2, -0.2]], ValueError, "row 1 has minimum -0.2 and sum 1"),
        ([[0, 1], [np.nan, 0.5]], ValueError, "holds nan"),
        ([0.5, 0.5], ValueError, r"has shape \(2,\), expected \(n_samples, n_classes\)"),
        ([["a", "b"]] * 2, TypeError, "must hold real numbers"),
    ],
)
def test_bad_probabilities(call, proba, error, match):
    with pytest.raises(error, match=match):
        call(proba)


@pytest.mark.parametrize("gap", [confidence_gap, entropy_gap])
def test_different_numbers_of_classes(gap):
    with pytest.raises(ValueError, match=r"`proba` has shape \(2, 2\) and `reference` .* \(1, 3\)"):
        gap(GOOD, [[0.2, 0.3, 0.5]])


def test_entropy_gap_with_a_bad_base():
    with pytest.raises(ValueError, match=r"`base` must be a number above 1 or None .*, got 1"):
        entropy_gap(GOOD, GOOD, base=1)


@pytest.mark.parametrize(
    "y_true, options, error, match",
    [
        ([0, 1, 1], {}, ValueError, "`y_true` has 3 labels for 2 rows"),
        ([0, 0], {}, ValueError, "`y_true` holds 1 different labels.*2 columns: pass the labels"),
        ([0, 2], {"labels": [0, 1]}, ValueError, r"`y_true` holds \[2\], which are not among"),
        ([0, 1], {"labels": [0, 1, 2]}, ValueError, "`labels` must name 2 columns"),
        ([0, 0], {"labels": [0, 0]}, ValueError, "each by a label of its own"),
        ([0, 1], {"labels": ["0", "1"]}, TypeError, "`labels` holds strings and `y_true`"),
        ([[0, 1]], {}, ValueError, "`y_true` has shape"),
        ([0, np.nan], {}, ValueError, "`y_true` holds nan"),
        ([0, 1], {"n_bins": 0}, ValueError, "`n_bins` must be an integer of at least 1, got 0"),
        ([0, 1], {"n_bins": 2.5}, TypeError, "`n_bins` must be an integer"),
        ([0, 1], {"n_bins": True}, TypeError, "`n_bins` must be an integer"),
    ],
)
def test_bad_input_of_the_calibration_error(y_true, options, error, match):
    with pytest.raises(error, match=match):
        expected_calibration_error(y_true, GOOD, **options)
