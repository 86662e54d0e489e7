"""Work that waits for its turn: one run at a time, whoever asks."""

import contextlib
import heapq
import itertools
import threading

__all__ = ["Job", "QueueFullError", "RunStopped", "Workshop"]


class RunStopped(Exception):
    """Somebody pressed *stop*.

    Not a KeyboardInterrupt: skorch and this library take one that a callback raises for early
    stopping, and keep what was reached.
    """


class QueueFullError(RuntimeError):
    """Too many runs are waiting."""


class Job:
    """A piece of work and what is known of it so far.

    Attributes
    ----------
    events : list
        What the work reported, in order; only ever appended to.
    done : threading.Event
        Set when it ended, in whatever way.
    result : object
        What it returned.
    error : Exception or None
        What it raised.
    """

    def __init__(self, work):
        self._work = work
        self._stop = threading.Event()
        self.started = threading.Event()
        self.done = threading.Event()
        self.events, self.result, self.error = [], None, None

    def stop(self):
        """Ask it to end; a job that waits ends at once when its turn comes."""
        self._stop.set()

    def check(self):
        """End the work by an exception if it was asked to."""
        if self._stop.is_set():
            raise RunStopped("The run was stopped; the model is as it was.")

    def report(self, event):
        """Tell those who watch."""
        self.events.append(event)

    def _run(self):
        self.started.set()
        try:
            self.check()
            self.result = self._work(self)
        except Exception as error:
            # Frames hold networks and rows, and those who watch need none.
            self.error = error.with_traceback(None)
        finally:
            self._work = None
            self.done.set()


class Workshop:
    """One worker and a queue; what is urgent comes first, then what came first.

    Training draws from the global random states, which are put aside for a run and back after it:
    two runs at once would disturb each other, and figures could not be repeated. More
    threads would not be faster either, as a run keeps its processor busy.

    Parameters
    ----------
    max_waiting : int, default=200
        Length of the queue.
    """

    def __init__(self, max_waiting=200):
        self.max_waiting = max_waiting
        self._waiting, self._order = [], itertools.count()
        self._changed = threading.Condition()
        self._worker = None

    def submit(self, work, *, urgent=True):
        """Put work, a function of a Job, into the queue.

        Returns
        -------
        job : Job

        Raises
        ------
        QueueFullError
            If too much is waiting.
        """
        job = Job(work)
        with self._changed:
            if len(self._waiting) >= self.max_waiting:
                raise QueueFullError(
                    f"{self.max_waiting} runs are waiting already: try again in a minute."
                )
            heapq.heappush(self._waiting, (not urgent, next(self._order), job))
            if self._worker is None:
                self._worker = threading.Thread(target=self._serve, daemon=True)
                self._worker.start()
            self._changed.notify()
        return job

    def position(self, job):
        """How many are before a job that waits; 0 for one that runs or is done."""
        with self._changed:
            order = [waiting for *_, waiting in sorted(self._waiting, key=lambda entry: entry[:2])]
        return order.index(job) + 1 if job in order else 0

    def _serve(self):
        import torch

        torch.set_num_threads(1)
        while True:
            with self._changed:
                while not self._waiting:
                    self._changed.wait()
                job = heapq.heappop(self._waiting)[-1]
            with contextlib.suppress(Exception):
                job._run()
            del job  # its result belongs to those who asked
