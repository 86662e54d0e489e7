"""What a membership attack looks at: one number a row, from a network's outputs."""

import numpy as np

from sklunlearn.metrics._checks import (
    check_floats,
    check_labels,
    check_proba,
    columns_of,
    sum_classes,
)

__all__ = ["cross_entropy_per_row", "logit_scaled_confidence", "modified_entropy"]


def cross_entropy_per_row(y_true, y_score, *, labels=None, from_logits=False):
    r"""Cross-entropy of each row, in nats.

    .. math::
        \mathrm{CE}(x, y) = \log \sum_k e^{z_k} - z_y = -\log p_y

    with the logits :math:`z`, or the logarithms of the probabilities as such.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        Labels of the rows.
    y_score : array-like of shape (n_samples, n_classes)
        Probabilities, as `predict_proba` returns them; or logits, with `from_logits`.
    labels : array-like of shape (n_classes,), default=None
        Label of each column, in any order. None: the sorted labels of `y_true`, which must then
        be as many as the columns.
    from_logits : bool, default=False
        Whether `y_score` holds logits. Prefer them where they are at hand: single precision rounds
        the probability of a row that the network is sure of to 1, and a very small one to 0.

    Returns
    -------
    loss : ndarray of shape (n_samples,), dtype float64
        At least 0; low where the network knows the row. No value is best in itself: forgotten
        rows should have the losses that the *retrained* network gives them, which
        :func:`ks_distance` compares. A much higher loss than that is over-forgetting, and gives
        the rows away as a low one does.

    Raises
    ------
    TypeError
        If `y_score` does not hold numbers.
    ValueError
        If shapes do not fit, a label has no column, a value is not finite, or `y_score` holds no
        probabilities although `from_logits` is False.

    Notes
    -----
    Probabilities are divided by their sum, which rounding may have moved from 1. A probability of
    0 counts as the smallest positive normal number of double precision: the loss is then 708.4.

    References
    ----------
    S. Yeom, I. Giacomelli, M. Fredrikson and S. Jha (2018). Privacy Risk in Machine Learning:
    Analyzing the Connection to Overfitting. IEEE CSF, 268-282.

    Examples
    --------
    >>> from sklunlearn.metrics import cross_entropy_per_row
    >>> cross_entropy_per_row(["b", "a"], [[0.5, 0.5], [1.0, 0.0]]).round(4)
    array([0.6931, 0.    ])
    >>> cross_entropy_per_row([3], [[2.0, 0.0]], labels=[3, 5], from_logits=True).round(4)
    array([0.1269])
    """
    margin = logit_scaled_confidence(y_true, y_score, labels=labels, from_logits=from_logits)
    # log(1 + e^-m) keeps its digits where the loss is small; the logarithm of p_y would not.
    return np.logaddexp(0, -margin)


def logit_scaled_confidence(y_true, y_score, *, labels=None, from_logits=False):
    r"""Logit of the probability of the true class of each row, also called its margin.

    .. math::
        \varphi(x, y) = \log \frac{p_y}{1 - p_y} = z_y - \log \sum_{k \ne y} e^{z_k}

    It orders the rows as the cross-entropy does, the other way round, and its distribution over
    networks is close to normal, which attacks with shadow models rely on.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        Labels of the rows.
    y_score : array-like of shape (n_samples, n_classes)
        Probabilities, as `predict_proba` returns them; or logits, with `from_logits`.
    labels : array-like of shape (n_classes,), default=None
        Label of each column, in any order. None: the sorted labels of `y_true`, which must then
        be as many as the columns.
    from_logits : bool, default=False
        Whether `y_score` holds logits. Prefer them, as in :func:`cross_entropy_per_row`.

    Returns
    -------
    confidence : ndarray of shape (n_samples,), dtype float64
        Any finite number; positive where the true class has more than half of the probability.
        No value is best in itself: forgotten rows should have the values of the *retrained*
        network. Far lower ones are over-forgetting, and give the rows away as well.

    Raises
    ------
    TypeError
        If `y_score` does not hold numbers.
    ValueError
        If shapes do not fit, a label has no column, a value is not finite, or `y_score` holds no
        probabilities although `from_logits` is False.

    Notes
    -----
    The sum runs over the other classes; ``log(p / (1 - p))`` would be infinite where rounding has
    made `p` 1. A probability of 0 counts as the smallest positive normal number of double
    precision, so that from probabilities the values lie within 709 of 0 or so.

    References
    ----------
    N. Carlini, S. Chien, M. Nasr, S. Song, A. Terzis and F. Tramèr (2022). Membership Inference
    Attacks From First Principles. IEEE S&P, 1897-1914.

    Examples
    --------
    >>> from sklunlearn.metrics import logit_scaled_confidence
    >>> logit_scaled_confidence([0], [[0.75, 0.25]], labels=[0, 1]).round(4)
    array([1.0986])
    >>> logit_scaled_confidence([0], [[60.0, 0.0]], labels=[0, 1], from_logits=True)
    array([60.])
    """
    score, column = _check(y_true, y_score, labels, from_logits)
    return _margin(score, column) if from_logits else _log_odds(score, column)


def modified_entropy(y_true, y_score, *, labels=None, from_logits=False):
    r"""Entropy of the prediction for each row that takes account of the true class.

    .. math::
        \mathrm{Mentr}(x, y) = -(1 - p_y) \log p_y - \sum_{k \ne y} p_k \log (1 - p_k)

    Unlike the entropy it tells a confident error from a confident success; unlike the
    cross-entropy it depends on how the other classes share the rest.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        Labels of the rows.
    y_score : array-like of shape (n_samples, n_classes)
        Probabilities, as `predict_proba` returns them; or logits, with `from_logits`.
    labels : array-like of shape (n_classes,), default=None
        Label of each column, in any order. None: the sorted labels of `y_true`, which must then
        be as many as the columns.
    from_logits : bool, default=False
        Whether `y_score` holds logits. Prefer them, as in :func:`cross_entropy_per_row`.

    Returns
    -------
    entropy : ndarray of shape (n_samples,), dtype float64
        At least 0, in nats; low where the network knows the row, so that it can take the place
        of the loss in the attacks of this package. No value is best in itself: forgotten rows
        should have the values of the *retrained* network.

    Raises
    ------
    TypeError
        If `y_score` does not hold numbers.
    ValueError
        If shapes do not fit, a label has no column, a value is not finite, or `y_score` holds no
        probabilities although `from_logits` is False.

    Notes
    -----
    A widely copied implementation takes :math:`\log p_k` where :math:`\log (1 - p_k)` is due and
    replaces whole columns; its values are not comparable with these.

    References
    ----------
    L. Song and P. Mittal (2021). Systematic Evaluation of Privacy Risks of Machine Learning
    Models. USENIX Security, 2615-2632.

    Examples
    --------
    >>> from sklunlearn.metrics import modified_entropy
    >>> modified_entropy([0], [[2.0, 0.0, -1.0]], labels=[0, 1, 2], from_logits=True).round(6)
    array([0.042181])
    """
    score, column = _check(y_true, y_score, labels, from_logits)
    rows, top = np.arange(len(score)), score.argmax(axis=1)
    # Only the likeliest class can be so close to 1 that 1 - p loses its digits: p is taken
    # relative to it, and 1 - p of it is what the others have.
    if from_logits:
        others, highest = score.copy(), score[rows, top]
        others[rows, top] = -np.inf
        second = others.max(axis=1)
        p = np.exp(others - second[:, None])
        rest = second + np.log(sum_classes(p))
        scale, log_own = second - highest, score[rows, column] - highest
    else:
        p = np.maximum(score, np.finfo(np.float64).tiny)
        highest, log_own = np.log(p[rows, top]), np.log(p[rows, column])
        p[rows, top] = 0
        rest = np.log(sum_classes(p))
        scale, log_own = -highest, log_own - highest
    log_top, log_rest = -np.logaddexp(0, rest - highest), -np.logaddexp(0, highest - rest)
    p *= np.exp(scale + log_top)[:, None]
    terms = p * -np.log1p(-p)
    terms[rows, top] = np.exp(log_top) * -log_rest
    other_than_own = np.where(top == column, np.exp(log_rest), 1 - p[rows, column])
    terms[rows, column] = other_than_own * -(log_own + log_top)
    return sum_classes(terms)


def _check(y_true, y_score, labels, from_logits):
    """Logits or probabilities of each row, and the column of each true class."""
    if from_logits:
        score = check_floats(y_score, "y_score", "(n_samples, n_classes)")
    else:
        score = check_proba(y_score, "y_score")
    if score.shape[1] < 2:
        raise ValueError(
            f"`y_score` has {score.shape[1]} columns, expected one for each class, at least 2."
        )
    y = check_labels(y_true, "y_true", len(score))
    return score, columns_of(y, labels, score.shape[1], "y_true")


def _margin(z, column):
    """Logit of each row's class against all others together."""
    rows = np.arange(len(z))
    others = z.copy()
    others[rows, column] = -np.inf
    # As logsumexp, in a third of the time.
    top = others.max(axis=1)
    with np.errstate(over="ignore"):  # to minus infinity, of logits that are far apart
        rest = np.exp(others - top[:, None])
    return z[rows, column] - (top + np.log(sum_classes(rest)))


def _log_odds(proba, column):
    """As `_margin`, of probabilities; without exponentials."""
    rows = np.arange(len(proba))
    others = np.maximum(proba, np.finfo(np.float64).tiny)
    own = others[rows, column]
    others[rows, column] = 0
    return np.log(own) - np.log(sum_classes(others))
