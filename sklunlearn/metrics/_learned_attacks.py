"""Membership inference by a classifier that is trained on a network's outputs."""

from typing import NamedTuple

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import (
    KFold,
    StratifiedKFold,
    StratifiedShuffleSplit,
    cross_val_predict,
    cross_val_score,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.utils import check_random_state

from sklunlearn.metrics._checks import (
    check_floats,
    check_integer,
    check_labels,
    check_proba,
    check_same_shape,
    columns_of,
    log_proba,
    undefined,
)

__all__ = [
    "MIAEfficacy",
    "class_membership_accuracy",
    "logistic_membership_accuracy",
    "mia_efficacy",
]


def logistic_membership_accuracy(members, non_members, *, n_splits=10, random_state=None):
    r"""Accuracy of a logistic regression that tells members from non-members by their losses.

    .. math::
        \mathrm{Acc} = \frac1S \sum_{s=1}^{S} \frac{1}{|V_s|} \sum_{i \in V_s}
        1[\hat m_s(\ell_i) = m_i]

    with the membership :math:`m_i`, the loss :math:`\ell_i`, and the classifier :math:`\hat m_s`
    that was trained on the rows outside :math:`V_s`, a random tenth of them with equally many
    members and non-members. Of the larger sample a random part is used, as many as of the smaller.

    Parameters
    ----------
    members : array-like of shape (n_members,)
        Losses of rows that the network was trained on: the forget rows, under the unlearned
        network.
    non_members : array-like of shape (n_non_members,)
        Losses of held-out rows, with the same shares of the classes.
    n_splits : int, default=10
        :math:`S`, number of random splits.
    random_state : int, RandomState instance or None, default=None
        Draws the rows of the larger sample and the splits.

    Returns
    -------
    accuracy : float
        From 0 to 1. **Best is the value under the retrained network**, which is 0.5 if both
        samples come from one distribution. nan with a warning if a sample has fewer than 6 rows.

    Raises
    ------
    TypeError, ValueError
        If a sample is not a one-dimensional array of finite numbers, or `n_splits` is not a
        positive integer.

    Notes
    -----
    - By chance alone the value strays from 0.5 with a standard deviation of about 0.18 for 10 rows
      a sample, 0.07 for 50 and 0.05 for 100. More splits do not help: they share the rows.
    - The classifier learns which direction is which, so that over-forgetting (the Streisand
      effect) shows as a high value. It is blind where members lie on both sides of the others;
      :func:`ks_distance` is not.
    - As :func:`membership_auc` it says little of a forgotten class, is misled by label noise, and
      calls a ruined network safe.
    - Losses with a few very large values flatten the regression. Pass ``np.log(losses + 1e-9)``
      then, or confidences of :func:`logit_scaled_confidence`.

    References
    ----------
    E. Triantafillou, P. Kairouz, F. Pedregosa et al. (2024). Are We Making Progress in Unlearning?
    Findings from the First NeurIPS Unlearning Competition. arXiv:2406.09073 (its starting kit).

    Examples
    --------
    >>> import numpy as np
    >>> from sklunlearn.metrics import logistic_membership_accuracy
    >>> losses = np.linspace(0, 1, 50)
    >>> logistic_membership_accuracy(losses, losses + 5, random_state=0)
    1.0
    """
    members = check_floats(members, "members", "(n_members,)")
    non_members = check_floats(non_members, "non_members", "(n_non_members,)")
    check_integer(n_splits, "n_splits", 1)
    rng = check_random_state(random_state)
    n = min(len(members), len(non_members))
    if n < 6:
        return undefined(
            "logistic_membership_accuracy",
            f"{len(members)} members and {len(non_members)} non-members are too few to train and "
            "test an attack, which needs 6 of each",
        )
    members, non_members = _subsample(members, n, rng), _subsample(non_members, n, rng)
    losses = np.concatenate([members, non_members])[:, None]
    splitter = StratifiedShuffleSplit(n_splits=n_splits, test_size=0.1, random_state=rng)
    scores = cross_val_score(
        LogisticRegression(), losses, np.repeat([1, 0], n), cv=splitter, error_score="raise"
    )
    return float(scores.mean())


class MIAEfficacy(NamedTuple):
    """What :func:`mia_efficacy` returns.

    Attributes
    ----------
    value : float
        Share of the forget rows that the attack takes for rows the network never saw.
    attack_accuracy : float
        Balanced accuracy of the attack on retain and test rows that it was not trained on.
    reliable : bool
        Whether that is at least 0.55. If not, `value` means nothing.
    """

    value: float
    attack_accuracy: float
    reliable: bool


def mia_efficacy(forget, retain, test, *, max_samples=5000, random_state=None):
    r"""Share of the forget rows that a support vector machine takes for unseen rows.

    .. math::
        \mathrm{MIA\text{-}efficacy} = \frac{1}{n_f} \sum_{i=1}^{n_f} 1[\hat m(c_i) = 0]

    where the attack :math:`\hat m`, a support vector machine with radial kernel (:math:`C = 3`,
    :math:`\gamma = 1`), was trained to tell retain rows (1) from test rows (0) by the unlearned
    network's probability of their true class; :math:`c_i` is that of the forget rows.

    Parameters
    ----------
    forget : array-like of shape (n_forget,)
        True-class probability of each forget row under the network that is judged.
    retain : array-like of shape (n_retain,)
        The same of retain rows: what members look like.
    test : array-like of shape (n_test,)
        The same of held-out rows: what non-members look like. For a forgotten class, without the
        rows of that class.
    max_samples : int, default=5000
        Largest number of retain rows, and of test rows, that the attack is trained on. Of both,
        equally many are drawn at random.
    random_state : int, RandomState instance or None, default=None
        Draws those rows, and the folds that measure the attack.

    Returns
    -------
    efficacy : MIAEfficacy
        A named tuple (value, attack_accuracy, reliable). `value` is from 0 to 1, higher where more
        forget rows look unseen. **Best is the value under the retrained network**: 1 or nearly so
        for a forgotten class, the share of unseen rows that look unseen for random rows, which is
        far below 1. All nan, with a warning, if a sample is empty; of fewer than three retain or
        test rows `attack_accuracy` is nan.

    Raises
    ------
    TypeError, ValueError
        If a sample is not a one-dimensional array of finite numbers, or `max_samples` is not a
        positive integer.

    Notes
    -----
    - Where the network is as sure of test rows as of retain rows, the boundary of the attack is
      arbitrary: it may call 9 of 10 rows unseen whatever they are. `attack_accuracy`, by
      cross-validation in three folds, shows it, and `reliable` is then False. With few rows it
      strays by chance by about ``1 / sqrt(8 * n)``, n of each kind.
    - A higher value than that of the retrained network is over-forgetting (the Streisand effect),
      and a ruined network may reach 1.
    - The published code trains on the first retain rows, as many as there are test rows; here
      they are drawn.

    References
    ----------
    J. Jia, J. Liu, P. Ram et al. (2023). Model Sparsity Can Simplify Machine Unlearning. NeurIPS.
    C. Fan, J. Liu, Y. Zhang et al. (2024). SalUn: Empowering Machine Unlearning via Gradient-based
    Weight Saliency in Both Image Classification and Generation. ICLR.

    Examples
    --------
    >>> import numpy as np
    >>> from sklunlearn.metrics import mia_efficacy
    >>> seen, unseen = np.linspace(0.9, 1.0, 40), np.linspace(0.2, 0.7, 40)
    >>> mia_efficacy([0.95, 0.5, 0.4, 0.3], seen, unseen, random_state=0)
    MIAEfficacy(value=0.75, attack_accuracy=1.0, reliable=True)
    """
    forget = check_floats(forget, "forget", "(n_forget,)")
    retain = check_floats(retain, "retain", "(n_retain,)")
    test = check_floats(test, "test", "(n_test,)")
    check_integer(max_samples, "max_samples", 1)
    rng = check_random_state(random_state)
    n = min(len(retain), len(test), max_samples)
    if not n or not len(forget):
        nothing = undefined(
            "mia_efficacy",
            f"it needs forget, retain and test rows, got {len(forget)}, {len(retain)} and "
            f"{len(test)}",
        )
        return MIAEfficacy(nothing, nothing, False)
    confidence = np.concatenate([_subsample(retain, n, rng), _subsample(test, n, rng)])[:, None]
    is_member = np.repeat([1, 0], n)
    attack = SVC(C=3, gamma="auto", kernel="rbf")  # one feature: "auto" is 1
    attack_accuracy = np.nan
    if n >= 3:
        folds = StratifiedKFold(3, shuffle=True, random_state=rng)
        guessed = cross_val_predict(attack, confidence, is_member, cv=folds)
        attack_accuracy = float(balanced_accuracy_score(is_member, guessed))
    value = float((attack.fit(confidence, is_member).predict(forget[:, None]) == 0).mean())
    return MIAEfficacy(value, attack_accuracy, bool(attack_accuracy >= 0.55))


def class_membership_accuracy(
    proba_unlearned,
    proba_retrained,
    *,
    forget_classes,
    labels=None,
    n_splits=5,
    random_state=None,
):
    r"""Accuracy of an attack that tells the unlearned from the retrained network by its outputs.

    Both networks see the same rows of a forgotten class. The attack, a logistic regression, looks
    at the probabilities of the *remaining* classes :math:`R` alone,

    .. math::
        \log q_k = \log p_k - \log \sum_{j \in R} p_j, \qquad k \in R,

    each standardised, and guesses which network they come from. Its accuracy is measured by
    cross-validation over the rows: what both networks say of one row is in the same fold.

    Parameters
    ----------
    proba_unlearned : array-like of shape (n_samples, n_classes)
        Probabilities of the unlearned network for rows of the forgotten classes.
    proba_retrained : array-like of shape (n_samples, n_classes)
        Those of the retrained network, for the same rows and with the same columns.
    forget_classes : label or list of labels
        The classes that were forgotten.
    labels : array-like of shape (n_classes,), default=None
        Label of each column. None: 0, 1, ..., n_classes - 1.
    n_splits : int, default=5
        Number of folds, at least 2. With fewer rows, one for each row.
    random_state : int, RandomState instance or None, default=None
        Draws the folds.

    Returns
    -------
    accuracy : float
        From 0 to 1; **0.5 is best**: the two networks cannot be told apart. But two networks that
        were retrained with different seeds can be, to some degree, since nothing in the data says
        what to call a row of a class that was never seen: compare with their value. nan with a
        warning if there are fewer than two rows or fewer than two remaining classes.

    Raises
    ------
    TypeError, ValueError
        If the arrays hold no probabilities or differ in shape, `forget_classes` names an unknown
        class, or `n_splits` is not an integer of at least 2.

    Notes
    -----
    Suppressing a class in the output alone, by a bias or by a mask, passes every test of accuracy,
    but leaves the other probabilities what they were: those of a network that knows the class.
    This attack is made for that. It does not say *how* the networks differ, so that a ruined
    network and one that has forgotten nothing both come out near 1.

    It is our adaptation of the attack of Ebrahimpour-Boroojeny et al., which has another
    classifier and other features. A probability of 0 counts as the smallest positive normal
    number.

    References
    ----------
    A. Ebrahimpour-Boroojeny et al. (2026). Unlearning Isn't Forgetting.

    Examples
    --------
    >>> import numpy as np
    >>> from sklunlearn.metrics import class_membership_accuracy
    >>> retrained = np.random.default_rng(0).dirichlet([1, 5, 5], size=50)
    >>> unlearned = np.random.default_rng(1).dirichlet([1, 50, 1], size=50)
    >>> class_membership_accuracy(unlearned, retrained, forget_classes=0, random_state=0) > 0.9
    True
    """
    unlearned = check_proba(proba_unlearned, "proba_unlearned")
    retrained = check_proba(proba_retrained, "proba_retrained")
    check_same_shape(unlearned, retrained, ("proba_unlearned", "proba_retrained"))
    check_integer(n_splits, "n_splits", 2)
    rng = check_random_state(random_state)
    n_samples, n_classes = unlearned.shape
    labels = np.arange(n_classes) if labels is None else labels
    forget_classes = check_labels(np.atleast_1d(forget_classes), "forget_classes")
    forgotten = columns_of(forget_classes, labels, n_classes, "forget_classes")
    remaining = np.setdiff1d(np.arange(n_classes), forgotten)
    if n_samples < 2 or len(remaining) < 2:
        return undefined(
            "class_membership_accuracy",
            f"an attack on {n_samples} rows by {len(remaining)} remaining classes has nothing to "
            "go by, it needs 2 of each",
        )
    features = [log_proba(proba[:, remaining]) for proba in (unlearned, retrained)]
    # logaddexp.reduce: the sum may underflow where all is left to the forgotten classes.
    features = [f - np.logaddexp.reduce(f, axis=1, keepdims=True) for f in features]
    # Standardised, differences by rounding alone would look like any other.
    features = [f.round(6) for f in features]
    correct = []
    folds = KFold(min(n_splits, n_samples), shuffle=True, random_state=rng)
    for train, held_out in folds.split(features[0]):
        attack = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        attack.fit(_stack(features, train), np.repeat([1, 0], len(train)))
        guessed = attack.predict(_stack(features, held_out))
        correct.append(guessed == np.repeat([1, 0], len(held_out)))
    return float(np.concatenate(correct).mean())


def _subsample(values, n, rng):
    """So many of the values, in a random order."""
    return values[rng.choice(len(values), size=n, replace=False)]


def _stack(features, rows):
    return np.concatenate([f[rows] for f in features])
