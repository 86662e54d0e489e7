import os

import joblib
import pytest
import torch
from joblib import Parallel, delayed, parallel_config
from joblib.parallel import get_active_backend

from sklunlearn.model_selection import _workers
from sklunlearn.model_selection._workers import recoverable, share_cores


@pytest.fixture
def six_threads():
    """As on a machine of seven cores where torch may take six."""
    torch.set_num_threads(6)
    yield
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def seven_cores(monkeypatch):
    monkeypatch.setattr(_workers, "cpu_count", lambda: 7)


def threads_of_workers(n_jobs):
    return Parallel(n_jobs)(delayed(threads_here)() for _ in range(2))


def settings_here():
    return os.environ["OMP_NUM_THREADS"], torch.get_num_threads()


def threads_here():
    return os.getpid(), torch.get_num_threads()


def test_processes_divide_the_cores(monkeypatch, six_threads):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    with share_cores(2) as n_jobs:
        assert n_jobs == 2
        found = Parallel(n_jobs)(delayed(settings_here)() for _ in range(2))
    # Of what it is told, torch takes as many as there are cores.
    assert found == [("3", min(3, joblib.cpu_count(only_physical_cores=True)))] * 2


@pytest.mark.parametrize(
    ("n_jobs", "limit", "share"), [(2, 6, 3), (3, 6, 2), (2, 2, 2), (9, 6, 1), (None, 6, 6)]
)
def test_threads_share_one_setting_which_is_put_back(n_jobs, limit, share, six_threads):
    torch.set_num_threads(limit)
    with parallel_config("threading"), share_cores(n_jobs) as n:
        assert n == (n_jobs or 1)
        assert torch.get_num_threads() == share
        found = threads_of_workers(n)
    assert set(found) == {(os.getpid(), share)}
    assert torch.get_num_threads() == limit


def test_number_of_workers_from_the_context(six_threads):
    with parallel_config("threading", n_jobs=3), share_cores(None) as n_jobs:
        assert n_jobs == 3
        assert torch.get_num_threads() == 2


def test_other_backends_have_nothing_to_recover(X):
    before = vars(get_active_backend()[0]).keys()
    with recoverable(X):
        assert vars(get_active_backend()[0]).keys() == before
