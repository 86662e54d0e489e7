"""What describes the style of rows, whatever kind they are of, a batch at a time."""

import warnings

import numpy as np

from sklunlearn._data import feature_statistics
from sklunlearn._row_features import as_rows, embedding_batches, row_batches
from sklunlearn._style import image_style, image_style_names

__all__ = ["domain_features"]


def domain_features(X, embedding=None, batch_size=1024):
    """Descriptions of all rows, and the names of their entries.

    Parameters
    ----------
    X : array-like of shape (n_samples, ...) or torch Dataset
        Table or images.
    embedding : fitted unlearner, skorch net, callable or None
        What to describe rows with; None: style statistics.
    batch_size : int, default=1024
        Number of rows read at a time.

    Returns
    -------
    features : ndarray of shape (n_samples, n_features), dtype float64
    names : list of str
    """
    if embedding is not None:
        features = np.concatenate(list(embedding_batches(X, embedding, batch_size)))
        names = [f"embedding_{j}" for j in range(features.shape[1])]
        return features.astype(np.float64), names
    names = [str(name) for name in X.columns] if hasattr(X, "columns") else None
    rows = as_rows(X)
    shape = tuple(rows.take_X([0]).shape[1:])
    if len(shape) == 3 and min(shape[1:]) >= 4:
        return _of_images(rows, shape, batch_size)
    if len(shape) == 1:
        return _of_table(rows, names or [f"x{j}" for j in range(shape[0])], batch_size)
    raise ValueError(
        "X must be a table of shape (n_samples, n_features), or images of shape (n_samples, "
        "channels, height, width) of at least 4 x 4 pixels, got rows of shape "
        f"{shape}; for other data pass method='embedding' and a function as `estimator`."
    )


def _of_images(rows, shape, batch_size):
    # The pixels as one feature: one standard deviation for all channels.
    pixels = (_finite(batch).reshape(len(batch), 1, -1) for batch in row_batches(rows, batch_size))
    scale = float(feature_statistics(pixels)[1][0])
    if scale == 0:
        raise ValueError("All pixels of X are equal: there are no domains to find.")
    described = [image_style(batch, scale) for batch in row_batches(rows, batch_size)]
    return np.concatenate(described), image_style_names(shape)


def _finite(batch):
    if not np.isfinite(batch).all():
        raise ValueError("X holds pixels that are infinite or missing.")
    return batch


def _of_table(rows, names, batch_size):
    table = np.concatenate(list(row_batches(rows, batch_size))).astype(np.float64)
    if np.isinf(table).any():
        raise ValueError("X holds infinite values.")
    missing = np.isnan(table)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="All-NaN slice")
        low, middle, high = np.nanquantile(table, [0.25, 0.5, 0.75], axis=0)
    # Columns without a value, and columns of which a half or more are equal, keep their unit.
    middle = np.nan_to_num(middle)
    spread = np.nan_to_num(high - low)
    scaled = (np.where(missing, middle, table) - middle) / np.where(spread > 0, spread, 1.0)
    lacking = missing.any(axis=0)
    features = np.concatenate([missing[:, lacking].astype(np.float64), scaled], axis=1)
    lacking_names = [f"missing_{name}" for name, some in zip(names, lacking, strict=True) if some]
    return features, [*lacking_names, *(f"scaled_{name}" for name in names)]
