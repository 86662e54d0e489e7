"""One network of several that have the same architecture."""

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from sklunlearn._devices import device_of
from sklunlearn._nets import copy_net

__all__ = ["add_differences", "average", "find_part_of", "graft", "is_one_of", "recalibrate"]

_PIECE = 2**18  # entries


def graft(nets, cuts):
    """Network whose parts come from different nets, bit for bit, buffers included.

    Parameters
    ----------
    nets : list of skorch.NeuralNetClassifier
        The donor of each part.
    cuts : list of str
        Name of the submodule with which each part but the first begins. The order in which
        submodules are registered is taken for the order in which they are applied.

    Returns
    -------
    net : skorch.NeuralNetClassifier

    Raises
    ------
    ValueError
        If a part has no parameter, or a parameter belongs to two parts.
    """
    part_of = find_part_of(nets[0].module_, cuts)
    return _merge(nets, lambda key, values: values[part_of[key]])


def find_part_of(module, cuts):
    """Which part of a network each of its tensors belongs to.

    Parameters
    ----------
    module : torch.nn.Module
        The network.
    cuts : list of str
        As for :func:`graft`, which raises what this raises.

    Returns
    -------
    part_of : dict of str to int
        Number of the part by name, as in ``module.state_dict()``.
    """
    # A layer that is used twice has two names, and so have its weights.
    named = list(module.named_modules(remove_duplicate=False))
    order = [name for name, _ in named]
    starts = [order.index(cut) for cut in cuts]
    part_of_module = {name: sum(i >= s for s in starts) for i, name in enumerate(order)}
    part_of = {
        f"{name}.{key}".removeprefix("."): part_of_module[name]
        for name, submodule in named
        for key in [*submodule._parameters, *submodule._buffers]
    }
    parts_of_parameter = {}
    for key, parameter in module.named_parameters(remove_duplicate=False):
        parts_of_parameter.setdefault(id(parameter), set()).add(part_of[key])
        if len(parts_of_parameter[id(parameter)]) > 1:
            raise ValueError(
                f"cut={cuts!r} goes through {key!r}, which is shared by layers on both sides: cut "
                "where no weights are shared."
            )
    filled = set().union(*parts_of_parameter.values())
    if empty := set(range(len(cuts) + 1)) - filled:
        remedy = "cut at a later submodule that has some, or before an earlier one"
        owners = [name for name, submodule in named if submodule._parameters]
        if len(owners) < 2:
            remedy = "one layer cannot be divided, use another method than 'graft'"
        raise ValueError(
            f"cut={cuts!r} leaves part {min(empty) + 1} of {len(cuts) + 1} of the network without "
            f"a parameter: {remedy}."
        )
    return part_of


def average(nets, weights):
    """Network with the weighted mean of the weights; `weights` add up to 1."""

    def mean(key, values):
        if not values[0].is_floating_point():
            return values[0]
        return sum(w * value.double() for w, value in zip(weights, values, strict=True))

    return _merge(nets, mean)


def add_differences(start, nets, weights, trim=0.0, elect_sign=False):
    """Network `start` plus the weighted differences of other nets from it.

    Parameters
    ----------
    start : skorch.NeuralNetClassifier
        What the others were made from.
    nets : list of skorch.NeuralNetClassifier
        The others.
    weights : ndarray of shape (n_nets,)
        Factor of each difference.
    trim : float, default=0.0
        Share of the parameters of each net, those with the smallest differences, whose difference
        is left out.
    elect_sign : bool, default=False
        Of each parameter, add only the differences of the sign that outweighs the other, and
        divide by the share of the weights that they have.

    Returns
    -------
    net : skorch.NeuralNetClassifier
    """
    parameters = dict(start.module_.named_parameters(remove_duplicate=False))
    smallest = [_trim_threshold(start, net, trim) for net in nets]

    def moved(key, values):
        origin, *values = values
        if not origin.is_floating_point():
            return values[0]
        differences = []
        for value, weight, least in zip(values, weights, smallest, strict=True):
            # In double precision, in which the difference of two floats is nearly always exact.
            difference = weight * (value.double() - origin.double())
            if key in parameters:  # and not running statistics
                difference[(value - origin).abs() < least] = 0
            differences.append(difference)
        if not (elect_sign and key in parameters):
            end = origin.double() + sum(differences)
            # Variances that all went down may together go below zero.
            return end.clamp_min(0) if key.endswith("running_var") else end
        elected = sum(differences).sign()
        agreeing = [difference.sign() == elected for difference in differences]
        total = sum(d * agrees for d, agrees in zip(differences, agreeing, strict=True))
        share = sum(abs(w) * agrees for w, agrees in zip(weights, agreeing, strict=True))
        # Where the differences cancel each other, no sign is elected and none is added.
        total = torch.where(elected == 0, 0.0, total * (abs(weights).sum() / share))
        return origin.double() + total

    return _merge([start, *nets], moved)


def _trim_threshold(start, net, trim):
    """Smallest absolute difference that is kept; equal ones are kept together."""
    if trim == 0:
        return 0.0
    pairs = zip(net.module_.parameters(), start.module_.parameters(), strict=True)
    with torch.no_grad():
        sizes = torch.cat([(new - old).abs().flatten() for new, old in pairs])
    n_left_out = min(int(trim * len(sizes)), len(sizes) - 1)
    return sizes.kthvalue(n_left_out + 1).values.item()


def _merge(nets, value_of):
    """A net of whose tensors each is what `value_of(key, values)` makes of those of the nets.

    Entry by entry: `value_of` is given some of the entries of a tensor at a time.
    """
    merged = copy_net(nets[0])
    states = [net.module_.state_dict() for net in nets]
    with torch.no_grad():
        for key, target in merged.module_.state_dict().items():
            if not isinstance(target, torch.Tensor):  # of get_extra_state: as in the first
                continue
            # In pieces, as sums in double precision would take many times the memory of a layer.
            for piece, *values in _pieces([target, *(state[key] for state in states)]):
                piece.copy_(value_of(key, values))
    return merged


def _pieces(tensors):
    """Views of the same entries of tensors of one shape, not too many at a time."""
    if not all(tensor.is_contiguous() for tensor in tensors):  # entries in another order
        return [tensors]
    return zip(*(tensor.view(-1).split(_PIECE) for tensor in tensors), strict=True)


def recalibrate(net, rows):
    """Set the running statistics of BatchNorm layers to those of some rows, in place.

    Dropout does not take part: the statistics are of what the layers are given in evaluation.

    Parameters
    ----------
    net : skorch.NeuralNetClassifier
        The network.
    rows : sklunlearn._data.Rows
        The rows, in random order: what differs between batches is not in the statistics. A single
        one has no spread; the statistics then stay as they are.
    """
    layers = [layer for layer in net.module_.modules() if isinstance(layer, _BatchNorm)]
    if not layers or len(rows) < 2:
        return
    momenta = [layer.momentum for layer in layers]
    net.module_.eval()
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # the mean of all batches, each with the same weight
        layer.train()
    with torch.no_grad():
        for batch in rows.batches(max(2, rows.at_once(256)), device_of(net)):
            net.infer(batch.X)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
        layer.eval()


def is_one_of(net, others):
    """Whether a net has the parameters of one of the others, bit for bit."""
    return any(
        all(
            torch.equal(new, old)
            for new, old in zip(net.module_.parameters(), other.module_.parameters(), strict=True)
        )
        for other in others
    )
