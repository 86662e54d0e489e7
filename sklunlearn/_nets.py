"""What the unlearners ask of a skorch net, beyond its own methods."""

import contextlib
import copy
import dis
import hashlib
import math
from collections import OrderedDict

import numpy as np
import torch
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from skorch import NeuralNetBinaryClassifier, NeuralNetClassifier
from skorch.callbacks import Callback
from skorch.dataset import Dataset
from skorch.history import History
from torch.utils.data import DataLoader

from sklunlearn._devices import device_of, outputs_in_evaluation
from sklunlearn._plain import is_plain
from sklunlearn.exceptions import DivergenceError

__all__ = [
    "bytes_of",
    "check_estimator_type",
    "check_finite_outputs",
    "check_finite_weights",
    "check_outputs",
    "copy_net",
    "cross_entropy_of",
    "forward",
    "logits_of",
    "probabilities_of",
    "resume_training",
    "row_losses",
    "row_probabilities",
    "shallow_copy",
    "stopped_by_callback",
    "strip_net",
    "weights_digest",
]


def check_estimator_type(estimator):
    """Raise a TypeError unless `estimator` is a skorch classifier or a Pipeline ending in one.

    A FrozenEstimator of either is unwrapped first.
    """
    inner = estimator.estimator if isinstance(estimator, FrozenEstimator) else estimator
    where = ""
    if isinstance(inner, Pipeline):
        inner = inner.steps[-1][1]
        where = "a Pipeline that ends in "
        if isinstance(inner, FrozenEstimator):
            raise TypeError(
                "`estimator` is a Pipeline that ends in a FrozenEstimator: freeze the whole "
                "pipeline, FrozenEstimator(pipeline), so that its transformers stay as they are."
            )
    if isinstance(inner, NeuralNetClassifier):
        return
    advice = "wrap your torch module in skorch.NeuralNetClassifier(module, ...)"
    if isinstance(inner, NeuralNetBinaryClassifier):
        advice = "give the module two outputs and use NeuralNetClassifier with CrossEntropyLoss"
    raise TypeError(
        "`estimator` must be a skorch.NeuralNetClassifier, a Pipeline that ends in one, a "
        f"FrozenEstimator of either, or None; got {where}{inner!r}. To use it, {advice}."
    )


def shallow_copy(obj):
    """New object with the same attributes; unlike copy.copy it does not go through pickling."""
    new = object.__new__(type(obj))
    vars(new).update(vars(obj))
    return new


def copy_net(net):
    """Net with modules of its own, no history, no callbacks and no optimizer state.

    `copy.deepcopy` would pickle the weights to a file and read them back.
    """
    new = shallow_copy(net)
    memo = {}  # one for all, so that what modules share they go on sharing
    for name in net._modules:
        module = getattr(net, f"{name}_")
        if isinstance(module, torch.nn.Module):
            memo.update(_empty_containers(module))
        vars(new)[f"{name}_"] = copy.deepcopy(module, memo)
    for name in net._optimizers:
        vars(new)[f"{name}_"] = None
    vars(new).update(callbacks_=[], history_=History())
    return new


def _empty_containers(module):
    """Copies of the empty dictionaries of all layers, by identity, as copy.deepcopy's memo.

    Each layer has about ten, for hooks; `copy.deepcopy` spends most of its time on them.
    """
    return {
        id(value): type(value)()
        for layer in module.modules()
        for value in vars(layer).values()
        if type(value) in (dict, OrderedDict) and not value
    }


def resume_training(run, net):
    """Net with the modules and the history of `run`, but the training set-up of `net`."""
    new = shallow_copy(net)
    for name in run._modules:
        module = getattr(run, f"{name}_")
        module.zero_grad()  # the last gradient is as large as the weights, and tells of rows
        vars(new)[f"{name}_"] = module
    # Callbacks have state: `net` keeps its own.
    vars(new).update(history_=run.history_, callbacks=copy.deepcopy(net.callbacks))
    new.initialize_callbacks()
    new.initialize_optimizer()
    return new


def strip_net(net):
    """Net that predicts as `net` does, without anything that only its training needed."""
    new = copy_net(net)
    parts = "callbacks", "dataset", "iterator_train", "iterator_valid", *net._optimizers
    of_training = tuple(f"{part}__" for part in parts)
    for name, value in list(vars(new).items()):
        # What loads the rows to predict may have been given rows, too.
        kept = name.startswith("iterator_valid__") and is_plain(value)
        if name.startswith(of_training) and not kept:
            del vars(new)[name]
    # A function that makes one may refer to rows, as a sampler with their weights does.
    plain = {"dataset": Dataset, "iterator_train": DataLoader, "iterator_valid": DataLoader}
    plain |= dict.fromkeys(net._optimizers, torch.optim.Adam)
    vars(new).update({k: v for k, v in plain.items() if not isinstance(getattr(net, k), type)})
    vars(new).update(callbacks=None, train_split=None)
    for name in net._modules:
        # What a module was made from, prototypes or weights to begin with, it no longer needs.
        for key in [key for key in vars(new) if key.startswith(f"{name}__")]:
            if not is_plain(vars(new)[key]):
                del vars(new)[key]
        # An instance holds weights, and a function that makes one whatever it refers to.
        if not isinstance(getattr(net, name), type):
            vars(new)[name] = getattr(new, f"{name}_")
    for name in net._criteria:
        loss = getattr(net, f"{name}_")
        loss = getattr(loss, "_orig_mod", loss)  # of torch.compile
        # All that it is asked for is whether the output has logits; weights of rows or classes
        # are of the training.
        known = torch.nn.BCELoss, torch.nn.BCEWithLogitsLoss, torch.nn.CrossEntropyLoss
        plain = next((each for each in known if isinstance(loss, each)), torch.nn.NLLLoss)
        for parameter in [key for key in vars(new) if key.startswith(f"{name}__")]:
            del vars(new)[parameter]
        vars(new).update({name: plain, f"{name}_": plain()})
    return new


@contextlib.contextmanager
def stopped_by_callback():
    """Context that a skorch callback can leave early, as skorch's EarlyStopping does.

    skorch's callbacks stop a training by raising KeyboardInterrupt, with a statement of theirs.
    One that the user raised comes from anywhere else, and goes on to the caller.
    """
    try:
        yield
    except KeyboardInterrupt as error:
        innermost = error.__traceback__
        while innermost.tb_next is not None:
            innermost = innermost.tb_next
        frame = innermost.tb_frame
        in_callback = isinstance(frame.f_locals.get("self"), Callback)
        by_statement = frame.f_code.co_code[innermost.tb_lasti] == dis.opmap["RAISE_VARARGS"]
        if not (in_callback and by_statement):
            raise


def logits_of(net, output):
    """Logits from the output of `net.infer`, up to a constant for each row."""
    output = output[0] if isinstance(output, tuple) else output
    if isinstance(net.criterion_, torch.nn.CrossEntropyLoss):
        return output
    # Whatever else the module gives out, skorch knows how to make probabilities of it.
    probabilities = probabilities_of(net, output)
    return torch.log(probabilities + torch.finfo(probabilities.dtype).eps)


def probabilities_of(net, output):
    """Class probabilities, of shape (n_samples, n_classes), from the output of `net.infer`."""
    output = output[0] if isinstance(output, tuple) else output
    return net._get_predict_nonlinearity()(output)


def cross_entropy_of(net, output, y):
    """Cross-entropy in nats of each row, of shape (n_samples,), from the output of `net.infer`.

    What :func:`sklunlearn.metrics.cross_entropy_per_row` makes of the probabilities.
    """
    output = output[0] if isinstance(output, tuple) else output
    # In double precision: that of a row which the network is sure of would round to 0.
    if isinstance(net.criterion_, torch.nn.CrossEntropyLoss):
        logits = output.double()
    else:
        probabilities = probabilities_of(net, output).double()
        logits = torch.log(probabilities.clamp_min(torch.finfo(torch.float64).tiny))
    others = logits.scatter(1, y[:, None], -math.inf).logsumexp(dim=1)
    margin = logits.gather(1, y[:, None])[:, 0] - others
    return torch.logaddexp(torch.zeros_like(margin), -margin)


def row_probabilities(net, output, batch):
    """Class probabilities of a batch, as :func:`forward` calls it."""
    return probabilities_of(net, output)


def row_losses(net, output, batch):
    """Cross-entropies of a batch, as :func:`forward` calls it."""
    return cross_entropy_of(net, output, batch.y)


def forward(net, rows, function):
    """``function(net, output, batch)`` for all rows, in evaluation mode, as one ndarray."""
    results = []
    for batch in rows.batches(rows.at_once(1024), device_of(net)):
        output = outputs_in_evaluation(net, batch.X)
        with torch.no_grad():
            results.append(function(net, output, batch).cpu().numpy())
    return np.concatenate(results)


def check_outputs(net, X, classes):
    """Raise a ValueError unless `net` gives one logit a class for a row of X."""
    try:
        output = outputs_in_evaluation(net, X[:1].to(device_of(net)))
    except RuntimeError as error:  # what torch raises where shapes do not match
        raise ValueError(
            f"The network fails on one row, of shape {tuple(X.shape[1:])}: {error}. It must take "
            "as many inputs as the data have features or channels."
        ) from error
    output = output[0] if isinstance(output, tuple) else output
    shape = tuple(getattr(output, "shape", ()))
    if shape != (1, len(classes)):
        raise ValueError(
            f"The network gives output of shape {shape} for one row, expected (1, {len(classes)}): "
            f"one logit for each of the {len(classes)} classes {classes.tolist()}. Change its "
            "output layer, or name all its classes in the order of its outputs with "
            "NeuralNetClassifier(classes=...)."
        )
    total = probabilities_of(net, output).double().sum().item()
    if not abs(total - 1) < 1e-3:
        raise ValueError(
            f"What the net makes of its output for one row adds up to {total:.4g}, not to a "
            "probability of 1. Set NeuralNetClassifier(predict_nonlinearity=...) to what turns the "
            "output into probabilities, or use criterion=torch.nn.CrossEntropyLoss for logits."
        )


def check_finite_weights(net, doing):
    """Raise a DivergenceError if a parameter or buffer of `net` is not finite."""
    for name in net._modules:
        for key, value in getattr(net, f"{name}_").state_dict().items():
            if not isinstance(value, torch.Tensor):  # of get_extra_state
                continue
            if not value.is_floating_point() or not value.numel():
                continue
            # The extremes tell as much as a mask of all values would, without its memory.
            if not all(math.isfinite(end) for end in torch.aminmax(value)):
                raise DivergenceError(
                    f"{doing} diverged: {key} is no longer finite. Lower `lr`, or bound the "
                    "gradient."
                )


def check_finite_outputs(net, rows, doing):
    """Raise a DivergenceError if a net with finite weights gives numbers that are not finite."""
    probabilities = forward(net, rows, row_probabilities)
    if not np.isfinite(probabilities).all():
        raise DivergenceError(
            f"{doing} diverged: the weights are so large that the network's output is not finite. "
            "Scale the data, with a StandardScaler in a Pipeline for instance, or lower `lr`."
        )


def weights_digest(net):
    """SHA-256 digest, in hexadecimal, of the parameters and buffers of a net."""
    digest = hashlib.sha256()
    for name in net._modules:
        for key, value in getattr(net, f"{name}_").state_dict().items():
            digest.update(key.encode())
            if isinstance(value, torch.Tensor):  # else what get_extra_state gives
                digest.update(bytes_of(value).data)
    return digest.hexdigest()


def bytes_of(tensor):
    """The values of a tensor of any type, as an ndarray of dtype uint8."""
    if not tensor.numel():  # torch cannot view one that NumPy has made as bytes
        return np.empty(0, dtype=np.uint8)
    # NumPy has no bfloat16.
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
