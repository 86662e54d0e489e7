import math
import warnings

import numpy as np
import pytest
from scipy.stats import entropy
from sklearn.exceptions import UndefinedMetricWarning

from sklunlearn.metrics import forgetting_quality, klom


def quality_of_few(*args, **kwargs):
    with pytest.warns(UserWarning, match="hardly tells methods apart: it takes at least 16"):
        return forgetting_quality(*args, **kwargs)


def klom_of_few(*args, **kwargs):
    with pytest.warns(UserWarning, match="KLoM of .*: it takes at least 50"):
        return klom(*args, **kwargs)


# Forgetting quality.


@pytest.mark.parametrize(
    "n_models, shift, epsilon, value",
    [
        (16, 0, 0, 1),
        (16, 0.5, 1.386254, 0.25),
        (16, 1, 1.791733, 0.125),
        (16, 2, 2.397881, 0.0625),
        (16, 4, 50, 0),
        (64, 0.5, 2.484853, 0.0625),
        (64, 1, 3.091013, 0.015625),
        (64, 2, 3.761185, 0.0078125),
    ],
)
def test_published_values(n_models, shift, epsilon, value):
    retrained = np.linspace(0, 3, n_models)[:, None]
    quality = forgetting_quality(retrained + shift, retrained)
    np.testing.assert_allclose(quality.epsilon, [epsilon], atol=5e-7)
    assert quality.value == value
    # The order of the networks does not matter.
    shuffled = np.random.default_rng(0).permutation(retrained)
    other = forgetting_quality(shuffled + shift, shuffled[::-1])
    np.testing.assert_allclose(other.epsilon, [epsilon], atol=5e-7)


def test_published_values_for_other_spreads():
    retrained = np.linspace(0, 3, 16)[:, None]
    shrunk = 1.5 + 0.2 * (retrained - 1.5)
    for pair in [(shrunk, retrained), (retrained, shrunk)]:
        assert forgetting_quality(*pair).epsilon == pytest.approx([2.564937], abs=5e-7)
    assert forgetting_quality(np.ones((16, 1)), retrained).epsilon == [50]


def epsilon_by_loops(u, r, delta):
    """The rules of the competition, one threshold at a time."""
    n, best = len(u), -1.0

    def rule(n_false_positive, n_false_negative):
        nonlocal best
        fpr, fnr = n_false_positive / n, n_false_negative / n
        if fpr == fnr == 0:
            best = math.inf
        elif fpr > 0 and fnr > 0:
            for one, other in [(fpr, fnr), (fnr, fpr)]:
                if 1 - delta - one > 0:
                    best = max(best, math.log(1 - delta - one) - math.log(other))

    low, high = min(*u, *r), max(*u, *r)
    positive, negative = (u, r) if np.median(u) > np.median(r) else (r, u)
    for t in np.linspace(low, high, int((high - low) * 100)):
        rule(np.sum(negative >= t), np.sum(positive < t))
    peaky, other = (u, r) if np.ptp(u) < np.ptp(r) else (r, u)
    width = np.ptp(peaky)
    if width / np.ptp(other) < 0.01:
        return 50
    start, end = low + width - 2, high + 2
    for right in np.linspace(start, end, int((end - start) * 100)):
        for left in np.linspace(right - width - 2, right - width + 2, 400)[::4]:
            inside = [np.sum((x >= left) & (x <= right)) for x in (other, peaky)]
            rule(inside[0], n - inside[1])
    return min(max(best, 0), 50)


def test_epsilon_by_loops():
    rng = np.random.default_rng(1)
    u, r = rng.normal(size=5) / 4, rng.normal(0.5, 1.5, size=5) / 4
    # A quarter of the left ends is enough to meet every combination of rates here.
    expected = epsilon_by_loops(u, r, delta=0.01)
    assert 0 < expected < 50
    quality = quality_of_few(u[:, None], r[:, None], delta=0.01)
    np.testing.assert_allclose(quality.epsilon, [expected], rtol=1e-6)
    assert quality.epsilon != quality_of_few(u[:, None], r[:, None]).epsilon


def test_mean_over_rows():
    retrained = np.linspace(0, 3, 16)[:, None] + np.zeros(4)
    quality = forgetting_quality(retrained + np.array([0, 0.5, 1, 4]), retrained)
    assert quality.value == pytest.approx((1 + 0.25 + 0.125 + 0) / 4)


def test_value_without_a_difference():
    rng = np.random.default_rng(0)
    value = forgetting_quality(*rng.normal(size=(2, 16, 60))).value
    assert value == pytest.approx(0.17, abs=0.05)
    apart = rng.normal(size=(2, 16, 60)) + np.array([3, 0])[:, None, None]
    assert forgetting_quality(*apart).value < 0.05


@pytest.mark.parametrize("n_models, n_buckets", [(2, 0), (4, 4), (8, 4)])
def test_buckets_that_count(n_models, n_buckets):
    retrained = np.linspace(0, 3, n_models)[:, None]
    for shift in [0, 0.5, 1, 1.5, 2]:
        quality = quality_of_few(retrained + shift, retrained)
        bucket = int(quality.epsilon[0] // 0.5)
        assert quality.value == (2.0**-bucket if bucket < n_buckets else 0)


def test_values_too_close_for_the_grid():
    base = np.linspace(0, 1e-4, 16)[:, None]
    assert forgetting_quality(base + 2e-4, base).epsilon == [50]
    assert forgetting_quality(base - 2e-4, base).epsilon == [50]
    assert forgetting_quality(base, base).epsilon == [0]
    constant = np.ones((16, 1))
    assert forgetting_quality(constant, constant).epsilon == [0]
    assert forgetting_quality(constant, constant).value == 1
    assert forgetting_quality(constant + 1, constant).epsilon == [50]


def test_quality_of_no_rows():
    with pytest.warns(UndefinedMetricWarning, match="forgetting_quality is nan: there is no row"):
        quality = forgetting_quality(np.empty((16, 0)), np.empty((16, 0)))
    assert np.isnan(quality.value)
    assert quality.epsilon.shape == (0,)


# KLoM.


def test_known_divergences():
    retrained = np.linspace(0, 3, 100)[:, None]
    unlearned = retrained + np.array([0, 1, 5])
    divergence = klom(unlearned, retrained + np.zeros(3))
    np.testing.assert_allclose(divergence, [0, 2.517494, 9.450202], atol=5e-7)


def test_divergence_by_counting():
    rng = np.random.default_rng(0)
    unlearned, retrained = rng.normal(0.3, 1.2, size=(80, 6)), rng.normal(size=(60, 6))
    expected = []
    for u, r in zip(unlearned.T, retrained.T, strict=True):
        low, high = min(*u, *r), max(*u, *r)
        shares = []
        for sample in (u, r):
            bins = np.floor((sample - low) / (high - low) * 7).astype(int)
            counts = np.bincount(np.minimum(bins, 6), minlength=7)  # the last bin is closed
            shares.append(counts / len(sample))
        p, q = shares
        q[(p > 0) & (q < 1e-5)] = 1e-5
        expected.append(entropy(p, q))  # divides both by their sums
    np.testing.assert_allclose(klom(unlearned, retrained, n_bins=7), expected, rtol=1e-6)
    assert not np.allclose(klom(retrained, unlearned, n_bins=7), expected)


def test_constant_margins():
    ones = np.ones((50, 2))
    np.testing.assert_array_equal(klom(ones, ones), [0, 0])
    np.testing.assert_allclose(klom(ones + 1, ones), np.log(1e5), atol=1e-4)
    # Beyond 100 all margins are the same.
    np.testing.assert_array_equal(klom(500 * ones, 300 * ones), [0, 0])


def test_bias_of_few_networks():
    rng = np.random.default_rng(0)
    for n, bias in [(5, 8.0), (10, 5.4), (20, 3.1)]:
        assert klom_of_few(*rng.normal(size=(2, n, 300))).mean() == pytest.approx(bias, abs=0.4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert klom(*rng.normal(size=(2, 100, 300))).mean() == pytest.approx(0.33, abs=0.05)


def test_gaussian_divergence():
    rng = np.random.default_rng(0)
    unlearned, retrained = rng.normal(1, 2, size=(7, 5)), rng.normal(size=(4, 5))
    expected = [
        (u.mean() - r.mean()) ** 2 / (np.var(u, ddof=1) + np.var(r, ddof=1))
        for u, r in zip(unlearned.T, retrained.T, strict=True)
    ]
    np.testing.assert_allclose(klom(unlearned, retrained, method="gaussian"), expected)
    ones = np.ones((3, 1))
    assert klom(ones, ones, method="gaussian") == [0]
    assert klom(ones + 0.01, ones, method="gaussian") == pytest.approx([50])


def test_divergence_of_no_rows_and_one_network():
    assert klom(np.empty((50, 0)), np.empty((50, 0))).shape == (0,)
    assert klom(np.empty((2, 0)), np.empty((2, 0)), method="gaussian").shape == (0,)
    np.testing.assert_allclose(klom_of_few([[0.0]], [[1.0]]), np.log(1e5), atol=1e-4)


M = np.zeros((60, 3))


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: forgetting_quality(M, M[0]), ValueError, "`retrained` has shape"),
        (lambda: forgetting_quality(M, M[:5]), ValueError, "must describe the same"),
        (lambda: forgetting_quality(M, M[:, :2]), ValueError, "must describe the same"),
        (lambda: forgetting_quality(M * np.nan, M), ValueError, "`unlearned` holds nan .* 180"),
        (lambda: forgetting_quality("a", M), TypeError, "`unlearned` must hold real"),
        (lambda: forgetting_quality(M[:1], M[:1]), ValueError, "hold 1 network each.* at least 2"),
        (lambda: forgetting_quality(M, M, delta=1), ValueError, "`delta` must be"),
        (lambda: forgetting_quality(M, M, delta="a"), TypeError, "`delta` must be"),
        (lambda: klom(M, M[0]), ValueError, "`retrained` has shape"),
        (lambda: klom(M, M[:, :2]), ValueError, "must describe the same"),
        (lambda: klom(M, M + np.inf), ValueError, "`retrained` holds inf .* 180 of 180"),
        (lambda: klom(M, "a"), TypeError, "`retrained` must hold real"),
        (lambda: klom(M[:0], M), ValueError, "0 and 60 networks, expected at least 1"),
        (lambda: klom(M[:1], M, method="gaussian"), ValueError, "1 and 60 networks.* at least 2"),
        (lambda: klom(M, M, method="kde"), ValueError, "`method` must be one of"),
        (lambda: klom(M, M, n_bins=0), ValueError, "`n_bins` must be an integer of at least 1"),
        (lambda: klom(M, M, n_bins=2.5), TypeError, "`n_bins` must be an integer of at least 1"),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
