import copy

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_digits, load_wine, make_blobs
from sklearn.model_selection import train_test_split
from torch import nn

from sklunlearn.networks import MLP, AllCNN, SmallCNN, Standardize, default_net


def n_parameters(module):
    return sum(p.numel() for p in module.parameters())


def test_standardize_by_hand():
    layer = Standardize([1.0, -2.0], [4.0, 0.0], n=2)
    X = torch.tensor([[5.0, 1.0], [1.0, -2.0]])
    torch.testing.assert_close(layer(X), torch.tensor([[1.0, 3.0], [0.0, 0.0]]))
    assert list(layer.parameters()) == []
    assert set(layer.state_dict()) == {"mean", "scale"}


def test_standardize_images_per_channel():
    X = np.random.default_rng(0).normal(size=(3, 2, 4, 5))
    mean, scale = np.array([3.0, -1.0]), np.array([2.0, 0.5])
    expected = np.stack([(X[:, c] - mean[c]) / scale[c] for c in range(2)], axis=1)
    layer = Standardize(mean, scale, n=2, ndim=4)
    np.testing.assert_allclose(layer(torch.tensor(X)).numpy(), expected)


def test_standardize_with_one_of_the_two():
    X = torch.tensor([[6.0]])
    assert Standardize(mean=[2.0], n=1)(X).item() == 4.0
    assert Standardize(scale=[2.0], n=1)(X).item() == 3.0


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"mean": [1.0]}, r"`mean` must have shape \(2,\).*got \(1,\)"),
        ({"scale": [[1.0, 2.0]]}, r"`scale` must have shape \(2,\).*got \(1, 2\)"),
        ({"mean": [1.0, np.nan]}, "`mean` must be finite"),
        ({"scale": [1.0, np.inf]}, "`scale` must be finite"),
        ({"scale": [1.0, -2.0]}, r"must not be negative, got -2\.0"),
    ],
)
def test_standardize_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        Standardize(**arguments, n=2)
    with pytest.raises(ValueError, match=message):
        MLP(2, 2, **arguments)
    with pytest.raises(ValueError, match=message):
        SmallCNN(2, 2, **arguments)
    with pytest.raises(ValueError, match=message):
        AllCNN(2, 2, 0.1, **arguments)


def test_mlp_by_hand():
    net = MLP(2, 3, (4,), mean=[1.0, 2.0], scale=[2.0, 4.0])
    X = np.array([[3.0, -2.0], [0.0, 7.0]], dtype=np.float32)
    w1, b1, w2, b2 = (p.detach().numpy() for p in net.parameters())
    hidden = np.maximum((X - [1, 2]) / [2, 4] @ w1.T + b1, 0)
    np.testing.assert_allclose(net.features(torch.tensor(X)).detach(), hidden, rtol=1e-5)
    np.testing.assert_allclose(net(torch.tensor(X)).detach(), hidden @ w2.T + b2, rtol=1e-4)


def test_mlp_sizes():
    assert n_parameters(MLP(10, 3)) == (10 * 64 + 64) + (64 * 64 + 64) + (64 * 3 + 3)
    assert n_parameters(MLP(10, 3, [])) == 10 * 3 + 3
    assert n_parameters(MLP(1, 1, (1, 1, 1))) == 8


def test_small_cnn_sizes():
    net = SmallCNN(3, 5, (4, 6))
    assert n_parameters(net) == (3 * 9 * 4 + 4) + (4 * 9 * 6 + 6) + (4 * 6 * 5 + 5)
    assert isinstance(net.classifier, nn.Linear) and net.classifier.in_features == 24


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 8, 28, (9, 4)])
@pytest.mark.parametrize("channels", [(2,), (4, 2), (2, 2, 2)])
def test_small_cnn_takes_images_of_any_size(size, channels):
    shape = size if isinstance(size, tuple) else (size, size)
    net = SmallCNN(1, 3, channels)
    X = torch.randn(2, 1, *shape, generator=torch.Generator().manual_seed(0))
    assert net.features(X).shape == (2, 4 * channels[-1])
    # The same in training and evaluation mode, alone and in a batch.
    torch.testing.assert_close(net.train()(X)[:1], net.eval()(X[:1]))


def test_small_cnn_ends_in_the_averages_of_the_quarters():
    net = SmallCNN(1, 2, (2, 3))
    X = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    maps = net.features[:5](X)  # convolution, ReLU, pooling, convolution, ReLU
    assert maps.shape == (2, 3, 4, 4)
    quarters = [maps[:, :, i : i + 2, j : j + 2].mean(dim=(2, 3)) for i in (0, 2) for j in (0, 2)]
    torch.testing.assert_close(net.features(X), torch.stack(quarters, dim=2).flatten(1))


def test_small_cnn_sees_where_things_are():
    net = SmallCNN(1, 3)
    corners = torch.zeros(2, 1, 8, 8)
    corners[0, 0, 1, 1] = corners[1, 0, 6, 6] = 1
    first, second = net(corners)
    assert not torch.allclose(first, second, atol=1e-3)


def test_all_cnn_layers():
    net = AllCNN(3, 10)
    convolutions = [m for m in net.features if isinstance(m, nn.Conv2d)]
    sizes = [(m.in_channels, m.out_channels, m.kernel_size[0], m.stride[0]) for m in convolutions]
    assert sizes == [
        (3, 96, 3, 1),
        (96, 96, 3, 1),
        (96, 96, 3, 2),
        (96, 192, 3, 1),
        (192, 192, 3, 1),
        (192, 192, 3, 2),
        (192, 192, 3, 1),
        (192, 192, 1, 1),
    ]
    kinds = [type(m) for m in net.features]
    assert kinds[:24] == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU] * 8
    # Two strides of 2 and nothing else shrink the image: 32 -> 8.
    assert net.features[:24](torch.zeros(1, 3, 32, 32)).shape == (1, 192, 8, 8)
    assert (net.classifier.in_features, net.classifier.out_features) == (192, 10)


@pytest.mark.parametrize("width, narrow, wide", [(0.001, 1, 1), (0.13, 12, 25), (2, 192, 384)])
def test_all_cnn_width(width, narrow, wide):
    net = AllCNN(1, 2, width)
    assert net.features[0].out_channels == narrow
    assert net.classifier.in_features == wide


def test_all_cnn_average_is_global():
    net = AllCNN(1, 2, 0.05).eval()
    X = torch.randn(2, 1, 12, 12, generator=torch.Generator().manual_seed(0))
    maps = net.features[:24](X)
    torch.testing.assert_close(net.features(X), maps.mean(dim=(2, 3)))


@pytest.mark.parametrize("make", [MLP, SmallCNN, AllCNN])
def test_standardize_is_first_or_absent(make):
    assert isinstance(make(1, 2, mean=[1.0]).features[0], Standardize)
    assert isinstance(make(1, 2, scale=[1.0]).features[0], Standardize)
    assert not any(isinstance(m, Standardize) for m in make(1, 2).modules())


@pytest.mark.parametrize(
    "make, error, message",
    [
        (lambda: MLP(0, 2), ValueError, "`n_features` must be at least 1, got 0"),
        (lambda: MLP(2, -1), ValueError, "`n_classes` must be at least 1, got -1"),
        (lambda: MLP(2.0, 2), TypeError, r"`n_features` must be an int, got 2\.0"),
        (lambda: MLP(2, True), TypeError, "`n_classes` must be an int, got True"),
        (lambda: MLP(2, 2, (4, 0)), ValueError, r"`hidden\[1\]` must be at least 1"),
        (lambda: MLP(2, 2, 64), TypeError, "`hidden` must be a list or tuple of ints, got 64"),
        (lambda: SmallCNN(0, 2), ValueError, "`n_channels` must be at least 1"),
        (lambda: SmallCNN(1, 2, ()), ValueError, "`channels` is empty"),
        (lambda: SmallCNN(1, 2, ("a",)), TypeError, r"`channels\[0\]` must be an int, got 'a'"),
        (lambda: AllCNN(1, 0), ValueError, "`n_classes` must be at least 1"),
        (lambda: AllCNN("1", 2), TypeError, "`n_channels` must be an int, got '1'"),
        (lambda: AllCNN(1, 2, 0), ValueError, "`width` must be positive and finite, got 0"),
        (lambda: AllCNN(1, 2, float("nan")), ValueError, "positive and finite, got nan"),
        (lambda: AllCNN(1, 2, "1"), TypeError, "`width` must be a number, got '1'"),
    ],
)
def test_size_errors(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_default_net_standardises_tables():
    X = np.random.default_rng(0).normal(5, 3, size=(3000, 4))
    X[:, 2] = 0.1  # constant, though its mean is not exactly 0.1
    net = default_net(X, 3)
    assert net.module is MLP and not net.initialized_
    np.testing.assert_allclose(net.module__mean, X.mean(axis=0), rtol=1e-12)
    expected = X.std(axis=0)
    np.testing.assert_allclose(net.module__scale[[0, 1, 3]], expected[[0, 1, 3]], rtol=1e-12)
    assert net.module__scale[2] == 0
    output = net.initialize().module_.features[0](torch.tensor(X).float())
    np.testing.assert_allclose(output.mean(dim=0), 0, atol=1e-5)
    np.testing.assert_allclose(output.std(dim=0, correction=0), [1, 1, 0, 1], atol=1e-5)


def test_default_net_standardises_images_per_channel():
    X = np.random.default_rng(0).normal(5, 3, size=(1500, 2, 5, 4)) * [[[1]], [[7]]]
    net = default_net(X, 3)
    assert net.module is SmallCNN
    np.testing.assert_allclose(net.module__mean, X.mean(axis=(0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(net.module__scale, X.std(axis=(0, 2, 3)), rtol=1e-12)


@pytest.mark.parametrize(
    "X, n_classes, error, message",
    [
        (np.zeros(3), 2, ValueError, r"got shape \(3,\)"),
        (np.zeros((3, 2, 2)), 2, ValueError, r"got shape \(3, 2, 2\)"),
        (np.zeros((0, 2)), 2, ValueError, r"got shape \(0, 2\)"),
        (np.array([[1.0, np.nan]]), 2, ValueError, "X holds NaN"),
        (np.array([[1.0, np.inf], [1.0, -np.inf]]), 2, ValueError, "X holds NaN, infinite"),
        (np.zeros((3, 2)), 0, ValueError, "`n_classes` must be at least 1"),
        (np.zeros((3, 2)), 2.0, TypeError, "`n_classes` must be an int"),
    ],
)
def test_default_net_errors(X, n_classes, error, message):
    with pytest.raises(error, match=message):
        default_net(X, n_classes)


def test_default_net_sums_float32_in_float64():
    X = np.full((4000, 2), 1e4, dtype=np.float32)
    X[::2] += 1
    net = default_net(X, 2)
    np.testing.assert_allclose(net.module__mean, 10000.5, rtol=1e-12)
    np.testing.assert_allclose(net.module__scale, 0.5, rtol=1e-9)


def test_default_net_can_be_cloned():
    X = np.arange(8.0).reshape(4, 2)
    net = clone(default_net(X, 2))
    np.testing.assert_array_equal(net.module__mean, [3.0, 4.0])


@pytest.mark.parametrize("optimizer", [torch.optim.RMSprop, torch.optim.LBFGS])
def test_the_optimizer_of_the_default_net_can_be_another(optimizer):
    X = np.random.default_rng(0).normal(size=(20, 2)).astype(np.float32)
    net = default_net(X, 2).set_params(optimizer=optimizer, max_epochs=1)
    assert type(net.fit(X, (X[:, 0] > 0).astype(int)).optimizer_) is optimizer


def test_the_default_net_learns_by_adam():
    # The same steps, with the separate operations of Adam's own paper.
    X = np.random.default_rng(0).normal(size=(30, 2)).astype(np.float32)
    y = (X[:, 0] > 0).astype(int)
    net = default_net(X, 2).set_params(max_epochs=3, batch_size=-1, iterator_train__shuffle=False)
    start = copy.deepcopy(net.initialize().module_)
    net.partial_fit(X, y)
    moments = [[torch.zeros_like(p), torch.zeros_like(p)] for p in start.parameters()]
    for t in (1, 2, 3):
        loss = torch.nn.functional.cross_entropy(start(torch.tensor(X)), torch.tensor(y))
        gradients = torch.autograd.grad(loss, list(start.parameters()))
        with torch.no_grad():
            for p, g, moment in zip(start.parameters(), gradients, moments, strict=True):
                moment[0] = 0.9 * moment[0] + 0.1 * g
                moment[1] = 0.999 * moment[1] + 0.001 * g**2
                step = moment[0] / (1 - 0.9**t)
                p -= 0.01 * step / ((moment[1] / (1 - 0.999**t)).sqrt() + 1e-8)
    for one, other in zip(net.module_.parameters(), start.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def accuracy(X, y, train_size=0.7):
    X = X.astype(np.float32)
    split = train_test_split(X, y, train_size=train_size, stratify=y, random_state=0)
    X_train, X_test, y_train, y_test = split
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = default_net(X_train, len(np.unique(y))).fit(X_train, y_train)
    return net.score(X_test, y_test)


# Lower than what was measured (0.975, 0.985, 0.99, 0.96) by about two standard errors.
@pytest.mark.parametrize(
    "load, images, lowest",
    [
        (load_digits, False, 0.96),
        (load_digits, True, 0.97),
        (load_wine, False, 0.95),
        (load_breast_cancer, False, 0.94),
    ],
)
def test_default_net_learns_raw_data(load, images, lowest):
    X, y = load(return_X_y=True)
    assert accuracy(X.reshape(-1, 1, 8, 8) if images else X, y) >= lowest


def test_default_net_learns_twenty_rows():
    X, y = make_blobs(n_samples=60, centers=3, random_state=0, cluster_std=0.3)
    assert accuracy(1000 * X - 5000, y, train_size=21) == 1.0
