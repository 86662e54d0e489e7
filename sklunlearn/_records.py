"""Audit records: what a request was, without its data."""

import functools

import numpy as np
import sklearn
import skorch
import torch

from sklunlearn import __version__
from sklunlearn._nets import weights_digest
from sklunlearn._plain import is_plain

__all__ = ["make_record"]


def make_record(unlearner, requested_at, forget, start, drift, request=None):
    """Record of the request that an unlearner has just carried out.

    Parameters
    ----------
    unlearner : BaseUnlearner
        With its new `net_` and `unlearning_time_`.
    requested_at : datetime.datetime
        When the request came.
    forget : ndarray of shape (n_samples,), dtype bool
        Which rows were forgotten.
    start : skorch.NeuralNetClassifier
        The network before.
    drift : dict of str to float, int or None
        How far the network is from the fitted one.
    request : ForgetRequest, default=None
        Who asked for what, and why.

    Returns
    -------
    record : dict
        Of strings and numbers, and dictionaries of them; "request" only if there is one.
    """
    parameters = unlearner.get_params(deep=False)
    del parameters["estimator"]  # the digests tell which network it was
    record = {
        "requested_at": requested_at.isoformat(timespec="seconds"),
        "method": type(unlearner).__name__,
        "parameters": {name: _describe(value) for name, value in parameters.items()},
        "n_forget": int(forget.sum()),
        "n_retain": int((~forget).sum()),
        "weights_before": weights_digest(start),
        "weights_after": weights_digest(unlearner.net_),
        "drift": drift,
        "seconds": unlearner.unlearning_time_,
        "versions": {
            "sklunlearn": __version__,
            "scikit-learn": sklearn.__version__,
            "skorch": skorch.__version__,
            "torch": str(torch.__version__),
        },
    }
    if request is not None:
        record["request"] = request.to_dict()
    return record


def _describe(value, nested=False):
    """What a record says of a parameter. Never data, which a parameter may hold too."""
    if isinstance(value, (np.number, np.bool_)):  # as numpy.logspace gives for a grid
        return repr(value.item())
    if hasattr(value, "shape"):
        return f"{type(value).__name__} of shape {tuple(value.shape)}"
    if isinstance(value, (list, set, frozenset)) and nested:  # rows or labels, for all one knows
        return f"{type(value).__name__} of {len(value)} entries"
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            return f"dict of {len(value)} entries"
        return f"{{{', '.join(f'{k!r}: {_described(v)}' for k, v in value.items())}}}"
    if isinstance(value, functools.partial):
        given = [
            *map(_described, value.args),
            *(f"{k}={_described(v)}" for k, v in value.keywords.items()),
        ]
        return f"partial({', '.join([_described(value.func), *given])})"
    if hasattr(value, "get_params") and not isinstance(value, type):
        # An estimator within, the member of a composition; its own network the digests tell.
        params = {k: v for k, v in value.get_params(deep=False).items() if k != "estimator"}
        told = ", ".join(f"{name}={_described(v)}" for name, v in params.items())
        return f"{type(value).__name__}({told})"
    if type(value).__module__.startswith("sklunlearn."):  # as a saliency mask
        public = {name: v for name, v in vars(value).items() if not name.startswith("_")}
        told = ", ".join(f"{name}={_described(v)}" for name, v in public.items())
        return f"{type(value).__name__}({told})"
    if isinstance(value, (tuple, list)) and not is_plain(value):
        return f"[{', '.join(_described(entry) for entry in value)}]"
    if is_plain(value) or isinstance(value, (np.random.RandomState, torch.device, torch.dtype)):
        return repr(value)
    # Of a function the name; of anything else the class, as what is printed may be what it holds.
    named = value if hasattr(value, "__qualname__") else type(value)
    return f"{named.__module__}.{named.__qualname__}"


def _described(value):
    return _describe(value, nested=True)
