import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from sklunlearn.metrics import membership_auc, rmia, u_lira, u_lira_score

# U-LiRA.


def models(seed, n_unlearned=8, n_retrained=8, n_samples=30, shift=0.5):
    rng = np.random.default_rng(seed)
    difficulty = rng.normal(scale=3, size=n_samples)
    unlearned = rng.normal(difficulty + shift, 1.0, size=(n_unlearned, n_samples))
    return unlearned, rng.normal(difficulty, 0.7, size=(n_retrained, n_samples))


def test_score_of_known_distributions():
    # Two networks at m - s and m + s have the mean m and the unbiased deviation s * sqrt(2).
    unlearned = 2 + np.array([[-0.5], [0.5]]) / np.sqrt(2)
    retrained = 1 + np.array([[-0.4], [0.4]]) / np.sqrt(2)
    score = u_lira_score([1.2], unlearned, retrained)
    assert score == pytest.approx([-1.378144], abs=5e-7)


@pytest.mark.parametrize("pooled", [True, False])
def test_score_by_hand(pooled):
    unlearned, retrained = models(0, n_retrained=5)
    target = models(1)[0][0]
    expected = 0
    for sign, confidence in [(1, unlearned), (-1, retrained)]:
        variance = ((confidence - confidence.mean(axis=0)) ** 2).sum(axis=0) / (len(confidence) - 1)
        if pooled:
            variance = np.full(30, variance.mean())
        log_density = [
            multivariate_normal.logpdf(x, m, v)
            for x, m, v in zip(target, confidence.mean(axis=0), variance, strict=True)
        ]
        expected = expected + sign * np.array(log_density)
    score = u_lira_score(target, unlearned, retrained, pooled=pooled)
    np.testing.assert_allclose(score, expected, rtol=1e-6)


def test_networks_that_agree_have_a_smallest_deviation():
    score = u_lira_score([1.0, 1.0], np.ones((4, 2)), np.full((4, 2), 1.002), pooled=False)
    expected = norm.logpdf(0, scale=1e-3) - norm.logpdf(0.002, scale=1e-3)
    np.testing.assert_allclose(score, expected, rtol=1e-6)


@pytest.mark.parametrize("n_unlearned, n_retrained", [(8, 8), (8, 5), (3, 7)])
def test_u_lira_leaves_one_of_each_kind_out(n_unlearned, n_retrained):
    unlearned, retrained = models(0, n_unlearned, n_retrained)
    result = u_lira(unlearned, retrained)
    for i in range(n_unlearned):
        keep_u = np.arange(n_unlearned) != i
        keep_r = np.arange(n_retrained) != i % n_retrained
        expected = u_lira_score(unlearned[i], unlearned[keep_u], retrained[keep_r])
        np.testing.assert_allclose(result.unlearned_scores[i], expected)
    for i in range(n_retrained):
        keep_u = np.arange(n_unlearned) != i % n_unlearned
        keep_r = np.arange(n_retrained) != i
        expected = u_lira_score(retrained[i], unlearned[keep_u], retrained[keep_r])
        np.testing.assert_allclose(result.retrained_scores[i], expected)
    scores = np.concatenate([result.unlearned_scores.ravel(), result.retrained_scores.ravel()])
    is_unlearned = np.repeat([1, 0], [unlearned.size, retrained.size])
    assert result.auc == pytest.approx(roc_auc_score(is_unlearned, scores), abs=1e-9)
    accuracy = balanced_accuracy_score(is_unlearned, scores > 0)
    assert result.accuracy == pytest.approx(accuracy, abs=1e-9)
    assert u_lira(unlearned, retrained, pooled=False).auc != result.auc


def test_u_lira_of_networks_without_a_difference():
    rng = np.random.default_rng(0)
    aucs = [u_lira(*rng.normal(size=(2, 4, 50))).auc for _ in range(200)]
    # Left out alone, they would come out at 0.45.
    assert np.mean(aucs) == pytest.approx(0.5, abs=0.01)
    equal = np.ones((4, 10))
    result = u_lira(equal, equal)
    assert (result.auc, result.accuracy) == (0.5, 0.5)


def test_u_lira_finds_what_a_common_threshold_does_not():
    # The rows differ in difficulty by far more than the networks do.
    unlearned, retrained = models(0, 16, 16, shift=1.5)
    assert membership_auc(-unlearned.ravel(), -retrained.ravel()) < 0.7
    assert u_lira(unlearned, retrained).auc > 0.85
    # In either direction.
    assert u_lira(2 * retrained - unlearned, retrained).auc > 0.85


def test_u_lira_of_no_rows():
    with pytest.warns(UndefinedMetricWarning, match="u_lira is nan: there is no row"):
        result = u_lira(np.empty((4, 0)), np.empty((3, 0)))
    assert np.isnan([result.auc, result.accuracy]).all()
    assert result.unlearned_scores.shape == (4, 0)
    assert result.retrained_scores.shape == (3, 0)
    assert u_lira_score([], np.empty((4, 0)), np.empty((3, 0))).shape == (0,)
    one = u_lira([[1.0], [2.0], [1.5]], [[8.0], [9.0], [8.5]])
    assert (one.auc, one.accuracy) == (1, 1)


# RMIA.


def test_rmia_of_known_rows():
    population = [0.8, 0.95, 0.4], [[0.7, 0.9, 0.6]]
    for gamma in [1.0, 1.2]:
        assert rmia([0.9], [[0.5], [0.6]], *doubled(population), gamma=gamma) == [1.0]
    # The ratios: 1.272085 of the row, .993789, 1.016043 and .540541 of the others.
    for gamma, score in [(1.251, 1), (1.253, 2 / 3), (1.279, 2 / 3), (1.281, 1 / 3), (2.354, 0)]:
        value = rmia([0.9], [[0.5], [0.6]], *doubled(population), gamma=gamma)
        assert value == pytest.approx([score])


def doubled(population):
    return population[0], population[1] * 2


@pytest.mark.parametrize("a, gamma", [(0.3, 1.0), (1.0, 2.0), (0.0, 0.7)])
def test_rmia_by_definition(a, gamma):
    rng = np.random.default_rng(0)
    target, references = rng.uniform(size=20), rng.uniform(size=(3, 20))
    population, population_references = rng.uniform(size=40), rng.uniform(size=(3, 40))
    p_x = [0.5 * ((1 + a) * references[:, i].mean() + (1 - a)) for i in range(20)]
    p_z = [0.5 * ((1 + a) * population_references[:, j].mean() + (1 - a)) for j in range(40)]
    expected = [
        np.mean([(target[i] / p_x[i]) / (population[j] / p_z[j]) >= gamma for j in range(40)])
        for i in range(20)
    ]
    score = rmia(target, references, population, population_references, offline_a=a, gamma=gamma)
    np.testing.assert_allclose(score, expected, atol=1e-12)


def test_rmia_ties_and_zeros():
    assert rmia([0.5, 0.0], [[0.5, 0.5]], [0.5], [[0.5]]).tolist() == [1, 0]
    assert rmia([0.5, 0.0], [[0.0, 0.0]], [0.0], [[0.0]], offline_a=1).tolist() == [1, 1]
    assert rmia([], np.empty((1, 0)), [0.5], [[0.5]]).shape == (0,)
    with pytest.warns(UndefinedMetricWarning, match="no population rows"):
        score = rmia([0.5, 0.5], [[0.5, 0.5]], [], np.empty((1, 0)))
    assert score.shape == (2,)
    assert np.isnan(score).all()


M = np.zeros((3, 4))
P = np.full((2, 4), 0.5)


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: u_lira_score(M[0], M[0], M), ValueError, "`unlearned` has shape"),
        (lambda: u_lira_score(M, M, M), ValueError, "`target` has shape"),
        (lambda: u_lira_score(M[0, :2], M, M), ValueError, "describe the same rows"),
        (lambda: u_lira_score(M[0], M[:1], M), ValueError, "holds 1 networks.* at least 2"),
        (lambda: u_lira_score(M[0] * np.nan, M, M), ValueError, "`target` holds nan .* 4 of 4"),
        (lambda: u_lira_score(["a"], M, M), TypeError, "`target` must hold real"),
        (lambda: u_lira(M, M[:2]), ValueError, "`retrained` 2, expected at least 3 of each"),
        (lambda: u_lira(M, M[:, :2]), ValueError, "describe the same rows"),
        (lambda: u_lira(M, M + np.inf), ValueError, "`retrained` holds inf .* 12 of 12"),
        (lambda: u_lira(M, None), TypeError, "`retrained` must hold real"),
        (lambda: u_lira(M, "a"), TypeError, "`retrained` must hold real"),
        (lambda: rmia(P[0], P[0], P[0], P), ValueError, "`references` has shape"),
        (lambda: rmia(P[0], P, P[0], P[:1]), ValueError, "must describe the same"),
        (lambda: rmia(P[0, :2], P, P[0], P), ValueError, "`target` has shape"),
        (lambda: rmia(P[0], P, P[0, :2], P), ValueError, "`population` has shape"),
        (lambda: rmia(P[0], P[:0], P[0], P[:0]), ValueError, "holds no network"),
        (lambda: rmia(P[0] + 1, P, P[0], P), ValueError, "`target` must hold probabilities"),
        (lambda: rmia(P[0], P, -P[0], P), ValueError, "from -0.5 to -0.5"),
        (lambda: rmia(P[0], P * np.nan, P[0], P), ValueError, "holds nan"),
        (lambda: rmia(["a"], P, P[0], P), TypeError, "must hold real"),
        (lambda: rmia(P[0], P, P[0], P, offline_a=1.1), ValueError, "`offline_a` must be"),
        (lambda: rmia(P[0], P, P[0], P, offline_a="a"), TypeError, "`offline_a` must be"),
        (lambda: rmia(P[0], P, P[0], P, gamma=0), ValueError, "`gamma` must be a number above 0"),
        (lambda: rmia(P[0], P, P[0], P, gamma=None), TypeError, "`gamma` must be"),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
