import numpy as np
import pytest
import torch
from torch.func import vmap
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

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


@pytest.mark.parametrize("shape", [(5, 3), (5,), (2, 5, 3)])
@pytest.mark.parametrize(
    "function",
    [
        lambda x: torch.softmax(x, dim=-1),
        lambda x: torch.log_softmax(x, x.ndim - 1),
        lambda x: torch.softmax(x, 0),
        lambda x: F.softmax(x, dim=-1, dtype=torch.float32),
        lambda x: F.log_softmax(x, -1),
        lambda x: x.softmax(x.ndim - 1, torch.float32),
        lambda x: x.log_softmax(dim=-1),
    ],
)
def test_softmax(rng, shape, function):
    for ours, theirs in zip(*both(function, rng.normal(size=shape)), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)


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
    seen = []

    class Noting(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            if "softmax" in str(function):
                seen.append((tuple(args[0].shape), args[1]))
            return function(*args, **(kwargs or {}))

    with Noting(), RowsLast():
        vmap(F.cross_entropy)(torch.ones(2, 5, 3), torch.zeros(2, 5, dtype=torch.int64))
        vmap(lambda x: x.softmax(1))(torch.ones(2, 5, 3))
    assert seen == [((2, 1, 3, 5), 2), ((2, 3, 5), 1)]
