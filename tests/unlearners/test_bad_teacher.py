import copy
import math

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax
from tiny import arrays, changed, dropout_network, linear, linears, unlearn
from torch import nn

import sklunlearn.unlearners.bad_teacher as bad_teacher
from sklunlearn import BadTeacherUnlearner

WEIGHT = np.array([[1.0, -1.0], [0.5, 0.0], [-1.0, 2.0]])
BIAS = np.array([0.0, 0.3, -0.2])
X = np.array([[1.0, 0.0], [0.4, -0.7], [0.2, 0.1], [-0.4, 0.3], [0.0, 1.0]])
Y = np.array([0, 0, 1, 2, 2])
FORGET = [0, 1]
MANY = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)


class Recorder(BadTeacherUnlearner):
    """Keeps the bad teacher, and the rows of each step."""

    def _prepare(self, net, forget, retain):
        self.original_ = net
        self.seen_ = []
        return super()._prepare(net, forget, retain)

    def _make_bad_teacher(self, net, forget):
        teacher = super()._make_bad_teacher(net, forget)
        if self.bad_teacher == "random_init":
            self.bad_net_ = teacher.net
        return teacher

    def _loss(self, module, forget, retain):
        self.seen_.append((forget.X.numpy(), retain.X.numpy()))
        return super()._loss(module, forget, retain)


def same_rows(actual, expected):
    return sorted(map(tuple, actual)) == sorted(map(tuple, expected))


def divergences(target, logits, temperature):
    """Of each row, by the formula."""
    log_q, log_p = (log_softmax(s / temperature, axis=1) for s in (target, logits))
    return temperature**2 * (np.exp(log_q) * (log_q - log_p)).sum(axis=1)


def run_by_hand(x_retain, bad, n_steps, lr, retain_weight, temperature):
    """Weights, bias and losses of plain gradient descent on the formula."""
    weight, bias, losses = WEIGHT.copy(), BIAS.copy(), []
    rows = np.concatenate([X[FORGET], x_retain])
    target = np.concatenate([bad, x_retain @ WEIGHT.T + BIAS])
    factor = np.repeat([1.0, retain_weight], [len(FORGET), len(x_retain)]) / len(rows)
    for _ in range(n_steps):
        logits = rows @ weight.T + bias
        losses.append(factor @ divergences(target, logits, temperature))
        p, q = (softmax(s / temperature, axis=1) for s in (logits, target))
        error = (factor * temperature)[:, None] * (p - q)
        weight, bias = weight - lr * error.T @ rows, bias - lr * error.sum(axis=0)
    return weight, bias, losses


@pytest.mark.parametrize("kind", ["random_init", "uniform"])
@pytest.mark.parametrize(
    "retain_weight, temperature, as_dataset",
    [(1.0, 1.0, False), (0.5, 1.0, True), (2.0, 3.0, False), (0.0, 0.5, True), (0.0, 2.0, False)],
)
def test_two_steps(kind, retain_weight, temperature, as_dataset):
    # At the first one the retain rows have no gradient yet.
    unlearner = unlearn(
        Recorder,
        linears((WEIGHT, BIAS)),
        X,
        Y,
        FORGET,
        bad_teacher=kind,
        retain_fraction=1.0,
        retain_weight=retain_weight,
        temperature=temperature,
        lr=0.7,
        max_epochs=2,
        as_dataset=as_dataset,
    )
    bad = np.zeros((2, 3))
    if kind == "random_init":
        teacher = arrays(unlearner.bad_net_.module_)
        bad = X[FORGET] @ teacher["0.weight"].T + teacher["0.bias"]
    x_retain = X[2:] if retain_weight else X[:0]
    weight, bias, losses = run_by_hand(x_retain, bad, 2, 0.7, retain_weight, temperature)
    after = arrays(unlearner.net_.module_)
    np.testing.assert_allclose(after["0.weight"], weight, atol=2e-6)
    np.testing.assert_allclose(after["0.bias"], bias, atol=2e-6)
    np.testing.assert_allclose(unlearner.history_[:, "train_loss"], losses, atol=2e-6)


def test_one_forget_row():
    unlearner = unlearn(
        BadTeacherUnlearner, linears((WEIGHT, BIAS)), X, Y, [3], bad_teacher="uniform", lr=1.0
    )
    # One of the four retain rows would be 30%, rounded up two.
    error = (softmax(X[3] @ WEIGHT.T + BIAS) - 1 / 3) / 3
    after = arrays(unlearner.net_.module_)
    np.testing.assert_allclose(after["0.bias"], BIAS - error, atol=1e-6)
    np.testing.assert_allclose(after["0.weight"], WEIGHT - np.outer(error, X[3]), atol=1e-6)


def test_loss_at_the_start_is_zero_where_the_bad_teacher_is_the_original(monkeypatch):
    monkeypatch.setattr(bad_teacher, "reinitialize", lambda module, names: None)
    module = linears((WEIGHT, BIAS))
    unlearner = unlearn(BadTeacherUnlearner, module, X, Y, FORGET, temperature=2.0, lr=1.0)
    assert unlearner.history_[0, "train_loss"] == pytest.approx(0, abs=1e-6)
    for name, value in arrays(module).items():
        np.testing.assert_allclose(arrays(unlearner.net_.module_)[name], value, atol=1e-6)


@pytest.mark.parametrize("as_dataset", [False, True])
def test_bad_teacher_is_a_network_of_the_same_architecture_with_other_weights(as_dataset):
    module = dropout_network()
    unlearner = unlearn(
        Recorder,
        module,
        MANY,
        np.arange(60) % 4,
        range(20),
        lr=0.1,
        batch_size=16,
        as_dataset=as_dataset,
    )
    bad = unlearner.bad_net_.module_
    assert str(bad) == str(module)
    for name, parameter in bad.named_parameters():
        assert parameter.shape == module.get_parameter(name).shape
        assert not torch.equal(parameter, module.get_parameter(name)), name
    np.testing.assert_array_equal(bad[1].running_mean, np.zeros(8))
    np.testing.assert_array_equal(bad[1].running_var, np.ones(8))
    assert not any(submodule.training for submodule in bad.modules())
    # Initial weights of a linear layer are uniform within 1 / sqrt(n_in).
    assert 0.4 < bad[0].weight.abs().max() * math.sqrt(3) <= 1


def test_original_is_as_it_was():
    module = dropout_network()
    before = arrays(module)
    unlearner = unlearn(Recorder, module, MANY, np.arange(60) % 4, range(20), lr=0.1, max_epochs=3)
    assert changed(before, module) == []
    assert unlearner.original_.module_ is module
    assert unlearner.fitted_.module_ is module
    parts = [unlearner.net_, unlearner.bad_net_]
    ours = {id(p) for net in parts for p in net.module_.parameters()}
    assert len(ours) == 12 and not ours & {id(p) for p in module.parameters()}
    assert all(p.requires_grad and p.grad is None for p in module.parameters())


@pytest.mark.parametrize(
    "fraction, n_retain, n_taken",
    [(0.3, 40, 12), (0.3, 41, 13), (0.5, 40, 20), (1.0, 40, 40), (0.001, 40, 1), (0.07, 100, 7)],
)
def test_retain_fraction(fraction, n_retain, n_taken):
    x = np.random.default_rng(1).normal(size=(10 + n_retain, 2)).astype(np.float32)
    unlearner = unlearn(
        Recorder,
        linears((WEIGHT, BIAS)),
        x,
        np.arange(len(x)) % 3,
        range(10),
        retain_fraction=fraction,
        max_epochs=3,
        batch_size=8,
        lr=0.1,
    )
    n_steps = math.ceil((10 + n_taken) / 8)
    assert len(unlearner.seen_) == 3 * n_steps
    taken = None
    for epoch in range(3):
        steps = unlearner.seen_[epoch * n_steps : (epoch + 1) * n_steps]
        forget, retain = (np.concatenate(half) for half in zip(*steps, strict=True))
        assert same_rows(forget, x[:10])
        assert len(retain) == n_taken
        assert set(map(tuple, retain)) <= set(map(tuple, x[10:]))
        assert len(set(map(tuple, retain))) == n_taken
        taken = retain if taken is None else taken
        assert same_rows(retain, taken)  # the same rows in each epoch
        for of_forget, of_retain in steps:  # in their proportion
            expected = (len(of_forget) + len(of_retain)) * 10 / (10 + n_taken)
            assert abs(len(of_forget) - expected) <= 1


@pytest.mark.parametrize("stop_accuracy", [0.0, None])
def test_stop_accuracy(stop_accuracy):
    # Forget rows are of class 0, and the network is taught that all classes are alike.
    module = linears((np.zeros((3, 2)), [1.0, 0.0, 0.0]))
    unlearner = unlearn(
        BadTeacherUnlearner,
        module,
        np.zeros((4, 2)),
        [0, 0, 1, 2],
        FORGET,
        bad_teacher="uniform",
        retain_weight=0.0,
        lr=4.0,
        max_epochs=20,
        stop_accuracy=stop_accuracy,
    )
    logits, n_epochs = np.array([1.0, 0.0, 0.0]), 0
    while logits.argmax() == 0:
        logits, n_epochs = logits - 4 * (softmax(logits) - 1 / 3), n_epochs + 1
    assert len(unlearner.history_) == (20 if stop_accuracy is None else n_epochs)


def test_layer_without_initial_weights_of_its_own():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(3))
            self.layer = copy.deepcopy(linear(WEIGHT, BIAS))

        def forward(self, x):
            return self.layer(x) * self.scale

    with pytest.raises(ValueError, match="cannot be given new initial weights"):
        unlearn(BadTeacherUnlearner, Scaled(), X, Y, FORGET, bad_teacher="random_init")
    unlearn(BadTeacherUnlearner, Scaled(), X, Y, FORGET, bad_teacher="uniform")


class View(nn.Module):
    """A linear network that takes no batch without rows."""

    def __init__(self, head):
        super().__init__()
        self.head = head

    def forward(self, x):
        return self.head(x.view(len(x), -1))


@pytest.mark.parametrize("as_dataset", [True, False])
def test_steps_without_a_row_for_a_teacher(as_dataset):
    # With a batch size of 1, each step is without rows for one of the teachers.
    params = {"retain_weight": 1.0 if as_dataset else 0.0, "as_dataset": as_dataset}
    unlearner = unlearn(
        BadTeacherUnlearner, View(linears((WEIGHT, BIAS))), X, Y, FORGET, batch_size=1, **params
    )
    assert np.isfinite(unlearner.history_[-1, "train_loss"])
