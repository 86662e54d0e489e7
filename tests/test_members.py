import copy

import numpy as np
import pytest
import torch
from composing import BatchNormNet, Shift, initialized, shifted
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from skorch import NeuralNetClassifier
from torch import nn

from sklunlearn import FineTuneUnlearner
from sklunlearn._data import Rows
from sklunlearn._members import (
    ancestor_of,
    check_descend_from,
    check_members,
    check_same_architecture,
    check_same_classes,
    have_same_ancestor,
    is_frozen,
    similarity_of_embeddings,
)


@pytest.fixture
def start():
    return initialized(BatchNormNet)


def fitted(estimator, X, y, **params):
    return Shift(FrozenEstimator(estimator), **params).fit(X, y).unlearn(X, y, forget=(y == 0))


# check_members


def test_dropped_members_are_left_out(trained_net, X, y):
    frozen, other = FrozenEstimator(fitted(trained_net, X, y)), Shift()
    members = [("a", frozen), ("b", "drop"), ("c", other)]
    assert check_members(members) == [("a", frozen), ("c", other)]
    assert [is_frozen(member) for _, member in check_members(members)] == [True, False]


@pytest.mark.parametrize(
    "member", [FineTuneUnlearner, FrozenEstimator(StandardScaler()), StandardScaler(), None, "keep"]
)
def test_a_member_is_an_unlearner(member):
    with pytest.raises(TypeError, match="member 'b' must be an unlearner, a FrozenEstimator"):
        check_members([("a", Shift()), ("b", member)])


def test_a_frozen_member_is_fitted():
    with pytest.raises(ValueError, match=r"'b' is frozen.*not fitted: fit the Shift first"):
        check_members([("a", Shift()), ("b", FrozenEstimator(Shift()))])


# classes and architecture


def test_classes_in_the_same_order(trained_net, X, y):
    member = fitted(trained_net, X, y)
    check_same_classes(["a"], [member], np.arange(3))
    for classes in (np.array([2, 1, 0]), np.arange(2), np.array(["a", "b", "c"])):
        with pytest.raises(ValueError, match=r"'a' has the classes \[0, 1, 2\]"):
            check_same_classes(["a"], [member], classes)


def narrow():
    return BatchNormNet(5)


class Renamed(BatchNormNet):
    pass


@pytest.mark.parametrize(
    "other, expected",
    [
        (narrow, r"'first.0.bias': \(6,\), torch.float32 and \(5,\), torch.float32"),
        (lambda: nn.Sequential(nn.Linear(4, 3)), r"'0.bias': None and \(3,\)"),
        (Renamed, "'module': BatchNormNet and Renamed"),
        (lambda: BatchNormNet().double(), "torch.float32 and .*torch.float64"),
    ],
)
def test_networks_of_different_architectures(start, X, y, other, expected):
    member, same = fitted(start, X, y), fitted(shifted(start), X, y)
    check_same_architecture(["a", "b"], [member, same])
    another = copy.copy(same)
    another.net_ = copy.copy(same.net_)
    another.net_.module_ = other()
    with pytest.raises(ValueError, match=f"'a' and 'c' have different.*{expected}.*'vote'"):
        check_same_architecture(["a", "b", "c"], [member, same, another])


class TwoModules(NeuralNetClassifier):
    def initialize_module(self):
        super().initialize_module()
        self.other_ = nn.Linear(4, 4)
        return self

    def infer(self, x, **params):
        return self.module_(self.other_(x), **params)


def test_a_net_of_several_modules(start, X, y):
    two = TwoModules(nn.Linear(4, 3), criterion=nn.CrossEntropyLoss, classes=[0, 1, 2])
    member = fitted(two.initialize(), X, y)
    with pytest.raises(ValueError, match=r"'b' has several modules, \['module', 'other'\]"):
        check_same_architecture(["a", "b"], [fitted(start, X, y), member])


def pipeline(net, X, *steps):
    fitted = make_pipeline(*steps, net)
    for step in steps:
        step.fit(X)
    return fitted


def add_one(X):
    return X + 1


def test_networks_after_different_preprocessing(start, X, y):
    scaled = fitted(pipeline(start, X, StandardScaler()), X, y)
    equal = fitted(pipeline(start, X.copy(), StandardScaler()), X, y)
    check_same_architecture(["a", "b"], [scaled, equal])
    for steps in ([], [FunctionTransformer(add_one)], [StandardScaler(with_std=False)]):
        other = fitted(pipeline(start, X, *steps) if steps else start, X, y)
        with pytest.raises(ValueError, match="'a' and 'b' preprocess the rows differently"):
            check_same_architecture(["a", "b"], [scaled, other])


def test_preprocessing_by_a_function_without_a_name(start, X, y):
    step = FunctionTransformer(lambda X: X + 1)
    members = [fitted(pipeline(start, X, step), X, y) for _ in range(2)]
    check_same_architecture(["a", "b"], members)


# ancestors


def test_ancestors_are_told_by_their_weights(start, X, y):
    one, two = fitted(start, X, y), fitted(copy.deepcopy(start), X, y, seed=1)
    other, released = fitted(shifted(start, 1e-6), X, y), fitted(start, X, y).release()
    assert ancestor_of(one) == ancestor_of(two) != ancestor_of(other)
    assert ancestor_of(released) is None
    assert have_same_ancestor([one, two]) is True
    assert have_same_ancestor([one, other]) is False
    assert have_same_ancestor([one, released]) is None
    check_descend_from(["a", "b"], [one, two], ancestor_of(one))
    for member in (other, released):
        with pytest.raises(ValueError, match="'b' was not made from the original network"):
            check_descend_from(["a", "b"], [one, member], ancestor_of(one))


# embeddings


def embeddings_by_hand(net, X, before="head"):
    """In evaluation mode."""
    with torch.no_grad():
        module = net.module_.eval()
        x = module.first(torch.as_tensor(X))
        if before == "head":
            x = module.second(x)
    return x.numpy().astype(float)


@pytest.mark.parametrize("cut", [None, "head", "second"])
def test_similarity_is_that_of_numpy(start, X, cut):
    nets = [start, shifted(start, 0.5), shifted(start, 0.5, seed=1)]
    similarity = similarity_of_embeddings(nets, Rows(X), cut)
    embeddings = [embeddings_by_hand(net, X, cut or "head") for net in nets]
    for i, one in enumerate(embeddings):
        for j, two in enumerate(embeddings):
            norms = np.linalg.norm(one, axis=1) * np.linalg.norm(two, axis=1)
            expected = np.mean((one * two).sum(axis=1) / norms)
            np.testing.assert_allclose(similarity[i, j], expected, rtol=1e-5)
    np.testing.assert_array_equal(np.diag(similarity), np.ones(3))
    np.testing.assert_array_equal(similarity, similarity.T)


def test_equal_embeddings_have_similarity_1_though_they_are_zero(X):
    net = initialized(nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)))
    with torch.no_grad():
        net.module_[0].bias.fill_(-1000)
    similarity = similarity_of_embeddings([net, copy.deepcopy(net)], Rows(X))
    np.testing.assert_array_equal(similarity, np.ones((2, 2)))
