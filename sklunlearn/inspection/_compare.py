"""Several methods on the same request, over several seeds."""

import copy
import numbers
import warnings
from dataclasses import dataclass, replace

import numpy as np
from sklearn.base import clone
from sklearn.exceptions import FitFailedWarning
from sklearn.frozen import FrozenEstimator
from sklearn.utils import Bunch
from sklearn.utils.parallel import Parallel, delayed

from sklunlearn._training import hash_of
from sklunlearn.base import BaseUnlearner
from sklunlearn.inspection._judged_rows import (
    codes_of,
    forgotten_classes,
    matched_rows,
    outputs_of,
    unseen_of_forgotten,
)
from sklunlearn.metrics import forget_accuracy, js_divergence, membership_auc, speed_up
from sklunlearn.metrics._checks import check_integer
from sklunlearn.model_selection._workers import recoverable, share_cores
from sklunlearn.requests import check_forget
from sklunlearn.unlearners import RetrainUnlearner, SISAUnlearner

__all__ = ["compare_unlearners"]

# Methods that are not given the shared network, as they train others, or train it anew.
_TRAIN_THEIR_OWN = (SISAUnlearner, RetrainUnlearner)
_FIGURES = [
    "forget_accuracy",
    "forget_accuracy_test",
    "retain_accuracy",
    "test_accuracy",
    "membership_auc",
]
_SCORES = [
    *_FIGURES,
    *[f"gap_{name}" for name in _FIGURES],
    "js_forget",
    "js_test",
    "seconds",
    "speed_up",
]


def compare_unlearners(
    unlearners,
    X,
    y=None,
    *,
    forget,
    X_test,
    y_test=None,
    forget_test=None,
    seeds=(0, 1, 2),
    n_jobs=None,
    error_score=np.nan,
    verbose=0,
):
    """Run several methods on the same request, over several seeds, beside retraining.

    For each seed one network is trained and one is retrained without the rows; all methods start
    from the first and are compared with the second.

    Parameters
    ----------
    unlearners : dict of str to BaseUnlearner
        The methods by name. They are not changed. Those with an equal `estimator` share the
        trained network; a `SISAUnlearner` trains its own.
    X : array-like of shape (n_samples, ...) or torch.utils.data.Dataset yielding (x, y)
        Rows to forget and rows to retain.
    y : array-like of shape (n_samples,), default=None
        Class labels. May be left out for a Dataset.
    forget : array-like of shape (n_samples,), dtype bool, or of row indices
        Which rows to forget.
    X_test, y_test : array-like or torch Dataset, array-like of shape (n_test,)
        Rows that no network is trained on, and their labels.
    forget_test : array-like of shape (n_test,), dtype bool, or of row indices, default=None
        Which test rows are of what was forgotten, such as other images of a retired device. The
        membership attack compares the forget rows with these only. None: those of the classes
        that were forgotten, and for the attack test rows of the same classes as the forget rows,
        whatever else they are.
    seeds : int or sequence of int, default=(0, 1, 2)
        The `random_state` of training, retraining and method, one after the other. An int: so
        many, from 0.
    n_jobs : int, default=None
        Number of processes, which divide the cores of this machine. Durations are those of a busy
        machine then. None: 1, unless in a :func:`joblib.parallel_config` context.
    error_score : "raise" or float, default=np.nan
        What the scores of a method are that raises an error; the error is in the column "error",
        and there is a warning. "raise": the error is raised.
    verbose : int, default=0
        Verbosity of :class:`joblib.Parallel`.

    Returns
    -------
    frame : pandas.DataFrame
        A row for each "method" and "seed", with "forget_accuracy", "forget_accuracy_test" (test
        rows that `forget_test` marks, or else those of the classes that are forgotten as a whole),
        "retain_accuracy" and "test_accuracy" (the other test rows); "membership_auc", of the
        losses of forget rows and of unseen rows with the same shares of the classes; each minus
        that of the retrained network, ``"gap_..."``; "js_forget" and "js_test", the JS divergence
        from it in bits; "seconds", "speed_up" and "error". What there are no rows for is nan.

        The first two methods are the anchors to read the others by. "original" is the network
        before the request. "retrained" is the reference: its own gaps and divergences are those
        from the retrained networks of the other seeds, their mean, so that they tell how far two
        retrained networks are apart. They are nan if there is one seed.

    Raises
    ------
    TypeError, ValueError
        If a parameter is not valid.

    Warns
    -----
    FitFailedWarning
        If a method raised an error.

    See Also
    --------
    unlearning_report : One unlearner, with intervals and a verdict.

    Notes
    -----
    A `RetrainUnlearner` among the methods trains with another seed than the reference, which has
    the same parameters otherwise. The training of methods that train their own is not timed, only
    the request is.

    A network in a FrozenEstimator is taken as it is: seeds are then those of the retraining and
    of the methods.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklunlearn import BoundaryUnlearner, FineTuneUnlearner, compare_unlearners
    >>> X, y = load_iris(return_X_y=True)
    >>> frame = compare_unlearners(
    ...     {"boundary": BoundaryUnlearner(), "fine-tuning": FineTuneUnlearner()},
    ...     X[::2], y[::2], forget=(y[::2] == 2), X_test=X[1::2], y_test=y[1::2], seeds=1,
    ... )
    >>> frame["method"].tolist()
    ['original', 'retrained', 'boundary', 'fine-tuning']
    """
    import pandas as pd

    seeds = _check_arguments(unlearners, seeds, error_score)
    # Each an argument of its own: dask sends an argument once, what it holds with every task.
    data = X, y, forget, X_test, y_test, forget_test
    # By value: nets with equal parameters are one, though made one by one.
    keys = {name: _key(unlearner.estimator) for name, unlearner in unlearners.items()}
    estimators = {keys[name]: unlearner.estimator for name, unlearner in unlearners.items()}
    jobs = [(key, seed) for key in estimators for seed in seeds]
    runs = [(name, seed) for name in unlearners for seed in seeds]
    with share_cores(n_jobs) as n_jobs, recoverable(*data):
        parallel = Parallel(n_jobs=n_jobs, verbose=verbose)
        prepared = parallel(delayed(_prepare)(estimators[key], seed, *data) for key, seed in jobs)
        prepared = dict(zip(jobs, prepared, strict=True))
        # Of the two networks' outputs, a run is only compared with those of the retrained one.
        start = {job: replace(found, original=None) for job, found in prepared.items()}
        results = parallel(
            delayed(_run)(
                clone(unlearners[name]), seed, start[keys[name], seed], error_score, *data
            )
            for name, seed in runs
        )
    rows = []
    for i, key in enumerate(estimators):
        of_seeds = {seed: prepared[key, seed] for seed in seeds}
        for method in ("original", "retrained"):
            name = method if len(estimators) == 1 else f"{method} {i + 1}"
            for seed in seeds:
                rows.append((name, seed, *_anchor(method, seed, of_seeds), None))
    for (name, seed), (scores, error) in zip(runs, results, strict=True):
        rows.append((name, seed, *scores, error))
    frame = pd.DataFrame(rows, columns=["method", "seed", *_SCORES, "error"])
    if (failed := frame["error"].notna()).any():
        warnings.warn(
            f"{failed.sum()} of {len(runs)} runs failed and have the score {error_score}; the "
            f"first with: {frame.loc[failed, 'error'].iloc[0]} All are in the column 'error'.",
            FitFailedWarning,
            stacklevel=2,
        )
    return frame


def _check_arguments(unlearners, seeds, error_score):
    if not isinstance(unlearners, dict) or not unlearners:
        raise TypeError(
            "`unlearners` must be a dict of names to unlearners, such as "
            f"{{'boundary': BoundaryUnlearner()}}, got {unlearners!r}."
        )
    for name, unlearner in unlearners.items():
        if not isinstance(name, str) or not isinstance(unlearner, BaseUnlearner):
            raise TypeError(
                f"`unlearners` must map names to unlearners, got {name!r}: {unlearner!r}."
            )
        if name.split()[:1] in (["original"], ["retrained"]):
            raise ValueError(f"The name {name!r} is taken by an anchor: choose another.")
    if error_score != "raise" and (
        isinstance(error_score, str | bool) or not isinstance(error_score, numbers.Real)
    ):
        raise TypeError(f"`error_score` must be 'raise' or a number, got {error_score!r}.")
    if isinstance(seeds, numbers.Integral):
        check_integer(seeds, "seeds", 1)
        seeds = range(seeds)
    seeds = list(seeds)
    for seed in seeds:
        check_integer(seed, "seeds", 0)
    if not seeds or len(set(seeds)) < len(seeds):
        raise ValueError(f"`seeds` must be one or more seeds, each of them once, got {seeds}.")
    return seeds


def _key(estimator):
    # A frozen one is fitted, and may be equal in its parameters to one that is not.
    return id(estimator) if isinstance(estimator, FrozenEstimator) else hash_of(estimator)


@dataclass
class _Prepared:
    """A trained network, and what it and the retrained one say of the rows."""

    fitted: object
    original: Bunch | None
    retrained: Bunch
    seconds: float


def _prepare(estimator, seed, X, y, forget, X_test, y_test, forget_test):
    """Train and retrain one network; outputs of both."""
    retrained = RetrainUnlearner(estimator, random_state=seed).fit(X, y)
    fitted = retrained.fitted_
    original = _outputs(retrained, X, y, forget, X_test, y_test, forget_test)
    retrained.unlearn(X, y, forget=forget)
    outputs = _outputs(retrained, X, y, forget, X_test, y_test, forget_test)
    return _Prepared(fitted, original, outputs, retrained.unlearning_time_)


def _run(unlearner, seed, prepared, error_score, X, y, forget, X_test, y_test, forget_test):
    """Scores of one method, and what it raised."""
    try:
        if not isinstance(unlearner, _TRAIN_THEIR_OWN):
            # A copy: a method that changed the network would spoil the comparison for others.
            unlearner.set_params(estimator=FrozenEstimator(copy.deepcopy(prepared.fitted)))
        # The same seed would give the reference again.
        own = isinstance(unlearner, RetrainUnlearner)
        unlearner.set_params(random_state=seed + 1_000_003 * own)
        unlearner.fit(X, y).unlearn(X, y, forget=forget)
        outputs = _outputs(unlearner, X, y, forget, X_test, y_test, forget_test)
        return _scores(outputs, [prepared], unlearner.unlearning_time_), None
    except Exception as error:  # whatever it is: the others are still to be compared
        if error_score == "raise":
            raise
        text = " ".join(f"{type(error).__name__}: {error}".split())
        return [error_score] * len(_SCORES), text


def _anchor(method, seed, prepared):
    of_seed = prepared[seed]
    if method == "original":
        return _scores(of_seed.original, [of_seed], None)
    others = [other for s, other in prepared.items() if s != seed]
    return _scores(of_seed.retrained, others, of_seed.seconds)


def _outputs(unlearner, X, y, forget, X_test, y_test, forget_test):
    """Labels and groups of the rows, and the probabilities that a network gives them."""
    train, train_losses = outputs_of(unlearner, X, y)
    test, test_losses = outputs_of(unlearner, X_test, y_test)
    y, y_test = codes_of(unlearner, X, y), codes_of(unlearner, X_test, y_test)
    forget = check_forget(forget, len(y))
    gone = forgotten_classes(y, forget)
    gone = unseen_of_forgotten(forget_test, y_test, gone, unlearner.classes_)
    groups = [(y, train, forget), (y_test, test, gone), (y, train, ~forget), (y_test, test, ~gone)]
    accuracies = [
        forget_accuracy(of, proba.argmax(axis=1), forget=rows) if rows.any() else np.nan
        for of, proba, rows in groups
    ]
    # Drawn anew from one seed: all networks are asked of the same rows.
    eligible = None if forget_test is None else gone
    members, others = matched_rows(y, forget, y_test, np.random.default_rng(0), eligible)
    auc = np.nan
    if len(members) and len(others):
        auc = membership_auc(train_losses[members], test_losses[others])
    return Bunch(figures=np.array([*accuracies, auc]), forget=train[forget], test=test)


def _scores(outputs, references, seconds):
    """Scores in the order of the columns, against the mean of the references."""
    gaps, distances, ratio = np.full(len(_FIGURES), np.nan), [np.nan, np.nan], np.nan
    if references:
        gaps = outputs.figures - np.mean([r.retrained.figures for r in references], axis=0)
        distances = [
            np.mean([js_divergence(outputs[rows], r.retrained[rows]) for r in references])
            for rows in ("forget", "test")
        ]
    if seconds is not None and references:
        ratio = speed_up(seconds, [r.seconds for r in references])
    seconds = np.nan if seconds is None else seconds
    return [*outputs.figures, *gaps, *distances, seconds, ratio]
