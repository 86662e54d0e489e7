"""From a description and tensors back to the object; see `_encoding`."""

import functools
import math
import warnings

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline
from skorch import NeuralNet
from skorch.callbacks import Callback
from torch import nn

from sklunlearn._encoding import import_skops
from sklunlearn._known import known_objects
from sklunlearn._seeding import isolated_random_state
from sklunlearn._stacklevel import users_stacklevel
from sklunlearn.base import BaseUnlearner

__all__ = ["Decoder"]


class Decoder:
    """Builds what an `Encoder` described, of known classes and those that the caller vouches for.

    Whatever does not fit raises a KeyError, TypeError or ValueError.

    Parameters
    ----------
    objects : list of dict
        Descriptions.
    tensors : dict of str to torch.Tensor
    custom : CustomObjects
    """

    def __init__(self, objects, tensors, custom):
        self.objects, self.tensors, self.custom = objects, tensors, custom
        self._made = {}

    def decode(self, value):
        """The value that was described."""
        if isinstance(value, list):
            return [self.decode(item) for item in value]
        if not isinstance(value, dict):
            return value
        kind = next(iter(value))
        content = value[kind]
        match kind:
            case "float":
                if content not in ("nan", "inf", "-inf"):
                    raise ValueError(f"{content!r} is no float")
                return {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}[content]
            case "tuple":
                return tuple(self.decode(content))
            case "dict":
                return {self._key(k): self.decode(v) for k, v in content}
            case "scalar":
                return np.dtype(value["dtype"]).type(self.decode(content))
            case "array":
                return self.tensors[content].numpy().copy()
            case "array_of":
                return np.array(self.decode(content), dtype=value["dtype"])
            case "device":
                return torch.device(content)
            case "torch_dtype":
                return _instance_of(torch.dtype, vars(torch)[content])
            case "partial":
                function, args, keywords = self.decode(content)
                return functools.partial(function, *args, **keywords)
            case "random_state":
                state = np.random.RandomState(0)
                state.set_state(tuple(content))
                return state
            case "named":
                return self.find(content)
            case "object":
                return self._object(content)
        raise ValueError(f"{kind!r} is no kind of value")

    def decode_all(self, values):
        """Dictionary of the same keys."""
        return {key: self.decode(value) for key, value in values.items()}

    def find(self, name, *bases):
        """Class or function of a name; with `bases`, a subclass of one. Nothing is imported."""
        found = known_objects().get(name)
        found = self.custom.find(name) if found is None else found
        if found is None:
            raise KeyError(f"{name} is not known")
        if bases and not (isinstance(found, type) and issubclass(found, bases)):
            raise TypeError(f"{name} is no {' or '.join(base.__name__ for base in bases)}")
        return found

    def _key(self, key):
        key = self.decode(key)
        hash(key)
        return key

    def _object(self, index):
        if index not in self._made:
            description = self.objects[index]
            self.objects[index] = None  # met again before it is made, it would hold itself
            if description is None:
                raise ValueError(f"object {index} holds itself")
            self._made[index] = self._make(description, index)
        return self._made[index]

    def _make(self, described, index):
        match next(iter(described)):
            case "tensor":
                return self.tensors[described["tensor"]].requires_grad_(described["requires_grad"])
            case "parameter":
                tensor = self.tensors[described["parameter"]]
                return nn.Parameter(tensor, requires_grad=described["requires_grad"])
            case "module":
                return self._make_module(described, index)
            case "net":
                return self._make_net(described)
            case "pipeline":
                return Pipeline([(name, self.decode(step)) for name, step in described["pipeline"]])
            case "skops":
                return self._load_skops(self.tensors[described["skops"]].numpy().tobytes())
            case "method":
                return self.make_unlearner(described)
            case "class" if "params" in described:
                cls = self.find(described["class"], BaseEstimator, Callback)
                return cls(**self.decode_all(described["params"]))
            case "class":
                new = object.__new__(self.find(described["class"]))
                vars(new).update(self.decode_all(described["state"]))
                return new
        raise ValueError(f"{next(iter(described))!r} is no kind of object")

    def make_unlearner(self, described):
        """The unlearner of a description."""
        method = self.find(described["method"], BaseUnlearner)
        unlearner = method(**self.decode_all(described["parameters"]))
        attributes = self.decode_all(described["attributes"])
        if clash := [name for name in attributes if callable(getattr(method, name, None))]:
            raise ValueError(f"it has own methods {clash}")
        vars(unlearner).update(attributes)
        return unlearner

    def _make_module(self, described, index):
        cls = self.find(described["module"], nn.Module)
        new = cls.__new__(cls)
        nn.Module.__init__(new)
        self._made[index] = new  # before its parts, which may refer to it
        parameters = self.decode_all(described["parameters"])
        state = {
            **self.decode_all(described["state"]),
            "_parameters": {
                n: p if p is None else _instance_of(nn.Parameter, p) for n, p in parameters.items()
            },
            "_buffers": self.decode_all(described["buffers"]),
            "_modules": self.decode_all(described["modules"]),
            "_non_persistent_buffers_set": set(described["not_in_state_dict"]),
        }
        # torch adds here what a layer of an older release lacks.
        new.__setstate__(state)
        return new

    def _make_net(self, described):
        params = self.decode_all(described["params"])
        params["device"] = _available(params.get("device"))
        net = self.find(described["net"], NeuralNet)(**params)
        fitted = described["fitted"]
        if fitted is None:
            return net
        own = {
            "module": _instance_of(nn.Module, self.decode(fitted["module_"])),
            "criterion": _instance_of(nn.Module, self.decode(fitted["criterion_"])),
        }
        # skorch takes an instance as it is where there are no parameters to make it from.
        kept = {k: v for k, v in vars(net).items() if k.startswith(("module", "criterion"))}
        for name in kept:
            del vars(net)[name]
        vars(net).update(own, verbose=0)
        with isolated_random_state(0):
            net.initialize()
        for name in own:
            del vars(net)[name]
        vars(net).update(kept, verbose=params["verbose"])
        if not fitted["has_optimizer"]:
            vars(net)["optimizer_"] = None
        if not fitted["has_callbacks"]:
            vars(net)["callbacks_"] = []
        vars(net).update(self.decode_all(fitted["attributes"]))
        return net

    def _load_skops(self, data):
        skops = import_skops()
        # Not nets and modules: skops would read theirs from a pickle. They are never in a step.
        unsafe = (NeuralNet, nn.Module)
        trusted = [
            f"{obj.__module__}.{obj.__qualname__}"
            for obj in self.custom.objects
            if not (isinstance(obj, type) and issubclass(obj, unsafe))
        ]
        unknown = sorted(set(skops.get_untrusted_types(data=data)) - set(trusted))
        if unknown:
            raise KeyError(f"the preprocessing needs {', '.join(unknown)}, not in `custom_objects`")
        return skops.loads(data, trusted=trusted)


def _instance_of(cls, value):
    if not isinstance(value, cls):
        raise TypeError(f"expected a {cls.__name__}, got {value!r}")
    return value


def _available(device):
    """The device, or the CPU with a warning where the machine does not have it."""
    if device is None:
        return None
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError):
        warnings.warn(
            f"The model was on the device {device!r}, which this machine does not have: it is put "
            "on the CPU.",
            UserWarning,
            stacklevel=users_stacklevel(),
        )
        return "cpu"
    return device
