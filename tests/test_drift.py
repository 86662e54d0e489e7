"""A stream of requests: how far it goes, and where it stops."""

import itertools
import json
import time

import numpy as np
import pytest
import torch
from registry import ALL, WHOLE_CLASSES
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch import NeuralNetClassifier

from sklunlearn import (
    CertifiedUnlearner,
    NegGradUnlearner,
    RetrainUnlearner,
    SISAUnlearner,
    SSDUnlearner,
)
from sklunlearn import _drift as drift_module
from sklunlearn.audit import append_records, was_forgotten
from sklunlearn.exceptions import RetainDropError


def parameters_of(net):
    values = [value.detach().numpy().ravel() for value in net.module_.parameters()]
    return np.concatenate(values).astype(np.float64)


@pytest.fixture
def harmful(trained_net, X, y):
    """Fitted, with a step that costs the other classes nearly all of their accuracy."""
    unlearner = NegGradUnlearner(
        FrozenEstimator(trained_net), lr=5.0, max_epochs=5, retain_weight=0, random_state=0
    )
    return unlearner.fit(X, y)


@pytest.mark.parametrize("method", ["unlearn", "partial_unlearn"])
def test_the_record_has_the_distance_from_the_fitted_weights(trained_net, X, y, method):
    unlearner = NegGradUnlearner(FrozenEstimator(trained_net), random_state=0).fit(X, y)
    for forget in ([3], [7, 40]):
        getattr(unlearner, method)(X, y, forget=forget)
        fitted, now = parameters_of(trained_net), parameters_of(unlearner.net_)
        expected = np.sqrt(np.square(now - fitted).sum())
        assert unlearner.records_[-1]["drift"] == pytest.approx(
            {
                "distance": expected,
                "relative_distance": expected / np.sqrt(np.square(fitted).sum()),
            },
            rel=1e-6,
        )
        assert expected > 0


def test_buffers_are_no_parameters(X, y):
    frozen = NeuralNetClassifier(
        torch.nn.Sequential(torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 3)),
        criterion=torch.nn.CrossEntropyLoss,
        train_split=None,
        max_epochs=1,
        verbose=0,
    ).fit(X, y)
    unlearner = NegGradUnlearner(FrozenEstimator(frozen), random_state=0).fit(X, y, forget=[0])
    expected = np.linalg.norm(parameters_of(unlearner.net_) - parameters_of(frozen))
    assert unlearner.records_[0]["drift"]["distance"] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("unlearner", ALL, ids=lambda unlearner: type(unlearner).__name__)
def test_each_method_says_how_far_it_went(unlearner, trained_net, X, y):
    unlearner = clone(unlearner).set_params(estimator=FrozenEstimator(trained_net)).fit(X, y)
    forget = y == 1 if type(unlearner).__name__ in WHOLE_CLASSES else np.arange(75) % 5 == 0
    before = np.mean(unlearner.predict(X[~forget]) == y[~forget])
    unlearner.partial_unlearn(X, y, forget=forget, max_retain_drop=1)
    drift = unlearner.records_[0]["drift"]
    after = np.mean(unlearner.predict(X[~forget]) == y[~forget])
    assert drift["retain_accuracy_fitted"] == pytest.approx(before)
    assert drift["retain_accuracy_before"] == pytest.approx(before)
    assert drift["retain_accuracy_after"] == pytest.approx(after)
    assert drift["n_rows"] == (~forget).sum()
    if type(unlearner).__name__ == "SISAUnlearner":  # one network before, an ensemble now
        assert drift["distance"] is drift["relative_distance"] is None
    else:
        assert drift["distance"] > 0
    assert json.loads(json.dumps(drift, allow_nan=False)) == drift


def test_the_certified_head_is_compared_with_its_own_fit(trained_net, X, y):
    unlearner = CertifiedUnlearner(FrozenEstimator(trained_net), random_state=0).fit(X, y)
    fitted = parameters_of(unlearner.net_)
    unlearner.unlearn(X, y, forget=[3])
    unlearner.unlearn(X, y, forget=[3])
    expected = np.linalg.norm(parameters_of(unlearner.net_) - fitted)
    assert unlearner.records_[1]["drift"]["distance"] == pytest.approx(expected, rel=1e-5)


def test_preprocessing_that_is_fitted_again(net, X, y):
    unlearner = RetrainUnlearner(make_pipeline(StandardScaler(), net), random_state=0).fit(X, y)
    unlearner.unlearn(X, y, forget=(y == 2)).partial_unlearn(
        X, y, forget=(y == 1), max_retain_drop=1
    )
    drift, retain = unlearner.records_[1]["drift"], y != 1
    fitted = np.mean(unlearner.fitted_.predict(X[retain]) == y[retain])
    assert drift["retain_accuracy_fitted"] == pytest.approx(fitted)
    assert drift["retain_accuracy_before"] == pytest.approx(0.5)
    assert drift["retain_accuracy_after"] == np.mean(unlearner.predict(X[retain]) == y[retain])


@pytest.mark.parametrize("method", ["unlearn", "partial_unlearn"])
def test_a_request_that_costs_too_much_changes_nothing(harmful, X, y, method):
    harmful.unlearn(X, y, forget=[1], max_retain_drop=1)
    attributes, weights = dict(vars(harmful)), parameters_of(harmful.net_)
    with pytest.raises(RetainDropError, match=r"on 50 retain rows.*max_retain_drop=0\.1.*SISA"):
        getattr(harmful, method)(X, y, forget=(y == 0), max_retain_drop=0.1)
    assert all(vars(harmful)[name] is value for name, value in attributes.items())
    assert vars(harmful).keys() == attributes.keys()
    np.testing.assert_array_equal(parameters_of(harmful.net_), weights)


def test_the_bound_is_met_exactly(harmful, X, y):
    drift = harmful.unlearn(X, y, forget=(y == 0), max_retain_drop=1).records_[0]["drift"]
    drop = drift["retain_accuracy_before"] - drift["retain_accuracy_after"]
    harmful.unlearn(X, y, forget=(y == 0), max_retain_drop=drop)
    with pytest.raises(RetainDropError, match=f"{drop:.4f} below"):
        harmful.unlearn(X, y, forget=(y == 0), max_retain_drop=drop - 1e-6)


def test_small_drops_add_up(harmful, X, y):
    harmful.unlearn(X, y, forget=(y == 0))  # has cost nearly all
    now = np.mean(harmful.predict(X[1:]) == y[1:])
    harmful.set_params(lr=1e-9)
    with pytest.raises(RetainDropError, match=f"{now:.4f} on 74 .* of the fitted model"):
        harmful.partial_unlearn(X, y, forget=[0], max_retain_drop=0.1)
    harmful.unlearn(X, y, forget=[0], max_retain_drop=0.1)


def test_a_gain_is_not_there_to_be_spent(harmful, trained_net, X, y):
    # The fitted model is the bad one here.
    good = harmful.net_
    harmful.unlearn(X, y, forget=(y == 0))
    bad = harmful.net_
    harmful.set_params(estimator=FrozenEstimator(bad)).fit(X, y)
    harmful.net_ = good
    with pytest.raises(RetainDropError, match="of the model before it"):
        harmful.partial_unlearn(X, y, forget=(y == 0), max_retain_drop=0.1)


def test_a_bounded_number_of_rows_is_looked_at(harmful, X, y, monkeypatch):
    monkeypatch.setattr(drift_module, "_MAX_ROWS", 20)
    harmful.unlearn(X, y, forget=(y == 0), max_retain_drop=1)
    assert harmful.records_[0]["drift"]["n_rows"] == 20


def test_what_is_measured_is_not_part_of_the_time(harmful, X, y, monkeypatch):
    def slow(*args):
        time.sleep(0.05)
        return drift_module.check_retain_drop(*args)

    monkeypatch.setattr("sklunlearn.base.check_retain_drop", slow)
    began = time.perf_counter()
    harmful.unlearn(X, y, forget=[0], max_retain_drop=1)
    assert time.perf_counter() - began - harmful.unlearning_time_ >= 0.05


@pytest.mark.parametrize("bad", [-0.1, 1.1, np.nan, "much", [0.1]])
def test_a_bad_bound(harmful, X, y, bad):
    before = dict(vars(harmful))
    with pytest.raises(ValueError, match="'max_retain_drop' parameter"):
        harmful.unlearn(X, y, forget=[0], max_retain_drop=bad)
    assert vars(harmful) == before


def test_a_bound_needs_rows_to_retain(harmful, X, y):
    with pytest.raises(ValueError, match="marks all rows"):
        harmful.unlearn(X, y, forget=np.ones(75, dtype=bool), max_retain_drop=0.5)
    drift = harmful.unlearn(X, y, forget=np.ones(75, dtype=bool)).records_[0]["drift"]
    assert set(drift) == {"distance", "relative_distance"}


def test_the_bound_judges_what_the_parameter_of_ssd_chose(trained_net, X, y):
    unlearner = SSDUnlearner(FrozenEstimator(trained_net), max_retain_drop=0.3, dampening=0.5)
    unlearner.fit(X, y).unlearn(X, y, forget=(y == 2), max_retain_drop=0.3)
    drift = unlearner.records_[0]["drift"]
    cost = drift["retain_accuracy_before"] - drift["retain_accuracy_after"]
    assert cost > 0.1
    with pytest.raises(RetainDropError):
        unlearner.unlearn(X, y, forget=(y == 2), max_retain_drop=cost / 2)


# Rows that are forgotten already, unknown, or named by two requests


def test_a_stream_of_small_requests(trained_net, X, y):
    unlearner = NegGradUnlearner(
        FrozenEstimator(trained_net), lr=1e-3, max_epochs=1, random_state=0
    ).fit(X, y)
    for i in range(30):
        unlearner.partial_unlearn(X[i:], y[i:], forget=[0], max_retain_drop=0.2)
    records = unlearner.records_
    assert [record["n_retain"] for record in records] == list(range(74, 44, -1))
    for last, record in itertools.pairwise(records):
        assert record["weights_before"] == last["weights_after"]
    assert records[-1]["drift"]["distance"] > records[0]["drift"]["distance"]


@pytest.mark.parametrize("again", ["forgotten", "unknown", "overlapping"])
def test_gradient_methods_unlearn_what_they_are_given(trained_net, X, y, again):
    unlearner = NegGradUnlearner(FrozenEstimator(trained_net), random_state=0).fit(X, y)
    unlearner.partial_unlearn(X, y, forget=[3, 4])
    data = np.append(X, X[:1] + 0.25, axis=0), np.append(y, 0)
    forget = {"forgotten": [3, 4], "unknown": [75], "overlapping": [4, 5]}[again]
    before = parameters_of(unlearner.net_)
    unlearner.partial_unlearn(*data, forget=forget)
    assert unlearner.records_[-1]["n_forget"] == len(forget)
    assert (parameters_of(unlearner.net_) != before).any()


@pytest.mark.parametrize("method", [RetrainUnlearner, SISAUnlearner])
def test_exact_methods_come_to_the_same_model(method, net, X, y):
    unlearner = method(net, random_state=0).fit(X, y)
    held = np.arange(75) != 3
    unlearner.partial_unlearn(X, y, forget=[3])
    expected = parameters_of(unlearner.net_)
    unlearner.partial_unlearn(X, y, forget=[3])
    np.testing.assert_array_equal(parameters_of(unlearner.net_), expected)
    data = np.append(X[held], X[:1] + 0.25, axis=0), np.append(y[held], 0)
    unlearner.partial_unlearn(*data, forget=[74])
    np.testing.assert_array_equal(parameters_of(unlearner.net_), expected)


def test_a_log_tells_what_was_forgotten(trained_net, X, y, tmp_path):
    unlearner = NegGradUnlearner(FrozenEstimator(trained_net), random_state=0).fit(X, y)
    unlearner.unlearn(X, y, forget=[3, 4])
    append_records(tmp_path / "log", unlearner, X, forget=[3, 4])
    asked = np.array([4, 5])
    found = was_forgotten(tmp_path / "log", X[asked])
    assert asked[[not ids for ids in found]].tolist() == [5]
