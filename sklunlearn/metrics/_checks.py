"""Arrays, labels and numbers of the metrics, checked and converted; what is said of no rows."""

import math
import numbers
import re
import sys
import warnings

import numpy as np
from sklearn.exceptions import UndefinedMetricWarning

__all__ = [
    "check_base",
    "check_floats",
    "check_fraction",
    "check_integer",
    "check_label_pair",
    "check_labels",
    "check_number",
    "check_proba",
    "check_same_kind",
    "check_same_shape",
    "columns_of",
    "log_proba",
    "mean_or_nan",
    "sum_classes",
    "undefined",
]


def undefined(metric, why="there is no row", stacklevel=3):
    """Nan, with a warning at the line that called the public function that calls this."""
    warnings.warn(f"{metric} is nan: {why}.", UndefinedMetricWarning, stacklevel=stacklevel)
    return math.nan


def mean_or_nan(values, metric, why="there is no row"):
    """Mean of the values; if there are none, nan with the warning of `undefined`."""
    return float(np.mean(values)) if len(values) else undefined(metric, why, stacklevel=4)


def check_floats(values, name, *shapes, allow_nan=False):
    """Float64 array of finite numbers, and nan if allowed, of a shape such as "(n_samples,)"."""
    try:
        array = np.asarray(values)
    except (ValueError, RuntimeError) as error:
        raise ValueError(
            f"`{name}` is no array ({error}): pass rows of one length, and tensors without "
            "gradients."
        ) from error
    if array.dtype.kind == "O" and all(isinstance(value, numbers.Real) for value in array.flat):
        array = array.astype(np.float64)
    if array.dtype.kind not in "iuf":
        raise TypeError(
            f"`{name}` must hold real numbers, got dtype {array.dtype}: convert it to float."
        )
    if array.ndim not in [len(re.findall(r"\w+", shape)) for shape in shapes]:
        raise ValueError(
            f"`{name}` has shape {array.shape}, expected {' or '.join(shapes)}: reshape it."
        )
    array = array.astype(np.float64)
    bad = np.isinf(array) if allow_nan else ~np.isfinite(array)
    if bad.any():
        where = f" at index {np.argwhere(bad)[0].tolist()}" if array.ndim else ""
        raise ValueError(
            f"`{name}` holds {array[bad][0]}{where}, expected finite numbers, which {bad.sum()} of "
            f"{array.size} are not: the network may have diverged. Repeat its training or "
            "unlearning with a lower learning rate, or leave these rows out."
        )
    return array


def check_proba(proba, name, *other_shapes):
    """As `check_floats`, of probabilities that add up to 1 along the last axis."""
    proba = check_floats(proba, name, "(n_samples, n_classes)", *other_shapes)
    if not proba.shape[-1]:
        raise ValueError(f"`{name}` has shape {proba.shape}: pass a column for each class.")
    sums = sum_classes(proba)
    bad = np.abs(sums - 1) > 1e-3  # what half precision may be off
    if proba.size and proba.min() < 0:
        bad |= (proba < 0).any(axis=-1)
    if bad.any():
        row = np.argwhere(bad)[0].tolist()
        raise ValueError(
            f"`{name}` must hold probabilities, no less than 0 and summing to 1 in each row, but "
            f"row {', '.join(map(str, row))} has minimum {proba[*row].min():.6g} and sum "
            f"{sums[*row]:.6g}: pass what `predict_proba` returns, or the softmax of the logits."
        )
    return proba


def sum_classes(values):
    """Sums along the last axis, which is short: NumPy's take eight times as long."""
    return values @ np.ones(values.shape[-1])


def log_proba(proba):
    """Logarithm of probabilities; of zero, that of the smallest normal number, about -708."""
    return np.log(np.maximum(proba, np.finfo(np.float64).tiny))


def check_same_shape(a, b, names, axes=slice(None)):
    """Raise a ValueError unless both arrays agree in shape, in the axes given."""
    if a.shape[axes] != b.shape[axes]:
        raise ValueError(
            f"`{names[0]}` has shape {a.shape} and `{names[1]}` has shape {b.shape}: both must "
            "describe the same rows and classes in the same order. Give a class that a network "
            "does not know a column of zeros."
        )


def check_labels(labels, name, n_samples=None):
    """Class labels of shape (n_samples,): strings or finite numbers."""
    # NumPy would turn a list of strings and numbers into strings, and nan into "nan".
    array = np.asarray(labels, dtype=None if hasattr(labels, "dtype") else object)
    if array.ndim != 1:
        raise ValueError(
            f"`{name}` has shape {array.shape}, expected (n_samples,): pass one label a row."
        )
    if n_samples is not None and len(array) != n_samples:
        raise ValueError(
            f"`{name}` has {len(array)} labels for {n_samples} rows: pass one label a row."
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
    labels = check_labels(labels, names[0])
    other = check_labels(other, names[1], len(labels))
    check_same_kind(labels, other, names)
    return labels, other


def columns_of(y, labels, n_columns, name):
    """Column of each label: its position in `labels`, or in the sorted labels of `y`."""
    advice = "pass the labels in the order of the columns, `labels=unlearner.classes_`"
    if labels is None:
        labels = np.unique(y)
        if len(y) and len(labels) != n_columns:
            raise ValueError(
                f"`{name}` holds {len(labels)} different labels, {labels[:5].tolist()}..., but "
                f"there are {n_columns} columns: {advice}."
            )
    else:
        labels = check_labels(labels, "labels")
        check_same_kind(labels, y, ("labels", name))
        if len(labels) != n_columns or len(np.unique(labels)) != n_columns:
            raise ValueError(
                f"`labels` must name {n_columns} columns, each by a label of its own, got "
                f"{labels.tolist()}: {advice}."
            )
    order = np.argsort(labels)
    place = np.searchsorted(labels, y, sorter=order)
    column = order[np.minimum(place, len(order) - 1)]
    unknown = np.unique(y[labels[column] != y]).tolist()
    if unknown:
        raise ValueError(
            f"`{name}` holds {unknown}, which are not among {labels.tolist()}: {advice}. Give a "
            "class that the network does not know a column of zeros."
        )
    return column


def check_number(value, name, low, high, expected):
    """Raise unless `value` is a real number from `low` to `high`, both included."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"`{name}` must be {expected}, got {value!r}.")
    if not low <= value <= high:
        raise ValueError(f"`{name}` must be {expected}, got {value}.")


def check_integer(value, name, low):
    """Raise unless `value` is an integer of at least `low`."""
    expected = f"an integer of at least {low}"
    if not isinstance(value, numbers.Integral):
        raise TypeError(f"`{name}` must be {expected}, got {value!r}.")
    check_number(value, name, low, math.inf, expected)


def check_fraction(value, name):
    """A number from 0 to 1 as a float, or nan, which is what an empty group has."""
    if not (isinstance(value, numbers.Real) and math.isnan(value)):
        expected = "a fraction from 0 to 1 (divide percentages by 100)"
        # A weighted mean of ones may be a rounding above 1.
        check_number(value, name, -1e-9, 1 + 1e-9, expected)
    return float(np.clip(value, 0, 1))  # nan stays nan


def check_base(base):
    """Natural logarithm of `base`, by which nats are divided; 1 for None."""
    if base is None:
        return 1.0
    expected = "a number above 1 or None (2 means bits)"
    check_number(base, "base", math.nextafter(1, 2), sys.float_info.max, expected)
    return math.log(base)
