import numpy as np
import pytest
import torch
from scipy.stats import chisquare
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
    network,
    unlearn,
)
from torch.utils.data import TensorDataset

from sklunlearn import RandomLabelUnlearner


class Recorder(RandomLabelUnlearner):
    """Keeps, for each step, the forget rows by number, what they are trained to be, and sizes."""

    def _prepare(self, net, forget, retain):
        self.steps_ = []
        forget["number"] = torch.arange(len(forget))
        return super()._prepare(net, forget, retain)

    def _loss(self, module, forget, retain):
        loss = super()._loss(module, forget, retain)
        # Of the gradient with respect to the logits, only the entry of the label is negative.
        (gradient,) = torch.autograd.grad(loss, forget.logits, retain_graph=True)
        assert ((gradient < 0).sum(dim=1) == 1).all()
        numbers = forget["number"].tolist()
        labels = gradient.argmin(dim=1).tolist()
        self.steps_.append((dict(zip(numbers, labels, strict=True)), len(retain)))
        return loss


def labels_by_epoch(y, forget, max_epochs, batch_size=6, weight=None, **params):
    """Labels that are learned in each epoch, of shape (max_epochs, n_forget)."""
    weight = np.zeros((4, 3)) if weight is None else weight
    rows = np.random.default_rng(1).normal(size=(len(y), 3)).astype(np.float32)
    params = {"lr": 1e-4, "max_epochs": max_epochs, "batch_size": batch_size, **params}
    unlearner = unlearn(Recorder, linear(weight, weight[:, 0]), rows, y, forget, **params)
    steps = [labels for labels, _ in unlearner.steps_]
    epochs = np.array_split(np.array(steps, dtype=object), max_epochs)
    labels = [{k: v for step in epoch for k, v in step.items()} for epoch in epochs]
    n_forget = np.sum(forget)
    assert all(sorted(epoch) == list(range(n_forget)) for epoch in labels)
    assert len(unlearner.history_) == max_epochs
    return np.array([[epoch[i] for i in range(n_forget)] for epoch in labels])


# Steps by hand, where there is one label to draw.

TWO = {"weight": WEIGHT[:2], "bias": BIAS[:2], "y": Y % 2}


@pytest.mark.parametrize("resample", ["once", "epoch"])
@pytest.mark.parametrize("retain_weight", [0.0, 0.4, 1.0])
def test_two_classes_are_flipped(retain_weight, resample):
    weight, bias, y = TWO.values()
    n = 20 if retain_weight else 7
    parts = [(X[FORGET], 1 - y[FORGET], 1.0), (X[~FORGET], y[~FORGET], retain_weight)]
    steps = [(rows, factor * errors(weight, bias, rows, t) / n) for rows, t, factor in parts]
    loss = sum(factor * losses(weight, bias, rows, t).sum() for rows, t, factor in parts) / n
    unlearner = unlearn(
        RandomLabelUnlearner,
        linear(weight, bias),
        y=y,
        retain_weight=retain_weight,
        resample=resample,
        lr=1.5,
    )
    assert_head(unlearner, *descend(weight, bias, 1.5, *steps))
    assert unlearner.history_[0, "train_loss"] == pytest.approx(loss, rel=1e-6)


@pytest.mark.parametrize("retain_weight", [0.0, 1.0])
def test_the_only_class_that_is_retained(retain_weight):
    forget = Y != 2
    n = 20 if retain_weight else 15
    parts = [
        (X[forget], errors(WEIGHT, BIAS, X[forget], np.full(15, 2)) / n),
        (X[~forget], retain_weight * errors(WEIGHT, BIAS, X[~forget], Y[~forget]) / n),
    ]
    params = {"forget": forget, "retain_weight": retain_weight, "lr": 0.8}
    unlearner = unlearn(RandomLabelUnlearner, linear(), **params)
    assert_head(unlearner, *descend(WEIGHT, BIAS, 0.8, *parts))


def test_one_row_of_a_dataset():
    weight, bias, y = TWO.values()
    rows = TensorDataset(torch.tensor(X), torch.tensor(y))
    others = np.arange(20) != 6
    parts = [
        (X[[6]], errors(weight, bias, X[[6]], 1 - y[[6]]) / 20),
        (X[others], errors(weight, bias, X[others], y[others]) / 20),
    ]
    unlearner = unlearn(RandomLabelUnlearner, linear(weight, bias), rows, None, [6], lr=3.0)
    assert_head(unlearner, *descend(weight, bias, 3.0, *parts))


def test_one_row_of_a_dataset_alone():
    weight, bias, y = TWO.values()
    rows = TensorDataset(torch.tensor(X), torch.tensor(y))
    step = X[[6]], errors(weight, bias, X[[6]], 1 - y[[6]])
    params = {"retain_weight": 0, "lr": 0.3}
    unlearner = unlearn(RandomLabelUnlearner, linear(weight, bias), rows, None, [6], **params)
    assert_head(unlearner, *descend(weight, bias, 0.3, step))


# The draw.


def is_uniform(drawn, classes):
    counts = np.bincount(drawn, minlength=4)
    assert counts.sum() == counts[classes].sum()
    return chisquare(counts[classes]).pvalue > 1e-4


@pytest.mark.parametrize("retain_weight", [0.0, 1.0])
def test_other_classes_are_drawn_uniformly(retain_weight):
    y, forget = np.arange(64) % 4, np.arange(64) < 32
    params = {"retain_weight": retain_weight, "batch_size": 16}
    labels = labels_by_epoch(y, forget, 60, **params)
    assert (labels != y[forget]).all()
    for k in range(4):
        others = [other for other in range(4) if other != k]
        drawn = labels[:, y[forget] == k]
        assert is_uniform(drawn.ravel(), others)
        assert all(len(np.unique(column)) == 3 for column in drawn.T)


def test_draw_does_not_depend_on_what_the_network_says():
    # Nearly sure of class 1: the labels are random all the same.
    y, forget = np.zeros(40, int), np.arange(40) < 32
    y[32:] = np.arange(8) % 4
    weight = np.zeros((4, 3))
    weight[1, 0] = 3
    labels = labels_by_epoch(y, forget, 60, batch_size=20, weight=weight)
    assert is_uniform(labels.ravel(), [1, 2, 3])


@pytest.mark.parametrize("retain_weight", [0.0, 1.0])
def test_removed_classes_are_never_drawn(retain_weight):
    y = np.arange(80) % 4
    forget = (y == 1) | (np.arange(80) < 16)  # all of class 1, and some of the others
    labels = labels_by_epoch(y, forget, 40, batch_size=20, retain_weight=retain_weight)
    assert (labels != y[forget]).all()
    assert is_uniform(labels[:, y[forget] == 1].ravel(), [0, 2, 3])
    assert is_uniform(labels[:, y[forget] == 3].ravel(), [0, 2])


def test_row_of_the_only_class_that_is_retained():
    y, forget = np.zeros(30, int), np.arange(30) < 25
    labels = labels_by_epoch(y, forget, 40, batch_size=30)
    assert is_uniform(labels.ravel(), [1, 2, 3])


def test_true_class_and_removed_classes_may_be_included():
    y = np.arange(80) % 4
    forget = (y == 1) | (np.arange(80) < 16)
    labels = labels_by_epoch(y, forget, 40, batch_size=20, exclude_true=False)
    for k in range(4):
        assert is_uniform(labels[:, y[forget] == k].ravel(), [0, 1, 2, 3])


@pytest.mark.parametrize("exclude_true", [True, False])
@pytest.mark.parametrize("resample, is_new", [("once", False), ("epoch", True)])
def test_when_labels_are_drawn_anew(resample, is_new, exclude_true):
    y, forget = np.arange(40) % 4, np.arange(40) < 24
    labels = labels_by_epoch(y, forget, 5, resample=resample, exclude_true=exclude_true)
    assert len({tuple(epoch) for epoch in labels}) == (5 if is_new else 1)
    assert len(np.unique(labels[0])) == 4  # and not one label for all


def test_seed_of_the_draw():
    y, forget = np.arange(40) % 4, np.arange(40) < 24
    draws = [labels_by_epoch(y, forget, 2, random_state=seed).tobytes() for seed in (1, 1, 2)]
    assert draws[0] == draws[1] != draws[2]


# Batches.


def test_batches_mix_forget_and_retain_rows_in_their_proportion():
    y, forget = np.arange(60) % 4, np.arange(60) < 15
    rows = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
    params = {"max_epochs": 3, "batch_size": 8, "lr": 0.01}
    unlearner = unlearn(Recorder, linear(), rows, y, forget, **params)
    sizes = np.array([(len(labels), n_retain) for labels, n_retain in unlearner.steps_])
    assert len(sizes) == 3 * 8  # 60 rows
    np.testing.assert_array_equal(sizes.reshape(3, 8, 2).sum(axis=1), [[15, 45]] * 3)
    assert (abs(sizes - [15 / 8, 45 / 8]) < 1).all()


def test_steps_without_a_forget_row():
    # 20 rows in 5 steps, and the one forget row in one of them.
    forget = np.arange(20) == 3
    unlearner = unlearn(
        RandomLabelUnlearner, linear(), forget=forget, batch_size=4, max_epochs=2, lr=1e-7
    )
    other = [losses(WEIGHT, BIAS, X[forget], np.array([k]))[0] for k in (0, 1, 2)]
    retained = losses(WEIGHT, BIAS, X[~forget], Y[~forget]).sum()
    for loss in unlearner.history_[:, "train_loss"]:
        assert min(abs(loss - (retained + label) / 20) for label in other) < 1e-5


def test_retain_rows_without_weight_take_no_part():
    states = []
    for factor in (1, -3):
        rows = X.copy()
        rows[~FORGET] *= factor
        params = {"retain_weight": 0, "batch_size": 3, "max_epochs": 2}
        unlearner = unlearn(RandomLabelUnlearner, network(), rows, **params)
        states.append(arrays(unlearner.net_.module_))
        assert unlearner.history_[:, "batches", :, "train_batch_size"] == [[3, 2, 2]] * 2
    assert changed(states[0], unlearner.net_.module_) == []


def test_stop_accuracy():
    labels = logits(WEIGHT, BIAS, X).argmax(axis=1)
    forget = labels == 3
    unlearner = unlearn(
        RandomLabelUnlearner,
        linear(),
        y=labels,
        forget=forget,
        lr=0.1,
        max_epochs=300,
        stop_accuracy=0.3,
    )
    accuracies = unlearner.history_[:, "forget_accuracy"]
    assert 2 < len(accuracies) < 300
    assert accuracies[-1] <= 0.3 < min(accuracies[:-1])
    weight, bias = (p.detach().numpy() for p in unlearner.net_.module_.parameters())
    last = np.mean(logits(weight, bias, X[forget]).argmax(axis=1) == 3)
    assert accuracies[-1] == pytest.approx(last)
