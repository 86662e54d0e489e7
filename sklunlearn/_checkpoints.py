"""Long runs that go on where they were when their process was killed."""

import contextlib
import hashlib
import io
import pickle
import time
import warnings
from contextvars import ContextVar
from pathlib import Path

import numpy as np
import torch
from skorch.callbacks import Callback

from sklunlearn._files import atomic_write
from sklunlearn._run_key import key_of_run
from sklunlearn._run_state import RunState, UnsaveableError, set_random_states
from sklunlearn._stacklevel import users_stacklevel

__all__ = ["check_repeatable", "checkpoints", "fit_stage", "run_stage"]

_MAGIC = b"sklunlearn checkpoint 1\n"
_SUFFIX = ".checkpoint"
# So many times as long as writing took, the run goes on before the next: 5% of the time.
_PAUSE = 20

_current = ContextVar("sklunlearn_checkpoints", default=None)


@contextlib.contextmanager
def checkpoints(checkpoint_dir):
    """Context in which trainings and unlearning runs can go on after their process was killed.

    The same program, started again, takes up each training and each run of a gradient method after
    the last epoch that is in the folder, and passes over those that had ended. The weights at the
    end are, bit for bit, those of a program that was not interrupted. A run is recognised by what
    it starts from: data, parameters, weights, random states and versions.

    Parameters
    ----------
    checkpoint_dir : str or path-like
        Folder for the checkpoints; it is made if it does not exist. It, if new, and the files are
        for their owner only. When the context ends without an error, the files of its runs are
        removed.

    Yields
    ------
    folder : pathlib.Path

    Raises
    ------
    OSError
        If the folder cannot be made.
    ValueError
        In the context, if something is to be trained with ``random_state=None``.

    Warns
    -----
    UserWarning
        If the folder holds only checkpoints of other runs, one that is damaged, or if the state
        of a run has no form in a file: the run then starts from its beginning. Also if a file
        cannot be written; the run then goes on without it.

    Notes
    -----
    Written at the end of an epoch, but about 5% of the time at most is spent on it: epochs of
    milliseconds are not written one by one. Checkpoints are read without running code. They hold
    weights of the original network, and may hold labels and other values of single rows: protect
    the folder as you protect the data, and empty it if the program is not started again.

    What a method computes before its epochs, such as a search for the decision boundary, and what
    has no epochs, as in :class:`sklunlearn.unlearners.SSDUnlearner`, is computed again. Other
    processes, as joblib starts for ``n_jobs=2``, write no checkpoints, nor do nets that accelerate
    trains. Code that was changed in between is not noticed, except that of a function which is
    itself a parameter.

    Examples
    --------
    >>> import tempfile
    >>> from sklearn.datasets import load_iris
    >>> from sklunlearn import BoundaryUnlearner
    >>> from sklunlearn.persistence import checkpoints
    >>> X, y = load_iris(return_X_y=True)
    >>> unlearner = BoundaryUnlearner(random_state=0)
    >>> with tempfile.TemporaryDirectory() as folder, checkpoints(checkpoint_dir=folder):
    ...     unlearner = unlearner.fit(X, y).unlearn(X, y, forget=[7, 70])
    >>> len(unlearner.records_)
    1
    """
    folder = _Folder(Path(checkpoint_dir))
    token = _current.set(folder)
    try:
        yield folder.path
    finally:
        _current.reset(token)
    folder.clear()


def check_repeatable(seed):
    """Raise a ValueError if checkpoints are kept of what could not be repeated."""
    if _current.get() is not None and seed is None:
        raise ValueError(
            "Checkpoints need a run that can be repeated, but `random_state` is None: set it to "
            "an integer, or leave the `checkpoints` context."
        )


def run_stage(method, run, forget, retain, max_epochs, **settings):
    """The stage of a gradient method's `max_epochs` epochs, put back to where it was."""
    if _is_off(run):
        return _NoStage(max_epochs)
    data = forget, retain
    settings.update(method=type(method), params=method, max_epochs=max_epochs)
    return _Stage(RunState(run, data, method), key_of_run(run, data, **settings), max_epochs)


@contextlib.contextmanager
def fit_stage(net, X, y, max_epochs):
    """The stage of a `fit_loop`, put back to where it was; each epoch in the context is kept."""
    if _is_off(net):
        yield _NoStage(max_epochs)
        return
    max_epochs = net.max_epochs if max_epochs is None else max_epochs
    key = key_of_run(net, (X, y), max_epochs=max_epochs)
    stage = _Stage(RunState(net), key, max_epochs, puts_back_random=False)
    # What the loop draws before its first epoch, to split off a validation set, it draws again.
    first = ("checkpoint_begin", _AtEpoch(begin=stage.put_back_random))
    last = ("checkpoint_end", _AtEpoch(end=stage.keep))
    callbacks = net.callbacks_
    vars(net)["callbacks_"] = [first, *callbacks, last]
    try:
        yield stage
    finally:
        vars(net)["callbacks_"] = callbacks


class _AtEpoch(Callback):
    def __init__(self, begin=None, end=None):
        self.begin, self.end = begin, end

    def on_epoch_begin(self, net, **kwargs):
        if self.begin is not None:
            self.begin()

    def on_epoch_end(self, net, **kwargs):
        if self.end is not None:
            self.end()

    def __reduce__(self):
        return Callback, ()  # in a net that another callback pickles


class _NoStage:
    """Where no checkpoints are asked for."""

    ended = False
    n_done = 0

    def __init__(self, max_epochs):
        self.n_left = max_epochs

    def keep(self):
        """Write a checkpoint after an epoch, unless the last one was a moment ago."""

    def end(self):
        """Write one after the last epoch."""


class _Stage(_NoStage):
    """A series of epochs; `n_done` and `n_left` say where it is taken up."""

    def __init__(self, state, key, max_epochs, *, puts_back_random=True):
        self._folder, self._state, self._key = _current.get(), state, key
        self._random, self._done = None, 0
        kept = self._folder.read(key)
        if kept is not None:
            state.put_back(kept["state"])
            self._done, self._random = kept["n_done"], kept["state"]["random"]
            self.ended = kept["ended"] or self._done >= max_epochs
        self.n_done, self.n_left = self._done, max_epochs - self._done
        if puts_back_random or self.ended:
            self.put_back_random()

    def put_back_random(self):
        if self._random is not None:
            set_random_states(self._random)
            self._random = None

    def keep(self):
        self._done += 1
        self._write(ended=False)

    def end(self):
        if not self.ended:
            self._write(ended=True)

    def _write(self, *, ended):
        if self._folder is None or not self._folder.is_due():
            return
        try:
            with self._folder.timed():
                state = {"n_done": self._done, "ended": ended, "state": self._state.take()}
                self._folder.write(self._key, state)
        except UnsaveableError as error:
            self._folder = None
            warnings.warn(
                f"No checkpoints of this run are written, as {error}, which has no form in a file "
                "that is read without running code. Killed, the run starts from its beginning. "
                "Keep what changes in numbers, strings, arrays, tensors, lists and dictionaries.",
                stacklevel=users_stacklevel(),
            )


class _Folder:
    """The folder, and which files in it belong to the runs of the context."""

    def __init__(self, path):
        self.path = path
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._keys = []
        self._next = -np.inf

    def is_due(self):
        return time.monotonic() >= self._next

    @contextlib.contextmanager
    def timed(self):
        began = time.monotonic()
        yield
        ended = time.monotonic()
        self._next = ended + _PAUSE * (ended - began)

    def read(self, key):
        """What the file of a run holds; None if there is none that can be used."""
        is_first, path = not self._keys, self._file(key)
        self._keys.append(key)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            # The first run of a program writes before all others do.
            if is_first and any(self.path.glob(f"*{_SUFFIX}")):
                warnings.warn(
                    f"The checkpoints in {self.path} are of other runs, with other data, "
                    "parameters, seeds or versions: this one starts from its beginning. They are "
                    "left as they are; delete them if they are not needed any more.",
                    stacklevel=users_stacklevel(),
                )
            return None
        digest, payload = data[len(_MAGIC) :][:32], data[len(_MAGIC) + 32 :]
        if data.startswith(_MAGIC) and hashlib.sha256(payload).digest() == digest:
            # Someone else's may hold whatever they like: nothing of it is run.
            with warnings.catch_warnings(action="ignore"):
                with contextlib.suppress(pickle.UnpicklingError, RuntimeError):
                    return torch.load(io.BytesIO(payload), weights_only=True)
        warnings.warn(
            f"The checkpoint {path} is damaged, or is none: its content does not have the digest "
            "that it states. The run starts from its beginning, and writes the file anew.",
            stacklevel=users_stacklevel(),
        )
        return None

    def write(self, key, state):
        buffer = io.BytesIO()
        torch.save(state, buffer)
        payload = buffer.getvalue()
        data = b"".join([_MAGIC, hashlib.sha256(payload).digest(), payload])
        try:
            atomic_write(self._file(key), data, private=True)
        except OSError as error:
            warnings.warn(
                f"A checkpoint could not be written to {self.path}: {error}. The run goes on.",
                stacklevel=users_stacklevel(),
            )

    def clear(self):
        """Remove the files of the runs, and what a killed process left of them."""
        # The last first: killed in between, a program need not start from its beginning.
        for key in reversed(self._keys):
            path = self._file(key)
            for left in (path, *self.path.glob(f".{path.name}.*.tmp")):
                left.unlink(missing_ok=True)

    def _file(self, key):
        return self.path / f"{key}{_SUFFIX}"


def _is_off(net):
    # Of several processes, each would have to be where the others are.
    return _current.get() is None or hasattr(net, "accelerator")
