"""Training in shards and slices, so that little has to be trained again."""

from dataclasses import dataclass
from numbers import Integral

import numpy as np
from sklearn.base import clone
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_memory
from skorch.history import History

from sklunlearn._data import take
from sklunlearn._ensemble import make_ensemble
from sklunlearn._nets import copy_net
from sklunlearn._partition import partition
from sklunlearn._seeding import draw_seed
from sklunlearn._training import (
    check_can_start_afresh,
    hash_of,
    split_pipeline,
    train_estimator,
    train_further,
    transform,
    unfrozen,
)
from sklunlearn.base import BaseUnlearner
from sklunlearn.networks import default_net

__all__ = ["SISAUnlearner"]


class SISAUnlearner(BaseUnlearner):
    r"""Exact unlearning at a fraction of the cost: Sharded, Isolated, Sliced and Aggregated [1]_.

    The rows are divided among :math:`S` shards, and each shard into :math:`R` slices. A network
    of its own, a constituent, is trained on each shard in :math:`R` stages: stage :math:`r` goes
    on from the weights after stage :math:`r - 1` and trains on slices 1 to :math:`r` for

    .. math:: \lfloor r e \rfloor - \lfloor (r - 1) e \rfloor \text{ epochs},
              \quad e = \frac{2 E}{R + 1},

    where :math:`E` is the `max_epochs` of the net, so that all stages together cost about as much
    as :math:`E` epochs on the whole shard. The weights after each stage are kept. The constituents
    answer together. To forget rows, each constituent whose shard holds some goes back to the
    weights before the first slice with such a row, and trains the remaining stages again without
    them. To forget one row, drawn at random, is expected to cost

    .. math:: \frac{2 R + 1}{3 R S}

    of the training.

    Parameters
    ----------
    estimator : skorch classifier, Pipeline, FrozenEstimator or None, default=None
        What learns: a clone of it on each shard. In a FrozenEstimator it is already trained, and
        not in shards: the first request trains unfitted clones on the retain rows of all shards.
        None: a small network sized from the data.
    n_shards : int, default=5
        Number of shards, at least 1. More make a request cheaper, but each constituent learns
        from fewer rows.
    n_slices : int, default=1
        Number of slices of a shard, at least 1. As many copies of each network are kept.
    aggregation : {"mean", "vote"}, default="mean"
        "mean": the mean of the class probabilities of the constituents. "vote": each votes for
        its likeliest class, and the probability of a class is its share of the votes; ties go to
        the first class.
    memory : str or object with the joblib.Memory interface, default=None
        Caches shards that are trained from new initial weights.
    random_state : int, RandomState instance or None, default=None
        Seed of the partition, initial weights and shuffling.
    verbose : int, default=0
        Without effect; set the verbosity of the net itself.

    Attributes
    ----------
    classes_, n_features_in_, feature_names_in_, fitted_, net_, preprocessing_
        See :class:`sklunlearn.base.BaseUnlearner`. The module of `net_` holds those of all
        constituents and gives class probabilities.
    history_, forget_loss_, unlearning_time_, records_
        See :class:`sklunlearn.base.BaseUnlearner`. `history_` has the epochs of all stages that
        were trained, one stage after the other; each names its `shard` and `stage`.
    shards_ : list of Shard
        What each shard holds now: `n_rows`, an array of the number of rows in each slice, and
        `checkpoints`, a list of the preprocessing and the net after each stage. No rows.
    fitted_shards_ : list of Shard
        The same after :meth:`fit`, to which :meth:`unlearn` goes back. Not for a FrozenEstimator.
    row_epochs_ : int
        What the last request cost, or before any the training: the sum over all stages that were
        trained of rows times epochs.
    row_epochs_fit_ : int
        What the training cost. Not for a FrozenEstimator.
    retrained_stages_ : list of (int, int)
        Shard and first stage, both counted from 0, of what was trained last.
    salt_ : int
        What the partition and all seeds are derived from.

    Notes
    -----
    Where this departs from the paper:

    - Shard and slice of a row are a hash of its values, where the paper draws shards of equal
      sizes. So no row's place depends on another row, nothing has to be kept of the rows, and what
      is left after a request is what a training without the rows would have given, to the last
      bit for the same integer `random_state`. Sizes vary a little, a shard may even be empty, and
      it has then no constituent; equal rows are in the same slice. Give requests the rows with the
      values that they had in the training.
    - Each shard has its own preprocessing, fitted on the rows of its first slice alone, so that it
      stays valid when a row of a later slice is forgotten. This applies to the steps of a Pipeline
      and, with ``estimator=None``, to the constants that standardise the input. The steps must
      cope with values that those rows do not have: a OneHotEncoder needs its `categories`.
    - Every constituent has an output for each class, also where its shard lacks a class.

    A class has rows in all shards, and to forget it costs nearly as much as to train again; so
    does a request of several times as many random rows as there are shards. With many shards and
    few rows the accuracy falls. A net must be able to learn from a slice: a validation set that it
    splits off, or BatchNorm, needs more than a row or two.

    What a request is given must be all rows that are held. Rows that are retained but were not
    trained on are learnt only where their slice is trained again.

    References
    ----------
    .. [1] L. Bourtoule, V. Chandrasekaran, C. A. Choquette-Choo et al. (2021). Machine Unlearning.
       IEEE Symposium on Security and Privacy, 141-159. arXiv:1912.03817.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklunlearn import SISAUnlearner
    >>> X, y = load_iris(return_X_y=True)
    >>> unlearner = SISAUnlearner(n_shards=3, random_state=0).fit(X, y)
    >>> len(unlearner.unlearn(X, y, forget=[7]).retrained_stages_)
    1
    >>> bool(unlearner.row_epochs_ < unlearner.row_epochs_fit_ / 2)
    True
    """

    _parameter_constraints = {
        **BaseUnlearner._parameter_constraints,
        "n_shards": [Interval(Integral, 1, None, closed="left")],
        "n_slices": [Interval(Integral, 1, None, closed="left")],
        "aggregation": [StrOptions({"mean", "vote"})],
    }

    def __init__(
        self,
        estimator=None,
        *,
        n_shards=5,
        n_slices=1,
        aggregation="mean",
        memory=None,
        random_state=None,
        verbose=0,
    ):
        super().__init__(estimator, memory=memory, random_state=random_state, verbose=verbose)
        self.n_shards = n_shards
        self.n_slices = n_slices
        self.aggregation = aggregation

    def _needs_retain(self):
        return True

    def _train(self, X, y):
        ensemble = self._train_all(X, y)
        self.fitted_shards_, self.row_epochs_fit_ = self.shards_, self.row_epochs_
        return ensemble

    def _unlearn(self, start, X, y, forget):
        check_can_start_afresh(self.estimator)
        shards = getattr(self, "shards_", None)
        if start is split_pipeline(self.fitted_)[1]:
            shards = getattr(self, "fitted_shards_", None)
        retain = np.flatnonzero(~forget)
        X_retain, y_retain = take(X, retain), y[retain]
        if shards is None:  # trained before, and not in shards
            ensemble = self._train_all(X_retain, y_retain)
        else:
            X_forget = take(X, np.flatnonzero(forget))
            places, slices = partition(X_forget, self.salt_, len(shards), len(shards[0].n_rows))
            first = {s: int(slices[places == s].min()) for s in np.unique(places).tolist()}
            ensemble = self._train_stages(X_retain, y_retain, shards, first)
        self.preprocessing_, net = split_pipeline(ensemble)
        return net

    def _train_all(self, X, y):
        """Train all stages of all shards."""
        salt = draw_seed(self.random_state)
        self.salt_ = int(np.random.default_rng().integers(2**31)) if salt is None else int(salt)
        untrained = Shard(np.zeros(self.n_slices, dtype=int), [None] * self.n_slices)
        first = dict.fromkeys(range(self.n_shards), 0)
        return self._train_stages(X, y, [untrained] * self.n_shards, first)

    def _train_stages(self, X, y, shards, first):
        """Train some shards from the given stage on, and put them together with the others."""
        n_slices = len(shards[0].n_rows)
        places, slices = partition(X, self.salt_, len(shards), n_slices)
        self.shards_, self.retrained_stages_ = list(shards), list(first.items())
        self.row_epochs_, history = 0, History()
        for s, stage in first.items():
            rows = np.flatnonzero(places == s)
            seeds = [_seed(self.salt_, s, each) for each in range(n_slices)]
            data = take(X, rows), y[rows], slices[rows], self.classes_, seeds
            self.shards_[s], epochs = self._train_shard(*data, kept=shards[s].checkpoints[:stage])
            for epoch in epochs:
                history.append({**epoch, "shard": s})
                self.row_epochs_ += int((slices[rows] <= epoch["stage"]).sum())
        trained = [shard.checkpoints[-1] for shard in self.shards_ if shard.checkpoints[-1]]
        if not trained:
            raise ValueError("No shard has rows left: retain some of the rows that were fitted.")
        preprocessings, nets = zip(*trained, strict=True)
        ensemble = make_ensemble(preprocessings, nets, self.aggregation, take(X, [0]))
        vars(split_pipeline(ensemble)[1])["history_"] = history
        return ensemble

    def _train_shard(self, *data, kept):
        estimator = unfrozen(self.estimator)
        if self.memory is None or kept:  # what was kept is cheaper to use than to look up
            return train_shard(estimator, *data, kept)
        cached = check_memory(self.memory).cache(train_shard, ignore=["estimator"])
        unfitted = None if estimator is None else clone(estimator)
        return cached(unfitted, *data, kept, key=hash_of(unfitted))


@dataclass
class Shard:
    """What is kept of a shard: no rows, but what was trained on them."""

    n_rows: np.ndarray
    checkpoints: list


def train_shard(estimator, X, y, slices, classes, seeds, kept, *, key=None):
    """Train the stages of a shard that come after those whose checkpoints are kept.

    Returns the new Shard and a list of what skorch's history says of each epoch. In a cache,
    `key` stands for the estimator.
    """
    checkpoints, history = list(kept), []
    for stage in range(len(kept), len(seeds)):
        before = checkpoints[-1] if checkpoints else None
        rows = np.flatnonzero(slices <= stage)
        if len(rows) == 0:
            checkpoints.append(before)
            continue
        X_stage, y_stage, seed = take(X, rows), y[rows], seeds[stage]
        if before is None:
            new = default_net(X_stage, len(classes)) if estimator is None else clone(estimator)
            epochs = stage_epochs(split_pipeline(new)[1].max_epochs, len(seeds))[stage]
            fitted = train_estimator(new, X_stage, y_stage, classes, seed, epochs)
            preprocessing, net = split_pipeline(fitted)
        else:
            preprocessing, net = before
            epochs = stage_epochs(net.max_epochs, len(seeds))[stage]
            X_stage = transform(preprocessing, X_stage)
            net = train_further(net, X_stage, y_stage, classes, seed, epochs)
        history += [{**epoch, "stage": stage} for epoch in net.history_]
        checkpoints.append((preprocessing, copy_net(net)))
    return Shard(np.bincount(slices, minlength=len(seeds)), checkpoints), history


def stage_epochs(max_epochs, n_slices):
    """Epochs of each stage, which together cost about `max_epochs` on all rows of a shard."""
    # In integers: a quotient of floats may come out just below a whole number.
    ends = [2 * max_epochs * stage // (n_slices + 1) for stage in range(n_slices + 1)]
    return np.diff(ends).tolist()


def _seed(*entropy):
    return int(np.random.SeedSequence(entropy).generate_state(1)[0])
