"""What a composition makes of its members."""

import numpy as np
import pytest
import torch
from composing import (
    BatchNormNet,
    Shift,
    accuracy,
    assert_same,
    initialized,
    make,
    state,
)
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from sklunlearn import BoundaryUnlearner, ComposedUnlearner, FineTuneUnlearner
from sklunlearn.networks import MLP

MERGING = ("graft", "average", "task_arithmetic", "interpolate")
ALL = (*MERGING, "vote")


@pytest.fixture
def start():
    """An original network with BatchNorm."""
    return initialized(BatchNormNet)


@pytest.fixture
def forget(y):
    return y == 0


@pytest.fixture
def compose(start, X, y, forget):
    """A composition of members that shift the original, after a request."""

    def compose(*members, data=(X, y), forget=forget, estimator=start, held_out=None, **params):
        members = members or (Shift(scale=0.02), Shift(scale=0.02, seed=1))
        named = list(zip("abcdef", members, strict=False))
        composed = ComposedUnlearner(
            named, estimator=FrozenEstimator(estimator), random_state=0, **params
        )
        return composed.fit(*data).unlearn(*data, forget=forget, **(held_out or {}))

    return compose


# Ends that are known


@pytest.mark.parametrize("recalibrate", [True, False])
@pytest.mark.parametrize("method", ALL)
def test_members_that_are_equal_give_themselves(compose, X, method, recalibrate):
    members = Shift(seed=4), Shift(seed=4)
    composed = compose(*members, method=method, recalibrate=recalibrate)
    member = composed.estimators_[1]
    np.testing.assert_array_equal(composed.predict_proba(X), member.predict_proba(X))
    if method != "vote":
        assert_same(composed.net_, member.net_)
    assert composed.compatibility_["same_ancestor"] is True
    if method != "vote":
        similarity = composed.compatibility_["embedding_similarity"]
        np.testing.assert_array_equal(similarity, np.ones((2, 2)))


@pytest.mark.parametrize("method", ["average", "task_arithmetic", "vote"])
def test_all_weight_on_one_member_gives_that_one(compose, X, method):
    composed = compose(method=method, weights=[1, 0])
    first = composed.estimators_[0]
    np.testing.assert_array_equal(composed.predict_proba(X), first.predict_proba(X))
    if method != "vote":
        assert_same(composed.net_, first.net_)


@pytest.mark.parametrize("alpha", [0, 1, 0.0, 1.0])
def test_the_ends_of_the_line_are_the_members(compose, alpha):
    composed = compose(method="interpolate", alpha=alpha)
    end = composed.estimators_[int(alpha)]
    expected = state(end.net_)
    for key, value in state(composed.net_).items():
        if not key.endswith("num_batches_tracked"):
            np.testing.assert_array_equal(value, expected[key], err_msg=key)


@pytest.mark.parametrize("method", ["graft", "average", "task_arithmetic"])
def test_a_single_member_gives_itself(compose, method):
    composed = compose(Shift(), method=method)
    assert_same(composed.net_, composed.estimators_[0].net_)


@pytest.mark.parametrize("weights", [[1.0, 1.0, 1.0], [3.0, 0.0, 1.0]])
def test_weights_of_the_average_are_relative(compose, weights):
    members = [Shift(scale=0.02, seed=seed) for seed in range(3)]
    composed = compose(*members, method="average", weights=weights, recalibrate=False)
    for key, value in state(composed.net_).items():
        if value.dtype.kind == "f":
            values = [state(member.net_)[key].astype(float) for member in composed.estimators_]
            expected = np.average(values, axis=0, weights=weights).astype(np.float32)
            np.testing.assert_allclose(value, expected, rtol=1e-7, err_msg=key)


# Grafts


@pytest.mark.parametrize(
    "cut, begins",
    [(None, ["head."]), (1, ["head."]), (2, ["second.", "head."]), ("second.1", None)],
)
def test_encoder_and_head_are_those_of_the_donors(compose, cut, begins):
    composed = compose(encoder="b", head="a", cut=cut)
    assert composed.donors_ == ["b", "a"]
    assert composed.scores_ == {}
    head, encoder = (state(member.net_) for member in composed.estimators_)
    begins = begins or ["second.1", "second.2", "head."]
    n_from_head = 0
    for key, value in state(composed.net_).items():
        from_head = key.startswith(tuple(begins))
        n_from_head += from_head
        np.testing.assert_array_equal(value, (head if from_head else encoder)[key], err_msg=key)
    assert 0 < n_from_head < len(head)


def test_a_mosaic(compose):
    members = [Shift(scale=0.02, seed=seed) for seed in range(3)]
    composed = compose(*members, encoder=["c", "a"], head="b", cut=["head", "second"])
    assert composed.donors_ == ["c", "a", "b"]
    a, b, c = (state(member.net_) for member in composed.estimators_)
    donor = {"first": c, "second": a, "head": b}
    for key, value in state(composed.net_).items():
        np.testing.assert_array_equal(value, donor[key.split(".")[0]][key], err_msg=key)
    one_for_all = compose(*members, encoder="c", head="b", cut=["head", "second"])
    assert one_for_all.donors_ == ["c", "c", "b"]


# Task arithmetic


def linear_net(weight, bias):
    net = make(MLP, module__n_features=4, module__n_classes=3, module__hidden=())
    net.set_params(classes=np.arange(3)).initialize()
    with torch.no_grad():
        net.module_.classifier.weight.copy_(torch.as_tensor(weight))
        net.module_.classifier.bias.copy_(torch.as_tensor(bias))
    return net


def test_two_forget_sets_of_a_linear_network(X, y):
    rng = np.random.default_rng(0)
    weight, bias = rng.normal(size=(3, 4)), rng.normal(size=3)
    original = linear_net(weight, bias)
    members, expected = [], [weight.copy(), bias.copy()]
    for name, label in (("a", 1), ("b", 2)):
        params = {"lr": 0.1, "max_epochs": 1, "optimizer": torch.optim.SGD, "batch_size": 100}
        member = FineTuneUnlearner(FrozenEstimator(original), **params)
        forget = y == label
        members.append((name, FrozenEstimator(member.fit(X, y).unlearn(X, y, forget=forget))))
        rows, labels = X[~forget].astype(float), y[~forget]
        logits = rows @ weight.T + bias
        exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
        error = exponentials / exponentials.sum(axis=1, keepdims=True) - np.eye(3)[labels]
        expected[0] -= 0.1 * error.T @ rows / len(rows)
        expected[1] -= 0.1 * error.mean(axis=0)
    composed = ComposedUnlearner(members, method="task_arithmetic", weights=[1, 1])
    composed.fit(X, y).unlearn(X, y, forget=(y > 0))
    head = composed.net_.module_.classifier
    np.testing.assert_allclose(head.weight.detach(), expected[0], atol=1e-6)
    np.testing.assert_allclose(head.bias.detach(), expected[1], atol=1e-6)


def test_trim_and_elect_sign_change_what_is_merged(compose):
    # What they do is tested in test_merge.py; here, that they arrive there.
    plain = state(compose(method="task_arithmetic").net_)
    for params in ({"trim": 0.5}, {"elect_sign": True}):
        other = state(compose(method="task_arithmetic", **params).net_)
        assert any((other[key] != value).any() for key, value in plain.items())


def test_members_that_forgot_different_classes(X, y, trained_net):
    members = []
    for label in (0, 1):
        member = BoundaryUnlearner(
            FrozenEstimator(trained_net), max_epochs=8, lr=0.02, random_state=0
        )
        member.fit(X, y).unlearn(X, y, forget=(y == label))
        assert accuracy(member.net_, X[y == label], y[y == label]) == 0
        members.append((f"class {label}", FrozenEstimator(member)))
    composed = ComposedUnlearner(members, method="task_arithmetic", weights=[1, 1])
    composed.fit(X, y, forget=(y < 2))
    for label in (0, 1):
        assert accuracy(composed.net_, X[y == label], y[y == label]) == 0
    assert accuracy(composed.net_, X[y == 2], y[y == 2]) > 0.9


# Votes


def softmax_of(net, X):
    with torch.no_grad():
        logits = net.module_.eval()(torch.as_tensor(X)).numpy().astype(float)
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("weights", [None, [1, 3], [0.5, 0.0]])
def test_vote_is_the_mean_of_probabilities(compose, X, weights):
    composed = compose(Shift(scale=1), Shift(scale=1, seed=1), method="vote", weights=weights)
    probabilities = [softmax_of(member.net_, X) for member in composed.estimators_]
    expected = np.average(probabilities, axis=0, weights=weights)
    np.testing.assert_allclose(composed.predict_proba(X), expected, atol=1e-6)
    assert composed.compatibility_["embedding_similarity"] is None


def test_vote_of_different_architectures_and_pipelines(X, y, forget):
    small = make(MLP, module__n_features=4, module__n_classes=3, module__hidden=())
    scaled = make_pipeline(StandardScaler(), make(BatchNormNet, max_epochs=2))
    squeezed = make_pipeline(MinMaxScaler(), make(BatchNormNet, module__width=5, max_epochs=2))
    members = [("a", Shift(small)), ("b", Shift(scaled)), ("c", Shift(squeezed, scale=1))]
    composed = ComposedUnlearner(members, method="vote", weights=[1, 2, 3], random_state=0)
    composed.fit(X, y, forget=forget)
    rows = {
        "a": X,
        "b": ((X.astype(float) - X.mean(axis=0)) / X.std(axis=0)).astype(np.float32),
        "c": ((X - X.min(axis=0)) / (X.max(axis=0) - X.min(axis=0))).astype(np.float32),
    }
    nets = {name: member.net_ for name, member in composed.named_estimators_.items()}
    expected = np.average(
        [softmax_of(nets[name], rows[name]) for name in rows], axis=0, weights=[1, 2, 3]
    )
    np.testing.assert_allclose(composed.predict_proba(X), expected, atol=1e-5)
    assert composed.compatibility_["same_ancestor"] is False, "and no warning"
