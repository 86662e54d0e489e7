"""Many unlearned against many retrained networks: the distributions over the seeds, row by row."""

import warnings
from typing import NamedTuple

import numpy as np

from sklunlearn.metrics._checks import (
    check_floats,
    check_integer,
    check_number,
    check_same_shape,
    undefined,
)

__all__ = ["ForgettingQuality", "forgetting_quality", "klom"]

_MAX_EPSILON = 50.0
_BUCKET = 0.5
_STEPS_PER_UNIT = 100
_MIN_DEVIATION = 1e-3


class ForgettingQuality(NamedTuple):
    """What :func:`forgetting_quality` returns.

    Attributes
    ----------
    value : float
        The mean over the rows.
    epsilon : ndarray of shape (n_samples,)
        How well the best attack tells the networks apart by each row.
    """

    value: float
    epsilon: np.ndarray


def forgetting_quality(unlearned, retrained, *, delta=1e-5):
    r"""Forgetting quality of the NeurIPS 2023 competition.

    For each row, attacks guess from the logit-scaled confidence whether a network was unlearned or
    retrained. With the false positive rate FPR and the false negative rate FNR of each,

    .. math::
        \varepsilon = \max\left( \log\frac{1 - \delta - \mathrm{FPR}}{\mathrm{FNR}},
        \log\frac{1 - \delta - \mathrm{FNR}}{\mathrm{FPR}}, 0 \right), \qquad
        F = \frac{1}{n} \sum_x 2^{-\lfloor \varepsilon_x / 0.5 \rfloor},

    where :math:`\varepsilon_x \le 50` is the largest of row :math:`x`, and a row whose
    :math:`0.5 (\lfloor \varepsilon_x / 0.5 \rfloor + 1)` exceeds
    :math:`\lceil \log(N - 1) \rceil` counts 0, N being the number of networks of each kind.

    Parameters
    ----------
    unlearned : array-like of shape (n_models, n_samples)
        Logit-scaled confidence of the forget rows under unlearned networks of different seeds; see
        :func:`logit_scaled_confidence`.
    retrained : array-like of shape (n_models, n_samples)
        The same under as many retrained networks.
    delta : float, default=1e-5
        :math:`\delta`, from 0 to below 1.

    Returns
    -------
    quality : ForgettingQuality
        A named tuple (value, epsilon). `value` is from 0 to 1, **higher is better, but 1 is out of
        reach**: retrained against retrained networks have about 0.33 for N = 4, 0.17 for 16 and
        0.16 for 64, since :math:`\varepsilon` is a maximum over many attacks. Always compute that
        value too, and compare with it. nan with a warning if there are no rows.

    Raises
    ------
    TypeError, ValueError
        If an array does not have that shape or holds values that are not finite, the shapes
        differ, there are fewer than two networks of each kind, or `delta` is out of range.

    Warns
    -----
    UserWarning
        For fewer than 16 networks of each kind, which separate little. For two, F is always 0.

    Notes
    -----
    Attacks: *one threshold*, at 100 steps a unit over the range of both kinds, above which the
    kind with the larger median is guessed; and *an interval*, inside which the kind with the
    smaller range :math:`w` is guessed (of equal ranges, the retrained): its right end goes at 100
    steps a unit from :math:`w - 2` above the lowest to 2 above the highest value, its left end
    over 400 values within 2 of the place :math:`w` to the left of that. An attack with both
    rates 0 has :math:`\varepsilon = \infty`; one with a single rate 0 is left out, as so few
    networks cannot tell how small the rate is. If one kind's range is less than a hundredth of
    the other's, :math:`\varepsilon_x` is 50. Where that grid is too coarse (all values lie within
    10 steps, or every attack is left out), we add thresholds at the values themselves; if nothing
    is left even then, as where all values are equal, :math:`\varepsilon_x` is 0.

    The competition multiplies F by the accuracies on retain and on test rows, each as a ratio to
    that of the retrained networks. Over-forgetting (the Streisand effect) lowers F as does
    forgetting too little. The released code fails as soon as more than one threshold is left;
    here none of its rules is changed.

    References
    ----------
    E. Triantafillou, P. Kairouz, F. Pedregosa et al. (2024). Are We Making Progress in Unlearning?
    Findings from the First NeurIPS Unlearning Competition. arXiv:2406.09073.

    Examples
    --------
    >>> import numpy as np
    >>> from sklunlearn.metrics import forgetting_quality
    >>> retrained = np.linspace(0, 3, 16)[:, None]
    >>> quality = forgetting_quality(retrained + 1, retrained)
    >>> quality.value, quality.epsilon.round(6)
    (0.125, array([1.791733]))
    """
    unlearned, retrained = _check_models(unlearned, retrained)
    check_same_shape(unlearned, retrained, ("unlearned", "retrained"))
    check_number(delta, "delta", 0, np.nextafter(1, 0), "a number from 0 to below 1")
    n_models, n_samples = unlearned.shape
    if n_models < 2:
        raise ValueError(
            f"`unlearned` and `retrained` hold {n_models} network each, expected at least 2, and "
            "for a result that separates anything 16: train more, with other seeds."
        )
    _warn_if_few(n_models, 16, "forgetting quality", "hardly tells methods apart")
    if not n_samples:
        return ForgettingQuality(undefined("forgetting_quality"), np.empty(0))
    table = _epsilon_table(n_models, delta)
    pairs = zip(np.sort(unlearned.T), np.sort(retrained.T), strict=True)
    epsilon = np.array([_epsilon(u, r, table) for u, r in pairs])
    bucket = np.floor(epsilon / _BUCKET)
    counts = (bucket + 1) * _BUCKET <= np.ceil(np.log(n_models - 1))
    return ForgettingQuality(float(np.where(counts, 2.0**-bucket, 0).mean()), epsilon)


def klom(unlearned, retrained, *, method="histogram", n_bins=20):
    r"""KL divergence of margins (KLoM) of unlearned from retrained networks, for each row.

    .. math::
        \mathrm{KLoM}(x) = \sum_b P_b \log \frac{P_b}{Q_b}

    with the shares :math:`P_b` of the unlearned and :math:`Q_b` of the retrained networks whose
    margin for row `x` lies in bin `b`. The bins divide the common range of both.

    Parameters
    ----------
    unlearned : array-like of shape (n_unlearned, n_samples)
        Margins of the rows under unlearned networks of different seeds; see
        :func:`logit_scaled_confidence`. Clipped to lie within 100 of 0.
    retrained : array-like of shape (n_retrained, n_samples)
        The same under retrained networks.
    method : {"histogram", "gaussian"}, default="histogram"
        "gaussian": for few networks, the divergence of two normal distributions of one variance,
        :math:`(\mu_U - \mu_R)^2 / (2 \sigma^2)`, :math:`\sigma^2` being the mean of the two
        variances of the row. Not KLoM as published.
    n_bins : int, default=20
        Number of bins of equal width.

    Returns
    -------
    divergence : ndarray of shape (n_samples,), dtype float64
        In nats. From 0 to about 11.5 for the histogram. Report the mean and the 95th percentile,
        each over forget, retain and test rows. **Best is the value of retrained against other
        retrained networks**, which is above 0: from histograms 0.33 for 100 networks, 0.89 for 50,
        5.4 for 10. Empty if there are no rows.

    Raises
    ------
    TypeError, ValueError
        If an array does not have that shape or holds values that are not finite, the numbers of
        rows differ, there are too few networks (1, or 2 for "gaussian"), or an option is not
        valid.

    Warns
    -----
    UserWarning
        For a histogram of fewer than 50 networks of a kind, whose bias exceeds the differences
        that one looks for.

    Notes
    -----
    Where an unlearned network falls in a bin with a share of less than 1e-5 of the retrained ones,
    that share is raised to 1e-5; then the shares are divided by their sum. The published code
    loses the largest value of all, which lies on the edge of the last bin; here that bin includes
    it. For "gaussian" a deviation below 0.001 is raised to that.

    Over-forgetting (the Streisand effect) raises the value as does forgetting too little.

    References
    ----------
    K. Georgiev, R. Rinberg, S. M. Park et al. (2024). Attribute-to-Delete: Machine Unlearning via
    Datamodel Matching. arXiv:2410.23232.

    Examples
    --------
    >>> import numpy as np
    >>> from sklunlearn.metrics import klom
    >>> retrained = np.linspace(0, 3, 100)[:, None]
    >>> klom(retrained + 1, retrained).round(6)
    array([2.517494])
    """
    unlearned, retrained = _check_models(unlearned, retrained)
    check_same_shape(unlearned, retrained, ("unlearned", "retrained"), axes=-1)
    methods = ["histogram", "gaussian"]
    if method not in methods:
        raise ValueError(f"`method` must be one of {methods}, got {method!r}.")
    check_integer(n_bins, "n_bins", 1)
    n_models, least = min(len(unlearned), len(retrained)), 1 + (method == "gaussian")
    if n_models < least:
        raise ValueError(
            f"`unlearned` and `retrained` hold {len(unlearned)} and {len(retrained)} networks, "
            f"expected at least {least} of each: train more, with other seeds."
        )
    unlearned, retrained = np.clip(unlearned, -100, 100), np.clip(retrained, -100, 100)
    if method == "gaussian":
        variance = (unlearned.var(axis=0, ddof=1) + retrained.var(axis=0, ddof=1)) / 2
        shift = unlearned.mean(axis=0) - retrained.mean(axis=0)
        return shift**2 / (2 * np.maximum(variance, _MIN_DEVIATION**2))
    _warn_if_few(n_models, 50, "KLoM", "mostly measures how few, try method='gaussian'")
    pairs = zip(unlearned.T, retrained.T, strict=True)
    return np.array([_histogram_divergence(u, r, n_bins) for u, r in pairs], dtype=np.float64)


def _check_models(unlearned, retrained):
    return (
        check_floats(unlearned, "unlearned", "(n_models, n_samples)"),
        check_floats(retrained, "retrained", "(n_models, n_samples)"),
    )


def _warn_if_few(n_models, enough, name, consequence):
    if n_models < enough:
        warnings.warn(
            f"{name} of {n_models} networks of each kind {consequence}: it takes at least "
            f"{enough}. Compare with its value for retrained against other retrained networks.",
            UserWarning,
            stacklevel=3,
        )


def _epsilon_table(n_models, delta):
    """Epsilon for each number of false positives and of false negatives; -1: left out."""
    rates = np.arange(n_models + 1) / n_models
    fpr, fnr = rates[:, None], rates[None, :]
    with np.errstate(divide="ignore", invalid="ignore"):
        # fmax passes over the logarithm of a negative number, which is nan.
        table = np.fmax(
            np.log(1 - delta - fpr) - np.log(fnr), np.log(1 - delta - fnr) - np.log(fpr)
        )
    table = np.fmax(table, 0)
    table[0, 1:] = table[1:, 0] = -1
    table[0, 0] = np.inf
    return table


def _epsilon(unlearned, retrained, table):
    """Largest epsilon of the attacks by one row; both samples are sorted."""
    narrow, wide = sorted([retrained, unlearned], key=np.ptp)  # a tie: the retrained ones
    width = np.ptp(narrow)
    if width < 0.01 * np.ptp(wide):
        return _MAX_EPSILON
    low = min(unlearned[0], retrained[0])
    high = max(unlearned[-1], retrained[-1])

    negative, positive = sorted([unlearned, retrained], key=np.median)
    thresholds = _grid(low, high)
    false_positives = len(negative) - np.searchsorted(negative, thresholds)
    best = table[false_positives, np.searchsorted(positive, thresholds)].max()

    offsets = np.linspace(-2, 2, 400) - width
    rights = _grid(low + width - 2, high + 2)
    # In blocks: confidences far apart would fill the memory.
    for right in np.array_split(rights, -(-len(rights) // 1000)):
        left = right[:, None] + offsets
        false_positives = _n_inside(wide, left, right)
        false_negatives = len(narrow) - _n_inside(narrow, left, right)
        best = max(best, table[false_positives, false_negatives].max())
    if best < 0 or high - low < 10 / _STEPS_PER_UNIT:
        # The grid is too coarse for values so close together: take every threshold there is.
        thresholds = np.concatenate([unlearned, retrained])
        false_positives = len(negative) - np.searchsorted(negative, thresholds)
        best = table[false_positives, np.searchsorted(positive, thresholds)].max()
    return min(max(best, 0.0), _MAX_EPSILON)


def _grid(low, high):
    return np.linspace(low, high, max(1, int((high - low) * _STEPS_PER_UNIT)))


def _n_inside(values, left, right):
    """How many of the sorted values lie in each interval, its ends included."""
    up_to_right = np.searchsorted(values, right, side="right")[:, None]
    return np.maximum(up_to_right - np.searchsorted(values, left), 0)


def _histogram_divergence(unlearned, retrained, n_bins):
    """KL divergence of the histogram of one sample from that of the other."""
    edges = np.histogram_bin_edges(np.concatenate([unlearned, retrained]), bins=n_bins)
    p = np.histogram(unlearned, edges)[0] / len(unlearned)
    q = np.histogram(retrained, edges)[0] / len(retrained)
    q = np.where(p > 0, np.maximum(q, 1e-5), q)
    q /= q.sum()
    return np.sum(p[p > 0] * np.log(p[p > 0] / q[p > 0]))
