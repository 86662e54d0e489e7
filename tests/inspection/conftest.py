"""Unlearners on tiny data, fitted once a session and handed out as copies."""

import copy

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from sklearn.datasets import load_iris
from skorch import NeuralNetClassifier

from sklunlearn import BoundaryUnlearner, RetrainUnlearner
from sklunlearn.networks import MLP

NAMES = np.array(["setosa", "versicolor", "virginica"])


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="session")
def flowers():
    """X of two features, labels that are strings, and the mask of one class."""
    X, y = load_iris(return_X_y=True)
    labels = NAMES[y[::2]]
    return X[::2, 2:].astype("float32"), labels, labels == "virginica"


@pytest.fixture(scope="session")
def unseen():
    """X and labels of rows that no network was trained on."""
    X, y = load_iris(return_X_y=True)
    return X[1::2, 2:].astype("float32"), NAMES[y[1::2]]


@pytest.fixture(scope="session")
def references(_fitted, flowers):
    """Three retrained networks."""
    X, y, forget = flowers
    return [
        RetrainUnlearner(_fitted[1].estimator, random_state=seed).fit(X, y, forget=forget)
        for seed in (1, 2, 3)
    ]


@pytest.fixture(scope="session")
def _fitted(flowers):
    X, y, forget = flowers
    net = NeuralNetClassifier(
        MLP,
        module__n_features=2,
        module__n_classes=3,
        module__hidden=(8,),
        criterion=torch.nn.CrossEntropyLoss,
        optimizer=torch.optim.Adam,
        lr=0.05,
        max_epochs=20,
        batch_size=25,
        train_split=None,
        verbose=0,
    )
    unlearner = BoundaryUnlearner(net, stop_accuracy=0, lr=0.05, max_epochs=50, random_state=0)
    retrained = RetrainUnlearner(net, random_state=0)
    return unlearner.fit(X, y, forget=forget), retrained.fit(X, y, forget=forget)


@pytest.fixture
def unlearner(_fitted):
    return copy.deepcopy(_fitted[0])


@pytest.fixture
def retrained(_fitted):
    return copy.deepcopy(_fitted[1])
