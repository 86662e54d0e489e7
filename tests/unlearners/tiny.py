"""Tiny networks that count as trained, and the arithmetic of a linear one in NumPy."""

import numpy as np
import torch
from scipy.special import log_softmax, softmax
from sklearn.frozen import FrozenEstimator
from skorch import NeuralNetClassifier
from torch import nn

_rng = np.random.default_rng(0)
WEIGHT, BIAS = _rng.normal(size=(4, 3)), _rng.normal(size=4)
X = _rng.normal(size=(20, 3)).astype(np.float32)
Y = np.arange(20) % 4
FORGET = np.arange(20) < 7


def linear(weight=WEIGHT, bias=BIAS):
    """Linear network with these weights."""
    module = nn.Linear(weight.shape[1], weight.shape[0])
    module.weight.data = torch.tensor(weight, dtype=torch.float32)
    module.bias.data = torch.tensor(bias, dtype=torch.float32)
    return module


def network():
    """Three linear layers with BatchNorm between them, and statistics of rows like X."""
    module = nn.Sequential(
        nn.Linear(3, 6),
        nn.BatchNorm1d(6),
        nn.Tanh(),
        nn.Linear(6, 5),
        nn.BatchNorm1d(5),
        nn.Tanh(),
        nn.Linear(5, 4),
    )
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(generator=generator)
        for _ in range(20):
            module(torch.randn(100, 3, generator=generator))
    return module.eval()


def make_net(module):
    """A skorch classifier that counts as trained, of the classes 0, 1, ..."""
    n_classes = list(module.modules())[-1].out_features
    return NeuralNetClassifier(
        module,
        criterion=nn.CrossEntropyLoss,
        classes=np.arange(n_classes),
        train_split=None,
        verbose=0,
    ).initialize()


def unlearn(make, module, X=X, y=Y, forget=FORGET, **params):
    """The unlearner after a request; by default one step of plain SGD over all rows."""
    params = {
        "optimizer": torch.optim.SGD,
        "lr": 0.5,
        "max_epochs": 1,
        "batch_size": 1000,
        "random_state": 0,
        **params,
    }
    return make(FrozenEstimator(make_net(module)), **params).fit(X, y).unlearn(X, y, forget=forget)


def head_of(unlearner):
    """Weight and bias of the last layer."""
    head = list(unlearner.net_.module_.modules())[-1]
    return head.weight.detach().numpy(), head.bias.detach().numpy()


def logits(weight, bias, X):
    return X.astype(float) @ weight.T + bias


def losses(weight, bias, X, y):
    """Cross-entropy of each row."""
    return -log_softmax(logits(weight, bias, X), axis=1)[np.arange(len(y)), y]


def errors(weight, bias, X, y):
    """Gradient of the cross-entropy of each row with respect to its logits."""
    return softmax(logits(weight, bias, X), axis=1) - np.eye(len(bias))[y]


def descend(weight, bias, lr, *parts):
    """A step of a linear network, given pairs of rows and gradients with respect to logits."""
    for X, gradient in parts:
        weight, bias = weight - lr * gradient.T @ X.astype(float), bias - lr * gradient.sum(axis=0)
    return weight, bias


def assert_head(unlearner, weight, bias):
    actual = head_of(unlearner)
    np.testing.assert_allclose(actual[0], weight, atol=2e-6)
    np.testing.assert_allclose(actual[1], bias, atol=2e-6)


def state_of(module):
    """Copies of the parameters and buffers, by name."""
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


def changed(before, module):
    """Names of the parameters and buffers that are not bit for bit as before."""
    after = module.state_dict()
    return [name for name, value in before.items() if not torch.equal(after[name], value)]
