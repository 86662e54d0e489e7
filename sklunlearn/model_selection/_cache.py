"""A cache of trained networks that workers share for the time of a search."""

import os
import tempfile
from pathlib import Path

import cloudpickle
import joblib

__all__ = ["NetworkCache"]


class NetworkCache:
    """What `memory` needs of :class:`joblib.Memory`, also for classes that cannot be imported.

    A network whose module is defined in a notebook has no place in a joblib.Memory that workers
    use: they know the class, but could not load it by its name.

    Parameters
    ----------
    folder : str
        Where the networks are kept. It must exist.
    """

    def __init__(self, folder):
        self.folder = folder

    def __repr__(self):
        return "NetworkCache()"  # in records; the folder will be gone

    def cache(self, function, ignore=()):
        """Return a function of positional arguments that looks up what is known.

        The first argument does not take part in the look-up; `key` stands for it.
        """

        def cached(first, *arguments, key):
            path = Path(self.folder) / joblib.hash((arguments, key))
            if path.exists():
                return cloudpickle.loads(path.read_bytes())
            result = function(first, *arguments, key=key)
            # Renamed when it is complete: another worker may be looking.
            handle, name = tempfile.mkstemp(dir=self.folder)
            with os.fdopen(handle, "wb") as file:
                cloudpickle.dump(result, file)
            os.replace(name, path)
            return result

        return cached
