"""Distillation without the class that is to be forgotten (DELETE, Zhou et al. 2025)."""

import torch
from torch.nn.functional import cross_entropy

from sklunlearn._losses import kl_divergence, other_classes, retained_classes
from sklunlearn._teacher import Teacher
from sklunlearn.gradient import GradientUnlearner

__all__ = ["DELETEUnlearner"]


class DELETEUnlearner(GradientUnlearner):
    r"""DELETE: decoupled distillation on the forget rows.

    The network is trained to say of a forget row what the network :math:`f_0` before the run says
    of the other classes [1]_,

    .. math::
        \min_\theta\ \mathrm{KL}(q(x) \,\|\, p_\theta(x))
        + \varphi\, \mathrm{CE}(f_\theta(x_r), y_r), \qquad
        q_k(x) = \frac{p_{0,k}(x)}{1 - p_{0,y}(x)}\ (k \ne y), \quad q_y(x) = 0.

    At the start the first term is :math:`-\log(1 - p_{0,y})`, if the network has neither BatchNorm
    nor dropout.

    Parameters
    ----------
    estimator : skorch classifier, Pipeline, FrozenEstimator or None, default=None
        What learns; see :class:`sklunlearn.base.BaseUnlearner`.
    retain_weight : float, default=0.0
        :math:`\varphi`, weight of the loss on retain rows. 0, as published: they do not take part.
    lr : float, default=0.001
        Learning rate.
    max_epochs : int, default=10
        Passes over the forget rows.
    batch_size : int, default=64
        Largest number of forget rows in a step, and number of retain rows beside them.
    optimizer : class or None, default=None
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
    - :math:`q` is computed from logits: where the network is sure of the row, the probabilities
      of the other classes would round to 0.
    - A class of which no row is retained is forgotten as a whole, and left out of :math:`q` too,
      unless it is the only one that is left.
    - Made for classes. Of rows drawn at random, an unlearned network should still get most right;
      this teaches it to get none right.

    References
    ----------
    .. [1] Y. Zhou, D. Zheng, Q. Mo, R. Lu, K.-Y. Lin and W.-S. Zheng (2025). Decoupled
       Distillation to Erase: A General Unlearning Method for Any Class-centric Tasks. CVPR.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklunlearn import DELETEUnlearner
    >>> X, y = load_iris(return_X_y=True)
    >>> unlearner = DELETEUnlearner(lr=0.01, random_state=0).fit(X, y)
    >>> unlearner.unlearn(X, y, forget=(y == 2)).score(X[y == 2], y[y == 2])
    0.0
    """

    request_types = ("class",)

    _stackable = ("retain_weight",)

    def __init__(
        self,
        estimator=None,
        *,
        retain_weight=0.0,
        lr=0.001,
        max_epochs=10,
        batch_size=64,
        optimizer=None,
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

    def _prepare(self, net, forget, retain):
        self._teacher = Teacher(net, forget)
        forget["others"] = other_classes(forget.y, retained_classes(retain, len(self.classes_)))

    def _loss(self, module, forget, retain):
        target = self._teacher(forget).masked_fill(~forget["others"], -torch.inf)
        loss = kl_divergence(target, forget.logits)
        if retain is not None:
            loss = loss + self.retain_weight * cross_entropy(retain.logits, retain.y)
        return loss
