import numpy as np
import pytest
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC

from sklunlearn.metrics import (
    class_membership_accuracy,
    logistic_membership_accuracy,
    mia_efficacy,
)

# Logistic regression on losses.


def test_logistic_attack_finds_the_best_threshold():
    rng = np.random.default_rng(0)
    members, non_members = rng.normal(size=3000), rng.normal(size=3000) + 2
    # Of two normal distributions two deviations apart, the middle threshold gets 84 % right.
    accuracy = logistic_membership_accuracy(members, non_members, random_state=0)
    assert accuracy == pytest.approx(0.8413, abs=0.015)
    # Either direction counts: over-forgetting is found too.
    assert logistic_membership_accuracy(non_members, members, random_state=0) == pytest.approx(
        accuracy, abs=0.015
    )


def test_logistic_attack_is_balanced():
    rng = np.random.default_rng(0)
    members, non_members = rng.normal(size=900), rng.normal(size=100)
    accuracy = logistic_membership_accuracy(members, non_members, random_state=0)
    assert accuracy < 0.65  # calling everything a member would give 0.9
    assert logistic_membership_accuracy(np.ones(900), np.ones(100), random_state=0) == 0.5


def test_logistic_attack_tests_on_rows_it_was_not_trained_on():
    values = np.random.default_rng(0).normal(size=(2, 50))
    by_chance = [logistic_membership_accuracy(*values, random_state=seed) for seed in range(3)]
    assert len(set(by_chance)) > 1
    fitted = LogisticRegression().fit(values.reshape(-1, 1), np.repeat([1, 0], 50))
    in_sample = fitted.score(values.reshape(-1, 1), np.repeat([1, 0], 50))
    assert np.mean(by_chance) < in_sample


def test_logistic_attack_is_repeatable_and_reads_its_splits():
    values = np.random.default_rng(0).normal(size=(2, 50))
    first = logistic_membership_accuracy(*values, random_state=3)
    assert first == logistic_membership_accuracy(*values, random_state=3)
    one = logistic_membership_accuracy(*values, n_splits=1, random_state=0)
    assert one in np.arange(11) / 10  # of one test set of ten rows


@pytest.mark.parametrize("n, m", [(5, 100), (100, 5), (0, 10), (10, 0)])
def test_logistic_attack_on_too_few_rows(n, m):
    with pytest.warns(UndefinedMetricWarning, match=f"{n} members and {m} non-members"):
        assert np.isnan(logistic_membership_accuracy(np.ones(n), np.ones(m)))


def test_logistic_attack_on_few_rows():
    assert logistic_membership_accuracy(np.arange(6), np.arange(6) + 100, random_state=0) == 1


# MIA-efficacy.


def confidences():
    rng = np.random.default_rng(0)
    return rng.beta(8, 2, size=60), rng.beta(9, 1, size=150), rng.beta(3, 2, size=150)


def test_efficacy_of_the_published_attack():
    forget, retain, test = confidences()
    attack = SVC(C=3, gamma="auto", kernel="rbf")
    attack.fit(np.concatenate([retain, test])[:, None], np.repeat([1, 0], 150))
    expected = (attack.predict(forget[:, None]) == 0).mean()
    assert 0 < expected < 1
    result = mia_efficacy(forget, retain, test, random_state=0)
    assert result.value == pytest.approx(expected)
    # In sample and by cross-validation, a one-dimensional attack is about as good.
    right = [attack.predict(retain[:, None]) == 1, attack.predict(test[:, None]) == 0]
    assert result.attack_accuracy == pytest.approx(np.mean(right), abs=0.03)
    assert result.reliable is True


def test_efficacy_has_the_right_direction():
    seen, unseen = np.linspace(0.9, 1, 50), np.linspace(0.1, 0.5, 50)
    assert mia_efficacy(seen, seen, unseen, random_state=0) == (0.0, 1.0, True)
    assert mia_efficacy(unseen, seen, unseen, random_state=0) == (1.0, 1.0, True)
    assert mia_efficacy([0.95, 0.2, 0.3, 0.4], seen, unseen, random_state=0).value == 0.75


def test_efficacy_is_balanced_and_bounded():
    forget, retain, test = confidences()
    # 150 to 15: an attack that is not balanced would call nearly every row a member.
    result = mia_efficacy(np.linspace(0, 0.6, 50), retain, test[:15], random_state=0)
    assert result.value > 0.8
    small = mia_efficacy(forget, retain, test, max_samples=2, random_state=0)
    assert np.isnan(small.attack_accuracy)  # too few for three folds
    assert small == pytest.approx(
        mia_efficacy(forget, retain, test, max_samples=2, random_state=0), nan_ok=True
    )


def test_attack_without_power_is_called_unreliable():
    same = np.random.default_rng(0).beta(9, 1, size=(3, 400))
    result = mia_efficacy(*same, random_state=0)
    assert result.attack_accuracy == pytest.approx(0.5, abs=0.05)
    assert result.reliable is False
    constant = mia_efficacy(np.ones(10), np.ones(40), np.ones(40), random_state=0)
    assert constant.attack_accuracy == pytest.approx(0.5, abs=0.02)
    assert constant.reliable is False
    single = mia_efficacy([0.5], [0.9], [0.1])
    assert np.isnan(single.attack_accuracy)
    assert single.reliable is False


@pytest.mark.parametrize("empty", range(3))
def test_efficacy_of_nothing(empty):
    samples = [np.linspace(0, 1, 10)] * 3
    samples[empty] = []
    with pytest.warns(UndefinedMetricWarning, match="needs forget, retain and test rows"):
        result = mia_efficacy(*samples)
    assert np.isnan(result[:2]).all()
    assert result.reliable is False


# Class membership, by the probabilities of the remaining classes.


def outputs(seed, alpha, n=200):
    return np.random.default_rng(seed).dirichlet(alpha, size=n)


def test_class_attack_tells_different_networks():
    retrained, unlearned = outputs(0, [1, 5, 5, 1]), outputs(1, [1, 1, 5, 5])
    accuracy = class_membership_accuracy(unlearned, retrained, forget_classes=0, random_state=0)
    # As a logistic regression on the same features, without cross-validation.
    features = np.log(np.vstack([unlearned, retrained])[:, 1:])
    features -= np.log(np.exp(features).sum(axis=1, keepdims=True))
    target = np.repeat([1, 0], 200)
    in_sample = LogisticRegression(max_iter=1000).fit(features, target).score(features, target)
    assert accuracy == pytest.approx(in_sample, abs=0.02)
    assert accuracy > 0.8


def test_class_attack_does_not_look_at_the_forgotten_classes():
    same = outputs(0, [5, 5, 5, 1, 1])
    masked = same.copy()
    masked[:, [1, 3]] *= 1e-3
    masked /= masked.sum(axis=1, keepdims=True)
    assert class_membership_accuracy(same, masked, forget_classes=0, random_state=0) > 0.9
    options = {"forget_classes": ["v", "w"], "labels": ["z", "v", "y", "w", "x"]}
    accuracy = class_membership_accuracy(same, masked, random_state=0, **options)
    assert accuracy == pytest.approx(0.5, abs=0.02)


def test_class_attack_on_networks_that_agree():
    same = outputs(0, [1, 2, 3])
    assert class_membership_accuracy(same, same, forget_classes=0, random_state=0) == 0.5
    other = outputs(1, [1, 2, 3])
    accuracy = class_membership_accuracy(same, other, forget_classes=0, random_state=0)
    assert accuracy == pytest.approx(0.5, abs=0.08)


def test_class_attack_keeps_both_views_of_a_row_in_one_fold():
    # Were one view in the training set and the other not, so wide a space would let the attack
    # remember the row and guess the opposite of what it remembers: less than half right.
    rng = np.random.default_rng(0)
    rows = rng.dirichlet(np.ones(60), size=40)
    wobble = rows * np.exp(rng.normal(scale=1e-3, size=rows.shape))
    wobble /= wobble.sum(axis=1, keepdims=True)
    accuracy = class_membership_accuracy(rows, wobble, forget_classes=0, random_state=0)
    assert accuracy == pytest.approx(0.5, abs=0.15)


def test_class_attack_on_probabilities_of_zero():
    proba = np.tile([1.0, 0.0, 0.0], (6, 1))
    retrained = np.tile([0.0, 0.5, 0.5], (6, 1))
    assert class_membership_accuracy(proba, retrained, forget_classes=0, random_state=0) == 0.5
    retrained = np.tile([0.0, 0.0, 1.0], (6, 1))
    assert class_membership_accuracy(proba, retrained, forget_classes=0, random_state=0) == 1


@pytest.mark.parametrize("n, forget_classes", [(0, 0), (1, 0), (10, [0, 1]), (10, [0, 1, 2])])
def test_class_attack_with_nothing_to_go_by(n, forget_classes):
    proba = outputs(0, [1, 1, 1], n=n)
    with pytest.warns(UndefinedMetricWarning, match="needs 2 of each"):
        assert np.isnan(class_membership_accuracy(proba, proba, forget_classes=forget_classes))


TEN = np.linspace(0, 1, 10)
P = np.full((10, 3), 1 / 3)


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: logistic_membership_accuracy([TEN], TEN), ValueError, r"`members` has shape"),
        (
            lambda: logistic_membership_accuracy(TEN, TEN * np.nan),
            ValueError,
            "`non_members` holds",
        ),
        (lambda: logistic_membership_accuracy(TEN, "a"), TypeError, "`non_members` must hold real"),
        (lambda: logistic_membership_accuracy(TEN, TEN, n_splits=0), ValueError, "at least 1"),
        (lambda: logistic_membership_accuracy(TEN, TEN, n_splits=2.0), TypeError, "an integer"),
        (lambda: logistic_membership_accuracy(TEN, TEN, random_state="a"), ValueError, "seed"),
        (lambda: mia_efficacy([TEN], TEN, TEN), ValueError, "`forget` has shape"),
        (lambda: mia_efficacy(TEN, [np.inf], TEN), ValueError, "`retain` holds inf"),
        (lambda: mia_efficacy(TEN, TEN, ["a"]), TypeError, "`test` must hold real"),
        (lambda: mia_efficacy(TEN, TEN, TEN, max_samples=0), ValueError, "at least 1, got 0"),
        (lambda: mia_efficacy(TEN, TEN, TEN, max_samples="a"), TypeError, "an integer"),
        (lambda: class_membership_accuracy(P, P[:5], forget_classes=0), ValueError, "same rows"),
        (lambda: class_membership_accuracy(3 * P, P, forget_classes=0), ValueError, "sum 3: pass"),
        (lambda: class_membership_accuracy(P, P * np.nan, forget_classes=0), ValueError, "finite"),
        (lambda: class_membership_accuracy(P, P, forget_classes=3), ValueError, r"holds \[3\]"),
        (
            lambda: class_membership_accuracy(P, P, forget_classes="a", labels=["a", "b"]),
            ValueError,
            "must name 3 columns",
        ),
        (
            lambda: class_membership_accuracy(P, P, forget_classes=0, n_splits=1),
            ValueError,
            "at least 2, got 1",
        ),
        (
            lambda: class_membership_accuracy(P, P, forget_classes=[[0]]),
            ValueError,
            "`forget_classes` has shape",
        ),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
