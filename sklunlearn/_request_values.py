"""What a request may hold: plain values, checked one by one."""

import datetime

import numpy as np

from sklunlearn._shown import shown, shown_list

__all__ = [
    "check_keys",
    "check_text",
    "check_time",
    "plain_examples",
    "plain_labels",
    "plain_value",
]


def check_keys(owner, given, allowed, *, required):
    """Raise an error unless `given` is a dict with allowed keys; with `required`, with all."""
    if not isinstance(given, dict):
        raise TypeError(f"{owner} must be a mapping of {allowed}, got {shown(given)}.")
    if unknown := [key for key in given if key not in allowed]:
        raise ValueError(f"{owner} has unknown keys {shown_list(unknown)}: it may have {allowed}.")
    if required and (missing := [key for key in allowed if key not in given]):
        raise ValueError(f"{owner} lacks the keys {missing}.")


def check_text(name, value):
    """Raise an error unless a value is a text of some words."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str, got {shown(value)}.")
    if not value.strip():
        raise ValueError(f"{name} is empty: write some words.")


def check_time(value):
    """A time with its zone as a string in ISO 8601; of None, the present."""
    if value is None:
        value = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    if isinstance(value, str):
        try:
            value = datetime.datetime.fromisoformat(value)
        except ValueError:
            raise ValueError(
                f"`requested_at` must be in ISO 8601, as 2026-03-01T09:30:00+00:00 is, got "
                f"{shown(value)}."
            ) from None
    if not isinstance(value, datetime.datetime):
        raise TypeError(f"`requested_at` must be a str or a datetime, got {shown(value)}.")
    if value.tzinfo is None:
        raise ValueError(
            f"`requested_at`={value.isoformat()!r} has no time zone: add one, as in +00:00."
        )
    return value.isoformat()


def plain_value(name, value):
    """A label or number as Python's own; a TypeError if it is anything else."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is not None and not isinstance(value, (str, bool, int, float)):
        raise TypeError(
            f"{name} must hold strings, numbers or booleans only, as a request can be written to a "
            f"file, got {shown(value)}."
        )
    if isinstance(value, float) and not np.isfinite(value):
        raise ValueError(f"{name} must be finite, got {value!r}.")
    return value


def plain_labels(name, values):
    """A label or some labels, as a list of Python's own values."""
    is_one = isinstance(values, str) or not np.iterable(values)
    listed = [plain_value(name, value) for value in ([values] if is_one else values)]
    if not listed or any(label is None for label in listed):
        raise ValueError(f"{name} must be a label or a list of labels, got {shown(values)}.")
    return listed


def plain_examples(nearest):
    """Row indices as a list, examples as an array, a description of examples as it is."""
    if isinstance(nearest, dict):
        shape = nearest.get("shape")
        sizes = shape if isinstance(shape, list) else [None]
        if set(nearest) != {"shape"} or not all(type(size) is int for size in sizes):
            raise ValueError(
                "`nearest` must be row indices, examples, or their description, as {'shape': [3, "
                f"28, 28]}} is, got {shown(nearest)}."
            )
        return nearest
    examples = np.array(nearest)
    if examples.dtype.kind in "iu" and examples.ndim <= 1:
        return np.atleast_1d(examples).tolist()
    if examples.dtype.kind not in "biuf" or examples.ndim < 2:
        raise TypeError(
            "`nearest` must hold row indices, or examples of shape (n_examples, ...), got shape "
            f"{examples.shape} and dtype {examples.dtype}."
        )
    return examples
