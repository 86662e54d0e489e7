"""Certified removal of rows from a linear head by one Newton step (Guo et al. 2020)."""

from numbers import Real

import numpy as np
from sklearn.frozen import FrozenEstimator
from sklearn.utils._param_validation import Interval

from sklunlearn._certified_head import is_alone, net_with_head, scaled_inputs, set_weights
from sklunlearn._data import Rows
from sklunlearn._nets import resume_training
from sklunlearn._newton import LinearHeads, removal_budget
from sklunlearn._seeding import draw_seed
from sklunlearn._training import transform
from sklunlearn.base import BaseUnlearner

__all__ = ["CertifiedUnlearner"]

# delta = 1.5 exp(-c^2 / 2) bounds the tail of the privacy loss, 0.5 exp(-(c - epsilon / 2c)^2 / 2),
# as long as exp(epsilon / 2) <= 3.
_MAX_EPSILON = 2 * np.log(3)


class CertifiedUnlearner(BaseUnlearner):
    r"""Certified removal from the linear head, by one Newton step with a perturbed objective.

    The last layer of the trained network is replaced by linear models, one for each class against
    the others (for two classes, a single one). What that layer is given, :math:`z`, is scaled row
    by row to a norm of at most 1, with a constant for the intercept,

    .. math::
        x = \frac{1}{\sqrt 2} \left( \frac{z}{\sqrt{1 + \lVert z \rVert^2}},\ 1 \right),

    and each model, with labels :math:`y = \pm 1`, minimises [1]_

    .. math::
        L_b(w) = \sum_{i=1}^n \left[ -\log \sigma(y_i\, w^\top x_i)
        + \frac{\lambda}{2} \lVert w \rVert^2 \right] + b^\top w,
        \qquad b \sim N(0, s^2 I),

    where :math:`b` is drawn once. A request to remove the :math:`m` rows :math:`M` moves it to

    .. math::
        w^- = w + H^{-1} \Delta, \qquad
        \Delta = m \lambda w + \sum_{i \in M} \nabla \ell_i(w),

    with the Hessian :math:`H` of the other rows :math:`X`, at :math:`w`. That leaves a gradient

    .. math::
        \lVert \nabla L_b(w^-) \rVert \le
        \tfrac14 \lVert X \rVert_2 \lVert H^{-1} \Delta \rVert_2 \lVert X H^{-1} \Delta \rVert_2.

    The bounds of successive requests add up. While their sum is within the budget
    :math:`s \varepsilon' / c` with :math:`c = \sqrt{2 \ln(1.5 / \delta')}`, the noise hides it: the
    weights are :math:`(\varepsilon', \delta')`-indistinguishable from those of a fit without the
    rows. Where it would exceed the budget, all heads are fitted again to the rows that remain,
    with new noise. The :math:`k` heads share the promise: :math:`\varepsilon' = \varepsilon / k`
    and :math:`\delta' = \delta / k`.

    Parameters
    ----------
    estimator : skorch classifier, Pipeline, FrozenEstimator or None, default=None
        What learns; see :class:`sklunlearn.base.BaseUnlearner`. The last layer of the network must
        be a :class:`torch.nn.Linear`.
    l2 : float, default=0.01
        :math:`\lambda`, strength of the regularisation of each row. The bounds shrink with about
        its square.
    noise : float, default=1.0
        :math:`s`, standard deviation of the noise in the sum over rows. 0: plain Newton steps, with
        neither budget nor certificate.
    epsilon : float, default=1.0
        :math:`\varepsilon` of the certificate.
    delta : float, default=1e-4
        :math:`\delta` of the certificate, between 0 and 1.
    public_encoder : bool, default=False
        Your word that what a FrozenEstimator holds, but for its last layer, was never trained on
        any of the rows. Without it a network of more than one layer is not certified.
    memory : str or object with the joblib.Memory interface, default=None
        Caches trained networks.
    random_state : int, RandomState instance or None, default=None
        Seed of everything that is drawn. Whoever knows it knows the noise: for a certificate keep
        it to yourself, or leave it None, which draws the noise from the operating system.
    verbose : int, default=0
        Without effect; set the verbosity of the net itself.

    Attributes
    ----------
    classes_, n_features_in_, feature_names_in_, fitted_, preprocessing_
        See :class:`sklunlearn.base.BaseUnlearner`. `fitted_` has the last layer that was trained.
    net_ : skorch.NeuralNetClassifier
        The network with the certified heads as its last layer, also before any request.
    history_, forget_loss_, unlearning_time_, records_
        See :class:`sklunlearn.base.BaseUnlearner`. `history_` is empty.
    heads_, fitted_heads_ : object
        The models as they are and as `fit` left them: `weights` and `noise` of shape
        (n_heads, n_inputs + 1), in double precision, and `spent` of shape (n_heads,).
    residual_norm_ : ndarray of shape (n_heads,)
        Norm of the gradient of each objective on the rows that remain, as measured.
    residual_bound_ : ndarray of shape (n_heads,)
        Bound on what the Newton step of the last request adds to it; where the heads were fitted
        again, of the step that was not taken. 0 before any request.
    budget_ : float
        Largest norm of the gradient that the noise hides; the same for each head.
    refitted_ : bool
        Whether the last request fitted the heads again.
    certified_ : bool
        Whether the theorem holds for the current network.
    certificate_ : dict
        `epsilon`, `delta`, `spent` (the largest sum of bounds of a head), `budget`, `certified`
        and `reasons`, the list of sentences that say why not.

    See Also
    --------
    RetrainUnlearner : Training again without the rows.

    Notes
    -----
    What the certificate does not cover:

    - The layers before the head. If they were trained on the rows, or hold their mean and scale, or
      a Pipeline was fitted to them, `certified_` is False, however good the heads are. That goes
      for every network of more than one layer that is trained here.
    - Requests that were chosen after looking at the model: the theorem takes them for independent
      of the noise. As in the paper, it is also taken for granted that nothing can be read from
      whether the budget held.
    - More than the weights of the current `net_`, alone. A model that was given away earlier still
      knows the rows, and this object has the original network and the noise: give away what
      :meth:`release` returns.
    - Rows that a request retains although they were to be forgotten earlier. The gradient is
      measured on the rows of the request: where it is larger than what has been accounted for, it
      counts instead, so that rows which the fit did not have mostly lead to a new fit.

    Departures from the paper:

    - The residual that the optimiser leaves counts toward the budget, although it is small.
    - One-vs-rest models share one epsilon and one delta, as basic composition asks.
    - Each model has an intercept, which is regularised as the other weights are. The constant is
      appended after the division by the norm, and not before: rows of large norm would leave
      nothing of it, and models with a single class left would not learn to say that class.

    :math:`\tfrac14` is the paper's Lipschitz constant of the second derivative of the logistic
    loss. A softmax head over all classes would need a constant of its own, which the paper does not
    derive, so that there is none here: a Newton step without that bound promises nothing.

    Removing many rows at once, or a class, costs more than the budget at most settings, so that the
    heads are fitted again; that takes a fraction of a second for small data.

    References
    ----------
    .. [1] C. Guo, T. Goldstein, A. Hannun and L. van der Maaten (2020). Certified Data Removal
       from Machine Learning Models. ICML, 3832-3842. arXiv:1911.03030.

    Examples
    --------
    >>> import torch
    >>> from sklearn.datasets import load_iris
    >>> from skorch import NeuralNetClassifier
    >>> from sklunlearn import CertifiedUnlearner
    >>> X, y = load_iris(return_X_y=True)
    >>> linear = NeuralNetClassifier(torch.nn.Linear, module__in_features=4,
    ...     module__out_features=3, criterion=torch.nn.CrossEntropyLoss, verbose=0)
    >>> unlearner = CertifiedUnlearner(linear, random_state=0).fit(X, y)
    >>> unlearner.unlearn(X, y, forget=[7]).certified_
    True
    >>> unlearner.refitted_
    False
    """

    _parameter_constraints = {
        **BaseUnlearner._parameter_constraints,
        "l2": [Interval(Real, 0, None, closed="neither")],
        "noise": [Interval(Real, 0, None, closed="left")],
        "epsilon": [Interval(Real, 0, None, closed="neither")],
        "delta": [Interval(Real, 0, 1, closed="neither")],
        "public_encoder": ["boolean"],
    }

    def __init__(
        self,
        estimator=None,
        *,
        l2=0.01,
        noise=1.0,
        epsilon=1.0,
        delta=1e-4,
        public_encoder=False,
        memory=None,
        random_state=None,
        verbose=0,
    ):
        super().__init__(estimator, memory=memory, random_state=random_state, verbose=verbose)
        self.l2 = l2
        self.noise = noise
        self.epsilon = epsilon
        self.delta = delta
        self.public_encoder = public_encoder

    def _validate_params(self):
        super()._validate_params()
        if self.public_encoder and not isinstance(self.estimator, FrozenEstimator):
            raise ValueError(
                "`public_encoder=True` says that the network before its last layer never saw the "
                f"rows, but `estimator` is {self.estimator!r}, which `fit` trains on them. Pass a "
                "FrozenEstimator of a network that other data trained, or leave it False."
            )

    def _needs_retain(self):
        return True

    def _complete_fit(self, X, y):
        net, head = net_with_head(self.net_, len(self.classes_))
        inputs, signs = self._head_data(net, head, X, y)
        self.fitted_heads_ = self._fit_heads(inputs, signs, n_draws=1)
        self._restart()
        self.residual_bound_, self.refitted_ = np.zeros(len(signs)), False
        self._certify(net, head, inputs, signs)

    def _restart(self):
        super()._restart()
        if hasattr(self, "fitted_heads_"):  # not yet, when `fit` is about to make them
            self.heads_ = self.fitted_heads_

    def _original_net(self):
        original = super()._original_net()
        if not hasattr(self, "fitted_heads_"):
            return original
        net, head = net_with_head(original, len(self.classes_))
        set_weights(head, self.fitted_heads_.weights)
        return resume_training(net, original)

    def _unlearn(self, start, X, y, forget):
        net, head = net_with_head(start, len(self.classes_))
        inputs, signs = self._head_data(net, head, X, y)
        heads, self.residual_bound_ = self.heads_.remove(inputs, signs, forget)
        inputs, signs = inputs[~forget], signs[:, ~forget]
        # Without noise there is no budget to keep, and nothing is promised.
        self.refitted_ = bool(heads.noise_std > 0 and max(heads.spent) > self._budget(heads))
        if self.refitted_:
            heads = self._fit_heads(inputs, signs, n_draws=heads.n_draws + 1)
        self.heads_ = heads
        self._certify(net, head, inputs, signs)
        set_weights(head, heads.weights)
        return resume_training(net, start)

    def _head_data(self, net, head, X, y):
        """Inputs of the heads, and the labels -1 and 1 that each head gives the rows."""
        inputs = scaled_inputs(net, head, Rows(transform(self.preprocessing_, X)))
        classes = np.arange(len(self.classes_))
        positive = classes if len(classes) > 2 else classes[1:]
        return inputs, np.where(positive[:, None] == y, 1.0, -1.0)

    def _fit_heads(self, inputs, signs, n_draws):
        # A seed that is asked for must not draw the same noise again. One that is not is left to
        # NumPy: the seeds of torch have too few bits to hide anything.
        seed = draw_seed(self.random_state)
        rng = np.random.default_rng(None if seed is None else [seed, n_draws])
        return LinearHeads.fit(
            inputs, signs, l2=self.l2, noise_std=self.noise, rng=rng, n_draws=n_draws
        )

    def _budget(self, heads):
        n_heads = len(heads.weights)
        return removal_budget(heads.noise_std, self.epsilon / n_heads, self.delta / n_heads)

    def _certify(self, net, head, inputs, signs):
        """Compare what the heads have spent with the budget, and say what the theorem needs."""
        heads = self.heads_
        self.budget_, spent = float(self._budget(heads)), float(max(heads.spent))
        self.residual_norm_ = heads.residual_norm(inputs, signs)
        is_public = self.public_encoder and self.fitted_ is self.estimator.estimator
        reasons = {
            "There is no noise.": heads.noise_std == 0,
            "The heads have spent more than the budget.": spent > self.budget_ > 0,
            f"The epsilon of one head is above {_MAX_EPSILON:.3g}, where the theorem's constant "
            "holds no more.": self.epsilon / len(heads.weights) > _MAX_EPSILON,
            "What comes before the head may have learned from the rows: it was fitted to them, or "
            "nobody has declared it public.": not is_public
            and not (self.preprocessing_ is None and is_alone(net, head)),
        }
        reasons = [reason for reason, applies in reasons.items() if applies]
        self.certified_ = not reasons
        self.certificate_ = {
            "epsilon": self.epsilon,
            "delta": self.delta,
            "spent": spent,
            "budget": self.budget_,
            "certified": self.certified_,
            "reasons": reasons,
        }

    def release(self):
        """Copy that predicts and scores, but carries nothing of the forgotten rows.

        As :meth:`sklunlearn.base.BaseUnlearner.release`. It has neither the noise nor the seed
        that it was drawn with.

        Returns
        -------
        released : object
            A new estimator of the same class; it cannot unlearn.
        """
        released = super().release()
        released.random_state = None
        return released
