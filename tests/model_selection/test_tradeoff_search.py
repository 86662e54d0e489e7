import os
import pickle
import tempfile

import numpy as np
import pandas as pd
import pytest
import torch
from joblib import Memory, parallel_config
from sklearn import config_context, get_config
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.validation import _num_samples
from skorch.callbacks import Callback

from sklunlearn import FineTuneUnlearner, NegGradUnlearner, SISAUnlearner
from sklunlearn.model_selection import (
    ForgetSplit,
    ForgetStratifiedKFold,
    TradeoffSearchCV,
    select_constrained,
    unlearning_scorers,
)
from sklunlearn.networks import MLP

NAMES = ["forgetting", "retention", "membership"]
GRID = {"lr": [1e-6, 0.02], "max_epochs": [1, 3]}


class Recorder(Callback):
    """Puts down in a file, which processes share, of each training how many rows it was given."""

    def __init__(self, path):
        self.path = path

    def on_train_begin(self, net, X=None, **kwargs):
        with open(self.path, "a") as file:
            file.write(f"{len(X)}\n")


@pytest.fixture
def trainings(net, tmp_path):
    """Number of rows of each training of the net so far."""
    path = tmp_path / "trainings"
    path.touch()
    net.set_params(callbacks=[Recorder(str(path))])
    return lambda: [int(line) for line in path.read_text().split()]


@pytest.fixture
def unlearner(trained_net):
    return NegGradUnlearner(FrozenEstimator(trained_net), random_state=0)


@pytest.fixture
def forget(y):
    return y == 0


def means(search):
    return np.column_stack([search.cv_results_[f"mean_test_{name}"] for name in NAMES])


# What it finds


def test_scores_are_those_of_a_grid_search(unlearner, X, y, forget):
    search = TradeoffSearchCV(unlearner, GRID, cv=3).fit(X, y, forget=forget)
    plain = GridSearchCV(
        unlearner,
        GRID,
        scoring=unlearning_scorers(),
        cv=ForgetStratifiedKFold(3),
        refit="forgetting",
        error_score="raise",
    )
    with config_context(enable_metadata_routing=True):
        plain.fit(X, y, forget=forget)
    np.testing.assert_array_equal(means(search), means(plain))
    assert search.cv_results_["params"] == plain.cv_results_["params"]
    assert search.n_splits_ == 3


def test_the_front_by_hand(unlearner, X, y, forget):
    grid = {"lr": [1e-6, 0.003, 0.01, 0.02, 0.1]}
    search = TradeoffSearchCV(unlearner, grid, cv=2).fit(X, y, forget=forget)
    scores = means(search)
    front = [
        not any((b >= a).all() and (b > a).any() for b in scores)  #
        for a in scores
    ]
    assert 1 <= sum(front) < 5
    table = search.pareto_front_
    assert sorted(table.index) == np.flatnonzero(front).tolist()
    assert list(table.columns) == ["lr", *NAMES]
    assert table["forgetting"].is_monotonic_decreasing
    for index, row in table.iterrows():
        assert row["lr"] == grid["lr"][index]
        np.testing.assert_array_equal(row[NAMES].to_numpy(float), scores[index])
    assert search.best_index_ in table.index
    assert search.best_params_ == {"lr": grid["lr"][search.best_index_]}


def test_the_best_candidate_is_fitted_to_all_rows(unlearner, X, y, forget):
    search = TradeoffSearchCV(unlearner, GRID, cv=3).fit(X, y, forget=forget)
    again = clone(unlearner).set_params(**search.best_params_).fit(X, y, forget=forget)
    np.testing.assert_array_equal(search.predict_proba(X), again.predict_proba(X))
    assert search.score(X, y) == accuracy_score(y, again.predict(X))
    np.testing.assert_array_equal(search.classes_, [0, 1, 2])
    assert search.n_features_in_ == 4
    assert search.best_estimator_.memory is None


def test_the_scores_of_the_original(unlearner, trained_net, X, y, forget):
    search = TradeoffSearchCV(unlearner, GRID, cv=3).fit(X, y, forget=forget)
    right, expected = trained_net.predict(X) == y, []
    loss = -np.log(trained_net.predict_proba(X)[np.arange(75), y].astype(float))
    for train, test in ForgetStratifiedKFold(3).split(X, y, forget=forget):
        members, others = loss[train][forget[train]], loss[test][forget[test]]
        auc = np.mean(members[:, None] < others) + np.mean(members[:, None] == others) / 2
        marked = forget[test]
        scores = 1 - right[test][marked].mean(), right[test][~marked].mean(), 1 - 2 * abs(auc - 0.5)
        expected.append(scores)
    assert list(search.original_scores_) == NAMES
    np.testing.assert_allclose(
        list(search.original_scores_.values()), np.mean(expected, axis=0), atol=1e-9
    )


@pytest.mark.parametrize(
    ("of_class", "cv", "expected"),
    [
        (True, None, ForgetStratifiedKFold(5)),
        (True, 2, ForgetStratifiedKFold(2)),
        (False, None, ForgetSplit(3, random_state=0)),
        (False, 2, ForgetSplit(2, random_state=0)),
    ],
)
def test_the_splits_follow_the_request(unlearner, X, y, of_class, cv, expected):
    forget = y == 0 if of_class else np.arange(75) % 5 == 0
    search = TradeoffSearchCV(unlearner, {"lr": [0.01]}, cv=cv).fit(X, y, forget=forget)
    assert {scorer.seen for scorer in search.scorer_.values()} == {not of_class}
    same = TradeoffSearchCV(
        unlearner,
        {"lr": [0.01]},
        cv=list(expected.split(X, y, forget=forget)),
        scoring=unlearning_scorers(seen=not of_class),
    ).fit(X, y, forget=forget)
    np.testing.assert_array_equal(means(search), means(same))
    assert search.n_splits_ == expected.n_splits


def test_indices_frames_and_lists(unlearner, X, y, forget):
    plain = TradeoffSearchCV(unlearner, GRID, cv=2).fit(X, y, forget=forget)
    for data, labels, rows in (
        (X, y, np.flatnonzero(forget)),
        (X.tolist(), y.tolist(), forget.tolist()),
        (pd.DataFrame(X, columns=list("abcd")), pd.Series(y), pd.Series(forget)),
    ):
        search = TradeoffSearchCV(unlearner, GRID, cv=2).fit(data, labels, forget=rows)
        np.testing.assert_array_equal(means(search), means(plain))
    assert list(search.feature_names_in_) == list("abcd")


def test_it_is_deterministic_and_leaves_the_settings_alone(net, X, y, forget):
    unlearner = NegGradUnlearner(net, random_state=0)
    search = TradeoffSearchCV(unlearner, GRID, cv=2)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = clone(search).fit(X, y, forget=forget)
    assert torch.equal(torch.get_rng_state(), before)
    assert not get_config()["enable_metadata_routing"]
    second = clone(search).fit(X, y, forget=forget)
    np.testing.assert_array_equal(means(first), means(second))
    assert first.estimator is not unlearner
    assert first.estimator.memory is None
    restored = pickle.loads(pickle.dumps(second))
    np.testing.assert_array_equal(restored.predict_proba(X), first.predict_proba(X))
    pd.testing.assert_frame_equal(restored.pareto_front_, first.pareto_front_)


# Other rules and scores


def test_refit_takes_a_rule_a_name_or_false(unlearner, X, y, forget):
    def fit(refit, **kwargs):
        search = TradeoffSearchCV(unlearner, GRID, cv=2, refit=refit, **kwargs)
        return search.fit(X, y, forget=forget)

    gentle = fit(select_constrained(min_retain=0.7))
    assert means(gentle)[gentle.best_index_, 1] >= 0.7
    by_name = fit("retention")
    assert by_name.best_index_ == means(by_name)[:, 1].argmax()
    assert by_name.best_score_ == means(by_name)[:, 1].max()
    none = fit(False)
    assert len(none.pareto_front_) >= 1
    assert not hasattr(none, "best_estimator_")
    assert not hasattr(none, "predict")
    none = by_name.set_params(refit=False).fit(X, y, forget=forget)
    assert not hasattr(none, "best_estimator_"), "what an earlier fit left is gone"


def test_scores_of_ones_own(unlearner, X, y, forget):
    scoring = {**unlearning_scorers("forgetting"), "accuracy": "accuracy"}
    search = TradeoffSearchCV(unlearner, GRID, cv=2, scoring=scoring, refit="accuracy")
    search.fit(X, y, forget=forget)
    assert list(search.pareto_front_.columns) == ["lr", "max_epochs", "forgetting", "accuracy"]
    assert set(search.original_scores_) == {"forgetting", "accuracy"}


def test_a_candidate_that_fails_can_have_nan(unlearner, X, y, forget):
    grid = {"lr": [0.02, -1.0]}
    with pytest.raises(ValueError, match="'lr' parameter"):
        TradeoffSearchCV(unlearner, grid, cv=2).fit(X, y, forget=forget)
    search = TradeoffSearchCV(unlearner, grid, cv=2, error_score=np.nan)
    with pytest.warns(Warning, match="fits failed|non-finite"):
        search.fit(X, y, forget=forget)
    assert search.best_index_ == 0
    assert search.pareto_front_.index.tolist() == [0]


# How often the network is trained


def test_the_network_is_trained_once_a_fold(net, trainings, X, y, forget):
    tempfile.tempdir = os.path.dirname(net.callbacks[0].path)
    try:
        search = TradeoffSearchCV(NegGradUnlearner(net, random_state=0), GRID, cv=3)
        search.fit(X, y, forget=forget)
        left = [name for name in os.listdir(tempfile.tempdir) if name.startswith("sklunlearn-")]
    finally:
        tempfile.tempdir = None
    assert sorted(trainings()) == [50, 50, 50, 75]  # the folds, and all rows at the end
    assert not left, "the temporary folder is removed"


def test_a_method_that_has_no_memory_trains_its_network_for_every_candidate(net, trainings, X, y):
    class Small(NegGradUnlearner):
        def __init__(self, estimator=None, *, lr=0.01, random_state=None):
            super().__init__(estimator, lr=lr, max_epochs=1, random_state=random_state)

    grid = {"lr": [1e-6, 0.02]}
    search = TradeoffSearchCV(Small(net, random_state=0), grid, cv=3).fit(X, y, forget=(y == 0))
    # In three folds the original and two candidates, and all rows at the end.
    assert sorted(trainings()) == [50] * 9 + [75]
    expected = TradeoffSearchCV(NegGradUnlearner(net, max_epochs=1, random_state=0), grid, cv=3)
    np.testing.assert_array_equal(means(search), means(expected.fit(X, y, forget=(y == 0))))


def test_with_two_workers_and_nested_parameters_in_a_pipeline(net, trainings, X, y, forget):
    grid = {"unlearn__lr": [0.02, 0.1], "unlearn__max_epochs": [2, 5]}
    pipeline = make_pipeline(StandardScaler(), NegGradUnlearner(net, random_state=0))
    pipeline.steps[1] = ("unlearn", pipeline[1])
    alone = TradeoffSearchCV(pipeline, grid, cv=3).fit(X, y, forget=forget)
    assert sorted(trainings()) == [50, 50, 50, 75]
    together = TradeoffSearchCV(pipeline, grid, cv=3, n_jobs=2).fit(X, y, forget=forget)
    assert sorted(trainings()) == [50, 50, 50, 50, 50, 50, 75, 75]
    np.testing.assert_allclose(means(together), means(alone), atol=1e-6)
    assert together.best_params_ == alone.best_params_
    assert together.best_estimator_[-1].memory is None


def test_two_workers_and_a_network_that_they_cannot_import(net, trainings, X, y, forget):
    class Local(MLP):  # as if from a notebook
        pass

    net.set_params(module=Local)
    search = TradeoffSearchCV(NegGradUnlearner(net, random_state=0), GRID, cv=3, n_jobs=2)
    search.fit(X, y, forget=forget)
    assert sorted(trainings()) == [50, 50, 50, 75]
    assert type(search.best_estimator_.net_.module_) is Local


def test_threads_as_workers(net, trainings, X, y, forget):
    search = TradeoffSearchCV(NegGradUnlearner(net, random_state=0), GRID, cv=2)
    alone = clone(search).fit(X, y, forget=forget)
    n_trained = len(trainings())
    with parallel_config("threading"):
        search.set_params(n_jobs=2).fit(X, y, forget=forget)
    assert len(trainings()) == n_trained + 3
    # Threads share torch's random state: they take turns in drawing from it.
    for name in ("forgetting", "retention", "membership"):
        found = [s.cv_results_[f"mean_test_{name}"] for s in (alone, search)]
        np.testing.assert_array_equal(*found)


def test_parameters_of_the_network_itself(net, trainings, X, y, forget):
    grid = {"estimator__lr": [0.05, 0.01], "lr": [0.001, 0.01, 0.02]}
    search = TradeoffSearchCV(NegGradUnlearner(net, random_state=0), grid, cv=2)
    search.fit(X, y, forget=forget)
    # Each of two learning rates in two folds; the first is that of the original.
    assert len(trainings()) == 2 * 2 + 1
    assert set(search.best_params_) == set(grid)


def test_a_cache_of_ones_own(net, trainings, X, y, forget, tmp_path):
    paths = str(tmp_path / "search"), str(tmp_path / "unlearner")
    search = TradeoffSearchCV(NegGradUnlearner(net, random_state=0), GRID, cv=3, memory=paths[0])
    for _ in range(2):
        search.fit(X, y, forget=forget)
    assert len(trainings()) == 4
    assert search.best_estimator_.memory is None
    memory = Memory(paths[1], verbose=0)
    search.set_params(estimator__memory=memory).fit(X, y, forget=forget)
    assert len(trainings()) == 8
    assert search.best_estimator_.memory.location == paths[1]


@pytest.mark.filterwarnings("ignore:The original network dominates")
def test_rows_that_there_is_nothing_to_compare_with(unlearner, X, y, forget):
    assert not np.isin(y[~forget], y[forget]).any()
    forget = forget | (np.arange(len(y)) % 7 == 0)
    n_alone = np.sum(forget & ~np.isin(y, y[~forget]))
    search = TradeoffSearchCV(unlearner, {"lr": [1e-3]})
    with pytest.warns(UserWarning, match=f"{n_alone} of {forget.sum()} rows") as caught:
        search.fit(X, y, forget=forget)
    assert caught[0].filename == __file__


@pytest.mark.filterwarnings("ignore:The original network dominates")
def test_an_unlearner_from_the_grid_keeps_its_memory(unlearner, X, y, forget, tmp_path):
    own = clone(unlearner).set_params(memory=str(tmp_path))
    search = TradeoffSearchCV(make_pipeline(unlearner), {"neggradunlearner": [own]}, cv=2)
    search.fit(X, y, forget=forget)
    assert search.best_estimator_[-1].memory == str(tmp_path)


def test_other_unlearners(net, X, y):
    unlearner = SISAUnlearner(net.set_params(max_epochs=2), n_shards=2, random_state=0)
    search = TradeoffSearchCV(unlearner, {"n_slices": [1, 2]}, cv=2)
    search.fit(X, y, forget=np.arange(75) % 5 == 0)
    assert np.isfinite(means(search)).all()


# The verdict


def fake(candidates):
    """Scores of candidates, by their learning rate; the original has not forgotten."""

    def scorer(i):
        def score(estimator, X, y):
            if not estimator.records_:
                return candidates[0][i]
            return candidates[round(estimator.lr)][i]

        return score

    return {"retention": scorer(0), "forgetting": scorer(1)}


@pytest.mark.parametrize(
    ("candidates", "verdict"),
    [
        # The first pair is that of the original.
        ([(0.9, 0.0), (0.9, 0.9), (0.9, 0.5)], "One candidate of 2 is as good as all others"),
        ([(0.9, 0.0), (0.9, 0.8), (0.8, 0.9)], "No candidate is best in every score: 2 of 2"),
        ([(0.9, 0.2), (0.8, 0.2), (0.7, 0.9)], "2 are on the front.* dominates 1 candidate"),
    ],
)
def test_the_verdict(unlearner, X, y, forget, candidates, verdict, capsys):
    unlearner.set_params(max_epochs=0)
    grid = {"lr": [1.0, 2.0]}
    search = TradeoffSearchCV(unlearner, grid, cv=2, scoring=fake(candidates))
    search.fit(X, y, forget=forget)
    assert pd.Series([search.verdict_]).str.contains(verdict.replace("2 are", "2 of 2 are"))[0]
    assert search.original_scores_ == dict(
        zip(["retention", "forgetting"], candidates[0], strict=True)
    )
    assert capsys.readouterr() == ("", "")


def test_when_the_original_dominates_all_a_warning_says_so(unlearner, X, y, forget):
    candidates = [(0.9, 0.9), (0.9, 0.8), (0.8, 0.9)]
    search = TradeoffSearchCV(unlearner, {"lr": [1.0, 2.0]}, cv=2, scoring=fake(candidates))
    search.estimator.set_params(max_epochs=0)
    with pytest.warns(UserWarning, match="original network dominates all 2 candidates") as caught:
        search.fit(X, y, forget=forget)
    assert [warning.filename for warning in caught] == [__file__]
    assert "None of these parameters is of use" in search.verdict_


def test_verbose_shows_a_bar_and_the_verdict(unlearner, X, y, forget, capsys):
    search = TradeoffSearchCV(unlearner, GRID, cv=2, verbose=1).fit(X, y, forget=forget)
    quiet = TradeoffSearchCV(unlearner, GRID, cv=2).fit(X, y, forget=forget)
    printed = capsys.readouterr()
    assert "4/4" in printed.err
    assert printed.out == search.verdict_ + "\n"
    np.testing.assert_array_equal(means(search), means(quiet))


# Inside other tools


def test_it_can_be_cross_validated_and_end_a_pipeline(unlearner, X, y, forget):
    search = TradeoffSearchCV(unlearner, {"lr": [0.01, 0.02]}, cv=2)
    pipeline = make_pipeline(StandardScaler(), search)
    with config_context(enable_metadata_routing=True):
        scores = cross_validate(
            pipeline,
            X,
            y,
            params={"forget": forget},
            cv=ForgetStratifiedKFold(2),
            scoring=unlearning_scorers(),
            return_estimator=True,
            error_score="raise",
        )
    for train_rows, fitted in zip((37, 38), scores["estimator"], strict=True):
        record = fitted[-1].best_estimator_.records_[0]
        assert record["n_forget"] + record["n_retain"] == train_rows
    assert np.isfinite(scores["test_membership"]).all()
    pipeline.fit(X, y, tradeoffsearchcv__forget=forget)
    assert pipeline.set_params(tradeoffsearchcv__n_jobs=1).score(X, y) <= 1


class Checked(TradeoffSearchCV):
    """For scikit-learn's checks, which know nothing of `forget`: every fourth row."""

    __metadata_request__fit = {"forget": True}

    def fit(self, X, y=None, forget=None):
        if forget is None:
            forget = np.arange(_num_samples(X)) % 4 == 0
        return super().fit(X, y, forget=forget)


CHECKED = Checked(
    FineTuneUnlearner(max_epochs=1, random_state=0),
    {"lr": [0.01]},
    cv=ForgetSplit(1, random_state=0),
    scoring=unlearning_scorers("retention", seen=True),
    refit="retention",
)


# Bad input

ROWS = np.random.default_rng(0).normal(size=(40, 4))
Y = np.arange(40) // 10
FORGET = Y == 0
FITTED = LogisticRegression().fit(ROWS, Y % 3)


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        ({"estimator": LogisticRegression()}, TypeError, "LogisticRegression, which holds none"),
        ({"estimator": "boundary"}, ValueError, "'estimator' parameter"),
        ({"param_grid": {"speed": [1]}}, ValueError, "'speed'"),
        ({"param_grid": {"lr": []}}, ValueError, "lr"),
        ({"param_grid": 3}, TypeError, "grid"),
        ({"scoring": "accuracy"}, ValueError, "'scoring' parameter"),
        ({"scoring": {}}, ValueError, "`scoring` is empty"),
        ({"scoring": {"forgetting": "forgetting"}}, ValueError, "'forgetting'"),
        (
            {"scoring": unlearning_scorers("forgetting")},
            ValueError,
            r"needs the scores \['retention'\]",
        ),
        ({"cv": 1}, ValueError, "'cv' parameter"),
        ({"cv": "five"}, ValueError, "'cv' parameter"),
        ({"cv": []}, ValueError, "no split"),
        ({"cv": [(range(10, 30), range(10))]}, ValueError, "trains on no row to forget"),
        ({"cv": [(range(40), range(20)), (range(5, 40), range(20))]}, ValueError, "some were not"),
        ({"refit": "best"}, ValueError, "best"),
        ({"refit": True}, ValueError, "refit"),
        ({"n_jobs": 1.5}, ValueError, "'n_jobs' parameter"),
        ({"memory": 3}, ValueError, "'memory' parameter"),
        ({"verbose": "yes"}, ValueError, "'verbose' parameter"),
        ({"error_score": "ignore"}, ValueError, "'error_score' parameter"),
    ],
)
def test_bad_parameters_are_refused(trained_net, params, error, message):
    unlearner = FineTuneUnlearner(FrozenEstimator(trained_net), max_epochs=1, random_state=0)
    search = TradeoffSearchCV(unlearner, {"lr": [0.01]}, cv=2).set_params(**params)
    with pytest.raises(error, match=message):
        search.fit(ROWS, Y % 3, forget=Y % 3 == 0)
    with pytest.raises((NotFittedError, AttributeError)):
        search.predict(ROWS)


@pytest.mark.parametrize(
    ("y", "forget", "error", "message"),
    [
        (None, FORGET, ValueError, "requires y to be passed"),
        (Y, None, TypeError, "`forget` is required"),
        (Y, np.zeros(40, bool), ValueError, "marks no row"),
        (Y, np.ones(40, bool), ValueError, "no retain rows are left"),
        (Y, FORGET[:5], ValueError, "mask of 5 rows"),
        (Y, FORGET.astype(float), TypeError, "dtype float64"),
        (Y[:5], FORGET, ValueError, "inconsistent numbers of samples"),
    ],
)
def test_bad_data_are_refused(unlearner, y, forget, error, message):
    search = TradeoffSearchCV(unlearner, {"lr": [0.01]}, cv=2)
    with pytest.raises(error, match=message):
        search.fit(ROWS, y, forget=forget)


def test_ordinary_folds_do_not_suit_rows_of_every_class(unlearner, X, y):
    forget = np.arange(75) % 5 == 0
    search = TradeoffSearchCV(unlearner, {"lr": [0.01]}, cv=ForgetStratifiedKFold(2))
    with pytest.raises(ValueError, match=r"scoring=unlearning_scorers\(target=...\)"):
        search.fit(X, y, forget=forget)
    search.set_params(scoring=unlearning_scorers(target=0.9)).fit(X, y, forget=forget)
    assert search.n_splits_ == 2


@parametrize_with_checks([CHECKED])
def test_passes_every_check_of_scikit_learn(estimator, check):
    check(estimator)
