"""How far rows are from given examples."""

import numpy as np
from sklearn.metrics import pairwise_distances_argmin_min
from sklearn.preprocessing import StandardScaler

from sklunlearn._data import take
from sklunlearn._row_features import as_rows, embedding_batches
from sklunlearn._shown import shown

__all__ = ["distances_to", "example_indices"]


def example_indices(nearest):
    """`nearest` as row indices, or None where it holds examples themselves."""
    nearest = np.asarray(nearest)
    if nearest.dtype.kind in "iu" and nearest.ndim <= 1:
        return np.atleast_1d(nearest)
    return None


def distances_to(X, nearest, embedding=None):
    """Euclidean distance of each row to the closest example, between standardised features.

    Parameters
    ----------
    X : array-like of shape (n_samples, ...) or torch Dataset
        The rows. Read twice, a batch at a time.
    nearest : array-like of int, of shape (n_examples,), or array-like of shape (n_examples, ...)
        Indices of rows, or examples of the shape of a row.
    embedding : fitted unlearner, skorch net, callable or None
        See :func:`sklunlearn._row_features.embedding_batches`.

    Returns
    -------
    distances : ndarray of shape (n_samples,), dtype float64
    """
    examples = _examples(X, nearest)
    scaler = StandardScaler()
    for batch in embedding_batches(X, embedding):
        if not np.isfinite(batch).all():
            raise ValueError(
                "X, or its embedding, holds values that are infinite or missing: rows cannot be "
                "compared by `nearest`."
            )
        scaler.partial_fit(batch)
    described = np.concatenate(list(embedding_batches(examples, embedding)))
    described = scaler.transform(described)
    return np.concatenate(
        [
            pairwise_distances_argmin_min(scaler.transform(batch), described)[1]
            for batch in embedding_batches(X, embedding)
        ]
    )


def _examples(X, nearest):
    indices = example_indices(nearest)
    n_samples = len(X)
    if indices is None:
        shape = as_rows(X).take_X([0]).shape[1:]
        examples = np.asarray(nearest)
        if examples.dtype.kind not in "biuf" or examples.shape[1:] != shape or not len(examples):
            raise ValueError(
                "`nearest` must hold row indices, or examples of shape (n_examples, "
                f"{', '.join(map(str, shape))}), got shape {examples.shape} and dtype "
                f"{examples.dtype}."
            )
        return examples
    if len(indices) == 0:
        raise ValueError("`nearest` is empty: pass the index of at least one row.")
    out_of_range = indices[(indices < 0) | (indices >= n_samples)]
    if len(out_of_range):
        raise ValueError(
            f"`nearest` holds the index {shown(out_of_range[0].item())}, but X has {n_samples} "
            f"rows: indices go from 0 to {n_samples - 1}."
        )
    return take(X, indices)
