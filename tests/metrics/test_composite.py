import math
from statistics import harmonic_mean

import numpy as np
import pytest

from sklunlearn.metrics import adaptive_unlearning_score, average_gap, h_mean, tug_of_war

U, R = [0.80, 0.95, 0.88], [0.85, 0.99, 0.90]


def aus(forget, test, original, request_type):
    return adaptive_unlearning_score(
        forget_accuracy=forget,
        test_accuracy=test,
        original_test_accuracy=original,
        request_type=request_type,
    )


def h(forget, original, test):
    return h_mean(forget_accuracy=forget, original_forget_accuracy=original, test_accuracy=test)


def test_vectors():
    assert tug_of_war(U, R) == pytest.approx(0.89376, abs=1e-9)
    assert average_gap(U, R) == pytest.approx(0.11 / 3, abs=1e-9)
    assert aus(0.05, 0.88, 0.9, "class") == pytest.approx(0.933333, abs=1e-6)
    assert aus(0.93, 0.88, 0.9, "rows") == pytest.approx(0.933333, abs=1e-6)
    assert aus(0.83, 0.88, 0.9, "rows") == pytest.approx(0.933333, abs=1e-6)
    assert h(0.05, 0.95, 0.8) == pytest.approx(0.847059, abs=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_by_hand_on_random_numbers(seed):
    rng = np.random.default_rng(seed)
    scores, weights = rng.random(4), rng.random(4)
    reference = rng.random((3, 4))
    product = total = weighted = 0.0
    product = 1.0
    for j in range(4):
        gap = abs(scores[j] - sum(reference[i, j] for i in range(3)) / 3)
        product *= 1 - gap
        total += gap / 4
        weighted += gap * weights[j] / sum(weights)
    assert tug_of_war(scores, reference) == pytest.approx(product, abs=1e-12)
    assert average_gap(scores, reference) == pytest.approx(total, abs=1e-12)
    assert average_gap(scores, reference, weights=weights) == pytest.approx(weighted, abs=1e-12)

    a, b, c = rng.random(3)
    assert aus(a, b, c, "class") == pytest.approx((1 - c + b) / (1 + a), abs=1e-12)
    assert aus(a, b, c, "rows") == pytest.approx((1 - c + b) / (1 + abs(a - b)), abs=1e-12)
    assert h(min(a, b), max(a, b), c) == pytest.approx(harmonic_mean([abs(a - b), c]), abs=1e-12)


def test_one_network_or_several_of_which_the_mean_is_taken():
    # The mean of the networks is taken first: one above and one below make no gap.
    assert average_gap([0.5], [[0.4], [0.6]]) == pytest.approx(0, abs=1e-12)
    assert tug_of_war([0.5], [[0.4], [0.6]]) == pytest.approx(1, abs=1e-12)
    assert tug_of_war(U, [R]) == pytest.approx(tug_of_war(U, R), abs=1e-12)


@pytest.mark.parametrize("score, best, worst", [(average_gap, 0, 1), (tug_of_war, 1, 0)])
def test_bounds_and_symmetry(score, best, worst):
    assert score(R, R) == best
    assert score([0.0, 1.0], [1.0, 0.0]) == worst
    assert score(U, R) == pytest.approx(score(R, U), abs=1e-12)
    assert score(U[::-1], R[::-1]) == pytest.approx(score(U, R), abs=1e-12)


def test_one_factor_of_zero_makes_the_product_zero():
    assert tug_of_war([0.0, 0.9, 0.9], [1.0, 0.9, 0.9]) == 0


def test_weight_of_zero_leaves_a_score_out():
    assert average_gap(U, R, weights=[0, 1, 1]) == pytest.approx(0.03, abs=1e-12)


def test_adaptive_unlearning_score_may_exceed_one():
    assert aus(0.0, 0.95, 0.9, "class") == pytest.approx(1.05, abs=1e-12)
    assert aus(1.0, 0.9, 0.9, "class") == 0.5  # the original network, of a class


def test_h_mean_is_zero_where_nothing_was_forgotten_or_kept():
    assert h(0.9, 0.9, 0.8) == 0
    assert h(0.95, 0.9, 0.8) == 0  # the accuracy has grown
    assert h(0.0, 0.9, 0.0) == 0
    assert h(0.9, 0.9, 0.0) == 0
    assert h(0.0, 1.0, 1.0) == 1
    assert h(-1e-10, 0.0, -1e-10) == 0  # as rounding may leave them


def test_nan_of_an_empty_group_stays_nan():
    nan = math.nan
    assert math.isnan(average_gap([nan, 0.9], [0.5, 0.9]))
    assert math.isnan(tug_of_war([0.5, 0.0], [nan, 1.0]))
    for values in [(nan, 0.8, 0.8), (0.1, nan, 0.8), (0.1, 0.8, nan)]:
        assert math.isnan(aus(*values, "class"))
        assert math.isnan(aus(*values, "rows"))
        assert math.isnan(h(*values))
    assert math.isnan(h(0.9, 0.9, nan))
    assert math.isnan(h(nan, 0.9, 0.0))


def test_rounding_above_one_is_not_an_error():
    above = 1 + 2**-52
    assert average_gap([above], [1.0]) == pytest.approx(0, abs=1e-12)
    assert h(0.0, above, above) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("score", [average_gap, tug_of_war])
@pytest.mark.parametrize(
    "scores, reference, error, match",
    [
        ([80.0, 0.9], [0.8, 0.9], ValueError, ".divide percentages by 100., got 80"),
        ([0.8, 0.9], [80.0, 0.9], ValueError, "`reference` must be a fraction from 0 to 1"),
        ([-0.1], [0.1], ValueError, "fraction from 0 to 1 .*, got -0.1"),
        ([0.8, 0.9], [0.8], ValueError, r"`reference` has shape \(1,\), expected \(2,\)"),
        ([0.8, 0.9], [[0.8], [0.9]], ValueError, r"`reference` has shape \(2, 1\)"),
        ([0.8], [[[0.8]]], ValueError, r"`reference` has shape .* expected \(n_scores,\) or"),
        ([0.8], 0.8, ValueError, r"`reference` has shape .* expected \(n_scores,\) or"),
        ([0.8], np.empty((0, 1)), ValueError, r"`reference` has shape \(0, 1\)"),
        ([[0.8]], [0.8], ValueError, r"has shape \(1, 1\), expected \(n_scores,\)"),
        ([], [], ValueError, "is empty"),
        ([np.inf], [0.8], ValueError, "holds inf"),
        (["a"], [0.8], TypeError, "must hold real numbers"),
        ([0.8], None, TypeError, "`reference` must hold real numbers"),
        ([0.8, 0.9], [[0.8], [0.8, 0.9]], ValueError, "rows of one length"),
    ],
)
def test_bad_scores(score, scores, reference, error, match):
    with pytest.raises(error, match=match):
        score(scores, reference)


@pytest.mark.parametrize("weights", [[1.0], [1, -1, 1], [0, 0, 0]])
def test_bad_weights(weights):
    with pytest.raises(ValueError, match="`weights` must be 3 numbers"):
        average_gap(U, R, weights=weights)


@pytest.mark.parametrize("which", [0, 1, 2])
@pytest.mark.parametrize(
    "value, error, match",
    [
        (90, ValueError, "must be a fraction from 0 to 1 .divide percentages by 100., got 90"),
        (-0.2, ValueError, "must be a fraction from 0 to 1"),
        (math.inf, ValueError, "must be a fraction from 0 to 1"),
        ("0.9", TypeError, "must be a fraction .*, got '0.9'"),
        (None, TypeError, "must be a fraction .*, got None"),
        (True, TypeError, "must be a fraction .*, got True"),
        ([0.9], TypeError, r"must be a fraction .*, got \[0.9\]"),
    ],
)
def test_bad_accuracies(which, value, error, match):
    values = [0.5, 0.5, 0.5]
    values[which] = value
    with pytest.raises(error, match=match):
        aus(*values, "class")
    with pytest.raises(error, match=match):
        h(*values)


def test_unknown_kind_of_request():
    with pytest.raises(ValueError, match="`request_type` must be 'class' or 'rows', got 'samples'"):
        aus(0.1, 0.8, 0.8, "samples")
