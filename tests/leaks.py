"""A search of released objects for what they should not hold."""

import base64
import binascii
import functools
import gc
import io
import json
import os
import pickle
import tempfile
import zipfile
from numbers import Real
from pathlib import Path
from types import BuiltinFunctionType, FunctionType, ModuleType

import joblib
import numpy as np
import skops.io
import torch

from sklunlearn.persistence import save_model

__all__ = ["find_leaks", "leaks_in_bytes", "leaks_in_graph", "serialized"]

# The same values in the forms that they may have in memory or a file.
_FORMS = ("<f4", ">f4", "<f8", ">f8")


def find_leaks(released, *, rows, weights=(), sizes=(), texts=(), skip=()):
    """Everything that an object should not hold, found in its memory and in its files.

    Parameters
    ----------
    released : BaseUnlearner
        What is searched.
    rows : list of ndarray
        Rows of which neither the float32 nor the float64 values may occur, in either byte order.
    weights : list of ndarray
        Values that no array may have, in whatever shape, and that no file may hold.
    sizes : set of int
        Lengths that no array, list or dictionary may have: numbers of rows.
    texts : list of str
        Strings that may not occur, not even within others: paths.
    skip : set of str
        Formats that cannot hold the object.

    Returns
    -------
    findings : list of str
        Where, and what.
    """
    findings = leaks_in_graph(released, rows=rows, weights=weights, sizes=sizes, texts=texts)
    for name, data in serialized(released, skip).items():
        found = leaks_in_bytes(data, rows=rows, weights=weights, texts=texts)
        findings += [f"{name}: {finding}" for finding in found]
    return findings


def leaks_in_graph(root, *, rows, weights=(), sizes=(), texts=()):
    """As `find_leaks`, of all that can be reached from an object."""
    needles, findings, reached = _needles(rows, weights), [], _reachable(root)
    # How many attributes an object has, says nothing of rows.
    attributes = {id(vars(item)) for _, item in reached if hasattr(item, "__dict__")}
    for path, item in reached:
        found = []
        if isinstance(item, torch.optim.Optimizer):
            found.append("an optimizer")
        if isinstance(item, torch.Tensor) and item.grad_fn is not None:
            found.append("a graph of what a tensor was computed from")
        if isinstance(item, (str, os.PathLike)):
            found += [f"the text {text!r}" for text in texts if text in str(item)]
        if isinstance(item, (bytes, bytearray)):
            found += leaks_in_bytes(bytes(item), rows=rows, weights=weights, texts=texts)
        counted = isinstance(item, (list, tuple, dict, set, frozenset))
        if counted and id(item) not in attributes and len(item) in sizes:
            found.append(f"{type(item).__name__} of length {len(item)}")
        for array in _arrays(item):
            if array.ndim and len(array) in sizes:
                found.append(f"an array of shape {array.shape}")
            if array.dtype.kind in "fiu":
                for form in ("<f4", "<f8"):
                    data = array.astype(form).tobytes()
                    found += [what for what, forms in needles.items() if forms[form] in data]
        findings += [f"{path}: {what}" for what in dict.fromkeys(found)]
    return findings


def leaks_in_bytes(data, *, rows, weights=(), texts=()):
    """As `find_leaks`, of the content of a file."""
    findings = [
        f"{what} as {form}"
        for what, forms in _needles(rows, weights).items()
        for form, needle in forms.items()
        if needle in data
    ]
    return findings + [f"the text {text!r}" for text in texts if text.encode() in data]


def serialized(released, skip=()):
    """Content of the files that an unlearner can become, by the name of the format."""
    writers = {"pickle": pickle.dumps, "joblib": _joblib, "skops": _skops, "save_model": _save}
    return {name: write(released) for name, write in writers.items() if name not in skip}


def _joblib(released):
    file = io.BytesIO()
    joblib.dump(released, file)
    return file.getvalue()


def _skops(released):
    """All members of the archive, and what they hold in base64."""
    parts = []
    with zipfile.ZipFile(io.BytesIO(skops.io.dumps(released))) as archive:
        for name in archive.namelist():
            parts.append(archive.read(name))
            if name.endswith(".json"):
                parts += _decoded(json.loads(parts[-1]))
    return b"\0".join(parts)


def _save(released):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        save_model(released, path)
        return path.read_bytes()


def _decoded(item):
    if isinstance(item, dict):
        item = list(item.values())
    if isinstance(item, list):
        return [part for value in item for part in _decoded(value)]
    if not isinstance(item, str):
        return []
    try:
        return [base64.b64decode(item, validate=True)]
    except (binascii.Error, ValueError):
        return []


def _needles(rows, weights):
    """Bytes to look for, by what they are. Two values or less are found anywhere."""
    named = [(f"row {i}", row) for i, row in enumerate(rows)]
    named += [(f"weights {i}", value) for i, value in enumerate(weights)]
    needles = {}
    for name, values in named:
        values = np.ascontiguousarray(values, dtype=np.float64)
        if len(np.unique(values)) > 2:
            needles[name] = _forms(values.tobytes())
    return needles


@functools.lru_cache
def _forms(data):
    return {form: np.frombuffer(data).astype(form).tobytes() for form in _FORMS}


def _arrays(item):
    """What an object holds in numbers, as arrays: all of a tensor's storage, not only its view."""
    if isinstance(item, torch.Tensor):
        tensor = item.detach().cpu()
        whole = torch.empty(0, dtype=tensor.dtype).set_(tensor.untyped_storage())
        for each in (tensor, whole) if whole.numel() != tensor.numel() else (tensor,):
            yield (each.float() if each.dtype == torch.bfloat16 else each).numpy()
    elif isinstance(item, np.ndarray):
        yield item
    elif isinstance(item, (list, tuple)) and item and all(isinstance(x, Real) for x in item):
        yield np.asarray(item, dtype=np.float64)


def _reachable(root):
    """Pairs of path and object, for all that can be reached from an object, itself included.

    Of functions the closure, the defaults and the attributes: not the globals, which are the
    module's. Not modules and classes, which every process has.
    """
    found, todo = {}, [(type(root).__name__, root)]
    while todo:
        path, item = todo.pop()
        if id(item) in found or isinstance(item, (type, ModuleType, BuiltinFunctionType)):
            continue
        found[id(item)] = path, item
        todo += [(f"{path}{step}", child) for step, child in _children(item)]
    return list(found.values())


def _children(item):
    if isinstance(item, FunctionType):
        for name in ("__closure__", "__defaults__", "__kwdefaults__", "__dict__"):
            yield f".{name}", getattr(item, name)
        return
    if isinstance(item, np.ndarray):  # which the garbage collector knows nothing of
        yield ".base", item.base
        if item.dtype.hasobject:
            yield "[...]", item.tolist()
        return
    if isinstance(item, torch.Tensor):
        yield ".grad", item.grad if item.is_leaf else None
        yield ".hooks", item._backward_hooks
    if isinstance(item, dict):
        yield from ((f"[{key!r}]", value) for key, value in item.items())
    if hasattr(item, "__dict__"):
        yield from ((f".{name}", value) for name, value in vars(item).items())
    yield from (("", child) for child in gc.get_referents(item))
