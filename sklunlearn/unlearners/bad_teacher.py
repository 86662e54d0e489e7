"""An incompetent teacher for the forget rows (Chundawat et al. 2023)."""

import math
from numbers import Real

import torch
from sklearn.utils._param_validation import Interval, StrOptions

from sklunlearn._losses import kl_divergence
from sklunlearn._nets import copy_net
from sklunlearn._steps import mixed
from sklunlearn._teacher import Teacher
from sklunlearn.gradient import GradientUnlearner
from sklunlearn.trainable import reinitialize

__all__ = ["BadTeacherUnlearner"]


class BadTeacherUnlearner(GradientUnlearner):
    r"""Bad teaching: a teacher that knows nothing for the forget rows, the original elsewhere.

    Batches are drawn from the forget rows and a part of the retain rows together, and over the rows
    of a batch [1]_

    .. math::
        \min_\theta\ \frac{\sum_f \mathrm{KL}_T(b(x), f_\theta(x))
        + \varphi \sum_r \mathrm{KL}_T(f_0(x_r), f_\theta(x_r))}{n_f + n_r},

    with the network :math:`f_0` as it is before the run, a network :math:`b` of the same
    architecture with random weights, and :math:`\mathrm{KL}_T` at temperature :math:`T`.

    Parameters
    ----------
    estimator : skorch classifier, Pipeline, FrozenEstimator or None, default=None
        What learns; see :class:`sklunlearn.base.BaseUnlearner`.
    bad_teacher : {"random_init", "uniform"}, default="random_init"
        What the forget rows are taught by: a network with new initial weights, each layer's drawn
        by its own ``reset_parameters``, or equal probabilities.
    retain_fraction : float, default=0.3
        Share of the retain rows, rounded up and drawn at random, that takes part.
    temperature : float, default=1.0
        :math:`T`.
    retain_weight : float, default=1.0
        :math:`\varphi`, weight of the retain rows. 0: they do not take part.
    lr : float, default=0.001
        Learning rate.
    max_epochs : int, default=10
        Passes over the forget rows and the retain rows that take part.
    batch_size : int, default=64
        Largest number of rows in a step; forget and retain rows are mixed in their proportion.
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

    Notes
    -----
    - The published code averages the divergence over the classes too, and trains for one epoch.
    - Of the forget rows the network ends up saying what a network says that has learned nothing: at
      best, one in K of them is right by chance. So a class is not predicted never, as by a network
      that was trained without it.
    - Forget rows end with nearly equal probabilities, unlike rows that a network never saw: that
      makes them recognisable.

    References
    ----------
    .. [1] V. S. Chundawat, A. K. Tarun, M. Mandal and M. Kankanhalli (2023). Can Bad Teaching
       Induce Forgetting? Unlearning in Deep Networks Using an Incompetent Teacher. AAAI, 37(6),
       7210-7217.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklunlearn import BadTeacherUnlearner
    >>> X, y = load_iris(return_X_y=True)
    >>> unlearner = BadTeacherUnlearner(lr=0.01, random_state=0).fit(X, y)
    >>> bool(unlearner.unlearn(X, y, forget=(y == 2)).score(X[y == 2], y[y == 2]) < 0.5)
    True
    """

    _parameter_constraints = {
        **GradientUnlearner._parameter_constraints,
        "bad_teacher": [StrOptions({"random_init", "uniform"})],
        "retain_fraction": [Interval(Real, 0, 1, closed="right")],
        "temperature": [Interval(Real, 0, None, closed="neither")],
    }

    _stackable = ("temperature", "retain_weight")

    def __init__(
        self,
        estimator=None,
        *,
        bad_teacher="random_init",
        retain_fraction=0.3,
        temperature=1.0,
        retain_weight=1.0,
        lr=0.001,
        max_epochs=10,
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
        self.bad_teacher = bad_teacher
        self.retain_fraction = retain_fraction
        self.temperature = temperature

    def _prepare(self, net, forget, retain):
        share = self.retain_fraction if self.retain_weight > 0 else 0
        # Of 100 rows, 0.07 are 7, although the product is 7.000000000000001.
        n_taken = math.ceil(round(share * len(retain), 9))
        retain = retain.select(torch.randperm(len(retain))[:n_taken])
        self._teacher = Teacher(net, retain)
        self._bad_teacher = self._make_bad_teacher(net, forget)
        return forget, retain

    def _make_bad_teacher(self, net, forget):
        if self.bad_teacher == "uniform":
            return lambda batch: torch.zeros_like(batch.logits)
        bad = copy_net(net)
        reinitialize(bad.module_, [name for name, _ in bad.module_.named_parameters()])
        return Teacher(bad, forget)

    def _steps(self, epoch, forget, retain):
        return mixed(forget, retain, self.batch_size)

    def _loss(self, module, forget, retain):
        total = kl_divergence(self._bad_teacher(forget), forget.logits, self.temperature, "sum")
        total += self.retain_weight * kl_divergence(
            self._teacher(retain), retain.logits, self.temperature, "sum"
        )
        return total / (len(forget) + len(retain))
