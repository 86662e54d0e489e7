"""The network from before the unlearning, as what all candidates are compared with."""

import numpy as np
from sklearn.utils import _safe_indexing
from sklearn.utils.metadata_routing import get_routing_for_object

from sklunlearn.metrics import cross_entropy_per_row
from sklunlearn.model_selection._scorers import find_unlearner

__all__ = ["judge", "score_original"]


def score_original(estimator, scorers, X, y, forget, train, test):
    """Scores of the network from before the unlearning, which goes into the cache."""
    X_train, y_train = _safe_indexing(X, train), _safe_indexing(y, train)
    estimator.fit(X_train, y_train)
    known = train[forget[train]]
    find_unlearner(estimator).forget_loss_ = cross_entropy_per_row(
        np.asarray(_safe_indexing(y, known)),
        estimator.predict_proba(_safe_indexing(X, known)),
        labels=estimator.classes_,
    )
    scores = {}
    for name, scorer in scorers.items():
        asks = get_routing_for_object(scorer).consumes("score", ["forget"])
        rows = _safe_indexing(X, test), _safe_indexing(y, test)
        scores[name] = scorer(estimator, *rows, **dict.fromkeys(asks, forget[test]))
    return scores


def judge(scores, front, original):
    """The verdict on the candidates, and whether it is that none is of use."""
    if not len(scores):
        return "No candidate has all scores: each has one of nan.", False
    n = len(scores)
    dominated = (original >= scores).all(axis=1) & (original > scores).any(axis=1)
    if dominated.all():
        which = "the only candidate" if n == 1 else f"all {n} candidates"
        return (
            f"The original network dominates {which}: it is as good in every score and better in "
            "one. None of these parameters is of use."
        ), True
    if len(np.unique(scores[front], axis=0)) == 1:
        verdict = f"One candidate of {n} is as good as all others in every score, or better."
    else:
        verdict = (
            f"No candidate is best in every score: {front.sum()} of {n} are on the front, and the "
            "choice among them is a compromise."
        )
    if dominated.any():
        verdict += f" The original network dominates {dominated.sum()} candidates."
    return verdict, False
