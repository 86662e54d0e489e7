"""The rows that a request selects: one mask a criterion, all intersected."""

import numbers
from collections.abc import Mapping

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils.validation import _num_samples

from sklunlearn._groups import LEAKAGE_ACTIONS, keep_together
from sklunlearn._labels import column_of, mask_of_labels
from sklunlearn._query import mask_of_query
from sklunlearn._shown import shown

__all__ = ["DEFAULTS", "check_criteria", "select"]

# What a request may ask, and what it asks where nothing is said.
DEFAULTS = {
    "classes": None,
    "query": None,
    "groups": None,
    "outliers": None,
    "by": None,
    "nearest": None,
    "fraction": 1.0,
    "n_samples": None,
    "keep_together": None,
    "on_leakage": "warn",
    "random_state": None,
}
_SELECTING = ("classes", "query", "groups", "outliers", "nearest")


def select(y, metadata, X, asked, *, embedding=None, stacklevel=2):
    """Boolean mask of the rows that are asked for.

    Parameters
    ----------
    y, metadata, X, embedding
        As for :func:`sklunlearn.requests.forget_mask`.
    asked : dict
        The criteria: a value for each name in `DEFAULTS`.
    stacklevel : int, default=2
        That of warnings; 2 is the caller of this function.

    Returns
    -------
    mask : ndarray of shape (n_samples,), dtype bool
    """
    if y is None and metadata is None and X is None:
        raise ValueError(
            "forget_mask needs `y`, `metadata` or both to know the rows, or `X`; got none."
        )
    check_criteria(asked)
    if asked["classes"] is not None and y is None:
        raise ValueError(f"classes={shown(asked['classes'])} needs the labels: pass `y`.")
    if asked["query"] is not None and metadata is None:
        raise ValueError(
            f"query={shown(asked['query'])} needs the data that it is about: pass `metadata`."
        )
    if asked["nearest"] is not None and X is None:
        raise ValueError("`nearest` needs the rows to compare: pass `X`.")
    if embedding is not None and asked["nearest"] is None:
        raise ValueError("`embedding` says how `nearest` compares rows: pass `nearest` too.")
    y = None if y is None else _check_labels(y)
    if metadata is not None:
        _check_metadata(metadata)
    n_samples = _common_length(y, metadata, X)

    mask = np.ones(n_samples, dtype=bool)
    if asked["classes"] is not None:
        mask &= mask_of_labels(y, asked["classes"], "classes", "`y`")
    if asked["query"] is not None:
        mask &= mask_of_query(metadata, asked["query"])
    for name, values in (asked["groups"] or {}).items():
        column = column_of(metadata, name, "groups")
        mask &= mask_of_labels(column, values, "groups", f"the column {name!r}")
    if asked["outliers"] is not None:
        # imported here, as below: it loads the networks, which masks by class do without
        from sklunlearn._outliers import mask_of_outliers

        mask &= mask_of_outliers(X, metadata, asked["outliers"], asked["by"])
    words = _describe(asked)
    if not mask.any():
        raise ValueError(f"No row is selected by {words}: nothing to forget. Widen the request.")
    if asked["fraction"] < 1 or asked["n_samples"] is not None:
        mask = _limit(mask, asked, X, embedding)
    if asked["keep_together"] is not None:
        groups = column_of(metadata, asked["keep_together"], "keep_together")
        mask = keep_together(mask, groups, asked["on_leakage"], stacklevel=stacklevel + 1)
    if mask.all():
        raise ValueError(
            f"All {len(mask)} rows are selected by {words}: nothing to retain. Narrow the request."
        )
    return mask


def check_criteria(asked):
    """Raise a TypeError or ValueError if the criteria do not go together, whatever the data."""
    fraction, n_samples = asked["fraction"], asked["n_samples"]
    _check_share("fraction", fraction)
    if asked["outliers"] is not None:
        _check_share("outliers", asked["outliers"])
    if (asked["outliers"] is None) != (asked["by"] is None):
        raise ValueError(
            "`outliers`, a share of the rows, and `by`, a column or a detector, go together: got "
            f"outliers={shown(asked['outliers'])} and by={shown(asked['by'])}."
        )
    if n_samples is not None:
        if isinstance(n_samples, bool) or not isinstance(n_samples, numbers.Integral):
            raise TypeError(f"`n_samples` must be an int, got {shown(n_samples)}.")
        if n_samples < 1:
            raise ValueError(f"`n_samples` must be at least 1, got {n_samples}.")
        if fraction != 1:
            raise ValueError(
                f"Pass either fraction={fraction!r} or n_samples={n_samples!r}, not both."
            )
    groups = asked["groups"]
    if groups is not None and (not isinstance(groups, Mapping) or not groups):
        raise TypeError(
            "`groups` must be a dict of columns and the values to forget, as in "
            f"groups={{'patient': ['p1', 'p7']}}, got {shown(groups)}."
        )
    if asked["on_leakage"] not in LEAKAGE_ACTIONS:
        raise ValueError(
            f"`on_leakage` must be one of {LEAKAGE_ACTIONS}, got {shown(asked['on_leakage'])}."
        )
    if asked["on_leakage"] != "warn" and asked["keep_together"] is None:
        raise ValueError("`on_leakage` is about groups: name their column as `keep_together`.")
    limited = fraction != 1 or n_samples is not None
    if asked["nearest"] is not None and not limited:
        raise ValueError("`nearest` ranks all rows: say how many with `n_samples` or `fraction`.")
    if not limited and all(asked[name] is None for name in _SELECTING):
        raise ValueError(
            "Without `classes`, `query`, `groups` and `outliers`, fraction=1.0 would select every "
            "row. Pass one of them, `n_samples` or a fraction below 1."
        )


def _describe(asked):
    """The criteria that were given, as an error message names them."""
    names = [name for name in (*_SELECTING, "by", "n_samples") if asked[name] is not None]
    if asked["n_samples"] is None:
        names.append("fraction")
    if asked["on_leakage"] == "expand":
        names.append("keep_together")
    return ", ".join(f"{name}={shown(asked[name])}" for name in names)


def _limit(mask, asked, X, embedding):
    """Some of the rows of a mask: the nearest, or else rows drawn at random."""
    selected = np.flatnonzero(mask)
    n_marked = asked["n_samples"]
    if n_marked is None:
        n_marked = max(1, int(asked["fraction"] * len(selected) + 0.5))
    elif n_marked > len(selected):
        raise ValueError(
            f"n_samples={n_marked}, but only {len(selected)} rows are selected by the rest of the "
            "request: ask for fewer, or widen it."
        )
    if asked["nearest"] is None:
        rng = check_random_state(asked["random_state"])
        chosen = rng.choice(selected, size=n_marked, replace=False)
    else:
        from sklunlearn._nearest import distances_to

        distances = distances_to(X, asked["nearest"], embedding)[selected]
        chosen = selected[np.argsort(distances, kind="stable")[:n_marked]]
    limited = np.zeros_like(mask)
    limited[chosen] = True
    return limited


def _check_share(name, share):
    if isinstance(share, bool) or not isinstance(share, numbers.Real):
        raise TypeError(f"`{name}` must be a number in (0, 1], got {shown(share)}.")
    if not 0 < share <= 1:
        raise ValueError(f"`{name}` must be in (0, 1], got {share!r}.")


def _check_labels(y):
    y = np.asarray(y)
    if y.ndim != 1:
        raise ValueError(f"`y` must have shape (n_samples,), got {y.shape}: pass one label a row.")
    return y


def _check_metadata(metadata):
    import pandas as pd  # imported here: masks by class work without it

    if not isinstance(metadata, pd.DataFrame):
        raise TypeError(
            f"`metadata` must be a pandas DataFrame, got {type(metadata).__name__}: wrap it in "
            "`pandas.DataFrame(...)`."
        )


def _common_length(y, metadata, X):
    given = {"y": y, "metadata": metadata, "X": X}
    lengths = {name: _num_samples(rows) for name, rows in given.items() if rows is not None}
    if len(set(lengths.values())) > 1:
        (first, n_first), (other, n_other) = [
            (name, n)
            for name, n in lengths.items()
            if name == next(iter(lengths)) or n != next(iter(lengths.values()))
        ][:2]
        raise ValueError(
            f"`{first}` has {n_first} rows and `{other}` has {n_other}: both must describe the "
            "same rows in the same order."
        )
    return next(iter(lengths.values()))
