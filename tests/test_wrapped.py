"""Nets that torch.compile has wrapped: trained so, and then taken out of it."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from skorch import NeuralNetClassifier
from torch import nn

from sklunlearn import (
    BoundaryUnlearner,
    ComposedUnlearner,
    DUCKUnlearner,
    FineTuneUnlearner,
    RetrainUnlearner,
    SISAUnlearner,
)
from sklunlearn._data import BatchLoader
from sklunlearn._wrapped import is_compiled
from sklunlearn.persistence import load_model, save_model

# As inductor would compile them, but run by torch: no compiler is needed.
COMPILED = {"compile": True, "compile__backend": "eager"}

# torch's compiler looks at the gradients of tensors that have none.
pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")


class Normalised(nn.Module):
    """A linear layer, BatchNorm and another linear layer."""

    def __init__(self):
        super().__init__()
        self.hidden, self.norm = nn.Linear(4, 8), nn.BatchNorm1d(8)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.norm(self.hidden(x)).relu())


@pytest.fixture(autouse=True)
def _no_compiled_code_of_other_tests():
    # torch compiles a class of modules for so many of its instances only.
    torch.compiler.reset()


def make_net(**params):
    settings = {"criterion": nn.CrossEntropyLoss, "lr": 0.1, "max_epochs": 2, "batch_size": 37}
    return NeuralNetClassifier(
        Normalised, train_split=None, verbose=0, iterator_train=BatchLoader, **settings, **params
    )


def same(one, other):
    states = [unlearner.net_.module_.state_dict() for unlearner in (one, other)]
    assert list(states[0]) == list(states[1])
    return all(torch.equal(states[0][key], states[1][key]) for key in states[0])


METHODS = [
    BoundaryUnlearner(max_epochs=2, random_state=0),
    DUCKUnlearner(max_epochs=1, random_state=0),  # it puts hooks on the network
    FineTuneUnlearner(max_epochs=1, trainable="head", freeze_batchnorm=True, random_state=0),
    RetrainUnlearner(random_state=0),
    SISAUnlearner(n_shards=2, n_slices=2, random_state=0),
    ComposedUnlearner([("only", FineTuneUnlearner(max_epochs=1))], random_state=0),
]


@pytest.mark.parametrize("unlearner", METHODS, ids=lambda unlearner: type(unlearner).__name__)
def test_a_compiled_net_is_unlearned_as_any_other(unlearner, X, y):
    found = []
    for params in ({}, COMPILED):
        unlearner.set_params(estimator=make_net(**params)).fit(X, y)
        assert not is_compiled(unlearner.net_)
        unlearner.unlearn(X, y, forget=y == 0)
        found.append(pickle.loads(pickle.dumps(unlearner)))
    assert same(*found)
    assert next(iter(found[1].net_.module_.state_dict())).endswith("hidden.weight")
    np.testing.assert_array_equal(found[0].predict_proba(X), found[1].predict_proba(X))


def test_the_training_is_that_of_the_compiled_module(X, y):
    seen = []

    def backend(graph, inputs):
        seen.append(len(inputs))
        return graph.forward

    FineTuneUnlearner(make_net(compile=True, compile__backend=backend)).fit(X, y)
    assert seen


class OwnPipeline(Pipeline):
    """A class of the user's."""


@pytest.mark.parametrize("in_pipeline", [False, True])
def test_a_frozen_net_that_is_compiled_is_left_as_it_is(in_pipeline, X, y):
    net = make_net(**COMPILED)
    steps = [("scale", StandardScaler()), ("net", net)]
    estimator = OwnPipeline(steps) if in_pipeline else net
    estimator.fit(X, y)
    trained = estimator[-1] if in_pipeline else estimator
    before = {key: value.clone() for key, value in trained.module_.state_dict().items()}
    unlearner = FineTuneUnlearner(FrozenEstimator(estimator), random_state=0).fit(X, y)
    np.testing.assert_allclose(unlearner.predict_proba(X), estimator.predict_proba(X), atol=1e-6)
    assert type(unlearner.fitted_) is type(estimator)
    unlearner.unlearn(X, y, forget=y == 0)
    assert is_compiled(trained) and trained.compile is True
    after = trained.module_.state_dict()
    assert all(torch.equal(value, after[key]) for key, value in before.items())
    assert not is_compiled(unlearner.net_)


def test_a_net_that_was_compiled_can_be_saved(tmp_path, X, y):
    unlearner = FineTuneUnlearner(make_net(**COMPILED), max_epochs=1, random_state=0).fit(X, y)
    unlearner.unlearn(X, y, forget=y == 0)
    for i, model in enumerate([unlearner, unlearner.release()]):
        save_model(model, tmp_path / str(i))
        loaded = load_model(tmp_path / str(i), custom_objects=[Normalised])
        assert not is_compiled(loaded.net_)
        np.testing.assert_array_equal(loaded.predict_proba(X), unlearner.predict_proba(X))
