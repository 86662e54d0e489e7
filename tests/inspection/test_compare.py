import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.spatial.distance import jensenshannon
from sklearn.exceptions import FitFailedWarning
from sklearn.frozen import FrozenEstimator

import sklunlearn._training
from sklunlearn import (
    BoundaryUnlearner,
    FineTuneUnlearner,
    RetrainUnlearner,
    SISAUnlearner,
    UNSIRUnlearner,
    compare_unlearners,
)


@pytest.fixture
def net(unlearner):
    return unlearner.estimator


@pytest.fixture
def compare(flowers, unseen):
    X, y, forget = flowers

    def compare(unlearners, **options):
        arguments = {"forget": forget, "X_test": unseen[0], "y_test": unseen[1], "seeds": 1}
        return compare_unlearners(unlearners, X, y, **arguments | options)

    return compare


def test_numbers_are_those_of_runs_by_hand(net, flowers, unseen, compare):
    X, y, forget = flowers
    X_test, y_test = unseen
    gone = y_test == "virginica"
    frame = compare({"boundary": BoundaryUnlearner(net, max_epochs=3)}, seeds=[4, 7])
    assert frame["method"].tolist() == [
        m for m in ("original", "retrained", "boundary") for _ in "12"
    ]
    assert frame["seed"].tolist() == [4, 7] * 3
    assert frame["error"].isna().all()
    accuracy, proba = {}, {}
    for seed in (4, 7):
        trained = RetrainUnlearner(net, random_state=seed).fit(X, y)
        boundary = BoundaryUnlearner(
            FrozenEstimator(trained.fitted_), max_epochs=3, random_state=seed
        ).fit(X, y, forget=forget)
        original = RetrainUnlearner(FrozenEstimator(trained.fitted_)).fit(X, y)
        models = {"original": original, "boundary": boundary}
        models["retrained"] = trained.unlearn(X, y, forget=forget)
        for name, model in models.items():
            accuracy[name, seed] = np.array(
                [
                    model.score(X[forget], y[forget]),
                    model.score(X_test[gone], y_test[gone]),
                    model.score(X[~forget], y[~forget]),
                    model.score(X_test[~gone], y_test[~gone]),
                ]
            )
            proba[name, seed] = model.predict_proba(X_test).astype(float)
    names = ["forget_accuracy", "forget_accuracy_test", "retain_accuracy", "test_accuracy"]
    for _, row in frame.iterrows():
        # The retrained networks are compared with those of the other seed.
        other = {4: 7, 7: 4}[row["seed"]] if row["method"] == "retrained" else row["seed"]
        ours, theirs = (row["method"], row["seed"]), ("retrained", other)
        assert row[names].to_numpy(dtype=float) == pytest.approx(accuracy[ours])
        gaps = row[[f"gap_{name}" for name in names]].to_numpy(dtype=float)
        assert gaps == pytest.approx(accuracy[ours] - accuracy[theirs])
        js = np.mean(jensenshannon(proba[ours], proba[theirs], base=2, axis=1) ** 2)
        assert row["js_test"] == pytest.approx(js, abs=1e-5)
    seconds = frame.set_index(["method", "seed"])["seconds"]
    speed_up = frame.set_index(["method", "seed"])["speed_up"]
    expected = seconds["retrained", 4] / seconds["boundary", 4]
    assert speed_up["boundary", 4] == pytest.approx(expected)
    assert np.isnan(seconds["original", 4])


def _losses(model, X, y):
    proba = model.predict_proba(X).astype(float)
    return -np.log(proba[np.arange(len(y)), np.searchsorted(model.classes_, y)])


def _auc(members, others):
    return np.mean(members[:, None] < others) + np.mean(members[:, None] == others) / 2


def test_membership_compares_with_test_rows_of_the_class(net, flowers, unseen, compare):
    X, y, forget = flowers
    X_test, y_test = unseen
    frame = compare({"a": BoundaryUnlearner(net, max_epochs=3)}).set_index("method")
    retrained = RetrainUnlearner(net, random_state=0).fit(X, y)
    gone = y_test == "virginica"
    aucs = {}
    for name in ("original", "retrained"):
        losses = _losses(retrained, X[forget], y[forget])
        aucs[name] = _auc(losses, _losses(retrained, X_test[gone], y_test[gone]))
        retrained.unlearn(X, y, forget=forget)
    assert frame.loc["original", "membership_auc"] == pytest.approx(aucs["original"], abs=2e-3)
    gap = aucs["original"] - aucs["retrained"]
    assert frame.loc["original", "gap_membership_auc"] == pytest.approx(gap, abs=4e-3)


def test_marked_test_rows_are_those_of_the_same_kind(net, flowers, unseen, compare):
    X, y, _ = flowers
    X_test, y_test = unseen
    # As those of a device: rows of two classes, of which others are kept.
    forget = np.flatnonzero(y != "setosa")[::5]
    assert set(y[forget]) == {"versicolor", "virginica"}
    # One row a class, so that there is no choice which rows the attack compares with.
    marked = [np.flatnonzero(y_test == label)[3] for label in ("versicolor", "virginica")]
    others = np.setdiff1d(np.arange(len(y_test)), marked)
    method = {"a": FineTuneUnlearner(net, max_epochs=1)}
    frame = compare(method, forget=forget, forget_test=marked).set_index("method")
    original = RetrainUnlearner(net, random_state=0).fit(X, y)
    right = original.predict(X_test) == y_test
    score = frame.loc["original"]
    assert score["forget_accuracy_test"] == pytest.approx(right[marked].mean())
    assert score["test_accuracy"] == pytest.approx(right[others].mean())
    members = _losses(original, X[forget], y[forget])
    auc = _auc(members, _losses(original, X_test[marked], y_test[marked]))
    assert score["membership_auc"] == pytest.approx(auc)
    assert np.isin(y_test[marked], y[forget]).all()
    unmarked = compare(method, forget=forget).set_index("method")
    assert np.isnan(unmarked.loc["original", "forget_accuracy_test"])
    assert unmarked.loc["original", "membership_auc"] != pytest.approx(auc)
    mask = np.isin(np.arange(len(y_test)), marked)
    same = compare(method, forget=forget, forget_test=mask).set_index("method")
    pd.testing.assert_frame_equal(
        same.drop(columns=["seconds", "speed_up"]), frame.drop(columns=["seconds", "speed_up"])
    )


def test_no_marked_row_is_of_a_forgotten_rows_class(net, flowers, compare, unseen):
    forget = np.flatnonzero(flowers[1] == "setosa")[:9]
    assert unseen[1][74] != "setosa"
    frame = compare({"a": FineTuneUnlearner(net, max_epochs=1)}, forget=forget, forget_test=[74])
    assert frame[["membership_auc", "gap_membership_auc"]].isna().all(axis=None)
    assert frame["forget_accuracy_test"].notna().all()
    assert frame["error"].isna().all()


def test_trainings_are_shared(net, compare, monkeypatch):
    calls = []
    train = sklunlearn._training.train_estimator

    def counted(*arguments, **options):
        calls.append(arguments[1].shape)
        return train(*arguments, **options)

    monkeypatch.setattr("sklunlearn.base.train_estimator", counted)
    equal = net.set_params(max_epochs=2)
    frame = compare(
        {
            "a": BoundaryUnlearner(equal, max_epochs=1),
            "b": FineTuneUnlearner(sklunlearn._training.clone(equal), max_epochs=1),
        },
        seeds=2,
    )
    assert len(frame) == 8
    assert sorted(calls) == [(50, 2), (50, 2), (75, 2), (75, 2)]


def test_methods_that_train_their_own(net, compare):
    net.set_params(max_epochs=5)
    frame = compare({"again": RetrainUnlearner(net), "shards": SISAUnlearner(net, n_shards=2)})
    score = frame.set_index("method")
    assert score.loc["again", "js_test"] > 0  # another seed than the reference's
    assert score.loc["retrained", ["js_test", "gap_test_accuracy"]].isna().all()  # one seed
    assert score["error"].isna().all()


def test_several_estimators_have_anchors_of_their_own(net, compare):
    other = sklunlearn._training.clone(net).set_params(max_epochs=3)
    frame = compare(
        {"a": FineTuneUnlearner(net, max_epochs=1), "b": FineTuneUnlearner(other, max_epochs=1)}
    )
    anchors = ["original 1", "retrained 1", "original 2", "retrained 2"]
    assert frame["method"].tolist() == [*anchors, "a", "b"]


def test_frozen(unlearner, flowers, compare):
    X, _, _ = flowers
    frozen = FrozenEstimator(unlearner.fitted_)
    before = unlearner.fitted_.predict_proba(X)
    frame = compare({"a": BoundaryUnlearner(frozen, max_epochs=2)}, seeds=2)
    assert frame.query("method == 'original'")["test_accuracy"].nunique() == 1
    assert np.array_equal(unlearner.fitted_.predict_proba(X), before)


def test_an_error_is_a_row(net, compare):
    methods = {"bad": UNSIRUnlearner(net), "good": FineTuneUnlearner(net, max_epochs=1)}
    with pytest.warns(FitFailedWarning, match="1 of 2 runs failed"):
        frame = compare(methods, forget=[0, 30])
    score = frame.set_index("method")
    assert score.loc["bad", "error"].startswith("ValueError: UNSIRUnlearner forgets whole classes")
    assert np.isnan(score.loc["bad", "test_accuracy"])
    assert score.loc["good", "test_accuracy"] > 0.5
    assert score["forget_accuracy_test"].isna().all()  # no class is forgotten
    with pytest.warns(FitFailedWarning, match="score -1"):
        assert (
            compare(methods, forget=[0], error_score=-1).query("method == 'bad'")["js_test"].item()
            == -1
        )
    with pytest.raises(ValueError, match="whole classes"):
        compare(methods, forget=[0, 30], error_score="raise")


def test_processes(net, compare):
    net.set_params(max_epochs=3)
    methods = {"a": BoundaryUnlearner(net, max_epochs=1)}
    threads = torch.get_num_threads()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        frames = [
            compare(methods, seeds=2, n_jobs=n).drop(columns=["seconds", "speed_up"])
            for n in (1, 2)
        ]
    assert frames[0].equals(frames[1])
    assert torch.get_num_threads() == threads


def test_inputs_stay_as_they_are(net, compare):
    method = BoundaryUnlearner(net, max_epochs=1, random_state=5)
    compare({"a": method})
    assert method.estimator is net
    assert method.random_state == 5
    assert not hasattr(method, "net_")
    assert not hasattr(net, "module_")


@pytest.mark.parametrize(
    ("unlearners", "options", "error", "match"),
    [
        ([], {}, TypeError, "must be a dict"),
        ({}, {}, TypeError, "must be a dict"),
        ({"a": 3}, {}, TypeError, "map names to unlearners"),
        ({1: BoundaryUnlearner()}, {}, TypeError, "map names to unlearners"),
        ({"original": BoundaryUnlearner()}, {}, ValueError, "taken by an anchor"),
        ({"a": BoundaryUnlearner()}, {"seeds": 0}, ValueError, "`seeds` must be an integer"),
        ({"a": BoundaryUnlearner()}, {"seeds": []}, ValueError, "one or more seeds"),
        ({"a": BoundaryUnlearner()}, {"seeds": [1, 1]}, ValueError, "each of them once"),
        ({"a": BoundaryUnlearner()}, {"seeds": [0.5]}, TypeError, "`seeds` must be an integer"),
        ({"a": BoundaryUnlearner()}, {"error_score": "nan"}, TypeError, "`error_score` must be"),
        ({"a": BoundaryUnlearner("net")}, {}, TypeError, "`estimator` must be"),
        ({"a": BoundaryUnlearner()}, {"forget": None}, TypeError, "`forget` is required"),
        ({"a": BoundaryUnlearner()}, {"forget": np.ones(75, bool)}, ValueError, "no retain rows"),
        ({"a": BoundaryUnlearner()}, {"forget_test": [99]}, ValueError, "holds the index 99"),
        ({"a": BoundaryUnlearner()}, {"forget_test": [0]}, ValueError, "leaves out 25 of the test"),
        ({"a": BoundaryUnlearner()}, {"X_test": np.zeros((75, 3))}, ValueError, "features"),
    ],
)
def test_errors(compare, unlearners, options, error, match):
    with pytest.raises(error, match=match):
        compare(unlearners, **options)
