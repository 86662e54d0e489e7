import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.metrics import accuracy_score

from sklunlearn.metrics import (
    activation_distance,
    js_divergence,
    kl_divergence,
    prediction_agreement,
    total_variation,
)

P, Q = [[0.7, 0.2, 0.1]], [[0.1, 0.3, 0.6]]
OF_PROBA = [kl_divergence, js_divergence, activation_distance, total_variation]


def random_proba(seed, n_samples=50, n_classes=4, zeros=True):
    rng = np.random.default_rng(seed)
    proba = rng.dirichlet(np.full(n_classes, 0.5), size=n_samples)
    if zeros:  # the second class has no probability in every fifth row
        proba[::5, 1] = 0
    return proba / proba.sum(axis=1, keepdims=True)


def test_vectors():
    assert kl_divergence(P, Q) == pytest.approx(1.101868, abs=1e-6)
    assert kl_divergence(Q, P) == pytest.approx(1.002104, abs=1e-6)
    assert js_divergence(P, Q, base=None) == pytest.approx(0.230645, abs=1e-6)
    assert js_divergence(P, Q) == pytest.approx(0.332751, abs=1e-6)
    assert activation_distance(P, Q) == pytest.approx(1.2, abs=1e-12)
    assert activation_distance(P, Q, norm="l2") == pytest.approx(0.787401, abs=1e-6)
    assert total_variation(P, Q) == pytest.approx(0.6, abs=1e-12)


@pytest.mark.parametrize("base", [None, 2, 10, 2.5])
def test_divergences_are_those_of_scipy(base):
    p, q = random_proba(0), random_proba(1, zeros=False)
    assert (p == 0).any()
    expected = entropy(p, q, base=base, axis=1).mean()
    assert kl_divergence(p, q, base=base) == pytest.approx(expected, abs=1e-12)
    q = random_proba(1)
    expected = (jensenshannon(p, q, base=base, axis=1) ** 2).mean()
    assert js_divergence(p, q, base=base) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("tiny", [1e-310, 5e-324])
def test_divergence_from_a_probability_that_is_almost_0(tiny):
    # Their ratio is more than the largest number.
    expected = 0.5 * (np.log(0.5) - np.log(tiny)) + 0.5 * np.log(0.5)
    assert kl_divergence([[0.5, 0.5]], [[tiny, 1.0]]) == pytest.approx(expected, rel=1e-12)
    assert kl_divergence([[tiny, 1.0]], [[0.5, 0.5]]) == pytest.approx(np.log(2), rel=1e-12)
    assert kl_divergence([[0.0, 1.0]], [[0.0, 1.0]]) == 0


def test_distances_by_hand():
    p, q = random_proba(0), random_proba(1)
    l1 = l2 = largest = 0.0
    for a, b in zip(p, q, strict=True):
        l1 += sum(abs(x - y) for x, y in zip(a, b, strict=True)) / len(p)
        l2 += sum((x - y) ** 2 for x, y in zip(a, b, strict=True)) ** 0.5 / len(p)
        sets = [[k for k in range(4) if code >> k & 1] for code in range(16)]
        largest += max(a[s].sum() - b[s].sum() for s in sets) / len(p)
    assert activation_distance(p, q) == pytest.approx(l1, abs=1e-12)
    assert activation_distance(p, q, norm="l2") == pytest.approx(l2, abs=1e-12)
    assert total_variation(p, q) == pytest.approx(largest, abs=1e-12)


def test_defaults_are_nats_bits_and_l1():
    p, q = random_proba(0, zeros=False), random_proba(1, zeros=False)
    assert kl_divergence(p, q) == pytest.approx(entropy(p, q, axis=1).mean(), abs=1e-12)
    assert js_divergence([[1, 0]], [[0, 1]]) == 1
    assert activation_distance([[1, 0]], [[0, 1]]) == 2


@pytest.mark.parametrize(
    "distance, farthest",
    [
        (kl_divergence, np.inf),
        (js_divergence, 1),
        (lambda p, q: js_divergence(p, q, base=None), np.log(2)),
        (activation_distance, 2),
        (lambda p, q: activation_distance(p, q, norm="l2"), 2**0.5),
        (total_variation, 1),
    ],
)
def test_bounds(distance, farthest):
    p = random_proba(3)
    assert distance(p, p) == 0
    certain, other = np.eye(3)[[0, 0, 1]], np.eye(3)[[1, 2, 2]]
    assert distance(certain, other) == pytest.approx(farthest, abs=1e-12)


@pytest.mark.parametrize("distance", OF_PROBA)
def test_invariances(distance):
    p, q = random_proba(0), random_proba(1, zeros=False)
    expected = distance(p, q)
    rows, columns = np.random.default_rng(0).permutation(50), [2, 0, 3, 1]
    assert distance(p[rows], q[rows]) == pytest.approx(expected, abs=1e-12)
    assert distance(p[:, columns], q[:, columns]) == pytest.approx(expected, abs=1e-12)
    assert distance(np.repeat(p, 3, axis=0), np.repeat(q, 3, axis=0)) == pytest.approx(expected)
    more = [np.c_[proba, np.zeros(50)] for proba in (p, q)]  # a class that nobody knows
    assert distance(*more) == pytest.approx(expected, abs=1e-12)
    if distance is not kl_divergence:
        assert distance(q, p) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("distance", OF_PROBA)
def test_single_and_half_precision_rows_that_sum_to_almost_one(distance):
    logits = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 20, 10)))
    exact = logits.softmax(dim=2)
    expected = distance(*exact)
    assert distance(*exact.float()) == pytest.approx(expected, abs=1e-6)
    assert distance(*exact.half()) == pytest.approx(expected, abs=1e-3)
    # What is left of the sums must not count: a multiple of a row is the same distribution.
    p = exact[0].numpy() * (1 + 5e-4)
    assert distance(p, exact[1]) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("distance", OF_PROBA)
def test_one_row_one_class_and_nothing_below_zero(distance):
    assert distance([[1.0]], [[1.0]]) == 0
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(5), size=200)
    q = p * (1 + 1e-9 * rng.normal(size=p.shape))
    assert all(distance(p[i : i + 1], q[i : i + 1]) >= 0 for i in range(200))


def test_kl_is_infinite_where_the_reference_has_no_probability():
    assert kl_divergence([[0.5, 0.5]], [[1, 0]]) == np.inf
    assert kl_divergence([[1, 0]], [[0.5, 0.5]], base=2) == 1
    assert js_divergence([[0.5, 0.5]], [[1, 0]]) == pytest.approx(0.311278, abs=1e-6)


def test_no_row_is_nan_with_a_warning_at_the_call():
    nothing = np.empty((0, 3))
    for distance in OF_PROBA:
        with pytest.warns(UndefinedMetricWarning, match=f"{distance.__name__} is nan") as caught:
            assert np.isnan(distance(nothing, nothing))
        assert caught[0].filename == __file__
    with pytest.warns(UndefinedMetricWarning, match="prediction_agreement is nan"):
        assert np.isnan(prediction_agreement([], []))


@pytest.mark.parametrize("distance", OF_PROBA)
@pytest.mark.parametrize(
    "proba, error, match",
    [
        ([[0.5, 0.6], [0, 1]], ValueError, "row 0 has minimum 0.5 and sum 1.1.*softmax"),
        ([[0, 1], [1.2, -0.2]], ValueError, "row 1 has minimum -0.2 and sum 1"),
        ([[0.5, 0.5], [np.nan, 1]], ValueError, r"holds nan at index \[1, 0\]"),
        ([[0.5, 0.5], [np.inf, 1]], ValueError, r"holds inf at index \[1, 0\]"),
        ([0.5, 0.5], ValueError, r"has shape \(2,\), expected \(n_samples, n_classes\)"),
        ([[0.5, 0.5], [1.0]], ValueError, "rows of one length"),
        ([["a", "b"], ["a", "b"]], TypeError, "must hold real numbers"),
        ([[0.5, None], [0, 1]], TypeError, "must hold real numbers"),
        (np.ones((2, 2)) * 0.5j, TypeError, "must hold real numbers, got dtype complex128"),
        (np.empty((2, 0)), ValueError, "pass a column for each class"),
        (None, TypeError, "must hold real numbers"),
    ],
)
def test_bad_probabilities(distance, proba, error, match):
    good = [[0.5, 0.5], [0.1, 0.9]]
    with pytest.raises(error, match="`proba`.*" + match):
        distance(proba, good)
    with pytest.raises(error, match="`reference`.*" + match):
        distance(good, proba)


@pytest.mark.parametrize("distance", OF_PROBA)
@pytest.mark.parametrize("reference", [[[0.5, 0.5]], [[0.5, 0.25, 0.25]] * 2])
def test_shapes_that_differ(distance, reference):
    with pytest.raises(ValueError, match=r"`proba` has shape \(2, 2\) and `reference`"):
        distance([[0.5, 0.5]] * 2, reference)


@pytest.mark.parametrize("divergence", [kl_divergence, js_divergence])
@pytest.mark.parametrize(
    "base, error",
    [
        (1, ValueError),
        (0.5, ValueError),
        (-2, ValueError),
        (np.inf, ValueError),
        (np.nan, ValueError),
        ("2", TypeError),
        (True, TypeError),
    ],
)
def test_bad_base(divergence, base, error):
    with pytest.raises(error, match="`base` must be a number above 1 or None"):
        divergence(P, Q, base=base)


def test_bad_norm():
    with pytest.raises(ValueError, match="`norm` must be 'l1' or 'l2', got 2"):
        activation_distance(P, Q, norm=2)


def test_agreement_is_the_accuracy_against_the_reference():
    y_pred, reference = np.random.default_rng(0).integers(0, 3, size=(2, 100))
    expected = accuracy_score(reference, y_pred)
    assert prediction_agreement(y_pred, reference) == pytest.approx(expected, abs=1e-12)
    assert prediction_agreement(reference, y_pred) == pytest.approx(expected, abs=1e-12)
    names = np.array(["c", "a", "b"])
    assert prediction_agreement(names[y_pred], names[reference]) == pytest.approx(expected)
    assert prediction_agreement([5], [5]) == 1


@pytest.mark.parametrize(
    "y_pred, reference, error, match",
    [
        ([0, 1], [0], ValueError, "`reference` has 1 labels for 2 rows"),
        (["a"], [0], TypeError, "`y_pred` holds strings and `reference` holds numbers"),
        (P, Q, ValueError, "`y_pred` has shape"),
        ([0.0], [np.nan], ValueError, "`reference` holds nan"),
    ],
)
def test_agreement_of_bad_labels(y_pred, reference, error, match):
    with pytest.raises(error, match=match):
        prediction_agreement(y_pred, reference)
