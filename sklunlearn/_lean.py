"""What skorch does in each step of a training, at a lower cost."""

import contextlib

import numpy as np
import torch
from skorch import NeuralNet
from skorch.dataset import get_len
from torch.optim import Optimizer

__all__ = ["lean_steps"]


@contextlib.contextmanager
def lean_steps(net):
    """Context in which the epochs of a net cost less beside what its module costs.

    The history and what callbacks see are those of skorch. A net whose class has a
    `run_single_epoch` or a `_set_training` of its own keeps it.
    """
    # On the instance: the net may be of a user's class.
    own = {
        "_set_training": _SetTraining,
        "_zero_grad_optimizer": _ZeroGrad,
        "run_single_epoch": _RunEpoch,
    }
    own = {k: v for k, v in own.items() if getattr(type(net), k) is getattr(NeuralNet, k)}
    vars(net).update({name: make(net) for name, make in own.items()})
    try:
        yield
    finally:
        for name in own:
            del vars(net)[name]


class _SetTraining:
    """Set the mode of the modules only where one is in another.

    skorch asks for it in each step, where setting all flags takes as long as a layer: 7% of the
    training of a small network. A class, as callbacks may pickle the net in its training.
    """

    def __init__(self, net):
        self.net = net
        self.roots, self.parts = None, []

    def __call__(self, training=True):
        net = self.net
        roots = [getattr(net, f"{name}_") for name in net._modules + net._criteria]
        if roots != self.roots:  # a callback may have put another module there
            modules = [root for root in roots if isinstance(root, torch.nn.Module)]
            self.roots, self.parts = roots, [part for root in modules for part in root.modules()]
        if any(part.training is not training for part in self.parts):
            type(net)._set_training(net, training)


class _ZeroGrad:
    """Drop the gradients, without what torch's own does for its profiler and compiler.

    4% of the training of a small network.
    """

    def __init__(self, net):
        self.net = net

    def __call__(self, set_to_none=None):
        for name in self.net._optimizers:
            optimizer = getattr(self.net, f"{name}_")
            if set_to_none is False or type(optimizer).zero_grad is not Optimizer.zero_grad:
                optimizer.zero_grad(set_to_none is not False)
                continue
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    parameter.grad = None


class _RunEpoch:
    """An epoch that does not look through each batch for nested data.

    3% of the training of a small network.
    """

    def __init__(self, net):
        self.net = net

    def __call__(self, iterator, training, prefix, step_fn, **fit_params):
        if iterator is None:
            return
        net, n_batches = self.net, 0
        for batch in iterator:
            net.notify("on_batch_begin", batch=batch, training=training)
            step = step_fn(batch, **fit_params)
            net.history.record_batch(f"{prefix}_loss", step["loss"].item())
            net.history.record_batch(f"{prefix}_batch_size", _size(batch))
            net.notify("on_batch_end", batch=batch, training=training, **step)
            n_batches += 1
        net.history.record(f"{prefix}_batch_count", n_batches)


def _size(batch):
    X = batch[0] if isinstance(batch, (tuple, list)) else batch
    return X.shape[0] if isinstance(X, (torch.Tensor, np.ndarray)) else get_len(X)
