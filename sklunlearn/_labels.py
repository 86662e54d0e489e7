"""Rows that carry one of some labels, or one of some values of a column."""

import difflib

import numpy as np

from sklunlearn._shown import shown, shown_list

__all__ = ["column_of", "mask_of_labels"]


def column_of(metadata, name, parameter):
    """The column of a DataFrame that a parameter names, or a ValueError that says which there are.

    Parameters
    ----------
    metadata : pandas.DataFrame or None
        What is known about each row.
    name : str or any other column label
        Which column.
    parameter : str
        Who asks, for the error message.

    Returns
    -------
    column : pandas.Series
    """
    if metadata is None:
        raise ValueError(f"{parameter} needs the column {name!r}: pass `metadata`.")
    names = list(metadata.columns)
    if names.count(name) > 1:
        raise ValueError(f"{parameter}: {names.count(name)} columns are named {name!r}.")
    if name not in names:
        close = difflib.get_close_matches(str(name), map(str, names), n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise ValueError(
            f"{parameter} names {shown(name)}, which is not a column of `metadata`. Its columns "
            f"are {shown_list(names)}.{hint}"
        )
    return metadata[name]


def mask_of_labels(labels, wanted, parameter, where):
    """Boolean mask of the rows whose label is among the wanted ones.

    Parameters
    ----------
    labels : ndarray or pandas.Series of shape (n_samples,)
        One label a row.
    wanted : label or iterable of labels
        Each must occur.
    parameter, where : str
        Name of what is wanted, and of what holds the labels, for the error messages.

    Returns
    -------
    mask : ndarray of shape (n_samples,), dtype bool
    """
    is_one = isinstance(wanted, str) or not np.iterable(wanted)
    listed = [wanted] if is_one else list(wanted)
    if not listed or any(np.ndim(label) for label in listed):
        raise ValueError(f"`{parameter}` must be a label or a list of labels, got {shown(wanted)}.")
    labels = labels.tolist()  # Python values: NumPy would call the label '3' and the class 3 equal
    try:
        wanted = set(listed)
        mask = np.fromiter(map(wanted.__contains__, labels), dtype=bool, count=len(labels))
    except TypeError as error:
        raise TypeError(
            f"`{parameter}` and {where} must hold labels, as numbers and strings are: {error}."
        ) from error
    found = {labels[i] for i in np.flatnonzero(mask)}
    if unknown := [label for label in listed if label not in found]:
        raise ValueError(
            f"{parameter} {shown_list(unknown)} are not in {where}, which holds "
            f"{shown_list(_sorted(set(labels)))}: pass some of these."
        )
    return mask


def _sorted(labels):
    try:
        return sorted(labels, key=lambda label: (str(type(label)), label))
    except TypeError:  # labels without an order
        return list(labels)
