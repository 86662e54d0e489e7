"""Runs of a stack that are prepared as one."""

from numbers import Real

from sklunlearn._devices import device_of
from sklunlearn._nets import weights_digest
from sklunlearn._stackable import check_run
from sklunlearn._steps import StepBatches

__all__ = ["Bundle"]


class Bundle:
    """Runs that are prepared as one, by a leader: what it trains, on which rows, in which order.

    Parameters
    ----------
    leader : GradientUnlearner
        With the parameters of the runs.
    before : dict
        Those of them that the preparation reads.
    draws : RandomStream
        What the runs draw from, each as if it were alone.
    X, y, forget
        As `_open` is given them.
    """

    def __init__(self, leader, before, draws, X, y, forget):
        self.leader, self.before = leader, before
        self.start = leader.net_
        self.known = set(vars(leader))
        self._draws = draws
        with self._draws:
            self.run, self.rows, self.masks = leader._open(self.start, X, y, forget)
        check_run(leader, self.run)
        self.batches = StepBatches(*self.rows, device_of(self.run))

    def structure(self):
        """What must be equal in all bundles of a stack."""
        leader = self.leader
        kept = {
            name: value
            for name, value in vars(leader).items()
            # What `_prepare` found out, as far as it is no data: the loss may ask for it.
            if name not in self.known and isinstance(value, str | Real | None)
        }
        kinds = [
            (len(rows), sorted((n, v.dtype, v.shape) for n, v in rows.columns.items()))
            for rows in self.rows
        ]
        masked = sorted(self.masks)
        start = weights_digest(self.run)
        return repr((kept, kinds, start, leader.updated_params_, masked, self.run.optimizer))

    def start_epoch(self, epoch):
        """Make ready the batches of an epoch; give their number."""
        with self._draws:
            self.leader._start_epoch(self.run, epoch, *self.rows)
            self.batches.steps = list(self.leader._steps(epoch, *self.rows))
        return len(self.batches.steps)
