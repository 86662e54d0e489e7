"""Arrays, labels and numbers of the metrics, checked and converted."""

import numbers
import warnings

import numpy as np
from sklearn.exceptions import UndefinedMetricWarning

__all__ = [
    "check_integer",
    "check_labels",
    "check_number",
    "check_proba",
    "check_same_shape",
    "check_values",
    "columns_of",
    "log_proba",
    "undefined",
]


def undefined(message):
    """Warn that a metric has no value here, and return nan."""
    warnings.warn(f"{message} The value is nan.", UndefinedMetricWarning, stacklevel=3)
    return np.nan


def check_values(values, name, shape="(n_samples,)"):
    """Float64 array of finite numbers with as many axes as `shape`, such as "(n, n_classes)"."""
    n_axes = len([axis for axis in shape.strip("()").split(",") if axis.strip()])
    advice = f"pass an array of numbers of shape {shape}"
    try:
        values = np.asarray(values)
        if values.dtype.kind not in "iufO":
            raise TypeError(f"dtype {values.dtype}")
        values = values.astype(np.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        # A ragged list, text, or a tensor that asks for gradients.
        raise TypeError(f"`{name}` cannot be read as numbers ({error}): {advice}.") from error
    if values.ndim != n_axes:
        raise ValueError(f"`{name}` has shape {values.shape}, expected {shape}: {advice}.")
    if n_bad := np.count_nonzero(~np.isfinite(values)):
        raise ValueError(
            f"`{name}` holds {n_bad} of {values.size} values that are not finite, expected finite "
            "numbers: the network may have diverged. Repeat its training or unlearning with a "
            "lower learning rate, or leave these rows out."
        )
    return values


def check_proba(proba, name, shape="(n_samples, n_classes)"):
    """As `check_values`, of probabilities that add up to 1 along the last axis."""
    proba = check_values(proba, name, shape)
    if proba.shape[-1] < 2:
        raise ValueError(
            f"`{name}` has {proba.shape[-1]} columns, expected one for each class, at least 2: "
            "pass what `predict_proba` returns."
        )
    off = np.abs(proba.sum(axis=-1) - 1) > 1e-3
    if (proba < 0).any() or off.any():
        raise ValueError(
            f"`{name}` must hold probabilities, but has values from {proba.min():.4g} to "
            f"{proba.max():.4g} and rows that add up to {proba.sum(axis=-1).min():.4g}: pass "
            "what `predict_proba` returns, or the softmax of the logits."
        )
    return proba


def log_proba(proba):
    """Logarithm of probabilities; of zero, that of the smallest normal number, about -708."""
    return np.log(np.maximum(proba, np.finfo(np.float64).tiny))


def check_same_shape(a, b, names, axes=slice(None)):
    """Raise a ValueError unless both arrays agree in shape, in the axes given."""
    if a.shape[axes] != b.shape[axes]:
        raise ValueError(
            f"`{names[0]}` has shape {a.shape} and `{names[1]}` has shape {b.shape}: both must "
            "describe the same rows and classes in the same order."
        )


def check_labels(y, name, n_samples=None):
    """Array of labels of shape (n_samples,)."""
    y = np.asarray(y)
    if y.ndim != 1:
        raise ValueError(
            f"`{name}` has shape {y.shape}, expected (n_samples,): pass one label a row."
        )
    if n_samples is not None and len(y) != n_samples:
        raise ValueError(
            f"`{name}` has {len(y)} labels for {n_samples} rows: pass one label a row."
        )
    return y


def columns_of(y, labels, n_columns, name):
    """Column of each label: its position in `labels`, or in the sorted labels of `y`."""
    found = sorted(set(y.tolist()), key=lambda label: (str(type(label)), label))
    advice = "pass the labels in the order of the columns, `labels=unlearner.classes_`"
    if labels is None:
        if len(y) and len(found) != n_columns:
            raise ValueError(
                f"`{name}` holds {len(found)} different labels, {found[:5]}..., but there are "
                f"{n_columns} columns: {advice}."
            )
        labels = found
    else:
        labels = check_labels(labels, "labels").tolist()
        if len(labels) != n_columns or len(set(labels)) != n_columns:
            raise ValueError(
                f"`labels` must name {n_columns} columns, each by a label of its own, got "
                f"{labels}: {advice}."
            )
    # By Python's values: NumPy would call the label '3' and the class 3 equal.
    position = {label: i for i, label in enumerate(labels)}
    if unknown := [label for label in found if label not in position]:
        raise ValueError(f"`{name}` holds {unknown}, which are not among {labels}: {advice}.")
    return np.array([position[label] for label in y.tolist()], dtype=np.intp)


def check_number(value, name, low, high, expected):
    """Raise unless `value` is a real number from `low` to `high`, both included."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"`{name}` must be {expected}, got {value!r}.")
    if not low <= value <= high:
        raise ValueError(f"`{name}` must be {expected}, got {value!r}.")


def check_integer(value, name, low):
    """Raise unless `value` is an integer of at least `low`."""
    expected = f"`{name}` must be an integer of at least {low}, got {value!r}."
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(expected)
    if value < low:
        raise ValueError(expected)
