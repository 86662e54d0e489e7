"""Rules that choose one candidate of a search among several scores."""

from functools import partial
from numbers import Real

import numpy as np

from sklunlearn.metrics import knee_point

__all__ = ["select_constrained", "select_knee"]


def select_knee(*, retain="retention", forget=None):
    """Rule that chooses the knee of the front between retaining and forgetting.

    Parameters
    ----------
    retain : str, default="retention"
        Score on one side.
    forget : str, sequence of str or None, default=None
        Score on the other side; of several, their mean. None: all scores but `retain`.

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
    The candidate is on the Pareto front of all scores too. As the front is scaled by its own ends,
    small differences weigh as much as large ones where no larger ones occur.

    Examples
    --------
    >>> from sklunlearn.model_selection import select_knee
    >>> select = select_knee()
    >>> select({"mean_test_retention": [0.95, 0.9, 0.7, 0.6, 0.3],
    ...         "mean_test_forgetting": [0.2, 0.6, 0.8, 0.5, 0.95],
    ...         "params": [{"lr": 1}, {"lr": 2}, {"lr": 3}, {"lr": 4}, {"lr": 5}]})
    1
    """
    return partial(_select_knee, retain=_check_name(retain), forget=_check_names(forget))


def select_constrained(*, min_retain, retain="retention", forget=None):
    """Rule that chooses what forgets best of all candidates that retain enough.

    Parameters
    ----------
    min_retain : float
        Least mean score of `retain`. For "retention", an accuracy from 0 to 1.
    retain : str, default="retention"
        Score with a bound.
    forget : str, sequence of str or None, default=None
        Score to maximise; of several, their mean. None: all scores but `retain`. Of equal
        candidates the one that retains most is chosen, then the first.

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
        retain=_check_name(retain),
        forget=_check_names(forget),
    )


def _select_knee(cv_results, *, retain, forget):
    forgets, retains = _two_scores(cv_results, retain, forget)
    # Those with nan take no part; knee_point would warn of them, as the search has done.
    held = np.flatnonzero(~np.isnan(forgets + retains))
    return int(held[knee_point(np.column_stack([forgets, retains])[held])])


def _select_constrained(cv_results, *, min_retain, retain, forget):
    forgets, retains = _two_scores(cv_results, retain, forget)
    held = np.flatnonzero((retains >= min_retain) & ~np.isnan(forgets))
    if not len(held):
        best = int(np.nanargmax(np.where(np.isnan(forgets), np.nan, retains)))
        raise ValueError(
            f"No candidate has a mean {retain!r} of at least {min_retain:g}; the best has "
            f"{retains[best]:.4g}, with {cv_results['params'][best]}. Lower `min_retain`, or "
            "search among gentler candidates."
        )
    # The last key counts most; the first of equal candidates comes last in reversed order.
    order = np.lexsort((-held, retains[held], forgets[held]))
    return int(held[order[-1]])


def _two_scores(cv_results, retain, forget):
    """Mean test scores of forgetting and of retaining; at least one candidate has both."""
    prefix = "mean_test_"
    names = [key.removeprefix(prefix) for key in cv_results if key.startswith(prefix)]
    forget = [name for name in names if name != retain] if forget is None else forget
    missing = [name for name in (retain, *forget) if name not in names]
    if missing or not forget:
        raise ValueError(
            f"The rule weighs {retain!r} against {forget or 'other scores'}, but the search has "
            f"the scores {names}: pass `scoring=unlearning_scorers()` to the search, or other "
            "names to the rule."
        )
    scores = {name: np.asarray(cv_results[prefix + name], float) for name in (retain, *forget)}
    means = np.mean([scores[name] for name in forget], axis=0), scores[retain]
    if np.isnan(means[0] + means[1]).all():
        undefined = [name for name, values in scores.items() if np.isnan(values).any()]
        raise ValueError(
            f"Every candidate has a mean of nan in one of {undefined}: there is nothing to choose "
            "from. A fold may lack rows to forget (split with ForgetStratifiedKFold), or a scorer "
            "fail: set error_score='raise' and turn metadata routing on."
        )
    return means


def _check_name(name):
    if not isinstance(name, str):
        raise TypeError(f"`retain` must be the name of a score, got {name!r}.")
    return name


def _check_names(names):
    if names is None:
        return None
    names = [names] if isinstance(names, str) else names
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise TypeError(f"`forget` must be the name of a score or a list of names, got {names!r}.")
    if not names:
        raise ValueError("`forget` is empty: name a score, or pass None for all but `retain`.")
    return list(names)
