"""Accuracies on the forget rows, on the retain rows and of each class."""

import numpy as np

from sklunlearn.metrics._checks import (
    check_label_pair,
    check_labels,
    check_same_kind,
    mean_or_nan,
    undefined,
)
from sklunlearn.requests import check_forget

__all__ = ["forget_accuracy", "per_class_accuracy", "retain_accuracy"]


def forget_accuracy(y_true, y_pred, *, forget):
    r"""Accuracy on the rows that are to be forgotten.

    .. math::
        \frac{1}{|F|} \sum_{i \in F} \mathbb{1}[\hat y_i = y_i]

    Its complement on training rows, :math:`1 -` this, is known as unlearning accuracy.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        True labels: strings or numbers.
    y_pred : array-like of shape (n_samples,)
        Predicted labels, of the same type.
    forget : array-like of shape (n_samples,), dtype bool, or (n_forget,), dtype int
        :math:`F`, the forget rows: a mask or row indices.

    Returns
    -------
    accuracy : float
        From 0 to 1; nan with a warning if no row is marked.

    See Also
    --------
    retain_accuracy : The same of all other rows.

    Notes
    -----
    Best is the value of a network that was retrained without the rows. For a forgotten class that
    is normally 0; for rows drawn at random it is close to the accuracy on unseen rows, and a
    network that gets every one of them wrong has been taught to.

    With n forget rows, an accuracy a has a standard error of :math:`\sqrt{a (1 - a) / n}`: 0.03 for
    a = 0.9 and n = 100.

    References
    ----------
    .. [1] J. Jia, J. Liu, P. Ram et al. (2023). Model Sparsity Can Simplify Machine Unlearning.
       NeurIPS. arXiv:2304.04934.

    Examples
    --------
    >>> from sklunlearn.metrics import forget_accuracy
    >>> y_true, y_pred = ["a", "a", "b", "b"], ["a", "b", "b", "b"]
    >>> forget_accuracy(y_true, y_pred, forget=[True, True, False, False])
    0.5
    """
    y_true, y_pred = check_label_pair(y_true, y_pred)
    forget = check_forget(forget, len(y_true), allow_none=True)
    why = f"`forget` marks none of the {len(forget)} rows"
    return mean_or_nan((y_true == y_pred)[forget], "forget_accuracy", why)


def retain_accuracy(y_true, y_pred, *, forget):
    r"""Accuracy on all rows but those that are to be forgotten.

    .. math::
        \frac{1}{n - |F|} \sum_{i \notin F} \mathbb{1}[\hat y_i = y_i]

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        True labels: strings or numbers.
    y_pred : array-like of shape (n_samples,)
        Predicted labels, of the same type.
    forget : array-like of shape (n_samples,), dtype bool, or (n_forget,), dtype int
        :math:`F`, the forget rows: a mask or row indices.

    Returns
    -------
    accuracy : float
        From 0 to 1; nan with a warning if every row is marked.

    See Also
    --------
    forget_accuracy : The same of the forget rows.
    per_class_accuracy : The same of each class.

    Notes
    -----
    Best is the value of a network that was retrained without the forget rows. Where that is not at
    hand, a value close to that of the original network is a proxy. On held-out rows, mark those of
    the forgotten classes, if any, to get the accuracy on the remaining ones.

    If one class of two is forgotten, a network that always says the other one has the value 1.

    References
    ----------
    .. [1] J. Jia, J. Liu, P. Ram et al. (2023). Model Sparsity Can Simplify Machine Unlearning.
       NeurIPS. arXiv:2304.04934.

    Examples
    --------
    >>> from sklunlearn.metrics import retain_accuracy
    >>> y_true, y_pred = ["a", "a", "b", "b"], ["a", "b", "b", "b"]
    >>> retain_accuracy(y_true, y_pred, forget=[True, True, False, False])
    1.0
    """
    y_true, y_pred = check_label_pair(y_true, y_pred)
    retain = ~check_forget(forget, len(y_true), allow_none=True)
    why = f"`forget` leaves none of the {len(retain)} rows"
    return mean_or_nan((y_true == y_pred)[retain], "retain_accuracy", why)


def per_class_accuracy(y_true, y_pred, *, labels=None):
    r"""Accuracy on the rows of each class, which is the recall of the class.

    .. math::
        a_k = \frac{\sum_i \mathbb{1}[y_i = k]\, \mathbb{1}[\hat y_i = k]}
                   {\sum_i \mathbb{1}[y_i = k]}

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        True labels: strings or numbers.
    y_pred : array-like of shape (n_samples,)
        Predicted labels, of the same type.
    labels : array-like of shape (n_classes,), default=None
        The classes, in the order wanted. None: every label of `y_true` and `y_pred`, sorted.

    Returns
    -------
    accuracies : ndarray of shape (n_classes,)
        From 0 to 1; nan with a warning for a class that `y_true` does not hold. ``np.nanmean`` of
        them is the balanced accuracy.

    Notes
    -----
    Best are the values of a network that was retrained without the forget rows: for a forgotten
    class normally 0. A remaining class whose value fell paid for the forgetting, which the mean
    over all rows may hide.

    References
    ----------
    .. [1] K. H. Brodersen, C. S. Ong, K. E. Stephan and J. M. Buhmann (2010). The Balanced Accuracy
       and Its Posterior Distribution. ICPR, 3121-3124.

    Examples
    --------
    >>> from sklunlearn.metrics import per_class_accuracy
    >>> per_class_accuracy(["a", "a", "b", "b"], ["a", "b", "b", "b"])
    array([0.5, 1. ])
    """
    y_true, y_pred = check_label_pair(y_true, y_pred)
    if labels is None:
        labels = np.unique(np.concatenate([y_true, y_pred]))
    else:
        labels = check_labels(labels, "labels")
        check_same_kind(labels, y_true, ("labels", "y_true"))
        values, counts = np.unique(labels, return_counts=True)
        if (counts > 1).any():
            raise ValueError(
                f"`labels` repeats {values[counts > 1].tolist()[0]!r}: pass each class once."
            )
    of_class = labels[:, None] == y_true
    n_rows = of_class.sum(axis=1)
    if absent := labels[n_rows == 0].tolist():
        undefined("per_class_accuracy", f"`y_true` holds no row of the classes {absent}")
    n_right = (of_class & (y_true == y_pred)).sum(axis=1)
    return np.divide(n_right, n_rows, out=np.full(len(labels), np.nan), where=n_rows > 0)
