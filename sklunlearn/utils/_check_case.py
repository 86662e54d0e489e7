"""What the checks of an unlearner need: data, a tiny network, faults and comparisons."""

from contextlib import contextmanager

import numpy as np
import torch
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.frozen import FrozenEstimator
from skorch import NeuralNetClassifier

from sklunlearn._seeding import isolated_random_state
from sklunlearn.networks import MLP

__all__ = [
    "Case",
    "Fault",
    "assert_unchanged",
    "fail_at_once",
    "fail_in_training",
    "failing",
    "same_weights",
    "weights_of",
]


class FaultyMLP(MLP):
    """A network that calls `fault` with a list of all passes: True for those in training."""

    fault = None
    passes = ()

    def forward(self, x):
        if FaultyMLP.fault is not None:
            FaultyMLP.passes.append(self.training)
            FaultyMLP.fault(FaultyMLP.passes)
        return super().forward(x)


@contextmanager
def failing(fault):
    FaultyMLP.fault, FaultyMLP.passes = staticmethod(fault), []
    try:
        yield
    finally:
        FaultyMLP.fault, FaultyMLP.passes = None, ()


class Fault(Exception):
    pass


def fail_at_once(passes):
    raise Fault


def fail_in_training(passes):
    if passes.count(True) == 2:
        raise Fault


class Case:
    """Data, a tiny network, a request and a second one, for an unlearner."""

    def __init__(self, unlearner):
        X, y = load_iris(return_X_y=True)
        self.X, self.y = X[::2].astype(np.float32), y[::2]
        # Every fifth row of each class; or a class, for methods that take nothing else.
        rows = "rows" in unlearner.request_types
        self.forget = np.arange(75) % 5 == 0 if rows else self.y == 1
        self.other = self.y == 2
        self.net = NeuralNetClassifier(
            FaultyMLP,
            module__n_features=4,
            module__n_classes=3,
            module__hidden=(8,),
            criterion=torch.nn.CrossEntropyLoss,
            optimizer=torch.optim.Adam,
            lr=0.05,
            max_epochs=10,
            batch_size=25,
            train_split=None,
            verbose=0,
        )
        self._unlearner = unlearner

    def make(self, estimator=None, random_state=0):
        """The unlearner around the tiny network or another estimator, not fitted."""
        estimator = self.net if estimator is None else estimator
        return clone(self._unlearner).set_params(estimator=estimator, random_state=random_state)

    def frozen(self):
        """A network that is trained already."""
        with isolated_random_state(0):
            return FrozenEstimator(clone(self.net).fit(self.X, self.y))

    def fitted(self):
        return self.make(self.frozen()).fit(self.X, self.y)

    def request(self, unlearner, forget=None, method="unlearn"):
        forget = self.forget if forget is None else forget
        return getattr(unlearner, method)(self.X, self.y, forget=forget)


def weights_of(net):
    state = net.module_.state_dict()
    return np.concatenate([value.detach().cpu().numpy().ravel() for value in state.values()])


def same_weights(net, other):
    return np.array_equal(weights_of(net), weights_of(other))


def assert_unchanged(unlearner, attributes, weights, what):
    changed = {
        name
        for name in vars(unlearner).keys() | attributes.keys()
        if vars(unlearner).get(name, unlearner) is not attributes.get(name, attributes)
    }
    assert not changed, f"{what} changed the attributes {sorted(changed)}"
    assert np.array_equal(weights_of(unlearner.net_), weights), f"{what} changed the weights"
