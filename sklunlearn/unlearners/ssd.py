"""Dampening of the weights that matter more for the forget rows (SSD, Foster et al. 2024)."""

from numbers import Integral, Real

import numpy as np
import torch
from sklearn.utils._param_validation import Interval

from sklunlearn._data import Rows
from sklunlearn._gradients import loss_gradients
from sklunlearn._nets import copy_net, forward, logits_of, resume_training
from sklunlearn._training import transform
from sklunlearn.base import BaseUnlearner
from sklunlearn.trainable import TRAINABLE, select_parameters

__all__ = ["SSDUnlearner"]


class SSDUnlearner(BaseUnlearner):
    r"""Selective synaptic dampening: scale down what matters most for the forget rows.

    With the importance of a weight for some rows, in :math:`m` batches :math:`B`,

    .. math::
        I_i = \frac{1}{m} \sum_B \left(\partial_{\theta_i}\, \mathrm{CE}(f_\theta(x_B),
        y_B)\right)^2,

    :math:`I_f` over the forget rows and :math:`I_D` over all rows, every weight with
    :math:`I_f > \alpha I_D` is changed to [1]_

    .. math::
        \theta_i \leftarrow \theta_i\, \min(\lambda I_D / I_f,\, 1).

    There is no training.

    Parameters
    ----------
    estimator : skorch classifier, Pipeline, FrozenEstimator or None, default=None
        What learns; see :class:`sklunlearn.base.BaseUnlearner`.
    alpha : float, default=10.0
        :math:`\alpha`, how many times as important a weight must be for the forget rows. Not used
        with `max_retain_drop`. Infinite: the network stays as it is.
    dampening : float, default=1.0
        :math:`\lambda`: the smaller, the more the selected weights are scaled down.
    max_retain_drop : float or None, default=None
        Choose :math:`\alpha` by bisection: the smallest for which the accuracy on the retain rows
        drops by at most this, if it only rises with :math:`\alpha`; where it does not, there may
        be a smaller one. None: `alpha`.
    batch_size : int, default=64
        Largest number of rows in a batch. The importance depends on it.
    trainable : {"all", "head"}, int or callable, default="all"
        Parameters that may change; see :func:`sklunlearn.trainable.select_parameters`.
    memory, random_state, verbose
        See :class:`sklunlearn.base.BaseUnlearner`. `verbose` is without effect.

    Attributes
    ----------
    classes_, n_features_in_, feature_names_in_, fitted_, net_, preprocessing_
        See :class:`sklunlearn.base.BaseUnlearner`.
    history_, forget_loss_, unlearning_time_, records_
        See :class:`sklunlearn.base.BaseUnlearner`. `history_` is empty.
    updated_params_ : list of str
        Names of the parameters that could change.
    alpha_ : float
        :math:`\alpha` of the last request.
    dampened_fraction_ : float
        Share of the weights that were scaled down.

    Notes
    -----
    - Networks that have learned their rows by heart have hardly a gradient on them, and the ratio
      of importances is then noise. `dampened_fraction_` tells how many weights were selected.
    - Rows drawn at random matter for much the same weights as all rows, so that few are selected.
    - Biases and normalisation layers are dampened too; statistics of BatchNorm layers stay.

    References
    ----------
    .. [1] J. Foster, S. Schoepf and A. Brintrup (2024). Fast Machine Unlearning without Retraining
       through Selective Synaptic Dampening. AAAI, 38(11), 12043-12051.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklunlearn import SSDUnlearner
    >>> X, y = load_digits(return_X_y=True)
    >>> unlearner = SSDUnlearner(random_state=0).fit(X, y)
    >>> unlearner.unlearn(X, y, forget=(y == 3)).score(X[y == 3], y[y == 3])
    0.0
    >>> bool(unlearner.score(X[y != 3], y[y != 3]) > 0.95)
    True
    """

    _parameter_constraints = {
        **BaseUnlearner._parameter_constraints,
        "alpha": [Interval(Real, 0, None, closed="both")],
        "dampening": [Interval(Real, 0, None, closed="left")],
        "max_retain_drop": [Interval(Real, 0, 1, closed="both"), None],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "trainable": TRAINABLE,
    }

    def __init__(
        self,
        estimator=None,
        *,
        alpha=10.0,
        dampening=1.0,
        max_retain_drop=None,
        batch_size=64,
        trainable="all",
        memory=None,
        random_state=None,
        verbose=0,
    ):
        super().__init__(estimator, memory=memory, random_state=random_state, verbose=verbose)
        self.alpha = alpha
        self.dampening = dampening
        self.max_retain_drop = max_retain_drop
        self.batch_size = batch_size
        self.trainable = trainable

    def _needs_retain(self):
        return self.max_retain_drop is not None

    def _unlearn(self, start, X, y, forget):
        X = transform(self.preprocessing_, X)
        run = copy_net(start)
        self.updated_params_ = select_parameters(run.module_, self.trainable)
        of_forget = self._importance(run, Rows(X, y, np.flatnonzero(forget)))
        of_all = self._importance(run, Rows(X, y))
        parameters = dict(run.module_.named_parameters())
        weights = [parameters[name] for name in self.updated_params_]
        original = torch.cat([weight.detach().flatten() for weight in weights])
        # 0 / 0, of a weight that matters for no row, is not a number: it is never selected.
        ratio = of_forget / of_all
        factor = (self.dampening / ratio).to(original.dtype)

        def dampen(alpha):
            # Below `dampening` the factor would not be less than 1.
            selected = ratio > max(alpha, self.dampening)
            changed = torch.where(selected, original * factor, original)
            torch.nn.utils.vector_to_parameters(changed, weights)
            return selected

        self.alpha_ = float(self.alpha)
        if self.max_retain_drop is not None:
            retain = Rows(X, y, np.flatnonzero(~forget))
            # With room for rounding: 0.8 - 0.1 is more than 0.7.
            lowest = _accuracy(run, retain) - self.max_retain_drop - 1e-9

            def is_good(alpha):
                dampen(alpha)
                return _accuracy(run, retain) >= lowest

            self.alpha_ = _smallest(is_good, ratio[ratio > self.dampening], self.dampening)
        self.dampened_fraction_ = float(dampen(self.alpha_).double().mean())
        return resume_training(run, start)

    def _importance(self, net, rows):
        """Mean over the batches of the squared gradient, of shape (n_weights,)."""
        total, n_batches = 0.0, 0
        for gradients in loss_gradients(net, rows, self.updated_params_, self.batch_size):
            # In double precision: the squares of small gradients would be 0.
            total += torch.cat([gradient.flatten() for gradient in gradients]).double().square()
            n_batches += 1
        return total / n_batches


def _smallest(is_good, ratios, lowest):
    """Smallest alpha that is good, by bisection: what is selected changes only at the ratios."""
    candidates = torch.cat([ratios.new_tensor([lowest]), ratios.unique()])
    # At the largest ratio nothing is selected: that is good.
    low, high = 0, len(candidates) - 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if is_good(candidates[middle].item()) else (middle + 1, high)
    return candidates[high].item()


def _accuracy(net, rows):
    def is_correct(net, output, batch):
        return logits_of(net, output).argmax(dim=1) == batch.y

    return float(np.mean(forward(net, rows, is_correct)))
