"""Everything that a training run changes from epoch to epoch, as plain data and back."""

import dataclasses
import hashlib
import random
from collections import deque

import numpy as np
import torch

from sklunlearn._nets import bytes_of
from sklunlearn.search import BoundarySearch

__all__ = ["RunState", "UnsaveableError", "random_states", "set_random_states"]

_ARRAY, _CLASS = "sklunlearn.array", "sklunlearn.class"
_CLASSES = {"BoundarySearch": BoundarySearch}
_MODULE_BASICS = {*vars(torch.nn.Module()), "_parameters", "_buffers", "_modules"}
_SEQUENCES = list, tuple, deque
_ABSENT = object()


class UnsaveableError(TypeError):
    """A value has no form in a file that is read without running code."""


class RunState:
    """What a training run may change, watched from the run's beginning.

    Parameters
    ----------
    net : skorch.NeuralNetClassifier
        The net that is trained, with its optimizer and its callbacks.
    rows : tuple of sklunlearn._data.Rows, default=()
        Rows whose order, and what is stored with them, may change.
    method : GradientUnlearner or None, default=None
        Whose attributes may change.
    """

    def __init__(self, net, rows=(), method=None):
        self.net, self.rows = net, rows
        own = net._modules + net._criteria + net._optimizers
        # Under its own name a net has what it was made from, which may be the instance itself.
        parts = {*own, *(f"{name}_" for name in own), "history_", "callbacks_"}
        self._watched = {"net": _Attributes(net, parts)}
        for name, module in self._modules():
            for i, part in enumerate(module.modules()):
                is_known = type(part).__module__.startswith("torch.")
                watched = _Attributes(part, _MODULE_BASICS, lenient=is_known)
                self._watched[f"{name} {i}"] = watched
        if method is not None:
            self._watched["method"] = _Attributes(method)
        for i, (name, callback) in enumerate(net.callbacks_):
            # What those of skorch hold beside numbers is for display.
            is_known = type(callback).__module__.startswith("skorch.")
            self._watched[f"callback {i} {name}"] = _Attributes(callback, lenient=is_known)
        self._columns = [dict(some.columns) for some in rows]

    def take(self):
        """The state, of numbers, strings, tensors, lists, tuples and dictionaries alone."""
        net = self.net
        return {
            "modules": {name: _module_state(module) for name, module in self._modules()},
            "optimizers": {
                name: _encode(getattr(net, f"{name}_").state_dict()) for name in net._optimizers
            },
            "history": _encode(list(net.history)),
            "attributes": {name: watched.take() for name, watched in self._watched.items()},
            "orders": [_take_order(some) for some in self.rows],
            "columns": [
                {k: v for k, v in some.columns.items() if v is not before.get(k)}
                for some, before in zip(self.rows, self._columns, strict=True)
            ],
            "random": random_states(),
        }

    def put_back(self, state):
        """Make the run what it was, except for the random states."""
        net = self.net
        for name, module in self._modules():
            _put_back_module(module, state["modules"][name])
        for name in net._optimizers:
            getattr(net, f"{name}_").load_state_dict(_decode(state["optimizers"][name]))
        net.history[:] = _decode(state["history"])
        for name, watched in self._watched.items():
            watched.put_back(state["attributes"][name])
        for some, order, columns in zip(self.rows, state["orders"], state["columns"], strict=True):
            some._order = iter(torch.split(order["positions"], order["sizes"]))
            some.columns.update(columns)

    def _modules(self):
        for name in self.net._modules + self.net._criteria:
            module = getattr(self.net, f"{name}_")
            if isinstance(module, torch.nn.Module):
                yield name, module


class _Attributes:
    """The attributes of an object that change from now on.

    A new value, and a container with other elements, is a change; so are other numbers in an array
    or tensor. Other objects are taken for unchanged while they are the same, unless they
    have a state to ask for, as random generators and schedulers of the learning rate have.
    """

    def __init__(self, obj, skip=(), *, lenient=False):
        self.obj, self.skip, self.lenient = obj, skip, lenient
        # Copies: a list may grow, and while its elements are held, no other can have their place.
        own = {name: value for name, value in vars(obj).items() if name not in skip}
        self._before = {name: _copied(value) for name, value in own.items()}
        self._digests = {name: _digests(value) for name, value in own.items()}

    def take(self):
        changed, contents, states = {}, {}, {}
        for name, value in vars(self.obj).items():
            if name in self.skip:
                continue
            before = self._before.get(name, _ABSENT)
            try:
                if not _is_same(before, value):
                    changed[name] = _encode(value)
                elif _digests(value) != self._digests.get(name):
                    contents[name] = [_encode(leaf) for leaf in _leaves(value)]
                elif (state := _state_of(value)) is not None:
                    states[name] = _encode(state)
            except UnsaveableError as error:
                if not self.lenient:
                    kind = type(self.obj).__name__
                    raise UnsaveableError(f"the attribute {name!r} of {kind} {error}") from None
        return {"changed": changed, "contents": contents, "states": states}

    def put_back(self, state):
        for name, value in state["changed"].items():
            vars(self.obj)[name] = _decode(value)
        for name, values in state["contents"].items():
            # In place: they may be the parameters of a module.
            for leaf, value in zip(_leaves(vars(self.obj)[name]), values, strict=True):
                with torch.no_grad():
                    leaf[...] = _decode(value)
        for name, value in state["states"].items():
            _put_back_state(vars(self.obj)[name], _decode(value))


def random_states():
    """The global random states of torch, NumPy and Python."""
    kind, keys, *rest = np.random.get_state()  # noqa: NPY002
    states = {
        "torch": torch.get_rng_state(),
        "numpy": (kind, torch.from_numpy(keys.astype(np.int64)), *rest),
        "python": random.getstate(),
    }
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state_all()
    return states


def set_random_states(states):
    """Put back what `random_states` gave."""
    kind, keys, *rest = states["numpy"]
    torch.set_rng_state(states["torch"])
    np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))  # noqa: NPY002
    random.setstate(states["python"])
    if "cuda" in states:
        torch.cuda.set_rng_state_all(states["cuda"])


def _module_state(module):
    return {
        "values": _encode(module.state_dict()),
        # Buffers that are not in the state_dict change in training too.
        "buffers": dict(module.named_buffers()),
        "modes": [part.training for part in module.modules()],
        "requires_grad": [parameter.requires_grad for parameter in module.parameters()],
    }


def _put_back_module(module, state):
    module.load_state_dict(_decode(state["values"]))
    with torch.no_grad():
        for name, buffer in module.named_buffers():
            buffer.copy_(state["buffers"][name])
    for part, mode in zip(module.modules(), state["modes"], strict=True):
        part.training = mode
    for parameter, mode in zip(module.parameters(), state["requires_grad"], strict=True):
        parameter.requires_grad_(mode)


def _take_order(rows):
    """What is left of the endless series of batches, which goes on as it was."""
    left = list(rows._order)
    rows._order = iter(left)
    positions = torch.cat(left) if left else torch.arange(0)
    return {"positions": positions, "sizes": [len(batch) for batch in left]}


def _state_of(value):
    """State of an object that changes without being replaced, or None."""
    if isinstance(value, torch.Generator):
        return value.get_state()
    if isinstance(value, np.random.RandomState):
        return value.get_state(legacy=False)
    if isinstance(value, np.random.Generator):
        return value.bit_generator.state
    if isinstance(value, type) or not hasattr(value, "load_state_dict"):
        return None
    return value.state_dict()


def _put_back_state(value, state):
    if isinstance(value, (torch.Generator, np.random.RandomState)):
        value.set_state(state)
    elif isinstance(value, np.random.Generator):
        value.bit_generator.state = state
    else:
        value.load_state_dict(state)


def _is_same(before, value):
    if type(before) is not _Copy:
        return before is value
    if type(value) is not before.kind:
        return False
    keys, parts = _keys_and_parts(value)
    same = keys == before.keys and len(parts) == len(before.parts)
    return same and all(map(_is_same, before.parts, parts))


@dataclasses.dataclass
class _Copy:
    """Of a container, and those within, with the elements themselves."""

    kind: type
    keys: list | set | None
    parts: list


def _copied(value):
    if not isinstance(value, (*_SEQUENCES, dict, set)):
        return value
    keys, parts = _keys_and_parts(value)
    return _Copy(type(value), keys, [_copied(each) for each in parts])


def _keys_and_parts(value):
    if isinstance(value, dict):
        return list(value), list(value.values())
    return (set(value), []) if isinstance(value, set) else (None, list(value))


def _leaves(value):
    """Arrays and tensors in a value, in order."""
    if isinstance(value, _SEQUENCES):
        return [leaf for each in value for leaf in _leaves(each)]
    if isinstance(value, dict):
        return [leaf for each in value.values() for leaf in _leaves(each)]
    is_tensor = isinstance(value, torch.Tensor) and value.layout is torch.strided
    is_tensor = is_tensor and not value.is_meta
    return [value] if is_tensor or (type(value) is np.ndarray and _is_numeric(value)) else []


def _digests(value):
    return [hashlib.sha256(_bytes(leaf)).digest() for leaf in _leaves(value)]


def _bytes(leaf):
    # Arrays as they are: torch takes none that are read-only, or run backwards.
    if isinstance(leaf, np.ndarray):
        return np.ascontiguousarray(leaf).view(np.uint8).data
    return bytes_of(leaf.resolve_conj().resolve_neg()).data


def _is_numeric(array):
    """Whether torch has numbers of this type, in whatever byte order."""
    largest = 16 if array.dtype.kind == "c" else 8
    return array.dtype.kind in "biufc" and array.dtype.itemsize <= largest


def _encode(value):
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, torch.Tensor):
        return value.detach()
    if isinstance(value, np.generic) and not isinstance(value, np.void):
        return _encode(value.item())
    if isinstance(value, np.ndarray) and _is_numeric(value):
        return {
            _ARRAY: torch.from_numpy(
                np.array(value, dtype=value.dtype.newbyteorder("="), order="C")
            )
        }
    if type(value) in (list, tuple):
        return type(value)(_encode(each) for each in value)
    if isinstance(value, dict) and all(type(key) in (str, int) for key in value):
        return {key: _encode(each) for key, each in value.items()}
    if type(value) in _CLASSES.values():
        fields = {f.name: _encode(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {_CLASS: type(value).__name__, "fields": fields}
    raise UnsaveableError(f"holds a {type(value).__module__}.{type(value).__qualname__}")


def _decode(value):
    if isinstance(value, (list, tuple)):
        return type(value)(_decode(each) for each in value)
    if not isinstance(value, dict):
        return value
    if _ARRAY in value:
        return value[_ARRAY].numpy()
    if _CLASS in value:
        return _CLASSES[value[_CLASS]](**_decode(value["fields"]))
    return {key: _decode(each) for key, each in value.items()}
