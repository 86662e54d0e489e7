import copy
import math
import pickle

import numpy as np
import pytest
import torch
from scipy.special import softmax
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from torch import nn
from torch.nn.functional import cross_entropy
from unlearners.tiny import arrays, changed, linear, make_net, with_gain

from sklunlearn import BoundaryUnlearner, FineTuneUnlearner, NegGradUnlearner
from sklunlearn._data import Rows
from sklunlearn.saliency import saliency_mask, updating_only

N_FORGET = 10


def make_module():
    """64 weights, in two linear layers with BatchNorm between them."""
    layers = nn.Linear(3, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 4)
    return with_gain(nn.Sequential(*layers), seed=0)


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    return rng.normal(size=(23, 3)).astype(np.float32), np.arange(23) % 4


def find(module, data, fraction, batch_size=100, trainable="all"):
    mask = saliency_mask(fraction, trainable=trainable)
    return mask.find(make_net(module), Rows(*data, np.arange(N_FORGET)), batch_size)


def unlearn(make, module, data, **params):
    params = {"batch_size": 4, "max_epochs": 3, "random_state": 0, **params}
    unlearner = make(FrozenEstimator(make_net(module)), **params).fit(*data)
    return unlearner.unlearn(*data, forget=range(N_FORGET))


def saliency_of(module, data, batches, names=None):
    """Absolute sum of the batches' gradients, in evaluation mode."""
    module = copy.deepcopy(module).eval()
    X, y = map(torch.tensor, data)
    parameters = {n: p for n, p in module.named_parameters() if names is None or n in names}
    total = {name: 0.0 for name in parameters}
    for batch in batches:
        gradients = torch.autograd.grad(
            cross_entropy(module(X[batch]), y[batch]), list(parameters.values())
        )
        for name, gradient in zip(parameters, gradients, strict=True):
            total[name] = total[name] + gradient
    return {name: gradient.abs() for name, gradient in total.items()}


def largest(saliency, n):
    """Masks of the n largest values, of which no two are equal."""
    values = torch.cat([value.flatten() for value in saliency.values()]).sort().values
    assert len(values.unique()) == len(values)
    return {name: value >= values[-n] for name, value in saliency.items()}


def assert_same_masks(masks, expected):
    expected = {name: mask for name, mask in expected.items() if mask.any()}
    assert list(masks) == list(expected)
    for name, mask in expected.items():
        assert torch.equal(masks[name], mask), name


# Which weights are chosen.


@pytest.mark.parametrize("fraction, n", [(0.01, 1), (0.2, 13), (0.5, 32), (0.9, 58), (1, 64)])
@pytest.mark.parametrize(
    "batch_size, batches",
    [(100, [range(10)]), (4, [range(4), range(4, 7), range(7, 10)])],
)
def test_weights_with_the_largest_gradients(data, fraction, n, batch_size, batches):
    module = make_module()
    with torch.no_grad():
        module[0].bias.zero_()  # gradients are taken, not weights
    saliency = saliency_of(module, data, map(list, batches))
    assert_same_masks(find(module, data, fraction, batch_size), largest(saliency, n))


@pytest.mark.parametrize(
    "trainable, names",
    [
        ("head", ["3.weight", "3.bias"]),
        (1, ["3.weight", "3.bias"]),
        (lambda name, p: p.ndim == 2, ["0.weight", "3.weight"]),
    ],
)
def test_only_among_trainable_parameters(data, trainable, names):
    module = make_module()
    saliency = saliency_of(module, data, [list(range(10))], names)
    n = math.ceil(0.3 * sum(value.numel() for value in saliency.values()))
    assert_same_masks(find(module, data, 0.3, trainable=trainable), largest(saliency, n))


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.75, 1.0])
def test_share_is_exact_with_ties(data, fraction):
    # Of units that are dead no weight has a gradient: 3 of 4, and 24 of 36 weights.
    module = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 4))
    with torch.no_grad():
        module[0].weight[0], module[0].bias[0] = torch.tensor([0.1, 0.2, -0.1]), 5.0
        module[0].bias[1:] = -50.0
    saliency = saliency_of(module, data, [list(range(10))])
    idle = sum(int((value == 0).sum()) for value in saliency.values())
    assert idle == 3 * 4 + 3 * 4
    masks = find(module, data, fraction)
    n_chosen = sum(int(mask.sum()) for mask in masks.values())
    assert n_chosen == math.ceil(fraction * 36)
    salient = sum(int((saliency[name] > 0)[mask].sum()) for name, mask in masks.items())
    assert salient == min(n_chosen, 36 - idle)


def test_network_is_left_as_it_was(data):
    module = make_module()
    module[0].weight.requires_grad_(False)
    before = arrays(module)
    masks = find(module, data, 1.0)
    assert "0.weight" not in masks and "0.bias" in masks  # it was frozen on purpose
    assert changed(before, module) == []
    assert all(p.grad is None for p in module.parameters())
    frozen = [name for name, p in module.named_parameters() if not p.requires_grad]
    assert frozen == ["0.weight"]


# What is done with the choice.


@pytest.mark.parametrize("max_grad_norm", [None, 0.1])
@pytest.mark.parametrize(
    "make, params",
    [
        (BoundaryUnlearner, {"lr": 0.05}),
        (BoundaryUnlearner, {"lr": 0.01, "optimizer": torch.optim.Adam}),
        (NegGradUnlearner, {"lr": 0.05, "forget_weight": 1.0}),
        (FineTuneUnlearner, {"lr": 0.05, "l1_weight": 0.1}),
    ],
)
def test_only_chosen_weights_move(data, make, params, max_grad_norm):
    module = make_module()
    batches = [list(range(4)), list(range(4, 7)), list(range(7, 10))]
    saliency = saliency_of(module, data, batches)
    n = sum(value.numel() for value in saliency.values())
    masks = largest(saliency, math.ceil(0.3 * n))
    unlearner = unlearn(
        make,
        module,
        data,
        trainable=saliency_mask(0.3),
        max_grad_norm=max_grad_norm,
        net_params={"optimizer__weight_decay": 0.1},
        **params,
    )
    for name, after in unlearner.net_.module_.named_parameters():
        moved = after != module.get_parameter(name)
        assert torch.equal(moved, masks[name]), name
    assert unlearner.updated_params_ == [name for name, mask in masks.items() if mask.any()]


@pytest.mark.parametrize("max_grad_norm", [0.05, 100.0])
def test_clipping_measures_the_weights_that_move(data, max_grad_norm):
    rng = np.random.default_rng(1)
    weight, bias = rng.normal(size=(4, 3)), rng.normal(size=4)
    module = linear(weight, bias)
    X, y = data[0].astype(float), data[1]

    def gradient(rows):
        error = (softmax(X[rows] @ weight.T + bias, axis=1) - np.eye(4)[y[rows]]) / len(X[rows])
        return np.concatenate([(error.T @ X[rows]).ravel(), error.sum(axis=0)])

    saliency = abs(gradient(slice(N_FORGET)))
    masked = gradient(slice(N_FORGET, None)) * (saliency >= np.sort(saliency)[-8])
    norm = np.linalg.norm(masked)
    assert 0.05 < norm < 100
    step = -2.0 * masked * min(1, max_grad_norm / norm)
    unlearner = unlearn(
        FineTuneUnlearner,
        module,
        data,
        trainable=saliency_mask(0.5),
        max_grad_norm=max_grad_norm,
        optimizer=torch.optim.SGD,
        lr=2.0,
        max_epochs=1,
        batch_size=100,
    )
    after = np.concatenate(
        [p.detach().numpy().ravel() for p in unlearner.net_.module_.parameters()]
    )
    before = np.concatenate([weight.ravel(), bias])
    np.testing.assert_allclose(after - before, step, rtol=1e-4, atol=2e-6)


def test_restore_puts_the_other_weights_back():
    module = nn.Linear(2, 2, bias=False)
    original = module.weight.detach().clone()
    mask = torch.tensor([[True, False], [False, False]])
    with pytest.raises(KeyError), updating_only(module, {"weight": mask}) as restore:
        module(torch.ones(1, 2)).sum().backward()
        np.testing.assert_array_equal(module.weight.grad, mask.float())
        with torch.no_grad():
            module.weight += 1
        restore()
        np.testing.assert_array_equal(
            module.weight.detach(), torch.where(mask, original + 1, original)
        )
        raise KeyError
    module.zero_grad()
    module(torch.ones(1, 2)).sum().backward()
    np.testing.assert_array_equal(module.weight.grad, np.ones((2, 2)))


# The selector as a parameter.


def test_selector_can_be_printed_cloned_and_pickled(data):
    mask = saliency_mask(0.25, trainable=2)
    assert repr(mask) == "saliency_mask(fraction=0.25, trainable=2)"
    unlearner = NegGradUnlearner(trainable=mask)
    for copied in (clone(unlearner), pickle.loads(pickle.dumps(unlearner))):
        assert repr(copied.trainable) == repr(mask)


@pytest.mark.parametrize("fraction", [0, -0.1, 1.01, float("nan")])
def test_wrong_fraction(fraction):
    with pytest.raises(ValueError, match=r"`fraction` must be in \(0, 1\], got"):
        saliency_mask(fraction)


def test_wrong_trainable(data):
    with pytest.raises(ValueError, match="trainable=9 asks for the last 9 layers"):
        find(make_module(), data, 0.5, trainable=9)
