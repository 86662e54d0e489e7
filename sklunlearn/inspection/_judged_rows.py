"""The rows that networks are judged by, and what the networks say of them."""

import numpy as np
import torch

from sklunlearn._nets import cross_entropy_of, forward, probabilities_of
from sklunlearn._validation import check_X_y, encode_labels
from sklunlearn.inspection._models import rows_of

__all__ = ["codes_of", "forgotten_classes", "matched_rows", "outputs_of"]


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


def matched_rows(y, forget, y_test, rng):
    """Forget rows and test rows with the same shares of the classes, as indices.

    As many test rows as there are for that. Forget rows of classes that have none are left out.
    """
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
