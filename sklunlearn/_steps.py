"""Which rows the steps of an epoch take, and their batches."""

import numpy as np
import torch

from sklunlearn._data import take_rows
from sklunlearn._positions import split_evenly

__all__ = ["StepBatches", "mixed"]


def mixed(forget, retain, batch_size):
    """Steps over the union of forget and retain rows, each with its share of both.

    Parameters
    ----------
    forget, retain : sklunlearn._data.Rows
        The rows. Either may be empty; and a step may have no row of the smaller set.
    batch_size : int
        Largest number of rows in a step; the steps differ by at most one row.

    Yields
    ------
    positions : pair of tensors of dtype int64
        Positions of the step's forget rows and of its retain rows.
    """
    n_forget, n = len(forget), len(forget) + len(retain)
    slots = torch.arange(n)
    is_forget = (slots * n_forget + n // 2) % n < n_forget  # n_forget of them, evenly spaced
    order = torch.empty_like(slots)
    order[is_forget] = torch.randperm(n_forget)
    order[~is_forget] = torch.randperm(n - n_forget)
    for step in split_evenly(slots, batch_size):
        yield order[step[is_forget[step]]], order[step[~is_forget[step]]]


class StepBatches:
    """Batches as skorch wants them: pairs of X and y, forget rows before retain rows.

    Iterating takes `steps`, pairs of the positions of forget and of retain rows. None in place of
    positions: such rows take no part. `split` gives the two halves of the batch that was yielded
    last, with everything that is stored with the rows.
    """

    def __init__(self, forget, retain, device):
        self.rows = forget, retain
        self.device = device
        self.steps = ()
        self.halves = [None, None]

    def __iter__(self):
        for step in self.steps:
            taken = [i for i in (0, 1) if step[i] is not None]
            X = self._take_X([(self.rows[i], step[i].numpy()) for i in taken])
            parts = _split(X, [step[i].shape[0] for i in taken])
            self.halves = [None, None]
            for i, part in zip(taken, parts, strict=True):
                self.halves[i] = self.rows[i].batch(step[i], self.device, part)
            y = [self.halves[i].y for i in taken]
            yield X, torch.cat(y) if len(y) > 1 else y[0]

    def _take_X(self, taken):
        source = taken[0][0].source
        if all(rows.source is source for rows, _ in taken):
            # From one data set they are taken at once, and need not be put together.
            indices = [rows.indices[positions] for rows, positions in taken]
            indices = np.concatenate(indices) if len(indices) > 1 else indices[0]
            return take_rows(source, indices).to(self.device)
        parts = [rows.take_X(positions) for rows, positions in taken if len(positions)]
        return torch.cat([part.to(self.device) for part in parts])

    def split(self, logits):
        """The forget and the retain rows of the last batch, either None, with their logits."""
        halves = [half for half in self.halves if half is not None]
        parts = _split(logits, [len(half) for half in halves])
        for half, part in zip(halves, parts, strict=True):
            half.logits = part
        return self.halves


def _split(tensor, sizes):
    # One split: two slices would each build a gradient of full size, as would a split in one.
    return torch.split_with_sizes(tensor, sizes) if len(sizes) > 1 else [tensor]
