"""Which parameters and callbacks a net may be given for a run."""

from inspect import signature

from skorch import NeuralNet, NeuralNetClassifier
from skorch.callbacks import Callback

__all__ = ["check_callbacks", "check_net_params"]

_OWN_PARAMS = ("lr", "max_epochs", "batch_size", "optimizer", "callbacks", "verbose")


def check_net_params(net_params, net):
    """Refuse what the run does not read, or reads from a parameter of the unlearner."""
    known = {name for name in net.get_params(deep=False) if "__" not in name}
    # What a user's class of nets adds to skorch's parameters, its own methods may read.
    added = known - {*signature(NeuralNet).parameters, *signature(NeuralNetClassifier).parameters}
    added = {name for name in added if not name.startswith("_")}
    for name in net_params:
        if name in added or str(name).startswith(("optimizer__", "callbacks__")):
            continue
        reason = "the run does not read it" if name in known else f"unknown to {type(net).__name__}"
        if name in _OWN_PARAMS:
            reason = f"set it with `{name}` instead"
        elif str(name).startswith(("module", "criterion", "device")):
            reason = "it would make a new network; set it on the net before `fit`"
        raise ValueError(
            f"`net_params` holds {name!r}: {reason}. Allowed are 'optimizer__...', "
            f"'callbacks__...' and what the net's class adds to skorch's parameters: "
            f"{sorted(added)}."
        )
    return net_params


def check_callbacks(callbacks):
    """A list of them, or a TypeError: skorch would fail on the first thing that it asks of one."""
    for entry in callbacks:
        is_named = isinstance(entry, (tuple, list)) and len(entry) == 2
        callback = entry[1] if is_named and isinstance(entry[0], str) else entry
        is_class = isinstance(callback, type) and issubclass(callback, Callback)
        if not (is_class or hasattr(callback, "on_train_begin") or (is_named and callback is None)):
            raise TypeError(
                f"`callbacks` holds {entry!r}, expected skorch callbacks or pairs of a name and a "
                "callback: make one of a class that inherits from skorch.callbacks.Callback."
            )
    return list(callbacks)
