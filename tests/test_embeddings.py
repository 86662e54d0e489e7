import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.utils.data import TensorDataset

from sklunlearn import RetrainUnlearner, SISAUnlearner
from sklunlearn._data import Rows
from sklunlearn.embeddings import HeadInput, class_centroids, embed, find_cut
from sklunlearn.networks import MLP


def make_module():
    """Three features to an embedding of two by two, and a head of two classes."""
    module = nn.Sequential()
    module.add_module("body", nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5)))
    module.add_module("square", nn.Unflatten(1, (2, 2)))
    module.add_module("tail", nn.Sequential(nn.Flatten(), nn.Linear(4, 2)))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(generator=generator)
        module.body[1].running_mean.normal_(generator=generator)
        module.body[1].running_var.uniform_(0.5, 2.0, generator=generator)
    return module.eval()


@pytest.fixture
def module_net(net):
    """A net that holds the module of this file, in training mode."""
    vars(net.initialize())["module_"] = make_module().train()
    return net


def body_by_hand(module, X):
    linear, norm = module.body[0], module.body[1]
    hidden = X @ linear.weight.detach().numpy().T + linear.bias.detach().numpy()
    scale = np.sqrt(norm.running_var.numpy() + norm.eps)
    hidden = (hidden - norm.running_mean.numpy()) / scale
    return hidden * norm.weight.detach().numpy() + norm.bias.detach().numpy()


def hooks(module):
    return sum(len(m._forward_pre_hooks) + len(m._forward_hooks) for m in module.modules())


# The cut.


def test_last_layer_with_parameters_is_the_cut():
    module = make_module()
    assert find_cut(module) is module.tail[1]
    assert find_cut(nn.Sequential(module, nn.LayerNorm(2), nn.Softmax(dim=1))) is module.tail[1]
    alone = nn.Linear(3, 2)
    assert find_cut(alone) is alone


def test_cut_by_name():
    module = make_module()
    assert find_cut(module, "tail.1") is module.tail[1]
    assert find_cut(module, "tail") is module.tail
    assert find_cut(module, "square") is module.square
    assert find_cut(module, "") is module


@pytest.mark.parametrize("cut", ["head", "tail.2", "tail.1.weight"])
def test_unknown_cut(cut):
    with pytest.raises(ValueError, match=f"cut='{cut}' is not a submodule of Sequential: .*'body'"):
        find_cut(make_module(), cut)


def test_no_head():
    with pytest.raises(ValueError, match="has no head"):
        find_cut(nn.Sequential(nn.ReLU()))


# What enters it.


@pytest.mark.parametrize("cut", [None, "tail", "square", "tail.1"])
def test_head_input(cut):
    module = make_module()
    X = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    with HeadInput(module, cut) as entering:
        assert entering.value is None
        module(torch.tensor(X))
        assert entering.value.shape == (5, 4)
        np.testing.assert_allclose(entering.value.detach(), body_by_hand(module, X), atol=1e-5)
        module(torch.tensor(X[:2]))  # of the last forward pass alone
        assert entering.value.shape == (2, 4)
    assert entering.value is None
    assert hooks(module) == 0


def test_gradient_through_the_head_input():
    module = make_module()
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    with HeadInput(module) as entering:
        module(x)
        entering.value.sum().backward()
    # Of the sum of embeddings with respect to the last bias before them.
    np.testing.assert_allclose(module.body[1].bias.grad, np.full(4, 5.0))
    assert module.tail[1].weight.grad is None


def test_hook_is_taken_off_after_an_error():
    module = make_module()
    with pytest.raises(RuntimeError), HeadInput(module):
        module(torch.zeros(5, 2))
    assert hooks(module) == 0
    with pytest.raises(ValueError, match="not a submodule"):
        HeadInput(module, "head")
    assert hooks(module) == 0


def test_remove():
    module = make_module()
    entering = HeadInput(module)
    assert hooks(module) == 1
    module(torch.zeros(5, 3))
    entering.remove()
    assert hooks(module) == 0
    assert entering.value is None


@pytest.mark.parametrize("cut", [None, "square"])
def test_embeddings_are_those_in_evaluation_mode(module_net, cut):
    X = np.random.default_rng(0).normal(size=(2500, 3)).astype(np.float32)  # several batches
    indices = np.arange(2500)[::-1][:2100]
    before = {name: value.clone() for name, value in module_net.module_.state_dict().items()}
    embeddings = embed(module_net, Rows(X, indices=indices), cut)
    assert embeddings.dtype == torch.float32
    assert not embeddings.requires_grad
    expected = body_by_hand(module_net.module_, X[indices])
    np.testing.assert_allclose(embeddings, expected, atol=1e-4)
    assert hooks(module_net.module_) == 0
    for name, value in module_net.module_.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_embeddings_of_images_are_flat(net):
    module = nn.Sequential(nn.Conv2d(1, 2, 2, bias=False), nn.Flatten(), nn.Linear(8, 2)).eval()
    with torch.no_grad():
        module[0].weight[:] = 0
        module[0].weight[1, 0, 0, 0] = 1  # the second channel is the upper left part of the image
    vars(net.initialize())["module_"] = module
    X = np.arange(18, dtype=np.float32).reshape(2, 1, 3, 3)
    for cut in [None, "1"]:
        embeddings = embed(net, Rows(X), cut)
        np.testing.assert_array_equal(
            embeddings, [[0, 0, 0, 0, 0, 1, 3, 4], [0, 0, 0, 0, 9, 10, 12, 13]]
        )


def test_embedding_of_a_linear_model_is_the_row(net):
    vars(net.initialize())["module_"] = MLP(n_features=3, n_classes=2, hidden=())
    X = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    np.testing.assert_array_equal(embed(net, Rows(X)), X)


# Of what users have in hand.


def test_embeddings_of_arrays_tensors_frames_and_datasets(module_net):
    X = np.random.default_rng(0).normal(size=(6, 3))
    expected = body_by_hand(module_net.module_, X)
    pairs = TensorDataset(torch.tensor(X), torch.zeros(6))
    tensor = torch.tensor(X, requires_grad=True)
    for rows in (X, X.tolist(), tensor, pd.DataFrame(X, columns=list("abc")), pairs):
        embeddings = embed(module_net, rows)
        assert embeddings.dtype == torch.float32
        np.testing.assert_allclose(embeddings, expected, atol=1e-5)
    rounded = torch.tensor(X).bfloat16()
    expected = body_by_hand(module_net.module_, rounded.double().numpy())
    np.testing.assert_allclose(embed(module_net, rounded), expected, atol=1e-5)


def test_embeddings_of_an_unlearner(net):
    """Its preprocessing comes first, of its own network after the request."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(2, 3, size=(40, 3)), np.arange(40) % 2
    net.set_params(module=MLP, module__n_features=3, module__n_classes=2, module__hidden=(4,))
    pipe = make_pipeline(StandardScaler(), net)
    unlearner = RetrainUnlearner(pipe, random_state=0).fit(X, y, forget=np.arange(7))
    scaled = (X - X[7:].mean(axis=0)) / X[7:].std(axis=0)  # the steps are fitted anew, too
    layer = unlearner.net_.module_.get_submodule(
        next(n for n, m in unlearner.net_.module_.named_modules() if isinstance(m, nn.Linear))
    )
    weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    expected = np.maximum(scaled @ weight.T + bias, 0)
    for rows in (X, torch.tensor(X)):
        np.testing.assert_allclose(embed(unlearner, rows), expected, atol=1e-4)
    np.testing.assert_allclose(embed(unlearner, Rows(scaled)), expected, atol=1e-4)


def test_what_cannot_be_embedded(net, module_net):
    X, y = np.random.default_rng(0).normal(size=(20, 3)), np.arange(20) % 2
    with pytest.raises(NotFittedError):
        embed(RetrainUnlearner(), X)
    with pytest.raises(NotFittedError):
        embed(clone(net), X)
    with pytest.raises(TypeError, match="fitted unlearner or a skorch network, got Pipeline"):
        embed(make_pipeline(StandardScaler(), net), X)
    with pytest.raises(ValueError, match="NaN"):
        embed(module_net, np.full((2, 3), np.nan))
    fitted = RetrainUnlearner(random_state=0).fit(X, y)
    with pytest.raises(ValueError, match="2 features"):
        embed(fitted, X[:, :2])
    shards = SISAUnlearner(n_shards=2, random_state=0).fit(X, y)
    with pytest.raises(ValueError, match="SISAUnlearner has several networks"):
        embed(shards, X)


# Centroids.


def test_class_centroids():
    embeddings = torch.tensor([[1.0, 2.0], [3.0, 5.0], [-1.0, 0.0], [3.0, 0.0], [5.0, 5.0]])
    centroids = class_centroids(embeddings, torch.tensor([0, 2, 0, 0, 2]), 4)
    assert centroids.dtype == torch.float32
    nan = np.nan
    np.testing.assert_allclose(
        centroids, [[1.0, 2 / 3], [nan, nan], [4.0, 5.0], [nan, nan]], rtol=1e-6
    )


def test_centroid_of_values_of_different_size():
    # In single precision the sum would be 0.
    embeddings = torch.tensor([[1e8], [1.0], [-1e8]])
    centroids = class_centroids(embeddings, torch.zeros(3, dtype=torch.int64), 1)
    assert centroids.item() == pytest.approx(1 / 3)


def test_centroids_of_no_rows():
    centroids = class_centroids(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64), 2)
    assert centroids.shape == (2, 3)
    assert centroids.isnan().all()
