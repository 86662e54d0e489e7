"""Members for the tests of compositions: what they do to a network is known beforehand."""

import numpy as np
import torch
from skorch import NeuralNetClassifier
from torch import nn

from sklunlearn._nets import copy_net
from sklunlearn.base import BaseUnlearner


class Shift(BaseUnlearner):
    """Adds `scale` times normal noise to weights and running statistics."""

    def __init__(
        self, estimator=None, *, scale=0.1, seed=0, memory=None, random_state=None, verbose=0
    ):
        super().__init__(estimator, memory=memory, random_state=random_state, verbose=verbose)
        self.scale = scale
        self.seed = seed

    def _unlearn(self, start, X, y, forget):
        return shifted(start, self.scale, self.seed)


class Fails(Shift):
    """Fails in the middle of its run."""

    def _unlearn(self, start, X, y, forget):
        raise FloatingPointError("the run failed")


def shifted(net, scale=0.1, seed=0):
    """A copy of a net, of which every weight and running statistic is another."""
    new, generator = copy_net(net), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for key, value in new.module_.state_dict().items():
            if value.is_floating_point():
                noise = scale * torch.randn(value.shape, generator=generator)
                value.add_(noise.abs() if key.endswith("running_var") else noise)
            else:
                value.add_(seed + 1)
    return new


class BatchNormNet(nn.Module):
    """Parts with names, and BatchNorm in each."""

    def __init__(self, width=6):
        super().__init__()
        self.first = nn.Sequential(nn.Linear(4, width), nn.BatchNorm1d(width), nn.Tanh())
        self.second = nn.Sequential(nn.Linear(width, width), nn.BatchNorm1d(width), nn.Tanh())
        self.head = nn.Linear(width, 3)

    def forward(self, x):
        return self.head(self.second(self.first(x)))


def make(module, **params):
    """A net of 4 features and 3 classes, not fitted."""
    defaults = {
        "criterion": nn.CrossEntropyLoss,
        "optimizer": torch.optim.Adam,
        "lr": 0.05,
        "max_epochs": 10,
        "batch_size": 25,
        "train_split": None,
        "verbose": 0,
    }
    return NeuralNetClassifier(module, **{**defaults, **params})


def initialized(module, seed=0):
    """A net that counts as trained, whose BatchNorm has seen some rows."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = make(module, classes=np.arange(3)).initialize()
        with torch.no_grad():
            for _ in range(5):
                net.module_.train()(torch.randn(50, 4) * 2 + 1)
    net.module_.eval()
    return net


def state(net):
    """Copies of parameters and buffers, by name."""
    return {key: value.numpy().copy() for key, value in net.module_.state_dict().items()}


def assert_same(net, other):
    """Bit for bit, statistics and counters included."""
    ours, theirs = state(net), other if isinstance(other, dict) else state(other)
    assert ours.keys() == theirs.keys()
    for key, value in ours.items():
        np.testing.assert_array_equal(value, theirs[key], err_msg=key)


def accuracy(net, X, y):
    """Without the unlearner and without skorch."""
    with torch.no_grad():
        output = net.module_.eval()(torch.as_tensor(X, dtype=torch.float32)).numpy()
    return float(np.mean(output.argmax(axis=1) == y))


def loss(net, X, y):
    """Mean cross-entropy, in double precision."""
    with torch.no_grad():
        logits = net.module_.eval()(torch.as_tensor(X, dtype=torch.float32)).numpy().astype(float)
    highest = logits.max(axis=1)
    total = highest + np.log(np.exp(logits - highest[:, None]).sum(axis=1))
    return float(np.mean(total - logits[np.arange(len(y)), y]))
