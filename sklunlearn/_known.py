"""Names that a model file may use: looked up in a table, never imported."""

import functools
import inspect
import sys

import skorch
import torch
from sklearn.frozen import FrozenEstimator
from torch import nn

from sklunlearn import networks
from sklunlearn._certified_head import CertifiedHead
from sklunlearn._data import BatchLoader
from sklunlearn._ensemble import Ensemble, SideBySide
from sklunlearn._newton import LinearHeads
from sklunlearn.discovery import all_unlearners
from sklunlearn.saliency import SaliencyMask

__all__ = ["CustomObjects", "known_objects", "loaded_object", "name_of"]

# Callbacks that write files, read them or call what a file names are left out on purpose.
_CALLBACKS = [
    "BatchScoring",
    "EarlyStopping",
    "EpochScoring",
    "EpochTimer",
    "GradientNormClipping",
    "LRScheduler",
    "PassthroughScoring",
    "PrintLog",
    "ProgressBar",
]


@functools.cache
def known_objects():
    """Classes and functions by name: those of networks, their training and this package."""
    # Here, as the package imports its methods before this file could.
    from sklunlearn.compose import ComposedUnlearner
    from sklunlearn.unlearners.sisa import Shard

    found = dict(all_unlearners())
    schedulers = torch.optim.lr_scheduler
    for module, base in [
        (nn, nn.Module),
        (torch.optim, torch.optim.Optimizer),
        (schedulers, schedulers.LRScheduler),
    ]:
        for name, member in inspect.getmembers(module, inspect.isclass):
            if issubclass(member, base):
                found[f"{module.__name__}.{name}"] = member
    for name, member in inspect.getmembers(nn.functional, inspect.isroutine):
        if not name.startswith(("_", "assert_", "boolean_", "handle_", "has_")):
            found[f"torch.nn.functional.{name}"] = member
    for name in ("log_softmax", "relu", "sigmoid", "softmax", "tanh"):
        found[f"torch.{name}"] = getattr(torch, name)
    found.update({f"skorch.{name}": getattr(skorch.callbacks, name) for name in _CALLBACKS})
    others = [
        *(getattr(networks, name) for name in ("AllCNN", "MLP", "SmallCNN", "Standardize")),
        *(BatchLoader, CertifiedHead, ComposedUnlearner, Ensemble, FrozenEstimator),
        *(
            LinearHeads,
            SaliencyMask,
            Shard,
            SideBySide,
            print,
            skorch.NeuralNetClassifier,
            skorch.dataset.Dataset,
        ),
        *(skorch.dataset.ValidSplit, skorch.utils.to_numpy, torch.utils.data.DataLoader),
        skorch.utils._identity,
    ]
    found.update({each.__name__: each for each in others})
    return found


def name_of(obj, where):
    """Name of a class or function, and whether it is one that only the user knows."""
    for name, known in known_objects().items():
        if known is obj:
            return name, False
    name = f"{obj.__module__}.{obj.__qualname__}"
    if loaded_object(name) is not obj:
        raise TypeError(
            f"`{where}` cannot be saved: {obj!r} is not found by its name, {name}. Define it at "
            "the top level of a module, not in a function or as a lambda; or save "
            "`unlearner.release()`, which needs less."
        )
    return name, True


def loaded_object(name):
    """What a dotted name stands for in the modules that are loaded, or None."""
    parts = name.split(".")
    for i in range(len(parts) - 1, 0, -1):
        found = sys.modules.get(".".join(parts[:i]))
        if found is not None:
            for part in parts[i:]:
                found = getattr(found, part, None)
            return found
    return None


class CustomObjects:
    """The classes and functions that the caller of a loader vouches for."""

    def __init__(self, objects):
        objects = list(objects) if isinstance(objects, (list, tuple, set)) else [objects]
        for obj in objects:
            if not hasattr(obj, "__qualname__"):
                raise TypeError(
                    "`custom_objects` must be a list of classes and functions, got "
                    f"{obj!r} in it. Pass the class itself, not its name or an instance."
                )
        # Not by module: the class may have moved since, or have been in a script.
        self.by_name = {obj.__qualname__: obj for obj in objects}
        self.objects = objects

    def find(self, name):
        """The object of this name, or None."""
        same = [obj for obj in self.objects if f"{obj.__module__}.{obj.__qualname__}" == name]
        if same:
            return same[0]
        return next((o for key, o in self.by_name.items() if name.endswith(f".{key}")), None)
