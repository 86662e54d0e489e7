"""Random labels for the weights that matter most for the forget rows (Fan et al. 2024)."""

from numbers import Real

from sklearn.utils._param_validation import Interval

from sklunlearn.saliency import saliency_mask
from sklunlearn.trainable import TRAINABLE
from sklunlearn.unlearners.random_label import RandomLabelUnlearner

__all__ = ["SalUnUnlearner"]


class SalUnUnlearner(RandomLabelUnlearner):
    r"""SalUn: random wrong labels, learned by the most salient weights alone.

    Of the weights those may change whose gradient at the network before the run, summed over the
    batches of forget rows, is among the largest,

    .. math::
        m = 1\left(\left|\sum_B \nabla_\theta \mathrm{CE}(f_0(x_B), y_B)\right|
        \ge \gamma\right), \qquad \theta = m \odot (\theta_0 + \Delta) + (1 - m) \odot \theta_0,

    and they are trained as in :class:`RandomLabelUnlearner` [1]_.

    Parameters
    ----------
    estimator : skorch classifier, Pipeline, FrozenEstimator or None, default=None
        What learns; see :class:`sklunlearn.base.BaseUnlearner`.
    fraction : float, default=0.5
        Share of the weights that may change, chosen by rank: it sets :math:`\gamma`.
    trainable : {"all", "head"}, int or callable, default="all"
        Parameters among which the weights are chosen.
    resample : {"epoch", "once"}, default="epoch"
        Whether labels are drawn anew before each epoch.
    exclude_true : bool, default=True
        Draw from the classes other than the row's own, and other than those of which no row is
        retained; if that leaves none, from all but its own. False: from all classes, the row's own
        included, as some implementations do.
    retain_weight : float, default=1.0
        Weight of the retain rows. 0: they do not take part.
    lr : float, default=0.01
        Learning rate.
    max_epochs : int, default=10
        Passes over all rows.
    batch_size : int, default=64
        Largest number of rows in a step; forget and retain rows are mixed in their proportion.
    optimizer : class or None, default=None
        A torch optimizer, with its own defaults. None: SGD with momentum 0.9.
    freeze_batchnorm, stop_accuracy, max_grad_norm, callbacks
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

    See Also
    --------
    sklunlearn.saliency.saliency_mask : The same mask for any gradient method.

    Notes
    -----
    The published code draws the row's own class too, and alternates passes over the forget and the
    retain rows; an earlier version let weight decay and momentum move weights outside the mask.
    Here those stay bit for bit as they were. Statistics of BatchNorm layers have no gradient and
    are not masked: keep them with `freeze_batchnorm`. A bias before BatchNorm has a gradient in
    evaluation mode, in which the mask is found, but none in training mode: it may take up a place.

    References
    ----------
    .. [1] C. Fan, J. Liu, Y. Zhang, E. Wong, D. Wei and S. Liu (2024). SalUn: Empowering Machine
       Unlearning via Gradient-based Weight Saliency in Both Image Classification and Generation.
       ICLR.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklunlearn import SalUnUnlearner
    >>> X, y = load_iris(return_X_y=True)
    >>> unlearner = SalUnUnlearner(random_state=0).fit(X, y)
    >>> bool(unlearner.unlearn(X, y, forget=(y == 2)).score(X[y == 2], y[y == 2]) < 0.1)
    True
    """

    _parameter_constraints = {
        **RandomLabelUnlearner._parameter_constraints,
        "fraction": [Interval(Real, 0, 1, closed="right")],
        # Not a mask: that is what `fraction` makes.
        "trainable": TRAINABLE,
    }

    _stackable = ("retain_weight",)
    _stackable_before = ("fraction",)

    def __init__(
        self,
        estimator=None,
        *,
        fraction=0.5,
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
            resample=resample,
            exclude_true=exclude_true,
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
        self.fraction = fraction

    def _get_trainable(self):
        return saliency_mask(self.fraction, trainable=self.trainable)
