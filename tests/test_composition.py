"""A composition in the manner of scikit-learn: members, parameters, training, copies."""

import numpy as np
import pytest
from composing import BatchNormNet, Fails, Shift, assert_same, initialized, shifted, state
from sklearn import config_context
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklunlearn import BoundaryUnlearner, ComposedUnlearner, FineTuneUnlearner, NegGradUnlearner


@pytest.fixture
def start():
    return initialized(BatchNormNet)


@pytest.fixture
def forget(y):
    return y == 0


@pytest.fixture
def composed(start, X, y):
    """Two members, fitted, before any request."""
    members = [("a", Shift(scale=0.01)), ("b", Shift(scale=0.01, seed=1))]
    return ComposedUnlearner(members, estimator=FrozenEstimator(start), random_state=0).fit(X, y)


@pytest.fixture
def routing():
    with config_context(enable_metadata_routing=True):
        yield


# Members


def test_members_are_fitted_copies_that_know_their_names(composed, start, X, y, forget):
    given = dict(composed.estimators)
    composed.unlearn(X, y, forget=forget)
    assert list(composed.named_estimators_) == ["a", "b"]
    for name, member, fitted in zip("ab", given.values(), composed.estimators_, strict=True):
        assert composed.named_estimators_[name] is fitted is not member
        assert type(fitted) is type(member)
        assert not any(attribute.endswith("_") for attribute in vars(member))
        assert fitted.fitted_ is start is composed.fitted_
        assert len(fitted.records_) == 1
    assert composed.named_estimators_.a is composed.estimators_[0]


def test_the_original_network_and_what_was_given_are_not_changed(composed, start, X, y, forget):
    before, params = state(start), composed.get_params()
    composed.unlearn(X, y, forget=forget).partial_unlearn(X, y, forget=forget)
    assert_same(start, before)
    assert_same(composed.fitted_, before)
    for name, value in composed.get_params().items():
        assert value is params[name] or value == params[name]


def test_members_without_a_random_state_are_given_one(start, X, y):
    members = [("a", Shift()), ("b", Shift()), ("c", Shift(random_state=3))]
    composed = ComposedUnlearner(members, estimator=FrozenEstimator(start), random_state=0)
    seeds = [member.random_state for member in composed.fit(X, y).estimators_]
    assert seeds[2] == 3
    assert seeds[0] != seeds[1]
    assert [member.random_state for member in composed.fit(X, y).estimators_] == seeds
    composed.set_params(random_state=1).fit(X, y)
    assert [member.random_state for member in composed.estimators_] != seeds
    composed.set_params(random_state=None).fit(X, y)
    assert [member.random_state for member in composed.estimators_] == [None, None, 3]
    assert [member.random_state for _, member in members] == [None, None, 3]


def test_dropped_members(composed, X, y, forget):
    only_b = clone(composed).set_params(a="drop").fit(X, y, forget=forget)
    assert list(only_b.named_estimators_) == ["a", "b"]
    assert only_b.named_estimators_["a"] == "drop"
    assert len(only_b.estimators_) == 1
    assert only_b.donors_ == ["b", "b"]
    assert_same(only_b.net_, only_b.estimators_[0].net_)
    average = clone(composed).set_params(a="drop", method="average", weights=[9, 1])
    assert_same(average.fit(X, y, forget=forget).net_, only_b.net_)


def test_frozen_members_are_used_as_they_are(composed, start, X, y, forget):
    frozen = Shift(FrozenEstimator(start), scale=0.01, seed=7).fit(X, y).unlearn(X, y, forget=[1])
    before, attributes = state(frozen.net_), dict(vars(frozen))
    composed.set_params(a=FrozenEstimator(frozen), encoder="a", head="b").fit(X, y, forget=forget)
    assert composed.estimators_[0] is frozen
    np.testing.assert_array_equal(state(composed.net_)["first.0.weight"], before["first.0.weight"])
    composed.partial_unlearn(X, y, forget=forget).unlearn(X, y, forget=forget)
    composed.set_params(a__estimator=frozen)
    assert vars(frozen) == attributes
    assert_same(frozen.net_, before)
    copied = clone(composed)
    assert dict(copied.estimators)["a"].estimator is frozen
    assert not hasattr(copied, "net_")


def test_if_all_are_frozen_the_original_is_theirs(start, X, y, forget):
    members = [
        (name, FrozenEstimator(Shift(FrozenEstimator(start), scale=0.01, seed=seed).fit(X, y)))
        for seed, name in enumerate("ab")
    ]
    for _, frozen in members:
        frozen.estimator.unlearn(X, y, forget=forget)
    composed = ComposedUnlearner(members, random_state=0).fit(X, y)
    assert composed.fitted_ is start
    assert_same(composed.unlearn(X, y, forget=forget).fitted_, start)


def test_released_members(start, X, y, forget):
    pipeline = make_pipeline(StandardScaler(), start)
    pipeline[0].fit(X)
    for estimator in (start, pipeline):
        members = []
        for seed, name in enumerate("ab"):
            member = Shift(FrozenEstimator(estimator), scale=0.01, seed=seed).fit(X, y)
            released = member.unlearn(X, y, forget=forget).release()
            members.append((name, FrozenEstimator(released)))
        composed = ComposedUnlearner(members, encoder="a", head="b").fit(X, y, forget=forget)
        a, b = (state(member.estimator.net_) for _, member in members)
        actual = state(composed.net_)
        np.testing.assert_array_equal(actual["first.0.weight"], a["first.0.weight"])
        np.testing.assert_array_equal(actual["head.weight"], b["head.weight"])
        assert composed.compatibility_["same_ancestor"] is None
        composed.set_params(method="average", recalibrate=False).unlearn(X, y, forget=forget)
        mean = (a["head.weight"].astype(float) + b["head.weight"]) / 2
        np.testing.assert_allclose(state(composed.net_)["head.weight"], mean, rtol=1e-6, atol=1e-9)
        composed.set_params(method="task_arithmetic")
        before = composed.predict_proba(X)
        with pytest.raises(ValueError, match="'a' was not made from the original network"):
            composed.unlearn(X, y, forget=forget)
        np.testing.assert_array_equal(composed.predict_proba(X), before)


def test_a_composition_is_a_member_too(start, X, y, forget):
    inner = ComposedUnlearner(
        [("x", Shift(scale=0.01)), ("y", Shift(scale=0.01, seed=1))],
        method="average",
        recalibrate=False,
    )
    members = [("inner", inner), ("c", Shift(scale=0.01, seed=2))]
    outer = ComposedUnlearner(members, estimator=FrozenEstimator(start), encoder="inner", head="c")
    outer.fit(X, y, forget=forget).unlearn(X, y, forget=forget)
    alone = clone(inner).set_params(estimator=FrozenEstimator(start)).fit(X, y, forget=forget)
    actual, expected = state(outer.net_), state(alone.net_)
    np.testing.assert_array_equal(actual["first.0.weight"], expected["first.0.weight"])
    assert "inner__x__scale" in outer.get_params()


# Parameters


def test_nested_parameters(composed):
    assert composed.get_params()["b__seed"] == 1
    composed.set_params(b__seed=5, method="average", a=NegGradUnlearner(lr=0.5))
    assert composed.get_params()["a__lr"] == 0.5
    assert composed.named_estimators_["a"].seed == 0
    assert dict(composed.estimators)["b"].seed == 5
    with pytest.raises(ValueError, match="Invalid parameter 'c'"):
        composed.set_params(c__lr=1)


def test_parameters_set_after_the_fit_take_effect(composed, X, y, forget):
    composed.unlearn(X, y, forget=forget)
    before = state(composed.net_)
    composed.set_params(b__seed=9, a__scale=0.01, encoder="a", head="b")
    np.testing.assert_array_equal(state(composed.net_)["head.bias"], before["head.bias"])
    composed.unlearn(X, y, forget=forget)
    fresh = clone(composed).fit(X, y, forget=forget)
    assert_same(composed.net_, fresh.net_)
    composed.set_params(method="average").unlearn(X, y, forget=forget)
    assert not hasattr(composed, "donors_")
    assert_same(composed.net_, clone(composed).fit(X, y, forget=forget).net_)
    composed.set_params(method="interpolate").unlearn(X, y, forget=forget)
    assert set(composed.path_) > {"alpha"}
    composed.set_params(method="vote").unlearn(X, y, forget=forget)
    assert not hasattr(composed, "path_")
    composed.set_params(method="graft").unlearn(X, y, forget=forget)
    assert_same(composed.net_, fresh.net_)


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c.set_params(a="drop"),
        lambda c: c.set_params(a=FineTuneUnlearner()),
        lambda c: c.set_params(estimators=[("c", Shift()), *c.estimators]),
        lambda c: c.set_params(estimators=c.estimators[::-1]),
        lambda c: c.set_params(estimators=[("x", Shift()), ("b", Shift())]),
    ],
    ids=["dropped", "of another class", "one more", "another order", "renamed"],
)
@pytest.mark.parametrize("request_", ["unlearn", "partial_unlearn"])
def test_members_that_changed_since_the_fit(composed, X, y, forget, change, request_):
    composed.unlearn(X, y, forget=forget)
    before = composed.predict_proba(X)
    change(composed)
    np.testing.assert_array_equal(composed.predict_proba(X), before)
    with pytest.raises(ValueError, match="call `fit` again"):
        getattr(composed, request_)(X, y, forget=forget)
    np.testing.assert_array_equal(composed.predict_proba(X), before)
    composed.set_params(encoder="b", head="b")
    composed.fit(X, y)


def test_a_member_that_is_no_longer_frozen(composed, start, X, y, forget):
    frozen = Shift(FrozenEstimator(start), scale=0.01).fit(X, y).unlearn(X, y, forget=forget)
    composed.set_params(a=FrozenEstimator(frozen)).fit(X, y, forget=forget)
    before = state(frozen.net_)
    composed.set_params(a=Shift(seed=3))
    with pytest.raises(ValueError, match=r"'a' is now Shift.*but was frozen.*`fit` again"):
        composed.unlearn(X, y, forget=forget)
    assert_same(frozen.net_, before)


def test_search_over_methods_and_parameters_of_members(routing, trained_net, X, y, forget):
    members = [
        ("forgets", BoundaryUnlearner(max_epochs=1)),
        ("retains", FineTuneUnlearner(max_epochs=1)),
    ]
    composed = ComposedUnlearner(members, estimator=FrozenEstimator(trained_net), random_state=0)
    composed.set_score_request()
    grid = [
        {"method": ["graft"], "cut": [None, 1], "forgets__retain_weight": [0.5, 1]},
        {"method": ["average", "vote"], "weights": [None, [1, 3]]},
        {"method": ["average"], "retains": ["drop"]},
    ]
    search = GridSearchCV(composed, grid, cv=2, error_score="raise", refit=True)
    search.fit(X, y, forget=forget)
    assert len(search.cv_results_["params"]) == 9
    assert hasattr(search.best_estimator_, "estimators_")
    assert not hasattr(composed, "estimators_")


def test_partial_unlearn_goes_on_from_where_the_members_ended(composed, start, X, y, forget):
    composed.unlearn(X, y, forget=forget)
    for request, times in (("partial_unlearn", 2), ("partial_unlearn", 3), ("unlearn", 1)):
        getattr(composed, request)(X, y, forget=forget)
        for seed, member in enumerate(composed.estimators_):
            net = start
            for _ in range(times):
                net = shifted(net, 0.01, seed)
            assert_same(member.net_, net)
    assert len(composed.records_) == 4


# Requests that fail


@pytest.mark.parametrize("request_", ["unlearn", "partial_unlearn"])
def test_a_member_that_fails_in_the_middle(start, X, y, forget, request_):
    members = [("a", Shift(scale=0.01)), ("b", Fails())]
    composed = ComposedUnlearner(members, estimator=FrozenEstimator(start)).fit(X, y)
    before = [state(member.net_) for member in composed.estimators_]
    attributes, net = set(vars(composed)), composed.net_
    with pytest.raises(FloatingPointError, match="the run failed"):
        getattr(composed, request_)(X, y, forget=forget)
    assert composed.net_ is net
    assert set(vars(composed)) == attributes
    assert composed.records_ == []
    for member, expected in zip(composed.estimators_, before, strict=True):
        assert_same(member.net_, expected)
        assert member.records_ == []


def test_a_fit_that_fails_leaves_the_composition_as_it_was(composed, X, y, forget):
    composed.unlearn(X, y, forget=forget)
    attributes = dict(vars(composed))
    composed.set_params(cut="nowhere")
    with pytest.raises(ValueError, match="not a submodule"):
        composed.fit(X, y, forget=forget)
    composed.set_params(cut=None)
    assert vars(composed) == attributes
