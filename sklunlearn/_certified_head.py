"""A linear layer on rows of norm at most 1, in the place of a network's own last layer."""

import math

import numpy as np
import torch
from torch import nn

from sklunlearn._nets import copy_net
from sklunlearn.embeddings import embed
from sklunlearn.trainable import head_module

__all__ = ["CertifiedHead", "is_alone", "net_with_head", "scaled_inputs", "set_weights"]


class CertifiedHead(nn.Linear):
    """Linear layer on inputs that are scaled to a norm of at most 1.

    ``logits = [weight, bias] @ [x / sqrt(1 + ||x||^2), 1] / sqrt(2)``. It has the parameters of
    the layer that it replaces, by the same names.
    """

    def forward(self, x):
        """Logits of shape (n_samples, out_features)."""
        return super().forward(_shrink(x)) / math.sqrt(2)


def net_with_head(net, n_classes):
    """Copy of a net with a head that has no values yet, and that head."""
    new = copy_net(net)
    name, layer = head_module(new.module_)
    if not isinstance(layer, nn.Linear) or layer.out_features != n_classes:
        raise ValueError(
            f"The last layer of the network, {name or 'the network itself'!r}, is {layer}: "
            f"expected torch.nn.Linear with {n_classes} outputs, one a class. Let the network end "
            "in such a layer."
        )
    # Without initial values, which would be drawn from torch's global random state.
    head = nn.utils.skip_init(
        CertifiedHead,
        layer.in_features,
        layer.out_features,
        device=layer.weight.device,
        dtype=layer.weight.dtype,
    )
    head.train(layer.training)
    if layer is new.module_:
        vars(new)["module_"] = head
    # Wherever the layer is registered: the network may know it by more than one name.
    for parent in list(new.module_.modules()):
        for key, child in list(parent._modules.items()):
            if child is layer:
                setattr(parent, key, head)
    return new, head


def set_weights(head, weights):
    """Give a head the weights of linear models, of shape (n_models, in_features + 1).

    One model a class; or, for two classes, one model of the second, and the first has logit 0.
    """
    if len(weights) == 1:
        weights = np.concatenate([np.zeros_like(weights), weights])
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(weights[:, :-1]))
        head.bias.copy_(torch.from_numpy(weights[:, -1]))


def scaled_inputs(net, head, rows):
    """What the head multiplies by its weights, of shape (n_samples, in_features + 1), float64."""
    given = embed(net, rows, next(n for n, m in net.module_.named_modules() if m is head))
    if given.shape[1] != head.in_features:
        raise ValueError(
            f"The network's last layer is given {given.shape[1]} values a row, expected one vector "
            f"of {head.in_features}: let it be the layer that the network applies last."
        )
    x = _shrink(given.double())
    return (torch.cat([x, torch.ones(len(x), 1, dtype=x.dtype)], dim=1) / math.sqrt(2)).numpy()


def is_alone(net, head):
    """Whether a net, its criterion included, has no parameter and no buffer but its head's."""
    own = {id(value) for value in head.parameters()}
    modules = [getattr(net, f"{name}_") for name in (*net._modules, *net._criteria)]
    tensors = [value for m in modules for value in (*m.parameters(), *m.buffers())]
    return all(id(value) in own for value in tensors)


def _shrink(x):
    """Rows with an L2 norm below 1, by a rule that keeps different rows different."""
    return x / x.square().sum(dim=1, keepdim=True).add(1).sqrt()
