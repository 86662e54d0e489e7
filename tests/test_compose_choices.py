"""What a composition chooses by, and what it says of its members."""

import json

import numpy as np
import pytest
import torch
from composing import BatchNormNet, Shift, accuracy, assert_same, initialized, loss, shifted, state
from sklearn.frozen import FrozenEstimator
from torch import nn

from sklunlearn import ComposedUnlearner
from sklunlearn._nets import copy_net


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


# Fine-tuning


def test_scores_before_and_after_fine_tuning(compose, X, y, forget):
    composed = compose(encoder="a", head="b", finetune_epochs=20, finetune_lr=0.01)
    plain = compose(encoder="a", head="b")
    assert plain.scores_ == {}
    assert list(composed.scores_) == ["merged", "finetuned"]
    for name, net in (("merged", plain.net_), ("finetuned", composed.net_)):
        for kind, mask in (("forget", forget), ("retain", ~forget)):
            scores = composed.scores_[name]
            expected = accuracy(net, X[mask], y[mask])
            assert scores[f"{kind}_accuracy"] == pytest.approx(expected)
            assert scores[f"{kind}_loss"] == pytest.approx(loss(net, X[mask], y[mask]), rel=1e-5)
    assert composed.scores_["finetuned"]["retain_loss"] < composed.scores_["merged"]["retain_loss"]
    assert len(composed.history_) == 20
    assert composed.records_[-1]["scores"] == composed.scores_
    assert composed.records_[-1]["donors"] == {"0": "a", "1": "b"}


def test_fine_tuning_is_adam_on_the_retain_rows(compose, X, y, forget):
    params = {"method": "average", "recalibrate": False}
    plain = compose(**params)
    composed = compose(**params, finetune_epochs=3, finetune_lr=0.02, batch_size=1000)
    module = copy_net(plain.net_).module_.train()
    optimizer = torch.optim.Adam(module.parameters(), lr=0.02)
    for _ in range(3):
        optimizer.zero_grad()
        logits = module(torch.as_tensor(X[~forget]))
        nn.functional.cross_entropy(logits, torch.as_tensor(y[~forget])).backward()
        optimizer.step()
    # BatchNorm takes out what a bias before it adds, whose gradient is but rounding.
    idle = [
        f"{part}.{name}" for part in ("first", "second") for name in ("0.bias", "1.running_mean")
    ]
    for key, value in state(composed.net_).items():
        if value.dtype.kind == "f" and key not in idle:
            expected = module.state_dict()[key].numpy()
            np.testing.assert_allclose(value, expected, rtol=1e-3, atol=1e-4, err_msg=key)


def test_fine_tuning_of_the_head_leaves_the_encoder(compose):
    plain, tuned = (
        state(compose(encoder="a", head="b", finetune_epochs=n, trainable="head").net_)
        for n in (0, 3)
    )
    changed = [key for key, value in plain.items() if (tuned[key] != value).any()]
    assert changed == ["head.weight", "head.bias"]


def test_records_can_be_written_down(compose):
    for params in ({}, {"method": "vote"}, {"method": "average", "finetune_epochs": 1}):
        record = compose(**params).records_[-1]
        assert json.loads(json.dumps(record)) == record
    assert record["donors"] == {}
    assert list(record["scores"]) == ["merged", "finetuned"]


# Compatibility


def embeddings_by_hand(net, X):
    """Of all rows, before the head."""
    with torch.no_grad():
        module = net.module_.eval()
        return module.second(module.first(torch.as_tensor(X))).numpy().astype(float)


def test_similarity_of_embeddings(compose, X, y, forget):
    # As many retain rows as are looked at, so that the draw does not matter.
    few = np.concatenate([np.flatnonzero(forget), np.flatnonzero(~forget)[:30]])
    members = [Shift(scale=0.02, seed=seed) for seed in range(3)]
    composed = compose(*members, method="average", data=(X[few], y[few]), forget=forget[few])
    retain = X[few][~forget[few]]
    embeddings = [embeddings_by_hand(member.net_, retain) for member in composed.estimators_]
    expected = np.empty((3, 3))
    for i, one in enumerate(embeddings):
        for j, two in enumerate(embeddings):
            norms = np.linalg.norm(one, axis=1) * np.linalg.norm(two, axis=1)
            expected[i, j] = np.mean((one * two).sum(axis=1) / norms)
    similarity = composed.compatibility_["embedding_similarity"]
    np.testing.assert_allclose(similarity, expected, rtol=1e-5)


@pytest.mark.parametrize("method", ["graft", "average", "task_arithmetic", "interpolate"])
def test_a_warning_of_embeddings_that_differ(compose, X, y, method):
    members = Shift(scale=0.02), Shift(scale=0.05, seed=1)
    params = {"method": method, "encoder": "a", "head": "b"}
    with pytest.warns(UserWarning, match="mean cosine similarity of only") as caught:
        composed = compose(*members, **params)
    similarity = composed.compatibility_["embedding_similarity"][0, 1]
    assert 0.75 < similarity < 0.8
    assert f"only {similarity:.2f} (see" in str(caught[0].message)
    assert caught[0].filename == __file__


def test_no_warning_of_members_that_take_no_part(compose):
    members = Shift(scale=0.02), Shift(scale=2.0), Shift(scale=0.02, seed=1)
    composed = compose(*members, encoder="a", head="c")
    assert composed.compatibility_["embedding_similarity"].min() < 0.8


def test_members_of_different_ancestors(start, X, y, forget):
    members = []
    for seed, name in enumerate("ab"):
        own = shifted(start, 0.001, seed)
        member = Shift(FrozenEstimator(own), scale=0.01).fit(X, y).unlearn(X, y, forget=forget)
        members.append((name, FrozenEstimator(member)))
    composed = ComposedUnlearner(members, method="average").fit(X, y)
    with pytest.warns(UserWarning, match="made from networks with different weights") as caught:
        composed.unlearn(X, y, forget=forget)
    assert caught[0].filename == __file__
    assert composed.compatibility_["same_ancestor"] is False
    before = composed.predict_proba(X)
    composed.set_params(method="task_arithmetic")
    with pytest.raises(ValueError, match="'b' was not made from the original network"):
        composed.unlearn(X, y, forget=forget)
    np.testing.assert_array_equal(composed.predict_proba(X), before)
