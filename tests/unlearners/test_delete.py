import numpy as np
import pytest
import torch
from scipy.special import softmax
from tiny import arrays, changed, dropout_network, linears, unlearn
from torch import nn

from sklunlearn import DELETEUnlearner

WEIGHT = np.array([[1.0, -1.0], [0.5, 0.0], [-1.0, 2.0], [0.0, 0.3]])
BIAS = np.array([0.5, 0.3, -0.2, 0.1])
X = np.array([[1.0, 0.0], [0.4, -0.7], [0.2, 0.1], [-0.4, 0.3], [0.0, 1.0], [0.3, 0.3]])
Y = np.array([0, 0, 1, 2, 2, 3])


def target_by_hand(logits, y, allowed):
    """Probabilities without the own class and those that are not allowed, made to add up to 1."""
    q = softmax(logits, axis=1)
    q[:, [k for k in range(q.shape[1]) if k not in allowed]] = 0
    q[np.arange(len(y)), y] = 0
    return q / q.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("retain_weight", [0.0, 0.4, 2.0])
@pytest.mark.parametrize("as_dataset", [False, True])
@pytest.mark.parametrize(
    "forget, allowed",
    [
        ([0], [0, 1, 2, 3]),
        ([0, 1], [1, 2, 3]),
        ([0, 3], [0, 1, 2, 3]),
        ([0, 1, 2, 3], [2, 3]),  # two whole classes, and a part of another
        ([0, 1, 2, 5], [2]),
    ],
)
def test_one_step(retain_weight, as_dataset, forget, allowed):
    unlearner = unlearn(
        DELETEUnlearner,
        linears((WEIGHT, BIAS)),
        X,
        Y,
        forget,
        retain_weight=retain_weight,
        lr=0.7,
        as_dataset=as_dataset,
    )
    p = softmax(X @ WEIGHT.T + BIAS, axis=1)
    target = np.eye(4)[Y]
    target[forget] = target_by_hand(X[forget] @ WEIGHT.T + BIAS, Y[forget], allowed)
    factor = np.full(len(X), retain_weight / (len(X) - len(forget)))
    factor[forget] = 1 / len(forget)
    error = factor[:, None] * (p - target)
    after = arrays(unlearner.net_.module_)
    np.testing.assert_allclose(after["0.weight"], WEIGHT - 0.7 * error.T @ X, atol=1e-6)
    np.testing.assert_allclose(after["0.bias"], BIAS - 0.7 * error.sum(axis=0), atol=1e-6)


def test_target_stays_that_of_the_original():
    # Three steps, each from other weights.
    unlearner = unlearn(DELETEUnlearner, linears((WEIGHT, BIAS)), X, Y, [0], lr=0.7, max_epochs=3)
    target = target_by_hand(X[:1] @ WEIGHT.T + BIAS, Y[:1], range(4))[0]
    weight, bias = WEIGHT, BIAS
    for _ in range(3):
        error = softmax(weight @ X[0] + bias) - target
        weight, bias = weight - 0.7 * np.outer(error, X[0]), bias - 0.7 * error
    np.testing.assert_allclose(arrays(unlearner.net_.module_)["0.weight"], weight, atol=2e-6)


@pytest.mark.parametrize("retained", [[], [0]])
def test_every_other_class_where_none_or_only_its_own_is_retained(retained):
    bias = np.array([3.0, 1.0, 0.0])
    module = linears((np.zeros((3, 2)), bias))
    y = [0, *retained]
    unlearner = unlearn(DELETEUnlearner, module, np.zeros((len(y), 2)), y, [0])
    target = np.array([0, 0.731059, 0.268941])
    step = arrays(unlearner.net_.module_)["0.bias"] - bias
    np.testing.assert_allclose(step, target - softmax(bias), atol=2e-6)
    assert unlearner.history_[0, "train_loss"] == pytest.approx(1.856584, abs=2e-6)


def test_loss_at_the_start():
    module = nn.Sequential(nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, 4))
    rng = np.random.default_rng(0)
    layers = [(rng.normal(size=(6, 3)), rng.normal(size=6)), (rng.normal(size=(4, 6)), [0.0] * 4)]
    for layer, (weight, bias) in zip([module[0], module[2]], layers, strict=True):
        layer.weight.data = torch.tensor(weight, dtype=torch.float32)
        layer.bias.data = torch.tensor(bias, dtype=torch.float32)
    x, y = rng.normal(size=(30, 3)), np.arange(30) % 4
    unlearner = unlearn(DELETEUnlearner, module.eval(), x, y, range(20))
    hidden = np.tanh(x[:20] @ layers[0][0].T + layers[0][1])
    own = softmax(hidden @ layers[1][0].T, axis=1)[np.arange(20), y[:20]]
    expected = -np.log(1 - own).mean()
    assert unlearner.history_[0, "train_loss"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("label", [0, 1])
def test_two_classes_are_flipped(label):
    weight, bias = np.array([[1.0, -1.0], [0.5, 2.0]]), np.array([0.2, 0.0])
    unlearner = unlearn(DELETEUnlearner, linears((weight, bias)), X[:2], [label, 1 - label], [0])
    p = softmax(weight @ X[0] + bias)
    step = arrays(unlearner.net_.module_)["0.bias"] - bias
    np.testing.assert_allclose(step, np.eye(2)[1 - label] - p, atol=1e-6)
    expected = -np.log(p[1 - label])
    assert unlearner.history_[0, "train_loss"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("top", [30.0, 200.0, 1e4])
def test_network_that_is_sure_of_a_row(top):
    # In float32 the probability of the own class is 1, and those of the others round to 0.
    bias = np.array([top, 1.0, 0.0])
    x = [[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]
    unlearner = unlearn(DELETEUnlearner, linears((np.zeros((3, 2)), bias)), x, [0, 1, 2], [0])
    after = arrays(unlearner.net_.module_)
    step = np.array([-1, 0.731059, 0.268941])
    np.testing.assert_allclose(after["0.weight"][:, 0], step, atol=1e-5)
    np.testing.assert_allclose(after["0.bias"], bias + step, rtol=1e-6, atol=1e-5)
    loss = top - np.log(np.exp(1) + 1)
    assert unlearner.history_[0, "train_loss"] == pytest.approx(loss, rel=1e-5)


@pytest.mark.parametrize("retain_weight", [0.0, 1.0])
def test_teacher_is_the_original_in_evaluation_mode(retain_weight):
    module = dropout_network()
    before = arrays(module)
    x = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    y = np.arange(40) % 4
    seen = []

    class Recorder(DELETEUnlearner):
        def _loss(self, module, forget, retain):
            seen.append((forget.X, self._teacher(forget)))
            return super()._loss(module, forget, retain)

    for as_dataset in [False, True]:
        unlearn(
            Recorder,
            module,
            x,
            y,
            y == 0,
            retain_weight=retain_weight,
            batch_size=4,
            lr=0.1,
            max_epochs=2,
            as_dataset=as_dataset,
        )
    assert len(seen) == 2 * 2 * 3
    for rows, logits in seen:
        assert not logits.requires_grad
        expected = module.eval()(rows).detach()
        np.testing.assert_allclose(logits, expected, atol=1e-5)
    assert changed(before, module) == []


@pytest.mark.parametrize("stop_accuracy", [0.0, None])
def test_stop_accuracy(stop_accuracy):
    bias = np.array([2.0, 0.0, -1.0])
    unlearner = unlearn(
        DELETEUnlearner,
        linears((np.zeros((3, 2)), bias)),
        np.zeros((3, 2)),
        [0, 1, 2],
        [0],
        lr=0.2,
        max_epochs=20,
        stop_accuracy=stop_accuracy,
    )
    target, n_epochs = softmax([-np.inf, 0.0, -1.0]), 0
    while bias.argmax() == 0:
        bias, n_epochs = bias - 0.2 * (softmax(bias) - target), n_epochs + 1
    assert 1 < n_epochs < 20
    assert len(unlearner.history_) == (20 if stop_accuracy is None else n_epochs)
