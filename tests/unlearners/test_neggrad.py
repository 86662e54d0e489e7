import numpy as np
import pytest
import torch
from sklearn.frozen import FrozenEstimator
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
from torch.utils.data import TensorDataset

from sklunlearn import FineTuneUnlearner, NegGradUnlearner

X_FORGET, Y_FORGET, X_RETAIN, Y_RETAIN = X[FORGET], Y[FORGET], X[~FORGET], Y[~FORGET]
LOG_K = np.log(4)


@pytest.mark.parametrize("forget_weight", [0.0, 0.05, 1.5])
@pytest.mark.parametrize("retain_weight", [0.0, 0.95, 2.0])
@pytest.mark.parametrize("loss_cap, cap", [("log_k", LOG_K), (0.5, 0.5), (None, np.inf)])
def test_one_step_by_hand(forget_weight, retain_weight, loss_cap, cap):
    forget_loss = losses(WEIGHT, BIAS, X_FORGET, Y_FORGET)
    pushed = (forget_loss < cap)[:, None]
    assert loss_cap is None or 0 < pushed.sum() < len(pushed)
    up = -forget_weight * pushed * errors(WEIGHT, BIAS, X_FORGET, Y_FORGET) / len(X_FORGET)
    down = retain_weight * errors(WEIGHT, BIAS, X_RETAIN, Y_RETAIN) / len(X_RETAIN)
    unlearner = unlearn(
        NegGradUnlearner,
        linear(),
        forget_weight=forget_weight,
        retain_weight=retain_weight,
        loss_cap=loss_cap,
        lr=0.7,
    )
    assert_head(unlearner, *descend(WEIGHT, BIAS, 0.7, (X_FORGET, up), (X_RETAIN, down)))
    loss = retain_weight * losses(WEIGHT, BIAS, X_RETAIN, Y_RETAIN).mean()
    loss -= forget_weight * np.minimum(forget_loss, cap).mean()
    assert unlearner.history_[0, "train_loss"] == pytest.approx(loss, abs=1e-6)


def test_without_forget_weight_it_is_fine_tuning():
    params = {"batch_size": 4, "optimizer": None, "lr": 0.1, "random_state": 7}
    ascent = unlearn(NegGradUnlearner, linear(), forget_weight=0, retain_weight=1, **params)
    tuned = unlearn(FineTuneUnlearner, linear(), **params)
    module = tuned.net_.module_
    assert_head(ascent, module.weight.detach(), module.bias.detach())


def test_rows_beyond_the_cap_are_not_pushed():
    far = losses(WEIGHT, BIAS, X, Y) > LOG_K
    assert far.sum() > 3
    params = {"forget": far, "retain_weight": 0, "forget_weight": 1.0, "max_epochs": 5}
    module = linear()
    unlearner = unlearn(NegGradUnlearner, module, **params)
    assert changed(arrays(module), unlearner.net_.module_) == []
    unbounded = unlearn(NegGradUnlearner, module, loss_cap=None, **params)
    assert changed(arrays(module), unbounded.net_.module_) == ["weight", "bias"]


@pytest.mark.parametrize("loss_cap, cap", [("log_k", LOG_K), (3.0, 3.0)])
def test_ascent_ends_at_the_cap(loss_cap, cap):
    # Equal rows: none pulls another along.
    params = {"retain_weight": 0, "forget_weight": 1.0, "lr": 0.05, "max_epochs": 100}
    module = linear(np.zeros((4, 3)), np.array([3.0, 0, 0, 0]))
    rows = np.ones((6, 3), np.float32), np.zeros(6, int), range(6)
    unlearner = unlearn(NegGradUnlearner, module, *rows, loss_cap=loss_cap, **params)
    assert len(np.unique(unlearner.forget_loss_)) == 1
    # The last step began below the cap; the squared gradient of such rows is at most 2 * (3 + 1).
    assert cap <= unlearner.forget_loss_[0] < cap + 0.05 * 8


class Recorder(NegGradUnlearner):
    """Keeps the forget and the retain rows of each step."""

    def _prepare(self, net, forget, retain):
        self.seen_ = []

    def _loss(self, module, forget, retain):
        self.seen_.append((forget.X.numpy(), None if retain is None else retain.X.numpy()))
        return super()._loss(module, forget, retain)


def in_order(rows):
    return rows[np.argsort(rows[:, 0])]


def test_epochs_are_passes_over_the_retain_rows():
    seen = unlearn(Recorder, network(), batch_size=4, max_epochs=4, lr=0.01).seen_
    assert [len(retain) for _, retain in seen] == [4, 3, 3, 3] * 4
    assert [len(forget) for forget, _ in seen] == [4, 3] * 8
    forget, retain = (np.concatenate(parts) for parts in zip(*seen, strict=True))
    for epoch in retain.reshape(4, 13, 3):
        np.testing.assert_array_equal(in_order(epoch), in_order(X_RETAIN))
    for turn in forget.reshape(8, 7, 3):
        np.testing.assert_array_equal(in_order(turn), in_order(X_FORGET))


def test_epochs_without_retain_rows_are_passes_over_the_forget_rows():
    seen = unlearn(Recorder, network(), batch_size=4, max_epochs=3, retain_weight=0).seen_
    assert [(len(forget), retain) for forget, retain in seen] == [(4, None), (3, None)] * 3
    for epoch in np.concatenate([forget for forget, _ in seen]).reshape(3, 7, 3):
        np.testing.assert_array_equal(in_order(epoch), in_order(X_FORGET))


@pytest.mark.parametrize("retain_weight", [0.0, 0.95])
def test_one_row_of_a_dataset(retain_weight):
    rows = TensorDataset(torch.tensor(X), torch.tensor(Y))
    forget = np.arange(20) == 5  # below the cap at the start
    params = {"forget_weight": 0.3, "retain_weight": retain_weight, "max_epochs": 2, "lr": 0.4}
    weight, bias = WEIGHT, BIAS
    for _ in range(2):
        assert losses(weight, bias, X[forget], Y[forget])[0] < LOG_K
        up = -0.3 * errors(weight, bias, X[forget], Y[forget])
        down = retain_weight * errors(weight, bias, X[~forget], Y[~forget]) / 19
        weight, bias = descend(weight, bias, 0.4, (X[forget], up), (X[~forget], down))
    assert_head(unlearn(NegGradUnlearner, linear(), rows, None, [5], **params), weight, bias)


def test_every_row_of_a_class():
    forget = Y == 2
    weight, bias = WEIGHT, BIAS
    near = (losses(weight, bias, X[forget], Y[forget]) < LOG_K)[:, None]
    up = -0.5 * near * errors(weight, bias, X[forget], Y[forget]) / 5
    down = 0.8 * errors(weight, bias, X[~forget], Y[~forget]) / 15
    params = {"forget": forget, "forget_weight": 0.5, "retain_weight": 0.8, "lr": 1.0}
    expected = descend(weight, bias, 1.0, (X[forget], up), (X[~forget], down))
    assert_head(unlearn(NegGradUnlearner, linear(), **params), *expected)


@pytest.mark.parametrize("stop_accuracy", [0.0, 0.5])
def test_stop_accuracy(stop_accuracy):
    labels = logits(WEIGHT, BIAS, X).argmax(axis=1)
    forget = labels == 3
    weight, bias, accuracies = WEIGHT, BIAS, [1.0]
    while accuracies[-1] > stop_accuracy:
        up = -errors(weight, bias, X[forget], labels[forget]) / forget.sum()
        weight, bias = descend(weight, bias, 0.05, (X[forget], up))
        accuracies.append(np.mean(logits(weight, bias, X[forget]).argmax(axis=1) == 3))
    unlearner = unlearn(
        NegGradUnlearner,
        linear(),
        y=labels,
        forget=forget,
        forget_weight=1.0,
        retain_weight=0,
        loss_cap=None,
        lr=0.05,
        max_epochs=200,
        stop_accuracy=stop_accuracy,
    )
    assert 4 < len(accuracies) < 200
    assert unlearner.history_[:, "forget_accuracy"] == pytest.approx(accuracies[1:])
    assert_head(unlearner, weight, bias)


def test_rows_to_retain_are_needed_only_with_a_weight():
    everything = np.ones(20, dtype=bool)
    unlearner = NegGradUnlearner(FrozenEstimator(make_net(linear())), max_epochs=1).fit(X, Y)
    with pytest.raises(ValueError, match="forget"):
        unlearner.unlearn(X, Y, forget=everything)
    unlearner.set_params(retain_weight=0).unlearn(X, Y, forget=everything)
    assert len(unlearner.forget_loss_) == 20
