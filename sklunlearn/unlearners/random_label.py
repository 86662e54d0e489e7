"""Random wrong labels for the forget rows (Graves et al. 2021)."""

import torch
from sklearn.utils._param_validation import StrOptions
from torch.nn.functional import cross_entropy

from sklunlearn._losses import other_classes, retained_classes
from sklunlearn._steps import mixed
from sklunlearn.gradient import GradientUnlearner

__all__ = ["RandomLabelUnlearner"]


class RandomLabelUnlearner(GradientUnlearner):
    r"""Train on with wrong labels, drawn at random, for the forget rows.

    Batches are drawn from forget and retain rows together, and over the rows of a batch

    .. math::
        \min_\theta\ \frac{\sum_f \mathrm{CE}(f_\theta(x), \tilde y)
        + \varphi \sum_r \mathrm{CE}(f_\theta(x_r), y_r)}{n_f + n_r},

    where :math:`\tilde y` is drawn uniformly from the other classes [1]_, unless `exclude_true` is
    False.

    Parameters
    ----------
    estimator : skorch classifier, Pipeline, FrozenEstimator or None, default=None
        What learns; see :class:`sklunlearn.base.BaseUnlearner`.
    resample : {"epoch", "once"}, default="epoch"
        Whether labels are drawn anew before each epoch.
    exclude_true : bool, default=True
        Draw from the classes other than the row's own, and other than those of which no row is
        retained; if that leaves none, from all but its own. False: from all classes, the row's own
        included, as some implementations do.
    retain_weight : float, default=1.0
        :math:`\varphi`, weight of the retain rows. 0: they do not take part.
    lr : float, default=0.01
        Learning rate.
    max_epochs : int, default=10
        Passes over all rows.
    batch_size : int, default=64
        Largest number of rows in a step; forget and retain rows are mixed in their proportion.
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
    - With two classes the draw is a flip.
    - A network that never saw some random rows still gets most of them right. To push them to
      wrong labels moves away from that: stop early, with `stop_accuracy` at the accuracy on rows
      that were not seen.
    - This is often called amnesiac unlearning. The method of that name in [1]_ is another one: it
      stores what each training batch changed and takes it back.

    References
    ----------
    .. [1] L. Graves, V. Nagisetty and V. Ganesh (2021). Amnesiac Machine Learning. AAAI, 35(13),
       11516-11524.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklunlearn import RandomLabelUnlearner
    >>> X, y = load_iris(return_X_y=True)
    >>> unlearner = RandomLabelUnlearner(random_state=0).fit(X, y)
    >>> bool(unlearner.unlearn(X, y, forget=(y == 2)).score(X[y == 2], y[y == 2]) < 0.1)
    True
    """

    _parameter_constraints = {
        **GradientUnlearner._parameter_constraints,
        "resample": [StrOptions({"epoch", "once"})],
        "exclude_true": ["boolean"],
    }

    _stackable = ("retain_weight",)

    def __init__(
        self,
        estimator=None,
        *,
        resample="epoch",
        exclude_true=True,
        retain_weight=1.0,
        lr=0.01,
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
        self.resample = resample
        self.exclude_true = exclude_true

    def _prepare(self, net, forget, retain):
        self._retained = retained_classes(retain, len(self.classes_))
        forget["label"] = self._draw_labels(forget.y)
        if self.retain_weight == 0:
            return forget, retain.select(torch.arange(0))
        return None

    def _start_epoch(self, run, epoch, forget, retain):
        if self.resample == "epoch":
            forget["label"] = self._draw_labels(forget.y)

    def _steps(self, epoch, forget, retain):
        return mixed(forget, retain, self.batch_size)

    def _loss(self, module, forget, retain):
        of_forget = cross_entropy(forget.logits, forget["label"], reduction="sum")
        of_retain = cross_entropy(retain.logits, retain.y, reduction="sum")
        return (of_forget + self.retain_weight * of_retain) / (len(forget) + len(retain))

    def _draw_labels(self, y):
        shares = torch.ones(len(y), len(self.classes_), device=y.device)
        if self.exclude_true:
            shares = other_classes(y, self._retained).to(shares.dtype)
        return shares.multinomial(1).squeeze(1)
