"""From an object to a description in JSON's types, and tensors."""

import dataclasses
import functools
import math
import types

import numpy as np
import torch
from sklearn.pipeline import Pipeline
from skorch import NeuralNet
from torch import nn

from sklunlearn._known import loaded_object, name_of
from sklunlearn.base import BaseUnlearner

__all__ = ["NET_STATE", "Encoder", "import_skops"]

# Fitted attributes of a net that its own `initialize` makes, or that tell of its training.
NET_STATE = {
    *("module_", "criterion_", "optimizer_", "callbacks_", "history_", "initialized_"),
    *("virtual_params_", "prefixes_", "cuda_dependent_attributes_", "init_context_"),
}
# What of a net is not stored: skorch's own bookkeeping, and options for reading pickles.
_NET_PARAMETERS_LEFT_OUT = {"_params_to_validate", "torch_load_kwargs"}
# Of an unlearner: `memory` names a folder of pickles, which a request after loading would read;
# `_metadata_request` is scikit-learn's own, and changes with it; the others hold a value or more of
# each forgotten row, or the course of a training.
_LEFT_OUT = {"memory", "_metadata_request"}
_LEFT_OUT |= {"history_", "forget_loss_", "search_", "distances_"}
_MODULE_BASICS = set(vars(nn.Module()))
_MODULE_PARTS = {"_parameters", "_buffers", "_modules", "_non_persistent_buffers_set"}
_DTYPES = {"bool", "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64"}
_TENSOR_DTYPES = _DTYPES | {"bfloat16", "complex64", "float8_e4m3fn", "float8_e5m2"}


def import_skops():
    """The module skops.io, which holds the steps before a network, or a clear error."""
    try:
        import skops.io
    except ImportError as error:
        raise ImportError(
            "The preprocessing of a Pipeline is saved with skops, which is not installed: "
            "pip install sklunlearn[persistence]"
        ) from error
    return skops.io


class Encoder:
    """Describes objects; what is met twice is described once, and shared again when loaded.

    Attributes
    ----------
    tensors : dict of str to torch.Tensor
        By the path of the attribute in which each was met first.
    objects : list of dict
        Descriptions of what has an identity; ``{"object": i}`` refers to one.
    custom : dict of str to class or function
        What whoever loads this must supply.
    """

    def __init__(self):
        self.tensors, self.objects, self.custom = {}, [], {}
        self._seen = {}  # by id, with the object itself, so that no id is used twice

    def encode(self, value, where):
        """Description of a value; `where` is its path, for errors and for names of tensors."""
        if value is None or type(value) in (bool, int, str):
            return value
        if type(value) is float:
            return value if math.isfinite(value) else {"float": repr(value)}
        if type(value) is list:
            return self._items(value, where)
        if type(value) in (tuple, torch.Size):
            return {"tuple": self._items(value, where)}
        if isinstance(value, dict):
            return {"dict": [[self.encode(k, where), v] for k, v in self._named(value, where)]}
        if isinstance(value, np.generic):
            return {"scalar": self.encode(value.item(), where), "dtype": value.dtype.name}
        if isinstance(value, np.ndarray):
            return self._array(value, where)
        if isinstance(value, torch.device):
            return {"device": str(value)}
        if isinstance(value, torch.dtype):
            return {"torch_dtype": str(value).removeprefix("torch.")}
        if isinstance(value, functools.partial):
            parts = (value.func, list(value.args), value.keywords)
            return {"partial": self._items(parts, where)}
        if isinstance(value, np.random.RandomState):
            algorithm, words, *rest = value.get_state()
            return {"random_state": [algorithm, words.tolist(), *rest]}
        if isinstance(value, (type, types.FunctionType, types.BuiltinFunctionType)):
            return {"named": self.name(value, where)}
        return self._shared(value, where)

    def name(self, obj, where):
        """Name of a class or function, noted if the user must supply it."""
        name, is_custom = name_of(obj, where)
        if is_custom:
            self.custom[name] = obj
        return name

    def _items(self, values, where):
        return [self.encode(value, f"{where}.{i}") for i, value in enumerate(values)]

    def _named(self, values, where):
        return [(key, self.encode(value, f"{where}.{key}")) for key, value in values.items()]

    def _array(self, array, where):
        if type(array) is np.ndarray and array.dtype.name in _DTYPES:
            # torch knows the byte order of the machine only.
            native = np.array(array, dtype=array.dtype.newbyteorder("="), order="C")
            return {"array": self._tensor(torch.from_numpy(native), where)}
        if type(array) is np.ndarray and array.dtype.kind in "UO" and array.ndim == 1:
            dtype = "object" if array.dtype.kind == "O" else array.dtype.str
            if all(type(item) in (bool, int, float, str) for item in array.tolist()):
                return {"array_of": self._items(array.tolist(), where), "dtype": dtype}
        raise _refusal(where, array, f"Its dtype is {array.dtype}, its shape {array.shape}.")

    def _tensor(self, tensor, where):
        if tensor.layout is not torch.strided or tensor.is_quantized:
            raise _refusal(where, tensor, f"Its layout is {tensor.layout}.")
        if str(tensor.dtype).removeprefix("torch.") not in _TENSOR_DTYPES:
            raise _refusal(where, tensor, f"Its dtype is {tensor.dtype}.")
        while where in self.tensors:  # as of the keys 1 and "1" of a dictionary
            where += "_"
        # A copy, as the format has no views; on the CPU, as the reader may have nothing else.
        self.tensors[where] = tensor.detach().to("cpu", copy=True).contiguous()
        return where

    def _shared(self, value, where):
        if id(value) not in self._seen:
            index = len(self.objects)
            self._seen[id(value)] = index, value
            self.objects.append(None)
            self.objects[index] = self._describe(value, where)
        return {"object": self._seen[id(value)][0]}

    def _describe(self, value, where):
        if isinstance(value, torch.Tensor):
            kind = "parameter" if isinstance(value, nn.Parameter) else "tensor"
            if type(value) not in (torch.Tensor, nn.Parameter):
                raise _refusal(where, value)
            return {kind: self._tensor(value, where), "requires_grad": value.requires_grad}
        if isinstance(value, BaseUnlearner):  # the member of a composition
            return self.describe_unlearner(value, f"{where}.")
        if isinstance(value, nn.Module):
            return self._module(value, where)
        if isinstance(value, NeuralNet):
            return self._net(value, where)
        if isinstance(value, Pipeline):
            steps = [[name, self._step(step, f"{where}.{name}")] for name, step in value.steps]
            return {"pipeline": steps}
        if dataclasses.is_dataclass(value) or not hasattr(value, "get_params"):
            if not hasattr(value, "__dict__") or isinstance(value, types.ModuleType):
                raise _refusal(where, value)
            if hasattr(value, "__getitem__") or hasattr(value, "__iter__"):
                raise _refusal(where, value, "It may hold data.")
            return self._instance("state", value, vars(value), where)
        return self._instance("params", value, value.get_params(deep=False), where)

    def describe_unlearner(self, unlearner, where=""):
        """Description of an unlearner, fitted or not; `where` is the beginning of its paths."""
        parameters = unlearner.get_params(deep=False)
        attributes = {k: v for k, v in vars(unlearner).items() if k not in parameters}
        # First what all models have, so that tensors have short names.
        names = sorted(attributes, key=lambda name: (name != "net_", name))

        def described(values, names):
            kept = [name for name in names if name not in _LEFT_OUT]
            return {name: self.encode(values[name], f"{where}{name}") for name in kept}

        return {
            "method": self.name(type(unlearner), where or "unlearner"),
            "attributes": described(attributes, names),
            "parameters": described(parameters, parameters),
        }

    def _instance(self, kind, value, content, where):
        name = self.name(type(value), where)
        return {"class": name, kind: dict(self._named(content, where))}

    def _module(self, module, where):
        state = dict(module.__getstate__())
        hooks = [
            name
            for name in _MODULE_BASICS - _MODULE_PARTS
            if isinstance(state.get(name), dict) and state[name]
        ]
        if hooks:
            raise _refusal(where, module, f"It has hooks, {hooks}: remove them first.")
        own = {k: v for k, v in state.items() if k not in _MODULE_BASICS or k == "training"}
        return {
            "module": self.name(type(module), where),
            "parameters": dict(self._named(module._parameters, where)),
            "buffers": dict(self._named(module._buffers, where)),
            "not_in_state_dict": sorted(module._non_persistent_buffers_set),
            "modules": dict(self._named(module._modules, where)),
            "state": dict(self._named(own, where)),
        }

    def _net(self, net, where):
        params = net.get_params(deep=False)
        params = {k: v for k, v in params.items() if k not in _NET_PARAMETERS_LEFT_OUT}
        described = {
            "net": self.name(type(net), where),
            # In this order, so that a tensor has the name under which it is used.
            "fitted": self._fitted(net, where) if net.initialized_ else None,
            "params": dict(self._named(params, where)),
        }
        return described

    def _fitted(self, net, where):
        if net._modules != ["module"] or net._criteria != ["criterion"]:
            raise _refusal(
                where, net, f"It has several modules, {net._modules}: put them into one module."
            )
        names = [n for n in vars(net) if n.endswith("_") and n not in NET_STATE]
        return {
            "module_": self.encode(net.module_, f"{where}.module_"),
            "criterion_": self.encode(net.criterion_, f"{where}.criterion_"),
            "has_optimizer": net.optimizer_ is not None,
            "has_callbacks": bool(net.callbacks_),
            "attributes": dict(self._named({n: vars(net)[n] for n in names}, where)),
        }

    def _step(self, step, where):
        """A step of a Pipeline: what this file cannot describe goes to skops."""
        own = isinstance(step, (NeuralNet, Pipeline)) or type(step).__name__ == "SideBySide"
        if step is None or isinstance(step, str) or own:
            return self.encode(step, where)
        if id(step) not in self._seen:
            skops = import_skops()
            try:
                data = skops.dumps(step)
                unknown = skops.get_untrusted_types(data=data)
                custom = {name: loaded_object(name) for name in unknown}
                if lost := [name for name, obj in custom.items() if obj is None]:
                    raise TypeError(f"{lost} are not found by their names")
                self.custom.update(custom)
            except Exception as error:
                raise _refusal(where, step, f"skops says: {error}.") from error
            index = len(self.objects)
            self._seen[id(step)] = index, step
            self.objects.append({"skops": self._tensor(_as_bytes(data), where)})
        return {"object": self._seen[id(step)][0]}


def _as_bytes(data):
    return torch.from_numpy(np.frombuffer(data, dtype=np.uint8).copy())


def _refusal(where, value, more=""):
    return TypeError(
        f"`{where}` cannot be saved: it is a {type(value).__module__}.{type(value).__qualname__}, "
        f"for which the file has no form. {more}".rstrip()
        + " What can be saved are numbers, strings, lists, arrays, tensors, torch modules, skorch "
        "nets, Pipelines, and classes and functions by name. `unlearner.release()` has less to "
        "save."
    )
