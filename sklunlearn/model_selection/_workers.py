"""Processes that train side by side without taking each other's cores."""

import contextlib
import warnings

import torch
from joblib import cpu_count, effective_n_jobs, parallel_config
from joblib.parallel import get_active_backend
from torch.utils.data import Dataset

__all__ = ["recoverable", "share_cores"]


@contextlib.contextmanager
def share_cores(n_jobs):
    """Context in which joblib's workers divide the cores of this machine among their torches.

    Workers elsewhere, as those of dask are, have the threads that their own set-up gives them.

    Parameters
    ----------
    n_jobs : int or None
        As in joblib.

    Yields
    ------
    n_jobs : int
        How many workers there are; with one, nothing is limited.
    """
    n_jobs = effective_n_jobs(n_jobs)
    share = max(1, cpu_count() // n_jobs)
    if n_jobs == 1:
        yield n_jobs
    elif getattr(get_active_backend()[0], "supports_inner_max_num_threads", False):
        # Torch asks the environment of the new process, which joblib would leave as it is here.
        with parallel_config("loky", n_jobs=n_jobs, inner_max_num_threads=share):
            yield n_jobs
    else:  # workers that are threads of this process, or forked from it
        n_threads = torch.get_num_threads()
        torch.set_num_threads(min(share, n_threads))
        try:
            yield n_jobs
        finally:
            torch.set_num_threads(n_threads)


@contextlib.contextmanager
def recoverable(*data):
    """Context in which tasks of dask can be repeated after the loss of the worker that had data.

    joblib gives arrays to one worker, from where the others fetch them: with that worker, the
    arrays are gone and all tasks that need them fail. Here they are results of tasks instead,
    which the scheduler can repeat, as it can all others. With other backends nothing is done.

    Parameters
    ----------
    *data : objects
        Arguments of the tasks to come; the same objects, as they are known by their identity.
    """
    backend = get_active_backend()[0]
    known = getattr(backend, "data_futures", None)
    if known is None:
        yield
        return
    added = {}
    with warnings.catch_warnings():
        # That the data are large is why they are sent once, and not with each task.
        warnings.filterwarnings("ignore", "Sending large graph", category=UserWarning)
        for each in data:
            is_data = hasattr(each, "__array__") or isinstance(each, Dataset)
            if is_data and id(each) not in known:
                added[id(each)] = backend.client.submit(_same, each, pure=False)
    known.update(added)
    try:
        yield
    finally:
        for key in added:
            del known[key]


def _same(data):
    return data
