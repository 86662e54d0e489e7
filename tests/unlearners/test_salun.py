import math

import numpy as np
import pytest
import torch
from tiny import (
    BIAS,
    FORGET,
    WEIGHT,
    X,
    Y,
    arrays,
    assert_head,
    changed,
    errors,
    linear,
    logits,
    network,
    unlearn,
)
from torch.nn.functional import cross_entropy
from torch.utils.data import TensorDataset

from sklunlearn import RandomLabelUnlearner, SalUnUnlearner
from sklunlearn.saliency import saliency_mask


def chosen(module, batches, fraction, names=None):
    """Masks of the weights with the largest sums of the batches' gradients."""
    named = {n: p for n, p in module.named_parameters() if names is None or n in names}
    total = [0.0] * len(named)
    for rows in batches:
        loss = cross_entropy(module(torch.tensor(X[rows])), torch.tensor(Y[rows]))
        gradients = torch.autograd.grad(loss, list(named.values()))
        total = [t + g for t, g in zip(total, gradients, strict=True)]
    values = torch.cat([t.abs().flatten() for t in total]).sort(descending=True).values
    assert len(values.unique()) == len(values)
    threshold = values[math.ceil(fraction * len(values)) - 1]
    return {name: t.abs() >= threshold for name, t in zip(named, total, strict=True)}


def assert_only_chosen_moved(module, unlearner, masks):
    for name, after in unlearner.net_.module_.named_parameters():
        moved = after != module.get_parameter(name)
        mask = masks.get(name, torch.zeros_like(moved))
        if name in ("0.bias", "3.bias"):  # BatchNorm subtracts them again: they need not move
            assert not moved[~mask].any(), name
        else:
            assert torch.equal(moved, mask), name


@pytest.mark.parametrize("fraction, n", [(0.1, 1), (0.5, 4), (0.6, 5), (1.0, 8)])
@pytest.mark.parametrize("retain_weight", [0.0, 0.7])
def test_one_step_by_hand(fraction, n, retain_weight):
    # Two classes: the labels of the forget rows are flipped.
    weight, bias, y = WEIGHT[:2], BIAS[:2], Y % 2
    X_forget, X_retain = X[FORGET].astype(float), X[~FORGET].astype(float)

    def gradient(error, rows):
        return np.column_stack([error.T @ rows, error.sum(axis=0)])

    saliency = abs(gradient(errors(weight, bias, X_forget, y[FORGET]), X_forget))
    # Two logits have opposite gradients: pairs are equally salient, and an odd number splits one.
    step = gradient(errors(weight, bias, X_forget, 1 - y[FORGET]), X_forget)
    if retain_weight:
        step += retain_weight * gradient(errors(weight, bias, X_retain, y[~FORGET]), X_retain)
    expected = np.column_stack([weight, bias]) - 0.9 * step / (20 if retain_weight else 7)
    unlearner = unlearn(
        SalUnUnlearner,
        linear(weight, bias),
        y=y,
        fraction=fraction,
        retain_weight=retain_weight,
        lr=0.9,
    )
    after = np.column_stack([p.detach().numpy() for p in unlearner.net_.module_.parameters()])
    moved = after != np.column_stack([weight, bias]).astype(np.float32)
    assert moved.sum() == n
    np.testing.assert_allclose(after[moved], expected[moved], atol=2e-6)
    assert (saliency[moved] >= np.sort(saliency, axis=None)[-n] * (1 - 1e-5)).all()


@pytest.mark.parametrize(
    "params",
    [
        {"optimizer": None, "net_params": {"optimizer__weight_decay": 0.3}},
        {"optimizer": torch.optim.Adam, "net_params": {"optimizer__weight_decay": 0.3}},
        {"optimizer": torch.optim.AdamW, "net_params": {"optimizer__weight_decay": 0.3}},
        {"optimizer": None, "max_grad_norm": 0.1},
        {"optimizer": None, "retain_weight": 0.0, "resample": "once"},
    ],
)
@pytest.mark.parametrize("freeze_batchnorm", [False, True])
def test_other_weights_stay_bit_for_bit(params, freeze_batchnorm):
    module = network()
    before = arrays(module)
    masks = chosen(module, [range(4), range(4, 7)], 0.4)
    unlearner = unlearn(
        SalUnUnlearner,
        module,
        fraction=0.4,
        batch_size=4,
        max_epochs=4,
        lr=0.02,
        freeze_batchnorm=freeze_batchnorm,
        **params,
    )
    assert_only_chosen_moved(module, unlearner, masks)
    statistics = [name for name in changed(before, unlearner.net_.module_) if "running" in name]
    assert bool(statistics) != freeze_batchnorm
    assert unlearner.updated_params_ == [name for name, mask in masks.items() if mask.any()]
    assert changed(before, module) == []


@pytest.mark.parametrize("trainable, names", [("head", ["6"]), (2, ["3", "4", "6"])])
def test_weights_are_chosen_among_the_trainable(trainable, names):
    module = network()
    names = [name for name, _ in module.named_parameters() if name[0] in names]
    masks = chosen(module, [range(7)], 0.5, names)
    unlearner = unlearn(SalUnUnlearner, module, fraction=0.5, trainable=trainable, max_epochs=3)
    assert_only_chosen_moved(module, unlearner, masks)


@pytest.mark.parametrize("retain_weight", [0.0, 1.0])
def test_all_weights_are_those_of_random_labels(retain_weight):
    params = {"batch_size": 6, "max_epochs": 3, "optimizer": None, "lr": 0.05}
    params["retain_weight"] = retain_weight
    all_chosen = unlearn(SalUnUnlearner, network(), fraction=1.0, **params)
    labels_alone = unlearn(RandomLabelUnlearner, network(), **params)
    assert changed(arrays(labels_alone.net_.module_), all_chosen.net_.module_) == []


def test_one_row_of_a_dataset():
    module = network()
    masks = chosen(module, [[9]], 0.2)
    rows = TensorDataset(torch.tensor(X), torch.tensor(Y))
    unlearner = unlearn(SalUnUnlearner, module, rows, None, [9], fraction=0.2, max_epochs=2)
    assert_only_chosen_moved(module, unlearner, masks)


def test_one_bias_can_forget_a_class():
    # Of the biases, the one with the largest gradient is all that may move.
    labels = logits(WEIGHT, BIAS, X).argmax(axis=1)
    forget = labels == 3
    unlearner = unlearn(
        SalUnUnlearner,
        linear(),
        y=labels,
        forget=forget,
        fraction=0.2,
        trainable=lambda name, parameter: name == "bias",
        retain_weight=0.0,
        lr=0.5,
        max_epochs=300,
        stop_accuracy=0.0,
    )
    moved = unlearner.net_.module_.bias.detach().numpy() != BIAS.astype(np.float32)
    gradient = errors(WEIGHT, BIAS, X[forget], labels[forget]).sum(axis=0)
    np.testing.assert_array_equal(moved, np.arange(4) == abs(gradient).argmax())
    accuracies = unlearner.history_[:, "forget_accuracy"]
    assert min(accuracies[:-1]) > 0 == accuracies[-1]
    after = np.where(moved, unlearner.net_.module_.bias.detach().numpy(), BIAS)
    assert (logits(WEIGHT, after, X[forget]).argmax(axis=1) != 3).all()
    assert_head(unlearner, WEIGHT, after)


def test_a_mask_is_no_choice_of_layers_for_the_mask():
    with pytest.raises(ValueError, match="'trainable' parameter of SalUnUnlearner"):
        SalUnUnlearner(trainable=saliency_mask(0.5)).fit(np.eye(4), [0, 1, 0, 1])
