"""A student that leaves its teacher on the forget rows and follows it elsewhere (SCRUB)."""

import copy
from numbers import Integral, Real

import numpy as np
import torch
from sklearn.utils._param_validation import Interval, StrOptions
from torch.nn.functional import cross_entropy
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from sklunlearn._data import Rows
from sklunlearn._losses import kl_divergence
from sklunlearn._nets import forward
from sklunlearn._teacher import Teacher
from sklunlearn._training import transform
from sklunlearn._validation import check_X_y, encode_labels
from sklunlearn.gradient import GradientUnlearner

__all__ = ["SCRUBUnlearner"]


class SCRUBUnlearner(GradientUnlearner):
    r"""SCRUB: a student that departs from its teacher on the forget rows alone.

    The teacher :math:`t` is the network before the run, and the student :math:`s` its copy. With
    :math:`\mathrm{KL}_T = T^2\, \mathrm{KL}(\mathrm{softmax}(t / T) \,\|\,
    \mathrm{softmax}(s / T))`, the first `msteps` epochs begin with a pass over the forget rows,

    .. math::
        \max_\theta\ \mathrm{KL}_T(t(x), s(x)),

    and every epoch ends with a pass over the retain rows [1]_,

    .. math::
        \min_\theta\ \gamma\, \mathrm{CE}(s(x_r), y_r) + \alpha\, \mathrm{KL}_T(t(x_r), s(x_r)).

    Parameters
    ----------
    estimator : skorch classifier, Pipeline, FrozenEstimator or None, default=None
        What learns; see :class:`sklunlearn.base.BaseUnlearner`.
    msteps : int, default=3
        Number of epochs with a pass over the forget rows. Fewer than `max_epochs`, or the run
        ends with damage that nothing repairs.
    start : {"auto", "max", "min"}, default="auto"
        ``"max"``: as published. ``"min"``: one epoch over the retain rows comes before, in
        addition. ``"auto"``: ``"min"`` if the network has neither BatchNorm that the run trains nor
        dropout.
    distill_weight : float, default=0.5
        :math:`\alpha`, weight of the divergence from the teacher on retain rows.
    temperature : float, default=2.0
        :math:`T`.
    forget_batch_size : int or None, default=None
        Largest number of forget rows in a step. None: `batch_size`.
    rewind : None or pair (X, y), default=None
        Held-out rows of the kind of the forget rows. After the run the student goes back to the
        epoch whose error on the forget rows is closest to the error that it has at the end on
        held-out rows of their classes (SCRUB+R): for rows that an unlearned network should know
        as well as unseen ones, not for a class.
    retain_weight : float, default=1.0
        :math:`\gamma`, weight of the cross-entropy on retain rows.
    lr : float, default=0.002
        Learning rate.
    max_epochs : int, default=5
        Passes over the retain rows, and one more before them if `start` says so.
    batch_size : int, default=64
        Largest number of retain rows in a step.
    optimizer : class or None, default=torch.optim.Adam
        A torch optimizer, with its own defaults. None: SGD with momentum 0.9.
    trainable, freeze_batchnorm, stop_accuracy, max_grad_norm
        See :class:`sklunlearn.gradient.GradientUnlearner`.
    callbacks, net_params, data_on_device
        See :class:`sklunlearn.gradient.GradientUnlearner`.
    memory, random_state, verbose
        See :class:`sklunlearn.base.BaseUnlearner`.

    Attributes
    ----------
    classes_, n_features_in_, feature_names_in_, fitted_, net_, preprocessing_
        See :class:`sklunlearn.base.BaseUnlearner`.
    history_, forget_loss_, unlearning_time_, records_
        See :class:`sklunlearn.base.BaseUnlearner`.
    updated_params_ : list of str
        Names of the parameters that the run was allowed to change.
    rewound_to_ : int or None
        The epoch, counted from 1, that the student went back to. None without `rewind`.

    Notes
    -----
    At the start the student is the teacher, where the divergence and its gradient are 0. The
    published networks leave that point through the batch statistics of BatchNorm; without these and
    dropout the first pass would go nowhere or, later, anywhere. An epoch over the retain rows
    first, and Adam, is what works there.

    In the published runs the learning rate decays by a tenth after some epochs: that is left to
    skorch's ``LRScheduler`` in `callbacks`.

    References
    ----------
    .. [1] M. Kurmanji, P. Triantafillou, J. Hayes and E. Triantafillou (2023). Towards Unbounded
       Machine Unlearning. NeurIPS.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklunlearn import SCRUBUnlearner
    >>> X, y = load_iris(return_X_y=True)
    >>> unlearner = SCRUBUnlearner(lr=0.01, random_state=0).fit(X, y)
    >>> unlearner.unlearn(X, y, forget=(y == 2)).score(X[y == 2], y[y == 2])
    0.0
    """

    _parameter_constraints = {
        **GradientUnlearner._parameter_constraints,
        "msteps": [Interval(Integral, 0, None, closed="left")],
        "start": [StrOptions({"auto", "max", "min"})],
        "distill_weight": [Interval(Real, 0, None, closed="left")],
        "temperature": [Interval(Real, 0, None, closed="neither")],
        "forget_batch_size": [Interval(Integral, 1, None, closed="left"), None],
        "rewind": [tuple, list, None],
    }

    def __init__(
        self,
        estimator=None,
        *,
        msteps=3,
        start="auto",
        distill_weight=0.5,
        temperature=2.0,
        forget_batch_size=None,
        rewind=None,
        retain_weight=1.0,
        lr=0.002,
        max_epochs=5,
        batch_size=64,
        optimizer=torch.optim.Adam,
        trainable="all",
        freeze_batchnorm=False,
        stop_accuracy=None,
        max_grad_norm=None,
        callbacks=None,
        net_params=None,
        data_on_device=False,
        memory=None,
        random_state=None,
        verbose=0,
    ):
        super().__init__(
            estimator,
            retain_weight=retain_weight,
            lr=lr,
            max_epochs=max_epochs,
            batch_size=batch_size,
            optimizer=optimizer,
            trainable=trainable,
            freeze_batchnorm=freeze_batchnorm,
            stop_accuracy=stop_accuracy,
            max_grad_norm=max_grad_norm,
            callbacks=callbacks,
            net_params=net_params,
            data_on_device=data_on_device,
            memory=memory,
            random_state=random_state,
            verbose=verbose,
        )
        self.msteps = msteps
        self.start = start
        self.distill_weight = distill_weight
        self.temperature = temperature
        self.forget_batch_size = forget_batch_size
        self.rewind = rewind

    def _needs_retain(self):
        return True

    def _prepare(self, net, forget, retain):
        self._teacher = Teacher(net, forget, retain)
        self._held_out = None if self.rewind is None else self._check_held_out(forget)
        self._states, self.rewound_to_ = [], None

    def _run(self, run, forget, retain):
        leaves_by_itself = any(
            self._differs_in_training(layer, run.module_) for layer in run.module_.modules()
        )
        min_first = self.start == "min" or (self.start == "auto" and not leaves_by_itself)
        self._n_before = int(min_first and self.max_epochs > 0)
        self._train_epochs(run, forget, retain, self.max_epochs + self._n_before)

    def _differs_in_training(self, layer, module):
        if isinstance(layer, _BatchNorm):  # frozen, it normalises as that of the teacher does
            own = [p.requires_grad for p in layer.parameters()]
            trained = any(own) if own else all(p.requires_grad for p in module.parameters())
            return trained and not self.freeze_batchnorm
        return isinstance(layer, _DropoutNd) and layer.p > 0

    def _start_epoch(self, run, epoch, forget, retain):
        if self._held_out is not None and epoch > 1:
            self._keep_state(run)

    def _steps(self, epoch, forget, retain):
        if self._n_before < epoch <= self._n_before + self.msteps:
            for positions in forget.shuffled(self.forget_batch_size or self.batch_size):
                yield positions, None
        for positions in retain.shuffled(self.batch_size):
            yield None, positions

    def _loss(self, module, forget, retain):
        if retain is None:
            return -kl_divergence(self._teacher(forget), forget.logits, self.temperature)
        follow = kl_divergence(self._teacher(retain), retain.logits, self.temperature)
        return (
            self.retain_weight * cross_entropy(retain.logits, retain.y)
            + self.distill_weight * follow
        )

    def _finish(self, run):
        if self._held_out is None or not run.history:
            return
        self._keep_state(run)
        reference = self._error(run, self._held_out)
        distances = [abs(error - reference) for error, _ in self._states]
        # The first of equals: the one that was trained least.
        self.rewound_to_ = int(np.argmin(distances)) + 1
        run.module_.load_state_dict(self._states[self.rewound_to_ - 1][1])

    def _keep_state(self, run):
        state = copy.deepcopy(run.module_.state_dict())
        self._states.append((self._error(run, self._requested), state))

    def _error(self, run, rows):
        return 1 - float(np.mean(forward(run, rows, self._is_correct)))

    def _check_held_out(self, forget):
        """Held-out rows of the classes of the forget rows."""
        if len(self.rewind) != 2:
            raise ValueError(
                f"`rewind` must be a pair (X, y) of held-out rows and their labels, got a "
                f"{type(self.rewind).__name__} of length {len(self.rewind)}."
            )
        X, y = check_X_y(self, *self.rewind, reset=False)
        X, y = transform(self.preprocessing_, X), encode_labels(y, self.classes_)
        of_their_classes = np.flatnonzero(np.isin(y, np.unique(forget.y)))
        if not len(of_their_classes):
            raise ValueError(
                "`rewind` holds no row of the classes of the forget rows: pass held-out rows of "
                "the same kind, or rewind=None."
            )
        return Rows(X, y, of_their_classes)
