"""Requests as people make them, on real data; skipped where the data are missing."""

import numpy as np
import pandas as pd
import pytest
from realdata import find_data
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch import NeuralNetClassifier
from torch import nn, optim

from sklunlearn import BoundaryUnlearner, RetrainUnlearner, forget_mask
from sklunlearn.networks import MLP, SmallCNN


def read(name):
    path = find_data(name)
    if path is None:
        pytest.skip(f"the data folder has no {name}")
    if path.suffix == ".csv":
        return pd.read_csv(path)
    return np.load(path, allow_pickle=False)


def make_net(module, **params):
    return NeuralNetClassifier(
        module,
        **{f"module__{name}": value for name, value in params.items()},
        criterion=nn.CrossEntropyLoss,
        optimizer=optim.Adam,
        lr=0.01,
        train_split=None,
        verbose=0,
    )


def test_a_hospital_leaves():
    table = read("heart_disease.csv")
    X, y = table.drop(columns=["num", "site"]), np.where(table["num"] > 0, "disease", "healthy")
    forget = forget_mask(metadata=table, query="site == 'switzerland'")
    numbers = make_pipeline(SimpleImputer(add_indicator=True), StandardScaler())
    n_features = X.shape[1] + int(X.isna().any().sum())
    net = make_net(MLP, n_features=n_features, n_classes=2, hidden=(16,)).set_params(max_epochs=10)
    pipeline = make_pipeline(
        make_column_transformer((numbers, make_column_selector(dtype_include="number"))), net
    )
    retrained = RetrainUnlearner(pipeline, random_state=0).fit(X, y)
    retrained.unlearn(X, y, forget=forget)
    scaler = retrained.preprocessing_[0].named_transformers_["pipeline"][1]
    np.testing.assert_allclose(scaler.mean_[0], X["age"][~forget].mean())

    # A hospital's patients should be known as well as those of a hospital never seen.
    unseen = retrained.score(X[forget], y[forget])
    unlearner = BoundaryUnlearner(pipeline, stop_accuracy=unseen, random_state=0)
    unlearner.fit(X, y)
    before = unlearner.score(X[~forget], y[~forget])
    unlearner.unlearn(X, y, forget=forget)
    assert unlearner.score(X[forget], y[forget]) <= unseen
    assert unlearner.score(X[~forget], y[~forget]) > before - 0.05
    assert unlearner.records_[0]["n_forget"] == 123
    assert set(unlearner.predict(X)) == {"disease", "healthy"}


def test_a_scanner_is_retired():
    images = read("ham10000_28.npz")
    metadata = read("ham10000_metadata.csv")
    rows = np.arange(0, len(metadata), 20)
    X = images["X"][rows].transpose(0, 3, 1, 2).astype(np.float32) / 255
    y = np.where(metadata["dx"][rows] == "nv", "naevus", "other")
    net = make_net(SmallCNN, n_channels=3, n_classes=2, channels=(4, 8)).set_params(max_epochs=8)
    forget = forget_mask(metadata=metadata.iloc[rows], query="source == 'vidir_molemax'")
    assert forget.sum() == (metadata["source"][rows] == "vidir_molemax").sum()
    unlearner = BoundaryUnlearner(net, random_state=0).fit(X, y)
    before = unlearner.score(X[forget], y[forget])
    unlearner.unlearn(X, y, forget=forget)
    assert unlearner.score(X[forget], y[forget]) < before - 0.2
    assert len(unlearner.forget_loss_) == forget.sum()
