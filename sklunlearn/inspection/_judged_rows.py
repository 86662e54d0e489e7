"""The rows that networks are judged by, and what the networks say of them."""

import numpy as np
import torch

from sklunlearn._nets import cross_entropy_of, forward, probabilities_of
from sklunlearn._validation import check_X_y, encode_labels
from sklunlearn.inspection._models import rows_of
from sklunlearn.requests import check_forget

__all__ = ["codes_of", "forgotten_classes", "matched_rows", "outputs_of", "unseen_of_forgotten"]


def outputs_of(model, X, y):
    """Probabilities and cross-entropy in nats of each row, of shapes (n, n_classes) and (n,)."""

    def both(net, output, batch):
        loss = cross_entropy_of(net, output, batch.y)
        return torch.cat([probabilities_of(net, output).double(), loss[:, None]], dim=1)

    results = forward(model.net_, rows_of(model, *_with_labels(model, X, y)), both)
    return results[:, :-1], results[:, -1]


def _with_labels(model, X, y):
    return (X, check_X_y(model, X, None, reset=False)[1]) if y is None else (X, y)


def codes_of(unlearner, X, y):
    """Class indices of the labels; y may be None for a Dataset."""
    return encode_labels(check_X_y(unlearner, X, y, reset=False)[1], unlearner.classes_)


def forgotten_classes(y, forget):
    """Classes all rows of which are forgotten."""
    return np.setdiff1d(y[forget], y[~forget])


def unseen_of_forgotten(forget_test, y_test, gone, classes):
    """Mask of the test rows that are of what was forgotten.

    Parameters
    ----------
    forget_test : array-like of shape (n_test,), dtype bool, or of row indices, or None
        As the user marks them. None: the rows of the forgotten classes.
    y_test : ndarray of shape (n_test,)
        Class indices.
    gone : ndarray of shape (n_gone,)
        Class indices of the forgotten classes.
    classes : ndarray of shape (n_classes,)
        What the user calls the classes.
    """
    of_gone = np.isin(y_test, gone)
    if forget_test is None:
        return of_gone
    marked = check_forget(forget_test, len(y_test), name="forget_test")
    if (left := of_gone & ~marked).any():
        raise ValueError(
            f"`forget_test` leaves out {left.sum()} of the test rows of class "
            f"{classes[y_test[left][0]]}, all of which was forgotten: mark these too."
        )
    return marked


def matched_rows(y, forget, y_test, rng, eligible=None):
    """Forget rows and test rows with the same shares of the classes, as indices.

    As many test rows as there are for that, of those that the mask `eligible` marks, or of all.
    Forget rows of classes that have none are left out.
    """
    if eligible is not None:
        y_test = np.where(eligible, y_test, -1)
    labels, wanted = np.unique(y[forget], return_counts=True)
    there = np.array([np.sum(y_test == label) for label in labels])
    labels, wanted, there = labels[there > 0], wanted[there > 0], there[there > 0]
    members = np.flatnonzero(forget & np.isin(y, labels))
    if not len(labels):
        return members, members
    share = (there / wanted).min()
    # Rounded: the shares are then as equal as whole rows allow.
    counts = np.clip(np.rint(share * wanted).astype(int), 1, there)
    others = [
        rng.choice(np.flatnonzero(y_test == label), count, replace=False)
        for label, count in zip(labels, counts, strict=True)
    ]
    return members, np.sort(np.concatenate(others))
