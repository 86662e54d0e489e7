"""Input of the unlearners, checked and converted: the one place where this is done."""

import numpy as np
import torch
from sklearn.frozen import FrozenEstimator
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _num_samples, column_or_1d, validate_data
from torch.utils.data import Dataset

from sklunlearn._data import is_memory_mapped
from sklunlearn._dataset_labels import labels_of
from sklunlearn._training import split_pipeline, unfrozen

__all__ = ["check_X", "check_X_y", "encode_labels", "find_classes"]


def check_X(unlearner, X, *, reset):
    """Rows as the unlearner's estimator takes them: a float32 array, unless it is a Pipeline.

    Parameters
    ----------
    unlearner : BaseUnlearner
        With `reset`, it gets the attributes that describe the input.
    X : array-like of shape (n_samples, ...) or torch Dataset
        The rows.
    reset : bool
        Whether this is the data that the rest is compared with.

    Returns
    -------
    X : ndarray of shape (n_samples, ...), dtype float32, or what was passed
        A Dataset, and X for a Pipeline, are returned as they are.
    """
    return _check(unlearner, X, "no_validation", reset)


def check_X_y(unlearner, X, y, *, reset):
    """As `check_X`, and the labels, of shape (n_samples,)."""
    if y is None and isinstance(X, Dataset) and hasattr(X, "__len__"):
        y = labels_of(X)
    X, y = _check(unlearner, X, y, reset)
    y = column_or_1d(y, warn=True)
    if reset or y.dtype.kind not in "biu":  # later on, integers need only be classes
        check_classification_targets(y)
    n_samples = len(X) if isinstance(X, Dataset) else _num_samples(X)
    if len(y) != n_samples:
        raise ValueError(f"`y` has {len(y)} entries for {n_samples} rows of X: pass one a row.")
    return X, y


def _check(unlearner, X, y, reset):
    if isinstance(X, torch.Tensor):
        X = X.detach().cpu()
        X = (X.float() if X.dtype == torch.bfloat16 else X).numpy()  # NumPy has no bfloat16
    if isinstance(y, torch.Tensor):
        y = y.detach().cpu().numpy()
    if reset:
        # Kept, as a parameter may be set to another estimator later.
        steps = split_pipeline(unfrozen(unlearner._base_estimator()))[0]
        unlearner._has_steps = steps is not None
    has_steps = unlearner._has_steps
    if isinstance(X, Dataset):
        if has_steps:
            raise TypeError("A Pipeline takes arrays: pass those instead of a torch Dataset.")
        if not hasattr(X, "__len__") or len(X) == 0:
            raise ValueError(
                f"{type(X).__name__} has no rows that can be taken by their index: pass a torch "
                "Dataset with `__len__` and `__getitem__`, and at least one row."
            )
        shape = tuple(np.shape(X[0][0]))
        if reset:
            unlearner.n_features_in_ = shape[0]
        result = X if isinstance(y, str) else (X, y)
    else:
        # The first step of a Pipeline knows itself what it takes.
        checks = {"skip_check_array": True}
        if not has_steps:
            # What lies in a file may be larger than the memory: it is converted batch by batch.
            as_it_is = is_memory_mapped(X) and X.dtype.kind in "biuf"
            checks = {"dtype": None if as_it_is else np.float32, "allow_nd": True}
        result = validate_data(unlearner, X, y, reset=reset, **checks)
        checked = result[0] if isinstance(result, tuple) else result
        # A list of texts, which only a Pipeline takes, has no shape.
        shape = tuple(getattr(checked, "shape", ()))[1:]
    if reset:
        unlearner._shape = shape
    elif shape != unlearner._shape:
        raise ValueError(
            f"X has rows of shape {shape}, but {type(unlearner).__name__} is expecting rows of "
            f"shape {unlearner._shape}, as in fit."
        )
    return result


def find_classes(estimator, y):
    """Labels in the order of the network's outputs, of shape (n_classes,)."""
    net = split_pipeline(unfrozen(estimator))[1]
    # A frozen net has no `classes_` if its weights were loaded and it never saw labels.
    name = "classes_" if isinstance(estimator, FrozenEstimator) else "classes"
    classes = getattr(net, name, None)
    classes = np.unique(y) if classes is None else np.asarray(classes)
    if len(classes) < 2:
        raise ValueError(f"Unlearning needs at least 2 classes, got 1 class: {classes.tolist()}.")
    return classes


def encode_labels(y, classes):
    """Indices of the labels in `classes`, dtype int64."""
    of_one_kind = y.dtype.kind == classes.dtype.kind and y.dtype.kind in "biu"
    if of_one_kind and np.array_equal(classes, np.arange(len(classes))):
        encoded = y.astype(np.int64, copy=False)
        # As in most data: no array of the size of y is made, which may have 10^8 rows.
        if not len(y) or (0 <= y.min() and y.max() < len(classes)):
            return encoded
        encoded = np.where(encoded < len(classes), encoded, -1)
    elif of_one_kind:
        # Half the time of what follows, and no list of all labels.
        order = classes.argsort()
        place = np.searchsorted(classes, y, sorter=order)
        encoded = order[np.minimum(place, len(order) - 1)]
        encoded[classes[encoded] != y] = -1
    else:
        # By Python's values: NumPy would call the label '3' and the class 3 equal.
        index = {label: i for i, label in enumerate(classes.tolist())}
        encoded = np.array([index.get(label, -1) for label in y.tolist()], dtype=np.int64)
    if (encoded < 0).any():
        unknown = sorted(set(y[encoded < 0].tolist()), key=str)
        raise ValueError(
            f"`y` holds the labels {unknown}, which are not classes of the network: "
            f"{classes.tolist()}. Give the labels as the network was trained with them."
        )
    return encoded
