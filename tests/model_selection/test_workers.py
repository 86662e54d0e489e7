import os

import torch
from joblib import Parallel, delayed, parallel_config

from sklunlearn.model_selection._workers import one_thread_each


def threads_of_workers(n_jobs):
    return Parallel(n_jobs)(delayed(os.getenv)("OMP_NUM_THREADS") for _ in range(2))


def test_processes_have_one_thread_each(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    with one_thread_each(2) as n_jobs:
        assert n_jobs == 2
        assert threads_of_workers(n_jobs) == ["1", "1"]


def test_threads_share_one_setting_which_is_put_back():
    torch.set_num_threads(2)
    try:
        with parallel_config("threading"), one_thread_each(2) as n_jobs:
            assert n_jobs == 2
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
        with one_thread_each(None) as n_jobs:  # alone, it may take what there is
            assert n_jobs == 1
            assert torch.get_num_threads() == 2
        with parallel_config("threading", n_jobs=3), one_thread_each(None) as n_jobs:
            assert n_jobs == 3
    finally:
        torch.set_num_threads(1)
