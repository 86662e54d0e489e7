"""Trade-offs between objectives, forgetting against retaining above all, and what they cost."""

import warnings

import numpy as np
from sklearn.exceptions import UndefinedMetricWarning

from sklunlearn.metrics._checks import check_floats, undefined

__all__ = ["hypervolume", "knee_point", "pareto_front", "speed_up"]


def pareto_front(scores):
    r"""Mask of the points that no other point dominates.

    A point :math:`a` dominates :math:`b` if

    .. math::
        a_j \ge b_j \text{ for all } j \quad \text{and} \quad a_j > b_j \text{ for some } j

    Parameters
    ----------
    scores : array-like of shape (n_points, n_objectives)
        A row for each point, say a candidate of a search. Larger is better in every column: pass
        distances with a minus sign.

    Returns
    -------
    mask : ndarray of shape (n_points,), dtype bool
        True for the points of the front. Of points that are equal, all are on it or none.

    Warns
    -----
    UndefinedMetricWarning
        If points hold nan: these are left out, and False in the mask.

    Notes
    -----
    There is no best front, only better ones: for one number see :func:`hypervolume`, for one point
    :func:`knee_point`. A front does not say how far it is from the retrained network unless the
    objectives do: where the best accuracy on the forget rows is the retrained network's, pass minus
    the distance from it.

    References
    ----------
    .. [1] K. Deb (2001). Multi-Objective Optimization Using Evolutionary Algorithms. Wiley.

    Examples
    --------
    >>> from sklunlearn.metrics import pareto_front
    >>> pareto_front([[0.2, 0.95], [0.6, 0.9], [0.8, 0.7], [0.5, 0.6], [0.95, 0.3]])
    array([ True,  True,  True, False,  True])
    """
    scores, held = _check_points(scores)
    return _front(scores, held)


def hypervolume(scores, *, reference):
    r"""Area that the front of the points dominates, down to a reference point.

    With the front sorted by falling :math:`x`,

    .. math::
        \mathrm{HV} = \sum_i (x_i - \rho_x) (y_i - y_{i-1}), \qquad y_0 = \rho_y

    Parameters
    ----------
    scores : array-like of shape (n_points, 2)
        :math:`x` and :math:`y` of each point. Larger is better in both.
    reference : array-like of shape (2,)
        :math:`\rho`. Points that are not above it in both objectives count nothing. Choose it
        once, say (0, 0) for objectives from 0 to 1: only areas down to the same point compare.

    Returns
    -------
    area : float
        From 0; 0 if no point is above the reference, nan with a warning if there is no point.

    Warns
    -----
    UndefinedMetricWarning
        If points hold nan, which are left out.

    Notes
    -----
    Larger is better; for objectives from 0 to 1 and the reference (0, 0) the largest value is 1.
    It grows with the number of points: compare searches of the same size.

    References
    ----------
    .. [1] E. Zitzler and L. Thiele (1999). Multiobjective Evolutionary Algorithms: A Comparative
       Case Study and the Strength Pareto Approach. IEEE Transactions on Evolutionary Computation
       3(4), 257-271.

    Examples
    --------
    >>> from sklunlearn.metrics import hypervolume
    >>> scores = [[0.2, 0.95], [0.6, 0.9], [0.8, 0.7], [0.5, 0.6], [0.95, 0.3]]
    >>> round(hypervolume(scores, reference=[0, 0]), 6)
    0.735
    """
    scores, held = _check_points(scores, n_objectives=2)
    reference = check_floats(reference, "reference", "(2,)")
    if len(reference) != 2:
        raise ValueError(f"`reference` must be two numbers, got {len(reference)}: pass (x, y).")
    if not held.any():
        return undefined("hypervolume", "there is no point")
    front = scores[_front(scores, held) & (scores > reference).all(axis=1)]
    x, y = front[np.argsort(-front[:, 0])].T  # equal points: the second adds a height of 0
    return float((x - reference[0]) @ np.diff(y, prepend=reference[1]))


def knee_point(scores):
    r"""Index of the point where the front bends most: more of one objective gets expensive there.

    The front is scaled to :math:`[0, 1]` in both objectives, by its own least and largest values.
    The knee is the point farthest outside the chord between its ends, at the distance

    .. math::
        \frac{x + y - 1}{\sqrt 2}

    If the front has fewer than three points or no point outside the chord, it is the point
    closest to the ideal: least :math:`\sqrt{(1 - x)^2 + (1 - y)^2}`, in the scores as they were
    given, so the objectives should be ones whose best value is 1.

    Parameters
    ----------
    scores : array-like of shape (n_points, 2)
        :math:`x` and :math:`y` of each point. Larger is better in both.

    Returns
    -------
    index : int
        Row of `scores`, the first of several that are as good.

    Warns
    -----
    UndefinedMetricWarning
        If points hold nan, which are left out.

    Raises
    ------
    ValueError
        If there is no point without nan.

    Notes
    -----
    A suggestion, not an optimum: it says what the front looks like, not what is needed. The two
    rules may choose different points of the same front. As the front is scaled by its own ends, a
    further point at one of them can move the knee.

    References
    ----------
    .. [1] I. Das (1999). On Characterizing the "Knee" of the Pareto Curve Based on Normal-Boundary
       Intersection. Structural Optimization 18, 107-115.

    Examples
    --------
    >>> from sklunlearn.metrics import knee_point
    >>> knee_point([[0.2, 0.95], [0.6, 0.9], [0.8, 0.7], [0.5, 0.6], [0.95, 0.3]])
    1
    """
    scores, held = _check_points(scores, n_objectives=2)
    if not held.any():
        raise ValueError(
            f"None of the {len(scores)} points in `scores` is without nan: there is no knee. Pass "
            "at least one point."
        )
    rows = np.flatnonzero(_front(scores, held))
    front = scores[rows]
    spread = np.ptp(front, axis=0)
    if spread.all():  # the ends are at distance 0, so that two points have no knee
        distance = ((front - front.min(axis=0)) / spread).sum(axis=1) - 1
        if distance.max() > 1e-9:  # on a straight front, rounding alone would choose
            return int(rows[distance.argmax()])
    return int(rows[np.linalg.norm(1 - front, axis=1).argmin()])


def speed_up(seconds, reference_seconds):
    r"""How many times as fast as retraining.

    .. math::
        t_r / t_u

    Parameters
    ----------
    seconds : float or array-like of shape (n_runs,)
        :math:`t_u`, duration of unlearning with all that it needs; of several runs, the median is
        taken.
    reference_seconds : float or array-like of shape (n_runs,)
        :math:`t_r`, duration of retraining on the same machine.

    Returns
    -------
    ratio : float
        Above 0; 1 is as fast as retraining. Its inverse is the relative run time.

    Notes
    -----
    Higher is better, but says nothing without what was forgotten and retained: doing nothing is
    fastest. Leave evaluation out of both times, and loading of the data in. Take the median of
    three runs at least, after one that warms up. On a GPU wait for it before stopping the clock.

    References
    ----------
    .. [1] C. Fan, J. Liu, Y. Zhang, E. Wong, D. Wei and S. Liu (2024). SalUn: Empowering Machine
       Unlearning via Gradient-based Weight Saliency in Both Image Classification and Generation.
       ICLR. arXiv:2310.12508. (Its run-time efficiency is the duration of unlearning.)

    Examples
    --------
    >>> from sklunlearn.metrics import speed_up
    >>> speed_up([2.1, 2.0, 1.9], 30.0)
    15.0
    """
    return _median(reference_seconds, "reference_seconds") / _median(seconds, "seconds")


def _check_points(scores, n_objectives=None):
    """Points as floats, and which of them hold no nan; a warning about the others."""
    scores = check_floats(scores, "scores", "(n_points, n_objectives)", allow_nan=True)
    if n_objectives is not None and scores.shape[1] != n_objectives:
        raise ValueError(
            f"`scores` has {scores.shape[1]} columns, expected {n_objectives}: pass the "
            f"{n_objectives} objectives to weigh against each other."
        )
    if not scores.shape[1]:
        raise ValueError(f"`scores` has shape {scores.shape}: pass at least one objective.")
    held = ~np.isnan(scores).any(axis=1)
    if not held.all():
        warnings.warn(
            f"{np.sum(~held)} of {len(scores)} points in `scores` hold nan and are left out.",
            UndefinedMetricWarning,
            stacklevel=3,
        )
    return scores, held


def _front(scores, held):
    mask = held.copy()
    for i in np.flatnonzero(held):
        others = scores[mask]  # what is dominated dominates nothing that its better does not
        mask[i] = not ((others >= scores[i]).all(axis=1) & (others > scores[i]).any(axis=1)).any()
    return mask


def _median(seconds, name):
    seconds = check_floats(seconds, name, "()", "(n_runs,)")
    if not seconds.size or (seconds <= 0).any():
        raise ValueError(
            f"`{name}` must be one or more durations above 0, got {seconds.tolist()}: measure with "
            "`time.perf_counter`."
        )
    return float(np.median(seconds))
