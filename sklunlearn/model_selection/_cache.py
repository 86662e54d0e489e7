"""A cache of trained networks that workers share for the time of a search."""

import copyreg
import os
import tempfile
import warnings
from pathlib import Path

import cloudpickle
import joblib
from joblib import Parallel, delayed
from joblib.parallel import get_active_backend
from skorch import NeuralNet

__all__ = ["NetworkCache"]


class NetworkCache:
    """What `memory` needs of :class:`joblib.Memory`, also for classes that cannot be imported.

    A network whose module is defined in a notebook has no place in a joblib.Memory that workers
    use: they know the class, but could not load it by its name.

    Parameters
    ----------
    folder : str
        Where the networks are kept. A process that cannot see it, as it runs on another machine,
        holds what it has trained until it is given another cache.
    """

    def __init__(self, folder):
        self.folder = folder
        self._held = {}

    def warn_if_unseen(self, n_jobs):
        """Warn if joblib's workers cannot see the folder, as on other machines they cannot."""
        if n_jobs == 1 or _on_this_machine():
            return
        seen = Parallel(n_jobs)(delayed(os.path.isdir)(self.folder) for _ in range(n_jobs))
        if not all(seen):
            warnings.warn(
                f"Some workers cannot see {self.folder}, in which networks are kept for the time "
                "of the search: each of them trains the network of each fold itself. To train it "
                "once, pass `memory` as a folder that all machines share.",
                UserWarning,
                stacklevel=4,
            )

    def __repr__(self):
        return "NetworkCache()"  # in records; the folder will be gone

    def __sklearn_clone__(self):
        return self  # with what it holds

    def __getstate__(self):
        return {"folder": self.folder}

    def __setstate__(self, state):
        self.__init__(**state)
        if not os.path.isdir(self.folder):
            self._held = _held_here(self.folder)

    def cache(self, function, ignore=()):
        """Return a function of positional arguments that looks up what is known.

        The first argument does not take part in the look-up; `key` stands for it.
        """

        def cached(first, *arguments, key):
            name = joblib.hash((arguments, key))
            if name not in self._held:
                path = Path(self.folder) / name
                if path.exists():
                    self._held[name] = cloudpickle.loads(path.read_bytes())
                else:
                    self._held[name] = function(first, *arguments, key=key)
                    if os.path.isdir(self.folder):
                        self._store(self._held[name], path)
            return self._held[name]

        return cached

    def _store(self, network, path):
        # Renamed when it is complete: another worker may be looking.
        handle, written = tempfile.mkstemp(dir=self.folder)
        with os.fdopen(handle, "wb") as file:
            _Pickler(file).dump(network)
        os.replace(written, path)


def _on_this_machine():
    # joblib's own backends. A loky worker must not be asked: it takes the memory after its first
    # task for its normal size, and ends itself when torch is loaded on top of it.
    return type(get_active_backend()[0]).__module__.startswith("joblib._parallel_backends")


# Networks of the last cache that this process could not see.
_HELD = {}


def _held_here(folder):
    if folder not in _HELD:
        _HELD.clear()
        _HELD[folder] = {}
    return _HELD[folder]


class _Pickler(cloudpickle.Pickler):
    """As cloudpickle; skorch's nets by their attributes, as their own pickling needs names."""

    def reducer_override(self, obj):
        if isinstance(obj, NeuralNet):
            return copyreg.__newobj__, (type(obj),), vars(obj), None, None, _set_attributes
        return super().reducer_override(obj)


def _set_attributes(net, attributes):
    vars(net).update(attributes)
