"""A grid search that weighs forgetting against retaining."""

import contextlib
import itertools
import tempfile
import warnings
from numbers import Integral

import numpy as np
from sklearn import config_context
from sklearn.base import BaseEstimator, _fit_context, clone
from sklearn.metrics import accuracy_score, get_scorer
from sklearn.model_selection import GridSearchCV
from sklearn.model_selection import check_cv as check_sklearn_cv
from sklearn.utils import indexable
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.metadata_routing import get_routing_for_object
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import column_or_1d

from sklunlearn.base import BaseUnlearner
from sklunlearn.metrics import pareto_front
from sklunlearn.model_selection._cache import NetworkCache
from sklunlearn.model_selection._candidates import Candidates, check_candidates, memory_paths
from sklunlearn.model_selection._original import judge, score_original
from sklunlearn.model_selection._scorers import unlearning_scorers
from sklunlearn.model_selection._selection import select_knee
from sklunlearn.model_selection._split import ForgetSplit, ForgetStratifiedKFold
from sklunlearn.model_selection._vectorized import StackedCandidates
from sklunlearn.model_selection._workers import recoverable, share_cores
from sklunlearn.requests import check_forget

__all__ = ["TradeoffSearchCV"]


class TradeoffSearchCV(GridSearchCV):
    """Grid search that scores forgetting, retention and membership and chooses a compromise.

    It is a :class:`sklearn.model_selection.GridSearchCV` that turns metadata routing on for itself,
    trains the network to forget from once a fold, also where workers share a fold, compares with
    this original network, and keeps all candidates that no other one dominates.

    Parameters
    ----------
    estimator : unlearner, or Pipeline that ends in one
        What is fitted, with `forget`, to each fold.
    param_grid : dict or list of dict
        Values to try for each parameter, as in GridSearchCV.
    scoring : dict of scorers or None, default=None
        Scores, each the greater the better: all are objectives of the front. None:
        :func:`unlearning_scorers` of its default names, and `seen` where that is what the splits
        do.
    cv : int, splitter, iterable of (train, test) or None, default=None
        Splits. None or the number of splits: :class:`ForgetStratifiedKFold` where `forget` marks
        whole classes, else :class:`ForgetSplit` with ``random_state=0``. None means 5 or 3 splits.
    refit : "knee", str, callable or False, default="knee"
        How the best candidate is chosen, to be fitted to all rows: "knee" is
        :func:`select_knee`; otherwise the name of a score to maximise, or a rule such as
        :func:`select_constrained`. False: none is chosen.
    n_jobs : int or None, default=None
        Number of workers, which divide the cores of this machine. A backend such as dask, set with
        :func:`joblib.parallel_config`, has its own number.
    engine : {"sequential", "vectorized"}, default="sequential"
        How candidates are trained. "vectorized": those that differ only in numbers that a method's
        steps read (`lr`, weights of losses, settings of the optimizer) or in what it reads before
        them (such as `noise`) as one stack of networks; the others one by one. See Notes.
    memory : str, object with the joblib.Memory interface or None, default=None
        Caches original networks, for unlearners that have no `memory` of their own, unless they
        are values in `param_grid` themselves. None: a temporary folder, removed at the end, with
        everything that was trained on rows to forget.
    verbose : int, default=0
        1 and more: a progress bar, and `verdict_` at the end.
    error_score : "raise" or float, default="raise"
        Score of a candidate that fails.

    Attributes
    ----------
    best_estimator_ : estimator
        The best candidate, fitted to all rows with `forget`. Its `memory` is that of `estimator`.
    best_params_ : dict
        Its parameters.
    best_index_ : int
        Its row in `cv_results_`.
    cv_results_ : dict of ndarray
        As of GridSearchCV: ``mean_test_forgetting``, ``param_lr`` and so on.
    pareto_front_ : pandas.DataFrame
        The candidates that no other one dominates: parameters and mean scores. The index is the
        row in `cv_results_`.
    original_scores_ : dict of float
        Mean scores of the original network of `estimator`, from before the unlearning.
    verdict_ : str
        In words: whether one candidate is best in all scores, and which ones the original network
        dominates. If it dominates all, a warning says so.
    engine_ : pandas.DataFrame
        Of each row in `cv_results_`, which "engine" trained it, and the "reason" where it was the
        sequential one. Only with ``engine="vectorized"``.
    scorer_ : dict of callable
        The scorers.
    n_splits_ : int
        Number of splits.
    refit_time_ : float
        Seconds of the last fit.
    classes_, n_features_in_, feature_names_in_
        Those of `best_estimator_`.

    See Also
    --------
    unlearning_scorers : The scores, and what they cannot see.

    Notes
    -----
    Each candidate has chance in its scores: with few rows to forget, much of the front may be due
    to it. The chosen candidate has been looked for, so that its scores are flattering; judge it
    on other rows.

    With ``engine="vectorized"`` the networks of many candidates take their steps together, on the
    batches and with the draws that each would have alone. On digits, with 48 candidates in 3 folds,
    it took 4.5 times less time of the processor for layers of 64 and 64 and batches of 64, 8.2
    times less for a layer of 32 and batches of 16, 1.8 times less with 12 candidates of a network
    of 8 and 16 convolutions; probabilities differed by less than 5e-5 (in other runs with AdamW by
    up to 1e-3, and without bounds where the loss ascends in large steps). As many candidates make a
    stack as hold 2**26 numbers, four for each weight and one for each value that a layer gives out
    for ``2 * batch_size`` rows; they judge the test rows together where what they say of them is no
    more numbers either. Candidates are trained one by one where `engine_` says why: among others
    with callbacks or `stop_accuracy`, BatchNorm that is trained, dropout, a net with a
    `train_step`, `infer` or `get_loss` of its own, layers that draw from the random state of NumPy
    or Python, weights that have no part in the loss, another optimizer than SGD, Adam or AdamW, and
    methods that do not declare what their steps read.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklunlearn import NegGradUnlearner
    >>> from sklunlearn.model_selection import TradeoffSearchCV
    >>> X, y = load_iris(return_X_y=True)
    >>> grid = {"lr": [1e-7, 1e-2], "max_epochs": [1, 10]}
    >>> search = TradeoffSearchCV(NegGradUnlearner(random_state=0), grid, cv=2)
    >>> search = search.fit(X, y, forget=(y == 0))
    >>> search.best_params_["lr"], round(search.original_scores_["forgetting"], 2)
    (0.01, 0.02)
    """

    __metadata_request__fit = {"forget": True}

    _parameter_constraints = {
        **GridSearchCV._parameter_constraints,
        "scoring": [dict, None],
        "engine": [StrOptions({"sequential", "vectorized"})],
        "memory": BaseUnlearner._parameter_constraints["memory"],
    }
    del _parameter_constraints["pre_dispatch"], _parameter_constraints["return_train_score"]

    def __init__(
        self,
        estimator,
        param_grid,
        *,
        scoring=None,
        cv=None,
        refit="knee",
        n_jobs=None,
        engine="sequential",
        memory=None,
        verbose=0,
        error_score="raise",
    ):
        self.estimator = estimator
        self.param_grid = param_grid
        self.scoring = scoring
        self.cv = cv
        self.refit = refit
        self.n_jobs = n_jobs
        self.engine = engine
        self.memory = memory
        self.verbose = verbose
        self.error_score = error_score

    def get_metadata_routing(self):
        """Requests of this object: `fit` asks for `forget`, and hands it on itself."""
        return BaseEstimator.get_metadata_routing(self)

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y=None, *, forget=None):
        """Fit and score all candidates; fit the best one to all rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...)
            Training data. Not a Dataset, which cannot be divided into folds.
        y : array-like of shape (n_samples,)
            Class labels.
        forget : array-like of shape (n_samples,), dtype bool, or of row indices
            Which rows to forget.

        Returns
        -------
        self : object
            Fitted search.

        Raises
        ------
        TypeError
            If `estimator` holds no unlearner, or `forget` is missing or has a wrong type.
        ValueError
            If a parameter, `X`, `y` or `forget` is not valid, a candidate fails and `error_score`
            is "raise", or no candidate can be chosen.

        Warns
        -----
        UserWarning
            If the original network dominates all candidates, or there are no held-out rows to
            compare some of the rows to forget with.
        """
        paths = memory_paths(self.estimator)
        if y is None:
            raise ValueError(
                f"This {type(self).__name__} estimator requires y to be passed, but the target y "
                "is None."
            )
        X, y = indexable(X, column_or_1d(y, warn=True))
        if len(y) == 1:
            raise ValueError("Found n_samples=1: a search needs rows to train on and to test on.")
        forget = check_forget(forget, len(y), allow_all=False)
        check_candidates(self.estimator, self.param_grid)
        with (
            config_context(enable_metadata_routing=True),
            share_cores(self.n_jobs) as n_jobs,
            self._cache() as memory,
            contextlib.ExitStack() as stack,
        ):
            splits = list(_make_splits(self.cv, X, y, forget))
            if not splits:
                raise ValueError("`cv` gives no split: pass at least one pair (train, test).")
            stack.enter_context(recoverable(X, y, forget, *itertools.chain(*splits)))
            scorers = self._make_scorers(splits, y, forget)
            estimator = clone(self.estimator)
            params = estimator.get_params()
            # A method of the user's own may not name `memory` among its parameters.
            unset = [path for path in paths if params.get(path, path) is None]
            estimator.set_params(**dict.fromkeys(unset, memory))
            if unset and isinstance(memory, NetworkCache):
                memory.warn_if_unseen(n_jobs)
            # First, so that afterwards every fold finds its original network in the cache.
            originals = Parallel(n_jobs=n_jobs)(
                delayed(score_original)(clone(estimator), scorers, X, y, forget, train, test)
                for train, test in splits
            )
            kind = StackedCandidates if self.engine == "vectorized" else Candidates
            search = kind(
                estimator,
                self.param_grid,
                scoring=scorers,
                cv=splits,
                refit=select_knee() if self.refit == "knee" else self.refit,
                n_jobs=n_jobs,
                error_score=self.error_score,
            )
            search.progress = bool(self.verbose)
            search.fit(X, y, forget=forget)
        if hasattr(search, "best_estimator_"):
            # An unlearner that came from the grid keeps a memory of its own.
            owners = {path: path.removesuffix("__memory") for path in unset}
            given = set(search.best_params_)
            ours = [path for path, owner in owners.items() if not {path, owner} & given]
            search.best_estimator_.set_params(**dict.fromkeys(ours, None))
        self._keep(search, {name: np.mean([o[name] for o in originals]) for name in scorers})
        return self

    def score(self, X, y=None):
        """Accuracy of the best candidate, as of any classifier.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...)
            Rows to classify.
        y : array-like of shape (n_samples,)
            Their labels.

        Returns
        -------
        accuracy : float
        """
        return accuracy_score(y, self.predict(X))

    @contextlib.contextmanager
    def _cache(self):
        if self.memory is not None:
            yield self.memory
        else:
            with tempfile.TemporaryDirectory(prefix="sklunlearn-") as folder:
                yield NetworkCache(folder)

    def _make_scorers(self, splits, y, forget):
        if self.scoring is not None:
            if not self.scoring:
                raise ValueError("`scoring` is empty: name at least one scorer, or pass None.")
            return {name: get_scorer(scorer) for name, scorer in self.scoring.items()}
        tested = [test[forget[test]] for _, test in splits]
        seen = [np.isin(rows, train) for rows, (train, _) in zip(tested, splits, strict=True)]
        seen = np.concatenate(seen)
        if seen.any() != seen.all():
            raise ValueError(
                "In these splits, some of the tested rows to forget were trained on and some were "
                "not: a score of both would mean nothing. Pass `cv=ForgetSplit()` or "
                "`cv=ForgetStratifiedKFold()`."
            )
        if not seen.any() and not _are_whole_classes(y, forget):
            raise ValueError(
                "`forget` marks rows of classes that are retained too, and the splits test other "
                "such rows than those trained on: what accuracy on them is right depends on the "
                "request. Leave `cv` to its default, ForgetSplit, or pass "
                "`scoring=unlearning_scorers(target=...)` or one with a `reference`."
            )
        alone = forget & ~np.isin(y, y[~forget])
        if seen.any() and alone.any():
            warnings.warn(
                f"{alone.sum()} of {forget.sum()} rows to forget are of classes of which no row is "
                "retained, so that there is none to compare them with: 'forgetting' and "
                "'membership' are about the others only. Pass `scoring=unlearning_scorers(seen="
                "True, target=...)`, or one with a `reference`.",
                UserWarning,
                stacklevel=4,
            )
        return unlearning_scorers(seen=bool(seen.any()))

    def _keep(self, search, original_scores):
        import pandas as pd  # imported here: the rest of the package works without it

        for name in (
            "cv_results_",
            "best_index_",
            "best_params_",
            "best_score_",
            "best_estimator_",
            "refit_time_",
            "feature_names_in_",
            "n_splits_",
            "scorer_",
            "multimetric_",
            "engine_",
        ):
            if hasattr(self, name):  # of an earlier fit
                delattr(self, name)
            if hasattr(search, name):
                setattr(self, name, getattr(search, name))
        names = list(search.scorer_)
        results = search.cv_results_
        table = pd.DataFrame(results["params"]).assign(
            **{name: results[f"mean_test_{name}"] for name in names}
        )
        scores = table[names].to_numpy(float)
        held = ~np.isnan(scores).any(axis=1)
        front = held.copy()
        front[held] = pareto_front(scores[held]) if held.any() else False
        self.pareto_front_ = table[front].sort_values(names[0], ascending=False, kind="stable")
        self.original_scores_ = {name: float(value) for name, value in original_scores.items()}
        original = np.array(list(self.original_scores_.values()))
        self.verdict_, hopeless = judge(scores[held], front[held], original)
        if hopeless:
            # Past `fit` and the wrapper that validates the parameters.
            warnings.warn(self.verdict_, UserWarning, stacklevel=4)
        if self.verbose:
            print(self.verdict_)


def _are_whole_classes(y, forget):
    return not np.isin(y[~forget], y[forget]).any()


def _make_splits(cv, X, y, forget):
    if isinstance(cv, Integral | None) and not isinstance(cv, bool):
        if _are_whole_classes(y, forget):
            cv = ForgetStratifiedKFold(5 if cv is None else cv)
        else:
            cv = ForgetSplit(3 if cv is None else cv, random_state=0)
    cv = check_sklearn_cv(cv)
    asks = get_routing_for_object(cv).consumes("split", ["forget"])
    for train, test in cv.split(X, y, **dict.fromkeys(asks, forget)):
        train, test = np.arange(len(y))[train], np.arange(len(y))[test]
        if not forget[train].any():
            raise ValueError(
                "A split trains on no row to forget: use fewer splits, ForgetStratifiedKFold or "
                "ForgetSplit."
            )
        yield train, test
