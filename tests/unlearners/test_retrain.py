import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch import NeuralNetClassifier
from torch import nn

from sklunlearn import RetrainUnlearner
from sklunlearn._seeding import draw_seed

SEED = 5


class Net(nn.Module):
    def __init__(self, n_hidden=6):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(4, n_hidden), nn.ReLU(), nn.Dropout(0.2), nn.Linear(n_hidden, 3)
        )

    def forward(self, x):
        return self.layers(x)


def make_net(**params):
    params = {"module": Net, "module__n_hidden": 5, "max_epochs": 4, "lr": 0.1, **params}
    return NeuralNetClassifier(
        **params,
        criterion=nn.CrossEntropyLoss,
        classes=[0, 1, 2],
        batch_size=16,
        iterator_train__shuffle=True,
        train_split=None,
        verbose=0,
    )


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    y = np.arange(90) % 3
    X = rng.normal(size=(90, 4)) + 2 * np.eye(4)[y]
    return (10 * X + 3).astype(np.float32), y


def forget_some(y):
    return np.random.default_rng(1).random(len(y)) < 0.3


def forget_class(y):
    return y == 1


def train_by_skorch(net, X, y):
    """The weights that skorch alone arrives at."""
    with torch.random.fork_rng():
        torch.manual_seed(draw_seed(SEED))
        return clone(net).fit(X, y).module_.state_dict()


def assert_same_weights(net, expected):
    actual = net.module_.state_dict()
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(actual[name], value, err_msg=name)


@pytest.mark.parametrize("which", [forget_some, forget_class])
@pytest.mark.parametrize("frozen", [False, True])
def test_weights_are_those_of_a_training_on_the_retain_rows(data, which, frozen):
    X, y = data
    forget = which(y)
    net = make_net()
    expected = train_by_skorch(net, X[~forget], y[~forget])
    if frozen:
        net = FrozenEstimator(net.fit(X, y))
        original = {name: value.clone() for name, value in net.module_.state_dict().items()}
    unlearner = RetrainUnlearner(net, random_state=SEED).fit(X, y)
    if not frozen:
        original = train_by_skorch(net, X, y)
    unlearner.unlearn(X, y, forget=forget)
    assert_same_weights(unlearner.net_, expected)
    assert_same_weights(unlearner.fitted_, original)


def test_equals_an_unlearner_that_never_saw_the_rows(data):
    X, y = data
    forget = forget_some(y)
    unlearner = RetrainUnlearner(make_net(), random_state=SEED).fit(X, y)
    unlearner.unlearn(X, y, forget=forget)
    other = RetrainUnlearner(make_net(), random_state=SEED).fit(X[~forget], y[~forget])
    assert_same_weights(unlearner.net_, other.net_.module_.state_dict())
    np.testing.assert_array_equal(unlearner.predict_proba(X), other.predict_proba(X))


def test_default_network_is_sized_and_standardised_from_the_retain_rows(data):
    X, y = data
    forget = forget_class(y)
    unlearner = RetrainUnlearner(random_state=SEED).fit(X, y).unlearn(X, y, forget=forget)
    buffers = dict(unlearner.net_.module_.named_buffers())
    (mean,) = (value for name, value in buffers.items() if name.endswith("mean"))
    (scale,) = (value for name, value in buffers.items() if name.endswith("scale"))
    np.testing.assert_allclose(mean, X[~forget].mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(scale, X[~forget].std(axis=0), rtol=1e-5)
    assert unlearner.predict_proba(X).shape == (90, 3)


def test_removed_class_keeps_its_output(data):
    X, y = data
    labels = np.array(["ape", "bee", "cow"])[y]
    net = make_net().set_params(classes=None)
    unlearner = RetrainUnlearner(net, random_state=SEED).fit(X, labels)
    unlearner.unlearn(X, labels, forget=forget_class(y))
    assert unlearner.predict_proba(X).shape == (90, 3)
    np.testing.assert_array_equal(unlearner.classes_, ["ape", "bee", "cow"])
    assert unlearner.score(X[y == 1], labels[y == 1]) == 0
    assert unlearner.score(X[y != 1], labels[y != 1]) > 0.8


@pytest.mark.parametrize("frozen", [False, True])
def test_preprocessing_is_fitted_on_the_retain_rows(data, frozen):
    X, y = data
    forget = forget_class(y)
    pipeline = make_pipeline(StandardScaler(), make_net())
    if frozen:
        pipeline = FrozenEstimator(pipeline.fit(X, y))
    unlearner = RetrainUnlearner(pipeline, random_state=SEED).fit(X, y)
    unlearner.unlearn(X, y, forget=forget)

    retain = X[~forget].astype(float)
    mean, std = retain.mean(axis=0), retain.std(axis=0)
    scaler = unlearner.preprocessing_[0]
    np.testing.assert_allclose(scaler.mean_, mean, rtol=1e-6)
    np.testing.assert_allclose(scaler.scale_, std, rtol=1e-6)
    original = unlearner.fitted_[0]
    np.testing.assert_allclose(original.mean_, X.astype(float).mean(axis=0), rtol=1e-6)

    with torch.no_grad():
        standardised = torch.tensor((X - mean) / std, dtype=torch.float32)
        expected = unlearner.net_.module_.eval()(standardised).softmax(dim=1)
    np.testing.assert_allclose(unlearner.predict_proba(X), expected, atol=1e-5)


def test_epochs_are_those_of_the_net(data):
    X, y = data
    unlearner = RetrainUnlearner(make_net(max_epochs=3), random_state=SEED).fit(X, y)
    unlearner.unlearn(X, y, forget=forget_class(y))
    assert unlearner.history_[:, "epoch"] == [1, 2, 3]
    # 60 rows in batches of 16.
    assert unlearner.history_[:, "train_batch_count"] == [4, 4, 4]
    assert unlearner.net_.max_epochs == 3


def test_partial_unlearn_is_a_training_on_the_rows_that_remain(data):
    X, y = data
    forget, remaining = forget_class(y), y != 1
    also = forget_some(y[remaining])
    unlearner = RetrainUnlearner(make_net(), random_state=SEED).fit(X, y, forget=forget)
    unlearner.partial_unlearn(X[remaining], y[remaining], forget=also)
    expected = train_by_skorch(make_net(), X[remaining][~also], y[remaining][~also])
    assert_same_weights(unlearner.net_, expected)


def test_frozen_net_of_a_module_instance(data):
    X, y = data
    net = NeuralNetClassifier(
        Net(), criterion=nn.CrossEntropyLoss, classes=[0, 1, 2], train_split=None, verbose=0
    ).initialize()
    unlearner = RetrainUnlearner(FrozenEstimator(net)).fit(X, y)
    before = {name: value.clone() for name, value in net.module_.state_dict().items()}
    with pytest.raises(ValueError, match="made from an instance of Net"):
        unlearner.unlearn(X, y, forget=forget_class(y))
    assert unlearner.net_ is net
    assert_same_weights(net, before)


def test_module_instance_that_is_not_frozen_starts_from_its_weights(data):
    # `fit` too trained a clone of it: the weights that it has are its initial weights.
    X, y = data
    forget = forget_some(y)
    net = NeuralNetClassifier(
        Net(), criterion=nn.CrossEntropyLoss, classes=[0, 1, 2], train_split=None, verbose=0
    )
    expected = train_by_skorch(net, X[~forget], y[~forget])
    unlearner = RetrainUnlearner(net, random_state=SEED).fit(X, y).unlearn(X, y, forget=forget)
    assert_same_weights(unlearner.net_, expected)


def test_nothing_to_retain(data):
    X, y = data
    unlearner = RetrainUnlearner(make_net(max_epochs=1), random_state=SEED).fit(X, y)
    with pytest.raises(ValueError, match="forget"):
        unlearner.unlearn(X, y, forget=np.ones(90, dtype=bool))


def test_trained_module_instance_has_no_initial_weights(data):
    X, y = data
    net = NeuralNetClassifier(
        Net(), criterion=nn.CrossEntropyLoss, max_epochs=1, train_split=None, verbose=0
    ).fit(X, y)
    unlearner = RetrainUnlearner(net, random_state=SEED).fit(X, y)
    with pytest.raises(ValueError, match="made from an instance of Net and has been trained"):
        unlearner.unlearn(X, y, forget=forget_class(y))


def test_last_batch_of_one_row_and_batchnorm(X, y):
    net = NeuralNetClassifier(
        nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Linear(5, 3)),
        criterion=nn.CrossEntropyLoss,
        max_epochs=2,
        batch_size=8,
        train_split=None,
        verbose=0,
    )
    # 75 rows leave a last batch of 3, and 73 one of 1.
    unlearner = RetrainUnlearner(net, random_state=0).fit(X, y).unlearn(X, y, forget=[0, 1])
    assert len(unlearner.history_) == 2
    layer = unlearner.net_.module_[1]
    assert layer.num_batches_tracked == 2 * 9 and not layer._forward_pre_hooks
