"""Rows by which a composition chooses, and what is best by them."""

import numpy as np
import torch

from sklunlearn._data import Rows
from sklunlearn._nets import cross_entropy_of, forward, logits_of
from sklunlearn._validation import check_X_y, encode_labels
from sklunlearn.requests import check_forget

__all__ = ["MergeRows", "best_compromise", "best_forgetter", "best_retainer", "check_held_out"]


class MergeRows:
    """What a composition looks at of its rows: a sample of them, and held-out rows.

    Parameters
    ----------
    X, y, forget
        Rows of the request, as the networks take them, their classes and which are to be forgotten.
    held_out : tuple (X, y, forget) or None
        Rows that scores are of; where none are of a kind, those of the request stand in.
    max_rows : int
        Look at no more rows of the request of each kind; they are drawn at random.

    Attributes
    ----------
    retain : sklunlearn._data.Rows
        Rows of the request that are retained.
    """

    def __init__(self, X, y, forget, held_out, max_rows):
        self.retain, self._scored = _sample(X, y, ~forget, max_rows), {}
        self._scored["forget"] = _sample(X, y, forget, max_rows)
        self._scored["retain"] = self.retain
        if held_out is not None:
            X, y, forget = held_out
            for name, mask in (("forget", forget), ("retain", ~forget)):
                if mask.any():
                    self._scored[name] = Rows(X, y, np.flatnonzero(mask))

    def scores(self, net):
        """Accuracy, and mean cross-entropy in nats, on the forget and on the retain rows."""
        scores = {}
        for name, rows in self._scored.items():
            accuracy, loss = forward(net, rows, _right_and_loss).mean(axis=0).tolist()
            scores |= {f"{name}_accuracy": accuracy, f"{name}_loss": loss}
        return scores


def _sample(X, y, mask, max_rows):
    # In random order also where all are taken: batches should be alike.
    chosen = np.random.permutation(np.flatnonzero(mask))[:max_rows]  # noqa: NPY002
    return Rows(X, y, chosen)


def check_held_out(composition, X, y, forget):
    """Rows, class indices and forget mask of held-out rows; None if there are none.

    Raises what :func:`sklunlearn._validation.check_X_y` and :func:`check_forget` do, with a note
    that names the arguments.
    """
    if X is None:
        if y is not None or forget is not None:
            raise ValueError("`y_val` and `forget_val` describe `X_val`: pass that too.")
        return None
    try:
        X, y = check_X_y(composition, X, y, reset=False)
        y = encode_labels(y, composition.classes_)
        if forget is None:
            return X, y, np.zeros(len(y), dtype=bool)
        return X, y, check_forget(forget, len(y))
    except (TypeError, ValueError) as error:
        error.add_note("This is about the held-out rows: `X_val`, `y_val`, `forget_val`.")
        raise


def _right_and_loss(net, output, batch):
    right = logits_of(net, output).argmax(dim=1) == batch.y
    return torch.stack([right, cross_entropy_of(net, output, batch.y)], dim=1)


def best_retainer(scores):
    """Name of the highest retain accuracy; of equal ones, of the lowest loss."""
    return min(scores, key=lambda name: _retention(scores[name]))


def best_forgetter(scores, target):
    """Name of the forget accuracy that is nearest to `target`; of equal ones, as above."""

    def rank(name):
        return abs(scores[name]["forget_accuracy"] - target), *_retention(scores[name])

    return min(scores, key=rank)


def best_compromise(scores, target):
    """Position of the highest retain accuracy less distance of the forget accuracy to `target`."""

    def rank(position):
        each = scores[position]
        gap = abs(each["forget_accuracy"] - target)
        return gap - each["retain_accuracy"], each["retain_loss"]

    return min(range(len(scores)), key=rank)


def _retention(scores):
    return -scores["retain_accuracy"], scores["retain_loss"]
