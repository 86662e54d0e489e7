import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.metrics import roc_auc_score, roc_curve

from sklunlearn.metrics import (
    auc_noise_floor,
    ks_distance,
    membership_advantage,
    membership_auc,
    tpr_at_fpr,
)

MEMBERS, NON_MEMBERS = [0.1, 0.2, 0.2, 0.5], [0.2, 0.4, 0.9, 1.3]
OF_SAMPLES = [membership_auc, membership_advantage, tpr_at_fpr, ks_distance]


def samples(seed, ties):
    rng = np.random.default_rng(seed)
    n, m = rng.integers(1, 150, size=2)
    members, non_members = rng.exponential(size=n), rng.exponential(1.5, size=m)
    return (members.round(1), non_members.round(1)) if ties else (members, non_members)


def labelled(members, non_members):
    """Membership, and a score that is high for members, as scikit-learn wants them."""
    is_member = np.repeat([1, 0], [len(members), len(non_members)])
    return is_member, -np.concatenate([members, non_members])


def test_known_samples():
    assert membership_auc(MEMBERS, NON_MEMBERS) == 0.8125
    assert ks_distance(MEMBERS, NON_MEMBERS) == 0.5
    assert (1 + membership_advantage(MEMBERS, NON_MEMBERS)) / 2 == 0.75


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(10))
def test_against_scikit_learn_and_scipy(seed, ties):
    members, non_members = samples(seed, ties)
    auc = roc_auc_score(*labelled(members, non_members))
    assert membership_auc(members, non_members) == pytest.approx(auc, abs=1e-9)
    fpr, tpr, _ = roc_curve(*labelled(members, non_members), drop_intermediate=False)
    advantage = membership_advantage(members, non_members)
    assert advantage == pytest.approx((tpr - fpr).max(), abs=1e-9)
    one_sided = ks_2samp(members, non_members, alternative="greater", method="asymp").statistic
    assert advantage == pytest.approx(max(one_sided, 0), abs=1e-9)
    distance = ks_2samp(members, non_members, method="asymp").statistic
    assert ks_distance(members, non_members) == pytest.approx(distance, abs=1e-9)
    assert ks_distance(non_members, members) == pytest.approx(distance, abs=1e-9)
    for level in [0.05, 0.1, 0.3, 1.0]:
        if level * len(non_members) >= 1:
            expected = tpr[fpr <= level + 1e-12].max()
            assert tpr_at_fpr(members, non_members, fpr=level) == pytest.approx(expected, abs=1e-9)


def test_orientation_and_over_forgetting():
    low, high = np.arange(100.0), np.arange(100.0) + 1000
    assert membership_auc(low, high) == 1
    assert membership_advantage(low, high) == 1
    assert tpr_at_fpr(low, high) == 1
    # Forget losses above all others: what is one-sided sees nothing.
    assert membership_auc(high, low) == 0
    assert membership_advantage(high, low) == 0
    assert tpr_at_fpr(high, low) == 0
    assert ks_distance(high, low) == 1


def test_half_known_and_half_wrecked():
    forget, test = np.repeat([0.0, 10.0], 50), np.linspace(1, 2, 100)
    assert membership_auc(forget, test) == 0.5
    assert ks_distance(forget, test) == 0.5


def test_constant_scores_and_one_row():
    assert membership_auc([1, 1, 1], [1, 1]) == 0.5
    assert membership_advantage([1, 1, 1], [1, 1]) == 0
    assert ks_distance([1, 1, 1], [1, 1]) == 0
    assert tpr_at_fpr([1, 1, 1], [1, 1], fpr=0.5) == 0
    assert membership_auc([1], [2]) == 1
    assert ks_distance([1], [1]) == 0


def test_as_many_non_members_as_the_rate_asks_for():
    members = np.zeros(5)
    # 1 / 0.001 is exactly 1000, 0.07 * 100 is a little above 7 and 0.29 * 100 a little below 29.
    assert tpr_at_fpr(members, np.ones(1000), fpr=0.001) == 1
    for level, n_accused in [(0.07, 7), (0.29, 29)]:
        non_members = np.arange(100.0)
        found = tpr_at_fpr(non_members, non_members, fpr=level)
        assert found == pytest.approx(n_accused / 100)
    with pytest.warns(UndefinedMetricWarning, match="at least 1000 non-members, got 999"):
        assert np.isnan(tpr_at_fpr(members, np.ones(999), fpr=0.001))
    with pytest.warns(UndefinedMetricWarning, match="needs members, got 0"):
        assert np.isnan(tpr_at_fpr([], np.ones(1000)))


@pytest.mark.parametrize("metric", OF_SAMPLES)
@pytest.mark.parametrize("a, b", [([], [1.0]), ([1.0], []), ([], [])])
def test_empty_sample(metric, a, b):
    with pytest.warns(UndefinedMetricWarning, match=f"{metric.__name__} is nan") as record:
        assert np.isnan(metric(a, b))
    assert record[0].filename == __file__


def test_noise_floor():
    for n, expected in [(50, 0.058), (100, 0.041), (200, 0.029), (500, 0.018), (1000, 0.013)]:
        assert auc_noise_floor(n, n) == pytest.approx(expected, abs=5e-4)
    assert auc_noise_floor(1, 1) == 0.5  # the AUC is 0 or 1
    rng = np.random.default_rng(0)
    aucs = [membership_auc(rng.normal(size=30), rng.normal(size=80)) for _ in range(2000)]
    assert np.std(aucs) == pytest.approx(auc_noise_floor(30, 80), rel=0.07)
    assert auc_noise_floor(np.int32(100_000), 100_000) == pytest.approx(0.00129, abs=1e-5)
    with pytest.warns(UndefinedMetricWarning, match="0 members and 5 non-members"):
        assert np.isnan(auc_noise_floor(0, 5))


@pytest.mark.parametrize("metric", OF_SAMPLES)
def test_kinds_of_arrays(metric):
    a, b = np.arange(200) % 7, np.arange(300) % 11
    expected = metric(a, b)
    assert isinstance(expected, float)
    assert metric(list(a), torch.tensor(b)) == expected
    assert metric(a.astype(np.float32), b.astype(object)) == expected


@pytest.mark.parametrize("metric", OF_SAMPLES)
@pytest.mark.parametrize(
    "a, b, error, message",
    [
        ([[1.0]], [1.0], ValueError, r"has shape \(1, 1\), expected"),
        ([1.0], 1.0, ValueError, r"has shape \(\), expected"),
        ([1.0, np.nan], [1.0], ValueError, "holds nan at index .* 1 of 2 are not.*diverged"),
        ([1.0], [np.inf, -np.inf], ValueError, "holds inf .* 2 of 2 are not"),
        (["a"], [1.0], TypeError, "must hold real numbers"),
        ([1.0], None, TypeError, "must hold real numbers, got dtype object"),
        ([1 + 1j], [1.0], TypeError, "must hold real numbers"),
        ([True, False], [1.0], TypeError, "dtype bool"),
    ],
)
def test_bad_samples(metric, a, b, error, message):
    with pytest.raises(error, match=message):
        metric(a, b)


@pytest.mark.parametrize(
    "fpr, error", [(0, ValueError), (1.1, ValueError), (np.nan, ValueError), ("0.1", TypeError)]
)
def test_bad_rate(fpr, error):
    with pytest.raises(error, match=r"`fpr` must be a number in \(0, 1\], got"):
        tpr_at_fpr([1.0], [1.0], fpr=fpr)


@pytest.mark.parametrize("n, error", [(-1, ValueError), (2.0, TypeError), (True, TypeError)])
def test_bad_number_of_rows(n, error):
    with pytest.raises(error, match="`n_non_members` must be an integer of at least 0"):
        auc_noise_floor(5, n)
