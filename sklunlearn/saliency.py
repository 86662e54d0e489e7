"""Which single weights matter most for the rows to forget."""

import contextlib
import math

import torch

from sklunlearn._gradients import loss_gradients
from sklunlearn.trainable import select_parameters

__all__ = ["SaliencyMask", "saliency_mask", "updating_only"]


class SaliencyMask:
    """Selector of the weights with the largest gradients; see :func:`saliency_mask`.

    Parameters
    ----------
    fraction : float
        Share of the weights that may change, in (0, 1].
    trainable : {"all", "head"}, int or callable
        Parameters among which is chosen.

    Examples
    --------
    See :func:`saliency_mask`.
    """

    def __init__(self, fraction, trainable):
        self.fraction = fraction
        self.trainable = trainable

    def __repr__(self):
        return f"saliency_mask(fraction={self.fraction!r}, trainable={self.trainable!r})"

    def find(self, net, forget, batch_size):
        """Masks of the weights that may change.

        Parameters
        ----------
        net : skorch.NeuralNetClassifier
            The network as it is before the run.
        forget : sklunlearn._data.Rows
            The rows to forget.
        batch_size : int
            Largest number of rows in a batch.

        Returns
        -------
        masks : dict of str to tensor of dtype bool
            By name of the parameter, each of its shape; without those of which nothing is chosen.
        """
        names = select_parameters(net.module_, self.trainable)
        sums = 0.0
        for gradients in loss_gradients(net, forget, names, batch_size):
            sums = sums + torch.cat([gradient.flatten() for gradient in gradients])
        # By rank: at a threshold, ties (as of dead units) would change how many are chosen.
        chosen = torch.zeros_like(sums, dtype=torch.bool)
        # Rounded, as 0.07 of 100 is not more than 7, although the product is.
        n_chosen = math.ceil(round(self.fraction * len(sums), 9))
        chosen[sums.abs().topk(n_chosen).indices] = True
        parameters = dict(net.module_.named_parameters())
        parts = chosen.split([parameters[name].numel() for name in names])
        masks = {
            name: part.view_as(parameters[name]) for name, part in zip(names, parts, strict=True)
        }
        return {name: mask for name, mask in masks.items() if mask.any()}


def saliency_mask(fraction=0.5, *, trainable="all"):
    r"""Selector of the weights with the largest gradients of the loss on the forget rows.

    For the parameter `trainable` of every gradient method: of the weights :math:`\theta_i`, those
    may change for which the gradient of the cross-entropy, summed over the batches of forget rows,

    .. math::
        \left| \sum_B \nabla_{\theta_i} \mathrm{CE}(f_0(x_B), y_B) \right|,

    is among the largest [1]_. All others stay bit for bit as they were.

    Parameters
    ----------
    fraction : float, default=0.5
        Share of the weights that may change, rounded up to a whole number of them; in (0, 1].
    trainable : {"all", "head"}, int or callable, default="all"
        Parameters among which is chosen; see :func:`sklunlearn.trainable.select_parameters`.

    Returns
    -------
    selector : SaliencyMask

    Raises
    ------
    ValueError
        If `fraction` is not in (0, 1].

    References
    ----------
    .. [1] C. Fan, J. Liu, Y. Zhang, E. Wong, D. Wei and S. Liu (2024). SalUn: Empowering Machine
       Unlearning via Gradient-based Weight Saliency in Both Image Classification and Generation.
       ICLR.

    Examples
    --------
    >>> from sklunlearn import BoundaryUnlearner
    >>> from sklunlearn.saliency import saliency_mask
    >>> BoundaryUnlearner(trainable=saliency_mask(0.1))
    BoundaryUnlearner(trainable=saliency_mask(fraction=0.1, trainable='all'))
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"`fraction` must be in (0, 1], got {fraction!r}.")
    return SaliencyMask(fraction, trainable)


@contextlib.contextmanager
def updating_only(module, masks):
    """Context in which only some of the weights of a network move.

    Parameters
    ----------
    module : torch.nn.Module
        The network.
    masks : dict of str to tensor of dtype bool
        For some parameters, True where a weight may move.

    Yields
    ------
    restore : callable
        To be called after every optimizer step: it puts the other weights back.

    Examples
    --------
    >>> import torch
    >>> from sklunlearn.saliency import updating_only
    >>> layer = torch.nn.Linear(2, 1, bias=False)
    >>> before = layer.weight.detach().clone()
    >>> with updating_only(layer, {"weight": torch.tensor([[True, False]])}) as restore:
    ...     layer(torch.ones(1, 2)).sum().backward()
    ...     torch.optim.SGD(layer.parameters(), lr=0.1).step()
    ...     restore()
    >>> (layer.weight == before).tolist()
    [[False, True]]
    """
    parameters = dict(module.named_parameters())
    kept = [
        (parameters[name], mask, parameters[name].detach().clone()) for name, mask in masks.items()
    ]

    def restore():
        if not kept:
            return
        # Gradients of zero would not do: weight decay and momentum move a weight all the same.
        with torch.no_grad():
            for parameter, mask, original in kept:
                torch.where(mask, parameter, original, out=parameter)

    # Without gradients of weights that stay, clipping measures those that move.
    # In the type of the gradient: times booleans, it takes four times as long.
    hooks = [parameter.register_hook(mask.to(parameter.dtype).mul) for parameter, mask, _ in kept]
    try:
        yield restore
    finally:
        for hook in hooks:
            hook.remove()
