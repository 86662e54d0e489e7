import copy
import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback
from torch import nn
from torch.utils.data import DataLoader

from sklunlearn._data import BatchLoader
from sklunlearn._lean import lean_steps


class Linear(nn.Module):
    """Two logits of two features."""

    def __init__(self):
        super().__init__()
        self.linear, self.dropout = nn.Linear(2, 2), nn.Dropout(0.0)

    def forward(self, x):
        return self.dropout(self.linear(x))


def make_net(module, cls=NeuralNetClassifier, **params):
    params = {"criterion": nn.CrossEntropyLoss, "train_split": None, "verbose": 0, **params}
    torch.manual_seed(0)
    return cls(module, classes=[0, 1], **params).initialize()


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    return rng.normal(size=(11, 2)).astype(np.float32), np.arange(11) % 2


# The mode of the modules


def modes_of(net):
    return [part.training for part in (*net.module_.modules(), net.criterion_)]


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_is_set_wherever_it_is_another(training):
    net = make_net(Linear)
    with lean_steps(net):
        for part in (net.module_, net.module_.dropout, net.criterion_):
            net._set_training(training)
            part.training = not training  # of one part only, as a callback may do
            net._set_training(training)
            assert modes_of(net) == [training] * 4
        net.module_ = Linear().train(not training)  # a callback may have it made anew
        net._set_training(training)
        assert modes_of(net) == [training] * 4
    assert type(net) is NeuralNetClassifier


def test_the_mode_is_not_set_again():
    calls = []

    class Counted(Linear):
        def train(self, mode=True):
            calls.append(mode)
            return super().train(mode)

    net = make_net(Counted)
    with lean_steps(net):
        for training in (True, True, False, False, True):
            net._set_training(training)
    # The first finds the modules of a new network, which are in training mode.
    assert calls == [False, True]


def test_a_net_can_be_copied_in_lean_steps():
    net = make_net(Linear)
    with lean_steps(net):
        copies = copy.deepcopy(net), *(pickle.loads(pickle.dumps(net, p)) for p in range(6))
        for other in copies:
            other._set_training(False)
            assert modes_of(other) == [False] * 4
            assert type(other) is NeuralNetClassifier and vars(other).keys() == vars(net).keys()
    assert modes_of(net) == [True] * 4


def test_a_net_that_a_callback_clones_is_trained_by_itself(rows):
    clones = []

    class Cloning(Callback):
        def on_batch_end(self, net, **kwargs):
            other = clone(net).set_params(callbacks=None, max_epochs=1)
            torch.manual_seed(1)
            clones.append(other.fit(*rows))

    net = make_net(Linear, callbacks=[("cloning", Cloning())], max_epochs=2, batch_size=-1)
    with lean_steps(net):
        net.partial_fit(*rows)
    other = clones[-1]
    alone = clone(net).set_params(callbacks=None, max_epochs=1)
    torch.manual_seed(1)
    alone.fit(*rows)
    assert len(net.history) == 2 and other.get_params().keys() == alone.get_params().keys()
    for one, expected in zip(other.module_.parameters(), alone.module_.parameters(), strict=True):
        torch.testing.assert_close(one, expected, rtol=0, atol=0)
    other._set_training(False)  # fit leaves the modes of each as they are
    assert modes_of(other) == [False] * 4 and modes_of(net) == [True] * 4


def test_what_a_net_has_on_the_instance_is_kept(rows):
    net, calls = make_net(Linear, batch_size=-1), []
    ordinary = net.run_single_epoch

    def run_single_epoch(*args, **kwargs):
        calls.append("epoch")
        return ordinary(*args, **kwargs)

    net.run_single_epoch = run_single_epoch
    with lean_steps(net):
        net.partial_fit(*rows)
    assert len(calls) == 2 * net.max_epochs  # of training and of validation
    assert net.run_single_epoch is run_single_epoch


def test_the_methods_are_those_of_the_net_after_an_error():
    net = make_net(Linear)
    with pytest.raises(RuntimeError, match="stop"), lean_steps(net):
        assert type(net)._set_training is not NeuralNetClassifier._set_training
        raise RuntimeError("stop")
    assert type(net) is NeuralNetClassifier


# Epochs


class Events(Callback):
    """Names of the events, with the sizes of the batches."""

    def __init__(self):
        self.seen = []

    def on_batch_begin(self, net, batch=None, training=None, **kwargs):
        self.seen.append(("begins", len(batch[1]), training))

    def on_grad_computed(self, net, named_parameters, **kwargs):
        self.seen.append(("gradient", [p.grad.clone() for _, p in named_parameters]))

    def on_batch_end(self, net, batch=None, training=None, loss=None, y_pred=None, **kwargs):
        self.seen.append(("ends", len(y_pred), training, loss.item()))


def told(history):
    return [{k: v for k, v in epoch.items() if k != "dur"} for epoch in history]


@pytest.mark.parametrize("iterator", [BatchLoader, DataLoader])
@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.LBFGS])
def test_epochs_and_steps_are_those_of_skorch(rows, iterator, optimizer):
    X, y = rows
    nets = []
    for lean in (False, True):
        settings = {"iterator_train": iterator, "optimizer": optimizer, "batch_size": 4}
        net = make_net(Linear, callbacks=[("events", Events())], **settings)
        if lean:
            with lean_steps(net):
                net.partial_fit(X, y)
        else:
            net.partial_fit(X, y)
        nets.append(net)
    plain, lean = nets
    for one, other in zip(plain.module_.parameters(), lean.module_.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    assert told(plain.history) == told(lean.history)
    seen = [dict(net.callbacks_)["events"].seen for net in nets]
    assert str(seen[0]) == str(seen[1])


def test_sizes_of_nested_batches_are_those_of_skorch():
    class Nested(Linear):
        def forward(self, a, b):
            return super().forward(a + b)

    net = make_net(Nested, iterator_train__batch_size=2)
    X = {name: np.ones((5, 2), dtype=np.float32) for name in "ab"}
    with lean_steps(net):
        net.partial_fit(X, np.array([0, 1, 0, 1, 0]))
    assert net.history[-1, "batches", :, "train_batch_size"] == [2, 2, 1]


def test_own_methods_of_a_net_are_kept(rows):
    class Own(NeuralNetClassifier):
        calls = ()

        def run_single_epoch(self, *args, **kwargs):
            Own.calls += ("epoch",)
            return super().run_single_epoch(*args, **kwargs)

        def _set_training(self, training=True):
            Own.calls += ("mode",)
            super()._set_training(training)

        def _zero_grad_optimizer(self, set_to_none=None):
            Own.calls += ("gradient",)
            super()._zero_grad_optimizer(set_to_none)

    net = make_net(Linear, cls=Own, batch_size=-1, iterator_train=BatchLoader)
    with lean_steps(net):
        net.partial_fit(*rows)
    assert sorted(set(Own.calls)) == ["epoch", "gradient", "mode"]


def test_an_optimizer_with_its_own_way_to_drop_gradients_is_asked(rows):
    class Own(torch.optim.SGD):
        n = 0

        def zero_grad(self, set_to_none=True):
            Own.n += 1
            super().zero_grad(set_to_none)

    net = make_net(Linear, optimizer=Own, batch_size=-1, iterator_train=BatchLoader)
    with lean_steps(net):
        net.partial_fit(*rows)
        assert Own.n == net.max_epochs
        net.module_.linear.weight.grad = torch.ones(2, 2)
        net._zero_grad_optimizer(set_to_none=False)
    assert not net.module_.linear.weight.grad.any()


def test_an_optimizer_is_asked_to_drop_gradients_as_skorch_asks(rows):
    class Own(torch.optim.SGD):
        def zero_grad(self):  # of older releases of torch
            super().zero_grad(set_to_none=False)

    net = make_net(Linear, optimizer=Own, batch_size=-1)
    with lean_steps(net):
        net.partial_fit(*rows)
        net._zero_grad_optimizer()
        assert not net.module_.linear.weight.grad.any()
        net.optimizer_.zero_grad = lambda: calls.append(1)  # on the instance
        calls = []
        net._zero_grad_optimizer()
    assert calls == [1]
