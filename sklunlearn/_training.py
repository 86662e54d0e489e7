"""Training a network, or a pipeline that ends in one."""

import contextlib
import pickle
import types
import warnings

import cloudpickle
import numpy as np
import torch
from joblib.hashing import NumpyHasher
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils import check_array
from torch.utils.data import Dataset

from sklunlearn._checkpoints import check_repeatable, fit_stage
from sklunlearn._data import Rows
from sklunlearn._devices import same_in_all_processes, seed_of_all_processes
from sklunlearn._lean import lean_steps
from sklunlearn._nets import (
    bytes_of,
    check_finite_outputs,
    check_finite_weights,
    check_outputs,
    stopped_by_callback,
)
from sklunlearn._seeding import isolated_random_state
from sklunlearn._wrapped import unwrap, unwrapped
from sklunlearn.networks import default_net
from sklunlearn.trainable import one_value_allowed

__all__ = [
    "check_can_start_afresh",
    "hash_of",
    "split_pipeline",
    "train_cached",
    "train_estimator",
    "train_further",
    "transform",
    "unfrozen",
]


# To see whether a network gives numbers at all.
_ROWS_TO_TRY = 64


def train_estimator(estimator, X, y, classes, seed, max_epochs=None):
    """Train a skorch classifier or a Pipeline that ends in one; None: a default network.

    Parameters
    ----------
    estimator : skorch.NeuralNetClassifier, sklearn.pipeline.Pipeline or None
        Trained in place.
    X : array-like or torch Dataset
        Training data.
    y : ndarray of shape (n_samples,), dtype int64
        Class indices; not all classes need to occur.
    classes : ndarray of shape (n_classes,)
        The labels of the network's outputs.
    seed : int or None
        Seed of initial weights, shuffling and everything else.
    max_epochs : int, default=None
        Epochs to train. None: those of the net.

    Returns
    -------
    fitted : skorch.NeuralNetClassifier or sklearn.pipeline.Pipeline
    """
    check_repeatable(seed)
    if estimator is not None:
        seed = seed_of_all_processes(split_pipeline(estimator)[1], seed)
    with isolated_random_state(seed):
        if estimator is None:
            estimator = default_net(X, len(classes))
        preprocessing, net = split_pipeline(estimator)
        if preprocessing is not None:
            X = check_transformed(preprocessing.fit_transform(_in_memory(X), y))
        _train_net(net, X, y, classes, max_epochs=max_epochs)
    if preprocessing is None:
        return net
    # The steps were fitted in `preprocessing`, which with a memory holds clones of the originals.
    return Pipeline([*preprocessing.steps, estimator.steps[-1]], memory=estimator.memory)


def train_further(net, X, y, classes, seed, max_epochs):
    """A net that goes on from the weights of a trained one, with an optimizer of its own.

    Parameters
    ----------
    net : skorch.NeuralNetClassifier
        Trained; it is not changed.
    X, y, classes, seed, max_epochs
        As in `train_estimator`; X as the network takes it.

    Returns
    -------
    new : skorch.NeuralNetClassifier
    """
    new = clone(net)
    with isolated_random_state(seed):
        _train_net(new, X, y, classes, start=net, max_epochs=max_epochs)
    return new


class _Hasher(NumpyHasher):
    """As `joblib.hash`, which gives equal torch tensors different hashes."""

    def save(self, obj):
        if isinstance(obj, torch.Tensor):
            shape = tuple(obj.shape)
            obj = (type(obj), str(obj.dtype), obj.requires_grad, shape, bytes_of(obj))
        super().save(obj)

    def save_global(self, obj, **kwargs):
        """As joblib; a class or function that cannot be imported by its name, by its value."""
        try:
            super().save_global(obj, **kwargs)
        except pickle.PicklingError:
            self.save(cloudpickle.dumps(obj))

    dispatch = {**NumpyHasher.dispatch, type: save_global, types.FunctionType: save_global}


def hash_of(estimator):
    """Hash of an estimator that is not fitted: equal for equal parameters."""
    return _Hasher("md5").hash(estimator)


def train_cached(memory, estimator, *arguments):
    """As `train_estimator`, from the cache where this has been trained before."""
    train = memory.cache(_train_keyed, ignore=["estimator"])
    return train(estimator, *arguments, key=hash_of(estimator))


def _train_keyed(estimator, X, y, classes, seed, *, key):
    return train_estimator(estimator, X, y, classes, seed)


def _train_net(net, X, y, classes, start=None, max_epochs=None):
    """As ``net.fit``, but the user's KeyboardInterrupt reaches the caller.

    With `start`, a trained net of the same kind, from the weights of that.
    """
    # Rows converts what is not float32 batch by batch.
    by_batch = isinstance(X, Dataset) or X.dtype != np.float32
    data = Rows(X, y) if by_batch else X
    net.initialize()
    if start is not None:
        for name in net._modules:
            module = unwrapped(net, getattr(net, f"{name}_"))
            module.load_state_dict(getattr(start, f"{name}_").state_dict())
    check_outputs(net, Rows(X).take_X(np.arange(1)), classes)
    net.notify("on_train_begin", X=data, y=y)
    with warnings.catch_warnings(), stopped_by_callback(), contextlib.ExitStack() as stack:
        # How many rows the last batch has is not the user's choice: a request takes some away.
        stack.enter_context(lean_steps(net))
        for name in net._modules:
            stack.enter_context(one_value_allowed(getattr(net, f"{name}_")))
        # Of read-only rows, as memory maps have: nothing writes to them.
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        stage = stack.enter_context(fit_stage(net, X, y, max_epochs))
        if not stage.ended:
            net.fit_loop(data, y, epochs=stage.n_left)
    stage.end()
    net.notify("on_train_end", X=data, y=y)
    unwrap(net)
    same_in_all_processes(net)
    # The net has seen indices; whoever is given it alone should know what they stand for.
    net.classes_inferred_ = classes
    check_finite_weights(net, "Training")
    some = np.arange(min(len(data), _ROWS_TO_TRY))
    check_finite_outputs(net, Rows(X, indices=some), "Training")


def split_pipeline(estimator):
    """Preprocessing (a Pipeline, or None) and network of an estimator."""
    if not isinstance(estimator, Pipeline):
        return None, estimator
    return (estimator[:-1] if len(estimator) > 1 else None), estimator[-1]


def unfrozen(estimator):
    """The estimator itself, or what a FrozenEstimator holds."""
    return estimator.estimator if isinstance(estimator, FrozenEstimator) else estimator


def check_can_start_afresh(estimator):
    """Refuse a net whose initial weights are gone: skorch trains a module instance in place."""
    net = split_pipeline(unfrozen(estimator))[1]
    is_instance = isinstance(getattr(net, "module", None), torch.nn.Module)
    if is_instance and net.initialized_ and not net.get_params_for("module"):
        raise ValueError(
            f"The net was made from an instance of {type(net.module).__name__} and has been "
            "trained, so that its initial weights are gone and there is nothing to start "
            "again from. Make the net from the module's class, "
            "NeuralNetClassifier(Module, module__...=...)."
        )


def transform(preprocessing, X):
    """What the network is given: X, or X after the preprocessing, as float32."""
    return X if preprocessing is None else check_transformed(preprocessing.transform(_in_memory(X)))


def _in_memory(X):
    """X as the steps of a Pipeline take it: rows of a memory map are read."""
    return X.source[X.indices] if isinstance(X, Rows) else X


def check_transformed(X):
    """Float32 array of what the steps before the network give, or a clear error."""
    return check_array(X, dtype=np.float32, allow_nd=True, input_name="X after preprocessing")
