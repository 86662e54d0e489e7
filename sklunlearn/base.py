"""What an unlearner is."""

import datetime
import os
import time
from abc import ABCMeta, abstractmethod

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, _fit_context, clone
from sklearn.frozen import FrozenEstimator
from sklearn.utils._param_validation import HasMethods
from sklearn.utils.validation import check_is_fitted, check_memory

from sklunlearn._checkpoints import check_repeatable
from sklunlearn._data import Rows, take
from sklunlearn._devices import same_in_all_processes, seed_of_all_processes
from sklunlearn._drift import check_max_retain_drop, check_retain_drop, distance_between
from sklunlearn._nets import (
    check_estimator_type,
    check_finite_weights,
    check_outputs,
    forward,
    row_losses,
    row_probabilities,
    shallow_copy,
    strip_net,
)
from sklunlearn._plain import is_plain
from sklunlearn._records import make_record
from sklunlearn._seeding import draw_seed, isolated_random_state
from sklunlearn._training import (
    split_pipeline,
    train_cached,
    train_estimator,
    transform,
    unfrozen,
)
from sklunlearn._validation import check_X, check_X_y, encode_labels, find_classes
from sklunlearn._wrapped import check_unwrapped, uncompiled
from sklunlearn.exceptions import DivergenceError, ReleasedModelError
from sklunlearn.requests import ForgetRequest, check_forget

__all__ = ["BaseUnlearner"]


class BaseUnlearner(ClassifierMixin, MetaEstimatorMixin, BaseEstimator, metaclass=ABCMeta):
    """Base class of all unlearners: a classifier that can forget some of its training rows.

    A subclass writes one method, :meth:`_unlearn`. Validation, label encoding, preprocessing,
    seeding, records and the exchange of the network, which happens only when all has gone well,
    are done here.

    Parameters
    ----------
    estimator : skorch classifier, Pipeline, FrozenEstimator or None, default=None
        What learns. A clone of it is trained by :meth:`fit`; in a
        :class:`sklearn.frozen.FrozenEstimator` it is already trained and used as it is. None: a
        small network sized from the data, see :func:`sklunlearn.networks.default_net`.
    memory : str or object with the joblib.Memory interface, default=None
        Caches trained networks, so that a search over unlearning parameters trains each only once.
    random_state : int, RandomState instance or None, default=None
        Seed of everything that is drawn. The global random states are left as they are.
    verbose : int, default=0
        1: a progress bar; 2 and more: skorch's log of each epoch too.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Class labels, in the order of the network's outputs.
    n_features_in_ : int
        Number of features, or of channels of images.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features; only if X was a DataFrame with string column names.
    fitted_ : skorch.NeuralNetClassifier or sklearn.pipeline.Pipeline
        The original model, trained on all rows.
    net_ : skorch.NeuralNetClassifier
        The current network, which predictions come from: the unlearned one, or before any request
        the original.
    preprocessing_ : sklearn.pipeline.Pipeline or None
        The fitted steps before the network.
    history_ : skorch.history.History
        History of the last unlearning run.
    forget_loss_ : ndarray of shape (n_forget,)
        Cross-entropy in nats of each forgotten row of the last request under `net_`, in the order
        of the rows.
    unlearning_time_ : float
        Wall-clock seconds that the last request took, without the evaluation of `forget_loss_`.
    records_ : list of dict
        One record a request, in order: when it was, the method and its parameters, how many rows
        were forgotten and retained, SHA-256 digests of the weights before and after, seconds,
        versions and, where it was passed, the ForgetRequest as a dictionary. "drift" says how far
        the parameters are from the fitted ones: "distance" (L2) and "relative_distance" (in
        multiples of the norm of the fitted ones; None where they do not correspond); with
        `max_retain_drop` also the "retain_accuracy_fitted", "retain_accuracy_before" and
        "retain_accuracy_after" on "n_rows" retain rows. No data.
    request_types : tuple of {"class", "rows"}
        Kinds of requests that the method is made for; the same for all instances.

    See Also
    --------
    sklunlearn.gradient.GradientUnlearner : Base of the methods that train on forget rows.
    """

    request_types = ("class", "rows")

    # fit asks for `forget` by default, so that model selection passes it on.
    __metadata_request__fit = {"forget": True}

    _parameter_constraints = {
        "estimator": "no_validation",  # `check_estimator_type` says more
        "memory": [str, os.PathLike, HasMethods(["cache"]), None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(self, estimator=None, *, memory=None, random_state=None, verbose=0):
        self.estimator = estimator
        self.memory = memory
        self.random_state = random_state
        self.verbose = verbose

    @classmethod
    def _get_param_names(cls):
        # A search asks for each candidate several times; to read the signature takes 0.1 ms.
        if "_param_names" not in vars(cls):  # of the class itself, with which it goes
            cls._param_names = tuple(super()._get_param_names())
        return list(cls._param_names)

    @abstractmethod
    def _unlearn(self, start, X, y, forget):
        """Forget some rows; the one method that a subclass must write.

        Called on a copy of the estimator, with global random states of its own: attributes set
        here are kept only if all goes well. The arrays may be the caller's own: not to be changed.

        Parameters
        ----------
        start : skorch.NeuralNetClassifier
            Network to start from. Not to be changed.
        X : ndarray of shape (n_samples, ...), DataFrame or torch Dataset
            Rows, before `preprocessing_`.
        y : ndarray of shape (n_samples,), dtype int64
            Class indices.
        forget : ndarray of shape (n_samples,), dtype bool
            True for the rows to forget.

        Returns
        -------
        net : skorch.NeuralNetClassifier
            The network that has forgotten them.
        """

    def _base_estimator(self):
        """What :meth:`fit` trains, in the forms that `estimator` may have."""
        return self.estimator

    def _complete_fit(self, X, y):
        """Do what a method adds to the training; X and y are as in :meth:`_unlearn`.

        It may put another network in `net_`; :meth:`_restart` must then bring that one back.
        """

    def _restart(self):
        """Go back to the model that :meth:`fit` made."""
        self.preprocessing_, self.net_ = split_pipeline(self.fitted_)[0], self._original_net()

    def _original_net(self):
        """The network that :meth:`fit` made."""
        return split_pipeline(self.fitted_)[1]

    def _needs_retain(self):
        """Whether a request must leave rows to retain."""
        return False

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y=None, *, forget=None):
        """Train the network on all rows; with `forget`, then unlearn those rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, channels, height, width), \
                or torch.utils.data.Dataset yielding (x, y)
            Training data. For a Pipeline, whatever its first step takes.
        y : array-like of shape (n_samples,), default=None
            Class labels. May be left out for a Dataset: those that it holds as `targets` are taken
            if a few rows agree with them, else it is read through once.
        forget : array-like of shape (n_samples,), dtype bool, or of row indices, default=None
            Rows to unlearn after the training. For model selection pass a mask: indices cannot
            be divided among the folds.

        Returns
        -------
        self : object
            Fitted estimator.

        Raises
        ------
        TypeError
            If `estimator` is not a skorch classifier or a Pipeline that ends in one.
        ValueError
            If a parameter, `X`, `y` or `forget` is not valid, or the network's output does not
            match the classes.
        DivergenceError
            If a weight is no longer finite.
        """
        new = object.__new__(type(self))
        vars(new).update({k: v for k, v in vars(self).items() if not k.endswith("_")})
        new._fit(X, y, forget)
        self.__dict__ = new.__dict__
        return self

    def _fit(self, X, y, forget):
        estimator = self._base_estimator()
        if estimator is not None:
            check_estimator_type(estimator)
        frozen = isinstance(estimator, FrozenEstimator)
        if frozen:
            check_is_fitted(estimator)
            check_unwrapped(split_pipeline(estimator.estimator)[1])
        X, y = check_X_y(self, X, y, reset=True)
        self.classes_ = find_classes(estimator, y)
        y = encode_labels(y, self.classes_)
        if forget is not None:
            forget = check_forget(forget, len(y), allow_all=not self._needs_retain())
        if frozen:
            self.fitted_ = uncompiled(estimator.estimator)
            preprocessing, net = split_pipeline(self.fitted_)
            first = transform(preprocessing, take(X, [0]))
            check_outputs(net, Rows(first).take_X([0]), self.classes_)
        else:
            self.fitted_ = self._train(X, y)
        self._restart()
        self._complete_fit(X, y)
        self.records_ = []
        if forget is not None:
            self._forget(X, y, forget)

    def unlearn(self, X, y=None, *, forget, request=None, max_retain_drop=None):
        """Forget rows, starting from the model that :meth:`fit` trained.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...) or torch.utils.data.Dataset yielding (x, y)
            Rows to forget and rows to retain, usually the training data.
        y : array-like of shape (n_samples,), default=None
            Class labels. May be left out for a Dataset.
        forget : array-like of shape (n_samples,), dtype bool, or of row indices
            Which rows to forget. The others are to be retained.
        request : ForgetRequest, default=None
            Where `forget` came from, as ``forget=request.mask(...)``, for the record.
        max_retain_drop : float in [0, 1] or None, default=None
            Refuse the request if it would leave the accuracy on retain rows (all, or 2048 drawn at
            random) more than this below that of the fitted model, or of the model before the
            request where that is higher. Costs up to three passes over these rows, which are not
            counted in `unlearning_time_`; the accuracies are put down in the record. 1: nothing is
            refused. None: not measured. (The parameter of the same name of
            :class:`sklunlearn.unlearners.SSDUnlearner` chooses how much to change; this one only
            judges what comes out.)

        Returns
        -------
        self : object
            The estimator, whose predictions are now those of the unlearned network.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted; ReleasedModelError if it was released.
        TypeError, ValueError
            If a parameter, `X`, `y` or `forget` is not valid.
        DivergenceError
            If a loss or a weight is no longer finite.
        RetainDropError
            If it would cost more retain accuracy than `max_retain_drop`.

        Notes
        -----
        Whatever the error, also a KeyboardInterrupt, the model is as it was before the call.
        """
        return self._request(X, y, forget, request, max_retain_drop, restart=True)

    def partial_unlearn(self, X, y=None, *, forget, request=None, max_retain_drop=None):
        """Forget rows, starting from where the last request ended: a stream of requests.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...) or torch.utils.data.Dataset yielding (x, y)
            Rows to forget and rows to retain. Rows that were forgotten earlier should no longer
            be among them: they would count as rows to retain.
        y : array-like of shape (n_samples,), default=None
            Class labels. May be left out for a Dataset.
        forget : array-like of shape (n_samples,), dtype bool, or of row indices
            Which rows to forget. The others are to be retained.
        request : ForgetRequest, default=None
            Where `forget` came from, as ``forget=request.mask(...)``, for the record.
        max_retain_drop : float in [0, 1] or None, default=None
            See :meth:`unlearn`. As it is the fitted model that is compared with, many requests
            that cost little each are refused too, once they have cost that much together.

        Returns
        -------
        self : object
            The estimator, whose predictions are now those of the unlearned network.

        Raises
        ------
        NotFittedError, TypeError, ValueError, DivergenceError, RetainDropError
            As :meth:`unlearn`; the model is then as it was before the call.

        Notes
        -----
        No rows are kept, so the unlearner cannot tell what a row was to it before:

        - A row that was forgotten already and is in `forget` again is unlearned once more, from
          where the network is now; so are the rows that two requests have in common.
        - A row that was never trained on is unlearned like any other. The record counts it.
        - A row in `forget` that has an equal among the rows to retain is pushed both ways.

        Exact methods (retraining, SISA) end with the same model in the first two cases as if those
        rows had not been named. For the others every such row is a needless change of the network,
        and the certificate of certified removal speaks of rows that were fitted and are removed
        once. A log of :func:`sklunlearn.audit.append_records` tells which rows were forgotten:
        leave out those that :func:`sklunlearn.audit.was_forgotten` finds.
        """
        return self._request(X, y, forget, request, max_retain_drop, restart=False)

    def _request(self, X, y, forget, request, max_retain_drop, *, restart):
        check_is_fitted(self, "net_")
        if not isinstance(request, ForgetRequest | None):
            raise TypeError(
                f"`request` must be a ForgetRequest or None, got {type(request).__name__}: pass "
                "the rows as `forget`."
            )
        if not hasattr(self, "fitted_"):
            raise ReleasedModelError(
                f"This {type(self).__name__} was released: it carries no original model to "
                "unlearn from. Use the unlearner that it was released from."
            )
        self._validate_params()
        new = shallow_copy(self)
        X, y = check_X_y(new, X, y, reset=False)
        y = encode_labels(y, self.classes_)
        forget = check_forget(forget, len(y), allow_all=not self._needs_retain())
        check_max_retain_drop(max_retain_drop, ~forget)
        if restart:
            new._restart()
        new._forget(X, y, forget, request, max_retain_drop)
        self.__dict__ = new.__dict__
        return self

    def _forget(self, X, y, forget, request=None, max_retain_drop=None):
        """Unlearn from the current network, and put down what happened."""
        before = self.preprocessing_, self.net_
        requested_at = datetime.datetime.now(datetime.UTC)
        began = time.perf_counter()
        known = set(vars(self))
        seed = draw_seed(self.random_state)
        check_repeatable(seed)
        seed = seed_of_all_processes(self.net_, seed)
        with isolated_random_state(seed):
            net = self._unlearn(self.net_, X, y, forget)
        same_in_all_processes(net)
        # What a method kept under a private name was for the run only.
        for name in set(vars(self)) - known:
            if name.startswith("_"):
                delattr(self, name)
        check_finite_weights(net, "Unlearning")
        self.unlearning_time_ = time.perf_counter() - began
        drift = {}
        if max_retain_drop is not None:
            fitted = split_pipeline(self.fitted_)[0], self._original_net()
            models = {"fitted": fitted, "before": before, "after": (self.preprocessing_, net)}
            drift = check_retain_drop(models, X, y, ~forget, max_retain_drop)
        indices = np.flatnonzero(forget)
        rows = Rows(transform(self.preprocessing_, take(X, indices)), y[indices])
        self._exchange(net, forward(net, rows, row_losses), forget, requested_at, request, drift)
        if not np.isfinite(self.forget_loss_).all():
            raise DivergenceError(
                "Unlearning diverged: the weights are so large that the network's output for rows "
                "to forget is not finite. Lower `lr`, or bound the gradient."
            )

    def _exchange(self, net, forget_loss, forget, requested_at, request=None, drift=None):
        """Take over a network that has forgotten rows, and put down what happened."""
        start = self.net_
        self.net_, self.history_, self.forget_loss_ = net, net.history_, forget_loss
        drift = distance_between(net, self._original_net()) | (drift or {})
        record = make_record(self, requested_at, forget, start, drift, request)
        self.records_ = [*self.records_, record]

    def _train(self, X, y):
        """Train a fresh clone of the estimator, or take it from the cache."""
        estimator = unfrozen(self._base_estimator())
        if estimator is not None:
            estimator = clone(estimator)
        arguments = (estimator, X, y, self.classes_, draw_seed(self.random_state))
        if self.memory is None:
            return train_estimator(*arguments)
        return train_cached(check_memory(self.memory), *arguments)

    def predict_proba(self, X):
        """Class probabilities under the current network.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...) or torch.utils.data.Dataset yielding (x, y)
            Rows to classify.

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_classes)
            In the order of `classes_`.
        """
        check_is_fitted(self, "net_")
        X = check_X(self, X, reset=False)
        rows = Rows(transform(self.preprocessing_, X))
        return forward(self.net_, rows, row_probabilities)

    def predict(self, X):
        """Class labels under the current network.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...) or torch.utils.data.Dataset yielding (x, y)
            Rows to classify.

        Returns
        -------
        labels : ndarray of shape (n_samples,)
            The likeliest class of each row.
        """
        probabilities = self.predict_proba(X)
        return self.classes_[probabilities.argmax(axis=1)]

    def release(self):
        """Copy that predicts and scores, but carries nothing of the forgotten rows.

        No original weights, optimizer state, history, losses of rows, records, estimator,
        callbacks or cache. Of the parameters, only numbers, strings, None and classes are kept.

        Returns
        -------
        released : object
            A new estimator of the same class; it cannot unlearn.

        Notes
        -----
        The steps before the network in a Pipeline are carried as they are. Unless the method fits
        them again, as retraining does, their statistics (means, vocabularies) come from all rows.
        So do the constants with which the default network standardises its input.

        What is left of the net is what predictions need: its modules, its `predict_nonlinearity`,
        and attributes that a net class or a module of your own has set. If one of these keeps rows,
        as a cache, a closure or a neighbour classifier does, so does the copy.
        """
        check_is_fitted(self, "net_")
        released = type(self)(**self._released_params())
        described = "n_features_in_", "feature_names_in_", "_shape", "_has_steps"
        for name in ("classes_", "preprocessing_", *described):
            if hasattr(self, name):
                setattr(released, name, getattr(self, name))
        if getattr(self.preprocessing_, "memory", None) is not None:  # a path, as below
            released.preprocessing_ = shallow_copy(self.preprocessing_)
            released.preprocessing_.memory = None
        released.net_ = strip_net(self.net_)
        return released

    def _released_params(self):
        parameters = {k: v for k, v in self.get_params(deep=False).items() if is_plain(v)}
        parameters.pop("memory", None)  # a path to where the original network may lie
        return parameters
