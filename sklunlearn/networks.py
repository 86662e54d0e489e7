"""Small default networks, and a training set-up that suits the data."""

import functools
import itertools
import numbers

import numpy as np
import torch
from skorch import NeuralNetClassifier
from torch import nn
from torch.utils.data import Dataset

from sklunlearn._data import BatchLoader, Rows, feature_statistics

__all__ = ["MLP", "AllCNN", "SmallCNN", "Standardize", "default_net"]


class Standardize(nn.Module):
    """Subtract a mean and divide by a scale, per feature or per channel.

    ``(x - mean) / scale`` with constants that are saved with the network but not trained, so that
    a network can be given raw data.

    Parameters
    ----------
    mean : array-like of shape (n,), default=None
        What to subtract, in the units of the data. None: nothing.
    scale : array-like of shape (n,), default=None
        What to divide by, in the units of the data, not negative. A scale of 0 (a constant
        feature) is treated as 1. None: nothing.
    n : int
        Number of features of a table or channels of an image: the length of axis 1 of the input.
    ndim : int, default=2
        Number of axes of the input: 2 for tables, 4 for images.

    Raises
    ------
    ValueError
        If `mean` or `scale` does not have shape (n,), holds a value that is not finite, or a
        scale is negative.

    Examples
    --------
    >>> import torch
    >>> from sklunlearn.networks import Standardize
    >>> Standardize(mean=[1.0, 5.0], scale=[2.0, 0.0], n=2)(torch.tensor([[3.0, 6.0]]))
    tensor([[1., 1.]])
    """

    def __init__(self, mean=None, scale=None, *, n, ndim=2):
        super().__init__()
        mean = _check_constants("mean", np.zeros(n) if mean is None else mean, n)
        scale = _check_constants("scale", np.ones(n) if scale is None else scale, n)
        if (scale < 0).any():
            raise ValueError(f"`scale` must not be negative, got {scale.min().item()}.")
        shape = (n,) + (1,) * (ndim - 2)
        self.register_buffer("mean", mean.reshape(shape))
        self.register_buffer("scale", torch.where(scale == 0, 1.0, scale).reshape(shape))

    def forward(self, x):
        """Standardise a batch of shape (n_samples, n, ...)."""
        return (x - self.mean) / self.scale


class _Classifier(nn.Module):
    """Features, then one linear layer."""

    def __init__(self, features, n_embedding, n_classes):
        super().__init__()
        self.features = nn.Sequential(*features)
        self.classifier = nn.Linear(n_embedding, _check_size("n_classes", n_classes))

    def forward(self, x):
        """Logits of shape (n_samples, n_classes)."""
        return self.classifier(self.features(x))


class MLP(_Classifier):
    """Fully connected ReLU network for tables.

    Parameters
    ----------
    n_features : int
        Number of columns of the input.
    n_classes : int
        Number of logits.
    hidden : sequence of int, default=(64, 64)
        Widths of the hidden layers. Empty: a linear model.
    mean, scale : array-like of shape (n_features,), default=None
        Constants of a first :class:`Standardize` layer; it is left out if both are None.

    Attributes
    ----------
    features : torch.nn.Sequential
        Maps (n_samples, n_features) to embeddings of shape (n_samples, hidden[-1]).
    classifier : torch.nn.Linear
        Maps embeddings to logits of shape (n_samples, n_classes).

    Raises
    ------
    TypeError
        If a size is not an integer, or `hidden` not a sequence of them.
    ValueError
        If a size is not positive, or `mean` or `scale` does not suit :class:`Standardize`.

    Examples
    --------
    >>> import torch
    >>> from sklunlearn.networks import MLP
    >>> MLP(n_features=4, n_classes=3)(torch.zeros(5, 4)).shape
    torch.Size([5, 3])
    """

    def __init__(self, n_features, n_classes, hidden=(64, 64), *, mean=None, scale=None):
        _check_size("n_features", n_features)
        layers = _standardize(mean, scale, n_features, ndim=2)
        widths = [n_features, *_check_sizes("hidden", hidden)]
        for n_in, n_out in itertools.pairwise(widths):
            layers += [nn.Linear(n_in, n_out), nn.ReLU()]
        super().__init__(layers, widths[-1], n_classes)


class SmallCNN(_Classifier):
    """Small convolutional ReLU network for images of any size.

    3 x 3 convolutions with max pooling between them and an average over a 2 x 2 grid after the
    last. Without BatchNorm, so that a batch of one row is no exception.

    Parameters
    ----------
    n_channels : int
        Number of channels of the images.
    n_classes : int
        Number of logits.
    channels : sequence of int, default=(16, 32)
        Output channels of the convolutions, at least one.
    mean, scale : array-like of shape (n_channels,), default=None
        Constants of a first :class:`Standardize` layer; it is left out if both are None.

    Attributes
    ----------
    features : torch.nn.Sequential
        Maps (n_samples, n_channels, height, width) to embeddings of shape
        (n_samples, 4 * channels[-1]).
    classifier : torch.nn.Linear
        Maps embeddings to logits of shape (n_samples, n_classes).

    Raises
    ------
    TypeError
        If a size is not an integer, or `channels` not a sequence of them.
    ValueError
        If a size is not positive, `channels` is empty, or `mean` or `scale` does not suit
        :class:`Standardize`.

    Examples
    --------
    >>> import torch
    >>> from sklunlearn.networks import SmallCNN
    >>> SmallCNN(n_channels=1, n_classes=10)(torch.zeros(5, 1, 8, 8)).shape
    torch.Size([5, 10])
    """

    def __init__(self, n_channels, n_classes, channels=(16, 32), *, mean=None, scale=None):
        _check_size("n_channels", n_channels)
        layers = _standardize(mean, scale, n_channels, ndim=4)
        widths = [n_channels, *_check_sizes("channels", channels)]
        if len(widths) == 1:
            raise ValueError("`channels` is empty: name the output channels of one convolution.")
        for n_in, n_out in itertools.pairwise(widths):
            # ceil_mode: a side of one pixel stays one pixel.
            pool = nn.MaxPool2d(2, ceil_mode=True)
            layers += [nn.Conv2d(n_in, n_out, 3, padding=1), nn.ReLU(), pool]
        layers[-1] = nn.AdaptiveAvgPool2d(2)  # instead of the last pooling
        super().__init__([*layers, nn.Flatten()], 4 * widths[-1], n_classes)


class AllCNN(_Classifier):
    """All-convolutional network, the usual image classifier of the unlearning literature.

    Eight convolutions of 96, 96, 96, 192, 192, 192, 192 and 192 channels, the third and the sixth
    with stride 2 and the last 1 x 1, each followed by BatchNorm and ReLU; then an average over the
    image and a linear layer. This is All-CNN-C [1]_, except that BatchNorm stands for dropout and
    a linear layer after the average for a convolution before it.

    Parameters
    ----------
    n_channels : int
        Number of channels of the images.
    n_classes : int
        Number of logits.
    width : float, default=1.0
        Factor on the number of channels, rounded, at least one channel.
    mean, scale : array-like of shape (n_channels,), default=None
        Constants of a first :class:`Standardize` layer; it is left out if both are None.

    Attributes
    ----------
    features : torch.nn.Sequential
        Maps (n_samples, n_channels, height, width) to embeddings of shape
        (n_samples, round(192 * width)).
    classifier : torch.nn.Linear
        Maps embeddings to logits of shape (n_samples, n_classes).

    Raises
    ------
    TypeError
        If a size is not an integer or `width` is not a number.
    ValueError
        If a size or `width` is not positive, or `mean` or `scale` does not suit
        :class:`Standardize`.

    References
    ----------
    .. [1] J. T. Springenberg, A. Dosovitskiy, T. Brox and M. Riedmiller (2015). Striving for
       Simplicity: The All Convolutional Net. arXiv:1412.6806.

    Examples
    --------
    >>> import torch
    >>> from sklunlearn.networks import AllCNN
    >>> AllCNN(n_channels=3, n_classes=10, width=0.25)(torch.zeros(5, 3, 32, 32)).shape
    torch.Size([5, 10])
    """

    def __init__(self, n_channels, n_classes, width=1.0, *, mean=None, scale=None):
        _check_size("n_channels", n_channels)
        if isinstance(width, bool) or not isinstance(width, numbers.Real):
            raise TypeError(f"`width` must be a number, got {width!r}.")
        if not 0 < width < float("inf"):
            raise ValueError(f"`width` must be positive and finite, got {width!r}.")
        narrow, wide = (max(1, round(width * channels)) for channels in (96, 192))
        layers = _standardize(mean, scale, n_channels, ndim=4)
        previous = n_channels
        for channels, kernel_size, stride in [
            (narrow, 3, 1),
            (narrow, 3, 1),
            (narrow, 3, 2),
            (wide, 3, 1),
            (wide, 3, 1),
            (wide, 3, 2),
            (wide, 3, 1),
            (wide, 1, 1),
        ]:
            layers += [
                # No bias: BatchNorm would subtract it again.
                nn.Conv2d(previous, channels, kernel_size, stride, kernel_size // 2, bias=False),
                nn.BatchNorm2d(channels),
                nn.ReLU(),
            ]
            previous = channels
        layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        super().__init__(layers, wide, n_classes)


def default_net(X, n_classes):
    """Unfitted skorch classifier that suits the data.

    An :class:`MLP` for tables, a :class:`SmallCNN` for images, each with a first layer that
    standardises raw data by the mean and standard deviation of `X`; trained by Adam on the
    cross-entropy.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features) or (n_samples, channels, height, width), \
            or torch Dataset of (x, y) with such rows
        The training data, in any units.
    n_classes : int
        Number of classes.

    Returns
    -------
    net : skorch.NeuralNetClassifier
        The unfitted classifier. It fits float32 data and labels from 0 to ``n_classes - 1``.

    Raises
    ------
    TypeError
        If `n_classes` is not an integer.
    ValueError
        If `X` does not have 2 or 4 dimensions, holds a value that is not finite, or `n_classes`
        is not positive.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from sklunlearn.networks import default_net
    >>> X, y = load_wine(return_X_y=True)
    >>> net = default_net(X, n_classes=3).fit(X.astype("float32"), y)
    >>> bool(net.score(X.astype("float32"), y) > 0.95)
    True
    """
    if isinstance(X, Dataset):
        rows = Rows(X)
        shape = (len(X), *rows.take_X([0])[0].shape)
        blocks = (batch.X.numpy() for batch in rows.batches(rows.at_once(1024)))
    else:
        X = np.asarray(X)
        shape = X.shape
        # In blocks, as X may not fit in memory twice.
        blocks = (X[i : i + 1024] for i in range(0, len(X), 1024))
    if len(shape) not in (2, 4) or 0 in shape:
        raise ValueError(
            "The default network needs non-empty X of shape (n_samples, n_features) or (n_samples, "
            f"channels, height, width), got shape {shape}: reshape X, or pass an estimator of your "
            "own."
        )
    _check_size("n_classes", n_classes)
    with np.errstate(all="ignore"):  # what is not finite is reported below
        mean, scale, _, _ = feature_statistics(blocks)
    if not np.isfinite(scale).all():
        raise ValueError("X holds NaN, infinite or too large values: impute or clip them first.")
    # What float32 cannot tell from a constant is one.
    scale[scale <= np.finfo(np.float32).eps * np.abs(mean)] = 0
    if len(shape) == 2:
        module = {"module": MLP, "module__n_features": shape[1], "module__hidden": (128, 64)}
    else:
        module = {"module": SmallCNN, "module__n_channels": shape[1]}
    return NeuralNetClassifier(
        **module,
        module__n_classes=n_classes,
        module__mean=mean,
        module__scale=scale,
        criterion=nn.CrossEntropyLoss,
        # A step in one kernel: a fifth less time for a training. Not as `optimizer__fused`, which
        # an optimizer that the user puts in its place need not know.
        optimizer=functools.partial(torch.optim.Adam, fused=True),
        lr=0.01,
        max_epochs=30,
        batch_size=64,
        train_split=None,
        iterator_train=BatchLoader,
        iterator_valid=BatchLoader,
        iterator_train__shuffle=True,
        verbose=0,
    )


def _standardize(mean, scale, n, *, ndim):
    return [] if mean is None and scale is None else [Standardize(mean, scale, n=n, ndim=ndim)]


def _check_constants(name, values, n):
    values = torch.as_tensor(np.asarray(values), dtype=torch.float32)
    if values.shape != (n,):
        raise ValueError(
            f"`{name}` must have shape ({n},), one value for each feature or channel, got "
            f"{tuple(values.shape)}."
        )
    if not values.isfinite().all():
        raise ValueError(f"`{name}` must be finite: clean the data, or leave `{name}` out.")
    return values


def _check_sizes(name, values):
    if not isinstance(values, (list, tuple)):
        raise TypeError(f"`{name}` must be a list or tuple of ints, got {values!r}.")
    return [_check_size(f"{name}[{i}]", value) for i, value in enumerate(values)]


def _check_size(name, value):
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"`{name}` must be an int, got {value!r}.")
    if value < 1:
        raise ValueError(f"`{name}` must be at least 1, got {value!r}.")
    return int(value)
