"""Positions of rows: batch by batch, in a random order, or of all rows but some."""

import numpy as np
import torch

__all__ = ["MANY", "Others", "drawn_batches", "others", "shuffled_batches", "split_evenly"]

# Of more rows than these, no list of all is made for a few of them.
MANY = 2**20


def split_evenly(order, batch_size):
    """Split a sequence in as few batches of at most `batch_size` as possible, of nearly equal size.

    So no epoch ends in a batch of one row, which BatchNorm could not train on.
    """
    n_batches = -(-len(order) // batch_size)
    size, n_longer = divmod(len(order), max(1, n_batches))
    start = 0
    for i in range(n_batches):  # one at a time: of many rows, most are never asked for
        end = start + size + (i < n_longer)
        yield order[start:end]
        start = end


def shuffled_batches(n, batch_size):
    """Numbers below `n` in a random order, batch by batch."""
    return split_evenly(torch.randperm(n), batch_size)


def drawn_batches(n, batch_size):
    """As `shuffled_batches`, for a run that will hardly come by half of very many: without a list.

    A row takes a byte in place of eight, of the pages of memory that are touched.
    """
    # Of its own, so that it does not matter to other draws when these are made.
    generator = torch.Generator().manual_seed(int(torch.randint(2**62, ())))
    taken = np.zeros(n, dtype=bool)
    for _ in range(n // 2 // batch_size):
        drawn = np.empty(0, dtype=np.int64)
        while len(drawn) < batch_size:
            new = torch.randint(n, (batch_size - len(drawn),), generator=generator).numpy()
            new = np.unique(new[~taken[new]])
            taken[new] = True
            drawn = np.concatenate([drawn, new])
        yield torch.from_numpy(drawn)
    rest = torch.from_numpy(np.flatnonzero(~taken))
    yield from split_evenly(rest[torch.randperm(len(rest), generator=generator)], batch_size)


def others(mask):
    """Positions where a mask is False, as an array, or of many as what is asked like one."""
    return np.flatnonzero(~mask) if len(mask) <= MANY else Others(mask)


class Others:
    """Positions where a mask is False, found from those where it is True: no list of them.

    ``Others(mask)[numbers]`` are the positions of that number, counted from 0.
    """

    def __init__(self, mask):
        marked = np.flatnonzero(mask)
        self._n = len(mask) - len(marked)
        # So many others stand before each that is marked.
        self._before = marked - np.arange(len(marked))

    def __len__(self):
        return self._n

    def __getitem__(self, numbers):
        if isinstance(numbers, slice):
            numbers = np.arange(*numbers.indices(self._n))
        numbers = np.asarray(numbers, dtype=np.int64)
        return numbers + np.searchsorted(self._before, numbers, side="right")

    def __array__(self, dtype=None, copy=None):
        return self[:].astype(dtype or np.int64, copy=False)
