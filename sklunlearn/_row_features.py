"""Features of rows, computed a batch at a time."""

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted
from torch.utils.data import Dataset

from sklunlearn._data import Rows
from sklunlearn._positions import split_evenly
from sklunlearn._training import transform
from sklunlearn.embeddings import embed

__all__ = ["as_rows", "embedding_batches", "row_batches"]


def as_rows(X):
    """Rows of an array, a DataFrame, a tensor, a memory map or a torch Dataset, not converted.

    Raises TypeError or ValueError if X has no rows of numbers.
    """
    if isinstance(X, Dataset):
        if not hasattr(X, "__len__"):
            raise TypeError(f"X is a {type(X).__name__} without `__len__`: its rows have no index.")
    else:
        if isinstance(X, torch.Tensor):
            X = X.detach().cpu().numpy()
        # Of a memory map, asarray makes an array that reads from the same file.
        X = np.asarray(X)
        if X.ndim < 2 or X.dtype.kind not in "biuf":
            raise ValueError(
                f"X must hold numbers, of shape (n_samples, n_features) or more axes, got shape "
                f"{X.shape} and dtype {X.dtype}."
            )
    if len(X) == 0:
        raise ValueError("X has no rows.")
    return Rows(X)


def row_batches(rows, batch_size=1024):
    """Arrays of shape (n_batch, ...), dtype float32, of all rows in order."""
    for positions in split_evenly(torch.arange(len(rows)), batch_size):
        yield rows.take_X(positions.numpy()).numpy()


def embedding_batches(X, embedding=None, batch_size=1024):
    """Arrays of shape (n_batch, n_features) that describe all rows in order.

    Parameters
    ----------
    X : array-like or torch Dataset
        The rows.
    embedding : fitted unlearner or skorch net, callable or None
        What describes them: what enters the head of a network, a function of an array of rows,
        or, with None, the rows themselves, flattened.
    batch_size : int, default=1024
        Largest number of rows taken at a time.
    """
    if embedding is None:
        for batch in row_batches(as_rows(X), batch_size):
            yield batch.reshape(len(batch), -1)
    elif hasattr(embedding, "predict_proba"):
        net = embedding
        if not hasattr(embedding, "module"):  # a skorch net has one; an unlearner holds a net
            check_is_fitted(embedding, "net_")
            net, X = embedding.net_, transform(embedding.preprocessing_, X)
        else:
            check_is_fitted(embedding, "module_")
        rows = as_rows(X)
        for positions in split_evenly(torch.arange(len(rows)), batch_size):
            yield embed(net, rows.select(positions)).numpy()
    elif callable(embedding):
        for batch in row_batches(as_rows(X), batch_size):
            features = np.asarray(embedding(batch))
            if features.ndim != 2 or len(features) != len(batch):
                raise ValueError(
                    f"The embedding made an array of shape {features.shape} of {len(batch)} rows: "
                    "return one vector a row, of shape (n_rows, n_features)."
                )
            yield features
    else:
        raise TypeError(
            "An embedding needs a fitted unlearner, a fitted skorch net or a function of an "
            f"array of rows, got {type(embedding).__name__}."
        )
