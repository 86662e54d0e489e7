"""Work that waits for its turn: one run at a time, whoever asks."""

import heapq
import itertools
import threading

__all__ = ["Job", "QueueFullError", "RunStopped", "Workshop"]


_STOPPED = "The run was stopped; the model is as it was."


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
        self._stop, self._lock = threading.Event(), threading.Lock()
        self.started = threading.Event()
        self.done = threading.Event()
        self.events, self.result, self.error = [], None, None

    def stop(self):
        """Ask it to end; one that waits ends at once."""
        with self._lock:
            self._stop.set()
            if not self.started.is_set():
                self._end(RunStopped(_STOPPED))

    def check(self):
        """End the work by an exception if it was asked to."""
        if self._stop.is_set():
            raise RunStopped(_STOPPED)

    def report(self, event):
        """Tell those who watch."""
        self.events.append(event)

    def _run(self):
        with self._lock:
            if self.done.is_set():
                return
            self.started.set()
        error = None
        try:
            self.result = self._work(self)
        except BaseException as raised:  # a SystemExit would end the worker, which all wait for
            error = raised
        self._end(error)

    def _end(self, error):
        # Frames hold networks and rows, and those who watch need none.
        self.error = None if error is None else error.with_traceback(None)
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
            # Those that were stopped do not wait any more.
            self._waiting = [entry for entry in self._waiting if not entry[-1].done.is_set()]
            heapq.heapify(self._waiting)
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
            entries = [entry for entry in self._waiting if not entry[-1].done.is_set()]
        order = [waiting for *_, waiting in sorted(entries, key=lambda entry: entry[:2])]
        return order.index(job) + 1 if job in order else 0

    def _serve(self):
        import torch

        torch.set_num_threads(1)
        while True:
            with self._changed:
                while not self._waiting:
                    self._changed.wait()
                job = heapq.heappop(self._waiting)[-1]
            job._run()
            del job  # its result belongs to those who asked
