import numpy as np
import pytest
import torch
from scipy.special import softmax

from sklunlearn._data import Rows
from sklunlearn._losses import check_loss, kl_divergence, other_classes, retained_classes

TARGET = np.array([[3.0, 1.0, 0.0], [0.5, -1.0, 2.0], [0.0, 0.0, 0.0]])
LOGITS = np.array([[1.0, 1.0, 1.0], [2.0, 0.0, -1.0], [4.0, 1.0, 1.0]])


def divergences(target, logits, temperature):
    q, p = softmax(target / temperature, axis=1), softmax(logits / temperature, axis=1)
    return temperature**2 * np.where(q > 0, q * np.log(np.where(q > 0, q, 1) / p), 0).sum(axis=1)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_divergence(temperature):
    expected = divergences(TARGET, LOGITS, temperature)
    arguments = torch.tensor(TARGET), torch.tensor(LOGITS), temperature
    assert kl_divergence(*arguments).item() == pytest.approx(expected.mean())
    assert kl_divergence(*arguments, reduction="sum").item() == pytest.approx(expected.sum())


def test_divergence_of_known_value():
    # With the two exchanged it would be 0.798, without T^2 0.0505.
    arguments = torch.tensor([[3.0, 1.0, 0.0]]), torch.tensor([[1.0, 1.0, 1.0]])
    assert kl_divergence(*arguments, 4.0).item() == pytest.approx(0.807711, abs=1e-6)


def test_temperature_is_one_unless_given():
    expected = divergences(TARGET, LOGITS, 1.0).mean()
    assert kl_divergence(torch.tensor(TARGET), torch.tensor(LOGITS)).item() == pytest.approx(
        expected
    )


def test_gradient_of_the_divergence():
    logits = torch.tensor(LOGITS, requires_grad=True)
    kl_divergence(torch.tensor(TARGET), logits, 3.0).backward()
    # T^2 times the gradient of a cross-entropy in logits / T, averaged over the rows.
    expected = 3.0 * (softmax(LOGITS / 3, axis=1) - softmax(TARGET / 3, axis=1)) / 3
    np.testing.assert_allclose(logits.grad, expected, atol=1e-12)


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_class_outside_the_target(temperature):
    target = TARGET.copy()
    target[:, 1] = -np.inf
    logits = torch.tensor(LOGITS, requires_grad=True)
    loss = kl_divergence(torch.tensor(target), logits, temperature)
    loss.backward()
    assert loss.item() == pytest.approx(divergences(target, LOGITS, temperature).mean())
    assert torch.isfinite(logits.grad).all() and (logits.grad[:, 1] > 0).all()


@pytest.mark.parametrize(
    ("y", "expected"),
    [([0, 2, 2], [1, 0, 1, 0]), ([3], [0, 0, 0, 1]), ([3, 1, 0, 2], [1, 1, 1, 1]), ([], [1] * 4)],
)
def test_retained_classes(y, expected):
    rows = Rows(np.zeros((len(y), 1), dtype=np.float32), np.array(y, dtype=np.int64))
    mask = retained_classes(rows, 4)
    assert mask.dtype == torch.bool
    assert mask.tolist() == list(map(bool, expected))


@pytest.mark.parametrize(
    ("allowed", "expected"),
    [
        ([1, 1, 1], [[0, 1, 1], [1, 1, 0], [1, 0, 1]]),
        ([1, 0, 1], [[0, 0, 1], [1, 0, 0], [1, 0, 1]]),
        # Only class 0 is retained: its own rows may go anywhere else.
        ([1, 0, 0], [[0, 1, 1], [1, 0, 0], [1, 0, 0]]),
        ([0, 1, 0], [[0, 1, 0], [0, 1, 0], [1, 0, 1]]),
    ],
)
def test_other_classes(allowed, expected):
    mask = other_classes(torch.tensor([0, 2, 1]), torch.tensor(allowed).bool())
    assert mask.dtype == torch.bool
    np.testing.assert_array_equal(mask, np.array(expected, dtype=bool))


def test_a_loss_is_handed_through():
    loss = torch.ones(2, requires_grad=True).sum()
    assert check_loss(loss, "Mine", ["weight"]) is loss


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (None, "must return a tensor with a single value, got NoneType"),
        (0.5, "must return a tensor with a single value, got float"),
        (torch.ones(3, requires_grad=True), r"one of shape \(3,\): take the mean"),
    ],
)
def test_a_loss_is_a_single_value(loss, message):
    with pytest.raises(TypeError, match=f"`_loss` of Mine .*{message}"):
        check_loss(loss, "Mine", ["weight"])


def test_a_loss_has_a_gradient():
    with pytest.raises(ValueError, match=r"\['weight'\]: .* `trainable`.* must not detach"):
        check_loss(torch.tensor(1.0), "Mine", ["weight"])
