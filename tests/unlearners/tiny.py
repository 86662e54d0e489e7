"""Tiny networks that count as trained, runs on them, and the arithmetic of linear ones."""

import numpy as np
import torch
from scipy.special import log_softmax, softmax
from sklearn.frozen import FrozenEstimator
from skorch import NeuralNetClassifier
from torch import nn
from torch.utils.data import Dataset, TensorDataset

_rng = np.random.default_rng(0)
WEIGHT, BIAS = _rng.normal(size=(4, 3)), _rng.normal(size=4)
X = _rng.normal(size=(20, 3)).astype(np.float32)
Y = np.arange(20) % 4
FORGET = np.arange(20) < 7


def linear(weight=WEIGHT, bias=BIAS):
    """Linear network with these weights; `bias` may be None."""
    module = nn.Linear(*np.shape(weight)[::-1], bias=bias is not None)
    module.weight.data = torch.tensor(weight, dtype=torch.float32)
    if bias is not None:
        module.bias.data = torch.tensor(bias, dtype=torch.float32)
    return module


def linears(*layers):
    """Linear layers, one after the other, each from its weights and its bias."""
    return nn.Sequential(*(linear(*layer) for layer in layers)).eval()


def with_gain(module, seed=3, draw=torch.randn):
    """Normal weights, so that each class has its share of the rows, and BatchNorm statistics."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(generator=generator)
        for _ in range(20):
            module(draw(100, 3, generator=generator))
    return module.eval()


def network():
    """Three linear layers with BatchNorm between them."""
    first, second = (nn.Linear(3, 6), nn.BatchNorm1d(6)), (nn.Linear(6, 5), nn.BatchNorm1d(5))
    return with_gain(nn.Sequential(*first, nn.Tanh(), *second, nn.Tanh(), nn.Linear(5, 4)), seed=0)


def dropout_network():
    """Two linear layers with BatchNorm and dropout between them."""
    layers = nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(0.5), nn.Linear(8, 4)
    return with_gain(nn.Sequential(*layers), seed=9)


def make_net(module, cls=NeuralNetClassifier, criterion=nn.CrossEntropyLoss):
    """A skorch classifier that counts as trained, of the classes 0, 1, ..."""
    sizes = [layer.out_features for layer in module.modules() if hasattr(layer, "out_features")]
    return cls(
        module, criterion=criterion, classes=np.arange(sizes[-1]), train_split=None, verbose=0
    ).initialize()


def unlearn(make, module, X=X, y=Y, forget=FORGET, as_dataset=False, **params):
    """The unlearner after a request; gradient methods take one step of plain SGD over all rows."""
    defaults = {"batch_size": 1000, "random_state": 0}
    if "optimizer" in make().get_params():
        defaults.update(optimizer=torch.optim.SGD, lr=1.0, max_epochs=1)
    unlearner = make(FrozenEstimator(make_net(module)), **{**defaults, **params})
    if not isinstance(X, Dataset):
        X, y = np.asarray(X, dtype=np.float32), np.asarray(y)
    data = (TensorDataset(torch.tensor(X), torch.tensor(y)),) if as_dataset else (X, y)
    return unlearner.fit(*data).unlearn(*data, forget=forget)


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


def arrays(module):
    """Copies of the parameters and buffers, by name."""
    return {name: value.detach().numpy().copy() for name, value in module.state_dict().items()}


def changed(before, module):
    """Names of the parameters and buffers that are not bit for bit as before."""
    after = arrays(module)
    assert after.keys() == before.keys()
    return [name for name, value in before.items() if not np.array_equal(after[name], value)]
