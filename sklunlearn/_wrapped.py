"""Modules of a net that accelerate or torch.compile has wrapped: what they are without it."""

from sklearn.pipeline import Pipeline

from sklunlearn._nets import shallow_copy

__all__ = ["check_unwrapped", "is_compiled", "uncompiled", "unwrap", "unwrapped"]


def check_unwrapped(net):
    """Raise a ValueError if accelerate has wrapped a trained net: it cannot be copied so."""
    if getattr(net, "_wrapped_with_accelerator", False):
        raise ValueError(
            "The net in the FrozenEstimator is still wrapped by accelerate: train it with "
            f"{type(net).__name__}(..., unwrap_after_train=True)."
        )


def is_compiled(net):
    """Whether torch.compile has wrapped the module of a trained net, or its criterion."""
    parts = (getattr(net, f"{name}_", None) for name in net._modules + net._criteria)
    return any(hasattr(part, "_orig_mod") for part in parts)


def unwrapped(net, module):
    """A module of a net, without what accelerate and torch.compile have wrapped it in."""
    if getattr(net, "_wrapped_with_accelerator", False):
        module = net.accelerator.unwrap_model(module)
    return getattr(module, "_orig_mod", module)


def unwrap(net):
    """Take the modules of a net out of what accelerate and torch.compile have wrapped them in.

    Wrapped by either, their parameters have other names. By accelerate, a copy would train along
    with the original; compiled, a module takes no notice of hooks that it is given later.
    """
    if getattr(net, "_wrapped_with_accelerator", False):
        net._unwrap_accelerator()
    if is_compiled(net):
        for name in net._modules + net._criteria:
            vars(net)[f"{name}_"] = unwrapped(net, getattr(net, f"{name}_"))
        # So that whoever initialises it again, as a file that is read does, has it as it is.
        vars(net)["compile"] = False


def uncompiled(estimator):
    """A fitted estimator; with its modules as they were before torch.compile, in a copy."""
    net = estimator[-1] if isinstance(estimator, Pipeline) else estimator
    if not is_compiled(net):
        return estimator
    net = shallow_copy(net)
    unwrap(net)
    if not isinstance(estimator, Pipeline):
        return net
    new = shallow_copy(estimator)  # of its own class, with its other parameters
    new.steps = [*estimator.steps[:-1], (estimator.steps[-1][0], net)]
    return new
