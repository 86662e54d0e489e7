"""A place for each row that depends on nothing but the row itself."""

import hashlib
from numbers import Real

import numpy as np
import torch
from scipy.sparse import issparse
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import _num_samples
from torch.utils.data import Dataset

from sklunlearn._data import take_rows

__all__ = ["partition", "rows_as_bytes"]


def partition(X, salt, n_shards, n_slices):
    """Shard and slice of each row: a hash of its values.

    Parameters
    ----------
    X : array-like of shape (n_samples, ...), or torch Dataset yielding (x, y)
        Rows of numbers, texts or a mixture. Numbers are compared as float32.
    salt : int
        Another salt gives another, independent partition.
    n_shards, n_slices : int
        How many there are.

    Returns
    -------
    shards, slices : ndarray of shape (n_samples,), dtype int64
        From 0 to ``n_shards - 1`` and from 0 to ``n_slices - 1``. Nearly independent and uniform
        over different rows; equal rows have the same.
    """
    key, n = str(salt).encode(), _num_samples(X)
    digests = bytearray()
    for first in range(0, n, 1024):
        for row in rows_as_bytes(X, np.arange(first, min(first + 1024, n))):
            digests += hashlib.blake2b(row, key=key, digest_size=8).digest()
    numbers = np.frombuffer(digests, dtype="<u8")
    places = numbers % n_shards, numbers // n_shards % n_slices
    return tuple(place.astype(np.int64) for place in places)


def rows_as_bytes(X, indices):
    """What is hashed of some rows: the same for equal values, whatever container holds them."""
    block = take_rows(X, indices).numpy() if isinstance(X, Dataset) else _safe_indexing(X, indices)
    if issparse(block):
        block = block.toarray()
    if isinstance(block, torch.Tensor):  # NumPy has no bfloat16
        block = block.detach().cpu().to(torch.promote_types(block.dtype, torch.float32)).numpy()
    with np.errstate(over="ignore"):  # a float64 too large for float32 is as good as infinity
        if not isinstance(block, list):
            block = np.asarray(block)
            if block.dtype.kind in "biuf":
                return _numbers_as_bytes(block.reshape(len(block), -1))
        return [_mixed_as_bytes(row) for row in np.asarray(block, dtype=object).tolist()]


def _numbers_as_bytes(block):
    # The sum makes -0.0 and 0.0, which are equal, the same bytes. One NaN stands for all.
    block = np.ascontiguousarray(block.astype("<f4") + np.float32(0), dtype="<f4")
    block[np.isnan(block)] = np.nan
    return block.view(np.uint8)


def _mixed_as_bytes(row):
    try:
        return _numbers_as_bytes(np.asarray(row).astype(np.float32).reshape(1, -1))
    except (TypeError, ValueError):  # a text, or a table's row with something else than numbers
        values = row if isinstance(row, list) else [row]
        values = [float(np.float32(v)) if isinstance(v, Real) else v for v in values]
        return repr(values).encode()
