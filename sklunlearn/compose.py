"""One network composed of several unlearned ones."""

import contextlib
import warnings
from numbers import Integral, Real

import numpy as np
import torch
from sklearn.frozen import FrozenEstimator
from sklearn.utils._param_validation import Interval, StrOptions

from sklunlearn._composition import BaseComposition
from sklunlearn._composition_methods import (
    METHODS,
    check_method,
    find_cuts,
    find_parts,
    vote,
)
from sklunlearn._data import take
from sklunlearn._members import (
    ancestor_of,
    check_descend_from,
    have_same_ancestor,
    similarity_of_embeddings,
    warn_if_dissimilar,
)
from sklunlearn._merge_rows import MergeRows, check_held_out
from sklunlearn._nets import resume_training
from sklunlearn._seeding import draw_seed
from sklunlearn._stacklevel import users_stacklevel
from sklunlearn._training import split_pipeline, transform
from sklunlearn.base import BaseUnlearner
from sklunlearn.saliency import SaliencyMask
from sklunlearn.trainable import TRAINABLE
from sklunlearn.unlearners.finetune import FineTuneUnlearner

__all__ = ["ComposedUnlearner"]

# Of the rows of a request, at most so many, drawn at random, are looked at: to re-estimate running
# statistics and to score, and for the similarity of embeddings.
_MAX_ROWS = 2048
_MAX_EMBEDDED = 32


class ComposedUnlearner(BaseComposition):
    r"""Compose several unlearning runs into one model, for the strengths of each.

    One run forgets well, another retains well. All members unlearn the same request, each by its
    own method from the same original weights :math:`\theta_0`; what they end with,
    :math:`\theta_1, \dots, \theta_n`, becomes one network by

    - ``"graft"``: the layers before `cut` come from one member and the others from another, as in
      [1]_: the encoder of what retains best, the head of what forgets best;
    - ``"average"``: :math:`\sum_i w_i \theta_i / \sum_i w_i` [2]_;
    - ``"task_arithmetic"``: :math:`\theta_0 + \sum_i w_i (\theta_i - \theta_0)` [3]_, with `trim`
      and `elect_sign` as in [4]_;
    - ``"interpolate"``: :math:`(1 - \alpha)\,\theta_1 + \alpha\,\theta_2`, where the line from one
      member to the other is kept in `path_`;
    - ``"vote"``: the weighted mean of the members' probabilities. There is no single network,
      so members may differ in architecture.

    Parameters
    ----------
    estimators : list of (str, unlearner)
        The members by name. An unlearner is cloned; `fit` trains the network once for all of them
        and a request makes each forget. A fitted unlearner in a
        :class:`sklearn.frozen.FrozenEstimator` is used as it is: requests do not change it.
        ``"drop"`` in place of an unlearner leaves it out. With ``set_params``, a member's
        parameters are ``name__parameter``.
    method : {"graft", "average", "task_arithmetic", "interpolate", "vote"}, default="graft"
        How the networks become one.
    estimator : skorch classifier, Pipeline, FrozenEstimator or None, default=None
        What learns; see :class:`sklunlearn.base.BaseUnlearner`. None: what the first member that
        brings something learns with; if none does, the original model of a frozen member; if none
        is frozen, a default network.
    encoder : str or list of str, default="auto"
        For "graft": the member that the layers before the cut come from. "auto": that of the
        highest retain accuracy. A list names one member for each part before the last cut.
    head : str, default="auto"
        For "graft": the member that the layers from the last cut on come from. "auto": that whose
        forget accuracy is nearest to `forget_target`.
    cut : str, int, list or None, default=None
        For "graft": the submodule with which the head begins, by its name in
        ``module.named_modules()``, or the k-th last layer, counted as in
        :func:`sklunlearn.trainable.select_parameters`. None: the last layer. A list of several
        makes a mosaic of more parts.
    weights : array-like of shape (n_estimators,), default=None
        Weights :math:`w` of the members in the order of `estimators`, for "average", "vote" and
        "task_arithmetic". None: :math:`1/n` each. Only those of "task_arithmetic" may be negative.
    trim : float, default=0.0
        For "task_arithmetic": share of each member's parameters, those that its run changed
        least, whose change is left out.
    elect_sign : bool, default=False
        For "task_arithmetic": where members change a parameter in different directions, take the
        mean of those that agree with the sign of the sum.
    alpha : float or "auto", default="auto"
        For "interpolate": position on the line, 0 being the first member and 1 the second.
        "auto": that point of `path_` with the highest retain accuracy less the distance of the
        forget accuracy from `forget_target`.
    n_points : int, default=11
        For "interpolate": number of points of `path_`, both ends included.
    forget_target : float, default=0.0
        Accuracy on the forget rows that "auto" aims at: 0 for a class, the accuracy on unseen
        rows for a random sample.
    recalibrate : bool, default=True
        Re-estimate the running statistics of BatchNorm layers on retain rows after "average",
        "task_arithmetic" and "interpolate".
    finetune_epochs : int, default=0
        Epochs of fine-tuning on the retain rows, with Adam, after the networks became one.
    finetune_lr : float, default=1e-4
        Learning rate of the fine-tuning.
    batch_size : int, default=64
        Largest number of rows in a step of the fine-tuning.
    trainable : {"all", "head"}, int, callable or saliency mask, default="all"
        Parameters that the fine-tuning may change; see
        :func:`sklunlearn.trainable.select_parameters`.
    memory, random_state, verbose
        See :class:`sklunlearn.base.BaseUnlearner`. Members without a `random_state` are given one.

    Attributes
    ----------
    classes_, n_features_in_, feature_names_in_, fitted_, net_, preprocessing_
        See :class:`sklunlearn.base.BaseUnlearner`.
    history_, forget_loss_, unlearning_time_, records_
        See :class:`sklunlearn.base.BaseUnlearner`. `history_` is that of the fine-tuning; a record
        holds `scores_` and `donors_` too.
    estimators_ : list of unlearners
        The fitted members that are not dropped.
    named_estimators_ : Bunch
        The same by name, with "drop" for those that are.
    compatibility_ : dict
        Of the last request. "same_ancestor": whether the members were made from the same original
        weights, None if that is not known; "embedding_similarity": ndarray of shape
        (n_members, n_members), mean cosine similarity of the members' embeddings of retain rows
        (None for "vote"). Below 0.8 between members that are merged, there is a warning.
    donors_ : list of str
        For "graft": the member that each part comes from.
    scores_ : dict of dict
        What was measured in the last request, by name of a member, as "merged" and, after
        fine-tuning, as "finetuned": "forget_accuracy", "forget_loss" (mean cross-entropy in nats),
        "retain_accuracy" and "retain_loss". Empty if nothing had to be.
    path_ : dict of ndarray of shape (n_points,)
        For "interpolate": "alpha" and, at each, the four scores named above.

    Raises
    ------
    ValueError
        By `fit` or a request, if the members' networks cannot be merged.

    Notes
    -----
    The scores come from the held-out rows `X_val` if there are any, else from rows of the request;
    never pass the test rows. At most 2048 rows of each kind are looked at, and 32 for the
    similarity of embeddings.

    The running statistics of networks do not suit one whose weights lie between theirs. On the
    CIFAR-10 subset with an AllCNN of a quarter of the width, the average of two members had a test
    accuracy on the other classes of 0.675 with `recalibrate` and of 0.663 without (three seeds).

    A head reads the features that its own encoder learned. It can read those of another as long as
    both stayed close to the original: networks with other initial weights, retrained ones too,
    cannot be grafted or averaged to any use. Fine-tuning may bring back what the head forgot, as
    the encoder may still tell the forgotten rows from others; look at `scores_`.

    Members that forgot different rows, in FrozenEstimators, become one network that forgot all of
    them with ``method="task_arithmetic"`` and weights of 1; name all of the rows in `forget`.

    References
    ----------
    .. [1] G. R. Nahass, Z. Wang, H. Rashid et al. (2025). Targeted Unlearning Using Perturbed
       Sign Gradient Methods With Applications On Medical Images. arXiv:2505.21872.
    .. [2] M. Wortsman, G. Ilharco, S. Y. Gadre et al. (2022). Model Soups: Averaging Weights of
       Multiple Fine-Tuned Models Improves Accuracy without Increasing Inference Time. ICML.
    .. [3] G. Ilharco, M. T. Ribeiro, M. Wortsman et al. (2023). Editing Models with Task
       Arithmetic. ICLR.
    .. [4] P. Yadav, D. Tam, L. Choshen, C. Raffel and M. Bansal (2023). TIES-Merging: Resolving
       Interference When Merging Models. NeurIPS.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklunlearn import BoundaryUnlearner, ComposedUnlearner, FineTuneUnlearner
    >>> X, y = load_iris(return_X_y=True)
    >>> members = [("forgets", BoundaryUnlearner()), ("retains", FineTuneUnlearner())]
    >>> composed = ComposedUnlearner(members, random_state=0).fit(X, y, forget=(y == 0))
    >>> composed.donors_
    ['retains', 'forgets']
    >>> float(composed.score(X[y == 0], y[y == 0]))
    0.0
    """

    _parameter_constraints = {
        **BaseUnlearner._parameter_constraints,
        "estimators": [list],
        "method": [
            StrOptions({"graft", "average", "task_arithmetic", "interpolate", "vote"}),
        ],
        "encoder": [str, list],
        "head": [str],
        "cut": [str, Interval(Integral, 1, None, closed="left"), list, None],
        "weights": ["array-like", None],
        "trim": [Interval(Real, 0, 1, closed="left")],
        "elect_sign": ["boolean"],
        "alpha": [StrOptions({"auto"}), Interval(Real, 0, 1, closed="both")],
        "n_points": [Interval(Integral, 2, None, closed="left")],
        "forget_target": [Interval(Real, 0, 1, closed="both")],
        "recalibrate": ["boolean"],
        "finetune_epochs": [Interval(Integral, 0, None, closed="left")],
        "finetune_lr": [Interval(Real, 0, None, closed="neither")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "trainable": [*TRAINABLE, SaliencyMask],
    }

    def __init__(
        self,
        estimators,
        *,
        method="graft",
        estimator=None,
        encoder="auto",
        head="auto",
        cut=None,
        weights=None,
        trim=0.0,
        elect_sign=False,
        alpha="auto",
        n_points=11,
        forget_target=0.0,
        recalibrate=True,
        finetune_epochs=0,
        finetune_lr=1e-4,
        batch_size=64,
        trainable="all",
        memory=None,
        random_state=None,
        verbose=0,
    ):
        super().__init__(estimator, memory=memory, random_state=random_state, verbose=verbose)
        self.estimators = estimators
        self.method = method
        self.encoder = encoder
        self.head = head
        self.cut = cut
        self.weights = weights
        self.trim = trim
        self.elect_sign = elect_sign
        self.alpha = alpha
        self.n_points = n_points
        self.forget_target = forget_target
        self.recalibrate = recalibrate
        self.finetune_epochs = finetune_epochs
        self.finetune_lr = finetune_lr
        self.batch_size = batch_size
        self.trainable = trainable

    def fit(self, X, y=None, *, forget=None, X_val=None, y_val=None, forget_val=None):
        """Train the network on all rows; with `forget`, then unlearn those rows.

        Parameters
        ----------
        X, y, forget
            See :meth:`sklunlearn.base.BaseUnlearner.fit`.
        X_val : array-like of shape (n_val, ...) or torch Dataset, default=None
            Held-out rows by which "auto" chooses and that `scores_` are of; nothing is trained on
            them. Not the test rows. None: rows of the request stand in.
        y_val : array-like of shape (n_val,), default=None
            Their labels.
        forget_val : array-like of shape (n_val,), dtype bool, or of row indices, default=None
            Those of them that are like the forgotten rows, of the class for instance; the others
            are like the retained ones. None: all are; the forget rows of the request stand in for
            the former.

        Returns
        -------
        self : object
            Fitted estimator.

        Raises
        ------
        TypeError, ValueError, DivergenceError
            As :meth:`sklunlearn.base.BaseUnlearner.fit`; also if the members do not suit each
            other.
        """
        with self._holding_out(X_val, y_val, forget_val):
            return super().fit(X, y, forget=forget)

    def unlearn(
        self,
        X,
        y=None,
        *,
        forget,
        request=None,
        max_retain_drop=None,
        X_val=None,
        y_val=None,
        forget_val=None,
    ):
        """Forget rows, starting from the model that :meth:`fit` trained.

        Parameters
        ----------
        X, y, forget, request, max_retain_drop
            See :meth:`sklunlearn.base.BaseUnlearner.unlearn`.
        X_val, y_val, forget_val
            See :meth:`fit`.

        Returns
        -------
        self : object

        Raises
        ------
        NotFittedError, TypeError, ValueError, DivergenceError, RetainDropError
            As :meth:`sklunlearn.base.BaseUnlearner.unlearn`; the model is then as it was.
        """
        with self._holding_out(X_val, y_val, forget_val):
            return super().unlearn(
                X, y, forget=forget, request=request, max_retain_drop=max_retain_drop
            )

    def partial_unlearn(
        self,
        X,
        y=None,
        *,
        forget,
        request=None,
        max_retain_drop=None,
        X_val=None,
        y_val=None,
        forget_val=None,
    ):
        """Forget rows; each member goes on from where its last request ended.

        Parameters
        ----------
        X, y, forget, request, max_retain_drop
            See :meth:`sklunlearn.base.BaseUnlearner.partial_unlearn`.
        X_val, y_val, forget_val
            See :meth:`fit`.

        Returns
        -------
        self : object

        Raises
        ------
        NotFittedError, TypeError, ValueError, DivergenceError, RetainDropError
            As :meth:`sklunlearn.base.BaseUnlearner.unlearn`; the model is then as it was.
        """
        with self._holding_out(X_val, y_val, forget_val):
            return super().partial_unlearn(
                X, y, forget=forget, request=request, max_retain_drop=max_retain_drop
            )

    @contextlib.contextmanager
    def _holding_out(self, X_val, y_val, forget_val):
        self._held_out = (X_val, y_val, forget_val)
        try:
            yield
        finally:
            del self._held_out

    def _needs_retain(self):
        return True

    def _fit(self, X, y, forget):
        self._check_composition()
        super()._fit(X, y, forget)

    def _train(self, X, y):
        self._get_held_out()  # what is wrong with it is said before the training
        return super()._train(X, y)

    def _unlearn(self, start, X, y, forget):
        self._check_composition()
        held_out = self._get_held_out()
        # What cannot be merged is said before the members run.
        self._update_members()
        names = self._get_names()
        if self.method == "graft":
            find_parts(self, self.estimators_[0].net_)
        if self.method == "task_arithmetic":
            check_descend_from(names, self.estimators_, ancestor_of(self))
        self._unlearn_members(X, y, forget)
        members = self.estimators_
        for name in ("donors_", "path_"):  # of another method, perhaps
            vars(self).pop(name, None)
        self.scores_, self.compatibility_ = {}, {"same_ancestor": have_same_ancestor(members)}
        if self.method == "vote":
            self.compatibility_["embedding_similarity"] = None
            self.preprocessing_, net = split_pipeline(vote(self, members, take(X, [0])))
            return net

        if self.compatibility_["same_ancestor"] is False:
            warnings.warn(
                "The members were made from networks with different weights: merged, they are "
                "usually of no use. Fit one network and give it to all members, with `estimator`.",
                stacklevel=users_stacklevel(),
            )
        self.preprocessing_ = members[0].preprocessing_
        X = transform(self.preprocessing_, X)
        if held_out is not None:
            held_out = transform(self.preprocessing_, held_out[0]), *held_out[1:]
        rows = MergeRows(X, y, forget, held_out, _MAX_ROWS)
        nets = [member.net_ for member in members]
        merged = resume_training(METHODS[self.method](self, nets, rows), nets[0])
        self._compare_embeddings(nets, rows.retain)
        if self.finetune_epochs:
            self.scores_["merged"] = rows.scores(merged)
            merged = self._finetune(merged, X, y, forget)
            self.scores_["finetuned"] = rows.scores(merged)
        return merged

    def _forget(self, X, y, forget, request=None, max_retain_drop=None):
        super()._forget(X, y, forget, request, max_retain_drop)
        donors = {str(part): name for part, name in enumerate(getattr(self, "donors_", []))}
        self.records_[-1] = self.records_[-1] | {"scores": self.scores_, "donors": donors}

    def _finetune(self, net, X, y, forget):
        tuned = FineTuneUnlearner(
            FrozenEstimator(net),
            lr=self.finetune_lr,
            max_epochs=self.finetune_epochs,
            batch_size=self.batch_size,
            optimizer=torch.optim.Adam,
            trainable=self.trainable,
            random_state=draw_seed(self.random_state),
            verbose=self.verbose,
        )
        return tuned.fit(X, self.classes_[y], forget=forget).net_

    def _compare_embeddings(self, nets, retain):
        cut = find_cuts(nets[0].module_, self.cut)[-1] if self.method == "graft" else None
        rows = retain.select(torch.arange(min(len(retain), _MAX_EMBEDDED)))
        similarity = similarity_of_embeddings(nets, rows, cut)
        self.compatibility_["embedding_similarity"] = similarity
        names = self._get_names()
        merged = [i for i, name in enumerate(names) if name in getattr(self, "donors_", names)]
        warn_if_dissimilar(similarity[np.ix_(merged, merged)])

    def _check_composition(self):
        """Raise an error unless the members, and what is said of them, make sense."""
        super()._check_composition()
        check_method(self)

    def _get_held_out(self):
        return check_held_out(self, *getattr(self, "_held_out", (None, None, None)))
