import copy
import functools
import itertools
import pickle
import weakref

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback, EarlyStopping, EpochScoring, LRScheduler
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import TensorDataset

from sklunlearn import (
    BoundaryUnlearner,
    DELETEUnlearner,
    FineTuneUnlearner,
    RandomLabelUnlearner,
    _positions,
    all_unlearners,
)
from sklunlearn._data import Rows
from sklunlearn.gradient import GradientUnlearner
from sklunlearn.networks import SmallCNN
from sklunlearn.saliency import saliency_mask

N_FORGET, N_RETAIN = 10, 7


class SquareUnlearner(GradientUnlearner):
    """Squares of the forget rows' logits, plus the cross-entropy of the retain rows."""

    def _loss(self, module, forget, retain):
        loss = forget.logits.square().mean()
        if retain is not None:
            loss = loss + self.retain_weight * cross_entropy(retain.logits, retain.y)
        return loss


def make_module(bias=True):
    """Three features, three classes, BatchNorm between two linear layers."""
    module = nn.Sequential(
        nn.Linear(3, 4, bias=bias), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 3)
    )
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(generator=generator)
    return module.eval()


@pytest.fixture(scope="module")
def data():
    """The first feature numbers the rows; the first N_FORGET rows are to be forgotten."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N_FORGET + N_RETAIN, 3)).astype(np.float32)
    X[:, 0] = np.arange(len(X)) / len(X)
    return X, np.arange(len(X)) % 3


def make_net(module, cls=NeuralNetClassifier, criterion=nn.CrossEntropyLoss, **params):
    return cls(
        module,
        criterion=criterion,
        classes=[0, 1, 2],
        train_split=None,
        verbose=0,
        **params,
    ).initialize()


def unlearn(net, data, make=SquareUnlearner, **params):
    """Forget the first rows of a net that counts as trained; 5 forget and 4 or 3 retain rows."""
    if isinstance(net, nn.Module):
        net = make_net(net)
    params = {"random_state": 0, "batch_size": 5, "max_epochs": 3, "lr": 0.05, **params}
    return make(FrozenEstimator(net), **params).fit(*data).unlearn(*data, forget=range(N_FORGET))


WRONG_ROWS = {
    "a tensor": lambda forget, retain: torch.zeros(3),
    "a pair of numbers": lambda forget, retain: (1, 2),
    "one": lambda forget, retain: forget,
    "three": lambda forget, retain: (forget, retain, retain),
}


@pytest.mark.parametrize("wrong", WRONG_ROWS)
def test_rows_of_its_own_are_a_pair(data, wrong):
    class Prepares(SquareUnlearner):
        def _prepare(self, net, forget, retain):
            return WRONG_ROWS[wrong](forget, retain)

    with pytest.raises(TypeError, match=r"`_prepare` of Prepares must return a pair.* or None"):
        unlearn(make_module(), data, Prepares)


def test_what_the_network_says_is_at_hand_before_the_run(data):
    found = []

    class Asks(SquareUnlearner):
        def _prepare(self, net, forget, retain):
            found.append(net.predict_proba(forget))
            forget["target"] = torch.from_numpy(found[0])

        def _loss(self, module, forget, retain):
            return (forget.logits.softmax(dim=1) - forget["target"]).square().sum()

    module = make_module()
    expected = module(torch.from_numpy(data[0][:N_FORGET])).softmax(dim=1).detach()
    unlearn(module, data, Asks, max_epochs=1)
    np.testing.assert_allclose(found[0], expected, rtol=1e-5)


def test_a_loss_that_is_none_is_named(data):
    class Forgetful(SquareUnlearner):
        def _loss(self, module, forget, retain):
            super()._loss(module, forget, retain)

    with pytest.raises(TypeError, match="`_loss` of Forgetful must return a tensor"):
        unlearn(make_module(), data, Forgetful)


class Recorder(Callback):
    """Keeps the batches of a run and the names of the events."""

    def __init__(self):
        self.X, self.y, self.events, self.logits = [], [], [], []

    def on_train_begin(self, net, **kwargs):
        self.events.append("train begins")

    def on_epoch_begin(self, net, **kwargs):
        self.events.append("epoch begins")

    def on_batch_begin(self, net, batch, training, **kwargs):
        assert training
        self.events.append("batch begins")
        self.X.append(batch[0].clone())
        self.y.append(batch[1].clone())

    def on_grad_computed(self, net, named_parameters, **kwargs):
        self.events.append("gradient")
        assert all(p.grad is not None for _, p in named_parameters if p.requires_grad)

    def on_batch_end(self, net, batch, training, loss, y_pred, **kwargs):
        self.events.append("batch ends")
        logits = y_pred[0] if isinstance(y_pred, tuple) else y_pred
        self.logits.append(logits.detach().clone())

    def on_epoch_end(self, net, **kwargs):
        self.events.append("epoch ends")

    def on_train_end(self, net, **kwargs):
        self.events.append("train ends")

    def halves(self):
        """X and y of the forget rows, then of the retain rows, of each batch."""
        for X, y in zip(self.X, self.y, strict=True):
            is_forget = X[:, 0] < N_FORGET / (N_FORGET + N_RETAIN) - 1e-3
            n = int(is_forget.sum())
            assert is_forget[:n].all()
            yield X[:n], y[:n], X[n:], y[n:]


def plain_run(module, recorder, optimizer, retain_weight=1.0, logits_of=None, each_step=None):
    """The same batches in a loop of plain PyTorch; gives the losses."""
    logits_of, losses = logits_of or module, []
    for X_forget, _, X_retain, y_retain in recorder.halves():
        optimizer.zero_grad()
        logits = logits_of(torch.cat([X_forget, X_retain]))
        loss = logits[: len(X_forget)].square().mean()
        if len(X_retain):
            loss = loss + retain_weight * cross_entropy(logits[len(X_forget) :], y_retain)
        loss.backward()
        if each_step is not None:
            each_step()
        optimizer.step()
        losses.append(loss.item())
    return losses


def changed(module, before):
    """Names of the parameters and buffers that are not bit for bit as before."""
    before = before.state_dict()
    return [name for name, v in module.state_dict().items() if not torch.equal(v, before[name])]


def assert_close_weights(module, expected):
    for name, value in expected.state_dict().items():
        actual = module.state_dict()[name]
        np.testing.assert_allclose(actual, value, rtol=1e-4, atol=1e-6, err_msg=name)


def sgd(module):
    return torch.optim.SGD(module.parameters(), lr=0.05, momentum=0.9)


# The run, against a plain loop.


@pytest.mark.parametrize("retain_weight", [0.0, 0.3, 1.0])
@pytest.mark.parametrize(
    "params, make_optimizer",
    [
        ({}, lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9)),
        ({"optimizer": torch.optim.SGD}, lambda p: torch.optim.SGD(p, lr=0.05)),
        ({"optimizer": torch.optim.Adam, "lr": 0.01}, lambda p: torch.optim.Adam(p, lr=0.01)),
        (
            {"net_params": {"optimizer__weight_decay": 0.5}},
            lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, weight_decay=0.5),
        ),
        (
            {
                "optimizer": torch.optim.AdamW,
                "net_params": {"optimizer__weight_decay": 0.5, "optimizer__betas": (0.5, 0.9)},
            },
            lambda p: torch.optim.AdamW(p, lr=0.05, weight_decay=0.5, betas=(0.5, 0.9)),
        ),
    ],
)
def test_run_in_plain_torch(data, params, make_optimizer, retain_weight):
    # The gradient of a bias before BatchNorm is 0 up to rounding, of which Adam makes full steps.
    module, recorder = make_module(bias=False), Recorder()
    expected = copy.deepcopy(module).train()
    unlearner = unlearn(module, data, retain_weight=retain_weight, callbacks=[recorder], **params)
    plain_run(expected, recorder, make_optimizer(expected.parameters()), retain_weight)
    assert_close_weights(unlearner.net_.module_, expected)


def test_gradient_is_clipped(data):
    module, recorder = make_module(), Recorder()
    expected = copy.deepcopy(module).train()
    norms = []

    def clip():
        norms.append(nn.utils.clip_grad_norm_(expected.parameters(), 1.5).item())

    unlearner = unlearn(module, data, max_grad_norm=1.5, callbacks=[recorder])
    plain_run(expected, recorder, sgd(expected), each_step=clip)
    assert max(norms) > 1.5
    assert_close_weights(unlearner.net_.module_, expected)


def test_no_epochs_leave_the_weights(data):
    module = make_module()
    unlearner = unlearn(module, data, max_epochs=0)
    assert unlearner.net_.module_ is not module
    assert changed(unlearner.net_.module_, module) == []
    assert len(unlearner.history_) == 0
    assert unlearner.forget_loss_.shape == (N_FORGET,)


# Which parameters change.


@pytest.mark.parametrize(
    "trainable, parameters, buffers",
    [
        ("all", ["0.weight", "0.bias", "1.weight", "1.bias", "3.weight", "3.bias"], True),
        (2, ["0.weight", "0.bias", "1.weight", "1.bias", "3.weight", "3.bias"], True),
        ("head", ["3.weight", "3.bias"], False),
        (1, ["3.weight", "3.bias"], False),
        (lambda name, p: p.ndim == 2, ["0.weight", "3.weight"], False),
        (lambda name, p: name[0] == "1", ["1.weight", "1.bias"], True),
    ],
)
@pytest.mark.parametrize("freeze_batchnorm", [True, False])
def test_only_trainable_parameters_change(data, trainable, parameters, buffers, freeze_batchnorm):
    module = make_module()
    unlearner = unlearn(
        module,
        data,
        trainable=trainable,
        freeze_batchnorm=freeze_batchnorm,
        net_params={"optimizer__weight_decay": 0.1},
    )
    statistics = ["1.running_mean", "1.running_var", "1.num_batches_tracked"]
    moved = statistics if buffers and not freeze_batchnorm else []
    assert sorted(changed(unlearner.net_.module_, module)) == sorted(parameters + moved)
    assert unlearner.updated_params_ == parameters
    assert all(p.requires_grad for p in unlearner.net_.module_.parameters())


def test_frozen_batchnorm_normalises_by_its_statistics(data):
    module, recorder = make_module(), Recorder()
    expected = copy.deepcopy(module).train()
    expected[1].eval()
    unlearner = unlearn(module, data, freeze_batchnorm=True, callbacks=[recorder])
    plain_run(expected, recorder, sgd(expected))
    assert_close_weights(unlearner.net_.module_, expected)


# Batches.


def test_forget_rows_once_an_epoch_and_retain_rows_in_turn(data):
    recorder = Recorder()
    unlearn(make_module(), data, batch_size=4, max_epochs=14, callbacks=[recorder])
    forget, forget_y, retain, retain_y = zip(*recorder.halves(), strict=True)
    assert [len(X) for X in forget] == [4, 3, 3] * 14
    assert [len(X) for X in retain] == [4, 3] * 21

    X, y = data
    numbers = (torch.cat(forget)[:, 0] * len(X)).round().int().numpy().reshape(14, N_FORGET)
    np.testing.assert_array_equal(np.sort(numbers), np.tile(np.arange(N_FORGET), (14, 1)))
    assert len(set(map(tuple, numbers))) > 1
    np.testing.assert_array_equal(torch.cat(forget), X[numbers.ravel()])
    np.testing.assert_array_equal(torch.cat(forget_y), y[numbers.ravel()])

    numbers = (torch.cat(retain)[:, 0] * len(X)).round().int().numpy().reshape(21, N_RETAIN)
    np.testing.assert_array_equal(np.sort(numbers), np.tile(np.arange(10, 17), (21, 1)))
    assert len(set(map(tuple, numbers))) > 1
    np.testing.assert_array_equal(torch.cat(retain), X[numbers.ravel()])
    np.testing.assert_array_equal(torch.cat(retain_y), y[numbers.ravel()])


@pytest.mark.parametrize("batch_size, n_batches", [(1, 10), (9, 2), (10, 1), (1000, 1)])
def test_number_of_batches(data, batch_size, n_batches):
    module = nn.Linear(3, 3)  # BatchNorm could not train on batches of one row
    history = unlearn(module, data, batch_size=batch_size).history_
    np.testing.assert_array_equal(history[:, "train_batch_count"], [n_batches] * 3)


@pytest.mark.parametrize("retain_weight, size", [(1.0, [9, 8]), (0.0, [5, 5])])
def test_one_forward_pass_a_step(data, retain_weight, size):
    sizes = []

    class Counting(nn.Linear):
        def forward(self, x):
            if self.training:
                sizes.append(len(x))
            return super().forward(x)

    module = Counting(3, 3).eval()
    unlearn(module, data, retain_weight=retain_weight, max_epochs=2)
    assert sizes == size * 2


def test_what_is_stored_with_a_row_stays_with_it(data):
    class Storing(SquareUnlearner):
        def _prepare(self, net, forget, retain):
            forget["number"] = torch.arange(len(forget))
            retain["number"] = N_FORGET + torch.arange(len(retain))

        def _start_epoch(self, run, epoch, forget, retain):
            forget["epoch"] = torch.full((len(forget),), epoch)

        def _loss(self, module, forget, retain):
            for batch in (forget, retain):
                np.testing.assert_array_equal(batch.X, data[0][batch["number"]])
                np.testing.assert_array_equal(batch.y, data[1][batch["number"]])
            seen.append(set(forget["epoch"].tolist()))
            return super()._loss(module, forget, retain)

    seen = []
    unlearn(make_module(), data, make=Storing)
    assert seen == [{1}, {1}, {2}, {2}, {3}, {3}]


# History, callbacks and stopping.


@pytest.mark.parametrize(
    "bad", [3, "early", ("name", 3), (Callback(), "name"), int, ("a", "b", "c")]
)
def test_what_is_no_callback(data, bad):
    with pytest.raises(TypeError, match=r"`callbacks` holds .* expected skorch callbacks"):
        unlearn(make_module(), data, callbacks=[bad])


def test_history(data):
    module, recorder = make_module(), Recorder()
    expected = copy.deepcopy(module).train()
    history = unlearn(module, data, callbacks=[recorder]).history_
    losses = np.reshape(plain_run(expected, recorder, sgd(expected)), (3, 2))
    np.testing.assert_array_equal(history[:, "batches", :, "train_batch_size"], [[9, 8]] * 3)
    np.testing.assert_allclose(history[:, "batches", :, "train_loss"], losses, rtol=1e-4)
    means = losses @ [9 / 17, 8 / 17]
    np.testing.assert_allclose(history[:, "train_loss"], means, rtol=1e-4)
    lowest = [mean == means[: i + 1].min() for i, mean in enumerate(means)]
    assert history[:, "train_loss_best"] == lowest
    assert history[:, "epoch"] == [1, 2, 3]


def test_order_of_events(data):
    recorder = Recorder()
    unlearn(make_module(), data, max_epochs=2, callbacks=[recorder])
    batch = ["batch begins", "gradient", "batch ends"]
    epoch = ["epoch begins", *batch, *batch, "epoch ends"]
    assert recorder.events == ["train begins", *epoch, *epoch, "train ends"]


def test_epoch_scoring(data):
    def forget_accuracy(net, X, y):
        return np.mean(net.predict(X) == data[1][:N_FORGET])

    recorder = Recorder()
    # Of the outputs in the epoch, which are kept, and of the forget rows at its end.
    seen = EpochScoring("accuracy", on_train=True, name="seen")
    forget = EpochScoring(forget_accuracy, on_train=True, name="forget", use_caching=False)
    callbacks = [recorder, ("seen", seen), ("forget", forget)]
    unlearner = unlearn(make_module(), data, callbacks=callbacks)
    hits = [
        (logits.argmax(dim=1) == y).numpy()
        for logits, y in zip(recorder.logits, recorder.y, strict=True)
    ]
    expected = [np.concatenate(hits[i : i + 2]).mean() for i in (0, 2, 4)]
    np.testing.assert_allclose(unlearner.history_[:, "seen"], expected)
    with torch.no_grad():
        labels = unlearner.net_.module_.eval()(torch.tensor(data[0][:N_FORGET])).argmax(dim=1)
    assert unlearner.history_[-1, "forget"] == np.mean(labels.numpy() == data[1][:N_FORGET])


def test_learning_rate_schedule(data):
    module, recorder = make_module(), Recorder()
    expected = copy.deepcopy(module).train()
    optimizer, n_steps = sgd(expected), iter(range(6))

    def set_lr():
        optimizer.param_groups[0]["lr"] = 0.05 * 0.1 ** (next(n_steps) // 2)

    scheduler = LRScheduler(torch.optim.lr_scheduler.StepLR, step_size=1, gamma=0.1)
    unlearner = unlearn(module, data, callbacks=[recorder, scheduler])
    plain_run(expected, recorder, optimizer, each_step=set_lr)
    assert_close_weights(unlearner.net_.module_, expected)
    np.testing.assert_allclose(unlearner.history_[:, "event_lr"], [0.05, 0.005, 0.0005])


def test_callback_ends_the_run(data):
    class Ending(Callback):
        def on_epoch_end(self, net, **kwargs):
            if len(net.history) == 2:
                raise KeyboardInterrupt

    module, recorder = make_module(), Recorder()
    expected = copy.deepcopy(module).train()
    unlearner = unlearn(module, data, max_epochs=9, callbacks=[recorder, Ending()])
    assert len(unlearner.history_) == 2
    plain_run(expected, recorder, sgd(expected))
    assert_close_weights(unlearner.net_.module_, expected)


class AscentUnlearner(GradientUnlearner):
    def _loss(self, module, forget, retain):
        return -cross_entropy(forget.logits, forget.y)


@pytest.mark.parametrize("stop_accuracy", [0.2, 0.35, 0.8])
def test_stop_accuracy(data, stop_accuracy):
    class Accuracy(Callback):
        def on_epoch_end(self, net, **kwargs):
            with torch.no_grad():
                labels = net.module_.eval()(X[:N_FORGET]).argmax(dim=1)
            accuracies.append((labels.numpy() == y[:N_FORGET]).mean())

    module, accuracies = make_module(), []
    X = torch.tensor(data[0])
    y = module(X).argmax(dim=1).numpy()
    unlearner = unlearn(
        module,
        (data[0], y),
        make=AscentUnlearner,
        lr=0.002,
        max_epochs=60,
        stop_accuracy=stop_accuracy,
        callbacks=[Accuracy()],
    )
    assert 1 < len(accuracies) < 60
    assert all(accuracy > stop_accuracy for accuracy in accuracies[:-1])
    assert accuracies[-1] <= stop_accuracy
    np.testing.assert_allclose(unlearner.history_[:, "forget_accuracy"], accuracies)


def test_no_stop_accuracy(data):
    history = unlearn(make_module(), data, make=AscentUnlearner, max_epochs=30).history_
    assert len(history) == 30
    assert "forget_accuracy" not in history[0]


# What a method can choose: the network, the rows, the steps, the phases.


class Steps(SquareUnlearner):
    """Keeps what the loss is given; the loss takes either kind of rows, or both."""

    def _prepare(self, net, forget, retain):
        self.seen_ = []

    def _loss(self, module, forget, retain):
        self.seen_.append(
            [None if b is None else (b.X.numpy(), b.y.numpy()) for b in (forget, retain)]
        )
        return square_and_cross_entropy(
            *[None if b is None else b.logits for b in (forget, retain)],
            None if retain is None else retain.y,
        )


def square_and_cross_entropy(forget, retain, y):
    """Sums, which are 0 for no rows."""
    loss = 0.0
    if forget is not None:
        loss = loss + forget.square().sum() / 10
    if retain is not None:
        loss = loss + cross_entropy(retain, y, reduction="sum") / 10
    return loss


def replay(module, seen, optimizer):
    """The steps that were seen, in a loop of plain PyTorch."""
    for forget, retain in seen:
        optimizer.zero_grad()
        halves = [
            None if half is None else module(torch.tensor(half[0])) for half in (forget, retain)
        ]
        y = None if retain is None else torch.tensor(retain[1])
        square_and_cross_entropy(*halves, y).backward()
        optimizer.step()


def no_batchnorm():
    module = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(generator=generator)
    return module.eval()


POSITIONS = [
    [([3, 1], [6]), ([0], None), (None, [2, 5]), ([], [1, 4]), ([2, 9, 2], [])],
    [(None, [0])],
    [([7], None)],
]


def test_steps_of_a_method(data):
    class Chosen(Steps):
        def _steps(self, epoch, forget, retain):
            assert (len(forget), len(retain)) == (N_FORGET, N_RETAIN)
            for step in POSITIONS[epoch - 1]:
                yield tuple(None if p is None else torch.tensor(p).long() for p in step)

    module, recorder = no_batchnorm(), Recorder()
    expected = copy.deepcopy(module)
    unlearner = unlearn(module, data, make=Chosen, callbacks=[recorder])
    X, y = data
    for positions, halves in zip(itertools.chain(*POSITIONS), unlearner.seen_, strict=True):
        for p, half, first in zip(positions, halves, (0, N_FORGET), strict=True):
            if p is None:
                assert half is None
            else:
                rows = np.array(p, dtype=int) + first
                np.testing.assert_array_equal(half[0], X[rows])
                np.testing.assert_array_equal(half[1], y[rows])
    assert [len(X) for X in recorder.X] == [3, 1, 2, 2, 3, 1, 1]
    np.testing.assert_array_equal(unlearner.history_[:, "train_batch_count"], [5, 1, 1])
    replay(expected, unlearner.seen_, sgd(expected))
    assert_close_weights(unlearner.net_.module_, expected)


@pytest.mark.parametrize("n_epochs", [0, 1, 2])
def test_epoch_without_a_step_ends_the_run(data, n_epochs):
    class Ending(Steps):
        def _start_epoch(self, run, epoch, forget, retain):
            started.append(epoch)

        def _steps(self, epoch, forget, retain):
            return super()._steps(epoch, forget, retain) if epoch <= n_epochs else iter(())

    started, module, recorder = [], no_batchnorm(), Recorder()
    expected = copy.deepcopy(module)
    unlearner = unlearn(module, data, make=Ending, max_epochs=9, callbacks=[recorder])
    assert started == list(range(1, n_epochs + 2))
    assert len(unlearner.history_) == n_epochs
    epoch = ["epoch begins", *["batch begins", "gradient", "batch ends"] * 2, "epoch ends"]
    assert recorder.events == ["train begins", *epoch * n_epochs, "train ends"]
    replay(expected, unlearner.seen_, sgd(expected))
    assert len(unlearner.seen_) == 2 * n_epochs
    assert_close_weights(unlearner.net_.module_, expected)
    assert (changed(unlearner.net_.module_, module) == []) == (n_epochs == 0)


@pytest.mark.parametrize("as_dataset", [False, True])
def test_other_rows_than_those_of_the_request(data, as_dataset):
    other = np.random.default_rng(7).normal(size=(4, 3)).astype(np.float32)
    labels = np.array([2, 0, 1, 2])
    source = other
    if as_dataset:
        source = TensorDataset(torch.tensor(other), torch.zeros(4))

    class Other(Steps):
        def _prepare(self, net, forget, retain):
            super()._prepare(net, forget, retain)
            rows = Rows(source, labels)
            rows["number"] = torch.arange(4)
            return rows, retain.select(torch.tensor([5, 2]))

        def _start_epoch(self, run, epoch, forget, retain):
            assert (len(forget), len(retain)) == (4, 2)

        def _loss(self, module, forget, retain):
            np.testing.assert_array_equal(forget.X, other[forget["number"]])
            np.testing.assert_array_equal(forget.y, labels[forget["number"]])
            return super()._loss(module, forget, retain)

    class Begin(Callback):
        def on_train_begin(self, net, X, y):
            assert len(X) == len(y) == 4

        on_train_end = on_train_begin

    module = no_batchnorm()
    expected = copy.deepcopy(module)
    unlearner = unlearn(
        module, data, make=Other, batch_size=3, callbacks=[Begin()], stop_accuracy=0
    )
    assert len(unlearner.seen_) == 2 * 3
    X, y = data
    for epoch in (unlearner.seen_[:2], unlearner.seen_[2:4], unlearner.seen_[4:]):
        forget = np.concatenate([half[0] for half, _ in epoch])
        np.testing.assert_array_equal(forget[forget[:, 0].argsort()], other[other[:, 0].argsort()])
        for _, (X_retain, y_retain) in epoch:
            order = X_retain[:, 0].argsort()
            np.testing.assert_array_equal(X_retain[order], X[N_FORGET:][[2, 5]])
            np.testing.assert_array_equal(y_retain[order], y[N_FORGET:][[2, 5]])
    replay(expected, unlearner.seen_, sgd(expected))
    assert_close_weights(unlearner.net_.module_, expected)
    # What is to be forgotten is still the request.
    with torch.no_grad():
        hits = expected(torch.tensor(X[:N_FORGET])).argmax(dim=1).numpy() == y[:N_FORGET]
    assert unlearner.history_[-1, "forget_accuracy"] == pytest.approx(hits.mean())
    assert unlearner.forget_loss_.shape == (N_FORGET,)


def widened(module):
    """With one output more, of small weights."""
    head = nn.Linear(4, 4)
    with torch.no_grad():
        head.weight[:3], head.bias[:3] = module[2].weight, module[2].bias
        head.weight[3:], head.bias[3:] = 0.1, 25.0
    module[2] = head
    return module


def narrowed(module):
    head = nn.Linear(4, 3)
    with torch.no_grad():
        head.weight[:], head.bias[:] = module[2].weight[:3], module[2].bias[:3]
    module[2] = head
    return module


@pytest.mark.parametrize("trainable, parameters", [("all", 4), ("head", 2)])
def test_network_of_the_run_and_its_last_change(data, trainable, parameters):
    class Widening(Steps):
        def _begin(self, net):
            run = super()._begin(net)
            assert run.module_ is not net.module_
            widened(run.module_)
            return run

        def _finish(self, run):
            assert recorder.events[-1] == "train ends"
            assert all(p.requires_grad for p in run.module_.parameters())
            narrowed(run.module_)

    module, recorder = no_batchnorm(), Recorder()
    before, expected = copy.deepcopy(module), widened(copy.deepcopy(module))
    optimizer = torch.optim.SGD(list(expected.parameters())[-parameters:], lr=0.001, momentum=0.9)
    unlearner = unlearn(
        module,
        data,
        make=Widening,
        lr=0.001,
        trainable=trainable,
        callbacks=[recorder],
        stop_accuracy=0,
    )
    replay(expected, unlearner.seen_, optimizer)
    # The accuracy is that among the classes, although the fourth output is the largest.
    with torch.no_grad():
        logits = expected(torch.tensor(data[0][:N_FORGET]))
    assert (logits.argmax(dim=1) == 3).any()
    hits = logits[:, :3].argmax(dim=1).numpy() == data[1][:N_FORGET]
    assert unlearner.history_[-1, "forget_accuracy"] == pytest.approx(hits.mean())
    assert_close_weights(unlearner.net_.module_, narrowed(expected))
    assert changed(module, before) == []
    assert len(unlearner.updated_params_) == parameters
    (group,) = unlearner.net_.optimizer_.param_groups
    assert {id(p) for p in group["params"]} == {id(p) for p in unlearner.net_.module_.parameters()}


def test_phases(data):
    class Phases(Steps):
        def _run(self, run, forget, retain):
            self._train_epochs(run, forget, retain, 2)
            vars(run)["lr"] = 0.01
            run.initialize_optimizer()
            self._train_epochs(run, retain, forget, 1)

        def _start_epoch(self, run, epoch, forget, retain):
            started.append((epoch, len(forget), len(retain)))

    started, module, recorder = [], no_batchnorm(), Recorder()
    expected = copy.deepcopy(module)
    unlearner = unlearn(module, data, make=Phases, callbacks=[recorder])
    assert started == [(1, 10, 7), (2, 10, 7), (1, 7, 10)]
    assert unlearner.history_[:, "epoch"] == [1, 2, 3]
    assert recorder.events.count("train begins") == recorder.events.count("train ends") == 1
    assert recorder.events.count("epoch begins") == recorder.events.count("epoch ends") == 3
    replay(expected, unlearner.seen_[:4], sgd(expected))
    optimizer = torch.optim.SGD(expected.parameters(), lr=0.01, momentum=0.9)
    replay(expected, unlearner.seen_[4:], optimizer)
    assert_close_weights(unlearner.net_.module_, expected)


def test_a_phase_that_ends_early_is_followed_by_the_next(data):
    class Phases(AscentUnlearner):
        def _run(self, run, forget, retain):
            for _ in range(2):
                self._train_epochs(run, forget, retain, 100)
                lengths.append(len(run.history))

    module, lengths = make_module(), []
    y = module(torch.tensor(data[0])).argmax(dim=1).numpy()
    unlearn(module, (data[0], y), make=Phases, lr=0.002, stop_accuracy=0.2)
    first, second = lengths
    assert 1 < first < 100
    assert second == first + 1  # the accuracy is low already


# Masks, together with the callbacks of skorch.


def salient(module, data, fraction):
    """The weights of the largest gradients, over two batches of forget rows in order."""
    total = [torch.zeros_like(p) for p in module.parameters()]
    for rows in (slice(0, 5), slice(5, 10)):
        loss = cross_entropy(module(torch.tensor(data[0][rows])), torch.tensor(data[1][rows]))
        for sums, gradient in zip(
            total, torch.autograd.grad(loss, module.parameters()), strict=True
        ):
            sums += gradient
    sizes = torch.cat([sums.abs().flatten() for sums in total])
    lowest = sizes.sort(descending=True).values[int(np.ceil(fraction * len(sizes))) - 1]
    return [sums.abs() >= lowest for sums in total]


@pytest.mark.parametrize("optimizer", [None, torch.optim.Adam])
def test_mask_with_callbacks(data, optimizer):
    module, recorder = no_batchnorm(), Recorder()
    original, expected = copy.deepcopy(module), copy.deepcopy(module)
    masks = salient(module, data, 0.3)
    assert sum(int(mask.sum()) for mask in masks) == 10  # of 31
    norms = []

    class Norm(Callback):
        def on_grad_computed(self, net, named_parameters, **kwargs):
            gradients = [p.grad for _, p in named_parameters if p.grad is not None]
            norms.append(torch.cat([g.flatten() for g in gradients]).norm().item())

    unlearner = unlearn(
        module,
        data,
        make=Steps,
        trainable=saliency_mask(0.3),
        optimizer=optimizer,
        max_grad_norm=0.5,
        net_params={"optimizer__weight_decay": 0.1},
        callbacks=[
            recorder,
            ("before", Norm()),
            LRScheduler(torch.optim.lr_scheduler.StepLR, step_size=1, gamma=0.5),
            EpochScoring("accuracy", on_train=True, name="accuracy"),
            EarlyStopping("train_loss", patience=50),
        ],
    )
    if optimizer is None:
        optimizer = functools.partial(torch.optim.SGD, momentum=0.9)
    optimizer = optimizer(expected.parameters(), lr=0.05, weight_decay=0.1)
    for i, (forget, retain) in enumerate(unlearner.seen_):
        optimizer.param_groups[0]["lr"] = 0.05 * 0.5 ** (i // 2)
        optimizer.zero_grad()
        halves = [expected(torch.tensor(half[0])) for half in (forget, retain)]
        square_and_cross_entropy(*halves, torch.tensor(retain[1])).backward()
        for parameter, mask in zip(expected.parameters(), masks, strict=True):
            parameter.grad *= mask
        norm = nn.utils.clip_grad_norm_(expected.parameters(), 0.5)
        assert norms[i] == pytest.approx(norm.item(), rel=1e-4)
        optimizer.step()
        with torch.no_grad():
            for new, old, mask in zip(
                expected.parameters(), original.parameters(), masks, strict=True
            ):
                new.copy_(torch.where(mask, new, old))
    assert max(norms) > 0.5
    assert_close_weights(unlearner.net_.module_, expected)
    for new, old, mask in zip(
        unlearner.net_.module_.parameters(), original.parameters(), masks, strict=True
    ):
        assert torch.equal(new != old, mask)
        assert not new._backward_hooks
    names = [name for (name, _), m in zip(module.named_parameters(), masks, strict=True) if m.any()]
    assert unlearner.updated_params_ == names
    assert len(unlearner.history_) == 3 and len(unlearner.history_[:, "accuracy"]) == 3


# Nets of the user's own.


class Doubling(NeuralNetClassifier):
    def infer(self, x, **fit_params):
        return super().infer(2 * x, **fit_params)


def test_custom_infer(data):
    module, recorder = make_module(), Recorder()
    expected = copy.deepcopy(module).train()
    unlearner = unlearn(make_net(module, Doubling), data, callbacks=[recorder])
    plain_run(expected, recorder, sgd(expected), logits_of=lambda X: expected(2 * X))
    assert isinstance(unlearner.net_, Doubling)
    assert_close_weights(unlearner.net_.module_, expected)


def halve_gradients(module):
    for parameter in module.parameters():
        parameter.grad /= 2


class Halving(NeuralNetClassifier):
    def train_step_single(self, batch, **fit_params):
        step = super().train_step_single(batch, **fit_params)
        halve_gradients(self.module_)
        return step


def test_custom_training_step(data):
    module, recorder = make_module(), Recorder()
    expected = copy.deepcopy(module).train()
    unlearner = unlearn(make_net(module, Halving), data, callbacks=[recorder])
    plain_run(expected, recorder, sgd(expected), each_step=lambda: halve_gradients(expected))
    assert_close_weights(unlearner.net_.module_, expected)


def test_module_that_gives_probabilities(data):
    module, recorder = nn.Sequential(make_module(), nn.Softmax(dim=1)), Recorder()
    expected = copy.deepcopy(module).train()

    def log_of_probabilities(X):
        return torch.log(expected(X) + torch.finfo(torch.float32).eps)  # as skorch does

    unlearner = unlearn(make_net(module, criterion=nn.NLLLoss), data, callbacks=[recorder])
    plain_run(expected, recorder, sgd(expected), logits_of=log_of_probabilities)
    assert_close_weights(unlearner.net_.module_, expected)


class Pair(nn.Module):
    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, x):
        return self.module(x), x


def test_module_that_gives_a_tuple(data):
    module, recorder = Pair(make_module()), Recorder()
    expected = copy.deepcopy(module).train()
    unlearner = unlearn(module, data, callbacks=[recorder])
    plain_run(expected, recorder, sgd(expected), logits_of=lambda X: expected(X)[0])
    assert_close_weights(unlearner.net_.module_, expected)


def test_own_training_setup_of_the_net(data):
    class Own(Callback):
        n_epochs = 0

        def on_epoch_begin(self, net, **kwargs):
            Own.n_epochs += 1

    module, recorder = make_module(), Recorder()
    expected = copy.deepcopy(module).train()
    net = make_net(
        module,
        optimizer=torch.optim.Adam,
        optimizer__weight_decay=0.5,
        lr=0.9,
        max_epochs=2,
        batch_size=3,
        callbacks=[("own", Own())],
    )
    unlearner = unlearn(net, data, callbacks=[("theirs", recorder)])
    plain_run(expected, recorder, sgd(expected))
    assert_close_weights(unlearner.net_.module_, expected)
    assert Own.n_epochs == 0

    after = unlearner.net_
    names = ["optimizer", "optimizer__weight_decay", "lr", "max_epochs", "batch_size"]
    for name in names:
        assert getattr(after, name) == getattr(net, name)
    assert isinstance(after.optimizer_, torch.optim.Adam)
    (group,) = after.optimizer_.param_groups
    assert group["weight_decay"] == 0.5 and group["lr"] == 0.9
    assert {id(p) for p in group["params"]} == {id(p) for p in after.module_.parameters()}
    assert "own" in dict(after.callbacks_) and "theirs" not in dict(after.callbacks_)

    # It can be trained as ever, by its own loss.
    n_recorded = len(recorder.X)
    after.partial_fit(*data)
    assert Own.n_epochs == 2 and len(recorder.X) == n_recorded
    assert changed(module, make_module()) == []


@pytest.mark.parametrize(
    "net_params, message",
    [
        ({"momentum": 0.5}, "'momentum': unknown to NeuralNetClassifier"),
        ({"lr": 0.5}, "'lr': set it with `lr` instead"),
        ({"callbacks": []}, "'callbacks': set it with `callbacks` instead"),
        ({"module__hidden": 3}, "'module__hidden': it would make a new network"),
        ({"device": "cpu"}, "'device': it would make a new network"),
    ],
)
def test_wrong_net_params(data, net_params, message):
    with pytest.raises(ValueError, match=message):
        unlearn(make_module(), data, net_params=net_params)


# Memory.


class PeakBytes(TorchDispatchMode):
    """Most bytes of tensors made inside that were in use at a time."""

    def __init__(self, ignored):
        super().__init__()
        self.ignored = {tensor.untyped_storage()._cdata for tensor in ignored}
        self.sizes, self.peak = {}, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (tuple, list)) else [result]:
            if isinstance(tensor, torch.Tensor):
                self.add(tensor.untyped_storage())
        return result

    def add(self, storage):
        if storage._cdata not in self.ignored and storage._cdata not in self.sizes:
            self.sizes[storage._cdata] = storage.nbytes()
            weakref.finalize(storage, self.sizes.pop, storage._cdata)
            self.peak = max(self.peak, sum(self.sizes.values()))


@pytest.mark.parametrize("make", [SquareUnlearner, BoundaryUnlearner])
def test_run_needs_three_copies_of_the_weights(data, make):
    # The weights, their gradient and the momentum.
    module = nn.Sequential(nn.Linear(3, 700), nn.ReLU(), nn.Linear(700, 700), nn.Linear(700, 3))
    weights = list(module.parameters())
    unlearner = make(FrozenEstimator(make_net(module)), batch_size=2, random_state=0).fit(*data)
    with PeakBytes(ignored=weights) as memory:
        unlearner.unlearn(*data, forget=range(N_FORGET))
    copies = memory.peak / sum(p.nbytes for p in weights)
    assert 2.9 < copies < 3.1


def test_a_batch_of_one_row_is_normalised_as_in_evaluation(data):
    # torch refuses to train BatchNorm on one value a channel.
    class Logits(SquareUnlearner):
        def _loss(self, module, forget, retain):
            seen.append((len(forget), forget.logits.detach().clone()))
            return super()._loss(module, forget, retain)

    seen, module = [], make_module()
    unlearner = Logits(
        FrozenEstimator(make_net(module)), retain_weight=0, max_epochs=1, random_state=0
    )
    unlearner.fit(*data).unlearn(*data, forget=[3])
    [(n, logits)] = seen
    with torch.no_grad():
        torch.testing.assert_close(logits, module(torch.from_numpy(data[0][3:4])))
    assert n == 1
    assert changed(unlearner.net_.module_, module)
    statistics = ["1.running_mean", "1.running_var", "1.num_batches_tracked"]
    assert not set(statistics) & set(changed(unlearner.net_.module_, module))


def test_a_phase_with_another_learning_rate_keeps_the_schedule(data):
    class TwoPhases(SquareUnlearner):
        def _run(self, run, forget, retain):
            self.lr_ = []
            super()._run(run, forget, retain)
            self._restart_optimizer(run, 0.01)
            assert not run.optimizer_.state
            super()._run(run, forget, retain)

        def _start_epoch(self, run, epoch, forget, retain):
            self.lr_.append(run.optimizer_.param_groups[0]["lr"])

    schedule = LRScheduler("StepLR", step_size=1, gamma=0.5)
    unlearner = unlearn(make_module(), data, make=TwoPhases, max_epochs=2, callbacks=[schedule])
    np.testing.assert_allclose(unlearner.lr_, [0.05, 0.025, 0.01, 0.005])


def test_a_batch_of_one_row_leaves_the_next_ones_to_train(data):
    class OneThenMany(SquareUnlearner):
        def _steps(self, epoch, forget, retain):
            yield torch.arange(1), None
            yield torch.arange(1, 6), None

    module = make_module()
    net = unlearn(module, data, make=OneThenMany, max_epochs=2).net_
    assert net.module_[1].num_batches_tracked == module[1].num_batches_tracked + 2


# Very many rows.


@pytest.mark.parametrize("make", [BoundaryUnlearner, RandomLabelUnlearner, DELETEUnlearner])
def test_rows_to_retain_without_a_list_of_them(make, X, y, trained_net, monkeypatch):
    unlearner = make(FrozenEstimator(trained_net), max_epochs=1, random_state=0).fit(X, y)
    unlearner.unlearn(X, y, forget=y == 0)
    expected = unlearner.net_.module_.state_dict()
    monkeypatch.setattr(_positions, "MANY", 10)
    unlearner.unlearn(X, y, forget=y == 0)
    for key, value in unlearner.net_.module_.state_dict().items():
        torch.testing.assert_close(value, expected[key], rtol=0, atol=0)


# Data on the device of the net.

GRADIENT_METHODS = [cls for _, cls in all_unlearners() if issubclass(cls, GradientUnlearner)]


@pytest.mark.parametrize("make", GRADIENT_METHODS)
def test_data_on_device_end_in_the_same_weights(make, X, y, trained_net, monkeypatch):
    settings = {"batch_size": 20, "random_state": 0}
    unlearner = make(FrozenEstimator(trained_net), **settings).fit(X, y)
    unlearner.unlearn(X, y, forget=y == 0)
    expected = unlearner.net_.module_.state_dict()

    def run(self, run, forget, retain):
        sources.extend([forget.source, retain.source])
        original(self, run, forget, retain)

    sources, original = [], make._run
    monkeypatch.setattr(make, "_run", run)
    unlearner.set_params(data_on_device=True).unlearn(X, y, forget=y == 0)
    assert len(sources) == 2 and all(isinstance(source, torch.Tensor) for source in sources)
    for key, value in unlearner.net_.module_.state_dict().items():
        torch.testing.assert_close(value, expected[key], rtol=0, atol=0)


def test_data_on_device_leave_nothing_behind(data):
    unlearner = unlearn(make_module(), data, data_on_device=True)
    held = [value for value in vars(unlearner).values() if isinstance(value, (torch.Tensor, Rows))]
    assert not held and len(pickle.dumps(unlearner)) < 100_000
    assert clone(unlearner).data_on_device is True and unlearner.release().data_on_device is True


def test_data_on_device_read_a_dataset_once(data):
    class Reads(TensorDataset):
        n = 0

        def __getitem__(self, index):
            Reads.n += 1
            return super().__getitem__(index)

    X, y = data
    dataset = Reads(torch.from_numpy(X), torch.from_numpy(y))
    counts = []
    for max_epochs in (2, 20):
        net = FrozenEstimator(make_net(make_module()))
        params = {"data_on_device": True, "max_epochs": max_epochs, "random_state": 0}
        unlearner = SquareUnlearner(net, **params).fit(dataset, y)
        Reads.n = 0
        unlearner.unlearn(dataset, y, forget=range(N_FORGET))
        counts.append(Reads.n)
    assert counts[0] == counts[1] < 3 * len(X)


def test_data_on_device_must_be_a_boolean(data):
    with pytest.raises(ValueError, match="'data_on_device' parameter"):
        unlearn(make_module(), data, data_on_device="cuda")


# Memory format of images.


@pytest.mark.parametrize("trainable", ["all", saliency_mask(0.5)])
def test_channels_last_stays(trainable):
    class ChannelsLast(SmallCNN):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.to(memory_format=torch.channels_last)

    X = np.random.default_rng(0).normal(size=(24, 2, 6, 6)).astype(np.float32)
    y = np.arange(24) % 3
    probabilities = []
    for module in (SmallCNN, ChannelsLast):
        net = NeuralNetClassifier(
            module,
            module__n_channels=2,
            module__n_classes=3,
            criterion=nn.CrossEntropyLoss,
            max_epochs=1,
            train_split=None,
            verbose=0,
        )
        params = {"trainable": trainable, "max_epochs": 2, "random_state": 0}
        unlearner = FineTuneUnlearner(net, **params).fit(X, y)
        unlearner.unlearn(X, y, forget=y == 0)
        weight = pickle.loads(pickle.dumps(unlearner.net_.module_.features[3].weight))
        assert weight.is_contiguous(memory_format=torch.channels_last) == (module is ChannelsLast)
        probabilities.append(unlearner.predict_proba(X))
    np.testing.assert_allclose(*probabilities, atol=1e-4)
