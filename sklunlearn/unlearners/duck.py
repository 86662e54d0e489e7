"""Embeddings moved to the nearest wrong centroid (DUCK, Cotogni et al. 2023)."""

from numbers import Integral, Real

import torch
from sklearn.utils._param_validation import Interval
from torch.nn.functional import cosine_similarity, cross_entropy

from sklunlearn._losses import other_classes, retained_classes
from sklunlearn.embeddings import HeadInput, class_centroids, embed
from sklunlearn.gradient import GradientUnlearner

__all__ = ["DUCKUnlearner"]


class DUCKUnlearner(GradientUnlearner):
    r"""DUCK: distance-based unlearning via centroid kinematics.

    The embedding :math:`z_\theta(x)`, the input of the head, of a forget row is moved toward the
    nearest centroid of another class, while the retain rows are held [1]_,

    .. math::
        \min_\theta\ \alpha\, d(z_\theta(x), \mu_{c(x)})
        + \varphi\, \mathrm{CE}(f_\theta(x_r) / T, y_r), \qquad
        c(x) = \arg\min_{c \ne y} d(z_0(x), \mu_c), \quad d(u, v) = 1 - \cos(u, v).

    The centroids :math:`\mu_c` are the mean embeddings of the retain rows of each class, by the
    network before the run. A second phase of `tune_epochs` has a tenth of :math:`\alpha`.

    Parameters
    ----------
    estimator : skorch classifier, Pipeline, FrozenEstimator or None, default=None
        What learns; see :class:`sklunlearn.base.BaseUnlearner`.
    forget_weight : float, default=1.0
        :math:`\alpha`, weight of the distance.
    temperature : float, default=2.0
        :math:`T`, divides the logits of retain rows.
    ratio : int, default=5
        For each batch of forget rows, ``ratio + 1`` steps are taken, each with other retain rows.
    cut : str or None, default=None
        Name of the submodule whose input is the embedding. None: the last layer with parameters.
    tune_epochs : int, default=2
        Passes over the retain rows in the second phase, with the forget rows cycled beside them.
    tune_lr : float, default=0.0001
        Learning rate of the second phase.
    retain_weight : float, default=1.4
        :math:`\varphi`, weight of the loss on retain rows. 0: they do not take part, except for
        the centroids, and there is no second phase.
    stop_accuracy : float or None, default=0.01
        Go on to the second phase after the epoch in which the accuracy on the forget rows is at or
        below it: near 0 for a class; for random rows, the accuracy on unseen rows. None: never.
    lr : float, default=0.001
        Learning rate.
    max_epochs : int, default=20
        Passes over the forget rows.
    batch_size : int, default=64
        Largest number of forget rows in a step, and number of retain rows beside them.
    optimizer : class or None, default=torch.optim.Adam
        A torch optimizer, with its own defaults. None: SGD with momentum 0.9.
    trainable, freeze_batchnorm, max_grad_norm, callbacks
        See :class:`sklunlearn.gradient.GradientUnlearner`.
    net_params, data_on_device
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
    - Only parameters before the cut move embeddings: with ``trainable="head"`` the distance stays.
    - Each row has its target once and for all. In the published code the list of targets goes out
      of step with the rows after the first epoch, and classes are counted without the removed
      ones, so that a row's own class can be its target.
    - The second phase of the published code takes other numbers of batches for a class and for
      random rows; here it is passes over the retain rows.

    References
    ----------
    .. [1] M. Cotogni, J. Bonato, L. Sabetta, F. Pelosin and A. Nicolosi (2023). DUCK:
       Distance-based Unlearning via Centroid Kinematics. arXiv:2312.02052.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklunlearn import DUCKUnlearner
    >>> X, y = load_iris(return_X_y=True)
    >>> unlearner = DUCKUnlearner(random_state=0).fit(X, y)
    >>> unlearner.unlearn(X, y, forget=(y == 2)).score(X[y == 2], y[y == 2])
    0.0
    """

    _parameter_constraints = {
        **GradientUnlearner._parameter_constraints,
        "forget_weight": [Interval(Real, 0, None, closed="left")],
        "temperature": [Interval(Real, 0, None, closed="neither")],
        "ratio": [Interval(Integral, 0, None, closed="left")],
        "cut": [str, None],
        "tune_epochs": [Interval(Integral, 0, None, closed="left")],
        "tune_lr": [Interval(Real, 0, None, closed="neither")],
    }

    def __init__(
        self,
        estimator=None,
        *,
        forget_weight=1.0,
        temperature=2.0,
        ratio=5,
        cut=None,
        tune_epochs=2,
        tune_lr=0.0001,
        retain_weight=1.4,
        lr=0.001,
        max_epochs=20,
        batch_size=64,
        optimizer=torch.optim.Adam,
        trainable="all",
        freeze_batchnorm=False,
        stop_accuracy=0.01,
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
        self.temperature = temperature
        self.ratio = ratio
        self.cut = cut
        self.tune_epochs = tune_epochs
        self.tune_lr = tune_lr

    def _needs_retain(self):
        return True  # for the centroids

    def _prepare(self, net, forget, retain):
        n_classes = len(self.classes_)
        centroids = class_centroids(embed(net, retain, self.cut), retain.y, n_classes)
        embeddings = embed(net, forget, self.cut)
        similarities = torch.stack([cosine_similarity(embeddings, mu[None]) for mu in centroids], 1)
        # A class without a retain row has no centroid; a row's own class is never its target.
        known = retained_classes(retain, n_classes)
        allowed = other_classes(forget.y, known) & known
        if not allowed.any(dim=1).all():
            raise ValueError(
                "Some forget rows are of the only class that is retained, so that there is no "
                "other centroid to move them to: retain rows of another class too."
            )
        forget["target"] = similarities.masked_fill(~allowed, -torch.inf).argmax(dim=1)
        self._centroids = centroids

    def _run(self, run, forget, retain):
        with HeadInput(run.module_, self.cut) as self._entering:
            self._pull, self._tunes = self.forget_weight, False
            super()._run(run, forget, retain)
            if self.tune_epochs and self.forget_weight and self.retain_weight:
                self._pull, self._tunes = self.forget_weight / 10, True
                self._restart_optimizer(run, self.tune_lr)
                self._train_epochs(run, forget, retain, self.tune_epochs, may_stop=False)

    def _steps(self, epoch, forget, retain):
        if self._tunes:
            for positions in retain.shuffled(self.batch_size):
                yield forget.next_positions(self.batch_size), positions
            return
        for positions, beside in super()._steps(epoch, forget, retain):
            yield positions, beside
            for _ in range(self.ratio):
                if beside is not None:
                    beside = retain.next_positions(self.batch_size)
                yield positions, beside

    def _loss(self, module, forget, retain):
        embeddings = self._entering.value[: len(forget)]
        centroids = self._centroids.to(embeddings)[forget["target"]]
        loss = self._pull * (1 - cosine_similarity(embeddings, centroids)).mean()
        if retain is not None:
            held = cross_entropy(retain.logits / self.temperature, retain.y)
            loss = loss + self.retain_weight * held
        return loss
