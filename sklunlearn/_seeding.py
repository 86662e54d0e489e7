"""Random draws that leave the global random states as they were."""

import contextlib
import numbers
import os
import random
import threading
from contextvars import ContextVar

import numpy as np
import torch
from sklearn.utils import check_random_state

__all__ = [
    "RandomStream",
    "draw_once",
    "draw_seed",
    "global_states",
    "isolated_random_state",
    "shared_draws",
]


class _Turns:
    """The states are those of the process: threads that train must take turns."""

    def __init__(self):
        self.lock = threading.RLock()


_turns = _Turns()
# In a process that is forked off, the thread whose turn it was does not live on to end it.
if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=_turns.__init__)

_known = ContextVar("_known", default=None)


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
    are what they were on entry. As all threads of a process share these states, only one thread at
    a time is inside; others wait. So a thread inside must not wait for others that would enter.

    Parameters
    ----------
    seed : int or None
        Seed of the states inside; None takes entropy from the operating system.
    """
    with _turns.lock:
        states = _take_states()
        try:
            _set_seed(seed)
            yield
        finally:
            _put_back(states)


def global_states():
    """The global random states: equal as long as nothing is drawn.

    Returns
    -------
    states : tuple
    """
    _, key, position, *gauss = np.random.get_state()  # noqa: NPY002
    of_torch = [torch.get_rng_state()]
    if torch.cuda.is_available():
        of_torch += torch.cuda.get_rng_state_all()
    torch_states = tuple(state.numpy().tobytes() for state in of_torch)
    return random.getstate(), (key.tobytes(), position, *gauss), torch_states


class RandomStream:
    """Global random states that are put aside and taken up again, each time as a context.

    For runs that take turns: each goes on drawing as if it were alone. Only to be entered within
    :func:`isolated_random_state`, which puts the states of before back.

    Parameters
    ----------
    seed : int or None
        Seed of the states when the context is first entered; None takes entropy from the operating
        system.
    """

    def __init__(self, seed):
        self._seed = seed
        self._states = None

    def __enter__(self):
        if self._states is None:
            _set_seed(self._seed)
        else:
            _put_back(self._states)
        return self

    def __exit__(self, *error):
        self._states = _take_states()


@contextlib.contextmanager
def shared_draws():
    """Context in which :func:`draw_once` remembers what it has computed."""
    token = _known.set({})
    try:
        yield
    finally:
        _known.reset(token)


def draw_once(key, function):
    """What a function gives that draws, computed once for an equal key and equal global states.

    Parameters
    ----------
    key : callable
        Without arguments; gives something hashable of all that the result depends on, besides the
        draws. Asked in :func:`shared_draws` only.
    function : callable
        Without arguments. Its result must not be changed.

    Returns
    -------
    result : object
        That of ``function()``, which is called unless this was known in :func:`shared_draws`. The
        global states are in either case what they are after the call.
    """
    known = _known.get()
    if known is None:
        return function()
    key = key(), global_states()
    if key in known:
        result, states = known[key]
        _put_back(states)
    else:
        result = function()
        known[key] = result, _take_states()
    return result


def _take_states():
    states = [
        (torch.set_rng_state, torch.get_rng_state()),
        (np.random.set_state, np.random.get_state()),  # noqa: NPY002
        (random.setstate, random.getstate()),
    ]
    if torch.cuda.is_available():
        states.append((torch.cuda.set_rng_state_all, torch.cuda.get_rng_state_all()))
    return states


def _put_back(states):
    for put_back, state in states:
        put_back(state)


def _set_seed(seed):
    if seed is None:
        seed = int(np.random.default_rng().integers(np.iinfo(np.int32).max))
    if torch.cuda.is_available() or torch.backends.mps.is_available() or torch.xpu.is_available():
        torch.manual_seed(seed)
    else:  # it would note down from where it was called, for devices that are not there: 0.4 ms
        torch.default_generator.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    random.seed(seed)
