"""How sure a network is, and with what right."""

import numpy as np
from scipy.special import entr

from sklunlearn.metrics._checks import (
    check_base,
    check_integer,
    check_labels,
    check_proba,
    check_same_shape,
    columns_of,
    mean_or_nan,
    undefined,
)

__all__ = ["confidence_gap", "entropy_gap", "expected_calibration_error"]


def expected_calibration_error(y_true, proba, *, n_bins=15, labels=None):
    r"""Distance of confidence and accuracy, over bins of equal width in the confidence.

    .. math::
        \mathrm{ECE} = \sum_b \frac{n_b}{n} |\mathrm{acc}_b - \mathrm{conf}_b|

    Bin :math:`b` holds the :math:`n_b` rows whose largest probability is in
    :math:`((b - 1) / B, b / B]`, conf is its mean over them, and acc the share of them whose
    likeliest class is the true one. Empty bins count nothing.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        True labels: strings or numbers.
    proba : array-like of shape (n_samples, n_classes)
        Probabilities, a column for each of `labels`.
    n_bins : int, default=15
        :math:`B`, at least 1.
    labels : array-like of shape (n_classes,), default=None
        The class of each column, as in ``classes_``. Needed if `y_true` lacks a class. None: the
        labels of `y_true`, sorted.

    Returns
    -------
    error : float
        From 0 to 1; nan with a warning if there is no row. Where two classes are equally likely,
        the lower label is the prediction.

    Notes
    -----
    Best is the value of a network that was retrained without the forget rows, on the same rows; 0
    is perfect calibration, which a retrained network does not have either. A single class is fine.
    With few rows a bin the value is too large: compare only values from equally many rows.

    References
    ----------
    .. [1] M. P. Naeini, G. F. Cooper and M. Hauskrecht (2015). Obtaining Well Calibrated
       Probabilities Using Bayesian Binning. AAAI, 2901-2907.
    .. [2] C. Guo, G. Pleiss, Y. Sun and K. Q. Weinberger (2017). On Calibration of Modern Neural
       Networks. ICML. arXiv:1706.04599.

    Examples
    --------
    >>> from sklunlearn.metrics import expected_calibration_error
    >>> proba = [[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.4, 0.6]]
    >>> round(expected_calibration_error(["a", "b", "b", "b"], proba, n_bins=10), 6)
    0.4
    """
    proba = check_proba(proba, "proba")
    y_true = check_labels(y_true, "y_true", len(proba))
    check_integer(n_bins, "n_bins", 1)
    column = columns_of(y_true, labels, proba.shape[1], "y_true")
    if labels is not None:  # of equal probabilities that of the lowest label counts
        order = np.argsort(check_labels(labels, "labels"))
        proba, column = proba[:, order], np.argsort(order)[column]
    if not len(proba):
        return undefined("expected_calibration_error")
    confidence = proba.max(axis=1)
    is_right = proba.argmax(axis=1) == column
    inner_edges = np.arange(1, n_bins) / n_bins
    bins = np.searchsorted(inner_edges, confidence, side="left")  # an edge is in the bin below it
    surplus = np.bincount(bins, weights=confidence - is_right)  # n_b * (conf_b - acc_b)
    return float(np.abs(surplus).sum() / len(proba))


def confidence_gap(proba, reference):
    r"""Mean confidence in excess of that in the reference.

    .. math::
        \frac{1}{n} \sum_i \max_k p_{ik} - \frac{1}{m} \sum_j \max_k q_{jk}

    Two uses: of the unlearned network, the forget rows against unseen rows of the same classes; or
    on the forget rows, the unlearned against the retrained network.

    Parameters
    ----------
    proba : array-like of shape (n_samples, n_classes)
        :math:`p`, probabilities that the unlearned network gives to the forget rows.
    reference : array-like of shape (n_reference, n_classes)
        :math:`q`, those that it gives to unseen rows, drawn so that their classes are as frequent;
        or those that the retrained network gives to the forget rows.

    Returns
    -------
    gap : float
        Between -1 and 1; nan with a warning if one of them has no row.

    See Also
    --------
    entropy_gap : The same for the whole distribution.

    Notes
    -----
    Best is 0 against the retrained network, give or take what two retrained networks differ by.
    Against unseen rows it is the gap that the retrained network has. Positive: the rows are still
    known; negative: the network has been made less sure of them than of rows that it has never
    seen, by which they can be recognised too.

    References
    ----------
    .. [1] A. Salem, Y. Zhang, M. Humbert, P. Berrang, M. Fritz and M. Backes (2019). ML-Leaks:
       Model and Data Independent Membership Inference Attacks and Defenses on Machine Learning
       Models. NDSS. arXiv:1806.01246. (The largest probability as a sign of membership.)

    Examples
    --------
    >>> from sklunlearn.metrics import confidence_gap
    >>> round(confidence_gap([[0.9, 0.1], [0.3, 0.7]], [[0.6, 0.4]]), 6)
    0.2
    """
    p, q = _check_groups(proba, reference)
    sure = mean_or_nan(p.max(axis=1), "confidence_gap", "`proba` has no row")
    return sure - mean_or_nan(q.max(axis=1), "confidence_gap", "`reference` has no row")


def entropy_gap(proba, reference, *, base=None):
    r"""Mean entropy in excess of that in the reference.

    .. math::
        \frac{1}{n} \sum_i H(p_i) - \frac{1}{m} \sum_j H(q_j), \qquad
        H(p) = -\sum_k p_k \log p_k, \quad 0 \log 0 = 0

    Parameters
    ----------
    proba : array-like of shape (n_samples, n_classes)
        :math:`p`, probabilities that the unlearned network gives to the forget rows.
    reference : array-like of shape (n_reference, n_classes)
        :math:`q`, those that it gives to unseen rows, drawn so that their classes are as frequent;
        or those that the retrained network gives to the forget rows.
    base : float, default=None
        Base of the logarithm: 2 for bits; None for nats.

    Returns
    -------
    gap : float
        Between minus and plus the logarithm of n_classes; nan with a warning if one of them has no
        row.

    See Also
    --------
    confidence_gap : The same for the largest probability.

    Notes
    -----
    Best is 0 against the retrained network, give or take what two retrained networks differ by.
    Against unseen rows it is the gap that the retrained network has. The sign is the opposite of
    that of the confidence: negative, the rows are still known; positive, the network has been made
    too unsure of them.

    References
    ----------
    .. [1] A. Golatkar, A. Achille and S. Soatto (2020). Eternal Sunshine of the Spotless Net:
       Selective Forgetting in Deep Networks. CVPR. arXiv:1911.04933. (Entropy on the forget rows.)

    Examples
    --------
    >>> from sklunlearn.metrics import entropy_gap
    >>> entropy_gap([[0.5, 0.5], [0.5, 0.5]], [[1, 0]], base=2)
    1.0
    """
    p, q = _check_groups(proba, reference)
    unit = check_base(base)
    unsure = mean_or_nan(entr(p).sum(axis=1), "entropy_gap", "`proba` has no row")
    gap = unsure - mean_or_nan(entr(q).sum(axis=1), "entropy_gap", "`reference` has no row")
    return gap / unit


def _check_groups(proba, reference):
    """Probabilities of two groups of rows over the same classes."""
    proba, reference = check_proba(proba, "proba"), check_proba(reference, "reference")
    check_same_shape(proba, reference, ("proba", "reference"), axes=-1)
    return proba, reference
