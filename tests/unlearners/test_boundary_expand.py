import copy
import math

import numpy as np
import pytest
import torch
from scipy.special import softmax
from tiny import arrays, changed, dropout_network, linears, unlearn, with_gain
from torch import nn

from sklunlearn import BoundaryExpandUnlearner
from sklunlearn.saliency import saliency_mask

WEIGHT = np.array([[1.0, -1.0], [0.5, 0.0], [-1.0, 2.0]])
BIAS = np.array([0.5, 0.3, -0.2])
X = np.array([[1.0, 0.0], [0.4, -0.7], [0.2, 0.1], [-0.4, 0.3], [0.0, 1.0]], dtype=np.float32)
Y = np.array([0, 0, 1, 2, 2])
MANY = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
MANY_Y = np.arange(40) % 4


class Recorder(BoundaryExpandUnlearner):
    """Keeps the widened network as it is before the run and after it."""

    def _begin(self, net):
        run = super()._begin(net)
        self.begun_ = arrays(run.module_)
        return run

    def _finish(self, run):
        self.trained_ = copy.deepcopy(run.module_)
        super()._finish(run)


@pytest.mark.parametrize("retain_weight", [0.0, 0.4, 2.0])
@pytest.mark.parametrize("as_dataset", [False, True])
@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("forget", [[0], [0, 1], [1, 3]])
def test_one_step(retain_weight, as_dataset, with_bias, forget):
    unlearner = unlearn(
        Recorder,
        linears((WEIGHT, BIAS if with_bias else None)),
        X,
        Y,
        forget,
        retain_weight=retain_weight,
        lr=0.7,
        as_dataset=as_dataset,
    )
    begun = unlearner.begun_
    np.testing.assert_array_equal(begun["0.weight"][:3], WEIGHT.astype(np.float32))
    bias = np.append(BIAS, 0.0) if with_bias else np.zeros(4)
    p = softmax(X @ begun["0.weight"].T + bias, axis=1)
    target = np.eye(4)[Y]
    target[forget] = np.eye(4)[3]
    factor = np.full(len(X), retain_weight / (len(X) - len(forget)))
    factor[forget] = 1 / len(forget)
    error = factor[:, None] * (p - target)
    weight, bias = begun["0.weight"] - 0.7 * error.T @ X, bias - 0.7 * error.sum(axis=0)

    trained, after = arrays(unlearner.trained_), arrays(unlearner.net_.module_)
    np.testing.assert_allclose(trained["0.weight"], weight, atol=1e-6)
    np.testing.assert_allclose(after["0.weight"], weight[:3], atol=1e-6)
    assert list(after) == ["0.weight", "0.bias"][: 1 + with_bias]
    if with_bias:
        np.testing.assert_array_equal(begun["0.bias"], np.append(BIAS, 0).astype(np.float32))
        np.testing.assert_allclose(trained["0.bias"], bias, atol=1e-6)
        np.testing.assert_allclose(after["0.bias"], bias[:3], atol=1e-6)


def test_new_output_has_initial_weights_of_its_own():
    # Normal, of variance 2 / (n_in + n_out).
    module = linears((np.zeros((400, 1000)), np.zeros(400)))
    X = np.zeros((2, 1000))
    unlearner = unlearn(Recorder, module, X, [0, 1], [0], max_epochs=0)
    row = unlearner.begun_["0.weight"][400]
    assert row.std() == pytest.approx(math.sqrt(2 / 1401), rel=0.05)
    assert abs(row.mean()) < 0.004


class Doubled(nn.Linear):
    """A linear layer with a forward pass of its own."""

    def forward(self, x):
        return 2 * super().forward(x)


class Nested(nn.Module):
    def __init__(self, head):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(3, 5), nn.ReLU())
        self.classifier = nn.ModuleDict({"last": nn.Sequential(nn.Dropout(0.1), head)})

    def forward(self, x):
        return self.classifier["last"](self.body(x))


NETWORKS = {
    "a linear layer": lambda: with_gain(nn.Linear(3, 4)),
    "BatchNorm": dropout_network,
    "no bias": lambda: with_gain(nn.Sequential(nn.Linear(3, 5), nn.Linear(5, 4, bias=False))),
    "nested": lambda: with_gain(Nested(nn.Linear(5, 4))),
    "nested, without bias": lambda: with_gain(Nested(nn.Linear(5, 4, bias=False))),
    "class derived from Linear": lambda: with_gain(Nested(Doubled(5, 4))),
    "followed by others": lambda: with_gain(nn.Sequential(nn.Linear(3, 4), nn.Tanh())),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_network_without_training(name):
    module = NETWORKS[name]()
    before, outputs = arrays(module), module(torch.tensor(MANY)).detach()
    unlearner = unlearn(Recorder, module, MANY, MANY_Y, MANY_Y == 1, max_epochs=0)
    # The other outputs of the widened network are those of the original.
    widened = unlearner.trained_.eval()(torch.tensor(MANY)).detach()
    assert widened.shape == (40, 5)
    heads = [layer for layer in unlearner.trained_.modules() if isinstance(layer, nn.Linear)]
    assert heads[-1].out_features == 5
    np.testing.assert_allclose(widened[:, :4], outputs, rtol=1e-6, atol=1e-6)
    # Without the shadow class it is the original, to the last bit.
    assert changed(before, unlearner.net_.module_) == []
    assert changed(before, module) == []
    assert str(unlearner.net_.module_) == str(module)
    after = unlearner.net_.module_.eval()(torch.tensor(MANY)).detach()
    np.testing.assert_array_equal(after, outputs)


@pytest.mark.parametrize("name", NETWORKS)
def test_shadow_class_is_dropped(name):
    module = NETWORKS[name]()
    before = arrays(module)
    unlearner = unlearn(Recorder, module, MANY, MANY_Y, MANY_Y == 1, lr=0.3, max_epochs=8)
    with torch.no_grad():
        widened = unlearner.trained_.eval()(torch.tensor(MANY)).numpy()
        after = unlearner.net_.module_.eval()(torch.tensor(MANY)).numpy()
    assert after.shape == (40, 4)
    assert (widened[MANY_Y == 1].argmax(axis=1) == 4).mean() > 0.5
    np.testing.assert_allclose(after, widened[:, :4], rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(unlearner.predict(MANY), widened[:, :4].argmax(axis=1))
    own = np.log(softmax(widened[MANY_Y == 1, :4].astype(float), axis=1))[:, 1]
    np.testing.assert_allclose(unlearner.forget_loss_, -own, rtol=1e-4)
    assert changed(before, module) == []
    assert unlearner.updated_params_ == [name for name, _ in module.named_parameters()]
    assert not any(p.requires_grad is False for p in unlearner.net_.module_.parameters())
    # It is a network like any other: it can forget more, and be trained.
    unlearner.partial_unlearn(MANY, MANY_Y, forget=MANY_Y == 2)
    assert unlearner.net_.partial_fit(MANY, MANY_Y).predict_proba(MANY).shape == (40, 4)


def test_updated_parameters():
    module = NETWORKS["nested"]()
    unlearner = unlearn(BoundaryExpandUnlearner, module, MANY, MANY_Y, range(10), trainable="head")
    assert unlearner.updated_params_ == ["classifier.last.1.weight", "classifier.last.1.bias"]
    assert changed(arrays(module), unlearner.net_.module_) == unlearner.updated_params_


@pytest.mark.parametrize("frozen", ["weight", "bias"])
def test_frozen_parameters_of_the_head(frozen):
    module = with_gain(nn.Sequential(nn.Linear(3, 5), nn.Linear(5, 4)))
    getattr(module[1], frozen).requires_grad_(False)
    unlearner = unlearn(Recorder, module, MANY, MANY_Y, range(10))
    assert f"1.{frozen}" not in unlearner.updated_params_
    assert len(unlearner.updated_params_) == 3
    assert changed(unlearner.begun_, unlearner.trained_) == unlearner.updated_params_
    flags = {name: p.requires_grad for name, p in unlearner.net_.module_.named_parameters()}
    assert flags == {name: p.requires_grad for name, p in module.named_parameters()}


def test_hook_on_the_head_stays():
    module, calls = NETWORKS["no bias"](), []
    module[1].register_forward_hook(lambda layer, args, output: calls.append(len(output)))
    unlearner = unlearn(BoundaryExpandUnlearner, module, MANY, MANY_Y, range(10))
    calls.clear()
    unlearner.predict(MANY)
    assert calls == [40]


@pytest.mark.parametrize("fraction", [0.2, 1.0])
def test_saliency_mask(fraction):
    module = NETWORKS["no bias"]()
    unlearner = unlearn(
        Recorder,
        module,
        MANY,
        MANY_Y,
        MANY_Y == 1,
        trainable=saliency_mask(fraction, trainable="head"),
    )
    x = torch.tensor(MANY[MANY_Y == 1])
    loss = nn.functional.cross_entropy(module(x), torch.ones(10, dtype=int))
    (gradient,) = torch.autograd.grad(loss, [module[1].weight])
    largest = gradient.abs() >= gradient.abs().flatten().sort().values[-int(20 * fraction)]
    moved = arrays(unlearner.trained_)["1.weight"] != unlearner.begun_["1.weight"]
    np.testing.assert_array_equal(moved[:4], largest)
    assert moved[4].all()  # the shadow class is new, and any of its weights may move


@pytest.mark.parametrize("stop_accuracy", [0.0, None])
def test_stop_accuracy_looks_at_the_real_classes(stop_accuracy):
    bias = np.array([2.0, 0.0, -1.0])
    unlearner = unlearn(
        BoundaryExpandUnlearner,
        linears((np.zeros((3, 2)), bias)),
        np.zeros((2, 2)),
        [0, 1],
        [0],
        retain_weight=0.3,
        lr=0.5,
        max_epochs=60,
        stop_accuracy=stop_accuracy,
    )
    bias, winners, shadow = np.append(bias, 0.0), [], []
    while not winners or winners[-1] == 0:
        p = softmax(bias)
        bias = bias - 0.5 * (p - np.eye(4)[3]) - 0.5 * 0.3 * (p - np.eye(4)[1])
        winners.append(bias[:3].argmax())
        shadow.append(bias.argmax() == 3)
    # The shadow class wins long before another real class does.
    assert shadow.index(True) + 2 < len(winners) < 60
    assert len(unlearner.history_) == (60 if stop_accuracy is None else len(winners))


class Backward(nn.Module):
    """Registers its last layer first."""

    def __init__(self):
        super().__init__()
        self.last, self.first = nn.Linear(5, 4), nn.Linear(3, 5)

    def forward(self, x):
        return self.last(self.first(x))


class Bilinear(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Bilinear(3, 3, 4)

    def forward(self, x):
        return self.layer(x, x)


@pytest.mark.parametrize(
    "module, message",
    [
        (Bilinear(), "The head 'layer' is a Bilinear, to which no output can be added"),
        (
            nn.Sequential(nn.Unflatten(1, (3, 1)), nn.Conv1d(3, 4, 1), nn.Flatten()),
            "The head '1' is a Conv1d",
        ),
        (
            nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(3, 4))),
            "The head '0' is a ParametrizedLinear",
        ),
        (Backward(), "The head 'first' has 5 outputs for 4 classes"),
    ],
)
def test_head_that_cannot_be_widened(module, message):
    before = arrays(module.eval())
    unlearner = unlearn(BoundaryExpandUnlearner, nn.Linear(3, 4), MANY, MANY_Y, range(5))
    fitted = unlearner.fitted_
    fitted.module_ = module
    unlearner.fit(MANY, MANY_Y)
    probabilities = unlearner.predict_proba(MANY)
    with pytest.raises(ValueError, match=message):
        unlearner.unlearn(MANY, MANY_Y, forget=range(5))
    assert unlearner.net_.module_ is module and unlearner.records_ == []
    assert changed(before, module) == []
    np.testing.assert_array_equal(unlearner.predict_proba(MANY), probabilities)
