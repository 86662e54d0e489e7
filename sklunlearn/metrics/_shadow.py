"""Attacks that compare a network with many others, which were trained for the purpose."""

from typing import NamedTuple

import numpy as np
from scipy.stats import norm

from sklunlearn.metrics._checks import (
    check_floats,
    check_number,
    check_same_shape,
    undefined,
)
from sklunlearn.metrics._membership import membership_auc

__all__ = ["ULiRA", "rmia", "u_lira", "u_lira_score"]

_MIN_DEVIATION = 1e-3


def u_lira_score(target, unlearned, retrained, *, pooled=True):
    r"""Log-likelihood ratio of each row, of having been unlearned to never having been seen.

    .. math::
        \Lambda(x) = \log N(\varphi(x); \mu_U(x), \sigma_U^2)
        - \log N(\varphi(x); \mu_O(x), \sigma_O^2)

    where :math:`\varphi` is the logit-scaled confidence of the network that is judged, and the
    means and deviations are those of networks :math:`U` that were trained on the row and unlearned
    it, and of networks :math:`O` that never saw it.

    Parameters
    ----------
    target : array-like of shape (n_samples,)
        Logit-scaled confidence of each row under the network that is judged; see
        :func:`logit_scaled_confidence`.
    unlearned : array-like of shape (n_unlearned, n_samples)
        The same under each network that unlearned the row, by the method that is judged.
    retrained : array-like of shape (n_retrained, n_samples)
        The same under each network that never saw the row.
    pooled : bool, default=True
        Whether all rows share one :math:`\sigma_U` and one :math:`\sigma_O`: the root of the mean
        variance. False: each row has its own, which takes some 64 networks of each kind.

    Returns
    -------
    score : ndarray of shape (n_samples,), dtype float64
        Any finite number; positive where the network looks as if it had unlearned the row. **Best
        is a distribution of scores that is the same for networks of both kinds**, which
        :func:`u_lira` measures.

    Raises
    ------
    TypeError, ValueError
        If an array does not have that shape or holds values that are not finite, or there are
        fewer than two networks of a kind.

    Notes
    -----
    Variances are unbiased; a deviation below 0.001 is raised to that.

    References
    ----------
    N. Carlini, S. Chien, M. Nasr, S. Song, A. Terzis and F. Tramèr (2022). Membership Inference
    Attacks From First Principles. IEEE S&P, 1897-1914. For unlearning: M. Kurmanji,
    P. Triantafillou, J. Hayes and E. Triantafillou (2023). Towards Unbounded Machine Unlearning.
    NeurIPS.

    Examples
    --------
    >>> from sklunlearn.metrics import u_lira_score
    >>> u_lira_score([3.0], [[1.9], [2.1]], [[0.9], [1.1]]).round(6)
    array([75.])
    """
    target = check_floats(target, "target", "(n_samples,)")
    unlearned, retrained = _check_shadows(unlearned, retrained, at_least=2)
    check_same_shape(target, unlearned, ("target", "unlearned"), axes=-1)
    return _log_ratio(target, unlearned, retrained, pooled)


class ULiRA(NamedTuple):
    """What :func:`u_lira` returns.

    Attributes
    ----------
    auc : float
        Area under the ROC curve of the scores of unlearned against those of retrained networks.
    accuracy : float
        Share of the scores with the right sign: balanced over the two kinds, ties half.
    unlearned_scores : ndarray of shape (n_unlearned, n_samples)
        Score of each row under each unlearned network, from the other networks.
    retrained_scores : ndarray of shape (n_retrained, n_samples)
        The same under each retrained network.
    """

    auc: float
    accuracy: float
    unlearned_scores: np.ndarray
    retrained_scores: np.ndarray


def u_lira(unlearned, retrained, *, pooled=True):
    r"""Tell networks that unlearned a row from networks that never saw it, row by row.

    Each network is judged by the likelihood ratio :math:`\Lambda` of :func:`u_lira_score`, with
    means and deviations from the others: network `i` of both kinds is left out. Over all rows and
    networks,

    .. math::
        \mathrm{AUC} = P(\Lambda_U > \Lambda_O) + \tfrac12 P(\Lambda_U = \Lambda_O).

    Parameters
    ----------
    unlearned : array-like of shape (n_unlearned, n_samples)
        Logit-scaled confidence of the forget rows under each network that was trained on them and
        unlearned them; see :func:`logit_scaled_confidence`.
    retrained : array-like of shape (n_retrained, n_samples)
        The same under each network that never saw them.
    pooled : bool, default=True
        Whether all rows share the deviations. False needs some 64 networks of each kind.

    Returns
    -------
    result : ULiRA
        A named tuple (auc, accuracy, unlearned_scores, retrained_scores). AUC and accuracy are
        from 0 to 1; **0.5 is best**, and no other reference is needed, since the retrained
        networks are in the comparison already. nan with a warning if there are no rows. For a
        rate at a fixed false positive rate pass the negative of the scores, flattened, to
        :func:`tpr_at_fpr`.

    Raises
    ------
    TypeError, ValueError
        If an array does not have that shape or holds values that are not finite, the numbers of
        rows differ, or there are fewer than three networks of a kind.

    Notes
    -----
    - Use at least 16 networks of each kind. Each unlearned one costs a training and an unlearning.
    - The same for all rows (one pair of normal distributions for all of them) is far weaker, and
      reports safety that is not there.
    - A difference in either direction counts, over-forgetting (the Streisand effect) too.
    - Of random numbers of one distribution the AUC strays from 0.5 by more than
      :func:`auc_noise_floor` says, since the scores of one network hang together.

    References
    ----------
    M. Kurmanji, P. Triantafillou, J. Hayes and E. Triantafillou (2023). Towards Unbounded Machine
    Unlearning. NeurIPS. J. Hayes, I. Shumailov, E. Triantafillou, A. Khalifa and N. Papernot
    (2025). Inexact Unlearning Needs More Careful Evaluations to Avoid a False Sense of Privacy.
    IEEE SaTML.

    Examples
    --------
    >>> import numpy as np
    >>> from sklunlearn.metrics import u_lira
    >>> confidence = np.random.default_rng(0).normal(size=(2, 16, 20))
    >>> result = u_lira(confidence[0] + 9, confidence[1])
    >>> result.auc, result.accuracy
    (1.0, 1.0)
    """
    unlearned, retrained = _check_shadows(unlearned, retrained, at_least=3)
    if not unlearned.shape[1]:
        nothing = undefined("u_lira")
        return ULiRA(nothing, nothing, np.empty_like(unlearned), np.empty_like(retrained))
    # One of each kind is left out together. Were it one alone, the rest of its kind would be fewer
    # than the other kind, and networks without any difference would not come out at 0.5.
    n_u, n_r = len(unlearned), len(retrained)
    scores = [np.empty_like(unlearned), np.empty_like(retrained)]
    for i in range(max(n_u, n_r)):
        i_u, i_r = i % n_u, i % n_r
        others = np.delete(unlearned, i_u, axis=0), np.delete(retrained, i_r, axis=0)
        if i < n_u:
            scores[0][i] = _log_ratio(unlearned[i], *others, pooled)
        if i < n_r:
            scores[1][i] = _log_ratio(retrained[i], *others, pooled)
    auc = membership_auc(-scores[0].ravel(), -scores[1].ravel())
    right = np.sign(scores[0]).mean() - np.sign(scores[1]).mean()
    return ULiRA(auc, float((2 + right) / 4), *scores)


def rmia(
    target,
    references,
    population,
    population_references,
    *,
    offline_a=0.3,
    gamma=1.0,
):
    r"""Robust membership inference (RMIA): share of other rows that each row stands out against.

    .. math::
        \mathrm{score}(x) = P_{z} \left( \frac{p(x \mid \theta) / p(x)}{p(z \mid \theta) / p(z)}
        \ge \gamma \right), \qquad
        p(x) = \tfrac12 \left( (1 + a)\, \overline{p}(x) + 1 - a \right)

    with the probability :math:`p(x \mid \theta)` of the true class of row :math:`x` under the
    network that is judged, its mean :math:`\overline{p}(x)` under reference networks that never
    saw the row, and rows :math:`z` that none of the networks was trained on.

    Parameters
    ----------
    target : array-like of shape (n_samples,)
        True-class probability of each row under the network that is judged.
    references : array-like of shape (n_references, n_samples)
        The same under each reference network. One to four are enough.
    population : array-like of shape (n_population,)
        True-class probability of the rows :math:`z` under the network that is judged.
    population_references : array-like of shape (n_references, n_population)
        The same under each reference network.
    offline_a : float, default=0.3
        :math:`a`, from 0 to 1, which makes up for references that are trained without the row: of
        references half of which saw the row, 1 takes the mean as it is.
    gamma : float, default=1.0
        :math:`\gamma`, above 0.

    Returns
    -------
    score : ndarray of shape (n_samples,), dtype float64
        From 0 to 1, higher where the network seems to have been trained on the row. For an AUC
        pass the negative of the scores of forget rows and of held-out rows to
        :func:`membership_auc`; **best is the AUC under the retrained network**. nan with a warning
        if there are no population rows.

    Raises
    ------
    TypeError, ValueError
        If an array does not have that shape or holds no probabilities, the numbers of rows or
        networks differ, there is no reference, or a number is out of range.

    Notes
    -----
    The cheapest strong attack: one retrained network, used as the reference, already tells rows
    that are hard from rows that are new. Do not use the same network as reference and as the one
    to compare with. As with other attacks, scores that are *lower* for forget rows than for
    held-out rows are over-forgetting (the Streisand effect).

    A mean probability below 1e-12 is raised to that. `offline_a` depends on the data; the authors
    choose it on two reference networks, one in the place of the target.

    References
    ----------
    S. Zarifzadeh, P. Liu and R. Shokri (2024). Low-Cost High-Power Membership Inference Attacks.
    ICML. arXiv:2312.03262.

    Examples
    --------
    >>> from sklunlearn.metrics import rmia
    >>> rmia([0.9], [[0.5], [0.6]], [0.8, 0.95, 0.4], [[0.7, 0.9, 0.6], [0.7, 0.9, 0.6]])
    array([1.])
    """
    target = _probabilities(target, "target", "(n_samples,)")
    references = _probabilities(references, "references", "(n_references, n_samples)")
    population = _probabilities(population, "population", "(n_population,)")
    population_references = _probabilities(
        population_references, "population_references", "(n_references, n_population)"
    )
    names = ("references", "population_references")
    check_same_shape(references, population_references, names, axes=0)
    check_same_shape(target, references, ("target", "references"), axes=-1)
    check_same_shape(population, population_references, ("population", names[1]), axes=-1)
    if not len(references):
        raise ValueError("`references` holds no network: pass the probabilities of at least one.")
    check_number(offline_a, "offline_a", 0, 1, "a number from 0 to 1")
    check_number(gamma, "gamma", np.nextafter(0, 1), np.finfo(float).max, "a number above 0")
    if not len(population):
        return np.full(len(target), undefined("rmia", "there are no population rows"))

    def ratio(p, p_references):
        p_x = ((1 + offline_a) * p_references.mean(axis=0) + 1 - offline_a) / 2
        return p / np.maximum(p_x, 1e-12)

    ratio_x, ratio_z = ratio(target, references), ratio(population, population_references)
    # p_x / p_z >= gamma, without a division by a ratio that is 0.
    n_below = np.searchsorted(np.sort(gamma * ratio_z), ratio_x, side="right")
    return n_below / len(population)


def _check_shadows(unlearned, retrained, at_least):
    unlearned = check_floats(unlearned, "unlearned", "(n_unlearned, n_samples)")
    retrained = check_floats(retrained, "retrained", "(n_retrained, n_samples)")
    check_same_shape(unlearned, retrained, ("unlearned", "retrained"), axes=-1)
    if min(len(unlearned), len(retrained)) < at_least:
        raise ValueError(
            f"`unlearned` holds {len(unlearned)} networks and `retrained` {len(retrained)}, "
            f"expected at least {at_least} of each: train more, with other seeds."
        )
    return unlearned, retrained


def _log_ratio(target, unlearned, retrained, pooled):
    logs = []
    for confidence in (unlearned, retrained):
        variance = confidence.var(axis=0, ddof=1)
        deviation = np.sqrt(variance.mean() if pooled and variance.size else variance)
        logs.append(
            norm.logpdf(target, confidence.mean(axis=0), np.maximum(deviation, _MIN_DEVIATION))
        )
    return logs[0] - logs[1]


def _probabilities(values, name, shape):
    values = check_floats(values, name, shape)
    if values.size and (values.min() < 0 or values.max() > 1 + 1e-6):
        raise ValueError(
            f"`{name}` must hold probabilities of the true class, but has values from "
            f"{values.min():.4g} to {values.max():.4g}: pass the column of `predict_proba` that "
            "belongs to the label of each row."
        )
    return values
