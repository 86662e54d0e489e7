"""Which rows to forget."""

import numpy as np

from sklunlearn._forget_request import ForgetRequest
from sklunlearn._groups import keep_together as _keep_together
from sklunlearn._selection import select

__all__ = ["ForgetRequest", "check_forget", "check_group_leakage", "forget_mask"]


def forget_mask(
    y=None,
    metadata=None,
    *,
    X=None,
    classes=None,
    query=None,
    groups=None,
    outliers=None,
    by=None,
    nearest=None,
    embedding=None,
    fraction=1.0,
    n_samples=None,
    keep_together=None,
    on_leakage="warn",
    random_state=None,
):
    """Boolean mask of the rows to forget, by class, by metadata, by likeness or at random.

    Rows must meet every criterion that is given: `classes`, `query`, `groups` and `outliers` are
    intersected. Of what is left, `fraction` or `n_samples` takes the rows most like the examples
    of `nearest`, or else random ones. Last, `keep_together` looks for groups that this divides.

    Parameters
    ----------
    y : array-like of shape (n_samples,), default=None
        Class labels. Needed for `classes`.
    metadata : pandas.DataFrame of n_samples rows, default=None
        What is known about each row: a patient, a device, an age. Needed wherever a column is
        named. Rows are taken by position; the index is not used.
    X : array-like of shape (n_samples, ...) or torch Dataset yielding (x, y), default=None
        The data. Needed for `nearest`, and for a detector as `by`.
    classes : label or list of labels, default=None
        Forget the rows with these labels.
    query : str, default=None
        Forget the rows of `metadata` for which this is true, for example
        ``"device == 'molemax' and age < 30"``. The syntax is that of
        :meth:`pandas.DataFrame.query` as far as it cannot run code: column names (in backticks
        if they hold spaces), constants, lists, comparisons (``in`` and ``not in`` included),
        ``and``, ``or``, ``not`` and arithmetic of numbers. Calls, attributes, subscripts and ``@``
        are refused, and so is a text of more than 10,000 characters.
    groups : dict of column to value or list of values, default=None
        Forget the rows of `metadata` with these values, for example
        ``{"patient": ["p1", "p7"]}``; every column counts. Long lists are no trouble.
    outliers : float, default=None
        Share of all rows, in (0, 1], that is most extreme by `by`, rounded to the nearest number
        of rows, at least one.
    by : str or outlier detector, default=None
        What `outliers` is judged by. The name of a column: the distance from its median, in
        multiples of 1.4826 times the median of all these distances (of 1.2533 times their mean,
        where that is 0); rows without a value are no outliers. A scikit-learn detector, such as
        :class:`sklearn.ensemble.IsolationForest`: a clone is fitted to the flattened rows of `X`,
        held in memory, and those with the lowest ``score_samples`` (``decision_function`` where
        there is none) are taken; its ``contamination`` changes nothing, its ``random_state``
        should be an int.
    nearest : list of int, or array-like of shape (n_examples, ...), default=None
        Examples to compare all rows with: indices of rows of `X`, or rows of their own. Needs
        `n_samples` or `fraction`. An example that is a row itself is its own nearest row.
    embedding : fitted unlearner, fitted skorch net or callable, default=None
        What `nearest` compares: what enters the head of the network, or what a function makes of
        an array of rows, of shape (n_rows, n_features). None: the flattened rows. Distances are
        Euclidean, after each feature was divided by its standard deviation.
    fraction : float, default=1.0
        Share of the selected rows to mark, ``0 < fraction <= 1``, rounded to the nearest number of
        rows, at least one. Where nothing else is given, a share of all rows.
    n_samples : int, default=None
        Exact number of the selected rows to mark, in place of `fraction`.
    keep_together : str, default=None
        Column of `metadata` with the group, such as a patient, of each row, for `on_leakage`.
    on_leakage : {"warn", "expand", "raise"}, default="warn"
        What to do if some rows of a group are selected and others are not; see
        :func:`check_group_leakage`.
    random_state : int, RandomState instance or None, default=None
        Draws the rows of `fraction` and `n_samples`.

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
        If nothing or everything is selected, a class, a value or a column is unknown, `y`,
        `metadata` and `X` differ in length, what a criterion needs is missing, criteria exclude
        each other, or the query is not one that is allowed or does not give one boolean a row.

    Warns
    -----
    UserWarning
        If a group is divided and `on_leakage` is "warn".

    See Also
    --------
    ForgetRequest : The same criteria with who asked, when and why; can be saved.
    sklunlearn.domains.discover_domains : Labels of devices that nobody noted down.

    Notes
    -----
    A comparison with a missing value is False, also with ``!=`` and ``not in``. So ``age >= 30``
    leaves out the rows whose age is missing, ``not age < 30`` selects them as well, and
    ``not age == age`` selects only those.

    The splitters of scikit-learn take `groups` as one label a row. Here it is a dict, as the
    labels are in `metadata` already: it reads as the query that it stands for, and is the same
    for every data set that has the column.

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
    >>> forget_mask(y, metadata, classes="melanoma", groups={"device": "a"})
    array([False, False,  True, False])
    >>> X = [[0.0], [0.1], [5.0], [5.2]]
    >>> forget_mask(X=X, nearest=[3], n_samples=2)
    array([False, False,  True,  True])
    """
    asked = {
        "classes": classes,
        "query": query,
        "groups": groups,
        "outliers": outliers,
        "by": by,
        "nearest": nearest,
        "fraction": fraction,
        "n_samples": n_samples,
        "keep_together": keep_together,
        "on_leakage": on_leakage,
        "random_state": random_state,
    }
    return select(y, metadata, X, asked, embedding=embedding, stacklevel=3)


def check_forget(forget, n_samples, *, allow_all=True, allow_none=False, name="forget"):
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
    name : str, default="forget"
        What error messages call it.

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
        raise TypeError(f"`{name}` is required: pass {kinds}. Got None.")
    forget = np.asarray(forget)
    if forget.ndim != 1:
        example = " For a class, that is `y == label`." if forget.ndim == 0 else ""
        raise ValueError(
            f"`{name}` must be one-dimensional, got shape {forget.shape}: pass {kinds}.{example}"
        )
    if forget.dtype == bool:
        if len(forget) != n_samples:
            raise ValueError(
                f"`{name}` is a boolean mask of {len(forget)} rows, but the data has {n_samples} "
                "rows: pass one value a row."
            )
        mask = forget.copy()
    elif len(forget) == 0:
        mask = np.zeros(n_samples, dtype=bool)
    elif np.issubdtype(forget.dtype, np.integer):
        mask = _mask_of_indices(forget, n_samples, name)
    else:
        raise TypeError(f"`{name}` has dtype {forget.dtype}, expected bool or int: pass {kinds}.")
    if not mask.any() and not allow_none:
        raise ValueError(
            f"`{name}` marks no row: mark at least one row to forget. In model selection, every "
            "training fold needs one."
        )
    if mask.all() and not allow_all:
        raise ValueError(
            f"`{name}` marks all {n_samples} rows: no retain rows are left, and this needs some. "
            "Mark fewer rows."
        )
    return mask


def check_group_leakage(forget, groups, *, on_leakage="warn"):
    """Look for groups of which some rows are forgotten and others retained.

    Images of one patient resemble each other: a model that keeps some still knows the others.

    Parameters
    ----------
    forget : array-like of shape (n_samples,), dtype bool, or (n_forget,), dtype int
        Boolean mask of the rows to forget, or their indices.
    groups : array-like of shape (n_samples,)
        Group of each row, such as a patient. Rows whose group is missing belong to none.
    on_leakage : {"warn", "expand", "raise"}, default="warn"
        What to do where groups are divided: warn, mark all of their rows, or raise an error.

    Returns
    -------
    mask : ndarray of shape (n_samples,), dtype bool
        True for the rows to forget. Always a new array.

    Raises
    ------
    TypeError, ValueError
        If `forget` is not valid, see :func:`check_forget`, or `on_leakage` is none of these.
    ValueError
        If a group is divided and `on_leakage` is "raise".

    Warns
    -----
    UserWarning
        If a group is divided and `on_leakage` is "warn": how many groups and rows.

    Examples
    --------
    >>> from sklunlearn.requests import check_group_leakage
    >>> patients = ["p1", "p1", "p2", "p3"]
    >>> check_group_leakage([0, 2], patients, on_leakage="expand")
    array([ True,  True,  True, False])
    """
    mask = check_forget(forget, len(groups), allow_none=True)
    return _keep_together(mask, groups, on_leakage, stacklevel=3)


def _mask_of_indices(indices, n_samples, name):
    out_of_range = indices[(indices < 0) | (indices >= n_samples)]
    if len(out_of_range):
        raise ValueError(
            f"`{name}` holds the index {out_of_range[0]}, but the data has {n_samples} rows: "
            f"indices go from 0 to {n_samples - 1}."
        )
    mask = np.zeros(n_samples, dtype=bool)
    mask[indices] = True
    if mask.sum() < len(indices):
        if len(indices) == n_samples and indices.max() <= 1:
            raise ValueError(
                f"`{name}` holds integers, which are row indices, but looks like a 0/1 mask of the "
                f"{n_samples} rows: pass `{name}.astype(bool)`."
            )
        values, counts = np.unique(indices, return_counts=True)
        raise ValueError(
            f"`{name}` repeats the row index {values[counts > 1][0]}: pass each index once, as "
            f"`np.unique({name})` does."
        )
    return mask
