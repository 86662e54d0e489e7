"""Rules that choose one candidate of a search among several scores."""

from functools import partial
from numbers import Real

import numpy as np

from sklunlearn.metrics import knee_point

__all__ = ["select_constrained", "select_knee"]


def select_knee(*, forget="forgetting", retain="retention"):
    """Rule that chooses the knee of the front between forgetting and retaining.

    Parameters
    ----------
    forget : str or list of str, default="forgetting"
        Score on one side; of several, their mean.
    retain : str, default="retention"
        Score on the other side.

    Returns
    -------
    select : callable
        For the `refit` parameter of a search with several scorers: index of the candidate, from
        `cv_results_`. Raises a ValueError if all candidates have a score of nan.

    See Also
    --------
    sklunlearn.metrics.knee_point : What a knee is.
    select_constrained : Rule with a bound on what must be retained.

    Notes
    -----
    Other scores decide between candidates that are equal in these, by their mean, so that the
    choice is on the front of all scores too. "membership" is such a score by default: a front is
    scaled by its own ends, and where every candidate forgets, its noise would outweigh what is
    retained.

    Examples
    --------
    >>> from sklunlearn.model_selection import select_knee
    >>> select = select_knee()
    >>> select({"mean_test_retention": [0.95, 0.9, 0.7, 0.6, 0.3],
    ...         "mean_test_forgetting": [0.2, 0.6, 0.8, 0.5, 0.95],
    ...         "params": [{"lr": 1}, {"lr": 2}, {"lr": 3}, {"lr": 4}, {"lr": 5}]})
    1
    """
    return partial(_select_knee, forget=_check_names(forget), retain=_check_name(retain))


def select_constrained(*, min_retain, forget="forgetting", retain="retention"):
    """Rule that chooses what forgets best of all candidates that retain enough.

    Parameters
    ----------
    min_retain : float
        Least mean score of `retain`. For "retention", an accuracy from 0 to 1.
    forget : str or list of str, default="forgetting"
        Score to maximise; of several, their mean. Between equal candidates decides what they
        retain, then the mean of all other scores.
    retain : str, default="retention"
        Score with a bound.

    Returns
    -------
    select : callable
        For the `refit` parameter of a search with several scorers: index of the candidate, from
        `cv_results_`. Raises a ValueError if no candidate retains enough.

    See Also
    --------
    select_knee : Rule without a bound.

    Examples
    --------
    >>> from sklunlearn.model_selection import select_constrained
    >>> select = select_constrained(min_retain=0.65)
    >>> select({"mean_test_retention": [0.95, 0.9, 0.7, 0.6, 0.3],
    ...         "mean_test_forgetting": [0.2, 0.6, 0.8, 0.5, 0.95],
    ...         "params": [{"lr": 1}, {"lr": 2}, {"lr": 3}, {"lr": 4}, {"lr": 5}]})
    2
    """
    if isinstance(min_retain, bool) or not isinstance(min_retain, Real) or np.isnan(min_retain):
        raise TypeError(f"`min_retain` must be a number, got {min_retain!r}.")
    return partial(
        _select_constrained,
        min_retain=float(min_retain),
        forget=_check_names(forget),
        retain=_check_name(retain),
    )


def _select_knee(cv_results, *, forget, retain):
    forgets, retains, rest = _scores_of(cv_results, forget, retain)
    # Those with nan take no part; knee_point would warn of them, as the search has done.
    held = np.flatnonzero(~np.isnan(forgets + retains))
    knee = held[knee_point(np.column_stack([forgets, retains])[held])]
    equal = np.flatnonzero((forgets == forgets[knee]) & (retains == retains[knee]))
    return int(equal[rest[equal].argmax()])


def _select_constrained(cv_results, *, min_retain, forget, retain):
    forgets, retains, rest = _scores_of(cv_results, forget, retain)
    held = np.flatnonzero((retains >= min_retain) & ~np.isnan(forgets))
    if not len(held):
        best = int(np.nanargmax(np.where(np.isnan(forgets), np.nan, retains)))
        raise ValueError(
            f"No candidate has a mean {retain!r} of at least {min_retain:g}; the best has "
            f"{retains[best]:.4g}, with {cv_results['params'][best]}. Lower `min_retain`, or "
            "search among gentler candidates."
        )
    # The last key counts most, and the last row is taken: of equal ones the first.
    order = np.lexsort((-held, rest[held], retains[held], forgets[held]))
    return int(held[order[-1]])


def _scores_of(cv_results, forget, retain):
    """Mean test scores of forgetting, of retaining and of the rest, which has no nan."""
    prefix = "mean_test_"
    scores = {
        key.removeprefix(prefix): np.asarray(values, float)
        for key, values in cv_results.items()
        if key.startswith(prefix)
    }
    if missing := [name for name in (*forget, retain) if name not in scores]:
        raise ValueError(
            f"The rule needs the scores {missing}, but the search has {list(scores)}: pass "
            "`scoring=unlearning_scorers()` to the search, or other names to the rule, as in "
            "`refit=select_knee(forget='js')`."
        )
    forgets, retains = np.mean([scores[name] for name in forget], axis=0), scores[retain]
    if np.isnan(forgets + retains).all():
        undefined = [name for name in (*forget, retain) if np.isnan(scores[name]).any()]
        raise ValueError(
            f"Every candidate has a mean of nan in one of {undefined}: there is nothing to choose "
            "from. A fold may lack rows to forget (split with ForgetStratifiedKFold), or a scorer "
            "fail: set error_score='raise' and turn metadata routing on."
        )
    others = [values for name, values in scores.items() if name not in (*forget, retain)]
    rest = np.mean(others, axis=0) if others else np.zeros(len(retains))
    return forgets, retains, np.nan_to_num(rest, nan=-np.inf)


def _check_name(name):
    if not isinstance(name, str):
        raise TypeError(f"`retain` must be the name of a score, got {name!r}.")
    return name


def _check_names(names):
    names = [names] if isinstance(names, str) else names
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise TypeError(f"`forget` must be the name of a score or a list of names, got {names!r}.")
    if not names:
        raise ValueError("`forget` is empty: name at least one score.")
    return list(names)
