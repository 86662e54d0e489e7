"""Fine-tuning on the retain rows, of all layers or of the last, from old weights or new ones."""

from numbers import Real

from sklearn.utils._param_validation import Interval
from torch.nn.functional import cross_entropy

from sklunlearn.gradient import GradientUnlearner
from sklunlearn.saliency import SaliencyMask
from sklunlearn.trainable import reinitialize, select_parameters

__all__ = ["FineTuneUnlearner"]


class FineTuneUnlearner(GradientUnlearner):
    r"""Train on with the retain rows alone.

    What is not practised may be forgotten: the network goes on with

    .. math::
        \min_\theta\ \mathrm{CE}(f_\theta(x_r), y_r) + \gamma_e \lVert\theta\rVert_1,
        \qquad \gamma_e = \gamma\,(1 - e / E)

    in the epochs :math:`e = 0, \dots, E - 1`. The second term, which is 0 by default, makes the
    sparse variant [1]_. With ``trainable=k`` only the last `k` layers are trained: CF-k,
    catastrophic forgetting of these layers; with ``reinitialize=True`` too, they start from new
    initial weights: EU-k, exact unlearning of these layers [2]_.

    Parameters
    ----------
    estimator : skorch classifier, Pipeline, FrozenEstimator or None, default=None
        What learns; see :class:`sklunlearn.base.BaseUnlearner`.
    l1_weight : float, default=0.0
        :math:`\gamma`, weight of the sum of the absolute values of all weights that are trained.
    reinitialize : bool, default=False
        Draw new initial weights for what `trainable` selects; each layer by its own
        ``reset_parameters``. With ``trainable="all"`` this is retraining, by this run's settings.
    lr : float, default=0.05
        Learning rate.
    max_epochs : int, default=10
        Passes over the retain rows.
    batch_size : int, default=64
        Largest number of retain rows in a step.
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
    Without new weights this hardly forgets: at a small learning rate the network keeps saying of
    the forget rows what it said, as nothing tells it otherwise, and at a large one it is
    retraining in part. On a whole class the accuracy goes down only as far as the learning rate
    disturbs the network.

    With ``trainable=k`` everything before the last `k` layers is as it was, and may still tell the
    forget rows from others: accuracy does not show that.

    In [2]_ the new weights are drawn by one rule for all layers, and BatchNorm is left out.

    References
    ----------
    .. [1] J. Jia, J. Liu, P. Ram et al. (2023). Model Sparsity Can Simplify Machine Unlearning.
       NeurIPS.
    .. [2] S. Goel, A. Prabhu, A. Sanyal, S.-N. Lim, P. Torr and P. Kumaraguru (2022). Towards
       Adversarial Evaluations for Inexact Machine Unlearning. arXiv:2201.06640.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklunlearn import FineTuneUnlearner
    >>> X, y = load_iris(return_X_y=True)
    >>> unlearner = FineTuneUnlearner(trainable=2, reinitialize=True, random_state=0).fit(X, y)
    >>> unlearner.unlearn(X, y, forget=(y == 2)).score(X[y == 2], y[y == 2])
    0.0
    """

    _parameter_constraints = {
        **GradientUnlearner._parameter_constraints,
        "l1_weight": [Interval(Real, 0, None, closed="left")],
        "reinitialize": ["boolean"],
    }
    del _parameter_constraints["retain_weight"]  # retain rows are all there is

    _stackable = ()

    def __init__(
        self,
        estimator=None,
        *,
        l1_weight=0.0,
        reinitialize=False,
        lr=0.05,
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
        self.l1_weight = l1_weight
        self.reinitialize = reinitialize

    def _begin(self, net):
        run = super()._begin(net)
        if self.reinitialize and isinstance(self.trainable, SaliencyMask):
            raise ValueError(
                "`reinitialize=True` draws the weights of whole layers anew: give `trainable` as "
                f"'all', 'head', a number of layers or a function, not {self.trainable!r}."
            )
        if self.reinitialize:
            reinitialize(run.module_, select_parameters(run.module_, self.trainable))
        return run

    def _start_epoch(self, run, epoch, forget, retain):
        self._l1_weight = self.l1_weight * (1 - (epoch - 1) / self.max_epochs)

    def _steps(self, epoch, forget, retain):
        for positions in retain.shuffled(self.batch_size):
            yield None, positions

    def _loss(self, module, forget, retain):
        loss = cross_entropy(retain.logits, retain.y)
        if self._l1_weight:
            trained = (p for p in module.parameters() if p.requires_grad)
            loss = loss + self._l1_weight * sum(p.abs().sum() for p in trained)
        return loss
