import copy
import pickle

import numpy as np
import pytest
import torch
from skorch import NeuralNetClassifier
from torch import nn

from sklunlearn._certified_head import (
    CertifiedHead,
    is_alone,
    net_with_head,
    scaled_inputs,
    set_weights,
)
from sklunlearn._data import Rows
from sklunlearn._nets import copy_net, strip_net, weights_digest

ROWS = np.random.default_rng(0).normal(size=(20, 4), scale=30).astype(np.float32)


class Twice(nn.Module):
    """Knows its last layer by two names, and applies it by the second."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 6), nn.ReLU())
        self.head = nn.Linear(6, 3)
        self.same = nn.Sequential(self.head)

    def forward(self, x):
        return self.same(self.body(x))


class Unused(Twice):
    def forward(self, x):
        return self.body(x)[:, :3]


class Patches(Twice):
    def forward(self, x):
        return self.head(torch.stack([self.body(x)] * 2, dim=1)).sum(dim=1)


def make_net(module, criterion=nn.CrossEntropyLoss, **params):
    torch.manual_seed(0)
    net = NeuralNetClassifier(module, criterion=criterion, train_split=None, verbose=0, **params)
    return net.initialize()


def linear_net(**params):
    return make_net(nn.Linear, module__in_features=4, module__out_features=3, **params)


def weights_for(head, n=3):
    return np.random.default_rng(1).normal(size=(n, head.in_features + 1))


def scale_by_hand(x):
    """A row divided by sqrt(1 + its squared norm), and a 1; both divided by sqrt(2)."""
    rows = []
    for row in np.asarray(x, dtype=np.float64):
        rows.append([*(row / np.sqrt(1 + sum(row**2))), 1])
    return np.array(rows) / np.sqrt(2)


@pytest.mark.parametrize("make", [lambda: make_net(Twice), linear_net], ids=["net", "bare layer"])
def test_the_head_multiplies_scaled_inputs(make):
    net, original = make(), None
    original = copy.deepcopy(net.module_.state_dict())
    new, head = net_with_head(net, 3)
    weights = weights_for(head)
    set_weights(head, weights)
    x = torch.from_numpy(ROWS)
    with torch.no_grad():
        inside = new.module_.body(x) if hasattr(new.module_, "body") else x
        logits = new.module_(x)
    expected = scale_by_hand(inside)
    inputs = scaled_inputs(new, head, Rows(ROWS))
    assert inputs.dtype == np.float64
    np.testing.assert_allclose(inputs, expected, rtol=1e-6)
    np.testing.assert_allclose(logits, expected @ weights.T, rtol=1e-4, atol=1e-5)
    norms = np.linalg.norm(inputs, axis=1)
    assert (norms <= 1).all() and (norms > 0.9).any()
    # Inputs of a row do not depend on the others.
    np.testing.assert_allclose(scaled_inputs(new, head, Rows(ROWS[7:8]))[0], inputs[7], rtol=1e-6)
    assert all(torch.equal(net.module_.state_dict()[name], original[name]) for name in original)
    assert new.module_.state_dict().keys() == original.keys()
    assert not head._forward_pre_hooks


def test_a_row_of_zeros():
    net, head = net_with_head(linear_net(), 3)
    inputs = scaled_inputs(net, head, Rows(np.zeros((1, 4), dtype=np.float32)))
    np.testing.assert_allclose(inputs, [[0, 0, 0, 0, 1 / np.sqrt(2)]])


def test_two_classes_have_one_model():
    net, head = net_with_head(make_net(nn.Linear, module__in_features=4, module__out_features=2), 2)
    weights = weights_for(head, 1)
    set_weights(head, weights)
    logits = net.module_(torch.from_numpy(ROWS)).detach().numpy()
    np.testing.assert_array_equal(logits[:, 0], 0)
    np.testing.assert_allclose(logits[:, 1], scale_by_hand(ROWS) @ weights[0], rtol=1e-4, atol=1e-6)


def test_the_layer_is_replaced_under_every_name():
    net, head = net_with_head(make_net(Twice), 3)
    assert net.module_.head is head
    assert net.module_.same[0] is head
    assert sum(isinstance(m, CertifiedHead) for m in net.module_.modules()) == 1


def test_copies_and_pickles_predict_the_same():
    net, head = net_with_head(make_net(Twice), 3)
    set_weights(head, weights_for(head))
    expected = net.predict_proba(ROWS)
    for other in (
        copy_net(net),
        strip_net(net),
        copy.deepcopy(net.module_),
        pickle.loads(pickle.dumps(net)),
    ):
        if isinstance(other, nn.Module):
            with torch.no_grad():
                found = other(torch.from_numpy(ROWS)).softmax(dim=1)
        else:
            found = other.predict_proba(ROWS)
            assert weights_digest(other) == weights_digest(net)
        np.testing.assert_array_equal(found, expected)
    again, other_head = net_with_head(net, 3)
    set_weights(other_head, 2 * weights_for(head))
    assert weights_digest(again) != weights_digest(net)


def test_the_global_random_state_is_left_as_found():
    net = make_net(Twice)
    before = torch.get_rng_state()
    net_with_head(net, 3)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("module", "given"),
    [
        (nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 2)), "'1', is Linear.*with 3 outputs"),
        (nn.Sequential(nn.Unflatten(1, (4, 1)), nn.Conv1d(4, 3, 1), nn.Flatten()), "is Conv1d"),
    ],
)
def test_the_last_layer_must_be_linear(module, given):
    with pytest.raises(ValueError, match=given):
        net_with_head(make_net(module), 3)


@pytest.mark.parametrize(
    ("module", "message"), [(Unused, "does not apply"), (Patches, "given 12 values a row.* of 6")]
)
def test_the_last_layer_must_be_given_one_vector_a_row(module, message):
    net, head = net_with_head(make_net(module), 3)
    with pytest.raises(ValueError, match=message):
        scaled_inputs(net, head, Rows(ROWS))
    assert not head._forward_pre_hooks


@pytest.mark.parametrize(
    ("make", "alone"),
    [
        (linear_net, True),
        (lambda: make_net(nn.Sequential(nn.Flatten(), nn.Linear(4, 3))), True),
        (lambda: make_net(Twice), False),
        (
            lambda: make_net(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 3)).requires_grad_(False)),
            False,
        ),
        (lambda: make_net(nn.Sequential(nn.BatchNorm1d(4, affine=False), nn.Linear(4, 3))), False),
        (lambda: linear_net(criterion__weight=torch.ones(3)), False),
    ],
    ids=["layer", "no parameters before", "net", "frozen", "statistics", "class weights"],
)
def test_what_stands_alone(make, alone):
    assert is_alone(*net_with_head(make(), 3)) is alone
