"""The ways in which a composition makes one network of those of its members."""

from numbers import Integral

import numpy as np

from sklunlearn._ensemble import make_ensemble
from sklunlearn._merge import add_differences, average, find_part_of, graft, is_one_of, recalibrate
from sklunlearn._merge_rows import best_compromise, best_forgetter, best_retainer
from sklunlearn._training import split_pipeline
from sklunlearn.embeddings import find_cut
from sklunlearn.trainable import head_module

__all__ = [
    "METHODS",
    "check_method",
    "check_weights",
    "find_cuts",
    "find_parts",
    "get_weights",
    "vote",
]


def find_cuts(module, cut):
    """Names of the submodules with which the parts of a network begin, in their order.

    Parameters
    ----------
    module : torch.nn.Module
        The network.
    cut : str, int, None or list of these
        As the parameter of a composition.

    Returns
    -------
    cuts : list of str

    Raises
    ------
    ValueError
        If there is no such submodule, one is named twice, or a cut is none of these.
    """
    names = []
    for each in cut if isinstance(cut, list) else [cut]:
        if isinstance(each, str):
            find_cut(module, each)
            names.append(each)
        elif isinstance(each, bool) or not isinstance(each, Integral | None):
            raise ValueError(
                f"cut={cut!r}: each cut must be the name of a submodule, an int (the k-th last "
                f"layer) or None (the last layer), got {each!r}."
            )
        else:
            names.append(head_module(module, 1 if each is None else each)[0])
    if not names or len(set(names)) < len(names):
        raise ValueError(f"cut={cut!r} must name at least one submodule, and each once: {names}.")
    order = [name for name, _ in module.named_modules()]
    return sorted(names, key=order.index)


def get_weights(composition):
    """Weights of the members that are not dropped, float64."""
    used = [member != "drop" for _, member in composition.estimators]
    if composition.weights is None:
        return np.full(sum(used), 1 / sum(used))
    return np.asarray(composition.weights, dtype=np.float64)[used]


def check_method(composition):
    """Raise a ValueError unless the method can do with the members and the parameters."""
    names, method = composition._get_names(), composition.method
    if reserved := sorted({"auto", "merged", "finetuned"}.intersection(names)):
        raise ValueError(
            f"The names {reserved} of members mean something else, as a donor or in `scores_`: "
            "choose others."
        )
    encoder = composition.encoder
    encoder = [encoder] if isinstance(encoder, str) else encoder
    for donor in (*encoder, composition.head) if method == "graft" else ():
        if donor not in ("auto", *names):
            raise ValueError(f"{donor!r} is not a member: name one of {names}, or 'auto'.")
    if method == "interpolate" and len(names) != 2:
        raise ValueError(
            f"method='interpolate' is between two members, got {names}: drop the others."
        )
    if method == "vote" and composition.finetune_epochs:
        raise ValueError(
            "method='vote' has no single network to fine-tune: set finetune_epochs=0, or use "
            "another method."
        )
    check_weights(composition)


def check_weights(composition):
    """Raise a ValueError unless the weights suit the members and the method."""
    weights, method = composition.weights, composition.method
    if weights is None or method in ("graft", "interpolate"):
        return
    n = len(composition.estimators)
    try:
        given = np.asarray(weights, dtype=np.float64)
    except (TypeError, ValueError):  # not numbers, or lists of different lengths
        given = np.empty(0)
    if given.shape != (n,) or not np.isfinite(given).all():
        raise ValueError(
            f"`weights` must be {n} finite numbers, one for each of `estimators`; got {weights!r}."
        )
    used = get_weights(composition)
    with np.errstate(over="ignore"):
        total = abs(used).sum()
    if not np.isfinite(total):
        raise ValueError(f"`weights` add up to more than a float holds: {weights!r}. Scale them.")
    if method != "task_arithmetic" and (used.min() < 0 or used.sum() == 0):
        raise ValueError(
            f"`weights` of method={method!r} must not be negative, nor all 0, got {weights!r}."
        )


def find_parts(composition, net):
    """The cuts of a graft, and what `encoder` says of each part before the last of them."""
    cuts, encoder = find_cuts(net.module_, composition.cut), composition.encoder
    if isinstance(encoder, str):
        encoder = [encoder] * len(cuts)
    if len(encoder) != len(cuts):
        raise ValueError(
            f"`encoder` names {len(encoder)} members for the {len(cuts)} parts before the last "
            f"cut: pass one for each, or one name for all. The cuts are {cuts}."
        )
    find_part_of(net.module_, cuts)  # or an error, before any member runs
    return cuts, encoder


def _graft(composition, nets, rows):
    names = composition._get_names()
    cuts, encoder = find_parts(composition, nets[0])
    head = composition.head
    if "auto" in (head, *encoder):
        scores = {name: rows.scores(net) for name, net in zip(names, nets, strict=True)}
        composition.scores_.update(scores)
        encoder = [best_retainer(scores) if name == "auto" else name for name in encoder]
    if head == "auto":
        head = best_forgetter(scores, composition.forget_target)
    composition.donors_ = [*encoder, head]
    return graft([nets[names.index(name)] for name in composition.donors_], cuts)


def _average(composition, nets, rows):
    weights = get_weights(composition)
    return _recalibrated(composition, average(nets, weights / weights.sum()), nets, rows)


def _task_arithmetic(composition, nets, rows):
    start = split_pipeline(composition.fitted_)[1]
    how = composition.trim, composition.elect_sign
    merged = add_differences(start, nets, get_weights(composition), *how)
    return _recalibrated(composition, merged, nets, rows)


def _interpolate(composition, nets, rows):
    def at(alpha):
        merged = average(nets, [1 - alpha, alpha])
        return _recalibrated(composition, merged, nets, rows)

    alphas = np.linspace(0, 1, composition.n_points)
    scores = [rows.scores(at(alpha)) for alpha in alphas]
    path = {name: np.array([each[name] for each in scores]) for name in scores[0]}
    composition.path_ = {"alpha": alphas, **path}
    alpha = composition.alpha
    if alpha == "auto":
        alpha = alphas[best_compromise(scores, composition.forget_target)]
    return at(alpha)


def _recalibrated(composition, merged, nets, rows):
    # Where the weights are those of a member, so are the statistics that suit them.
    if composition.recalibrate and not is_one_of(merged, nets):
        recalibrate(merged, rows.retain)
    return merged


def vote(composition, members, X):
    """An estimator that gives the weighted mean of the probabilities of fitted members.

    X is at least one row, before any preprocessing.
    """
    preprocessings = [member.preprocessing_ for member in members]
    nets = [member.net_ for member in members]
    weights = get_weights(composition)
    weights = weights / weights.sum()  # so that they suit the precision of the networks
    return make_ensemble(preprocessings, nets, "mean", X, weights.tolist())


METHODS = {
    "graft": _graft,
    "average": _average,
    "task_arithmetic": _task_arithmetic,
    "interpolate": _interpolate,
}
