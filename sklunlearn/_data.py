"""Rows of data, taken a batch at a time."""

from dataclasses import dataclass, field

import numpy as np
import torch
from sklearn.utils import _safe_indexing
from skorch.dataset import Dataset as SkorchDataset
from torch.utils.data import Dataset, Subset

from sklunlearn._positions import MANY, drawn_batches, shuffled_batches, split_evenly

__all__ = [
    "Batch",
    "BatchLoader",
    "Rows",
    "feature_statistics",
    "is_memory_mapped",
    "on_device",
    "take",
]

_HOST = torch.device("cpu")


class BatchLoader:
    """Loader that indexes a data set once a batch, for the iterators of a skorch net.

    ``NeuralNetClassifier(..., iterator_train=BatchLoader, iterator_valid=BatchLoader)`` trains on
    arrays several times faster than with :class:`torch.utils.data.DataLoader`, which takes single
    rows and stacks them.

    Parameters
    ----------
    dataset : skorch.dataset.Dataset, torch.utils.data.Subset of one, or torch Dataset
        What to load. Of any other data set than those of skorch and :class:`Rows`, rows are taken
        one by one.
    batch_size : int, default=64
        Largest number of rows in a batch; the batches of an epoch differ by at most one row.
        -1: all rows.
    shuffle : bool, default=False
        Whether each epoch has an order of its own, drawn from torch's global random state.
    """

    def __init__(self, dataset, batch_size=64, shuffle=False):
        self.dataset = dataset
        self.batch_size = len(dataset) if batch_size == -1 else batch_size
        self.shuffle = shuffle

    def __len__(self):
        return -(-len(self.dataset) // self.batch_size)

    def __iter__(self):
        n = len(self.dataset)
        order = torch.randperm(n) if self.shuffle else torch.arange(n)
        for positions in split_evenly(order, self.batch_size):
            yield self._take(self.dataset, positions.numpy())

    def _take(self, dataset, positions):
        if isinstance(dataset, Subset):
            return self._take(dataset.dataset, np.asarray(dataset.indices)[positions])
        if isinstance(dataset, Rows):
            batch = dataset.batch(torch.as_tensor(positions))
            return batch.X, batch.y
        if type(dataset) is SkorchDataset and _are_arrays(dataset.X, dataset.y):
            # Its own indexing, of arrays of any kind, takes a third of a small network's training.
            return dataset.X[positions], dataset.y[positions]
        if isinstance(dataset, SkorchDataset) and not isinstance(dataset.X, Dataset):
            return dataset[positions]
        return torch.utils.data.default_collate([dataset[int(i)] for i in positions])


@dataclass
class Batch:
    """A batch of rows, as a method's loss sees it.

    ``batch.logits`` is what the network that is being trained says of the rows. ``batch["name"]``
    is the batch's share of what was stored with the rows under that name.
    """

    X: torch.Tensor
    y: torch.Tensor
    columns: dict = field(default_factory=dict)
    logits: torch.Tensor | None = None

    def __len__(self):
        return self.y.shape[0]

    def __getitem__(self, name):
        return _column(self.columns, name)


def _column(columns, name):
    if name not in columns:
        raise KeyError(f"{name!r} was not stored with these rows, only {sorted(columns)} was.")
    return columns[name]


class Rows(Dataset):
    """Some rows of a data set, with their labels and whatever else is known of each.

    ``rows["name"] = tensor`` stores one entry a row, which every batch then carries; it stays
    with its row however the rows are shuffled. Nothing of the data is copied.

    Parameters
    ----------
    source : ndarray of shape (n_samples, ...), tensor as of `on_device`, or torch Dataset
        The data set. Arrays of another type than float32 are converted a batch at a time.
    y : ndarray of shape (n_samples,), dtype int64, default=None
        Class indices. None: not known, 0 for every row.
    indices : ndarray of int, default=None
        Which rows. None: all.
    """

    def __init__(self, source, y=None, indices=None):
        self.source = source
        self.indices = np.arange(len(source)) if indices is None else indices
        self._labels = y  # of the whole data set: there may be more rows than a copy should have
        self.columns = {}
        self._order = iter(())
        self._moved = {}

    @property
    def y(self):
        """Class indices, a tensor of shape (n_rows,) that is made for who asks."""
        return self._take_y(slice(None))

    def _take_y(self, positions):
        indices = self.indices[positions]
        if self._labels is None:
            return torch.zeros(len(indices), dtype=torch.int64)
        return torch.from_numpy(self._labels.take(indices))

    def __len__(self):
        return len(self.indices)

    def __setitem__(self, name, values):
        if not isinstance(values, torch.Tensor):
            raise TypeError(
                f"{name!r} must be a tensor with one entry a row, got {type(values).__name__}: "
                "pass torch.as_tensor(...) of it."
            )
        if len(values) != len(self):
            raise ValueError(
                f"{name!r} has {len(values)} entries for {len(self)} rows: pass one a row."
            )
        self.columns[name] = values

    def __getitem__(self, key):
        if isinstance(key, str):
            return _column(self.columns, key)
        key = np.array([key])
        return self.take_X(key)[0], self._take_y(key)[0]

    def take_X(self, positions):
        """Float32 tensor of the rows at these positions, of shape (n_positions, ...)."""
        return take_rows(self.source, self.indices[positions])

    def batch(self, positions, device="cpu", X=None):
        """The rows at these positions (an int64 tensor); X, where it has been taken already."""
        if X is None:
            X = self.take_X(positions.numpy()).to(device)
        home = _device_of(self.source)
        if home == _HOST:
            y, columns = self._take_y(positions.numpy()), self.columns
        else:
            positions = positions.to(home)
            y = self._at(home, None).index_select(0, positions)
            columns = {name: self._at(home, name) for name in self.columns}
        # index_select takes a quarter of the time of indexing with brackets.
        taken = {k: v.index_select(0, positions).to(device) for k, v in columns.items()}
        return Batch(X, y.to(device), taken)

    def _at(self, home, name):
        """A column, or for None the labels, where the data are; moved when first asked for."""
        values = self._labels if name is None else self.columns[name]
        held, moved = self._moved.get(name, (None, None))
        if moved is None or held is not values:
            moved = (self.y if name is None else values).to(home)
            self._moved[name] = values, moved
        return moved

    def select(self, positions):
        """The rows at these positions (an int64 tensor), as rows of their own."""
        selected = Rows(self.source, self._labels, self.indices[positions.numpy()])
        selected.columns = {name: values[positions] for name, values in self.columns.items()}
        return selected

    def shuffled(self, batch_size):
        """Positions of all rows in a random order, batch by batch."""
        return shuffled_batches(len(self), batch_size)

    def next_positions(self, batch_size):
        """Positions of the next batch of an endless series, shuffled anew after each pass."""
        positions = next(self._order, None)
        if positions is None:
            shuffled = drawn_batches if len(self) > MANY else shuffled_batches
            self._order = iter(shuffled(len(self), batch_size))
            positions = next(self._order)
        return positions

    def batches(self, batch_size, device="cpu"):
        """Batches of all rows in order."""
        for positions in split_evenly(torch.arange(len(self)), batch_size):
            yield self.batch(positions, device)

    def at_once(self, most):
        """How many rows to take at once, at most: fewer than `most` if a row has many values.

        What a network makes of an image on its way is many times as large as the image.
        """
        n_values = self.take_X([0]).numel() if len(self) else 1
        return max(1, min(most, 2**20 // max(1, n_values)))

    def has_class(self, n_classes):
        """Mask of the classes that a row has, tensor of shape (n_classes,)."""
        found = torch.zeros(n_classes, dtype=torch.bool)
        for start in range(0, len(self), MANY):
            found |= (
                torch.bincount(self._take_y(slice(start, start + MANY)), minlength=n_classes) > 0
            )
            if found.all():  # as a rule in the first block
                break
        return found

    def statistics(self, max_rows=None):
        """Mean, standard deviation, minimum and maximum of each feature, or channel of images.

        Parameters
        ----------
        max_rows : int, default=None
            Use at most so many rows, evenly spaced.

        Returns
        -------
        mean, std, low, high : tensor, dtype float32
            Of a shape that broadcasts against a row; see :func:`feature_statistics`.
        """
        n = len(self) if max_rows is None else min(len(self), max_rows)
        positions = torch.linspace(0, len(self) - 1, n).round().long()
        chunks = split_evenly(positions, self.at_once(1024))
        statistics = feature_statistics(
            self.take_X(chunk.numpy()).cpu().numpy() for chunk in chunks
        )
        # Per feature or channel: in a shape that broadcasts against a row.
        shape = (-1, *[1] * (self.take_X([0]).ndim - 2))
        return [torch.as_tensor(s, dtype=torch.float32).reshape(shape) for s in statistics]


def take(X, indices):
    """Some rows of a data set, as a data set: what an estimator's `fit` would be given.

    Rows of a torch Dataset or a memory map are not read before they are needed.
    """
    if isinstance(X, Dataset):
        return Subset(X, indices)
    if is_memory_mapped(X):
        return Rows(X, indices=np.asarray(indices))
    # scikit-learn's looks at each index by itself.
    return X[indices] if isinstance(X, np.ndarray) else _safe_indexing(X, indices)


def on_device(source, device):
    """All rows of a data set as one float32 tensor on a device, to take batches from there."""
    if isinstance(source, torch.Tensor):
        return source.to(device)
    rows = Rows(source)
    X = torch.empty(len(rows), *rows.take_X([0]).shape[1:], device=device)
    # In blocks: beside the tensor there is no second copy of all rows.
    for positions in split_evenly(np.arange(len(rows)), rows.at_once(len(rows))):
        X[positions[0] : positions[-1] + 1] = rows.take_X(positions)
    return X


def take_rows(source, indices):
    """Float32 tensor of some rows of a data set, where that is; always a copy."""
    while type(source) in (Rows, Subset):
        held = source.source if isinstance(source, Rows) else source.dataset
        source, indices = held, np.asarray(source.indices)[indices]
    if isinstance(source, torch.Tensor):
        return source.index_select(0, torch.as_tensor(indices).to(source.device))
    if isinstance(source, np.ndarray):
        # Advanced indexing copies: a read-only memory map gives a writable batch.
        return torch.from_numpy(source[indices].astype(np.float32, copy=False))
    indices = [int(i) for i in indices]
    if hasattr(source, "__getitems__"):
        samples = source.__getitems__(indices)
    else:
        samples = [source[i] for i in indices]
    return torch.stack([torch.as_tensor(x, dtype=torch.float32) for x, *_ in samples])


def _device_of(source):
    return source.device if isinstance(source, torch.Tensor) else _HOST


def _are_arrays(X, y):
    return isinstance(X, np.ndarray) and isinstance(y, np.ndarray)


def is_memory_mapped(X):
    """Whether X is an array that lies in a file."""
    while isinstance(X, np.ndarray):
        if isinstance(X, np.memmap):
            return True
        X = X.base
    return False


def feature_statistics(blocks):
    """Mean, standard deviation, minimum and maximum along axis 1, in one pass over blocks of rows.

    Parameters
    ----------
    blocks : iterable of ndarray of shape (n_rows, n, ...)
        The data; `n` counts the features of a table, or the channels of an image.

    Returns
    -------
    mean, std, low, high : ndarray of shape (n,), dtype float64
        In the units of the data; ``std`` is that of the population.
    """
    count, mean, square, low, high = 0, 0.0, 0.0, np.inf, -np.inf
    for block in blocks:
        axes = (0, *range(2, block.ndim))
        block_count = block.size // block.shape[1]
        block_mean = block.mean(axis=axes, dtype=np.float64)
        # A mean of whole numbers is none itself, and what is less would wrap around in bytes.
        exact = np.result_type(block.dtype, np.float32)
        deviation = block - block_mean.reshape(-1, *[1] * (block.ndim - 2)).astype(exact)
        # Chan, Golub & LeVeque (1979): squares about the joint mean, without a second pass.
        total = count + block_count
        shift = block_mean - mean
        square = square + np.square(deviation, dtype=np.float64).sum(axis=axes)
        square = square + shift**2 * (count * block_count / total)
        mean = mean + shift * (block_count / total)
        low = np.minimum(low, block.min(axis=axes))
        high = np.maximum(high, block.max(axis=axes))
        count = total
    return mean, np.sqrt(square / count), low, high
