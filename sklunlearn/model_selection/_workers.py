"""Processes that train side by side without taking each other's cores."""

import contextlib

import torch
from joblib import effective_n_jobs, parallel_config
from joblib.parallel import get_active_backend

__all__ = ["one_thread_each"]


@contextlib.contextmanager
def one_thread_each(n_jobs):
    """Context in which joblib's workers use one thread of torch each.

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
    if n_jobs == 1:
        yield n_jobs
    elif getattr(get_active_backend()[0], "supports_inner_max_num_threads", False):
        # Torch asks the environment of the new process.
        with parallel_config("loky", n_jobs=n_jobs, inner_max_num_threads=1):
            yield n_jobs
    else:  # workers that are threads of this process
        n_threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield n_jobs
        finally:
            torch.set_num_threads(n_threads)
