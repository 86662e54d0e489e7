"""Searches on a cluster of two processes."""

import itertools
import os
import pickle
import signal

import numpy as np
import pandas as pd
import pytest
from joblib import parallel_config
from joblib.parallel import get_active_backend
from sklearn import config_context
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from skorch.callbacks import Callback

from sklunlearn import FineTuneUnlearner, NegGradUnlearner, compare_unlearners
from sklunlearn.model_selection import (
    ForgetStratifiedKFold,
    TradeoffSearchCV,
    select_knee,
    unlearning_scorers,
)
from sklunlearn.model_selection._workers import recoverable

distributed = pytest.importorskip("distributed", reason="needs sklunlearn[distributed]")
GRID = {"lr": [1e-3, 1e-1]}


@pytest.fixture(scope="module")
def client():
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@pytest.fixture
def task_sizes(client, monkeypatch):
    """Bytes that are sent with each task of joblib; what is sent once counts in none of them."""
    sizes, submit = [], client.submit

    def counting(function, *args, **kwargs):
        if "tasks" in kwargs:
            sizes.append(len(pickle.dumps(kwargs["tasks"])))
        return submit(function, *args, **kwargs)

    monkeypatch.setattr(client, "submit", counting)
    return sizes


class Recorder(Callback):
    """Adds a line to a file, which processes share, for each training."""

    def __init__(self, path):
        self.path = path

    def on_train_begin(self, net, **kwargs):
        with open(self.path, "a") as file:
            file.write("trained\n")


class KillingScorer:
    """Accuracy; some of its calls, counted over all processes, end the worker instead."""

    def __init__(self, folder, calls):
        self.folder, self.calls = folder, calls
        self.caller = os.getpid()  # where joblib computes while there is one worker only

    def __call__(self, estimator, X, y):
        number = next(n for n in itertools.count() if _is_first(self.folder / str(n)))
        if number in self.calls and os.getpid() != self.caller:
            os.kill(os.getpid(), signal.SIGKILL)
        return estimator.score(X, y)


def _is_first(path):
    try:
        path.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def scores(search):
    names = [name for name in search.cv_results_ if name.startswith("split")]
    return np.array([search.cv_results_[name] for name in names])


def wide(X, y):
    """More bytes than what goes with a task for other reasons: 200 KB."""
    return np.tile(X, (160, 1)), np.tile(y, 160)


def test_tradeoff_search_as_in_sequence(client, task_sizes, net, X, y, tmp_path):
    record = tmp_path / "record"
    X, y = wide(X, y)
    unlearner = NegGradUnlearner(
        net.set_params(max_epochs=1, batch_size=2000, callbacks=[Recorder(str(record))]),
        batch_size=2000,
        max_epochs=1,
        random_state=0,
    )
    search = TradeoffSearchCV(unlearner, GRID, cv=2)
    alone = clone(search).fit(X, y, forget=(y == 0))
    record.unlink()
    with parallel_config("dask"):
        together = clone(search).fit(X, y, forget=(y == 0))
        assert not get_active_backend()[0].data_futures
    np.testing.assert_array_equal(scores(together), scores(alone))
    assert together.best_params_ == alone.best_params_
    assert together.original_scores_ == alone.original_scores_
    # Every fold once, also for the four fits to them, and once for the best candidate.
    assert len(record.read_text().split()) == 3
    # With a task go its parameters, and the mask of rows to forget, which is a byte a row: that
    # of the fit, and that of the scores.
    assert len(task_sizes) == 2 + 2 + 4
    assert max(task_sizes) < 2 * len(y) + 10_000 < X.nbytes / 5


def test_grid_search_as_in_sequence(client, net, X, y):
    def search():
        with config_context(enable_metadata_routing=True):
            return GridSearchCV(
                NegGradUnlearner(net, random_state=0),
                GRID,
                scoring=unlearning_scorers(),
                refit=select_knee(),
                cv=ForgetStratifiedKFold(2),
                error_score="raise",
            ).fit(X, y, forget=(y == 0))

    alone = search()
    with parallel_config("dask"):
        together = search()
    np.testing.assert_array_equal(scores(together), scores(alone))


def test_comparison_as_in_sequence(client, task_sizes, net, X, y):
    X, y = wide(X, y)
    net.set_params(max_epochs=1, batch_size=2000)
    methods = {
        "ascent": NegGradUnlearner(net, batch_size=2000, max_epochs=1),
        "fine-tuning": FineTuneUnlearner(net, batch_size=2000, max_epochs=1),
    }

    def frame():
        rows = {"forget": y == 0, "X_test": X[::7].copy(), "y_test": y[::7].copy()}
        found = compare_unlearners(methods, X, y, seeds=2, error_score="raise", **rows)
        return found.drop(columns=["seconds", "speed_up"])

    alone = frame()
    with parallel_config("dask"):
        together = frame()
    pd.testing.assert_frame_equal(together, alone)
    assert 2 + 1 <= len(task_sizes) <= 2 + 4  # joblib sends short tasks together
    assert min(task_sizes) < 20_000
    # A run is given what the retrained network says of the forget rows and of the test rows.
    size = 3 * 8 * (len(y) // 3 + len(y) // 7) + 30_000
    assert sum(task_sizes) < 4 * size + 40_000
    assert size < X.nbytes


def test_workers_that_are_killed(client, net, X, y, tmp_path):
    X, y = np.tile(X, (4, 1)), np.tile(y, 4)  # so much that it is not sent with the tasks

    def search(folder, killed):
        folder.mkdir()
        scoring = {
            "forgetting": unlearning_scorers("forgetting")["forgetting"],
            "retention": KillingScorer(folder, killed),
        }
        unlearner = NegGradUnlearner(net, max_epochs=2, random_state=0)
        return TradeoffSearchCV(unlearner, GRID, scoring=scoring, cv=2).fit(X, y, forget=(y == 0))

    alone = search(tmp_path / "alone", killed=())
    client.wait_for_workers(2)
    before = set(client.run(os.getpid).values())
    # The first calls are of the original networks, those from the third on of candidates.
    with parallel_config("dask"):
        together = search(tmp_path / "together", killed=(0, 3))
    np.testing.assert_array_equal(scores(together), scores(alone))
    client.wait_for_workers(2)
    assert set(client.run(os.getpid).values()) != before


def test_data_that_the_caller_has_scattered_are_left_to_him(client, X):
    with parallel_config("dask", scatter=[X]):
        known = get_active_backend()[0].data_futures
        before = dict(known)
        with recoverable(X, [1.0]):
            assert known == before
        assert known == before
