import numpy as np
import pytest
import torch

from sklunlearn._stacked_optimizers import make_stacked_optimizer

START = np.array([[1.0, -2.0, 3.0], [0.5, 0.25, -1.0]])
GRADIENTS = [
    np.array([[0.2, -0.4, 1.0], [1.0, 2.0, -3.0]]),
    np.array([[-0.5, 0.1, 0], [0.3, 0, 1]]),
]


def settings_of(kind, **params):
    return kind([torch.nn.Parameter(torch.zeros(1))], **params).param_groups[0]


def run(kind, settings, gradients=GRADIENTS, start=START):
    weights = torch.tensor(start)
    optimizer = make_stacked_optimizer(kind, weights, settings)
    for gradient in gradients:
        optimizer.step(torch.tensor(gradient))
    return weights.numpy()


def test_two_steps_of_sgd_by_hand():
    lr, momentum, decay = np.array([[[0.1], [0.2]], [[0.9], [0.5]], [[0.01], [0.0]]])
    settings = [
        settings_of(torch.optim.SGD, lr=0.1, momentum=0.9, weight_decay=0.01),
        settings_of(torch.optim.SGD, lr=0.2, momentum=0.5),
    ]
    velocity = GRADIENTS[0] + decay * START
    once = START - lr * velocity
    velocity = momentum * velocity + GRADIENTS[1] + decay * once
    np.testing.assert_allclose(run(torch.optim.SGD, settings), once - lr * velocity, rtol=1e-12)


def test_two_steps_of_nesterov_by_hand():
    settings = [settings_of(torch.optim.SGD, lr=0.1, momentum=0.9, nesterov=True)] * 2
    once = START - 0.1 * 1.9 * GRADIENTS[0]
    velocity = 0.9 * GRADIENTS[0] + GRADIENTS[1]
    twice = once - 0.1 * (GRADIENTS[1] + 0.9 * velocity)
    np.testing.assert_allclose(run(torch.optim.SGD, settings), twice, rtol=1e-12)


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.AdamW])
def test_two_steps_of_adam_by_hand(kind):
    lr, first, second = np.array([[[0.1], [0.01]], [[0.9], [0.5]], [[0.999], [0.9]]])
    eps, decay = np.array([[[1e-8], [1e-3]], [[0.0], [0.1]]])
    settings = [
        settings_of(kind, lr=0.1, weight_decay=0.0),
        settings_of(kind, lr=0.01, betas=(0.5, 0.9), eps=1e-3, weight_decay=0.1),
    ]
    weights, mean, square = START, 0, 0
    for t, gradient in enumerate(GRADIENTS, 1):
        if kind is torch.optim.Adam:
            gradient = gradient + decay * weights
        else:
            weights = weights * (1 - lr * decay)
        mean = first * mean + (1 - first) * gradient
        square = second * square + (1 - second) * gradient**2
        spread = np.sqrt(square / (1 - second**t)) + eps
        weights = weights - lr * mean / (1 - first**t) / spread
    np.testing.assert_allclose(run(kind, settings), weights, rtol=1e-12)


@pytest.mark.parametrize(
    ("kind", "params"),
    [
        (torch.optim.SGD, [{"lr": 0.1}, {"lr": 0.3}]),
        (torch.optim.SGD, [{"lr": 0.1, "momentum": 0.9}, {"lr": 0.3, "weight_decay": 0.1}]),
        (torch.optim.Adam, [{"lr": 0.1}, {"lr": 0.3, "weight_decay": 0.1}]),
        (torch.optim.AdamW, [{"lr": 0.1}, {"lr": 0.3, "betas": (0.8, 0.99)}]),
    ],
)
def test_many_steps_as_torch_takes_them(kind, params):
    gradients = np.random.default_rng(0).normal(size=(20, 2, 3))
    stacked = run(kind, [settings_of(kind, **given) for given in params], gradients)
    for i, given in enumerate(params):
        alone = torch.nn.Parameter(torch.tensor(START[i]))
        optimizer = kind([alone], **given)
        for gradient in gradients[:, i]:
            alone.grad = torch.tensor(gradient)
            optimizer.step()
        np.testing.assert_allclose(stacked[i], alone.detach().numpy(), rtol=1e-9)


@pytest.mark.parametrize(
    ("kind", "params", "message"),
    [
        (torch.optim.RMSprop, [{}], "RMSprop: only SGD, Adam, AdamW can be stacked"),
        (torch.optim.SGD, [{"maximize": True}], "SGD with 'maximize'"),
        (torch.optim.SGD, [{"momentum": 0.9, "dampening": 0.1}], "SGD with 'dampening'"),
        (torch.optim.Adam, [{"amsgrad": True}], "Adam with 'amsgrad'"),
        (
            torch.optim.SGD,
            [{"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}],
            "SGD with different values of 'nesterov'",
        ),
    ],
)
def test_what_has_no_stacked_form(kind, params, message):
    settings = [settings_of(kind, **{"lr": 0.1, **given}) for given in params]
    with pytest.raises(ValueError, match=message):
        make_stacked_optimizer(kind, torch.zeros(len(params), 3), settings)
