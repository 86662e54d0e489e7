"""What a training run starts from, as a digest: equal for equal runs, also in other processes."""

import functools
import hashlib
import json
import types
from inspect import signature

import numpy as np
import sklearn
import skorch
import torch
from skorch.callbacks import Callback
from torch.utils.data import Dataset, Subset, TensorDataset

from sklunlearn import __version__
from sklunlearn._data import Rows
from sklunlearn._devices import device_of
from sklunlearn._nets import bytes_of, weights_digest
from sklunlearn._run_state import random_states

__all__ = ["key_of_run"]

_BLOCK = 2**24  # bytes of data at once, as a memory map may be larger than the memory
_VERSIONS = [__version__, sklearn.__version__, skorch.__version__, torch.__version__]
_PLAIN = bool, int, float, str, tuple
_PRINTED = bool, int, float, complex, str, bytes, range, slice, torch.dtype, torch.device, np.dtype
# These change what is shown, or where something is kept, but not what comes out. Where rows that
# are read anew in each step would come out otherwise if read once, the key tells it of the rows.
_WITHOUT_EFFECT = {"data_on_device", "estimator", "memory", "verbose"}


def key_of_run(net, data, **settings):
    """Digest of weights, data, parameters, random states and versions.

    Parameters
    ----------
    net : skorch.NeuralNetClassifier
        As it is before the run.
    data : tuple of ndarray, Rows or torch Dataset
        What it is trained on. Of other torch Datasets than those of this package and TensorDataset,
        type and length count.
    **settings
        Whatever else makes a difference.

    Returns
    -------
    key : str
        32 hexadecimal digits.
    """
    described = {
        "versions": [*map(str, _VERSIONS), np.__version__],
        "weights": weights_digest(net),
        "optimizers": [
            [{k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups]
            for optimizer in (getattr(net, f"{name}_") for name in net._optimizers)
        ],
        "device": device_of(net).type,
        "net": net,
        "data": data,
        "random": random_states(),
        **settings,
    }
    text = json.dumps(_Described().tell(described), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


class _Described:
    """Descriptions in JSON's types, by value where a value is data."""

    def __init__(self):
        self._digests, self._sources = {}, {}  # forget and retain rows are of one array
        self._functions = {}  # a function may refer to itself

    def tell(self, value):
        if value is None or isinstance(value, _PRINTED):
            return repr(value)
        if isinstance(value, (list, tuple)):
            return [self.tell(each) for each in value]
        if isinstance(value, (set, frozenset)):
            return ["set", *sorted(json.dumps(self.tell(each)) for each in value)]
        if isinstance(value, dict):
            return {str(key): self.tell(each) for key, each in value.items()}
        if isinstance(value, (np.ndarray, torch.Tensor)):
            if id(value) not in self._digests:
                self._digests[id(value)] = _digest(value), value
            return self._digests[id(value)][0]
        if isinstance(value, types.FunctionType) and id(value) not in self._functions:
            return self._tell_function(value)
        if isinstance(value, (type, types.FunctionType, types.BuiltinFunctionType)):
            return f"{value.__module__}.{value.__qualname__}"
        if isinstance(value, types.MethodType):
            of = type(value.__self__), _plain_attributes_of(value.__self__)
            return ["method", self.tell(value.__func__), self.tell(of)]
        if isinstance(value, functools.partial):
            return ["partial", self.tell(value.func), self.tell([value.args, value.keywords])]
        if hasattr(value, "__array__"):
            return self.tell(np.asarray(value))
        return [self.tell(type(value)), self._tell_object(value)]

    def _tell_function(self, function):
        """Two of one name may differ: lambdas, and those that a function has made."""
        self._functions[id(function)] = function
        refers_to = [_content_of(cell) for cell in function.__closure__ or ()]
        given = [function.__defaults__, function.__kwdefaults__, refers_to]
        name = f"{function.__module__}.{function.__qualname__}"
        try:
            return ["function", name, _code_of(function.__code__), self.tell(given)]
        finally:
            del self._functions[id(function)]

    def _tell_source(self, source):
        """What the steps take, from an array as from the tensor of it on a device."""
        held = source
        while isinstance(held, Rows):
            held = held.source
        if not isinstance(held, (np.ndarray, torch.Tensor)):
            return self.tell(source)
        if id(source) not in self._sources:
            self._sources[id(source)] = _digest_taken(source), source
        return self._sources[id(source)][0]

    def _tell_object(self, value):
        if isinstance(value, Rows):
            source = self._tell_source(value.source)
            return [source, *map(self.tell, [value.indices, value.y, value.columns])]
        if isinstance(value, Subset):
            return self.tell([value.dataset, np.asarray(value.indices)])
        if isinstance(value, TensorDataset):
            return self.tell(value.tensors)
        if isinstance(value, Dataset):
            return len(value)
        if isinstance(value, torch.nn.Module):
            attributes = [_plain_attributes_of(part) for part in value.modules()]
            return [repr(value), self.tell([dict(value.state_dict()), attributes])]
        if hasattr(value, "get_params"):
            params = _params_of(value)
            return self.tell({k: v for k, v in params.items() if k not in _WITHOUT_EFFECT})
        # Of an object that nothing is known of, what would be printed.
        return self.tell([getattr(value, "__name__", None), _plain_attributes_of(value)])


def _params_of(estimator):
    if not isinstance(estimator, Callback):
        return estimator.get_params(deep=False)
    attributes = _attributes_of(estimator)
    if type(estimator).__module__.startswith("skorch."):  # with those of a schedule
        return {name: value for name, value in attributes.items() if not name.endswith("_")}
    # A callback of the user's counts and collects, perhaps, under names of its own.
    return {k: v for k, v in attributes.items() if k in signature(type(estimator)).parameters}


def _attributes_of(value):
    return getattr(value, "__dict__", {})


def _plain_attributes_of(value):
    attributes = _attributes_of(value).items()
    return {k: v for k, v in attributes if isinstance(v, _PLAIN) and k != "training"}


def _content_of(cell):
    try:
        return cell.cell_contents
    except ValueError:  # nothing was assigned yet
        return None


def _code_of(code):
    """What a function does, but not where it stands."""
    constants = [
        _code_of(each)
        if isinstance(each, types.CodeType)
        else sorted(map(repr, each))
        if isinstance(each, frozenset)
        else repr(each)
        for each in code.co_consts
    ]
    return [code.co_code.hex(), constants, *code.co_names]


def _digest_taken(source):
    rows, digest = Rows(source), hashlib.sha256()
    first = rows.take_X(np.arange(min(1, len(rows))))
    digest.update(f"{len(rows)} {tuple(first.shape[1:])}".encode())
    n_rows = max(1, _BLOCK // max(1, bytes_of(first).nbytes))
    for start in range(0, len(rows), n_rows):
        block = rows.take_X(np.arange(start, min(start + n_rows, len(rows))))
        digest.update(bytes_of(block).data)
    return digest.hexdigest()


def _digest(values):
    digest = hashlib.sha256(f"{values.dtype} {tuple(values.shape)}".encode())
    if isinstance(values, torch.Tensor):
        digest.update(bytes_of(values).data)
    elif values.dtype.hasobject:
        for value in values.flat:
            digest.update(repr(value).encode())
    else:
        values = np.atleast_1d(values)
        n_rows = max(1, _BLOCK // max(1, values[:1].nbytes))
        for start in range(0, len(values), n_rows):
            digest.update(values[start : start + n_rows].tobytes())
    return digest.hexdigest()
