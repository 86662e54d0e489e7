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
    loss,
    make,
    state,
)
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from sklunlearn import BoundaryUnlearner, ComposedUnlearner, FineTuneUnlearner
from sklunlearn._nets import copy_net
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


# auto


class Biased(Shift):
    """Adds to the logits of a class."""

    def __init__(self, estimator=None, *, label=0, by=0.0, random_state=None):
        super().__init__(estimator, random_state=random_state)
        self.label = label
        self.by = by

    def _unlearn(self, start, X, y, forget):
        new = copy_net(start)
        with torch.no_grad():
            list(new.module_.children())[-1].bias[self.label] += self.by
        return new


@pytest.fixture
def biased(trained_net, X, y):
    """Compose members that never or always say a class, by rows of which class 0 is forgotten."""

    def biased(*members, held_out=None, forget=(y == 0), **params):
        named = list(zip("abc", members, strict=False))
        composed = ComposedUnlearner(named, estimator=FrozenEstimator(trained_net), **params)
        return composed.fit(X, y).unlearn(X, y, forget=forget, **(held_out or {}))

    return biased


NEVER_0 = Biased(label=0, by=-1000.0)
NEVER_1 = Biased(label=1, by=-1000.0)
ALWAYS_0 = Biased(label=0, by=1000.0)
AS_IT_WAS = Biased()


def test_auto_takes_the_best_retainer_and_the_best_forgetter(biased, X, y):
    composed = biased(NEVER_1, NEVER_0, ALWAYS_0)
    assert composed.donors_ == ["b", "b"]
    for name, net in ((k, m.net_) for k, m in composed.named_estimators_.items()):
        scores = composed.scores_[name]
        assert scores["forget_accuracy"] == pytest.approx(accuracy(net, X[y == 0], y[y == 0]))
        assert scores["retain_accuracy"] == pytest.approx(accuracy(net, X[y > 0], y[y > 0]))
        assert scores["forget_loss"] == pytest.approx(loss(net, X[y == 0], y[y == 0]), rel=1e-5)
        assert scores["retain_loss"] == pytest.approx(loss(net, X[y > 0], y[y > 0]), rel=1e-5)
    assert list(composed.scores_) == ["a", "b", "c"]


def test_auto_goes_by_the_held_out_rows_alone(biased, X, y):
    # On rows said to be of class 0, whatever they are, what always says so is best at retaining.
    held_out = {"X_val": X, "y_val": np.zeros(75, dtype=int)}
    assert biased(AS_IT_WAS, ALWAYS_0, held_out=held_out, head="a").donors_ == ["b", "a"]
    assert biased(AS_IT_WAS, ALWAYS_0, head="a").donors_ == ["a", "a"]
    # And on forgotten rows that are said to be of class 1, what never says 1 has forgotten best.
    held_out |= {"y_val": np.where(y == 0, 1, 2), "forget_val": y == 0}
    composed = biased(ALWAYS_0, NEVER_0, Biased(label=1, by=1000.0), held_out=held_out)
    assert composed.scores_["a"]["forget_accuracy"] == 0
    assert composed.scores_["c"]["forget_accuracy"] == 1
    # Without forget_val, the forget rows of the request stand in.
    del held_out["forget_val"]
    composed = biased(ALWAYS_0, NEVER_0, held_out=held_out)
    assert composed.scores_["a"]["forget_accuracy"] == 1
    assert composed.donors_[-1] == "b"
    # And retain rows, where all held-out rows are like the forgotten ones.
    held_out = {"X_val": X, "y_val": y, "forget_val": np.ones(75, dtype=bool)}
    composed = biased(ALWAYS_0, NEVER_0, held_out=held_out)
    assert composed.scores_["a"]["retain_accuracy"] == 0
    assert composed.scores_["a"]["forget_accuracy"] == pytest.approx(1 / 3)


def test_fit_and_partial_unlearn_take_held_out_rows_too(biased, X, y):
    held_out = {"X_val": X, "y_val": np.zeros(75, dtype=int)}
    composed = biased(AS_IT_WAS, ALWAYS_0, head="a")
    assert composed.donors_ == ["a", "a"]
    composed.partial_unlearn(X, y, forget=(y == 0), **held_out)
    assert composed.donors_ == ["b", "a"]
    composed.fit(X, y, forget=(y == 0), **held_out)
    assert composed.donors_ == ["b", "a"]
    composed.unlearn(X, y, forget=(y == 0))
    assert composed.donors_ == ["a", "a"], "those of an earlier request are gone"


def test_ties_go_to_the_lower_loss_and_then_to_the_first(biased):
    assert biased(AS_IT_WAS, Biased()).donors_ == ["a", "a"]
    # Never class 0: the same accuracies, but a little less sure of class 1 or 2.
    assert biased(Biased(by=-5.0), NEVER_0, AS_IT_WAS).donors_ == ["b", "b"]


@pytest.mark.parametrize("target, head", [(0.0, "a"), (0.2, "a"), (0.9, "b"), (1.0, "b")])
def test_forget_target(biased, target, head):
    composed = biased(NEVER_0, AS_IT_WAS, encoder="b", forget_target=target)
    assert composed.donors_ == ["b", head]


def test_auto_in_a_list_of_encoders(compose):
    composed = compose(cut=[2, 1], encoder=["auto", "a"], head="b")

    def rank(name):
        scores = composed.scores_[name]
        return -scores["retain_accuracy"], scores["retain_loss"]

    assert composed.donors_ == [min("ab", key=rank), "a", "b"]


# interpolate


def test_the_path_from_one_member_to_the_other(compose, X, y, forget):
    composed = compose(method="interpolate", n_points=5)
    path = composed.path_
    np.testing.assert_array_equal(path["alpha"], [0, 0.25, 0.5, 0.75, 1])
    assert set(path) == {
        "alpha",
        "forget_accuracy",
        "forget_loss",
        "retain_accuracy",
        "retain_loss",
    }
    assert all(values.shape == (5,) for values in path.values())
    for end, member in zip((0, -1), composed.estimators_, strict=True):
        for name, mask in (("forget", forget), ("retain", ~forget)):
            expected = accuracy(member.net_, X[mask], y[mask])
            assert path[f"{name}_accuracy"][end] == pytest.approx(expected)
            expected = loss(member.net_, X[mask], y[mask])
            assert path[f"{name}_loss"][end] == pytest.approx(expected, rel=1e-5)


def test_the_best_point_of_the_path(biased, X, y):
    for target in (0.0, 0.6, 1.0):
        composed = biased(
            Biased(by=-20.0), Biased(by=20.0), method="interpolate", forget_target=target
        )
        path = composed.path_
        merit = path["retain_accuracy"] - abs(path["forget_accuracy"] - target)
        best = np.flatnonzero(merit == merit.max())
        best = best[np.argmin(path["retain_loss"][best])]
        # Between two biases, the one at the best point.
        original = composed.fitted_.module_.classifier.bias[0].item()
        expected = original + (1 - path["alpha"][best]) * -20 + path["alpha"][best] * 20
        assert composed.net_.module_.classifier.bias[0].item() == pytest.approx(expected, abs=1e-5)
        assert accuracy(composed.net_, X[y == 0], y[y == 0]) == path["forget_accuracy"][best]
    assert len(path["alpha"]) == 11


def test_a_point_of_the_line_that_is_given(compose):
    composed = compose(method="interpolate", alpha=0.3, n_points=2, recalibrate=False)
    a, b = (state(member.net_)["head.weight"].astype(float) for member in composed.estimators_)
    weight = state(composed.net_)["head.weight"]
    np.testing.assert_allclose(weight, 0.7 * a + 0.3 * b, rtol=1e-6, atol=1e-8)
    assert composed.path_["alpha"].tolist() == [0, 1]


# recalibrate


def first_statistics(net, X):
    weights = state(net)
    x = X.astype(float) @ weights["first.0.weight"].T + weights["first.0.bias"]
    return x.mean(axis=0), x.var(axis=0, ddof=1)


@pytest.mark.parametrize("method", ["average", "task_arithmetic", "interpolate"])
def test_statistics_are_those_of_the_retain_rows(compose, X, y, forget, method):
    params = {"method": method, "alpha": 0.5} if method == "interpolate" else {"method": method}
    composed = compose(**params)
    mean, var = first_statistics(composed.net_, X[~forget])
    statistics = state(composed.net_)
    np.testing.assert_allclose(statistics["first.1.running_mean"], mean, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(statistics["first.1.running_var"], var, rtol=1e-4)
    # Whatever the forget rows hold, and those held out.
    other = np.where(forget[:, None], X + 100, X)
    held_out = {"X_val": X[:30] - 50, "y_val": y[:30]}
    again = compose(**params, data=(other, y), held_out=held_out)
    assert_same(again.net_, composed.net_)


def test_statistics_without_recalibration(compose):
    composed = compose(method="average", recalibrate=False)
    a, b = (state(member.net_)["first.1.running_mean"] for member in composed.estimators_)
    mean = state(composed.net_)["first.1.running_mean"]
    np.testing.assert_allclose(mean, (a.astype(float) + b) / 2, rtol=1e-6)
