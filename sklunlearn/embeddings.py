"""Embeddings: what enters the head of a network."""

import numpy as np
import torch
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted
from skorch import NeuralNet
from torch.utils.data import Dataset

from sklunlearn._data import Rows, is_memory_mapped
from sklunlearn._ensemble import Ensemble
from sklunlearn._nets import forward
from sklunlearn._training import transform
from sklunlearn._validation import check_X
from sklunlearn.base import BaseUnlearner
from sklunlearn.trainable import head_module

__all__ = ["HeadInput", "class_centroids", "embed", "find_cut"]


def find_cut(module, cut=None):
    """The submodule whose input is the embedding.

    Parameters
    ----------
    module : torch.nn.Module
        The network.
    cut : str or None, default=None
        Name of the submodule, as in ``module.named_modules()``. None: the last layer with
        parameters; see :func:`sklunlearn.trainable.head_module`.

    Returns
    -------
    layer : torch.nn.Module

    Raises
    ------
    ValueError
        If there is no such submodule.

    Examples
    --------
    >>> from sklunlearn.embeddings import find_cut
    >>> from sklunlearn.networks import MLP
    >>> find_cut(MLP(n_features=4, n_classes=3, hidden=(8,)))
    Linear(in_features=8, out_features=3, bias=True)
    """
    if cut is None:
        return head_module(module)[1]
    named = dict(module.named_modules())
    if cut not in named:
        names = [name for name in named if name]
        raise ValueError(
            f"cut={cut!r} is not a submodule of {type(module).__name__}: choose one of {names}."
        )
    return named[cut]


class HeadInput:
    """Keeps what entered a submodule in the last forward pass.

    A context manager, or to be ended with :meth:`remove`: a hook on the network would stay with
    it, and with its copies.

    Parameters
    ----------
    module : torch.nn.Module
        The network.
    cut : str or None, default=None
        Name of the submodule; see :func:`find_cut`.

    Attributes
    ----------
    value : tensor of shape (n_samples, n_embedding)
        The embeddings of the last batch, flattened to one axis.

    Examples
    --------
    >>> import torch
    >>> from sklunlearn.embeddings import HeadInput
    >>> from sklunlearn.networks import MLP
    >>> mlp = MLP(n_features=4, n_classes=3, hidden=(8,))
    >>> with HeadInput(mlp) as entering:
    ...     logits = mlp(torch.zeros(5, 4))
    ...     entering.value.shape
    torch.Size([5, 8])
    """

    def __init__(self, module, cut=None):
        self.value = None
        self._handle = find_cut(module, cut).register_forward_pre_hook(self._keep, with_kwargs=True)

    def _keep(self, layer, args, kwargs):
        self.value = [*args, *kwargs.values()][0].flatten(1)

    def remove(self):
        """Take the hook off the network."""
        self._handle.remove()
        self.value = None

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.remove()


def embed(net, rows, cut=None):
    """Embeddings of rows, in evaluation mode.

    Parameters
    ----------
    net : BaseUnlearner or skorch.NeuralNetClassifier
        A fitted unlearner, whose preprocessing the rows pass first, or a network.
    rows : array-like of shape (n_samples, ...), torch.utils.data.Dataset or Rows
        The rows: an array, tensor or DataFrame, or a Dataset yielding (x, y). Those of a network,
        and `Rows` as methods get them, are taken as its module takes them.
    cut : str or None, default=None
        Name of the submodule whose input is the embedding; see :func:`find_cut`.

    Returns
    -------
    embeddings : tensor of shape (n_samples, n_embedding), dtype float32

    Raises
    ------
    NotFittedError
        If the unlearner or the network is not fitted.
    TypeError
        If `net` is neither.
    ValueError
        If the rows do not suit, there is no such submodule, or the network does not apply it; or
        if the unlearner has several networks and no `cut` says which embedding is meant.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklunlearn import RetrainUnlearner
    >>> from sklunlearn.embeddings import embed
    >>> X, y = load_iris(return_X_y=True)
    >>> unlearner = RetrainUnlearner(random_state=0).fit(X, y)
    >>> len(embed(unlearner, X))
    150
    """
    net, rows = _net_and_rows(net, rows, cut)
    with HeadInput(net.module_, cut) as entering:

        def entered(net, output, batch):
            if entering.value is None:
                layer = find_cut(net.module_, cut)
                raise ValueError(
                    f"The network does not apply {layer}, whose input is the embedding: name "
                    "another submodule as `cut`, or let the head be the last one registered."
                )
            return entering.value

        return torch.from_numpy(forward(net, rows, entered))


def _net_and_rows(net, rows, cut):
    """The network, and the rows as it takes them."""
    if isinstance(net, BaseUnlearner):
        check_is_fitted(net, "net_")
        if cut is None and isinstance(net.net_.module_, Ensemble):
            raise ValueError(
                f"This {type(net).__name__} has several networks and no single embedding: name a "
                "submodule as `cut`."
            )
        if not isinstance(rows, Rows):
            rows = Rows(transform(net.preprocessing_, check_X(net, rows, reset=False)))
        return net.net_, rows
    if not isinstance(net, NeuralNet):
        raise TypeError(
            f"`net` must be a fitted unlearner or a skorch network, got {net!r}: of a Pipeline, "
            "pass the network and rows that went through the other steps."
        )
    net.check_is_fitted()
    if isinstance(rows, Dataset):
        return net, rows if isinstance(rows, Rows) else Rows(rows)
    if is_memory_mapped(rows):  # read a batch at a time
        return net, Rows(rows)
    if isinstance(rows, torch.Tensor):
        rows = rows.detach().cpu().float().numpy()  # NumPy has no bfloat16
    return net, Rows(check_array(rows, dtype=np.float32, allow_nd=True, input_name="rows"))


def class_centroids(embeddings, y, n_classes):
    """Mean embedding of each class.

    Parameters
    ----------
    embeddings : tensor of shape (n_samples, n_embedding)
        Embeddings of some rows.
    y : tensor of shape (n_samples,), dtype int64
        Their classes.
    n_classes : int
        Number of classes.

    Returns
    -------
    centroids : tensor of shape (n_classes, n_embedding)
        NaN for a class without a row.

    Examples
    --------
    >>> import torch
    >>> from sklunlearn.embeddings import class_centroids
    >>> embeddings = torch.tensor([[0.0, 2.0], [2.0, 4.0], [5.0, 5.0]])
    >>> class_centroids(embeddings, torch.tensor([0, 0, 1]), n_classes=2)
    tensor([[1., 3.],
            [5., 5.]])
    """
    sums = torch.zeros(n_classes, embeddings.shape[1], dtype=torch.float64)
    sums.index_add_(0, y, embeddings.double())
    counts = torch.bincount(y, minlength=n_classes)
    # 0 / 0 is NaN: a class without a row has no centroid.
    return (sums / counts[:, None]).to(embeddings.dtype)
