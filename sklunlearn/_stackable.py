"""Which runs can be trained together, and why others cannot."""

from numbers import Real

import numpy as np
import torch
from skorch import NeuralNetClassifier
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from sklunlearn._data import Rows
from sklunlearn._devices import device_of
from sklunlearn.gradient import GradientUnlearner

__all__ = [
    "NotStackable",
    "answers_fit",
    "check_net",
    "check_run",
    "check_stackable",
    "is_number",
    "largest_stack",
    "optimizer_settings",
    "stackable_params",
]

# How many numbers a stack may hold: 256 MiB in single precision.
_MAX_NUMBERS = 2**26


class NotStackable(Exception):
    """Some runs cannot be trained together, for the reason given."""


def stackable_params(unlearner):
    """Names of the parameters in which runs of a stack may differ.

    A method declares them in two tuples of names, of which the first may be empty and the second
    missing: ``_stackable``, numbers that `_loss` reads and does nothing with but arithmetic, and
    ``_stackable_before``, what is read by `_prepare` and nothing else, to store columns with the
    rows. `lr`, `max_grad_norm` and `net_params` need no declaration. A method that declares has no
    `_run` of its own, and its other hooks ask nothing of the network that is trained.

    Returns
    -------
    numbers : set of str
        Those that the steps read, as numbers: 0 and others do not go together.
    prepared : set of str
        Those that only the preparation of a run reads, of any value.

    Raises
    ------
    NotStackable
        If the method does not say.
    """
    cls = type(unlearner)
    if not isinstance(unlearner, GradientUnlearner):
        raise NotStackable(f"{cls.__name__} does not train by gradient steps")
    # Of the class itself: what a subclass changes, the declaration may not hold for.
    if "_stackable" not in vars(cls):
        raise NotStackable(f"{cls.__name__} does not declare which numbers its steps read")
    numbers = {"lr", "max_grad_norm", *vars(cls)["_stackable"]}
    return numbers, {"net_params", *vars(cls).get("_stackable_before", ())}


def is_number(value):
    """Whether a value can be one of those in which the steps of a stack differ."""
    return isinstance(value, Real) and not isinstance(value, bool)


def check_stackable(unlearner):
    """Raise NotStackable if an unlearner's parameters, or the class of its net, rule it out."""
    stackable_params(unlearner)
    if unlearner.callbacks:
        raise NotStackable("callbacks are given, which look at one network")
    if unlearner.stop_accuracy is not None:
        raise NotStackable("`stop_accuracy` is set, so that each run has its own length")


# What a class of nets may do in its own way without a run noticing it.
_HARMLESS = {"fit", "partial_fit", "predict", "predict_proba", "score", "get_params", "set_params"}


def check_net(net):
    """Raise NotStackable if a net does more in a step than its module."""
    for cls in type(net).__mro__:
        if cls is NeuralNetClassifier:
            break
        own = {name for name in vars(cls) if hasattr(NeuralNetClassifier, name)}
        for name in sorted(own - _HARMLESS):
            # scikit-learn gives every class those that set a request.
            if not name.startswith("__") and not name.endswith("_request"):
                raise NotStackable(f"the class of the net, {cls.__name__}, has its own {name!r}")
    if net._modules != ["module"] or net._optimizers != ["optimizer"]:
        raise NotStackable("the net has more than one module or optimizer")


def check_run(leader, run):
    """Raise NotStackable if a run that has been prepared is more than steps of a plain network."""
    known = {"epoch_timer", "print_log", "max_grad_norm"}
    if unknown := sorted({name for name, _ in run.callbacks_} - known):
        raise NotStackable(f"the net has callbacks of its own: {', '.join(unknown)}")
    trained = set(leader.updated_params_)
    for path, layer in run.module_.named_modules():
        own = {f"{path}.{name}".removeprefix(".") for name, _ in layer.named_parameters()}
        if isinstance(layer, _BatchNorm) and not leader.freeze_batchnorm:
            if not own or own & trained:
                raise NotStackable("BatchNorm is trained: its statistics differ by candidate")
        if isinstance(layer, _DropoutNd) and layer.p > 0:
            raise NotStackable("dropout draws anew for each network")


def optimizer_settings(unlearner, run, lr):
    """Settings of the optimizer of a run, with another learning rate."""
    groups = run.optimizer_.param_groups
    if len(groups) > 1:
        raise NotStackable("the optimizer has several groups of parameters")
    own = "optimizer__lr" in (unlearner.net_params or {})
    return groups[0] if own else {**groups[0], "lr": lr}


def largest_stack(net, X):
    """How many runs of a network fit in a stack, with X of the size of a batch.

    So many that a stack holds at most 2**26 numbers, counting four for each weight (itself, its
    gradient and what the optimizer keeps) and one for each value that a layer gives out.
    """
    count = 4 * sum(parameter.numel() for parameter in net.module_.parameters())

    def add(layer, args, output):
        nonlocal count
        if isinstance(output, torch.Tensor):
            count += output.numel()

    leaves = [layer for layer in net.module_.modules() if not any(layer.children())]
    hooks = [layer.register_forward_hook(add) for layer in leaves]
    try:
        net.evaluation_step((Rows(X).take_X(np.arange(len(X))).to(device_of(net)), None))
    finally:
        for hook in hooks:
            hook.remove()
    if count > _MAX_NUMBERS // 2:
        raise NotStackable("two runs would take more memory than a stack may")
    return _MAX_NUMBERS // count


def answers_fit(n_networks, n_rows, n_classes):
    """Whether all that the networks of a stack say of rows is no more numbers than it may hold."""
    return n_networks * n_rows * n_classes <= _MAX_NUMBERS
