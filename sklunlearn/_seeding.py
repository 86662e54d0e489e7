"""Random draws that leave the global random states as they were."""

import contextlib
import numbers
import random

import numpy as np
import torch
from sklearn.utils import check_random_state

__all__ = ["draw_seed", "isolated_random_state"]


def draw_seed(random_state):
    """Seed for one run: an int, or None where nobody asked for the run to be repeatable."""
    if random_state is None or isinstance(random_state, numbers.Integral):
        return random_state
    return int(check_random_state(random_state).randint(np.iinfo(np.int32).max))


@contextlib.contextmanager
def isolated_random_state(seed):
    """Context with its own global random states of torch, NumPy and Python.

    Networks draw from the global states (initial weights, dropout, shuffling), so that a
    generator passed by hand could not reach every draw. On exit, also by an exception, the states
    are what they were on entry.

    Parameters
    ----------
    seed : int or None
        Seed of the states inside; None takes entropy from the operating system.
    """
    if seed is None:
        seed = int(np.random.default_rng().integers(np.iinfo(np.int32).max))
    python_state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002
    devices = range(torch.cuda.device_count()) if torch.cuda.is_available() else []
    try:
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(seed)
            np.random.seed(seed)  # noqa: NPY002
            random.seed(seed)
            yield
    finally:
        np.random.set_state(numpy_state)  # noqa: NPY002
        random.setstate(python_state)
