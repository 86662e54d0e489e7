"""The models that a picture compares, and what it asks of them."""

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted
from torch.utils.data import Dataset

from sklunlearn._data import Rows, take
from sklunlearn._nets import forward, row_losses, shallow_copy
from sklunlearn._training import transform
from sklunlearn._validation import check_X, check_X_y, encode_labels
from sklunlearn.base import BaseUnlearner
from sklunlearn.exceptions import ReleasedModelError

__all__ = ["as_array", "check_unlearner", "find_models", "losses_of", "original_of", "rows_of"]


def check_unlearner(unlearner, name="unlearner"):
    """Raise an error unless this is a fitted unlearner."""
    if not isinstance(unlearner, BaseUnlearner):
        raise TypeError(
            f"`{name}` must be a fitted unlearner, such as BoundaryUnlearner, got {unlearner!r}."
        )
    check_is_fitted(unlearner, "net_")


def original_of(unlearner):
    """The unlearner as it was before it forgot anything; it shares everything else."""
    if not hasattr(unlearner, "fitted_"):
        raise ReleasedModelError(
            f"This {type(unlearner).__name__} was released: it carries no original model to draw. "
            "Use the unlearner that it was released from."
        )
    original = shallow_copy(unlearner)
    original._restart()
    return original


def find_models(unlearner, retrained=None):
    """The models that there are, by name, in the order in which they are drawn.

    Parameters
    ----------
    unlearner : BaseUnlearner
        Fitted. Before it has forgotten anything it is the original model; once released it is
        only the unlearned one.
    retrained : BaseUnlearner, default=None
        Fitted, and trained without the rows: a `RetrainUnlearner` after `unlearn`.

    Returns
    -------
    models : dict of str to BaseUnlearner
        Of "original", "unlearned" and "retrained".
    """
    check_unlearner(unlearner)
    models = {}
    if hasattr(unlearner, "fitted_"):
        models["original"] = original_of(unlearner)
    if not models or unlearner.records_:
        models["unlearned"] = unlearner
    if retrained is not None:
        check_unlearner(retrained, "retrained")
        models["retrained"] = retrained
    return models


def rows_of(model, X, y=None):
    """Rows as the network of a model takes them."""
    if y is None:
        return Rows(transform(model.preprocessing_, check_X(model, X, reset=False)))
    X, y = check_X_y(model, X, y, reset=False)
    return Rows(transform(model.preprocessing_, X), encode_labels(y, model.classes_))


def losses_of(model, X, y):
    """Cross-entropy in nats of each row, ndarray of shape (n_samples,)."""
    rows = rows_of(model, X, y)
    return forward(model.net_, rows, row_losses)


def as_array(X, indices):
    """Some rows of an array, DataFrame or torch Dataset as a float32 ndarray."""
    if isinstance(X, Dataset):
        return Rows(X, indices=indices).take_X(slice(None)).numpy()
    X = take(X, indices)
    return np.asarray(X.numpy() if isinstance(X, torch.Tensor) else X, dtype=np.float32)
