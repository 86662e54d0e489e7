"""Retraining without the rows, the reference for every other method."""

import numpy as np

from sklunlearn._data import take
from sklunlearn._training import check_can_start_afresh, split_pipeline
from sklunlearn.base import BaseUnlearner

__all__ = ["RetrainUnlearner"]


class RetrainUnlearner(BaseUnlearner):
    r"""Exact unlearning: train again, from new initial weights, on the retain rows alone.

    With the learner :math:`A` (architecture, schedule and the preprocessing of a Pipeline) and the
    retain rows :math:`D_r`, the network is :math:`\theta_r = A(D_r)`: the forget rows have no
    influence on it. All other methods approximate this, at a lower cost.

    Parameters
    ----------
    estimator : skorch classifier, Pipeline, FrozenEstimator or None, default=None
        What learns. In a FrozenEstimator it is already trained, and retraining starts from an
        unfitted clone. None: a small network sized from the data.
    memory : str or object with the joblib.Memory interface, default=None
        Caches trained networks, retrained ones too.
    random_state : int, RandomState instance or None, default=None
        Seed of initial weights and shuffling. An int gives the training and every retraining the
        same initial weights. A net that is made from an instance of a module, which has not been
        trained, starts from the weights of that instance.
    verbose : int, default=0
        Without effect; set the verbosity of the net itself.

    Attributes
    ----------
    classes_, n_features_in_, feature_names_in_, fitted_, net_, preprocessing_
        See :class:`sklunlearn.base.BaseUnlearner`. `preprocessing_` too is fitted again on the
        retain rows.
    history_, forget_loss_, unlearning_time_, records_
        See :class:`sklunlearn.base.BaseUnlearner`.

    Notes
    -----
    A whole class that is forgotten keeps its output, so that probabilities have the same columns
    as those of the original; the retrained network has no reason to prefer it.

    The epochs are as many as in the original training, not the steps: fewer rows make fewer steps.
    A validation set that the net splits off is drawn from the retain rows. One that is fixed in
    the net, by :func:`skorch.helper.predefined_split`, must not hold forget rows.

    What is given to a net as a parameter stays as it is, whatever rows it was computed from: class
    weights, or the `mean` and `scale` of :class:`sklunlearn.networks.Standardize`. With
    ``estimator=None`` the network is sized anew from the retain rows, these constants included;
    the same network in a FrozenEstimator keeps those of the original.

    References
    ----------
    .. [1] L. Bourtoule, V. Chandrasekaran, C. A. Choquette-Choo et al. (2021). Machine Unlearning.
       IEEE Symposium on Security and Privacy, 141-159.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklunlearn import RetrainUnlearner
    >>> X, y = load_iris(return_X_y=True)
    >>> unlearner = RetrainUnlearner(random_state=0).fit(X, y)
    >>> unlearner.unlearn(X, y, forget=(y == 2)).score(X[y == 2], y[y == 2])
    0.0
    """

    def _needs_retain(self):
        return True

    def _unlearn(self, start, X, y, forget):
        check_can_start_afresh(self.estimator)
        retain = np.flatnonzero(~forget)
        self.preprocessing_, net = split_pipeline(self._train(take(X, retain), y[retain]))
        return net
