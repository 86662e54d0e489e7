"""Scores made of several accuracies."""

import numpy as np

from sklunlearn.metrics._checks import check_floats, check_fraction

__all__ = ["adaptive_unlearning_score", "average_gap", "h_mean", "tug_of_war"]


def average_gap(scores, reference, *, weights=None):
    r"""Mean distance of several scores from those of the retrained network.

    .. math::
        \frac{\sum_j w_j\, |s_j - r_j|}{\sum_j w_j}

    Usually [1]_ of four: the accuracy on the forget rows, on the retain rows and on test rows, and
    the efficacy of a membership inference attack.

    Parameters
    ----------
    scores : array-like of shape (n_scores,)
        :math:`s`, scores of the unlearned network: fractions from 0 to 1, not percent.
    reference : array-like of shape (n_scores,) or (n_networks, n_scores)
        :math:`r`, the same scores of the retrained network; of several, their mean is taken.
    weights : array-like of shape (n_scores,), default=None
        :math:`w`. None: all are equal.

    Returns
    -------
    gap : float
        From 0 to 1. A score that is nan, as that of an empty group is, makes it nan.

    Notes
    -----
    Best is 0, or rather what a further retrained network has: two of them differ too, and a gap
    that is not larger says no more than that the two cannot be told apart. Leave out the attack
    where it cannot tell training rows from others.

    References
    ----------
    .. [1] C. Fan, J. Liu, Y. Zhang, E. Wong, D. Wei and S. Liu (2024). SalUn: Empowering Machine
       Unlearning via Gradient-based Weight Saliency in Both Image Classification and Generation.
       ICLR. arXiv:2310.12508.

    Examples
    --------
    >>> from sklunlearn.metrics import average_gap
    >>> round(average_gap([0.80, 0.95, 0.88], [0.85, 0.99, 0.90]), 6)
    0.036667
    """
    gaps = _gaps(scores, reference, "scores")
    if weights is None:
        return float(gaps.mean())
    weights = check_floats(weights, "weights", "(n_scores,)")
    if weights.shape != gaps.shape or (weights < 0).any() or not weights.any():
        raise ValueError(
            f"`weights` must be {len(gaps)} numbers, one a score, no less than 0 and not all 0, "
            f"got {weights}."
        )
    return float(weights @ gaps / weights.sum())


def tug_of_war(accuracies, reference):
    r"""How close all accuracies are to those of the retrained network, as a product.

    .. math::
        \mathrm{ToW} = \prod_j (1 - |a_j - r_j|)

    over the accuracies on the forget rows, on the retain rows and on test rows [1]_. With the
    efficacy of a membership inference attack instead of the accuracy on the forget rows it is known
    as ToW-MIA [2]_: pass that in its place.

    Parameters
    ----------
    accuracies : array-like of shape (n_scores,)
        :math:`a`, of the unlearned network: fractions from 0 to 1, not percent.
    reference : array-like of shape (n_scores,) or (n_networks, n_scores)
        :math:`r`, the same of the retrained network; of several, their mean is taken.

    Returns
    -------
    score : float
        From 0 to 1; 0 as soon as one accuracy is as far off as can be. An accuracy that is nan, as
        that of an empty group is, makes it nan.

    Notes
    -----
    Best is 1: every accuracy is that of the retrained network. Quote with it the values of the
    original network and of a further retrained one: where few of the forget rows were memorised,
    the original is close to 1 already. Equal accuracies are not equal predictions; for those see
    :func:`js_divergence`.

    References
    ----------
    .. [1] K. Zhao, M. Kurmanji, G.-O. Bărbulescu, E. Triantafillou and P. Triantafillou (2024).
       What Makes Unlearning Hard and What to Do About It. NeurIPS. arXiv:2406.01257.
    .. [2] K. Zhao and P. Triantafillou (2024). Scalability of Memorization-Based Machine
       Unlearning. arXiv:2410.16516.

    Examples
    --------
    >>> from sklunlearn.metrics import tug_of_war
    >>> round(tug_of_war([0.80, 0.95, 0.88], [0.85, 0.99, 0.90]), 6)
    0.89376
    """
    return float(np.prod(1 - _gaps(accuracies, reference, "accuracies")))


def adaptive_unlearning_score(
    *, forget_accuracy, test_accuracy, original_test_accuracy, request_type
):
    r"""Accuracy that was kept, divided by one plus the forgetting that is missing.

    .. math::
        \mathrm{AUS} = \frac{1 - (A_{or} - A_t)}{1 + \Delta}, \qquad
        \Delta = \begin{cases}
            A_f & \text{a class was forgotten} \\
            |A_f - A_t| & \text{rows were forgotten}
        \end{cases}

    in the two forms of [1]_.

    Parameters
    ----------
    forget_accuracy : float
        :math:`A_f` of the unlearned network: of a class on its *test* rows, of rows on these
        *training* rows.
    test_accuracy : float
        :math:`A_t`, of the unlearned network on test rows; without those of a forgotten class.
    original_test_accuracy : float
        :math:`A_{or}`, of the original network on the same test rows.
    request_type : {"class", "rows"}
        What was forgotten.

    Returns
    -------
    score : float
        From 0 to 2. An accuracy that is nan, as that of an empty group is, makes it nan.

    Notes
    -----
    Higher is better, and 1 is full accuracy kept and everything forgotten; more than 1 means that
    the test accuracy has grown. The score looks at no retrained network: it takes for granted that
    a forgotten class is never predicted, and that forgotten rows are predicted like unseen ones.
    Compare it with the score of a retrained network where there is one. The original network has
    about 1/2 for a class, but nearly 1 for rows if it generalises well.

    References
    ----------
    .. [1] M. Cotogni, J. Bonato, L. Sabetta, F. Pelosin and A. Nicolosi (2023). DUCK:
       Distance-based Unlearning via Centroid Kinematics. arXiv:2312.02052.

    Examples
    --------
    >>> from sklunlearn.metrics import adaptive_unlearning_score
    >>> score = adaptive_unlearning_score(
    ...     forget_accuracy=0.05,
    ...     test_accuracy=0.88,
    ...     original_test_accuracy=0.9,
    ...     request_type="class",
    ... )
    >>> round(score, 6)
    0.933333
    """
    forgotten = check_fraction(forget_accuracy, "forget_accuracy")
    test = check_fraction(test_accuracy, "test_accuracy")
    original = check_fraction(original_test_accuracy, "original_test_accuracy")
    if request_type not in ("class", "rows"):
        raise ValueError(
            f"`request_type` must be 'class' or 'rows', got {request_type!r}: say what was "
            "forgotten."
        )
    delta = forgotten if request_type == "class" else abs(forgotten - test)
    return (1 - (original - test)) / (1 + delta)


def h_mean(*, forget_accuracy, original_forget_accuracy, test_accuracy):
    r"""Harmonic mean of the accuracy lost on a forgotten class and of that kept on the others.

    .. math::
        H = \frac{2 a b}{a + b}, \qquad a = \max(0, A_{of} - A_f), \quad b = A_t

    as such means are used for selective forgetting [1]_ [2]_.

    Parameters
    ----------
    forget_accuracy : float
        :math:`A_f`, of the unlearned network on test rows of the forgotten class.
    original_forget_accuracy : float
        :math:`A_{of}`, of the original network on the same rows.
    test_accuracy : float
        :math:`A_t`, of the unlearned network on test rows of the remaining classes.

    Returns
    -------
    score : float
        From 0 to 1; 0 if nothing was forgotten or nothing was kept. An accuracy that is nan, as
        that of an empty group is, makes it nan.

    Notes
    -----
    Best is the value of a network that was retrained without the class; 1 would take an original
    network without any error. Not meaningful for rows drawn at random: of those the retrained
    network gets most right. The name stands for different components in different papers, so name
    these with the result.

    References
    ----------
    .. [1] T. Shibata, G. Irie, D. Ikami and Y. Mitsuzumi (2021). Learning with Selective
       Forgetting. IJCAI.
    .. [2] J. Ye, Y. Fu, J. Song et al. (2022). Learning with Recoverable Forgetting. ECCV, 87-103.
       arXiv:2207.08224.

    Examples
    --------
    >>> from sklunlearn.metrics import h_mean
    >>> score = h_mean(forget_accuracy=0.05, original_forget_accuracy=0.95, test_accuracy=0.8)
    >>> round(score, 6)
    0.847059
    """
    forgotten = check_fraction(forget_accuracy, "forget_accuracy")
    original = check_fraction(original_forget_accuracy, "original_forget_accuracy")
    kept = check_fraction(test_accuracy, "test_accuracy")
    lost = float(np.maximum(original - forgotten, 0))  # nan stays nan
    if lost == 0 == kept:
        return 0.0
    return 2 * lost * kept / (lost + kept)


def _gaps(scores, reference, name):
    """Distances of the scores from the mean of the reference, each a fraction or nan."""
    scores = check_floats(scores, name, "(n_scores,)", allow_nan=True)
    shapes = "(n_scores,)", "(n_networks, n_scores)"
    reference = check_floats(reference, "reference", *shapes, allow_nan=True)
    if not len(scores):
        raise ValueError(f"`{name}` is empty: pass at least one score.")
    if reference.shape[-1] != len(scores) or not len(reference):
        raise ValueError(
            f"`reference` has shape {reference.shape}, expected ({len(scores)},) or (n_networks, "
            f"{len(scores)}): pass the same scores in the same order as in `{name}`."
        )
    for values, which in [(scores, name), (reference, "reference")]:
        for value in values.flat:
            check_fraction(value, which)
    return np.abs(scores - np.atleast_2d(reference).mean(axis=0))
