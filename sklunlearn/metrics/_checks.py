"""Checks of what the metrics are given, and what they say of an empty group."""

import math
import numbers
import warnings

import numpy as np
from sklearn.exceptions import UndefinedMetricWarning

__all__ = [
    "as_floats",
    "as_labels",
    "check_base",
    "check_fraction",
    "check_label_pair",
    "check_proba",
    "check_same_kind",
    "mean_or_nan",
    "warn_undefined",
]


def as_floats(values, name, *ndim, allow_nan=False):
    """Float64 array of one of the `ndim` dimensions; all finite, or nan too if `allow_nan`."""
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise ValueError(f"`{name}` is no array: its rows differ in length. Mend them.") from error
    if array.dtype.kind == "O" and all(isinstance(v, numbers.Real) for v in array.flat):
        array = array.astype(np.float64)
    if array.dtype.kind not in "biuf":
        raise TypeError(
            f"`{name}` must hold real numbers, got dtype {array.dtype}: convert it to float."
        )
    if array.ndim not in ndim:
        raise ValueError(
            f"`{name}` must have {' or '.join(map(str, ndim))} dimension(s), got shape "
            f"{array.shape}: reshape it."
        )
    array = array.astype(np.float64)
    bad = np.isinf(array) if allow_nan else ~np.isfinite(array)
    if bad.any():
        where = f" at index {np.argwhere(bad)[0].tolist()}" if array.ndim else ""
        raise ValueError(
            f"`{name}` holds {array[bad][0]}{where}, expected finite numbers: look at where they "
            "come from; a network may have diverged."
        )
    return array


def as_labels(labels, name):
    """Class labels of shape (n_samples,): strings or finite numbers."""
    # NumPy would turn a list of strings and numbers into strings, and nan into "nan".
    array = np.asarray(labels, dtype=None if hasattr(labels, "dtype") else object)
    if array.ndim != 1:
        raise ValueError(
            f"`{name}` must have shape (n_samples,), got {array.shape}: pass one label a row."
        )
    if array.dtype.kind == "O":  # as pandas hands out strings and categories
        if all(isinstance(label, str) for label in array):
            array = array.astype(str)
        elif all(isinstance(label, numbers.Real | np.bool_) for label in array):
            array = np.array(array.tolist())
    if array.dtype.kind not in "biufU":
        kinds = sorted({type(label).__name__ for label in array.tolist()})
        raise TypeError(
            f"`{name}` must hold strings only or numbers only, got {', '.join(kinds)}: fill in "
            "what is missing and convert the rest to one type."
        )
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        bad = array[~np.isfinite(array)][0]
        raise ValueError(f"`{name}` holds {bad}, which is no class label: leave such rows out.")
    return array


def check_same_kind(labels, other, names):
    """Raise a TypeError if one holds strings and the other numbers: no two would be equal."""
    kinds = ["strings" if array.dtype.kind == "U" else "numbers" for array in (labels, other)]
    if len(labels) and len(other) and kinds[0] != kinds[1]:
        raise TypeError(
            f"`{names[0]}` holds {kinds[0]} and `{names[1]}` holds {kinds[1]}: pass labels of one "
            "type."
        )


def check_label_pair(labels, other, names=("y_true", "y_pred")):
    """Two arrays of labels of the same rows."""
    labels, other = as_labels(labels, names[0]), as_labels(other, names[1])
    if len(labels) != len(other):
        raise ValueError(
            f"`{names[0]}` has {len(labels)} rows and `{names[1]}` has {len(other)}: both must "
            "speak of the same rows in the same order."
        )
    check_same_kind(labels, other, names)
    return labels, other


def check_proba(proba, name):
    """Probabilities of shape (n_samples, n_classes) in float64, each row summing to 1."""
    proba = as_floats(proba, name, 2)
    if not proba.shape[1]:
        raise ValueError(f"`{name}` has shape {proba.shape}: pass a column for each class.")
    sums = proba.sum(axis=1)
    bad = (proba < 0).any(axis=1) | (np.abs(sums - 1) > 1e-3)  # what half precision may be off
    if bad.any():
        row = int(np.argmax(bad))
        raise ValueError(
            f"`{name}` must hold probabilities, no less than 0 and summing to 1 in each row, but "
            f"row {row} has minimum {proba[row].min():.6g} and sum {sums[row]:.6g}: for "
            "logits, pass `scipy.special.softmax(logits, axis=1)`."
        )
    return proba


def check_fraction(value, name):
    """A number from 0 to 1 as a float, or nan, which is what an empty group has."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Real):
        raise TypeError(f"`{name}` must be a number, got {value!r}: pass a fraction from 0 to 1.")
    if value < -1e-9 or value > 1 + 1e-9:  # a weighted mean of ones may be a rounding above 1
        raise ValueError(
            f"`{name}` must be a fraction from 0 to 1, got {float(value):.6g}: divide percentages "
            "by 100."
        )
    return float(value)


def check_base(base):
    """Natural logarithm of `base`, by which nats are divided; 1 for None."""
    if base is None:
        return 1.0
    if isinstance(base, bool) or not isinstance(base, numbers.Real):
        raise TypeError(f"`base` must be a number above 1 or None, got {base!r}: 2 means bits.")
    if not 1 < base < math.inf:
        raise ValueError(f"`base` must be a number above 1 or None, got {base!r}: 2 means bits.")
    return math.log(base)


def warn_undefined(metric, why="there is no row"):
    """Warn whoever called the public function that calls this."""
    warnings.warn(f"{metric} is nan: {why}.", UndefinedMetricWarning, stacklevel=3)


def mean_or_nan(values, metric, why="there is no row"):
    """Mean of the values; nan, with a warning that says why, if there are none."""
    if not len(values):
        warnings.warn(f"{metric} is nan: {why}.", UndefinedMetricWarning, stacklevel=3)
        return float("nan")
    return float(np.mean(values))
