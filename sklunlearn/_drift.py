"""How far a stream of requests has taken a network from the one that was fitted."""

import math
from numbers import Real

import numpy as np
import torch
from sklearn.utils._param_validation import Interval, validate_parameter_constraints

from sklunlearn._data import Rows, take
from sklunlearn._nets import forward, logits_of
from sklunlearn._training import transform
from sklunlearn.exceptions import RetainDropError

__all__ = ["check_max_retain_drop", "check_retain_drop", "distance_between"]

# Of the retain rows at most so many are looked at, drawn at random, so that a request for one row
# does not cost a pass over all of them.
_MAX_ROWS = 2048


def distance_between(net, original):
    """L2 distance of the parameters of two nets, and that divided by the norm of the original's.

    Parameters
    ----------
    net, original : skorch.NeuralNetClassifier
        With parameters of the same names and shapes.

    Returns
    -------
    distances : dict
        "distance" and "relative_distance": floats, or None where the parameters do not correspond,
        as those of one network and of an ensemble.
    """
    new, old = _parameters(net), _parameters(original)
    absolute = relative = None
    if {k: v.shape for k, v in new.items()} == {k: v.shape for k, v in old.items()}:
        square = sum(_square(value - old[name].to(value.device)) for name, value in new.items())
        norm = math.sqrt(sum(map(_square, old.values())))
        absolute = math.sqrt(square)
        relative = absolute / norm if norm > 0 else None
    return {"distance": absolute, "relative_distance": relative}


def check_max_retain_drop(max_retain_drop, retain):
    """Raise an error unless it is None, or a share and there are rows to retain."""
    validate_parameter_constraints(
        {"max_retain_drop": [Interval(Real, 0, 1, closed="both"), None]},
        {"max_retain_drop": max_retain_drop},
        caller_name="unlearn",
    )
    if max_retain_drop is not None and not retain.any():
        raise ValueError(
            "`max_retain_drop` is about the accuracy on retain rows, but `forget` marks all rows: "
            "mark fewer, or leave it out."
        )


def check_retain_drop(models, X, y, retain, max_retain_drop):
    """Accuracies on retain rows, or a RetainDropError where the last is too low.

    Parameters
    ----------
    models : dict of str to pair
        By "fitted", "before" and "after": the preprocessing (or None) and the net.
    X, y : data set and ndarray of shape (n_samples,), dtype int64
        Rows before any preprocessing, and class indices.
    retain : ndarray of shape (n_samples,), dtype bool
        Which of them are retained.
    max_retain_drop : float
        How far "after" may be below the higher one of the others.

    Returns
    -------
    accuracies : dict
        Plain numbers, for the record.
    """
    sample = np.flatnonzero(retain)
    if len(sample) > _MAX_ROWS:
        # The same rows for the same request. They train nothing, so no seed is asked for.
        sample = np.random.default_rng(0).choice(sample, _MAX_ROWS, replace=False, shuffle=False)
    X, y = take(X, sample), y[sample]
    accuracies, known = {}, {}
    for when, (steps, net) in models.items():
        if id(net) not in known:  # the fitted one is often the one before the request
            known[id(net)] = _accuracy(steps, net, X, y)
        accuracies[when] = known[id(net)]
    reference = max(("before", "fitted"), key=accuracies.get)
    drop = accuracies[reference] - accuracies["after"]
    # With room for rounding: 0.8 - 0.7 is more than 0.1.
    if drop > max_retain_drop + 1e-9:
        of = {"before": "the model before it", "fitted": "the fitted model"}[reference]
        raise RetainDropError(
            f"The request would leave an accuracy of {accuracies['after']:.4f} on {len(y)} retain "
            f"rows, {drop:.4f} below the {accuracies[reference]:.4f} of {of}: more than "
            f"max_retain_drop={max_retain_drop}. The model is as it was. For a smaller change, "
            "lower `lr` or `max_epochs`; if earlier requests have used up what is allowed, retrain "
            "on the rows that are held, with `fit` or RetrainUnlearner; SISAUnlearner serves a "
            "stream of requests by retraining only a part."
        )
    told = {f"retain_accuracy_{when}": accuracy for when, accuracy in accuracies.items()}
    return {**told, "n_rows": len(y), "max_retain_drop": float(max_retain_drop)}


def _accuracy(steps, net, X, y):
    def is_correct(net, output, batch):
        return logits_of(net, output).argmax(dim=1) == batch.y

    return float(np.mean(forward(net, Rows(transform(steps, X), y), is_correct)))


def _parameters(net):
    return {
        f"{module}.{name}": parameter.detach()
        for module in net._modules
        for name, parameter in getattr(net, f"{module}_").named_parameters()
    }


def _square(tensor):
    """Sum of the squares; in double precision, as small changes of many weights add up."""
    return float(torch.linalg.vector_norm(tensor, dtype=torch.float64)) ** 2
