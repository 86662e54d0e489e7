"""Gradient ascent on the forget rows, alone or beside the retain rows."""

import math
from numbers import Real

import torch
from sklearn.utils._param_validation import Interval, StrOptions
from torch.nn.functional import cross_entropy

from sklunlearn.gradient import GradientUnlearner

__all__ = ["NegGradUnlearner"]


class NegGradUnlearner(GradientUnlearner):
    r"""NegGrad+: up the loss of the forget rows, down that of the retain rows.

    The network is trained with

    .. math::
        \min_\theta\ \varphi\, \mathrm{CE}(f_\theta(x_r), y_r)
        - \alpha\, \overline{\min(\mathrm{CE}(f_\theta(x), y),\, c)},

    where the bar is the mean over the forget rows of the batch [1]_. With ``retain_weight=0`` it is
    NegGrad, gradient ascent on the forget rows alone [2]_.

    Parameters
    ----------
    estimator : skorch classifier, Pipeline, FrozenEstimator or None, default=None
        What learns; see :class:`sklunlearn.base.BaseUnlearner`.
    forget_weight : float, default=0.05
        :math:`\alpha`, weight of the ascent. 0: fine-tuning.
    loss_cap : "log_k", float or None, default="log_k"
        :math:`c` in nats: a forget row whose loss is higher is no longer pushed. ``"log_k"``: the
        logarithm of the number of classes, the loss of a guess. None: no bound, as published.
    retain_weight : float, default=0.95
        :math:`\varphi`, weight of the loss on retain rows. 0: they do not take part.
    lr : float, default=0.002
        Learning rate.
    max_epochs : int, default=5
        Passes over the retain rows, with the forget rows cycled beside them; with
        ``retain_weight=0``, over the forget rows.
    batch_size : int, default=64
        Largest number of retain rows in a step, and number of forget rows beside them; with
        ``retain_weight=0``, of forget rows.
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
    - In [1]_ the weights are :math:`\varphi` and :math:`1 - \varphi`. Here both are free, so that
      either can be 0, and the learning rate keeps its meaning.
    - The loss of a forget row has no upper bound: pushed further, a row becomes recognisable by a
      loss higher than that of any row that was never seen, and the weights diverge. Hence the cap.

    References
    ----------
    .. [1] M. Kurmanji, P. Triantafillou, J. Hayes and E. Triantafillou (2023). Towards Unbounded
       Machine Unlearning. NeurIPS.
    .. [2] A. Golatkar, A. Achille and S. Soatto (2020). Eternal Sunshine of the Spotless Net:
       Selective Forgetting in Deep Networks. CVPR, 9304-9312.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklunlearn import NegGradUnlearner
    >>> X, y = load_iris(return_X_y=True)
    >>> unlearner = NegGradUnlearner(max_epochs=20, random_state=0).fit(X, y)
    >>> unlearner.unlearn(X, y, forget=(y == 2)).score(X[y == 2], y[y == 2])
    0.0
    """

    _parameter_constraints = {
        **GradientUnlearner._parameter_constraints,
        "forget_weight": [Interval(Real, 0, None, closed="left")],
        "loss_cap": [StrOptions({"log_k"}), Interval(Real, 0, None, closed="neither"), None],
    }

    _stackable = ("forget_weight", "loss_cap", "retain_weight")

    def __init__(
        self,
        estimator=None,
        *,
        forget_weight=0.05,
        loss_cap="log_k",
        retain_weight=0.95,
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
        self.forget_weight = forget_weight
        self.loss_cap = loss_cap

    def _steps(self, epoch, forget, retain):
        if self.retain_weight == 0:
            yield from super()._steps(epoch, forget, retain)
            return
        for positions in retain.shuffled(self.batch_size):
            yield forget.next_positions(self.batch_size), positions

    def _loss(self, module, forget, retain):
        forget_loss = cross_entropy(forget.logits, forget.y, reduction="none")
        if self.loss_cap is not None:
            cap = math.log(len(self.classes_)) if self.loss_cap == "log_k" else self.loss_cap
            forget_loss = forget_loss.clamp(max=cap)
        loss = -self.forget_weight * forget_loss.mean()
        if retain is not None:
            loss = loss + self.retain_weight * cross_entropy(retain.logits, retain.y)
        return loss
