"""Embeddings: what enters the head of a network."""

import torch

from sklunlearn._nets import forward
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
    net : skorch.NeuralNetClassifier
        The network.
    rows : sklunlearn._data.Rows
        The rows.
    cut : str or None, default=None
        Name of the submodule whose input is the embedding; see :func:`find_cut`.

    Returns
    -------
    embeddings : tensor of shape (n_samples, n_embedding), dtype float32

    Raises
    ------
    ValueError
        If there is no such submodule, or the network does not apply it.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklunlearn import RetrainUnlearner
    >>> from sklunlearn._data import Rows
    >>> from sklunlearn.embeddings import embed
    >>> X, y = load_iris(return_X_y=True)
    >>> net = RetrainUnlearner(random_state=0).fit(X, y).net_
    >>> len(embed(net, Rows(X)))
    150
    """
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
