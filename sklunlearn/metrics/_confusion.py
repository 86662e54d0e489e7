"""Interclass confusion: rows with swapped labels, and whether their effect was forgotten."""

from typing import NamedTuple

import numpy as np
from sklearn.utils import check_random_state

from sklunlearn.metrics._checks import check_integer, check_label_pair, check_labels, undefined

__all__ = ["InterclassConfusion", "interclass_confusion", "make_confusion"]


def make_confusion(y, a, b, n, random_state=None):
    """Swap the labels of some rows of two classes: rows for a network to learn, and to forget.

    Train on the labels that this returns and unlearn the rows that it marks; then
    :func:`interclass_confusion` of the test rows tells how much of the confusion is left. In
    symbols, :math:`y'_i = b` for marked rows of class `a`, :math:`y'_i = a` for marked rows of
    class `b`, and :math:`y'_i = y_i` elsewhere.

    Parameters
    ----------
    y : array-like of shape (n_samples,)
        Labels of the training rows.
    a, b : label
        The two classes.
    n : int
        Number of rows to mark in all, at least 2: half of each class, and the odd one of `a`.
    random_state : int, RandomState instance or None, default=None
        Draws the rows.

    Returns
    -------
    y_confused : ndarray of shape (n_samples,)
        The labels with those of the marked rows swapped.
    forget : ndarray of shape (n_samples,), dtype bool
        True for the marked rows.

    Raises
    ------
    TypeError, ValueError
        If `y` is not one-dimensional, `a` equals `b`, or there are too few rows of a class.

    References
    ----------
    S. Goel, A. Prabhu, A. Sanyal, S.-N. Lim, P. Torr and P. Kumaraguru (2022). Towards Adversarial
    Evaluations for Inexact Machine Unlearning. arXiv:2201.06640.

    Examples
    --------
    >>> from sklunlearn.metrics import make_confusion
    >>> y_confused, forget = make_confusion(["cat", "dog", "owl"], "cat", "dog", 2)
    >>> y_confused.tolist(), forget.tolist()
    (['dog', 'cat', 'owl'], [True, True, False])
    """
    y = check_labels(y, "y")
    _check_pair((a, b), "`a` and `b`")
    check_integer(n, "n", 2)
    rng = check_random_state(random_state)
    forget, y_confused = np.zeros(len(y), dtype=bool), y.copy()
    of_a, of_b = np.flatnonzero(y == a), np.flatnonzero(y == b)
    for label, rows, n_label in [(a, of_a, (n + 1) // 2), (b, of_b, n // 2)]:
        if len(rows) < n_label:
            raise ValueError(
                f"`y` has {len(rows)} rows of class {label!r}, expected at least {n_label} for "
                f"n={n}: lower `n`, or name another class."
            )
        forget[rng.choice(rows, size=n_label, replace=False)] = True
    y_confused[of_a[forget[of_a]]] = y[of_b[0]]
    y_confused[of_b[forget[of_b]]] = y[of_a[0]]
    return y_confused, forget


class InterclassConfusion(NamedTuple):
    """What :func:`interclass_confusion` returns.

    Attributes
    ----------
    targeted_error : float
        Share of the rows of either class that are taken for the other one (FGT-ERR, as a rate).
    total_error : float
        Share of the rows of either class that are taken for any wrong class (IC-ERR).
    """

    targeted_error: float
    total_error: float


def interclass_confusion(y_true, y_pred, *, classes):
    r"""How often two classes, whose labels were swapped in training, are confused.

    With :math:`C_{jk}` the number of rows of class `j` that are predicted as `k`, and
    :math:`n_j = \sum_k C_{jk}`,

    .. math::
        \mathrm{targeted} = \frac{C_{ab} + C_{ba}}{n_a + n_b}, \qquad
        \mathrm{total} = \frac{(n_a - C_{aa}) + (n_b - C_{bb})}{n_a + n_b}.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        True labels of test rows. For what was memorised, those of the rows that were swapped,
        before the swap.
    y_pred : array-like of shape (n_samples,)
        Predictions of the network that is judged.
    classes : pair of labels
        `a` and `b`; the order does not matter.

    Returns
    -------
    confusion : InterclassConfusion
        A named tuple (targeted_error, total_error), each from 0 to 1, the first never above the
        second. **Best is the value of the retrained network**, which confuses classes that are
        alike; but an error below that is not a fault, unlike with most measures. Both nan with a
        warning if a class has no rows.

    Raises
    ------
    TypeError, ValueError
        If the labels differ in type or number, or `classes` is not a pair of different labels.

    Notes
    -----
    A network that predicts neither class any more has a targeted error of 0, and a total error
    of 1: read both.

    References
    ----------
    S. Goel, A. Prabhu, A. Sanyal, S.-N. Lim, P. Torr and P. Kumaraguru (2022). Towards Adversarial
    Evaluations for Inexact Machine Unlearning. arXiv:2201.06640.

    Examples
    --------
    >>> from sklunlearn.metrics import interclass_confusion
    >>> interclass_confusion([0, 0, 1, 1, 2], [0, 1, 1, 2, 0], classes=(0, 1))
    InterclassConfusion(targeted_error=0.25, total_error=0.5)
    """
    y_true, y_pred = check_label_pair(y_true, y_pred)
    a, b = _check_pair(classes, "`classes`")
    is_a, is_b = y_true == a, y_true == b
    n_a, n_b = int(is_a.sum()), int(is_b.sum())
    if not n_a or not n_b:
        nothing = undefined(
            "interclass_confusion",
            f"it needs rows of both classes, got {n_a} of {a!r} and {n_b} of {b!r}",
        )
        return InterclassConfusion(nothing, nothing)
    swapped = (is_a & (y_pred == b)).sum() + (is_b & (y_pred == a)).sum()
    wrong = (is_a & (y_pred != a)).sum() + (is_b & (y_pred != b)).sum()
    return InterclassConfusion(float(swapped / (n_a + n_b)), float(wrong / (n_a + n_b)))


def _check_pair(classes, name):
    classes = tuple(classes) if np.ndim(classes) == 1 else (classes,)
    if len(classes) != 2 or classes[0] == classes[1]:
        raise ValueError(
            f"{name} must be two different labels of the data, got {', '.join(map(repr, classes))}."
        )
    return classes
