"""Tiny data and tiny networks, fitted once a session and handed out as copies."""

import copy
import os

import pytest

os.environ["SCIPY_ARRAY_API"] = "1"  # else scikit-learn skips its checks of the array API
import torch
from sklearn.datasets import load_iris
from skorch import NeuralNetClassifier

from sklunlearn.networks import MLP

torch.set_num_threads(1)


def make_net():
    return NeuralNetClassifier(
        MLP,
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


@pytest.fixture(scope="session")
def _session_data():
    X, y = load_iris(return_X_y=True)
    return X[::2].astype("float32"), y[::2]


@pytest.fixture(scope="session")
def _session_net(_session_data):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return make_net().fit(*_session_data)


@pytest.fixture
def X(_session_data):
    """75 rows of four features, float32."""
    return _session_data[0].copy()


@pytest.fixture
def y(_session_data):
    """Classes 0, 1 and 2: 25 rows each, in this order."""
    return _session_data[1].copy()


@pytest.fixture
def net():
    """A net for X and y, not fitted."""
    return make_net()


@pytest.fixture
def trained_net(_session_net):
    """The net, fitted to X and y."""
    return copy.deepcopy(_session_net)
