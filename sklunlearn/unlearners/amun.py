"""Training on the nearest adversarial examples of the forget rows (AMUN, 2025)."""

import math
from numbers import Integral, Real

import numpy as np
import torch
from sklearn.utils._param_validation import Interval, StrOptions
from torch.nn.functional import cross_entropy

from sklunlearn._data import Rows
from sklunlearn._devices import device_of
from sklunlearn._nets import logits_of
from sklunlearn._steps import mixed
from sklunlearn.attacks import nearest_adversarial
from sklunlearn.gradient import GradientUnlearner
from sklunlearn.search import check_clip
from sklunlearn.trainable import training_only

__all__ = ["AMUNUnlearner"]


class AMUNUnlearner(GradientUnlearner):
    r"""AMUN: adversarial machine unlearning, for rows drawn at random.

    For each forget row :math:`x` the nearest point :math:`\tilde x` is sought, in L2 distance, of
    which the network :math:`f_0` before the run says another class
    :math:`\tilde y = \arg\max f_0(\tilde x)`; see :func:`sklunlearn.attacks.nearest_adversarial`.
    The network is trained on with

    .. math::
        \min_\theta\ \frac{1}{n} \Big(\sum_f \mathrm{CE}(f_\theta(\tilde x), \tilde y)
        + \sum_f \mathrm{CE}(f_\theta(x), y)
        + \varphi \sum_r \mathrm{CE}(f_\theta(x_r), y_r) \Big)

    over batches of :math:`n` rows in which the three kinds are mixed. The forget rows keep their
    true labels: what goes is the confidence about them [1]_.

    Parameters
    ----------
    estimator : skorch classifier, Pipeline, FrozenEstimator or None, default=None
        What learns; see :class:`sklunlearn.base.BaseUnlearner`.
    radius : float, default=0.01
        Root mean square over the features, in units of their standard deviation, of the distance
        within which the search begins. It doubles until another class is found.
    max_doublings : int, default=20
        Largest number of doublings. A row for which nothing is found stands for itself.
    max_steps : int, default=50
        Steps of the search at each radius, each of a tenth of it.
    clip : None, "data" or pair of float, default="data"
        Range of the features during the search: unbounded, that of each feature (or channel) over
        the retain rows, or (low, high).
    keep_forget : bool, default=True
        Train on the forget rows with their true labels too. False: the second sum is left out.
    retain_weight : float, default=1.0
        :math:`\varphi`, weight of the retain rows. 0: they do not take part.
    lr : float, default=0.001
        Learning rate.
    max_epochs : int, default=10
        Passes over all rows and the adversarial ones.
    batch_size : int, default=64
        Largest number of rows in a step; all kinds are mixed in their proportion.
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
    distances_ : ndarray of shape (n_forget,)
        Distance of each forget row to its adversarial example, in the units of `radius`. 0 for a
        row that was misclassified already, or for which nothing was found.

    Notes
    -----
    - The published code works on images in [0, 1], with a first radius of 0.04 in all and that
      range. Here lengths are in units of the data, so that they mean the same on a table.
    - Not made for classes: the rows keep their labels.

    References
    ----------
    .. [1] A. Ebrahimpour-Boroojeny, H. Sundaram and V. Chandrasekaran (2025). Not All Wrong is Bad:
       Using Adversarial Examples for Unlearning. ICML.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklunlearn import AMUNUnlearner
    >>> X, y = load_iris(return_X_y=True)
    >>> unlearner = AMUNUnlearner(random_state=0).fit(X, y)
    >>> unlearner = unlearner.unlearn(X, y, forget=range(0, 150, 10))
    >>> bool(unlearner.score(X, y) > 0.9)
    True
    """

    request_types = ("rows",)

    _parameter_constraints = {
        **GradientUnlearner._parameter_constraints,
        "radius": [Interval(Real, 0, None, closed="neither")],
        "max_doublings": [Interval(Integral, 0, None, closed="left")],
        "max_steps": [Interval(Integral, 1, None, closed="left")],
        "clip": [StrOptions({"data"}), tuple, list, None],
        "keep_forget": ["boolean"],
    }

    _stackable = ("retain_weight",)
    _stackable_before = ("radius", "max_doublings", "max_steps", "clip")

    def __init__(
        self,
        estimator=None,
        *,
        radius=0.01,
        max_doublings=20,
        max_steps=50,
        clip="data",
        keep_forget=True,
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
        self.radius = radius
        self.max_doublings = max_doublings
        self.max_steps = max_steps
        self.clip = clip
        self.keep_forget = keep_forget

    def _validate_params(self):
        super()._validate_params()
        check_clip(self.clip)

    def _prepare(self, net, forget, retain):
        net._set_training(False)
        others = retain if len(retain) else forget
        spread = others.statistics(max_rows=1000)[1]
        clip = others.statistics()[2:] if self.clip == "data" else self.clip

        def search(batch):
            scale = (spread * math.sqrt(batch.X[0].numel())).to(batch.X)
            return nearest_adversarial(
                lambda x: logits_of(net, net.infer(x)),
                batch.X,
                batch.y,
                radius=self.radius,
                scale=scale,
                max_steps=self.max_steps,
                max_doublings=self.max_doublings,
                clip=clip,
            )

        with training_only(net.module_, [], freeze_batchnorm=False):
            batches = forget.batches(forget.at_once(1024), device_of(net))
            found = [search(batch) for batch in batches]
        X, y, distances = (torch.cat(parts).cpu().numpy() for parts in zip(*found, strict=True))
        self.distances_ = distances
        if self.keep_forget:
            X = np.concatenate([X, forget.take_X(np.arange(len(forget))).cpu().numpy()])
            y = np.concatenate([y, forget.y.numpy()])
        return Rows(X, y), (retain if self.retain_weight > 0 else retain.select(torch.arange(0)))

    def _steps(self, epoch, forget, retain):
        return mixed(forget, retain, self.batch_size)

    def _loss(self, module, forget, retain):
        total = cross_entropy(forget.logits, forget.y, reduction="sum")
        total += self.retain_weight * cross_entropy(retain.logits, retain.y, reduction="sum")
        return total / (len(forget) + len(retain))
