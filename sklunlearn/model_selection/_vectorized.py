"""A grid search that trains as one stack the candidates that differ only in numbers."""

import time

from joblib.parallel import get_active_backend
from sklearn import config_context
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, ParameterGrid
from sklearn.model_selection._validation import (
    _fit_and_score,
    _score,
    _warn_or_raise_about_fit_failures,
)
from sklearn.utils import _safe_indexing
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import _check_method_params

from sklunlearn._progress import tqdm
from sklunlearn._stackable import NotStackable, check_stackable, is_number, stackable_params
from sklunlearn._stacked import unlearn_stacked
from sklunlearn._validation import check_X, check_X_y, encode_labels
from sklunlearn.base import BaseUnlearner
from sklunlearn.model_selection._scorers import are_unlearning_scorers, shared_answers
from sklunlearn.requests import check_forget

__all__ = ["StackedCandidates"]


class StackedCandidates(GridSearchCV):
    """A grid search whose results are those of GridSearchCV, from fewer and larger runs.

    Candidates are divided into groups, in each of which they differ in nothing but what
    :func:`sklunlearn._stackable.stackable_params` allows. A group is trained together on each
    split; all others are fitted one by one, by scikit-learn's own means, as are those that fail in
    a group, so that what is said of the failure is the same.

    Attributes
    ----------
    engine_ : pandas.DataFrame
        Of each candidate, "engine" and "reason".
    """

    progress = False

    def fit(self, X, y, *, forget):
        """Fit and score all candidates; fit the best one to all rows."""
        scorer, refit_metric = self._get_scorers()
        routed = self._get_routed_params_for_fit({"forget": forget})
        base = clone(self.estimator)
        candidates = list(ParameterGrid(self.param_grid))
        groups, reasons = _divide(base, candidates)
        self.n_splits_ = len(self.cv)
        # A plain dict goes with each task; see `Candidates`.
        data = (X, y, forget, scorer, {**routed.scorer.score}, self.error_score)
        jobs = [(group, split) for group in groups for split in range(self.n_splits_)]
        outputs = {}
        total = len(candidates) * self.n_splits_
        with tqdm(total=total, unit="fit", disable=not self.progress) as bar:
            found = self._in_parallel(
                delayed(_score_stacked)(
                    base, [candidates[i] for i in group], *self.cv[split], *data
                )
                for group, split in jobs
            )
            for (group, split), (scored, reason) in zip(jobs, found, strict=True):
                for i, output in zip(group, scored, strict=True):
                    if output is None:
                        reasons[i] = reasons[i] or reason
                    else:
                        outputs[i, split] = output
                        bar.update()
            alone = [
                (i, split)
                for i in range(len(candidates))
                for split in range(self.n_splits_)
                if (i, split) not in outputs
            ]
            found = self._in_parallel(
                delayed(_fit_and_score)(
                    clone(base),
                    X,
                    y,
                    scorer=scorer,
                    train=self.cv[split][0],
                    test=self.cv[split][1],
                    verbose=0,
                    parameters=candidates[i],
                    fit_params={**routed.estimator.fit},
                    score_params={**routed.scorer.score},
                    return_n_test_samples=True,
                    return_times=True,
                    error_score=self.error_score,
                )
                for i, split in alone
            )
            for key, output in zip(alone, found, strict=True):
                outputs[key] = output
                bar.update()
        import pandas as pd  # imported here: the package works without it

        together = pd.Series([not reason for reason in reasons])
        self.engine_ = pd.DataFrame(
            {"engine": together.map({True: "vectorized", False: "sequential"}), "reason": reasons}
        )
        ordered = [outputs[key] for key in sorted(outputs)]
        _warn_or_raise_about_fit_failures(ordered, self.error_score)
        self.cv_results_ = self._format_results(candidates, self.n_splits_, ordered)
        self.multimetric_, self.scorer_ = True, scorer._scorers
        self._choose(refit_metric, base, X, y, routed.estimator.fit)
        return self

    def _in_parallel(self, calls):
        # The bar moves as results come, where the backend gives them one by one.
        one_by_one = get_active_backend()[0].supports_return_generator
        return Parallel(self.n_jobs, return_as="generator" if one_by_one else "list")(calls)

    def _choose(self, refit_metric, base, X, y, fit_params):
        if not self.refit:
            return
        results = self.cv_results_
        self.best_index_ = self._select_best_index(self.refit, refit_metric, results)
        if not callable(self.refit):
            self.best_score_ = results[f"mean_test_{refit_metric}"][self.best_index_]
        self.best_params_ = results["params"][self.best_index_]
        best = clone(base).set_params(**clone(self.best_params_, safe=False))
        began = time.time()
        self.best_estimator_ = best.fit(X, y, **fit_params)
        self.refit_time_ = time.time() - began
        if hasattr(best, "feature_names_in_"):
            self.feature_names_in_ = best.feature_names_in_


def _divide(base, candidates):
    """Groups of the positions of candidates to train together, and why each other one is not."""
    reasons = [""] * len(candidates)
    if not isinstance(base, BaseUnlearner):
        reason = f"the unlearner is in a {type(base).__name__}"
        return [], [reason] * len(candidates)
    names = sorted({name for candidate in candidates for name in candidate})
    groups = {}
    for i, candidate in enumerate(candidates):
        unlearner = clone(base).set_params(**clone(candidate, safe=False))
        try:
            check_stackable(unlearner)
            unlearner._validate_params()
        except Exception as error:
            reasons[i] = _describe(error)
            continue
        numbers, before = stackable_params(unlearner)
        values = base.get_params() | candidate
        key = []
        for name in names:
            value = values.get(name)
            if name in numbers and is_number(value):
                key.append((name, value == 0))
            elif name not in before:
                key.append((name, _token(value)))
        groups.setdefault(tuple(key), []).append(i)
    for group in groups.values():
        if len(group) == 1:
            reasons[group[0]] = "no other candidate differs from it only in numbers"
    return [group for group in groups.values() if len(group) > 1], reasons


def _token(value):
    """What is equal for equal values of a parameter, as far as they can be compared."""
    try:
        hash(value)
    except TypeError:
        return id(value)  # a grid holds each value once
    return type(value), value


def _score_stacked(base, candidates, train, test, X, y, forget, scorer, score_params, error_score):
    """Scores of candidates that are trained together, and why some have none (then None)."""
    outputs = [None] * len(candidates)
    first = clone(base).set_params(**clone(candidates[0], safe=False))
    names = set().union(*candidates).intersection(set().union(*stackable_params(first)))
    # In full: candidates of a list of grids need not name the same parameters.
    values = [
        {name: candidate.get(name, getattr(base, name)) for name in names}
        for candidate in candidates
    ]
    X_test, y_test = _safe_indexing(X, test), _safe_indexing(y, test)
    score_params = _check_method_params(X, params=score_params, indices=test)
    # Then it is known what they ask; to route it takes as long as the scores of a small network.
    known = are_unlearning_scorers(scorer._scorers.values())
    try:
        rows, labels = _safe_indexing(X, train), _safe_indexing(y, train)
        first.fit(rows, labels)
        asked = check_X(first, X_test, reset=False) if known else None
        rows, labels = check_X_y(first, rows, labels, reset=False)
        labels = encode_labels(labels, first.classes_)
        marked = check_forget(forget[train], len(labels), allow_all=not first._needs_retain())
        models = unlearn_stacked(first, values, rows, labels, marked, asked)
        for i, model in enumerate(models):
            if model is None:
                continue
            began = time.time()
            with shared_answers(), config_context(enable_metadata_routing=not known):
                scores = _score(model, X_test, y_test, scorer, score_params, error_score)
            outputs[i] = {
                "fit_error": None,
                "test_scores": scores,
                "n_test_samples": len(y_test),
                "fit_time": model.unlearning_time_,
                "score_time": time.time() - began,
            }
    except Exception as error:  # it is raised again, if need be, when each is fitted by itself
        return outputs, _describe(error)
    return outputs, "its run diverged"


def _describe(error):
    text = str(error).strip().splitlines()
    reason = text[0] if text else "no message"
    return reason if isinstance(error, NotStackable) else f"{type(error).__name__}: {reason}"
