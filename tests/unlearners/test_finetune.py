import numpy as np
import pytest
import torch
from sklearn.frozen import FrozenEstimator
from skorch import NeuralNetClassifier
from tiny import (
    BIAS,
    FORGET,
    WEIGHT,
    X,
    Y,
    arrays,
    assert_head,
    changed,
    descend,
    errors,
    linear,
    logits,
    losses,
    make_net,
    network,
    unlearn,
)
from torch import nn
from torch.utils.data import TensorDataset

from sklunlearn import FineTuneUnlearner, RetrainUnlearner
from sklunlearn._data import BatchLoader
from sklunlearn.networks import MLP
from sklunlearn.saliency import saliency_mask

X_RETAIN, Y_RETAIN = X[~FORGET], Y[~FORGET]


@pytest.mark.parametrize("lr", [0.1, 2.0])
@pytest.mark.parametrize("l1_weight", [0.0, 0.03, 0.5])
@pytest.mark.parametrize("max_epochs", [1, 3])
def test_by_hand(lr, l1_weight, max_epochs):
    weight, bias = WEIGHT, BIAS
    for e in range(max_epochs):
        shrink = lr * l1_weight * (1 - e / max_epochs)
        signs = np.sign(weight), np.sign(bias)
        gradient = errors(weight, bias, X_RETAIN, Y_RETAIN) / len(X_RETAIN)
        weight, bias = descend(weight, bias, lr, (X_RETAIN, gradient))
        weight, bias = weight - shrink * signs[0], bias - shrink * signs[1]
    unlearner = unlearn(
        FineTuneUnlearner, linear(), l1_weight=l1_weight, lr=lr, max_epochs=max_epochs
    )
    assert_head(unlearner, weight, bias)


def test_loss_is_that_of_the_retain_rows_and_the_trained_weights():
    module = nn.Sequential(nn.Linear(3, 3), linear())
    module[0].load_state_dict({"weight": torch.eye(3), "bias": torch.zeros(3)})
    params = {"l1_weight": 0.2, "lr": 1e-6}
    cross_entropy = losses(WEIGHT, BIAS, X_RETAIN, Y_RETAIN).mean()
    for trainable, n_units in [(1, 0), (2, 3)]:  # the identity's weights have an L1 norm of 3
        history = unlearn(FineTuneUnlearner, module, trainable=trainable, **params).history_
        norm = np.abs(WEIGHT).sum() + np.abs(BIAS).sum() + n_units
        assert history[0, "train_loss"] == pytest.approx(cross_entropy + 0.2 * norm, rel=1e-6)


def test_l1_sparsifies():
    # A weight that no row pulls at shrinks by lr * gamma * (E + 1) / 2 in all.
    module = linear(np.hstack([WEIGHT, np.full((4, 1), 0.9)]))
    rows = np.hstack([X, np.zeros((20, 1), np.float32)])
    params = {"X": rows, "l1_weight": 0.1, "lr": 0.2, "max_epochs": 9}
    unlearner = unlearn(FineTuneUnlearner, module, **params)
    idle = unlearner.net_.module_.weight[:, 3].detach()
    np.testing.assert_allclose(idle, 0.9 - 0.2 * 0.1 * 5, rtol=1e-6)


class Recorder(FineTuneUnlearner):
    """Keeps the retain rows of each step."""

    def _prepare(self, net, forget, retain):
        self.seen_ = []

    def _loss(self, module, forget, retain):
        assert forget is None
        self.seen_.append(retain.X.numpy())
        return super()._loss(module, forget, retain)


def test_retain_rows_once_an_epoch_in_a_new_order():
    seen = unlearn(Recorder, network(), batch_size=5, max_epochs=4, lr=0.01).seen_
    assert [len(batch) for batch in seen] == [5, 4, 4] * 4
    orders = np.concatenate(seen).reshape(4, 13, 3)
    assert len({order.tobytes() for order in orders}) == 4
    for order in orders:
        np.testing.assert_array_equal(
            order[np.argsort(order[:, 0])], X_RETAIN[np.argsort(X_RETAIN[:, 0])]
        )


def test_forget_rows_have_no_influence():
    states = []
    for factor in (1, -3):
        rows = X.copy()
        rows[FORGET] *= factor
        unlearner = unlearn(FineTuneUnlearner, network(), rows, batch_size=5, max_epochs=2)
        states.append(arrays(unlearner.net_.module_))
    assert changed(states[0], unlearner.net_.module_) == []


def test_all_layers_counted_is_fine_tuning():
    params = {"batch_size": 5, "max_epochs": 3, "optimizer": None, "lr": 0.05}
    fine_tuned = unlearn(FineTuneUnlearner, network(), **params)
    of_three = unlearn(FineTuneUnlearner, network(), trainable=3, **params)
    assert changed(arrays(fine_tuned.net_.module_), of_three.net_.module_) == []


@pytest.mark.parametrize("reinitialize", [False, True])
@pytest.mark.parametrize(
    "trainable, expected",
    [
        (1, ["6.weight", "6.bias"]),
        ("head", ["6.weight", "6.bias"]),
        (2, ["3.weight", "3.bias", "4.*", "6.weight", "6.bias"]),
    ],
)
def test_all_that_comes_before_the_last_layers_stays(trainable, expected, reinitialize):
    statistics = ["running_mean", "running_var", "num_batches_tracked"]
    batchnorm = [f"4.{name}" for name in ["weight", "bias", *statistics]]
    expected = [n for name in expected for n in (batchnorm if name == "4.*" else [name])]
    module = network()
    before = arrays(module)
    unlearner = unlearn(
        FineTuneUnlearner,
        module,
        trainable=trainable,
        reinitialize=reinitialize,
        batch_size=5,
        max_epochs=3,
        optimizer=torch.optim.Adam,
        lr=0.01,
        net_params={"optimizer__weight_decay": 0.1},
    )
    assert changed(before, unlearner.net_.module_) == expected
    assert unlearner.updated_params_ == [name for name in expected if name[2:] not in statistics]
    assert changed(before, module) == []


def test_new_weights_are_drawn_by_the_layers_themselves():
    unlearner = unlearn(
        FineTuneUnlearner,
        network(),
        trainable=2,
        reinitialize=True,
        max_epochs=0,
        random_state=3,
    )
    with torch.random.fork_rng():
        torch.manual_seed(3)
        fresh = [nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Linear(5, 4)]
    module = unlearner.net_.module_
    for layer, expected in zip([module[3], module[4], module[6]], fresh, strict=True):
        assert changed(arrays(expected), layer) == []


class BatchNormNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(3, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(0.2), nn.Linear(6, 4)
        )

    def forward(self, x):
        return self.layers(x)


@pytest.mark.parametrize("trainable", ["all", 2])
@pytest.mark.parametrize(
    "module", [{"module": BatchNormNet}, {"module": MLP, "module__hidden": (5,)}]
)
def test_new_weights_in_all_layers_are_retraining(trainable, module):
    if module["module"] is MLP:
        module = {**module, "module__n_features": 3, "module__n_classes": 4}
    net = NeuralNetClassifier(
        **module,
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.SGD,
        optimizer__momentum=0.9,
        optimizer__fused=True,
        lr=0.1,
        max_epochs=4,
        batch_size=5,
        iterator_train=BatchLoader,
        iterator_train__shuffle=True,
        classes=range(4),
        train_split=None,
        verbose=0,
    )
    retrained = RetrainUnlearner(net, random_state=2).fit(X, Y, forget=FORGET)
    anew = FineTuneUnlearner(
        net,
        trainable=trainable,
        reinitialize=True,
        lr=0.1,
        max_epochs=4,
        batch_size=5,
        random_state=2,
    ).fit(X, Y, forget=FORGET)
    assert changed(arrays(retrained.net_.module_), anew.net_.module_) == []
    assert changed(arrays(retrained.fitted_.module_), anew.net_.module_) != []


def test_dataset():
    rows = TensorDataset(torch.tensor(X), torch.tensor(Y))
    params = {"forget": [4], "batch_size": 6, "max_epochs": 2}
    of_arrays = unlearn(FineTuneUnlearner, network(), **params)
    of_dataset = unlearn(FineTuneUnlearner, network(), rows, None, **params)
    assert changed(arrays(of_arrays.net_.module_), of_dataset.net_.module_) == []


def test_stops_once_a_class_is_forgotten():
    labels = logits(WEIGHT, BIAS, X).argmax(axis=1)
    forget = labels == 3
    params = {"y": labels, "forget": forget, "lr": 0.05, "max_epochs": 500, "stop_accuracy": 0.0}
    unlearner = unlearn(FineTuneUnlearner, linear(), **params)
    weight, bias, accuracies = WEIGHT, BIAS, [1.0]
    while accuracies[-1] > 0:
        gradient = errors(weight, bias, X[~forget], labels[~forget]) / np.sum(~forget)
        weight, bias = descend(weight, bias, 0.05, (X[~forget], gradient))
        accuracies.append(np.mean(logits(weight, bias, X[forget]).argmax(axis=1) == 3))
    assert 10 < len(accuracies) < 500
    assert unlearner.history_[:, "forget_accuracy"] == pytest.approx(accuracies[1:])


def test_nothing_to_retain():
    unlearner = FineTuneUnlearner(FrozenEstimator(make_net(linear()))).fit(X, Y)
    with pytest.raises(ValueError, match="forget"):
        unlearner.unlearn(X, Y, forget=np.ones(20, dtype=bool))


def test_new_weights_are_for_whole_layers(trained_net, X, y):
    unlearner = FineTuneUnlearner(
        FrozenEstimator(trained_net), reinitialize=True, trainable=saliency_mask(0.5)
    ).fit(X, y)
    net = unlearner.net_
    with pytest.raises(ValueError, match=r"whole layers.*'head'.*saliency_mask"):
        unlearner.unlearn(X, y, forget=[0, 1])
    assert unlearner.net_ is net
