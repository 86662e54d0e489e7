"""Networks that differ in numbers only, trained at once."""

import time

import numpy as np
import torch
from torch.func import functional_call, vmap

from sklunlearn._data import Batch
from sklunlearn._devices import device_of
from sklunlearn._nets import (
    copy_net,
    logits_of,
    resume_training,
    shallow_copy,
    weights_digest,
)
from sklunlearn._seeding import global_states
from sklunlearn._stackable import (
    NotStackable,
    answers_fit,
    is_number,
    optimizer_settings,
    stackable_params,
)
from sklunlearn._stacked_layout import RowsLast
from sklunlearn._stacked_optimizers import make_stacked_optimizer
from sklunlearn._stacked_outputs import each_row_by_itself, forward_stacked
from sklunlearn.gradient import GradientUnlearner
from sklunlearn.trainable import training_only

__all__ = ["Stack"]


class _NoModule:
    """In place of the network, of which a loss of many networks may use nothing but the logits."""

    def __getattr__(self, name):
        raise NotStackable(f"the loss reads {name!r} of the network itself")


class Stack:
    """Networks that are trained together, their weights as the rows of one tensor.

    Parameters
    ----------
    candidates : list of dict
        Of each network, the values of its parameters.
    owner : list of Bundle
        Of each network, how it is prepared.
    """

    def __init__(self, candidates, owner):
        self.candidates, self.owner = candidates, owner
        self.bundles = list(dict.fromkeys(owner))
        self._first = first = self.bundles[0]
        self._module, leader = first.run.module_, first.leader
        numbers = stackable_params(leader)[0]
        values = [
            {name: candidate.get(name, getattr(leader, name)) for name in numbers}
            for candidate in candidates
        ]
        named = dict(self._module.named_parameters())
        chosen = {name: named[name] for name in leader.updated_params_}
        self._shapes = {name: parameter.shape for name, parameter in chosen.items()}
        self._sizes = [parameter.numel() for parameter in chosen.values()]
        if len({parameter.dtype for parameter in chosen.values()}) > 1:
            raise NotStackable("the weights are of several types")
        if any(parameter.dtype.itemsize < 4 for parameter in chosen.values()):
            # Learning rates and decays would be rounded too, 0.999 of Adam to 1.
            raise NotStackable("the weights are in half precision")
        start = torch.cat([parameter.detach().flatten() for parameter in chosen.values()])
        self.weights = start.repeat(len(owner), 1)
        positions = [self.bundles.index(bundle) for bundle in owner]
        self._index = torch.tensor(positions, device=start.device)
        self._scalars = {
            name: torch.tensor([given[name] for given in values]).to(start)
            for name in values[0]
            if is_number(values[0][name])
        }
        self._max_norm = self._scalars.pop("max_grad_norm", None)
        self._scalars.pop("lr")
        self._masks = self._find_masks(start)
        self._start, self._frozen = start, weights_digest(first.run)
        settings = [
            optimizer_settings(bundle.leader, bundle.run, given["lr"])
            for bundle, given in zip(owner, values, strict=True)
        ]
        kind = type(first.run.optimizer_)
        try:
            self._optimizer = make_stacked_optimizer(kind, self.weights, settings)
        except ValueError as error:
            raise NotStackable(str(error)) from error
        self._losses, self._batch_sizes, self._seconds = [], [], []

    def train(self, max_epochs):
        """All epochs of all networks."""
        leader = self._first.leader
        with training_only(
            self._module, leader.updated_params_, freeze_batchnorm=leader.freeze_batchnorm
        ):
            self._first.run._set_training(True)
            for epoch in range(1, max_epochs + 1):
                began = time.time()
                n_steps = {bundle.start_epoch(epoch) for bundle in self.bundles}
                if len(n_steps) > 1:
                    raise NotStackable("the runs differ in their number of steps")
                if n_steps == {0}:
                    break
                losses, sizes, states = [], [], global_states()
                for batches in zip(*(bundle.batches for bundle in self.bundles), strict=True):
                    losses.append(self._step([X for X, _ in batches]))
                    sizes.append(len(batches[0][1]))
                if global_states() != states:  # alone, each run would draw for itself
                    raise NotStackable("the steps draw random numbers, once for all networks")
                self._losses.append(torch.stack(losses).double().cpu().numpy())
                self._batch_sizes.append(sizes)
                self._seconds.append((time.time() - began) / len(self.owner))
        if weights_digest(self._first.run) != self._frozen:
            raise NotStackable("a layer keeps something of each batch, as BatchNorm does")
        self.is_finite = torch.isfinite(self.weights).all(dim=1).cpu().numpy()
        for losses in self._losses:
            self.is_finite &= np.isfinite(losses).all(axis=0)

    def forward(self, rows, function):
        """Of each network what `forward` gives, or None where it has to be asked by itself."""
        leader, run = self._first.leader, self._first.run
        nothing = [None] * len(self.owner)
        if rows is None or type(leader)._finish is not GradientUnlearner._finish:
            return nothing  # in the second case a network is not yet what it will be
        if not answers_fit(len(self.owner), len(rows), len(leader.classes_)):
            return nothing
        size = min(rows.at_once(1024), 2 * leader.batch_size)  # as `largest_stack` reckons
        if not each_row_by_itself(run, next(rows.batches(size, device_of(run))).X):
            return nothing
        try:
            return forward_stacked(run, self._parts(self.weights), rows, size, function)
        except RuntimeError:  # in evaluation a module may do what vmap refuses
            return nothing

    def network(self, i):
        """Pair of an unlearner and its new network, which `is_finite`."""
        bundle = self.owner[i]
        unlearner = shallow_copy(bundle.leader)
        vars(unlearner).update(self.candidates[i])
        run = copy_net(bundle.run)
        named = dict(run.module_.named_parameters())
        with torch.no_grad():
            for name, part in self._parts(self.weights).items():
                named[name].copy_(part[i])
        self._write_history(run.history, i)
        unlearner._finish(run)
        for name in set(vars(unlearner)) - bundle.known:  # as after any run
            if name.startswith("_"):
                delattr(unlearner, name)
        return unlearner, resume_training(run, bundle.start)

    def _step(self, X):
        """One step of all networks on the batches that the bundles have just given."""
        X, X_dim = self._merge(X)
        halves = [bundle.batches.halves for bundle in self.bundles]
        columns, dims = [], []
        for of_bundles in zip(*halves, strict=True):
            found = {"y": self._merge([half.y for half in of_bundles])} if of_bundles[0] else {}
            if of_bundles[0] is not None:
                for name in of_bundles[0].columns:
                    found["column " + name] = self._merge([half[name] for half in of_bundles])
            columns.append({name: tensor for name, (tensor, _) in found.items()})
            dims.append({name: dim for name, (_, dim) in found.items()})

        def loss_of(parts, scalars, X, columns):
            unlearner = shallow_copy(self._first.leader)
            vars(unlearner).update(scalars)
            output = functional_call(self._module, parts, (X,))
            halves = [_make_batch(some) if some else None for some in columns]
            taken = [half for half in halves if half is not None]
            sizes = [len(half) for half in taken]
            logits = logits_of(self._first.run, output).split(sizes)
            for half, part, of_part in zip(taken, X.split(sizes), logits, strict=True):
                half.X, half.logits = part, of_part
            return unlearner._loss(_NoModule(), *halves)

        parts = {name: part.requires_grad_() for name, part in self._parts(self.weights).items()}
        in_dims = (dict.fromkeys(parts, 0), dict.fromkeys(self._scalars, 0), X_dim, dims)
        try:
            with RowsLast():
                losses = vmap(loss_of, in_dims)(parts, self._scalars, X, columns)
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[0]
            raise NotStackable(f"torch.func.vmap refuses: {reason}") from error
        gradients = torch.autograd.grad(losses.sum(), list(parts.values()), allow_unused=True)
        if any(gradient is None for gradient in gradients):
            # Alone, an optimizer leaves it as it is, without even a decay.
            raise NotStackable("a weight that may be trained has no part in the loss")
        with torch.no_grad():
            gradient = torch.cat([gradient.flatten(1) for gradient in gradients], dim=1)
            if self._masks is not None:
                gradient = gradient * self._masks
            if self._max_norm is not None:  # as torch.nn.utils.clip_grad_norm_
                norm = gradient.norm(dim=1)
                gradient = gradient * (self._max_norm / (norm + 1e-6)).clamp(max=1.0)[:, None]
            self._optimizer.step(gradient)
            if self._masks is not None:  # weight decay and momentum move the others too
                torch.where(self._masks, self.weights, self._start, out=self.weights)
        return losses.detach()

    def _merge(self, tensors):
        """What each network is given, and the axis that counts them: None if all get the same."""
        first = tensors[0]
        if all(torch.equal(tensor, first) for tensor in tensors[1:]):
            return first, None
        return torch.stack(tensors)[self._index], 0

    def _parts(self, weights):
        """Views of the weights of all networks, by the names of their parameters."""
        parts = weights.split(self._sizes, dim=1)
        return {
            name: part.view(len(weights), *shape)
            for (name, shape), part in zip(self._shapes.items(), parts, strict=True)
        }

    def _find_masks(self, start):
        if not any(bundle.masks for bundle in self.bundles):
            return None
        masks = [
            torch.cat([bundle.masks[name].flatten() for name in self._shapes])
            for bundle in self.bundles
        ]
        return torch.stack(masks)[self._index].to(start.device)

    def _write_history(self, history, i):
        lowest = np.inf
        for losses, sizes, seconds in zip(
            self._losses, self._batch_sizes, self._seconds, strict=True
        ):
            loss = np.dot(losses[:, i], sizes) / sum(sizes)
            history.append(
                {
                    "batches": [
                        {"train_loss": each, "train_batch_size": size}
                        for each, size in zip(losses[:, i].tolist(), sizes, strict=True)
                    ],
                    "epoch": len(history) + 1,
                    "train_batch_count": len(sizes),
                    "train_loss": loss,
                    "train_loss_best": bool(loss < lowest),
                    "dur": seconds,
                }
            )
            lowest = min(lowest, loss)


def _make_batch(columns):
    own = {name.removeprefix("column "): v for name, v in columns.items() if name != "y"}
    return Batch(None, columns["y"], own)
