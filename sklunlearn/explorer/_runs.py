"""Runs of a method: watched, stopped, judged, and kept with what they gave."""

import copy
import dataclasses
import time
import warnings

import numpy as np
import torch
from sklearn.frozen import FrozenEstimator
from skorch.callbacks import Callback

import sklunlearn
from sklunlearn import ComposedUnlearner, RetrainUnlearner, unlearning_report
from sklunlearn._training import train_estimator
from sklunlearn.explorer._forgotten import look_at_forgotten
from sklunlearn.networks import default_net

__all__ = ["Run", "compose", "judge", "perform", "retrain", "train_original"]

_N_WATCHED = 400  # rows of each kind whose accuracy is followed
_N_FRAMES = 60
_RESOLUTION = 60


class Watch(Callback):
    """Reports every epoch."""

    def __init__(self, job=None, source=None, mask=None, frames=None, history=None):
        self.job = job
        self.history = [] if history is None else history
        self.source = source
        self.mask = mask
        self.frames = frames
        self._epoch = 0
        self.seconds = 0.0  # that watching took

    # A copy or a clone of the net is to report to the same job.
    def __deepcopy__(self, memo):
        return self

    def __sklearn_clone__(self):
        return self

    def on_epoch_end(self, net, **kwargs):
        """Follow the accuracy, and in the plane the regions."""
        began = time.perf_counter()
        self._epoch += 1
        event = {"epoch": self._epoch}
        for name, rows in (("forget", self.mask), ("retain", ~self.mask)):
            rows = np.flatnonzero(rows)[:_N_WATCHED]
            if len(rows):
                found = _codes(net.module_, self.source.X[rows], len(self.source.classes))
                event[name] = float(np.mean(self.source.classes[found] == self.source.y[rows]))
        if self.frames is not None and len(self.frames) < _N_FRAMES:
            self.frames.append(regions_of(net.module_, self.source))
        self.history.append(event)
        self.job.report(event)
        self.seconds += time.perf_counter() - began


def _codes(module, X, n_classes):
    """Classes under a network in training, which is left as it is: modes, and no random draws."""
    training = [part for part in module.modules() if part.training]
    module.eval()
    try:
        with torch.inference_mode():
            # A method may add an output for the run, which is no class.
            return module(torch.tensor(X))[:, :n_classes].argmax(dim=1).numpy()
    finally:
        for part in training:
            part.training = True


def grid_of(source):
    """Points that cover the plane, and the two axes."""
    low, high = source.X.min(axis=0), source.X.max(axis=0)
    axes = np.linspace(low - 0.1 * (high - low), high + 0.1 * (high - low), _RESOLUTION).T
    points = np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 2)
    return points.astype(np.float32), axes


def regions_of(module, source):
    """Class at each point of the grid, by its position among the classes."""
    return _codes(module, grid_of(source)[0], len(source.classes)).astype(np.uint8)


@dataclasses.dataclass(eq=False)
class Run:
    """What a run gave.

    Parameters
    ----------
    number : int
        Its number in the session.
    source : Source
        The data.
    request : Request
        What was forgotten.
    method : str
        Name of the unlearner.
    knobs : dict
        Its parameters.
    unlearner : BaseUnlearner
        It has forgotten.
    members : tuple of Run
        Two for a composition.
    history : list of dict
        "epoch", and accuracies "forget" and "retain" after it.
    frames : list of ndarray
        Of data in the plane, classes on the grid after each epoch.
    regions : dict of str to ndarray
        Of data in the plane, the same for "original", "unlearned" and "retrained".
    notes : list of str
        Warnings of the library.
    reference : BaseUnlearner or None
        Retrained without the rows.
    report : UnlearningReport
        How the networks compare.
    forgotten : Forgotten or None
        Of images, some that were forgotten.
    """

    number: int
    source: object
    request: object
    method: str
    knobs: dict
    unlearner: object = None
    members: tuple = ()
    history: list = dataclasses.field(default_factory=list)
    frames: list = dataclasses.field(default_factory=list)
    regions: dict = dataclasses.field(default_factory=dict)
    notes: list = dataclasses.field(default_factory=list)
    reference: object = None
    report: object = None
    forgotten: object = None

    @property
    def label(self):
        """One line."""
        of = " + ".join(str(member.number) for member in self.members)
        values = ", ".join(f"{name}={value}" for name, value in self.knobs.items())
        name = f"{of}, composed" if of else self.method.removesuffix("Unlearner")
        return f"{self.number}: {name}{f' ({values})' if values else ''}"


def train_original(job, source):
    """The network that has learned all training rows: the default one, with seed 0."""
    net = default_net(source.X, len(source.classes)).set_params(
        callbacks=[Watch(job, source, np.zeros(len(source.y), dtype=bool))]
    )
    return _plain(_train(net, source.X, source.y, source.classes, 0))


def _train(net, X, y, classes, seed):
    return train_estimator(net, X, np.searchsorted(classes, y), classes, seed)


def _plain(net):
    """The net without its watch, which refers to the job and the data."""
    net.callbacks, net.callbacks_ = None, []
    return net


def _forget(job, source, mask, original, method, knobs, seed, frames=None, history=None):
    watch = Watch(job, source, mask, frames, history)
    # A copy: no session shall change a network that others start from.
    frozen = FrozenEstimator(copy.deepcopy(original))
    unlearner = method(frozen, random_state=seed, **knobs).fit(source.X, source.y)
    if "callbacks" in unlearner.get_params(deep=False):
        unlearner.set_params(callbacks=[watch])
    elif method is RetrainUnlearner:  # what it trains by default, but watched
        net = default_net(source.X[~mask], len(source.classes)).set_params(callbacks=[watch])
        unlearner.set_params(estimator=net)
    unlearner.unlearn(source.X, source.y, forget=mask)
    if "callbacks" in unlearner.get_params(deep=False):
        unlearner.set_params(callbacks=None)
    elif method is RetrainUnlearner:
        _plain(unlearner.net_)
        unlearner.set_params(estimator=frozen)
    job.check()
    unlearner.unlearning_time_ -= watch.seconds
    return unlearner


def perform(job, run, original):
    """Do a run of one method and judge it, beside a retrained network if there is one already."""
    frames = run.frames if run.source.kind == "points" else None
    if frames is not None:
        run.regions["original"] = regions_of(original.module_, run.source)
    method = getattr(sklunlearn, run.method)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        mask, history = run.request.mask, run.history
        run.unlearner = _forget(
            job, run.source, mask, original, method, run.knobs, 0, frames, history
        )
    if frames is not None and (not frames or len(frames) == _N_FRAMES):
        frames.append(regions_of(run.unlearner.net_.module_, run.source))
    return _noted(run, caught)


def compose(job, run):
    """Make one network of the two members of a run."""
    members = [
        (name, FrozenEstimator(member.unlearner))
        for name, member in zip(("first", "second"), run.members, strict=True)
    ]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run.unlearner = ComposedUnlearner(members, **run.knobs, random_state=0).fit(
            run.source.X, run.source.y, forget=run.request.mask
        )
    run.regions.update(run.members[0].regions)
    return _noted(run, caught)


def _noted(run, caught):
    run.notes = [
        str(warning.message) for warning in caught if issubclass(warning.category, UserWarning)
    ]
    return judge(run, run.reference)


def retrain(job, source, request, original):
    """The network that never saw the rows, with another seed than the runs have."""
    return _forget(job, source, request.mask, original, RetrainUnlearner, {}, 1)


def judge(run, reference):
    """Fill in the report, with a retrained network or without one."""
    source, request = run.source, run.request
    run.report = unlearning_report(
        run.unlearner,
        source.X_test,
        source.y_test,
        X=source.X,
        y=source.y,
        forget=request.mask,
        forget_test=request.mask_test,
        reference=reference,
        probe=False,
        random_state=0,
    )
    run.reference = reference
    if source.kind == "points":
        run.regions["unlearned"] = regions_of(run.unlearner.net_.module_, source)
        if reference is not None:
            run.regions["retrained"] = regions_of(reference.net_.module_, source)
    if source.kind == "images":
        run.forgotten = look_at_forgotten(run)
    return run
