"""The most extreme rows: by one column, or in the judgement of an outlier detector."""

import numpy as np
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from sklunlearn._labels import column_of
from sklunlearn._row_features import as_rows

__all__ = ["mask_of_outliers", "robust_z_scores"]


def mask_of_outliers(X, metadata, share, by):
    """Boolean mask of a share of the rows: those with the highest outlier scores.

    Ties go to the row that comes first. Rows without a score, whose value is missing, are left
    out.
    """
    if hasattr(by, "fit"):
        scores = _detector_scores(X, by)
    else:
        scores = robust_z_scores(column_of(metadata, by, "by"))
    n_marked = max(1, int(share * len(scores) + 0.5))
    order = np.argsort(-scores, kind="stable")[:n_marked]  # NaN comes last
    mask = np.zeros(len(scores), dtype=bool)
    mask[order[~np.isnan(scores[order])]] = True
    return mask


def robust_z_scores(column):
    r"""Distances from the median, in robust standard deviations.

    .. math:: z_i = |x_i - \mathrm{med}(x)| / (1.4826 \cdot \mathrm{MAD}(x))

    Where more than half of the values are equal, MAD, the median of the distances, is 0: then
    1.2533 times the mean distance takes the place of the denominator. Both equal the standard
    deviation of a normal distribution.

    Parameters
    ----------
    column : pandas.Series
        Numbers, dates or durations.

    Returns
    -------
    scores : ndarray of shape (n_samples,), dtype float64
        NaN where the value is missing.
    """
    if column.dtype.kind in "mM":
        moments = column.astype("int64").to_numpy(dtype=float)
        values = np.where(column.isna().to_numpy(), np.nan, moments)
    elif column.dtype.kind in "biuf":
        values = column.to_numpy(dtype=float, na_value=np.nan)
    else:
        raise TypeError(
            f"outliers by {column.name!r} need numbers or dates, but it holds {column.dtype}: "
            "name another column, or compute one."
        )
    known = values[~np.isnan(values)]
    distances = np.abs(known - np.median(known)) if len(known) else known
    scale = 0.0
    if len(known) and np.isfinite(known).all():
        scale = 1.4826 * np.median(distances) or 1.2533 * distances.mean()
    if scale == 0:
        raise ValueError(
            f"outliers by {column.name!r} need values that are finite and not all equal: name "
            "another column."
        )
    scores = np.full(len(values), np.nan)
    scores[~np.isnan(values)] = distances / scale
    return scores


def _detector_scores(X, detector):
    """Scores of a clone of a scikit-learn detector: the higher, the more of an outlier."""
    if X is None:
        raise ValueError(f"outliers by {detector!r} need the data that it is to judge: pass `X`.")
    rows = as_rows(X)
    table = rows.take_X(np.arange(len(rows))).flatten(1).numpy()
    detector = clone(detector).fit(table)
    for name in ("score_samples", "decision_function"):
        if hasattr(detector, name):
            return -getattr(detector, name)(table)
    # LocalOutlierFactor judges the rows that it was fitted to by this alone.
    last = detector[-1] if isinstance(detector, Pipeline) else detector
    if hasattr(last, "negative_outlier_factor_"):
        return -last.negative_outlier_factor_
    raise TypeError(
        f"outliers by {detector!r}: it has neither `score_samples` nor `decision_function`. Pass "
        "a detector of scikit-learn, such as IsolationForest, or the name of a column."
    )
