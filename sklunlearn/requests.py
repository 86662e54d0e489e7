"""Which rows to forget."""

import numbers

import numpy as np
from sklearn.utils import check_random_state

from sklunlearn._query import mask_of_query

__all__ = ["check_forget", "forget_mask"]


def forget_mask(
    y=None, metadata=None, *, classes=None, query=None, fraction=1.0, random_state=None
):
    """Boolean mask of the rows to forget, by class, by metadata or at random.

    Rows of the given classes and rows that satisfy the query are intersected when both are given;
    of what is left, a random `fraction` is marked.

    Parameters
    ----------
    y : array-like of shape (n_samples,), default=None
        Class labels. Needed for `classes`.
    metadata : pandas.DataFrame of n_samples rows, default=None
        What is known about each row: a patient, a device, an age. Needed for `query`. Rows are
        taken by position; the index is not used.
    classes : label or list of labels, default=None
        Forget the rows with these labels.
    query : str, default=None
        Forget the rows of `metadata` for which this is true, for example
        ``"device == 'molemax' and age < 30"``. The syntax is that of
        :meth:`pandas.DataFrame.query` as far as it cannot run code: column names (in backticks
        if they hold spaces), constants, lists, comparisons (``in`` and ``not in`` included),
        ``and``, ``or``, ``not`` and arithmetic. Calls, attributes, subscripts and ``@`` are
        refused.
    fraction : float, default=1.0
        Share of the selected rows to mark, ``0 < fraction <= 1``, rounded to the nearest number of
        rows, at least one. With neither `classes` nor `query`, a share of all rows.
    random_state : int, RandomState instance or None, default=None
        Draws the fraction.

    Returns
    -------
    mask : ndarray of shape (n_samples,), dtype bool
        True for the rows to forget: at least one, never all.

    Raises
    ------
    TypeError
        If an argument has the wrong type, or the query compares or combines values whose types do
        not allow it.
    ValueError
        If nothing or everything is selected, a class or a column is unknown, `y` and `metadata`
        differ in length, what `classes` or `query` needs is missing, or the query is not one that
        is allowed or does not give one boolean a row.

    Notes
    -----
    A comparison with a missing value is False, also with ``!=`` and ``not in``. So ``age >= 30``
    leaves out the rows whose age is missing, ``not age < 30`` selects them as well, and
    ``not age == age`` selects only those.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklunlearn.requests import forget_mask
    >>> y = ["benign", "benign", "melanoma", "melanoma"]
    >>> metadata = pd.DataFrame({"device": ["a", "b", "a", "b"], "age": [20, 50, 60, 25]})
    >>> forget_mask(y, classes="melanoma")
    array([False, False,  True,  True])
    >>> forget_mask(metadata=metadata, query="device == 'b' and age < 30")
    array([False, False, False,  True])
    >>> forget_mask(y, metadata, classes="melanoma", query="age > 30")
    array([False, False,  True, False])
    """
    _check_fraction(fraction)
    if y is None and metadata is None:
        raise ValueError("forget_mask needs `y`, `metadata` or both to know the rows; got neither.")
    if classes is not None and y is None:
        raise ValueError(f"classes={classes!r} needs the labels: pass `y`.")
    if query is not None and metadata is None:
        raise ValueError(f"query={query!r} needs the data that it is about: pass `metadata`.")
    if classes is None and query is None and fraction == 1:
        raise ValueError(
            "Without `classes` and `query`, fraction=1.0 would select every row. Pass `classes`, "
            "`query` or a fraction below 1."
        )
    if y is not None:
        y = _check_labels(y)
    if metadata is not None:
        _check_metadata(metadata)
    if y is not None and metadata is not None and len(y) != len(metadata):
        raise ValueError(
            f"`y` has {len(y)} rows and `metadata` has {len(metadata)}: both must describe the "
            "same rows in the same order."
        )

    mask = np.ones(len(metadata if y is None else y), dtype=bool)
    if classes is not None:
        mask &= _mask_of_classes(y, classes)
    if query is not None:
        mask &= mask_of_query(metadata, query)
    asked = f"classes={classes!r}, query={query!r}, fraction={fraction!r}"
    if not mask.any():
        raise ValueError(f"No row is selected by {asked}: nothing to forget. Widen the request.")
    if fraction < 1:
        selected = np.flatnonzero(mask)
        n_marked = max(1, int(fraction * len(selected) + 0.5))
        rng = check_random_state(random_state)
        mask[:] = False
        mask[rng.choice(selected, size=n_marked, replace=False)] = True
    if mask.all():
        raise ValueError(
            f"All {len(mask)} rows are selected by {asked}: nothing to retain. Narrow the request."
        )
    return mask


def check_forget(forget, n_samples, *, allow_all=True, allow_none=False):
    """Turn a mask or row indices into a boolean mask, or say what is wrong with them.

    Parameters
    ----------
    forget : array-like of shape (n_samples,), dtype bool, or (n_forget,), dtype int
        Boolean mask of the rows to forget, or their indices, from 0 to ``n_samples - 1``, each at
        most once.
    n_samples : int
        Number of rows that `forget` speaks of.
    allow_all : bool, default=True
        Whether all rows may be forgotten.
    allow_none : bool, default=False
        Whether no row may be forgotten.

    Returns
    -------
    mask : ndarray of shape (n_samples,), dtype bool
        True for the rows to forget. Always a new array.

    Raises
    ------
    TypeError
        If `forget` is None or holds neither booleans nor integers.
    ValueError
        If `forget` is not one-dimensional, is a mask of another length, holds an index that is out
        of range or repeated, or marks no row or all of them where that is not allowed.

    Examples
    --------
    >>> from sklunlearn.requests import check_forget
    >>> check_forget([0, 2], n_samples=4)
    array([ True, False,  True, False])
    """
    kinds = f"a boolean mask of shape ({n_samples},) or an array of integer row indices"
    if forget is None:
        raise TypeError(f"`forget` is required: pass {kinds}. Got None.")
    forget = np.asarray(forget)
    if forget.ndim != 1:
        raise ValueError(
            f"`forget` must be one-dimensional, got shape {forget.shape}: pass {kinds}."
        )
    if forget.dtype == bool:
        if len(forget) != n_samples:
            raise ValueError(
                f"`forget` is a boolean mask of {len(forget)} rows, but the data has {n_samples} "
                "rows: pass one value a row."
            )
        mask = forget.copy()
    elif len(forget) == 0:
        mask = np.zeros(n_samples, dtype=bool)
    elif np.issubdtype(forget.dtype, np.integer):
        mask = _mask_of_indices(forget, n_samples)
    else:
        raise TypeError(f"`forget` has dtype {forget.dtype}, expected bool or int: pass {kinds}.")
    if not mask.any() and not allow_none:
        raise ValueError(
            "`forget` marks no row: mark at least one row to forget. In model selection, every "
            "training fold needs one."
        )
    if mask.all() and not allow_all:
        raise ValueError(
            f"`forget` marks all {n_samples} rows: no retain rows are left, and this needs some. "
            "Mark fewer rows."
        )
    return mask


def _mask_of_indices(indices, n_samples):
    out_of_range = indices[(indices < 0) | (indices >= n_samples)]
    if len(out_of_range):
        raise ValueError(
            f"`forget` holds the index {out_of_range[0]}, but the data has {n_samples} rows: "
            f"indices go from 0 to {n_samples - 1}."
        )
    mask = np.zeros(n_samples, dtype=bool)
    mask[indices] = True
    if mask.sum() < len(indices):
        if len(indices) == n_samples and indices.max() <= 1:
            raise ValueError(
                "`forget` holds integers, which are row indices, but looks like a 0/1 mask of the "
                f"{n_samples} rows: pass `forget.astype(bool)`."
            )
        values, counts = np.unique(indices, return_counts=True)
        raise ValueError(
            f"`forget` repeats the row index {values[counts > 1][0]}: pass each index once, as "
            "`np.unique(forget)` does."
        )
    return mask


def _check_fraction(fraction):
    if isinstance(fraction, bool) or not isinstance(fraction, numbers.Real):
        raise TypeError(f"`fraction` must be a number in (0, 1], got {fraction!r}.")
    if not 0 < fraction <= 1:
        raise ValueError(f"`fraction` must be in (0, 1], got {fraction!r}.")


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


def _mask_of_classes(y, classes):
    is_one = isinstance(classes, str) or not np.iterable(classes)
    wanted = [classes] if is_one else list(classes)
    if not wanted or any(np.ndim(label) for label in wanted):
        raise ValueError(f"`classes` must be a label or a list of labels, got {classes!r}.")
    labels = y.tolist()  # Python values: NumPy would call the label '3' and the class 3 equal
    present = set(labels)
    if unknown := [label for label in wanted if label not in present]:
        shown = sorted(present, key=lambda label: (str(type(label)), label))
        raise ValueError(
            f"classes {unknown} are not in `y`, which holds {shown}: pass some of these."
        )
    wanted = set(wanted)
    return np.array([label in wanted for label in labels])
