"""Data, networks and scores that the benchmarks share."""

import sys
from pathlib import Path

import numpy as np
import torch
from sklearn.model_selection import train_test_split
from skorch import NeuralNetClassifier
from skorch.callbacks import LRScheduler

from sklunlearn._data import BatchLoader
from sklunlearn.networks import AllCNN

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from realdata import find_data


def split(load, seed=0):
    """Bundled data, as (X, y) to train on and (X, y) to test on: 30% of the rows."""
    X, y = load(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(
        X.astype(np.float32), y, test_size=0.3, stratify=y, random_state=seed
    )
    return (X_train, y_train), (X_test, y_test)


def load_cifar():
    """The CIFAR-10 subset of the data folder, as (X, y) to train on and (X, y) to test on."""
    path = find_data("cifar10_small.npz")
    if path is None:
        sys.exit("The data folder has no cifar10_small.npz.")
    with np.load(path, allow_pickle=False) as data:
        train, test = (
            (
                np.ascontiguousarray(data[f"X_{part}"].transpose(0, 3, 1, 2), dtype=np.float32)
                / 255,
                data[f"y_{part}"],
            )
            for part in ("train", "test")
        )
    return train, test


def cifar_net(X, max_epochs):
    """Unfitted AllCNN of a quarter of the width."""
    return NeuralNetClassifier(
        AllCNN,
        module__n_channels=3,
        module__n_classes=10,
        module__width=0.25,
        module__mean=X.mean(axis=(0, 2, 3)),
        module__scale=X.std(axis=(0, 2, 3)),
        criterion=torch.nn.CrossEntropyLoss,
        optimizer=torch.optim.SGD,
        optimizer__momentum=0.9,
        optimizer__weight_decay=1e-4,
        lr=0.05,
        callbacks=[LRScheduler(torch.optim.lr_scheduler.CosineAnnealingLR, T_max=max_epochs)],
        max_epochs=max_epochs,
        batch_size=64,
        train_split=None,
        iterator_train=BatchLoader,
        iterator_train__shuffle=True,
        iterator_valid=BatchLoader,
        verbose=0,
    )


def accuracies(unlearner, train, test, forget, label=None):
    """Accuracy on forget rows (train, test) and on retain rows (train, test).

    `forget` marks training rows. With a `label`, the forgotten class, its test rows count as
    forget rows; without one there are none (NaN), and all test rows count as retain rows.
    """
    right_train, right_test = (unlearner.predict(X) == y for X, y in (train, test))
    of_class = np.zeros(len(right_test), dtype=bool) if label is None else test[1] == label
    groups = [
        right_train[forget],
        right_test[of_class],
        right_train[~forget],
        right_test[~of_class],
    ]
    return [right.mean() if len(right) else np.nan for right in groups]
