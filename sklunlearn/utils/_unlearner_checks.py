"""What an unlearner promises, checked on one: for those who write methods of their own."""

import random
from numbers import Real

import numpy as np
import torch
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.utils.estimator_checks import check_estimator

from sklunlearn._seeding import isolated_random_state
from sklunlearn.base import BaseUnlearner
from sklunlearn.exceptions import ReleasedModelError
from sklunlearn.utils._check_case import (
    Case,
    Fault,
    assert_unchanged,
    fail_at_once,
    fail_in_training,
    failing,
    same_weights,
    weights_of,
)

__all__ = ["check_unlearner"]

REQUESTS = ("unlearn", "partial_unlearn")


def check_unlearner(unlearner, *, sklearn_checks=True):
    """Check that an unlearner keeps to the contract of this package, and to scikit-learn's.

    To be called in the tests of a method of one's own, as :func:`check_estimator` of scikit-learn
    is in those of an estimator. The checks run on 75 rows of the iris data and a network of eight
    hidden units. They look at behaviour that all methods share, not at how well one forgets.

    Parameters
    ----------
    unlearner : BaseUnlearner
        With the parameters to check it with; few epochs make it fast. It is cloned, and its
        `estimator` and `random_state` are replaced.
    sklearn_checks : bool, default=True
        Run :func:`sklearn.utils.estimator_checks.check_estimator` too, which takes longest.

    Returns
    -------
    names : list of str
        Names of the checks of this package, all of which were passed.

    Raises
    ------
    TypeError
        If `unlearner` is not an instance of a BaseUnlearner.
    AssertionError
        If a check fails. The message names the check; what a method raised is its cause.
    Exception
        What a check of scikit-learn raises.

    Notes
    -----
    The checks: a request changes the network in use and not the original; `unlearn` starts from
    the fitted model and `partial_unlearn` from where the last request ended; `fit` with `forget`
    is `fit`, then `unlearn`; masks and indices mean the same; equal seeds give equal weights; the
    global random states, the data and a frozen network stay as they are; labels are the user's;
    attributes of a request have the right shape and values; requests that are refused, and runs
    that fail, leave the model as it was; a released model predicts the same, and refuses.

    Examples
    --------
    >>> from sklunlearn import NegGradUnlearner
    >>> from sklunlearn.utils import check_unlearner
    >>> names = check_unlearner(NegGradUnlearner(max_epochs=2), sklearn_checks=False)
    >>> names[0]
    'check_request_changes_the_network_and_not_the_original'
    """
    if not isinstance(unlearner, BaseUnlearner):
        raise TypeError(
            "`unlearner` must be an instance of a subclass of sklunlearn.base.BaseUnlearner, got "
            f"{unlearner!r}."
        )
    params = unlearner.get_params(deep=False)
    if missing := [name for name in ("estimator", "random_state") if name not in params]:
        raise AssertionError(
            f"{type(unlearner).__name__} must name the parameters `estimator` and `random_state` "
            f"in its constructor, and hand them to that of its base class; {missing} not found in "
            f"{sorted(params)}. What `**kwargs` takes is hidden from scikit-learn."
        )
    for check in _CHECKS:
        try:
            check(Case(unlearner))
        except Exception as error:
            what = str(error) if isinstance(error, AssertionError) else f"it raised {error!r}"
            raise AssertionError(
                f"{type(unlearner).__name__} fails {check.__name__}: {what}"
            ) from error
    if sklearn_checks:
        check_estimator(clone(unlearner), on_skip=None)
    return [check.__name__ for check in _CHECKS]


def check_request_changes_the_network_and_not_the_original(case):
    unlearner = case.fitted()
    original, before = unlearner.fitted_, weights_of(unlearner.fitted_)
    for method in REQUESTS:
        case.request(unlearner, method=method)
        assert not np.array_equal(weights_of(unlearner.net_), before), f"`{method}` changed nothing"
        assert unlearner.fitted_ is original, f"`{method}` replaced `fitted_`"
        assert np.array_equal(weights_of(original), before), f"`{method}` changed `fitted_`"


def check_unlearn_starts_from_the_fitted_model(case):
    unlearner = case.fitted()
    once = weights_of(case.request(unlearner).net_)
    case.request(unlearner, case.other)
    again = weights_of(case.request(unlearner).net_)
    assert np.array_equal(again, once), "a request before this one changed its result"


def check_partial_unlearn_goes_on_from_the_last_request(case):
    unlearner = case.request(case.fitted())
    rest = ~case.forget
    data = {"X": case.X[rest], "y": case.y[rest], "forget": case.other[rest]}
    from_there = case.make(FrozenEstimator(unlearner.net_)).fit(case.X, case.y).unlearn(**data)
    from_the_start = case.fitted().unlearn(**data)
    unlearner.partial_unlearn(**data)
    # A method that retrains comes to the same from anywhere; one that keeps more than the network
    # to go on from, to neither of the two.
    restarted = same_weights(unlearner.net_, from_the_start.net_)
    assert not restarted or same_weights(unlearner.net_, from_there.net_), "it started again"


def check_fit_with_forget_is_fit_then_unlearn(case):
    at_once = case.make().fit(case.X, case.y, forget=case.forget)
    in_turn = case.request(case.make().fit(case.X, case.y))
    assert same_weights(at_once.net_, in_turn.net_), "the two networks differ"


def check_masks_and_indices_mean_the_same(case):
    unlearner = case.fitted()
    by_mask = weights_of(case.request(unlearner).net_)
    losses = unlearner.forget_loss_
    case.request(unlearner, np.flatnonzero(case.forget)[::-1])
    assert np.array_equal(weights_of(unlearner.net_), by_mask), "the weights differ"
    assert np.array_equal(unlearner.forget_loss_, losses), "`forget_loss_` differs"


def check_equal_seeds_give_equal_weights(case):
    with isolated_random_state(1):
        first = case.request(case.make().fit(case.X, case.y))
    with isolated_random_state(2):
        second = case.request(case.make().fit(case.X, case.y))
    assert same_weights(first.net_, second.net_), (
        "the result depends on the global random states: draw with numbers that `random_state` "
        "seeds"
    )


def check_global_random_states_are_kept(case):
    def states():
        numpy_state = np.random.get_state()[1:3]  # noqa: NPY002
        return repr((random.getstate(), numpy_state[0].tolist(), numpy_state[1])), bytes(
            torch.get_rng_state().numpy()
        )

    # States that no method comes to by setting a seed: an earlier check may have left that.
    with isolated_random_state(None):
        before = states()
        case.request(case.make().fit(case.X, case.y)).predict(case.X)
        after = states()
    assert after == before, "a global random state of Python, NumPy or torch was changed"


def check_data_and_frozen_network_are_kept(case):
    frozen = case.frozen()
    weights, module = weights_of(frozen.estimator), frozen.estimator.module_
    copies = case.X.copy(), case.y.copy(), case.forget.copy()
    case.request(case.make(frozen).fit(case.X, case.y, forget=case.forget))
    for name, array, copied in zip(
        ("X", "y", "forget"), (case.X, case.y, case.forget), copies, strict=True
    ):
        assert np.array_equal(array, copied), f"`{name}` was changed"
    assert frozen.estimator.module_ is module, "the module of a FrozenEstimator was replaced"
    assert np.array_equal(weights_of(frozen.estimator), weights), (
        "the weights of a FrozenEstimator were changed: train a copy"
    )


def check_labels_are_those_of_the_user(case):
    labels = np.array(["cat", "dog", "emu"])
    numbered = case.request(case.make().fit(case.X, case.y))
    named = case.make().fit(case.X, labels[case.y])
    named.unlearn(case.X, labels[case.y], forget=case.forget)
    assert named.classes_.tolist() == labels.tolist(), "`classes_` are not the labels in `y`"
    expected = labels[numbered.predict(case.X)]
    assert np.array_equal(named.predict(case.X), expected), "predictions differ with the labels"


def check_attributes_of_a_request(case):
    unlearner = case.fitted()
    for n_requests, method in enumerate(REQUESTS, start=1):
        case.request(unlearner, method=method)
        proba = unlearner.predict_proba(case.X)[case.forget, case.y[case.forget]]
        losses = np.asarray(unlearner.forget_loss_)
        assert losses.shape == proba.shape, "`forget_loss_` has not an entry a forgotten row"
        assert np.allclose(np.exp(-losses), proba, atol=1e-4), (
            "`forget_loss_` is not the cross-entropy of the forgotten rows under `net_`"
        )
        seconds = unlearner.unlearning_time_
        assert isinstance(seconds, Real) and seconds > 0, f"`unlearning_time_` is {seconds!r}"
        assert len(unlearner.records_) == n_requests, "`records_` has not a record a request"


def check_refused_requests_change_nothing(case):
    unlearner = case.request(case.fitted(), case.other)
    attributes, weights = dict(vars(unlearner)), weights_of(unlearner.net_)
    X, y, forget = case.X, case.y, case.forget
    with_nan = X.copy()
    with_nan[3, 1] = np.nan
    refused = {
        "a mask that is too short": (X, y, forget[:-1]),
        "a mask that marks nothing": (X, y, forget & False),
        "an index beyond the end": (X, y, [0, len(X)]),
        "NaN in X": (with_nan, y, forget),
        "other features": (X[:, 1:], y, forget),
        "an unknown label": (X, y + 1, forget),
    }
    for method in REQUESTS:
        for what, (bad_X, bad_y, bad_forget) in refused.items():
            try:
                getattr(unlearner, method)(bad_X, bad_y, forget=bad_forget)
            except ValueError:
                assert_unchanged(unlearner, attributes, weights, f"{what} in `{method}`")
            else:
                raise AssertionError(f"{what} is not refused by `{method}` with a ValueError")


def check_failed_runs_change_nothing(case):
    for fault in (fail_at_once, fail_in_training):
        for method in REQUESTS:
            unlearner = case.request(case.fitted(), case.other)
            attributes, weights = dict(vars(unlearner)), weights_of(unlearner.net_)
            try:
                with failing(fault):
                    case.request(unlearner, method=method)
            except Fault:
                assert_unchanged(unlearner, attributes, weights, f"`{method}` that failed")
            else:
                # A method without training never comes to the second pass in training.
                assert fault is fail_in_training, f"`{method}` hides errors of the network"


def check_released_model_predicts_and_refuses(case):
    unlearner = case.request(case.fitted())
    released = unlearner.release()
    assert np.array_equal(released.predict_proba(case.X), unlearner.predict_proba(case.X)), (
        "a released model does not predict the same"
    )
    assert not hasattr(released, "fitted_"), "a released model holds the original"
    assert hasattr(unlearner, "fitted_"), "`release` is to return a copy"
    for method in REQUESTS:
        try:
            case.request(released, method=method)
        except ReleasedModelError:
            continue
        raise AssertionError(f"`{method}` of a released model raises no ReleasedModelError")


_CHECKS = [
    check_request_changes_the_network_and_not_the_original,
    check_unlearn_starts_from_the_fitted_model,
    check_partial_unlearn_goes_on_from_the_last_request,
    check_fit_with_forget_is_fit_then_unlearn,
    check_masks_and_indices_mean_the_same,
    check_equal_seeds_give_equal_weights,
    check_global_random_states_are_kept,
    check_data_and_frozen_network_are_kept,
    check_labels_are_those_of_the_user,
    check_attributes_of_a_request,
    check_refused_requests_change_nothing,
    check_failed_runs_change_nothing,
    check_released_model_predicts_and_refuses,
]
