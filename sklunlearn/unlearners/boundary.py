"""Relabelling rows across their nearest decision boundary (Nahass et al. 2025)."""

import pickle
import warnings
from numbers import Integral, Real

import torch
from sklearn.utils._param_validation import Interval, StrOptions
from torch.nn.functional import cross_entropy

from sklunlearn._devices import device_of
from sklunlearn._losses import other_classes, retained_classes
from sklunlearn._nets import bytes_of, logits_of
from sklunlearn._seeding import draw_once
from sklunlearn._stacklevel import users_stacklevel
from sklunlearn._teacher import Teacher
from sklunlearn.gradient import GradientUnlearner
from sklunlearn.search import check_clip, merge_searches, perturbed_sign_search
from sklunlearn.trainable import training_only

__all__ = ["BoundaryUnlearner"]

# Parameters that the search reads.
_OF_SEARCH = (
    *("step_size", "step_units", "max_steps", "step_decay", "closeness", "closeness_decay"),
    *("noise", "noise_distribution", "normalize_gradient", "threshold", "clip"),
)


class BoundaryUnlearner(GradientUnlearner):
    r"""Perturbed sign-gradient boundary unlearning.

    A bilevel method [1]_. The inner problem walks each forget row :math:`x` with class :math:`y`
    across its nearest decision boundary of the network :math:`f_0` as it is before the run,

    .. math::
        \delta \leftarrow \delta + \frac{\varepsilon}{\sqrt t}\, \mathrm{sign}\left(
        \nabla_x \mathrm{CE}(f_0(x + \delta), y) - \lambda_t \delta + \gamma z_t\right),

    to :math:`x' = x + \delta`; see :func:`sklunlearn.search.perturbed_sign_search`. The outer
    problem trains the network to say of the row what :math:`f_0` says at :math:`x'`,

    .. math::
        \min_\theta\ \mathrm{CE}(f_\theta(x), \tilde y(x'))
        + \varphi\, \mathrm{CE}(f_\theta(x_r), y_r),

    while the second term holds the retain rows :math:`(x_r, y_r)`. The target
    :math:`\tilde y(x')` is never the row's own class, except with ``uncrossed="keep"``.

    Parameters
    ----------
    estimator : skorch classifier, Pipeline, FrozenEstimator or None, default=None
        What learns; see :class:`sklunlearn.base.BaseUnlearner`.
    step_size : float, default=0.1
        :math:`\varepsilon`, length of the first step, in `step_units`.
    step_units : {"data", "absolute"}, default="data"
        ``"data"``: lengths, and :math:`\delta` in the formula, are in standard deviations of each
        feature, or of each channel of images, over the retain rows (1000 of them, evenly
        spaced, if there are more; the forget rows where none are retained). ``"absolute"``: in the
        units of the data.
    max_steps : int, default=50
        :math:`T`, the largest number of steps. A row stops as soon as it is across.
    step_decay : {"sqrt", None}, default="sqrt"
        None: steps of constant length, without :math:`1 / \sqrt t`.
    closeness : float, default=0.0
        :math:`\lambda`, pull back toward the row. A negative value pushes away from it.
    closeness_decay : {None, "inverse", "exponential", "linear"}, default=None
        :math:`\lambda_t` is `closeness` times 1, ``1 / t``, ``exp(-t / 100)`` or ``1 - t / T``.
    noise : float, default=0.0
        :math:`\gamma`, scale of the noise :math:`z_t`.
    noise_distribution : {"normal", "uniform", "laplace", "cauchy"}, default="normal"
        Distribution of the noise: standard normal, uniform on (-1, 1), or Laplace or Cauchy with
        location 0 and scale 1.
    normalize_gradient : bool, default=True
        Divide the gradient of each row by its mean absolute value, so that `closeness` and `noise`
        mean the same on any network. False: the gradient as it is.
    threshold : float or None, default=None
        :math:`\kappa`. A row is across once another class wins and the probability of its own is
        at most this. None: once another class wins.
    clip : None, "data" or pair of float, default=None
        Range of the features during the search: unbounded, that of each feature (or channel) over
        the retain rows, or (low, high).
    relabel : {"once", "epoch", "batch"}, default="once"
        When fresh noise is drawn and targets are found again. Without noise it makes no difference.
    uncrossed : {"runner_up", "keep", "skip"}, default="runner_up"
        What a row that the search did not carry across is trained to say: the likeliest other
        class at the point it reached, or its own class; or it is left out.
    target : {"hard", "soft", "topk", "tilted"}, default="hard"
        What the network is trained to say of a row: the likeliest other class at :math:`x'`; the
        probabilities of the other classes there; those of the `top_k` likeliest; or the
        probabilities of the other classes at the row itself, which needs no search.
    top_k : int, default=2
        For ``target="topk"``, with probabilities that are made to add up to 1.
    temperature : float, default=1.0
        Divides the logits of which the targets of forget rows are made.
    retain_weight : float, default=2.0
        :math:`\varphi`, weight of the loss on retain rows. 0: they do not take part.
    retain_target : {"labels", "distill"}, default="labels"
        What holds the retain rows: their labels, or the probabilities that :math:`f_0` gives them.
    lr : float, default=0.002
        Learning rate of the outer problem.
    max_epochs : int, default=10
        Passes over the forget rows.
    batch_size : int, default=64
        Largest number of forget rows in a step, and number of retain rows beside them.
    optimizer : class or None, default=None
        A torch optimizer, with its own defaults. None: SGD with momentum 0.9.
    trainable : {"all", "head"}, int or callable, default="all"
        Parameters that the run may change; see
        :func:`sklunlearn.trainable.select_parameters`.
    freeze_batchnorm : bool, default=False
        Keep the running statistics of BatchNorm layers, and normalise by them.
    stop_accuracy : float or None, default=None
        Stop after the epoch in which the accuracy on the forget rows is at or below it.
    max_grad_norm : float or None, default=None
        Clip the gradient to this L2 norm.
    callbacks : list of skorch callbacks or None, default=None
        Callbacks of the run.
    net_params : dict or None, default=None
        Other parameters of the net for the run, by skorch's names.
    data_on_device : bool, default=False
        Move all of `X` to the device of the net before a run; see
        :class:`sklunlearn.gradient.GradientUnlearner`.
    memory : str or object with the joblib.Memory interface, default=None
        Caches trained networks.
    random_state : int, RandomState instance or None, default=None
        Seed of everything that is drawn.
    verbose : int, default=0
        1: a progress bar; 2 and more: skorch's log of each epoch too.

    Attributes
    ----------
    classes_, n_features_in_, feature_names_in_, fitted_, net_, preprocessing_
        See :class:`sklunlearn.base.BaseUnlearner`.
    history_, forget_loss_, unlearning_time_, records_
        See :class:`sklunlearn.base.BaseUnlearner`.
    updated_params_ : list of str
        Names of the parameters that the run was allowed to change.
    search_ : sklunlearn.search.BoundarySearch or None
        Diagnostics of the last search, without its points: loss and fraction crossed after each
        step, and the gradient norm, which the convergence theorem bounds. With
        ``relabel="batch"`` and noise, of the last batch. None for ``target="tilted"``.

    See Also
    --------
    RetrainUnlearner : The exact method that this one approximates.

    Notes
    -----
    Departures from the paper:

    - The paper's formula has :math:`+\lambda_t \delta`, which pushes away from the row. Here a
      positive `closeness` is a pull; a negative one gives the paper's.
    - Rows that the search does not carry across keep their label in the published code, so that
      the run goes on teaching them (``uncrossed="keep"``).
    - Probabilities leave out the row's own class, which otherwise keeps up to half of them.
    - A class of which no row is retained is forgotten as a whole and is a target for no row.

    Every forget row is moved to another class. Of rows drawn at random a network that never saw
    them would get most right, so that this moves away from it, and a few rows weigh as much as a
    batch: set `stop_accuracy` to the accuracy on unseen rows, with a small `lr`.

    For one class, ``max_steps=1, closeness=0, noise=0, uncrossed="keep", retain_weight=0`` is
    Boundary Shrink [2]_.

    References
    ----------
    .. [1] G. R. Nahass, Z. Wang, H. Rashid et al. (2025). Targeted Unlearning Using Perturbed
       Sign Gradient Methods With Applications On Medical Images. arXiv:2505.21872.
    .. [2] M. Chen, W. Gao, G. Liu, K. Peng and C. Wang (2023). Boundary Unlearning: Rapid
       Forgetting of Deep Networks via Shifting the Decision Boundary. CVPR, 7766-7775.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklunlearn import BoundaryUnlearner
    >>> X, y = load_iris(return_X_y=True)
    >>> unlearner = BoundaryUnlearner(random_state=0).fit(X, y)
    >>> unlearner.unlearn(X, y, forget=(y == 2)).score(X[y == 2], y[y == 2])
    0.0
    >>> bool(unlearner.score(X[y != 2], y[y != 2]) > 0.95)
    True
    """

    _parameter_constraints = {
        **GradientUnlearner._parameter_constraints,
        "step_size": [Interval(Real, 0, None, closed="neither")],
        "step_units": [StrOptions({"data", "absolute"})],
        "max_steps": [Interval(Integral, 1, None, closed="left")],
        "step_decay": [StrOptions({"sqrt"}), None],
        "closeness": [Interval(Real, None, None, closed="neither")],
        "closeness_decay": [StrOptions({"inverse", "exponential", "linear"}), None],
        "noise": [Interval(Real, 0, None, closed="left")],
        "noise_distribution": [StrOptions({"normal", "uniform", "laplace", "cauchy"})],
        "normalize_gradient": ["boolean"],
        "threshold": [Interval(Real, 0, 1, closed="neither"), None],
        "clip": [StrOptions({"data"}), tuple, list, None],
        "relabel": [StrOptions({"once", "epoch", "batch"})],
        "uncrossed": [StrOptions({"runner_up", "keep", "skip"})],
        "target": [StrOptions({"hard", "soft", "topk", "tilted"})],
        "top_k": [Interval(Integral, 1, None, closed="left")],
        "temperature": [Interval(Real, 0, None, closed="neither")],
        "retain_target": [StrOptions({"labels", "distill"})],
    }

    _stackable = ("retain_weight",)
    _stackable_before = (*_OF_SEARCH, "target", "top_k", "temperature")

    def __init__(
        self,
        estimator=None,
        *,
        step_size=0.1,
        step_units="data",
        max_steps=50,
        step_decay="sqrt",
        closeness=0.0,
        closeness_decay=None,
        noise=0.0,
        noise_distribution="normal",
        normalize_gradient=True,
        threshold=None,
        clip=None,
        relabel="once",
        uncrossed="runner_up",
        target="hard",
        top_k=2,
        temperature=1.0,
        retain_weight=2.0,
        retain_target="labels",
        lr=0.002,
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
            retain_weight=retain_weight,
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
        self.step_size = step_size
        self.step_units = step_units
        self.max_steps = max_steps
        self.step_decay = step_decay
        self.closeness = closeness
        self.closeness_decay = closeness_decay
        self.noise = noise
        self.noise_distribution = noise_distribution
        self.normalize_gradient = normalize_gradient
        self.threshold = threshold
        self.clip = clip
        self.relabel = relabel
        self.uncrossed = uncrossed
        self.target = target
        self.top_k = top_k
        self.temperature = temperature
        self.retain_target = retain_target

    def _validate_params(self):
        super()._validate_params()
        check_clip(self.clip)

    def _needs_retain(self):
        return self.retain_weight > 0 or self.clip == "data"

    def _prepare(self, net, forget, retain):
        self._original, self.search_ = net, None
        # To ask of all retain rows at once pays where the run comes by each of them.
        n_asked = self.max_epochs * len(forget) * (self.retain_target == "distill")
        self._say = Teacher(net, *([retain] if n_asked > len(retain) else []))
        self._scale, self._clip = self._find_units(forget, retain)
        # A class of which no row is retained is forgotten as a whole: a target for nobody.
        self._allowed = retained_classes(retain, len(self.classes_))
        # Without noise, every search would find the same.
        self._when = self.relabel if self.noise else "once"
        if self._when == "once":
            self._relabel(forget)

    def _start_epoch(self, run, epoch, forget, retain):
        if self._when == "epoch":
            self._relabel(forget)

    def _loss(self, module, forget, retain):
        if self._when == "batch":
            found, self.search_ = self._find_targets(forget)
            forget.columns.update(found)
        if self.uncrossed == "skip":
            crossed = forget["crossed"]
            losses = cross_entropy(forget.logits, forget["target"], reduction="none")
            loss = (losses * crossed).sum() / crossed.sum().clamp(min=1)
        else:
            loss = cross_entropy(forget.logits, forget["target"])
        if retain is None:
            return loss
        held = retain.y
        if self.retain_target == "distill":
            held = self._say(retain).softmax(dim=1)
        return loss + self.retain_weight * cross_entropy(retain.logits, held)

    def _find_units(self, forget, retain):
        """Unit and bounds of the features, each broadcasting against a row."""
        scale, clip = 1.0, self.clip
        if self.step_units == "data":
            scale = (retain if len(retain) else forget).statistics(max_rows=1000)[1]
        if self.clip == "data":
            clip = retain.statistics()[2:]
        return scale, clip

    def _relabel(self, forget):
        """Find the targets of all forget rows and store them with the rows."""
        batches = forget.batches(forget.at_once(1024), device_of(self._original))
        found, searches = zip(*map(self._find_targets, batches), strict=True)
        for name in found[0]:
            forget[name] = torch.cat([columns[name] for columns in found]).cpu()
        if self.target != "tilted":
            self.search_ = merge_searches(searches)
        if self.uncrossed == "skip" and not forget["crossed"].any():
            warnings.warn(
                "The search carried no row across a boundary, so that there is nothing to learn: "
                "raise `step_size` or `max_steps`, or choose another `uncrossed`.",
                stacklevel=users_stacklevel(),
            )

    def _find_targets(self, batch):
        """What is to be stored with the rows of a batch, and the search that found it."""
        own = torch.nn.functional.one_hot(batch.y, len(self.classes_)).bool()
        if self.target == "tilted":
            search, logits, crossed = None, self._say(batch), own.any(dim=1)
        else:
            search = self._search(batch)
            logits = search.logits
            crossed = torch.as_tensor(search.crossed, device=logits.device)
        others = logits.masked_fill(~other_classes(batch.y, self._allowed), -torch.inf)
        if self.target == "hard":
            target, kept = others.argmax(dim=1), batch.y
            is_across = crossed
        else:
            if self.target == "topk":
                k = min(self.top_k, others.shape[1])
                others = others.masked_fill(others < others.topk(k).values[:, -1:], -torch.inf)
            target, kept = (others / self.temperature).softmax(dim=1), own.to(others.dtype)
            is_across = crossed[:, None]
        if self.uncrossed == "keep":
            target = torch.where(is_across, target, kept)
        found = {"target": target}
        if self.uncrossed == "skip":
            found["crossed"] = crossed
        return found, search

    def _search(self, batch):
        def key():
            values = pickle.dumps([getattr(self, name) for name in _OF_SEARCH])
            return id(self._original), values, *(bytes_of(t).tobytes() for t in (batch.X, batch.y))

        # Candidates of a grid that differ in `target` or `temperature` alone have one search.
        return draw_once(key, lambda: self._search_anew(batch))

    def _search_anew(self, batch):
        net = self._original
        # Weights that need no gradient make the search 5% faster.
        with training_only(net.module_, [], freeze_batchnorm=False):
            return perturbed_sign_search(
                lambda x: logits_of(net, net.infer(x)),
                batch.X,
                batch.y,
                step_size=self.step_size,
                max_steps=self.max_steps,
                step_decay=self.step_decay,
                scale=self._scale,
                closeness=self.closeness,
                closeness_decay=self.closeness_decay,
                noise=self.noise,
                noise_distribution=self.noise_distribution,
                normalize_gradient=self.normalize_gradient,
                threshold=self.threshold,
                clip=self._clip,
            )
