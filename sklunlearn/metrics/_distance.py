"""Distances between the outputs of two networks on the same rows."""

import numpy as np
from scipy.special import rel_entr

from sklunlearn.metrics._checks import (
    check_base,
    check_label_pair,
    check_proba,
    check_same_shape,
    mean_or_nan,
    sum_classes,
)

__all__ = [
    "activation_distance",
    "js_divergence",
    "kl_divergence",
    "prediction_agreement",
    "total_variation",
]


def kl_divergence(proba, reference, *, base=None):
    r"""Kullback-Leibler divergence of the reference from the network, mean over the rows.

    .. math::
        \frac{1}{n} \sum_i \sum_k p_{ik} \log \frac{p_{ik}}{q_{ik}}, \qquad 0 \log 0 = 0

    Parameters
    ----------
    proba : array-like of shape (n_samples, n_classes)
        :math:`p`, probabilities that the unlearned network gives.
    reference : array-like of shape (n_samples, n_classes)
        :math:`q`, those of the retrained network for the same rows, its columns in the same order.
        A class that it has never seen keeps its column.
    base : float, default=None
        Base of the logarithm: 2 for bits; None for nats.

    Returns
    -------
    divergence : float
        From 0; infinite as soon as `reference` has a 0 where `proba` has none; nan with a warning
        if there is no row.

    See Also
    --------
    js_divergence : Symmetric and always finite.

    Notes
    -----
    Lower is closer. Best is what a further retrained network has, which is not 0: two of them
    differ too. Not symmetric: swapping the arguments gives another number. Rows are divided by
    their sums, so that rounding in single precision does not count.

    References
    ----------
    .. [1] S. Kullback and R. A. Leibler (1951). On Information and Sufficiency. Annals of
       Mathematical Statistics 22(1), 79-86.

    Examples
    --------
    >>> from sklunlearn.metrics import kl_divergence
    >>> round(kl_divergence([[0.7, 0.2, 0.1]], [[0.1, 0.3, 0.6]]), 6)
    1.101868
    """
    p, q = _check_pair(proba, reference)
    unit = check_base(base)
    return mean_or_nan(_kl(p, q) / unit, "kl_divergence")


def js_divergence(proba, reference, *, base=2):
    r"""Jensen-Shannon divergence of two networks, mean over the rows.

    .. math::
        \frac{1}{n} \sum_i \tfrac{1}{2} \mathrm{KL}(p_i \,\|\, m_i)
        + \tfrac{1}{2} \mathrm{KL}(q_i \,\|\, m_i), \qquad m_i = \tfrac{1}{2} (p_i + q_i)

    Parameters
    ----------
    proba : array-like of shape (n_samples, n_classes)
        :math:`p`, probabilities that the unlearned network gives.
    reference : array-like of shape (n_samples, n_classes)
        :math:`q`, those of the retrained network for the same rows, its columns in the same order.
        A class that it has never seen keeps its column.
    base : float, default=2
        Base of the logarithm: 2 for bits; None for nats.

    Returns
    -------
    divergence : float
        From 0 to 1 in bits, to log 2 in nats; nan with a warning if there is no row.

    See Also
    --------
    prediction_agreement : Compares labels only.

    Notes
    -----
    Lower is closer. Best is what a further retrained network has, which is not 0: two of them
    differ too, on a forgotten class in particular, where it is chance which other class they
    prefer. Take the mean over several retrained networks, and quote their divergence from each
    other.

    This is the divergence, not its square root, the distance, which
    :func:`scipy.spatial.distance.jensenshannon` returns. Rows are divided by their sums, so that
    rounding in single precision does not count.

    References
    ----------
    .. [1] J. Lin (1991). Divergence Measures Based on the Shannon Entropy. IEEE Transactions on
       Information Theory 37(1), 145-151.
    .. [2] V. S. Chundawat, A. K. Tarun, M. Mandal and M. Kankanhalli (2023). Can Bad Teaching
       Induce Forgetting? AAAI. arXiv:2205.08096.

    Examples
    --------
    >>> from sklunlearn.metrics import js_divergence
    >>> round(js_divergence([[0.7, 0.2, 0.1]], [[0.1, 0.3, 0.6]]), 6)
    0.332751
    """
    unit = check_base(base)
    return mean_or_nan(js_per_row(proba, reference) / unit, "js_divergence")


def activation_distance(proba, reference, *, norm="l1"):
    r"""Length of the difference of two networks' probabilities, mean over the rows.

    .. math::
        \frac{1}{n} \sum_i \| p_i - q_i \|

    Parameters
    ----------
    proba : array-like of shape (n_samples, n_classes)
        :math:`p`, probabilities that the unlearned network gives.
    reference : array-like of shape (n_samples, n_classes)
        :math:`q`, those of the retrained network for the same rows, its columns in the same order.
    norm : {"l1", "l2"}, default="l1"
        Sum of the absolute differences [1]_, or root of the sum of their squares [2]_.

    Returns
    -------
    distance : float
        From 0 to 2 with "l1", to the root of 2 with "l2"; nan with a warning if there is no row.

    Notes
    -----
    Lower is closer. Best is what a further retrained network has, which is not 0: two of them
    differ too. Papers use both norms under this name: say which. Rows are divided by their sums, so
    that rounding in single precision does not count.

    References
    ----------
    .. [1] A. Golatkar, A. Achille, A. Ravichandran, M. Polito and S. Soatto (2021). Mixed-Privacy
       Forgetting in Deep Networks. CVPR. arXiv:2012.13431.
    .. [2] V. S. Chundawat, A. K. Tarun, M. Mandal and M. Kankanhalli (2023). Can Bad Teaching
       Induce Forgetting? AAAI. arXiv:2205.08096.

    Examples
    --------
    >>> from sklunlearn.metrics import activation_distance
    >>> round(activation_distance([[0.7, 0.2, 0.1]], [[0.1, 0.3, 0.6]]), 6)
    1.2
    >>> round(activation_distance([[0.7, 0.2, 0.1]], [[0.1, 0.3, 0.6]], norm="l2"), 6)
    0.787401
    """
    p, q = _check_pair(proba, reference)
    if norm not in ("l1", "l2"):
        raise ValueError(f"`norm` must be 'l1' or 'l2', got {norm!r}: choose one of them.")
    lengths = np.linalg.norm(p - q, ord=1 if norm == "l1" else 2, axis=1)
    return mean_or_nan(lengths, "activation_distance")


def total_variation(proba, reference):
    r"""Total variation distance of two networks' probabilities, mean over the rows.

    .. math::
        \frac{1}{n} \sum_i \frac{1}{2} \sum_k |p_{ik} - q_{ik}|

    The largest difference of the probabilities that the two give to any one set of classes.

    Parameters
    ----------
    proba : array-like of shape (n_samples, n_classes)
        :math:`p`, probabilities that the unlearned network gives.
    reference : array-like of shape (n_samples, n_classes)
        :math:`q`, those of the retrained network for the same rows, its columns in the same order.

    Returns
    -------
    distance : float
        From 0 to 1; nan with a warning if there is no row.

    Notes
    -----
    Lower is closer. Best is what a further retrained network has, which is not 0: two of them
    differ too. Half the L1 :func:`activation_distance`. Rows are divided by their sums, so that
    rounding in single precision does not count.

    References
    ----------
    .. [1] A. L. Gibbs and F. E. Su (2002). On Choosing and Bounding Probability Metrics.
       International Statistical Review 70(3), 419-435.

    Examples
    --------
    >>> from sklunlearn.metrics import total_variation
    >>> round(total_variation([[0.7, 0.2, 0.1]], [[0.1, 0.3, 0.6]]), 6)
    0.6
    """
    p, q = _check_pair(proba, reference)
    return mean_or_nan(np.abs(p - q).sum(axis=1) / 2, "total_variation")


def prediction_agreement(y_pred, reference):
    r"""Share of the rows for which two networks predict the same label.

    .. math::
        \frac{1}{n} \sum_i \mathbb{1}[\hat y_i = \hat r_i]

    Known as completeness too [1]_: the two are the same number.

    Parameters
    ----------
    y_pred : array-like of shape (n_samples,)
        :math:`\hat y`, labels that the unlearned network predicts: strings or numbers.
    reference : array-like of shape (n_samples,)
        :math:`\hat r`, labels that the retrained network predicts for the same rows.

    Returns
    -------
    agreement : float
        From 0 to 1; nan with a warning if there is no row.

    See Also
    --------
    js_divergence : Compares probabilities.

    Notes
    -----
    Higher is closer. Best is what a further retrained network has, which is less than 1: two of
    them disagree too, on a forgotten class in particular.

    References
    ----------
    .. [1] Y. Cao and J. Yang (2015). Towards Making Systems Forget with Machine Unlearning. IEEE
       Symposium on Security and Privacy, 463-480.

    Examples
    --------
    >>> from sklunlearn.metrics import prediction_agreement
    >>> prediction_agreement(["a", "b", "b", "a"], ["a", "b", "a", "a"])
    0.75
    """
    y_pred, reference = check_label_pair(y_pred, reference, ("y_pred", "reference"))
    return mean_or_nan(y_pred == reference, "prediction_agreement")


def js_per_row(proba, reference):
    """Jensen-Shannon divergence of each row in nats, ndarray of shape (n_samples,)."""
    p, q = _check_pair(proba, reference)
    m = (p + q) / 2
    return (_kl(p, m) + _kl(q, m)) / 2


def _check_pair(proba, reference):
    """Probabilities of two networks for the same rows, each row divided by its sum."""
    proba, reference = check_proba(proba, "proba"), check_proba(reference, "reference")
    check_same_shape(proba, reference, ("proba", "reference"))
    return [rows / sum_classes(rows)[:, None] for rows in (proba, reference)]


def _kl(p, q):
    """Divergence of each row in nats; rounding can take a sum below its bound, 0."""
    # As rel_entr, in a third of the time: 0 where p is 0, also where q is.
    with np.errstate(all="ignore"):
        terms = p * np.log(np.fmax(p / q, np.finfo(np.float64).tiny))
    infinite = np.isinf(terms)  # where only q is 0, or so small that the ratio overflows
    terms[infinite] = rel_entr(p[infinite], q[infinite])
    return np.maximum(sum_classes(terms), 0)
