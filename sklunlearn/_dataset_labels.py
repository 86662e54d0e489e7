"""Labels that a torch Dataset gives with its rows."""

import numpy as np
import torch
from torch.utils.data import Subset

__all__ = ["labels_of"]

# So many rows are read to see whether the labels that a data set holds are those of its rows.
_N_PROBES = 8


def labels_of(dataset):
    """Labels of the rows of a torch Dataset, as a list.

    Where the data set holds them as `targets`, as those of torchvision do, only a few rows are
    read: a `__getitem__` or a transform may give out other labels than those.
    """
    if type(dataset) is Subset:
        labels = labels_of(dataset.dataset)
        return [labels[i] for i in dataset.indices]
    n = len(dataset)
    targets = getattr(dataset, "targets", None)
    if targets is not None and len(targets) == n:
        probes = range(0, n, max(1, n // _N_PROBES))
        if all(_label(dataset, i) == _plain(targets[i]) for i in probes):
            return [_plain(target) for target in targets]
    return [_label(dataset, i) for i in range(n)]


def _label(dataset, i):
    """Label of a row of a torch Dataset, or a ValueError that says why it has none."""
    row = dataset[i]
    if not isinstance(row, (tuple, list)) or len(row) < 2:
        raise ValueError(
            f"A row of {type(dataset).__name__} is not a pair (x, y): let it give the label too, "
            "or pass `y`."
        )
    if np.ndim(row[1]):
        raise ValueError(
            f"A row of {type(dataset).__name__} has a label of shape {tuple(np.shape(row[1]))}: "
            "let it give one class label, or pass `y` with one label a row."
        )
    return _plain(row[1])


def _plain(label):
    return label.item() if isinstance(label, (torch.Tensor, np.generic)) else label
