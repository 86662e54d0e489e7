"""Where a net computes: its device, and the processes that train it together."""

import numpy as np
import torch

__all__ = [
    "device_of",
    "outputs_in_evaluation",
    "prepare_optimizers",
    "same_in_all_processes",
    "seed_of_all_processes",
]


def device_of(net):
    """The device that a net takes its batches on.

    A net whose `device` is None leaves its placement to others, as with accelerate: it takes them
    where its first weight is.
    """
    if net.device is not None:
        return torch.device(net.device)
    modules = (getattr(net, f"{name}_") for name in net._modules)
    tensors = (value for m in modules for value in (*m.parameters(), *m.buffers()))
    return next((value.device for value in tensors), torch.device("cpu"))


def outputs_in_evaluation(net, X):
    """Output of a net for some rows, in evaluation mode, without a gradient."""
    if not _trained_by_several(net):
        return net.evaluation_step((X, None))
    # skorch's would gather the outputs of all processes, which here have the same rows.
    net._set_training(False)
    with torch.no_grad():
        return net.infer(X)


def prepare_optimizers(net):
    """Let accelerate undo the scale that it gives to the gradients of a net, before each step."""
    if not hasattr(net, "accelerator"):
        return
    from accelerate.optimizer import AcceleratedOptimizer

    for name in net._optimizers:
        # Not with `prepare`: the accelerator would keep the optimizer for good.
        optimizer = AcceleratedOptimizer(
            getattr(net, f"{name}_"), device_placement=False, scaler=net.accelerator.scaler
        )
        vars(net)[f"{name}_"] = optimizer


def seed_of_all_processes(net, seed):
    """The seed itself, or where it is None and several processes train the net, a common one."""
    if seed is not None or not _trained_by_several(net):
        return seed
    seeds = [int(np.random.default_rng().integers(np.iinfo(np.int32).max))]
    torch.distributed.broadcast_object_list(seeds, src=0)
    return seeds[0]


def same_in_all_processes(net):
    """Give the weights of the first process to all that train the net, in place.

    Running statistics are of the batches that a process had, and sums on a GPU are not exact.
    """
    if not _trained_by_several(net):
        return
    for name in net._modules:
        for value in getattr(net, f"{name}_").state_dict().values():
            if not isinstance(value, torch.Tensor):  # of get_extra_state
                continue
            # As bytes: not every backend sends every type.
            sent = value.contiguous().reshape(-1).view(torch.uint8)
            torch.distributed.broadcast(sent, src=0)
            value.copy_(sent.view(value.dtype).reshape(value.shape))


def _trained_by_several(net):
    return getattr(getattr(net, "accelerator", None), "num_processes", 1) > 1
