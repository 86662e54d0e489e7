"""Impairing a class with learned noise, then repairing the rest (UNSIR, Tarun et al. 2023)."""

from numbers import Integral, Real

import numpy as np
import torch
from sklearn.utils._param_validation import Interval
from torch.nn.functional import cross_entropy

from sklunlearn._data import Rows
from sklunlearn._devices import device_of
from sklunlearn._nets import logits_of
from sklunlearn._steps import mixed
from sklunlearn.gradient import GradientUnlearner
from sklunlearn.trainable import training_only

__all__ = ["UNSIRUnlearner"]


class UNSIRUnlearner(GradientUnlearner):
    r"""UNSIR: unlearning by selective impair and repair, for whole classes.

    No forget row is trained on, it is only asked which class it is of. For each class :math:`c` to
    forget, noise :math:`N` is learned that the network :math:`f_0` before the run does *not* take
    for that class,

    .. math::
        \min_N\ -\mathrm{CE}(f_0(\mu + \sigma N), c) + \lambda\, \overline{\lVert N_i \rVert^2},

    with mean :math:`\mu` and standard deviation :math:`\sigma` of each feature of the retain rows.
    The network is impaired by training it on copies of the noise, labelled :math:`c`, mixed with
    retain rows, and repaired by training it on retain rows alone [1]_; both with cross-entropy.

    Parameters
    ----------
    estimator : skorch classifier, Pipeline, FrozenEstimator or None, default=None
        What learns; see :class:`sklunlearn.base.BaseUnlearner`.
    n_noise : int or None, default=None
        Number of noise samples for each class. None: `batch_size`.
    noise_copies : int, default=20
        How many times each of them occurs in an impairing epoch.
    noise_weight : float, default=0.1
        :math:`\lambda`; the bar is the mean over the samples.
    noise_steps : int, default=40
        Steps of Adam that learn the noise.
    noise_lr : float, default=0.1
        Learning rate of the noise.
    max_retain : int, default=1000
        Largest number of retain rows of each class that take part, drawn at random.
    repair_epochs : int, default=5
        Passes over these retain rows to repair.
    repair_lr : float, default=0.01
        Learning rate of the repair.
    lr : float, default=0.02
        Learning rate of the impairment.
    max_epochs : int, default=1
        Passes over noise and retain rows to impair.
    batch_size : int, default=64
        Largest number of rows in a step; noise and retain rows are mixed in their proportion.
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

    Raises
    ------
    ValueError
        By a request of other rows than all those of some classes.

    Notes
    -----
    - In the published code three noise images stand for the batch, by a slip, and all carry the
      label 0. The network is left in training mode while noise is learned, which moves BatchNorm
      statistics; here it is in evaluation mode.
    - For a table, noise in columns that stand for categories means little. A linear model hardly
      forgets: what the noise teaches it lies in other directions than the rows. And the repair
      needs rows: on a small table, the few steps of some epochs do not mend the network.
    - `stop_accuracy` and a saliency mask do look at the forget rows.
    - A callback that stops the training, as EarlyStopping does, ends the whole run: in the
      impairment, it leaves the network without the repair.

    References
    ----------
    .. [1] A. K. Tarun, V. S. Chundawat, M. Mandal and M. Kankanhalli (2023). Fast Yet Effective
       Machine Unlearning. IEEE Transactions on Neural Networks and Learning Systems.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklunlearn import UNSIRUnlearner
    >>> X, y = load_iris(return_X_y=True)
    >>> unlearner = UNSIRUnlearner(random_state=0).fit(X, y)
    >>> unlearner.unlearn(X, y, forget=(y == 2)).score(X[y == 2], y[y == 2])
    0.0
    """

    request_types = ("class",)

    _parameter_constraints = {
        **GradientUnlearner._parameter_constraints,
        "n_noise": [Interval(Integral, 1, None, closed="left"), None],
        "noise_copies": [Interval(Integral, 1, None, closed="left")],
        "noise_weight": [Interval(Real, 0, None, closed="left")],
        "noise_steps": [Interval(Integral, 0, None, closed="left")],
        "noise_lr": [Interval(Real, 0, None, closed="neither")],
        "max_retain": [Interval(Integral, 1, None, closed="left")],
        "repair_epochs": [Interval(Integral, 0, None, closed="left")],
        "repair_lr": [Interval(Real, 0, None, closed="neither")],
    }
    del _parameter_constraints["retain_weight"]  # both parts weigh by their rows

    def __init__(
        self,
        estimator=None,
        *,
        n_noise=None,
        noise_copies=20,
        noise_weight=0.1,
        noise_steps=40,
        noise_lr=0.1,
        max_retain=1000,
        repair_epochs=5,
        repair_lr=0.01,
        lr=0.02,
        max_epochs=1,
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
        self.n_noise = n_noise
        self.noise_copies = noise_copies
        self.noise_weight = noise_weight
        self.noise_steps = noise_steps
        self.noise_lr = noise_lr
        self.max_retain = max_retain
        self.repair_epochs = repair_epochs
        self.repair_lr = repair_lr

    def _prepare(self, net, forget, retain):
        classes, retained = forget.y.unique(), retain.y
        if torch.isin(retained, classes).any():
            raise ValueError(
                f"{type(self).__name__} forgets whole classes, but the request leaves rows of a "
                "class to forget among those to retain: mark all rows of the class, or choose a "
                "method for single rows."
            )
        n_noise = self.n_noise or self.batch_size
        labels = classes.repeat_interleave(n_noise)
        noise = self._learn_noise(net, labels, retain)
        copies = np.tile(np.arange(len(labels)), self.noise_copies)
        drawn = [
            of_class[torch.randperm(len(of_class))[: self.max_retain]]
            for of_class in (torch.nonzero(retained == c)[:, 0] for c in retained.unique())
        ]
        return Rows(noise, labels.numpy(), copies), retain.select(torch.cat(drawn))

    def _learn_noise(self, net, labels, retain):
        """Samples that the network does not take for their labels, in the units of the data."""
        net._set_training(False)
        mean, spread, _, _ = (s.to(device_of(net)) for s in retain.statistics(max_rows=1000))
        labels = labels.to(device_of(net))
        shape = retain.take_X([0]).shape[1:]
        noise = torch.randn(len(labels), *shape).to(device_of(net)).requires_grad_()
        optimizer = torch.optim.Adam([noise], lr=self.noise_lr)
        with training_only(net.module_, [], freeze_batchnorm=False):
            for _ in range(self.noise_steps):
                optimizer.zero_grad()
                logits = logits_of(net, net.infer(mean + spread * noise))
                size = noise.flatten(1).square().sum(dim=1).mean()
                (self.noise_weight * size - cross_entropy(logits, labels)).backward()
                optimizer.step()
        return (mean + spread * noise.detach()).cpu().numpy()

    def _run(self, run, forget, retain):
        super()._run(run, forget, retain)
        if self.repair_epochs:
            self._restart_optimizer(run, self.repair_lr)
            no_noise = forget.select(torch.arange(0))
            self._train_epochs(run, no_noise, retain, self.repair_epochs, may_stop=False)

    def _steps(self, epoch, forget, retain):
        return mixed(forget, retain, self.batch_size)

    def _loss(self, module, forget, retain):
        logits = torch.cat([forget.logits, retain.logits])
        return cross_entropy(logits, torch.cat([forget.y, retain.y]))
