"""Models, and the state of long runs, in files that hold no code."""

import math
import warnings
from pathlib import Path

import numpy as np
import sklearn
import skorch
import torch

from sklunlearn import __version__
from sklunlearn._checkpoints import checkpoints
from sklunlearn._data import Rows
from sklunlearn._decoding import Decoder
from sklunlearn._encoding import Encoder
from sklunlearn._files import atomic_write
from sklunlearn._known import CustomObjects
from sklunlearn._model_file import pack, unpack
from sklunlearn._nets import forward, row_probabilities, weights_digest
from sklunlearn._seeding import isolated_random_state
from sklunlearn.base import BaseUnlearner
from sklunlearn.discovery import all_unlearners
from sklunlearn.exceptions import ModelFileError

__all__ = ["SKOPS_TRUSTED", "checkpoints", "load_model", "save_model"]

SKOPS_TRUSTED = [
    *(f"{method.__module__}.{name}" for name, method in all_unlearners()),
    "sklunlearn.compose.ComposedUnlearner",
    "builtins.print",
    "functools.partial",
    "sklunlearn._certified_head.CertifiedHead",
    "sklunlearn._data.BatchLoader",
    "sklunlearn._ensemble.Ensemble",
    "sklunlearn._ensemble.SideBySide",
    "sklunlearn._newton.LinearHeads",
    "sklunlearn.networks.AllCNN",
    "sklunlearn.networks.MLP",
    "sklunlearn.networks.SmallCNN",
    "sklunlearn.unlearners.sisa.Shard",
    "sklearn.utils._bunch.Bunch",
    "skorch.callbacks.logging.EpochTimer",
    "skorch.callbacks.logging.PrintLog",
    "skorch.callbacks.scoring.EpochScoring",
    "skorch.callbacks.scoring.PassthroughScoring",
    "skorch.classifier.NeuralNetClassifier",
    "skorch.dataset.Dataset",
    "skorch.history.History",
    "skorch.setter.optimizer_setter",
    "skorch.utils._indexing_other",
    "skorch.utils.to_numpy",
    "torch.nn.modules.loss.CrossEntropyLoss",
    "torch.nn.modules.loss.NLLLoss",
    "torch.optim.adam.Adam",
    "torch.utils.data.dataloader.DataLoader",
]
"""Types in a skops file of an unlearner, for ``skops.io.load(path, trusted=SKOPS_TRUSTED)``.

For files of your own alone. skorch puts the weights of a net into a pickle, and skops hands that
pickle on without a look at it: to trust ``skorch.classifier.NeuralNetClassifier`` is to run
whatever the pickle holds. :func:`load_model` needs no such trust.
"""


def save_model(unlearner, path):
    """Write a fitted or released unlearner to a file that holds no code.

    Parameters
    ----------
    unlearner : BaseUnlearner
        Fitted. ``unlearner.release()`` is the model to give away; the unlearner itself is saved to
        go on with requests later, and its file holds the original network too.
    path : str or path-like
        File to write. One that is there is replaced, whole or not at all.

    Raises
    ------
    NotFittedError
        If it is not fitted.
    TypeError
        If something that it holds has no form in the file; the message has its path.
    ImportError
        If safetensors is not installed, or, for a Pipeline, skops.
    OSError
        If the file cannot be written; one that was there is as it was.

    See Also
    --------
    load_model : Reads the file.

    Notes
    -----
    The format is that of safetensors [1]_. Everything that is not a tensor (parameters, classes,
    feature names, the structure of the networks, versions, a SHA-256 digest of the file) is JSON in
    its header; transformers of scikit-learn are in skops' format. Before it is written, the file is
    loaded, and what it gives is compared with the model: the weights, and the answer to a made-up
    row. :func:`load_model` compares them again.

    Left out are `history_` and the histories of the nets, the state of optimizers and callbacks,
    `memory`, requests for metadata (``set_fit_request``), and what has a value for each forgotten
    row: `forget_loss_`, `distances_`, `search_`. Unlearning does not depend on them: requests after
    loading give the weights that they would have given.

    References
    ----------
    .. [1] https://github.com/huggingface/safetensors

    Examples
    --------
    >>> import os, tempfile
    >>> from sklearn.datasets import load_iris
    >>> from sklunlearn import NegGradUnlearner
    >>> from sklunlearn.persistence import load_model, save_model
    >>> X, y = load_iris(return_X_y=True)
    >>> unlearner = NegGradUnlearner(random_state=0).fit(X, y, forget=(y == 0))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "model.safetensors")
    ...     save_model(unlearner.release(), path)
    ...     model = load_model(path)
    >>> bool((model.predict_proba(X) == unlearner.predict_proba(X)).all())
    True
    """
    if not isinstance(unlearner, BaseUnlearner):
        raise TypeError(
            f"`unlearner` must be an unlearner, got {unlearner!r}. Save other estimators with "
            "skops, and torch modules with safetensors."
        )
    sklearn.utils.validation.check_is_fitted(unlearner, "net_")
    encoder = Encoder()
    description = {
        **encoder.describe_unlearner(unlearner),
        "objects": encoder.objects,
        "custom": sorted(encoder.custom),
        "weights_digest": weights_digest(unlearner.net_),
        "probe": _probe(unlearner),
        "versions": _versions(),
    }
    data = pack(description, encoder.tensors)
    # Found out now, while the model is at hand.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _build(*unpack(data, path), CustomObjects([*encoder.custom.values()]), path)
    atomic_write(path, data)


def load_model(path, *, custom_objects=()):
    """Read an unlearner from a file, without running code that the file could name.

    Parameters
    ----------
    path : str or path-like
        A file of :func:`save_model`.
    custom_objects : list of classes and functions, default=()
        What the model needs beside torch.nn, torch.optim, skorch and this package: the class of a
        torch module of your own, for example. They are looked up here by name. The file itself
        makes nothing be imported.

    Returns
    -------
    unlearner : BaseUnlearner
        As it was saved: released, or ready for further requests.

    Raises
    ------
    ModelFileError
        If the file is not whole or not as it was written, was written by a newer release, is
        something else, or needs a class that is not in `custom_objects`.
    FileNotFoundError
        If there is no such file.
    ImportError
        If safetensors is not installed, or, for a Pipeline, skops.

    Warns
    -----
    UserWarning
        If the file was written with other versions of the libraries, or for a device that this
        machine does not have.

    Notes
    -----
    The digest finds damage and careless edits. It is no signature: whoever changes a file on
    purpose can compute a new one. Such a file can hold other weights, but no code.

    Examples
    --------
    See :func:`save_model`.
    """
    path = Path(path)
    if path.is_dir():
        raise ModelFileError(f"{path} is a folder, expected a file that save_model has written.")
    custom = CustomObjects(custom_objects)
    return _build(*unpack(path.read_bytes(), path), custom, path)


def _build(description, tensors, custom, path):
    try:
        missing = [name for name in description["custom"] if custom.find(name) is None]
        if missing:
            names = ", ".join(name.rpartition(".")[2] for name in missing)
            raise ModelFileError(
                f"{path} needs {', '.join(missing)}, which this package does not know: import them "
                f"and pass load_model(path, custom_objects=[{names}])."
            )
        _compare_versions(description["versions"], path)
        decoder = Decoder(description["objects"], tensors, custom)
        unlearner = decoder.make_unlearner(description)
        if weights_digest(unlearner.net_) != description["weights_digest"]:
            raise ValueError("it has other weights than were saved")
        _compare_probe(unlearner, description["probe"])
    except (ModelFileError, ImportError):
        raise
    except Exception as error:  # whatever a forged description leads to
        raise ModelFileError(
            f"{path} is whole, but no model can be made of it: {type(error).__name__}: {error}. If "
            "it holds classes of your own, pass them as they were when it was saved, with "
            "`custom_objects`; else install the versions that it was saved with, "
            f"{description.get('versions')}."
        ) from error
    return unlearner


def _probe(unlearner):
    """Probabilities of a made-up row, by which code that has changed is found out; or None."""
    shape = getattr(unlearner, "_shape", ())
    if unlearner.preprocessing_ is not None or not shape:
        return None  # what such rows look like is not known
    row = np.linspace(-1, 1, math.prod(shape), dtype=np.float32).reshape(1, *shape)
    try:
        with isolated_random_state(0):
            answer = forward(unlearner.net_, Rows(row), row_probabilities)
    except Exception:  # a network may take no such numbers, as one of texts does
        return None
    return answer.tolist() if np.isfinite(answer).all() else None


def _compare_probe(unlearner, saved):
    here = None if saved is None else _probe(unlearner)
    # Another processor rounds otherwise.
    if saved is not None and (here is None or not np.allclose(here, saved, rtol=0, atol=1e-3)):
        raise ValueError(
            f"the network answers {here} to a row to which it answered {saved} when it was saved, "
            "so that the code of one of its classes must have changed"
        )


def _versions():
    modules = {"scikit-learn": sklearn, "skorch": skorch, "torch": torch, "numpy": np}
    # What follows a plus sign says for which hardware a release was built.
    versions = {name: str(m.__version__).partition("+")[0] for name, m in modules.items()}
    return {"sklunlearn": __version__, **versions}


def _compare_versions(saved, path):
    here = _versions()
    others = [f"{n} {v} (here {here[n]})" for n, v in saved.items() if v != here.get(n, v)]
    if others:
        warnings.warn(
            f"{path} was saved with other versions: {', '.join(others)}. Compare a few predictions "
            "with those from before, or install the same versions.",
            UserWarning,
            stacklevel=4,
        )
