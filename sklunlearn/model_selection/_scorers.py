"""Scorers that ask how much was forgotten, what was retained, and who can tell."""

import contextlib
import warnings
from contextvars import ContextVar
from numbers import Real

import numpy as np
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.pipeline import Pipeline
from sklearn.utils.metadata_routing import MetadataRequest

from sklunlearn.metrics import (
    cross_entropy_per_row,
    js_divergence,
    membership_auc,
    prediction_agreement,
)
from sklunlearn.requests import check_forget

__all__ = ["are_unlearning_scorers", "find_unlearner", "shared_answers", "unlearning_scorers"]

# What single precision, of which probabilities are, can still tell from a probability of 0.
_LARGEST_LOSS = 80.0

_shared = ContextVar("_shared", default=None)


def unlearning_scorers(
    names=("forgetting", "retention", "membership"), *, seen=False, target=None, reference=None
):
    r"""Scorers for the `scoring` parameter of scikit-learn's tools; in each, greater is better.

    They request `forget`, so that with metadata routing on it reaches them, as it reaches `fit`.
    All scores are at most 1.

    ==============  ===========================================================================
    name            score, of the test rows
    ==============  ===========================================================================
    "forgetting"    :math:`1 - |a - a^*|`, with the accuracy :math:`a` on forget rows
    "retention"     accuracy on retain rows
    "membership"    :math:`1 - |A - A^*| / \max(A^*, 1 - A^*)`, with the AUC :math:`A` of the attack
                    that takes rows of low loss for rows trained on; :math:`1 - 2|A - 1/2|` where
                    :math:`A^* = 1/2`
    "agreement"     share of the forget rows predicted as by the reference
    "js"            1 - Jensen-Shannon divergence from the reference in bits, on forget rows
    ==============  ===========================================================================

    Parameters
    ----------
    names : str or sequence of str, default=("forgetting", "retention", "membership")
        Which scores. "agreement" and "js" need a `reference`.
    seen : bool, default=False
        Whether the forget rows of the test data were trained on, and so were the ones that were
        to be forgotten, as under :class:`ForgetSplit`; the retain rows are then the held-out rows.
        False: they are rows of the same kind that were not, as in ordinary folds.
    target : float or None, default=None
        :math:`a^*`, the accuracy on forget rows that is right. None: that of the reference; without
        one, 0 (a forgotten class is never predicted), or with `seen` the accuracy on held-out
        rows, with the classes in the shares that they have among the forget rows.
    reference : fitted classifier or None, default=None
        An unlearner, or another model, that was trained without the forget rows.

    Returns
    -------
    scorers : dict of callable
        Of each name, a scorer ``scorer(estimator, X, y, forget=mask)``. `estimator` is an unlearner
        that was fitted with `forget`, or a Pipeline or search that holds one.

    Raises
    ------
    TypeError, ValueError
        If a name is unknown, an argument has a wrong type or value, or a reference is missing.

    See Also
    --------
    TradeoffSearchCV : A search that uses them and turns routing on for itself.

    Notes
    -----
    "membership" compares rows of one kind. Without `seen`, the losses of the forget rows that
    were trained on, `forget_loss_` of the unlearner, with those of the forget rows of the test
    data: both are random parts of the request, so that :math:`A^* = 1/2` holds also where
    retraining would leave a high loss. With `seen`, the forget rows of the test data with held-out
    rows of the same class, class by class; so does "forgetting" where these set what is right.
    Forget rows of classes without a held-out row are then left out. A reference supplies
    :math:`A^*`; for "membership" it must have been trained on neither the forget rows nor the
    held-out rows.

    The score cannot see everything. The original network, too, can have a good one, when it
    generalises well: read it only together with "forgetting". Losses above 80 nats count as equal,
    as single precision cannot tell their probabilities from 0; so do those below exp(-80).

    Where a group is empty, say a fold without a row to forget, the score is nan, with a warning.

    Examples
    --------
    >>> from sklearn import config_context
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.model_selection import cross_validate
    >>> from sklunlearn import BoundaryUnlearner
    >>> from sklunlearn.model_selection import unlearning_scorers
    >>> X, y = load_iris(return_X_y=True)
    >>> with config_context(enable_metadata_routing=True):
    ...     scores = cross_validate(
    ...         BoundaryUnlearner(random_state=0), X, y, params={"forget": y == 0}, cv=2,
    ...         scoring=unlearning_scorers(), error_score="raise",
    ...     )
    >>> {name: len(values) for name, values in scores.items() if name.startswith("test")}
    {'test_forgetting': 2, 'test_retention': 2, 'test_membership': 2}
    """
    names = [names] if isinstance(names, str) else list(names)
    if not names:
        raise ValueError(f"`names` is empty: pass some of {sorted(_SCORES)}.")
    if unknown := [name for name in names if not isinstance(name, str) or name not in _SCORES]:
        raise ValueError(f"`names` holds {unknown}, expected some of {sorted(_SCORES)}.")
    if not isinstance(seen, bool | np.bool_):
        raise TypeError(f"`seen` must be True or False, got {seen!r}.")
    if target is not None:
        if isinstance(target, bool) or not isinstance(target, Real):
            raise TypeError(f"`target` must be an accuracy from 0 to 1 or None, got {target!r}.")
        if not 0 <= target <= 1:
            raise ValueError(f"`target` must be an accuracy from 0 to 1 or None, got {target!r}.")
    if reference is None:
        if needing := [name for name in names if name in ("agreement", "js")]:
            raise ValueError(
                f"{needing} compare with a retrained network: pass `reference`, for example a "
                "RetrainUnlearner fitted with `forget`."
            )
    elif not hasattr(reference, "predict_proba") or not hasattr(reference, "classes_"):
        raise TypeError(
            f"`reference` must be a fitted classifier with predict_proba, got {reference!r}: fit "
            "it first."
        )
    return {name: _UnlearningScorer(name, bool(seen), target, reference) for name in names}


class _UnlearningScorer:
    """One score of :func:`unlearning_scorers`, in the form that scikit-learn calls."""

    def __init__(self, name, seen, target, reference):
        self.name = name
        self.seen = seen
        self.target = target
        self.reference = reference

    def __repr__(self):
        return f"<unlearning scorer {self.name!r}>"

    def get_metadata_routing(self):
        """Request `forget`, which scikit-learn passes only to scorers that say so."""
        request = MetadataRequest(owner=self)
        request.score.add_request(param="forget", alias=True)
        return request

    def __call__(self, estimator, X, y_true, *, forget=None):
        if forget is None:
            raise TypeError(
                f"The scorer {self.name!r} was called without `forget`. In model selection turn "
                "metadata routing on, `sklearn.set_config(enable_metadata_routing=True)`, and pass "
                "`forget=mask` to `fit` of the search, or `params={'forget': mask}` to "
                "`cross_validate`."
            )
        y = np.asarray(y_true)
        forget = np.asarray(forget)
        # That no row is to be forgotten is not wrong here, only undefined.
        if forget.shape != y.shape or forget.dtype != bool or forget.any():
            forget = check_forget(forget, len(y))
        return float(_SCORES[self.name](self, _answers_of(estimator, X, y_true), X, forget))


class _Answers:
    """What a fitted model says of rows."""

    def __init__(self, model, X, y, classes=None):
        self.model, self.y = model, np.asarray(y)
        self.proba = np.asarray(model.predict_proba(X))
        self.classes = np.asarray(model.classes_)
        if classes is not None:
            self._align(classes)
        self.labels = self.classes[self.proba.argmax(axis=1)]
        self.correct = self.labels == self.y

    def loss(self, rows=slice(None)):
        loss = cross_entropy_per_row(self.y[rows], self.proba[rows], labels=self.classes)
        return _bounded(loss)

    def _align(self, classes):
        """Put the columns in the order of another model, with zeros for classes never seen."""
        known = self.classes.tolist()
        if extra := sorted(set(known) - set(classes.tolist()), key=str):
            raise ValueError(
                f"The reference predicts the classes {extra}, which the estimator does not have: "
                "train both on the same classes."
            )
        column = {label: i for i, label in enumerate(known)}
        aligned = np.zeros((len(self.proba), len(classes)))
        for i, label in enumerate(classes.tolist()):
            if label in column:
                aligned[:, i] = self.proba[:, column[label]]
        self.proba, self.classes = aligned, classes


@contextlib.contextmanager
def shared_answers():
    """Context of the scores of one model, which is asked only once what it says of the same X."""
    token = _shared.set({})
    try:
        yield
    finally:
        _shared.reset(token)


def _answers_of(*asked):
    """The answers of a model, from the context if they are known: see `_Answers`."""
    known = _shared.get()
    if known is None:
        return _Answers(*asked)
    key = tuple(map(id, asked))
    if key not in known:  # with what was asked, so that no other gets its identity
        known[key] = asked, _Answers(*asked)
    return known[key][1]


def _forgetting(scorer, answers, X, forget):
    if not forget.any():
        return _undefined("forgetting", "no row to forget")
    accuracy, correct = answers.correct[forget].mean(), answers.correct
    if scorer.target is not None:
        target = scorer.target
    elif scorer.reference is not None:
        target = _of_reference(scorer, answers, X).correct[forget].mean()
    elif scorer.seen:
        gaps = _by_class(
            answers.y, forget, lambda seen, unseen: correct[seen].mean() - correct[unseen].mean()
        )
        if not gaps:
            return _undefined("forgetting", "no held-out row of the classes to forget")
        return 1 - abs(np.average(*gaps))
    else:
        target = 0.0
    return 1 - abs(accuracy - target)


def _retention(scorer, answers, X, forget):
    if forget.all():
        return _undefined("retention", "no row to retain")
    return answers.correct[~forget].mean()


def _membership(scorer, answers, X, forget):
    if not forget.any():
        return _undefined("membership", "no row to forget")
    auc = _auc(scorer, answers, forget)
    if auc is None:
        return _undefined("membership", "no held-out row of the classes to forget")
    best = 0.5
    if scorer.reference is not None:
        best = _auc(scorer, _of_reference(scorer, answers, X), forget)
    return 1 - abs(auc - best) / max(best, 1 - best)


def _agreement(scorer, answers, X, forget):
    if not forget.any():
        return _undefined("agreement", "no row to forget")
    reference = _of_reference(scorer, answers, X)
    return prediction_agreement(answers.labels[forget], reference.labels[forget])


def _js(scorer, answers, X, forget):
    if not forget.any():
        return _undefined("js", "no row to forget")
    reference = _of_reference(scorer, answers, X)
    return 1 - js_divergence(answers.proba[forget], reference.proba[forget])


_SCORES = {
    "forgetting": _forgetting,
    "retention": _retention,
    "membership": _membership,
    "agreement": _agreement,
    "js": _js,
}


def _undefined(name, missing):
    warnings.warn(
        f"{name} is nan: the test data hold {missing}. Split with ForgetStratifiedKFold or "
        "ForgetSplit, in fewer folds if need be.",
        UndefinedMetricWarning,
        stacklevel=4,
    )
    return np.nan


def _of_reference(scorer, answers, X):
    return _answers_of(scorer.reference, X, answers.y, answers.classes)


def _auc(scorer, answers, forget):
    """AUC of the attack; None if there is nothing to compare with."""
    if not scorer.seen:
        return membership_auc(_forget_loss(answers.model), answers.loss(forget))
    loss = answers.loss()
    per_class = _by_class(
        answers.y, forget, lambda seen, unseen: membership_auc(loss[seen], loss[unseen])
    )
    return np.average(*per_class) if per_class else None


def _by_class(y, forget, function):
    """Values for the classes that have both kinds of rows, and weights: their forget rows."""
    values, weights = [], []
    for label in np.unique(y[forget]):
        seen, unseen = forget & (y == label), ~forget & (y == label)
        if unseen.any():
            values.append(function(seen, unseen))
            weights.append(seen.sum())
    return (values, None, weights) if values else None


def _forget_loss(model):
    """Losses of the rows that were trained on and forgotten."""
    unlearner = find_unlearner(model)
    if not hasattr(unlearner, "forget_loss_"):
        raise ValueError(
            "'membership' needs the losses of the forgotten rows, `forget_loss_`, which "
            f"{type(unlearner).__name__} does not have: fit an unlearner with `forget`, or use "
            "seen=True with ForgetSplit."
        )
    return _bounded(unlearner.forget_loss_)


def _bounded(loss):
    """Losses of which none tells apart what single precision rounds to 0 or to 1."""
    return np.clip(loss, np.exp(-_LARGEST_LOSS), _LARGEST_LOSS)


def are_unlearning_scorers(scorers):
    """Whether all are of :func:`unlearning_scorers`.

    They ask for `forget`, and of a model for `classes_`, `predict_proba` and `forget_loss_`.
    """
    return all(isinstance(scorer, _UnlearningScorer) for scorer in scorers)


def find_unlearner(model):
    """What forgets in a fitted model: itself, the end of a Pipeline, the best of a search."""
    while True:
        if isinstance(model, Pipeline):
            model = model[-1]
        elif hasattr(model, "best_estimator_"):
            model = model.best_estimator_
        else:
            return model
