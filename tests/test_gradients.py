import numpy as np
import pytest
import torch
from scipy.special import softmax
from skorch import NeuralNetClassifier
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import TensorDataset
from unlearners.tiny import arrays, changed, dropout_network, make_net

from sklunlearn._data import Rows
from sklunlearn._gradients import loss_gradients

X = np.random.default_rng(0).normal(size=(11, 3)).astype(np.float32)
Y = np.arange(11) % 4


@pytest.fixture(autouse=True)
def fixed_seed():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def batches(indices, batch_size):
    return np.array_split(indices, -(-len(indices) // batch_size))


@pytest.mark.parametrize("as_dataset", [False, True])
@pytest.mark.parametrize("batch_size, n_batches", [(1, 7), (3, 3), (4, 2), (7, 1), (100, 1)])
def test_linear_network(as_dataset, batch_size, n_batches):
    module = nn.Linear(3, 4)
    indices = np.array([9, 1, 2, 10, 4, 0, 7])
    source = TensorDataset(torch.tensor(X), torch.tensor(Y)) if as_dataset else X
    rows = Rows(source, Y, indices)
    gradients = list(loss_gradients(make_net(module), rows, ["bias", "weight"], batch_size))
    assert len(gradients) == n_batches
    weight, bias = module.weight.detach().numpy(), module.bias.detach().numpy()
    for batch, (of_bias, of_weight) in zip(batches(indices, batch_size), gradients, strict=True):
        error = softmax(X[batch] @ weight.T + bias, axis=1) - np.eye(4)[Y[batch]]
        np.testing.assert_allclose(of_bias, error.mean(axis=0), atol=1e-6)
        np.testing.assert_allclose(of_weight, error.T @ X[batch] / len(batch), atol=1e-6)


def test_evaluation_mode():
    module = dropout_network()
    before = arrays(module)
    names = ["0.weight", "1.bias", "4.weight"]
    net = make_net(module.train())
    gradients = list(loss_gradients(net, Rows(X, Y), names, 4))
    assert changed(before, module) == []
    assert all(p.requires_grad and p.grad is None for p in module.parameters())
    module.eval()
    for batch, actual in zip(batches(np.arange(11), 4), gradients, strict=True):
        module.zero_grad()
        cross_entropy(module(torch.tensor(X[batch])), torch.tensor(Y[batch])).backward()
        for name, gradient in zip(names, actual, strict=True):
            expected = module.get_parameter(name).grad
            np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-6)


def test_frozen_parameter_that_is_named():
    module = nn.Linear(3, 4).requires_grad_(False)
    [(gradient,)] = loss_gradients(make_net(module), Rows(X, Y), ["bias"], 11)
    error = softmax(module(torch.tensor(X)).numpy(), axis=1) - np.eye(4)[Y]
    np.testing.assert_allclose(gradient, error.mean(axis=0), atol=1e-6)
    assert not module.weight.requires_grad and not module.bias.requires_grad


class Idle(nn.Linear):
    """A linear layer with a parameter that the output does not depend on."""

    def __init__(self):
        super().__init__(3, 4)
        self.idle = nn.Parameter(torch.ones(2, 3))


def test_parameter_that_the_loss_does_not_depend_on():
    [(of_idle, of_bias)] = loss_gradients(make_net(Idle()), Rows(X, Y), ["idle", "bias"], 11)
    np.testing.assert_array_equal(of_idle, np.zeros((2, 3)))
    assert of_bias.abs().min() > 0


def test_flags_are_put_back_where_the_gradients_are_not_all_taken():
    module = dropout_network()
    module[0].weight.requires_grad_(False)
    gradients = loss_gradients(make_net(module), Rows(X, Y), ["4.bias"], 2)
    next(gradients)
    assert [name for name, p in module.named_parameters() if p.requires_grad] == ["4.bias"]
    gradients.close()
    frozen = [name for name, p in module.named_parameters() if not p.requires_grad]
    assert frozen == ["0.weight"]


class Doubling(NeuralNetClassifier):
    def infer(self, x, **fit_params):
        return super().infer(2 * x, **fit_params)


def test_own_way_of_the_net_to_its_output():
    module = nn.Linear(3, 4)
    [(gradient,)] = loss_gradients(make_net(module, Doubling), Rows(X, Y), ["bias"], 11)
    error = softmax(module(torch.tensor(2 * X)).detach().numpy(), axis=1) - np.eye(4)[Y]
    np.testing.assert_allclose(gradient, error.mean(axis=0), atol=1e-6)


def test_module_that_gives_probabilities():
    linear = nn.Linear(3, 4)
    net = make_net(nn.Sequential(linear, nn.Softmax(dim=1)), criterion=nn.NLLLoss)
    [(gradient,)] = loss_gradients(net, Rows(X, Y), ["0.bias"], 11)
    error = softmax(linear(torch.tensor(X)).detach().numpy(), axis=1) - np.eye(4)[Y]
    np.testing.assert_allclose(gradient, error.mean(axis=0), atol=1e-5)
