"""What a composition trains, and copies of it."""

import copy
import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from composing import BatchNormNet, Shift, assert_same, initialized, make, state
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Callback

from sklunlearn import BoundaryUnlearner, ComposedUnlearner, FineTuneUnlearner
from sklunlearn.networks import MLP


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


class Counted(MLP):
    """An MLP that tells how many networks were trained."""

    trained = []


class Count(Callback):
    def on_train_begin(self, net, **kwargs):
        if not list(net.history_):  # not the run of a member, which goes on from a copy
            Counted.trained.append(net.module_)


@pytest.fixture
def counted():
    """A net whose trainings are counted in `Counted.trained`."""
    Counted.trained.clear()
    params = {"module__n_features": 4, "module__n_classes": 3, "module__hidden": (8,)}
    return make(Counted, max_epochs=1, callbacks=[Count()], **params)


# Training


def test_one_training_for_all_members(counted, X, y, forget):
    members = [("a", Shift()), ("b", Shift(seed=1)), ("c", FineTuneUnlearner(max_epochs=1))]
    composed = ComposedUnlearner(members, estimator=counted, random_state=0, method="average")
    composed.fit(X, y)
    assert len(Counted.trained) == 1
    assert all(member.fitted_ is composed.fitted_ for member in composed.estimators_)


def test_members_with_equal_nets_of_their_own_share_a_training(counted, X, y):
    members = [("a", Shift(counted)), ("b", Shift(clone(counted))), ("c", Shift())]
    composed = ComposedUnlearner(members, random_state=0).fit(X, y)
    assert len(Counted.trained) == 1
    assert all(member.fitted_ is composed.fitted_ for member in composed.estimators_)


def test_different_nets_are_each_trained_once(counted, X, y, forget):
    wide = clone(counted).set_params(module__hidden=(9,))
    members = [("a", Shift(counted)), ("b", Shift(wide)), ("c", Shift(clone(wide), seed=1))]
    composed = ComposedUnlearner(members, method="vote", random_state=0).fit(X, y)
    assert [module.features[0].out_features for module in Counted.trained] == [8, 9]
    assert composed.estimators_[1].fitted_ is composed.estimators_[2].fitted_
    composed.unlearn(X, y, forget=forget).partial_unlearn(X, y, forget=forget)
    assert len(Counted.trained) == 2
    composed.set_params(method="graft")
    with pytest.raises(ValueError, match="'a' and 'b' have different architectures"):
        composed.unlearn(X, y, forget=forget)


def test_memory_caches_each_training(counted, X, y, tmp_path):
    wide = clone(counted).set_params(module__hidden=(9,))
    members = [("a", Shift(counted)), ("b", Shift(wide))]
    composed = ComposedUnlearner(members, method="vote", memory=str(tmp_path), random_state=0)
    first = clone(composed).fit(X, y)
    second = clone(composed).set_params(a__seed=2).fit(X, y)
    assert len(Counted.trained) == 2
    for one, two in zip(first.estimators_, second.estimators_, strict=True):
        assert_same(one.fitted_, two.fitted_)


def test_frozen_nets_are_not_trained(composed, X, y):
    other = initialized(BatchNormNet, seed=1)
    composed.set_params(method="vote", b__estimator=FrozenEstimator(other)).fit(X, y)
    assert composed.estimators_[1].fitted_ is other


# Kinds of data


def test_tables_where_one_member_has_a_pipeline(X, y, forget, start):
    table = pd.DataFrame(X, columns=list("abcd"))
    scaled = make_pipeline(StandardScaler(), make(BatchNormNet, max_epochs=1))
    members = [("a", Shift(FrozenEstimator(start))), ("b", Shift(scaled))]
    composed = ComposedUnlearner(members, method="vote", random_state=0).fit(table, y)
    composed.unlearn(table, y, forget=forget).unlearn(table, y, forget=forget)
    expected = clone(composed).fit(X, y, forget=forget).predict_proba(X)
    np.testing.assert_array_equal(composed.predict_proba(table), expected)
    np.testing.assert_array_equal(composed.release().predict_proba(table), expected)


# Copies


@pytest.mark.parametrize("method", ["graft", "vote"])
def test_pickle(composed, X, y, forget, method):
    composed.set_params(method=method).unlearn(X, y, forget=forget)
    restored = pickle.loads(pickle.dumps(composed))
    np.testing.assert_array_equal(restored.predict_proba(X), composed.predict_proba(X))
    for fitted in (restored, copy.deepcopy(composed)):
        fitted.partial_unlearn(X, y, forget=forget)
    composed.partial_unlearn(X, y, forget=forget)
    np.testing.assert_array_equal(restored.predict_proba(X), composed.predict_proba(X))


@pytest.mark.parametrize("method", ["graft", "average", "interpolate", "vote"])
def test_a_released_composition_carries_no_member(composed, X, y, forget, method):
    params = {"cut": [2, 1], "encoder": ["a", "b"], "weights": [2, 1], "finetune_epochs": 0}
    composed.set_params(method=method, **params).unlearn(X, y, forget=forget)
    released = composed.release()
    np.testing.assert_array_equal(released.predict_proba(X), composed.predict_proba(X))
    assert released.estimators == []
    assert repr(released).startswith("ComposedUnlearner(estimators=[]")
    kept = {name for name in vars(released) if name.endswith("_")}
    assert kept == {"classes_", "n_features_in_", "preprocessing_", "net_"}
    pickled = pickle.dumps(released)
    unwanted = [composed.fitted_]
    if method in ("average", "interpolate"):
        unwanted += [member.net_ for member in composed.estimators_]
    for net in unwanted if method != "interpolate" else unwanted[:1]:
        for parameter in net.module_.parameters():
            assert parameter.detach().numpy().tobytes() not in pickled


def test_html(composed, X, y, forget):
    for each in (clone(composed), composed, composed.unlearn(X, y, forget=forget)):
        html = each._repr_html_()
        for part in ("ComposedUnlearner", ">a<", ">b<", "Shift"):
            assert part in html
    composed.set_params(a="drop")
    assert "drop" in composed._repr_html_()
    assert "ComposedUnlearner" in composed.release()._repr_html_()


def test_the_merged_network_can_be_trained_on(composed, X, y, forget):
    composed.unlearn(X, y, forget=forget)
    before = state(composed.net_)
    net = copy.deepcopy(composed.net_).partial_fit(torch.as_tensor(X), torch.as_tensor(y))
    assert (state(net)["head.bias"] != before["head.bias"]).any()


def test_a_member_without_a_network_starts_where_a_frozen_one_did(trained_net, X, y, forget):
    frozen = BoundaryUnlearner(FrozenEstimator(trained_net), random_state=0)
    frozen.fit(X, y, forget=forget)
    members = [("new", FineTuneUnlearner(max_epochs=1)), ("old", FrozenEstimator(frozen))]
    composed = ComposedUnlearner(members, method="task_arithmetic", random_state=0)
    composed.fit(X, y, forget=forget)
    assert composed.fitted_ is trained_net
    assert composed.named_estimators_["new"].fitted_ is trained_net
    assert composed.compatibility_["same_ancestor"] is True
