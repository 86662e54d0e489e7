"""Ends a run that was stopped or takes too long, wherever it calls a network."""

import contextlib
import threading
import time

from torch.nn.modules.module import register_module_forward_pre_hook

__all__ = ["MAX_SECONDS", "guarded"]

MAX_SECONDS = 120


@contextlib.contextmanager
def guarded(job, seconds=None):
    """Look before each call of a network by this thread whether the job is to go on.

    By the networks and not by the epochs, which some methods and all compositions lack.

    Parameters
    ----------
    job : Job
        The run.
    seconds : float, default=None
        How long it may take. None: `MAX_SECONDS`.

    Raises
    ------
    RunStopped
        If it was stopped.
    TimeoutError
        If it takes too long.
    """
    seconds = MAX_SECONDS if seconds is None else seconds
    thread, began = threading.get_ident(), time.monotonic()

    def look(module, args):
        if threading.get_ident() != thread:
            return
        job.check()
        if time.monotonic() - began > seconds:
            raise TimeoutError(
                f"The run took more than {seconds} s: choose fewer epochs or fewer rows."
            )

    handle = register_module_forward_pre_hook(look)
    try:
        yield
    finally:
        handle.remove()
