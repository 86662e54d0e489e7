"""The candidates of a search, fitted one by one."""

from joblib import effective_n_jobs
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, ParameterGrid

from sklunlearn._progress import tqdm
from sklunlearn.base import BaseUnlearner

__all__ = ["Candidates", "check_candidates", "memory_paths"]


class Candidates(GridSearchCV):
    """A grid search with a progress bar."""

    progress = False

    def __getstate__(self):
        # scikit-learn sends the search with each task, which has its rows and its estimator.
        return {**self.get_params(deep=False), "cv": None, "estimator": None}

    def _get_routed_params_for_fit(self, params):
        # As plain dicts they go with each task. Others joblib gives to one worker of dask, and
        # with the worker they would be gone.
        routed = super()._get_routed_params_for_fit(params)
        routed.estimator["fit"] = {**routed.estimator["fit"]}
        routed.scorer["score"] = {**routed.scorer["score"]}
        return routed

    def _run_search(self, evaluate_candidates):
        candidates = list(ParameterGrid(self.param_grid))
        # Without a bar all at once. Otherwise every worker has as many fits as there are splits,
        # so that none waits for the others for long.
        size = effective_n_jobs(self.n_jobs) if self.progress else len(candidates)
        with tqdm(total=len(candidates), unit="candidate", disable=not self.progress) as bar:
            for start in range(0, len(candidates), size):
                chunk = candidates[start : start + size]
                evaluate_candidates(chunk)
                bar.update(len(chunk))


def memory_paths(estimator):
    """Names of the `memory` parameters of the unlearners in an estimator."""
    if isinstance(estimator, BaseUnlearner):
        return ["memory"]
    named = getattr(estimator, "get_params", dict)().items()
    paths = [f"{name}__memory" for name, value in named if isinstance(value, BaseUnlearner)]
    if not paths:
        raise TypeError(
            f"`estimator` must be an unlearner or hold one, as a Pipeline does, got "
            f"{type(estimator).__name__}, which holds none. See sklunlearn.all_unlearners()."
        )
    return paths


def check_candidates(estimator, param_grid):
    """Raise before anything is trained if a parameter does not exist."""
    for params in ParameterGrid(param_grid):
        clone(estimator).set_params(**clone(params, safe=False))
