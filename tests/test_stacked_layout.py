import numpy as np
import pytest
import torch
from torch.func import vmap
from torch.nn import functional as F

from sklunlearn._stacked_layout import RowsLast


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def tensor(values):
    return torch.tensor(values, requires_grad=values.dtype.kind == "f")


def both(function, *arrays):
    """Value and gradients in one layout and in the other."""
    results = []
    for context in (RowsLast(), torch.enable_grad()):
        tensors = [tensor(values) for values in arrays]
        with context:
            value = function(*tensors)
        value.square().sum().backward()
        results.append([value.detach(), *[t.grad for t in tensors if t.requires_grad]])
    return results


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(5, 3), (2, 5, 3)])
def test_linear(rng, bias, shape):
    arrays = rng.normal(size=shape), rng.normal(size=(4, 3)), *[rng.normal(size=4)] * bias
    for ours, theirs in zip(*both(F.linear, *arrays), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("of_classes", [True, False])
@pytest.mark.parametrize(
    "params",
    [
        {},
        {"reduction": "none"},
        {"reduction": "sum", "label_smoothing": 0.1},
        {"weight": torch.tensor([1.0, 2, 3], dtype=torch.float64)},
    ],
)
def test_cross_entropy(rng, of_classes, params):
    y = np.array([0, 2, 1, 1]) if of_classes else rng.dirichlet(np.ones(3), size=4)
    found = both(lambda logits, y: F.cross_entropy(logits, y, **params), rng.normal(size=(4, 3)), y)
    for ours, theirs in zip(*found, strict=True):
        assert ours.shape == theirs.shape
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_a_stack_has_its_rows_on_the_last_axis():
    with RowsLast():
        out = vmap(F.linear)(torch.ones(2, 5, 3), torch.ones(2, 4, 3), torch.ones(2, 4))
    assert out.shape == (2, 5, 4)
    assert out.mT.is_contiguous()


@pytest.mark.parametrize("shape", [(), (1, 4), (5, 4)])
def test_biases_of_other_shapes(rng, shape):
    arrays = rng.normal(size=(5, 3)), rng.normal(size=(4, 3)), np.array(rng.normal(size=shape))
    for ours, theirs in zip(*both(F.linear, *arrays), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
