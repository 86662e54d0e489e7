"""What one person does in the explorer, apart from what all others do."""

import collections
import shutil
import tempfile
from pathlib import Path

from sklunlearn.explorer import _runs
from sklunlearn.explorer._guard import guarded
from sklunlearn.explorer._knobs import methods_for, parse_knobs
from sklunlearn.explorer._queue import Workshop
from sklunlearn.explorer._requests import ask_class
from sklunlearn.explorer._sources import BUNDLED, load_bundled
from sklunlearn.explorer._uploads import read_upload

__all__ = ["COMPOSITIONS", "MAX_RUNS", "BusyError", "Lab", "Session"]

MAX_RUNS = 12
_MAX_REFERENCES = 32
COMPOSITIONS = ("average", "graft", "interpolate", "task_arithmetic", "vote")


class BusyError(RuntimeError):
    """A session runs one thing at a time."""


class Lab:
    """What sessions share: the queue, and networks of the bundled data, which nothing changes.

    Only the worker of the queue reads and writes the networks.
    """

    def __init__(self, max_waiting=200):
        self.workshop = Workshop(max_waiting)
        self.originals = {}
        self.references = collections.OrderedDict()

    def find_reference(self, key):
        """The retrained network of this key, or None."""
        if key in self.references:
            self.references.move_to_end(key)
        return self.references.get(key)

    def keep_reference(self, key, reference):
        """Keep a retrained network, and let the one go that was used longest ago."""
        self.references[key] = reference
        if len(self.references) > _MAX_REFERENCES:
            self.references.popitem(last=False)


class Session:
    """Data, a request, and runs with that request.

    Parameters
    ----------
    lab : Lab
        What it shares with others.

    Attributes
    ----------
    source : Source
        The data that was chosen.
    request : Request
        What is to be forgotten.
    runs : list of Run
        At most `MAX_RUNS`; the oldest goes when another comes.
    job : Job or None
        What is in progress, or was last.
    running : Run or None
        What it fills in, as it goes.
    """

    def __init__(self, lab):
        self.lab = lab
        self._folder = None
        self._closed = False
        self.job, self.running = None, None
        self.runs, self.n_runs = [], 0
        self._originals, self._references = {}, {}
        self.choose("digits")

    def choose(self, name):
        """Take bundled data, and let all runs go."""
        self._take(load_bundled(name))

    def upload(self, path, name=None):
        """Take an uploaded file; if it is not valid, all stays as it was.

        Raises
        ------
        UploadError
            If it cannot be used.
        """
        folder = Path(tempfile.mkdtemp(prefix="sklunlearn-explorer-"))
        try:
            source = read_upload(path, folder, name)
        finally:
            # The rows are in memory now; what people upload is not left on the disk.
            shutil.rmtree(folder, ignore_errors=True)
        self._take(source)

    def _take(self, source):
        self.stop()
        self.source = source
        self._originals, self._references = {}, {}
        self.ask(ask_class(source, source.classes[-1]))

    def ask(self, request):
        """Put another request; runs with the last one cannot be compared with it, and go."""
        self.stop()
        self.request = request
        self.runs = []

    @property
    def methods(self):
        """Methods that are made for the request, by name."""
        return methods_for(self.request.kind)

    def start(self, method, texts=None):
        """Begin a run; its Job tells how it goes, and has the Run as its result.

        Parameters
        ----------
        method : str
            Name of an unlearner.
        texts : dict of str to str, default=None
            Its parameters, as they were typed.

        Raises
        ------
        ValueError
            If the method or a parameter is not valid.
        BusyError, QueueFullError
            If a run is in progress, or too many are waiting.
        """
        methods = self.methods
        if method not in methods:
            raise ValueError(
                f"{method!r} is not made for forgetting {self.request.title}: choose one of "
                f"{', '.join(methods)}."
            )
        knobs = parse_knobs(methods[method], texts or {})
        run = _runs.Run(0, self.source, self.request, method, knobs)
        return self._begin(run, lambda job: _runs.perform(job, run, self._original(job, run)))

    def compose(self, first, second, method="average"):
        """Begin a composition of two runs, given by their numbers."""
        if method not in COMPOSITIONS:
            raise ValueError(f"{method!r} is no composition: choose one of {COMPOSITIONS}.")
        members = self.find(first), self.find(second)
        if first == second or any(member.members for member in members):
            raise ValueError("Choose two different runs, each of a single method.")
        run = _runs.Run(
            0, self.source, self.request, "ComposedUnlearner", {"method": method}, members=members
        )
        return self._begin(run, lambda job: _runs.compose(job, run))

    def _begin(self, run, work):
        if self._closed:
            raise BusyError("This session has ended: load the page again.")
        if self.job is not None and not self.job.done.is_set():
            raise BusyError("A run of yours is in progress: wait for it, or stop it.")

        def begin(job):
            run.reference = self._found_reference(run)
            with guarded(job):
                work(job)
            job.check()
            if self._is_current(run):
                self.n_runs += 1
                run.number = self.n_runs
                self.runs = [*self.runs, run][-MAX_RUNS:]
            return run

        self.job, self.running = self.lab.workshop.submit(begin), run
        return self.job

    def start_reference(self, run):
        """Begin to retrain without the rows; urgent runs of others come before. Judges `run`."""

        def work(job):
            with guarded(job):
                return _runs.judge(run, self._reference(job, run))

        self.job = self.lab.workshop.submit(work, urgent=False)
        return self.job

    def find(self, number):
        """The run of this number."""
        for run in self.runs:
            if run.number == number:
                return run
        raise ValueError(f"There is no run {number!r} (any more): choose one of the list.")

    def stop(self):
        """End the run in progress; the models are as they were before it."""
        if self.job is not None:
            self.job.stop()

    def close(self):
        """Let everything go."""
        self.stop()
        self._closed = True
        self.runs, self.job, self.running = [], None, None
        self._originals, self._references = {}, {}

    def _is_current(self, run):
        return not self._closed and run.source is self.source and run.request is self.request

    def _is_bundled(self, run):
        return run.source.name in BUNDLED and run.source is load_bundled(run.source.name)

    def _original(self, job, run):
        kept = self.lab.originals if self._is_bundled(run) else self._originals
        if run.source.name not in kept:
            job.report({"note": "training the original network"})
            kept[run.source.name] = _runs.train_original(job, run.source)
            job.events.clear()  # of the training; those of the run follow
        return kept[run.source.name]

    def _reference(self, job, run):
        reference = self._found_reference(run)
        if reference is None:
            original = self._original(job, run)
            reference = _runs.retrain(job, run.source, run.request, original)
            if self._is_bundled(run):
                self.lab.keep_reference((run.source.name, run.request.key), reference)
            else:
                self._references = {run.request.key: reference}
        return reference

    def _found_reference(self, run):
        if self._is_bundled(run):
            return self.lab.find_reference((run.source.name, run.request.key))
        return self._references.get(run.request.key)
