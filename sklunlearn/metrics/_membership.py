"""Membership inference by a threshold: how far two samples of losses lie apart."""

import numpy as np
from scipy.stats import rankdata

from sklunlearn.metrics._checks import check_floats, check_integer, check_number, undefined

__all__ = [
    "auc_noise_floor",
    "ks_distance",
    "membership_advantage",
    "membership_auc",
    "tpr_at_fpr",
]


def membership_auc(members, non_members):
    r"""Area under the ROC curve of the attack that calls rows with a low loss members.

    .. math::
        \mathrm{AUC} = P(\ell_m < \ell_n) + \tfrac12 P(\ell_m = \ell_n)

    for the loss :math:`\ell_m` of a random member and :math:`\ell_n` of a random non-member.

    Parameters
    ----------
    members : array-like of shape (n_members,)
        Losses of rows that the network was trained on: the forget rows, under the unlearned
        network. Any score will do that is *low* for members; pass the negative of a confidence.
    non_members : array-like of shape (n_non_members,)
        Losses of held-out rows, with the same shares of the classes as the forget rows: for a
        forgotten class, test rows of that class.

    Returns
    -------
    auc : float
        From 0 to 1. **Best is the value under the retrained network**, not 0.5: that is best only
        if both samples come from one distribution, its label noise included. nan with a warning
        if a sample is empty.

    Raises
    ------
    TypeError, ValueError
        If a sample is not a one-dimensional array of finite numbers.

    See Also
    --------
    auc_noise_floor : How far the value strays by chance.
    ks_distance : For the losses of the unlearned against those of the retrained network.

    Notes
    -----
    Never read :math:`|\mathrm{AUC} - 0.5|` alone:

    - *Over-forgetting* (the Streisand effect) drives the value towards 0, where the rows are as
      exposed as at 1. A reading such as "not above 0.5" calls this safe.
    - If half of the forget rows are known perfectly and the other half is wrecked, the value is
      close to 0.5. :func:`ks_distance` sees this.
    - A network that has lost everything has a value close to 0.5. Look at its accuracy too.
    - For a *forgotten class* the value says little: a network that generalises treats seen and
      unseen rows of the class alike, so that the original itself is close to 0.5. Compare the
      losses with those under the retrained network instead, with :func:`ks_distance`.
    - Where forget rows are mislabelled more often than held-out rows, the value under the
      retrained network is below 0.5, and distance from 0.5 ranks networks in the wrong order.

    References
    ----------
    S. Yeom, I. Giacomelli, M. Fredrikson and S. Jha (2018). Privacy Risk in Machine Learning:
    Analyzing the Connection to Overfitting. IEEE CSF, 268-282.

    Examples
    --------
    >>> from sklunlearn.metrics import membership_auc
    >>> membership_auc([0.1, 0.2, 0.2, 0.5], [0.2, 0.4, 0.9, 1.3])
    0.8125
    """
    members, non_members = _samples(members, non_members)
    n, m = len(members), len(non_members)
    if not n or not m:
        return undefined("membership_auc", f"there are {n} members and {m} non-members")
    ranks = rankdata(np.concatenate([non_members, members]))  # ties: their mean rank
    return float((ranks[:m].sum() - m * (m + 1) / 2) / (n * m))


def membership_advantage(members, non_members):
    r"""Advantage of the best attack that calls rows with a loss below some threshold members.

    .. math::
        \mathrm{Adv} = \max_t \left( \mathrm{TPR}_t - \mathrm{FPR}_t \right)
        = \max_t \left( F_m(t) - F_n(t) \right)

    with the empirical distribution functions :math:`F_m`, :math:`F_n` of the losses of members and
    non-members: the one-sided Kolmogorov-Smirnov distance. The balanced accuracy of that attack
    is :math:`(1 + \mathrm{Adv}) / 2`.

    Parameters
    ----------
    members : array-like of shape (n_members,)
        Losses of rows that the network was trained on: the forget rows. Any score that is *low*
        for members.
    non_members : array-like of shape (n_non_members,)
        Losses of held-out rows, with the same shares of the classes.

    Returns
    -------
    advantage : float
        From 0 to 1. **Best is the value under the retrained network**; 0 if both samples come from
        one distribution, but then too samples of finite size give more than 0, about
        ``sqrt((n + m) / (n * m))``, since the threshold is chosen in hindsight. nan with a warning
        if a sample is empty.

    Raises
    ------
    TypeError, ValueError
        If a sample is not a one-dimensional array of finite numbers.

    Notes
    -----
    One-sided: losses of forget rows that are *higher* than those of held-out rows, a sign of
    over-forgetting, give 0. :func:`ks_distance` counts both directions. What
    :func:`membership_auc` says of a forgotten class, of label noise and of ruined networks holds
    here too.

    References
    ----------
    S. Yeom, I. Giacomelli, M. Fredrikson and S. Jha (2018). Privacy Risk in Machine Learning:
    Analyzing the Connection to Overfitting. IEEE CSF, 268-282.

    Examples
    --------
    >>> from sklunlearn.metrics import membership_advantage
    >>> membership_advantage([0.1, 0.2, 0.2, 0.5], [0.2, 0.4, 0.9, 1.3])
    0.5
    """
    members, non_members = _samples(members, non_members)
    if not len(members) or not len(non_members):
        return undefined(
            "membership_advantage",
            f"there are {len(members)} members and {len(non_members)} non-members",
        )
    return float(_distribution_gap(members, non_members).max())  # 0 at the largest value


def tpr_at_fpr(members, non_members, *, fpr=0.01):
    r"""Share of the members that a threshold finds while it accuses few non-members.

    .. math::
        \mathrm{TPR@}q = \max \{ \mathrm{TPR}_t : \mathrm{FPR}_t \le q \}

    over the attacks that call rows with a loss of at most :math:`t` members. An attack that is
    hardly better than chance on average can still be sure of a few rows; this shows it.

    Parameters
    ----------
    members : array-like of shape (n_members,)
        Losses of rows that the network was trained on: the forget rows. Any score that is *low*
        for members.
    non_members : array-like of shape (n_non_members,)
        Losses of held-out rows, with the same shares of the classes; at least ``1 / fpr`` of them.
    fpr : float, default=0.01
        :math:`q`, largest share of the non-members to accuse, in (0, 1].

    Returns
    -------
    tpr : float
        From 0 to 1. **Best is the value under the retrained network**, which is close to `fpr` if
        both samples come from one distribution. nan with a warning if there are no members or
        fewer than ``1 / fpr`` non-members, whose false positive rate cannot be that small.

    Raises
    ------
    TypeError, ValueError
        If a sample is not a one-dimensional array of finite numbers, or `fpr` is no number in
        (0, 1].

    Notes
    -----
    No interpolation between the points of the ROC curve. Over-forgetting, which gives forget rows
    a higher loss than all others, gives 0, the best value for whoever reads it alone.

    References
    ----------
    N. Carlini, S. Chien, M. Nasr, S. Song, A. Terzis and F. Tramèr (2022). Membership Inference
    Attacks From First Principles. IEEE S&P, 1897-1914.

    Examples
    --------
    >>> from sklunlearn.metrics import tpr_at_fpr
    >>> tpr_at_fpr([0.1, 0.2, 0.2, 0.5], [0.2, 0.4, 0.9, 1.3], fpr=0.25)
    0.75
    """
    members, non_members = _samples(members, non_members)
    check_number(fpr, "fpr", np.nextafter(0, 1), 1, "a number in (0, 1]")
    n, m = len(members), len(non_members)
    n_accused = int(fpr * m + 1e-9)
    if not n or not n_accused:
        return undefined(
            "tpr_at_fpr",
            f"a false positive rate of {fpr:g} needs members, got {n}, and at least "
            f"{1 / fpr:.6g} non-members, got {m}",
        )
    if n_accused == m:
        return 1.0
    # A threshold accuses too many as soon as it reaches the next non-member.
    return float((members < np.sort(non_members)[n_accused]).mean())


def auc_noise_floor(n_members, n_non_members):
    r"""Standard deviation of :func:`membership_auc` if both samples have the same distribution.

    .. math::
        \mathrm{sd} = \sqrt{\frac{n + m + 1}{12\, n m}}

    Parameters
    ----------
    n_members : int
        Number :math:`n` of members.
    n_non_members : int
        Number :math:`m` of non-members.

    Returns
    -------
    deviation : float
        Above 0; 0.041 for 100 rows each, 0.013 for 1000. An AUC that is within two of these of
        0.5, or a gap of two AUCs within that, is no finding. nan with a warning if a number is 0.

    Raises
    ------
    TypeError, ValueError
        If a number is not an integer of at least 0.

    Notes
    -----
    For losses without ties; ties make the deviation smaller.

    References
    ----------
    H. B. Mann and D. R. Whitney (1947). On a Test of Whether one of Two Random Variables is
    Stochastically Larger than the Other. Annals of Mathematical Statistics 18(1), 50-60.

    Examples
    --------
    >>> from sklunlearn.metrics import auc_noise_floor
    >>> round(auc_noise_floor(100, 100), 4)
    0.0409
    """
    check_integer(n_members, "n_members", 0)
    check_integer(n_non_members, "n_non_members", 0)
    n, m = int(n_members), int(n_non_members)
    if not n or not m:
        return undefined("auc_noise_floor", f"there are {n} members and {m} non-members")
    return float(np.sqrt((n + m + 1) / (12 * n * m)))


def ks_distance(a, b):
    r"""Kolmogorov-Smirnov distance of two samples.

    .. math::
        \mathrm{KS} = \sup_t | F_a(t) - F_b(t) |

    with the empirical distribution functions of the samples.

    Parameters
    ----------
    a, b : array-like of shape (n_a,), (n_b,)
        Losses, confidences or margins; the order of the two does not matter. Most telling: the
        losses of the *same* forget rows under the unlearned and under the retrained network. Also:
        those of forget rows and of held-out rows under one network.

    Returns
    -------
    distance : float
        From 0 to 1. Between unlearned and retrained, **best is the distance between two networks
        that were retrained with different seeds**, which is above 0. Two samples of one
        distribution exceed ``1.36 * sqrt((n_a + n_b) / (n_a * n_b))`` in one case of twenty. nan
        with a warning if a sample is empty.

    Raises
    ------
    TypeError, ValueError
        If a sample is not a one-dimensional array of finite numbers.

    Notes
    -----
    Does not say which sample is higher: more and less forgotten than by retraining look alike.
    It sees that part of the rows is known and part is wrecked, which :func:`membership_auc` does
    not. For forget rows of a whole class against held-out rows of that class under one network
    the distance is small whatever the network has forgotten.

    References
    ----------
    N. Smirnov (1948). Table for Estimating the Goodness of Fit of Empirical Distributions. Annals
    of Mathematical Statistics 19(2), 279-281. For unlearning: X. Liu and S. A. Tsaftaris (2020).
    Have You Forgotten? A Method to Assess if Machine Learning Models Have Forgotten Data. MICCAI.

    Examples
    --------
    >>> from sklunlearn.metrics import ks_distance
    >>> ks_distance([0.1, 0.2, 0.2, 0.5], [0.2, 0.4, 0.9, 1.3])
    0.5
    """
    a, b = check_floats(a, "a", "(n_a,)"), check_floats(b, "b", "(n_b,)")
    if not len(a) or not len(b):
        return undefined("ks_distance", f"the samples have {len(a)} and {len(b)} rows")
    return float(np.abs(_distribution_gap(a, b)).max())


def _samples(members, non_members):
    return (
        check_floats(members, "members", "(n_members,)"),
        check_floats(non_members, "non_members", "(n_non_members,)"),
    )


def _distribution_gap(a, b):
    """Difference of the empirical distribution functions at each value that occurs."""
    values = np.concatenate([a, b])
    below_a = np.searchsorted(np.sort(a), values, side="right") / len(a)
    return below_a - np.searchsorted(np.sort(b), values, side="right") / len(b)
