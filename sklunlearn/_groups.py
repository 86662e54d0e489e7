"""Groups of rows, such as the images of one patient, that a request may divide."""

import warnings

import numpy as np

__all__ = ["LEAKAGE_ACTIONS", "keep_together"]

LEAKAGE_ACTIONS = ("warn", "expand", "raise")


def keep_together(mask, groups, on_leakage, *, stacklevel=2):
    """Look for groups that a mask divides, and do what is asked about them.

    Parameters
    ----------
    mask : ndarray of shape (n_samples,), dtype bool
        True for the rows to forget. Not changed.
    groups : array-like of shape (n_samples,)
        Group of each row. Rows whose group is missing belong to none.
    on_leakage : {"warn", "expand", "raise"}
        What to do where a group is divided.
    stacklevel : int, default=2
        That of the warning; 2 is the caller of this function.

    Returns
    -------
    mask : ndarray of shape (n_samples,), dtype bool
        A new array; with "expand", the divided groups are marked whole.
    """
    import pandas as pd  # imported here: masks by class work without it

    if on_leakage not in LEAKAGE_ACTIONS:
        raise ValueError(f"`on_leakage` must be one of {LEAKAGE_ACTIONS}, got {on_leakage!r}.")
    if np.ndim(groups) != 1:
        raise ValueError(
            f"`groups` must have shape (n_samples,), got {np.shape(groups)}: pass one group a row."
        )
    groups = pd.Series(groups)
    if isinstance(groups.dtype, pd.StringDtype):
        groups = groups.astype(object)  # which pandas looks up in half the time
    # Only the groups of which a row is forgotten are counted: that is most often a few of them.
    concerned = (
        groups.isin(groups.to_numpy()[mask]).to_numpy(dtype=bool) & groups.notna().to_numpy()
    )
    codes, names = pd.factorize(groups[concerned])
    n_rows = np.bincount(codes, minlength=len(names))
    n_forget = np.bincount(codes[mask[concerned]], minlength=len(names))
    divided = n_forget < n_rows
    if not divided.any():
        return mask.copy()
    if on_leakage == "expand":
        expanded = mask.copy()
        expanded[concerned] = True
        return expanded
    first = names[divided.argmax()]
    first = first.item() if isinstance(first, np.generic) else first
    text = (
        f"{divided.sum()} of {len(names)} groups to forget are divided, {first!r} for one: "
        f"{n_forget[divided].sum()} of their rows are forgotten and "
        f"{(n_rows - n_forget)[divided].sum()} retained, which tell of those that are forgotten. "
        "on_leakage='expand' marks whole groups."
    )
    if on_leakage == "raise":
        raise ValueError(text)
    warnings.warn(text, UserWarning, stacklevel=stacklevel)
    return mask.copy()
