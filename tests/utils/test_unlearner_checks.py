"""The public checks find an unlearner that breaks a promise, and name it."""

import copy

import numpy as np
import pytest
import torch
from registry import ALL
from sklearn.linear_model import LogisticRegression
from sklearn.utils import check_array

from sklunlearn import NegGradUnlearner
from sklunlearn.requests import check_forget
from sklunlearn.utils import check_unlearner


class Good(NegGradUnlearner):
    def __init__(self, estimator=None, *, max_epochs=2, random_state=None):
        super().__init__(estimator, max_epochs=max_epochs, random_state=random_state)


class ChangesNothing(Good):
    def _unlearn(self, start, X, y, forget):
        super()._unlearn(start, X, y, forget)
        return start


class ChangesTheOriginal(Good):
    def _begin(self, net):
        return net


class Remembers(Good):
    def unlearn(self, X, y, *, forget):
        if hasattr(self, "records_") and self.records_:
            return self.partial_unlearn(X, y, forget=forget)
        return super().unlearn(X, y, forget=forget)


class StartsAgain(Good):
    def _unlearn(self, start, X, y, forget):
        return super()._unlearn(self.fitted_, X, y, forget)


class ForgetsToUnlearnInFit(Good):
    def fit(self, X, y, *, forget=None):
        return super().fit(X, y)


class MinesIndices(Good):
    def unlearn(self, X, y, *, forget):
        forget = np.asarray(forget)
        if forget.dtype != bool:
            forget = forget[:-1]
        return super().unlearn(X, y, forget=forget)


class DrawsByItself(Good):
    generator = np.random.default_rng(0)

    def _loss(self, module, forget, retain):
        return super()._loss(module, forget, retain) * self.generator.uniform(0.5, 1.5)


class SetsTheGlobalSeed(Good):
    def fit(self, X, y, *, forget=None):
        torch.manual_seed(0)
        return super().fit(X, y, forget=forget)


class ScalesTheData(Good):
    def unlearn(self, X, y, *, forget):
        X -= X.mean(axis=0)
        return super().unlearn(X, y, forget=forget)


class NumbersTheLabels(Good):
    def predict(self, X):
        return self.predict_proba(X).argmax(axis=1)


class WrongLosses(Good):
    def unlearn(self, X, y, *, forget):
        super().unlearn(X, y, forget=forget)
        self.forget_loss_ = -self.forget_loss_
        return self


class TakesAnything(Good):
    def unlearn(self, X, y, *, forget):
        return super().unlearn(np.nan_to_num(X), y, forget=forget)


class ForgetsItsRecordsWhenRefused(Good):
    def unlearn(self, X, y, *, forget):
        self.records_ = []
        return super().unlearn(X, y, forget=forget)


class HidesErrors(Good):
    def unlearn(self, X, y, *, forget):
        try:
            return super().unlearn(X, y, forget=forget)
        except Exception as error:
            if isinstance(error, ValueError):
                raise
            return self


class SwapsTooEarly(Good):
    def unlearn(self, X, y, *, forget):
        check_forget(forget, len(X), allow_all=False)  # what is refused, is refused before
        check_array(X)
        if X.shape[1] == 4 and set(y) <= {0, 1, 2}:
            self.net_ = copy.deepcopy(self.net_)
        return super().unlearn(X, y, forget=forget)


class ReleasesItself(Good):
    def release(self):
        return self


BROKEN = {
    ChangesNothing: "changes_the_network",
    ChangesTheOriginal: "changes_the_network_and_not_the_original",
    Remembers: "unlearn_starts_from_the_fitted_model",
    StartsAgain: "partial_unlearn_goes_on",
    ForgetsToUnlearnInFit: "fit_with_forget",
    MinesIndices: "masks_and_indices",
    DrawsByItself: "",  # by whichever check compares two runs first
    SetsTheGlobalSeed: "global_random_states",
    ScalesTheData: "",
    NumbersTheLabels: "labels_are_those_of_the_user",
    WrongLosses: "attributes_of_a_request",
    TakesAnything: "refused_requests",
    ForgetsItsRecordsWhenRefused: "attributes_of_a_request|refused_requests",
    HidesErrors: "failed_runs",
    SwapsTooEarly: "failed_runs",
    ReleasesItself: "released_model",
}


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.__name__)
def test_a_broken_promise_is_named(broken):
    with pytest.raises(AssertionError, match=f"{broken.__name__} fails check_.*{BROKEN[broken]}"):
        check_unlearner(broken(), sklearn_checks=False)


@pytest.mark.parametrize("unlearner", ALL, ids=lambda unlearner: type(unlearner).__name__)
def test_the_methods_of_the_package_pass(unlearner):
    params = unlearner.get_params()
    names = check_unlearner(unlearner, sklearn_checks=False)
    assert len(names) == len(set(names)) == 13
    assert all(unlearner.get_params()[name] is value for name, value in params.items())


def test_the_checks_of_scikit_learn_run_too():
    class Secretive(Good):
        def predict(self, X):
            X[:] = 0  # of scikit-learn's checks, one gives an array that cannot be written
            return super().predict(X)

    check_unlearner(Good())
    with pytest.raises((AssertionError, ValueError)):
        check_unlearner(Secretive())


def test_it_wants_an_unlearner():
    for wrong in (LogisticRegression(), NegGradUnlearner):
        with pytest.raises(TypeError, match="must be an instance of a subclass"):
            check_unlearner(wrong)


def test_an_exception_is_the_cause():
    class Raises(Good):
        def _loss(self, module, forget, retain):
            raise ZeroDivisionError("no")

    with pytest.raises(AssertionError, match="it raised ZeroDivisionError") as raised:
        check_unlearner(Raises(), sklearn_checks=False)
    assert isinstance(raised.value.__cause__, ZeroDivisionError)


def test_a_constructor_names_what_the_checks_set():
    class Hides(NegGradUnlearner):
        def __init__(self, estimator=None, **kwargs):
            super().__init__(estimator, **kwargs)

    class Unseeded(NegGradUnlearner):
        def __init__(self, estimator=None):
            super().__init__(estimator)

    for wrong in (Hides, Unseeded):
        message = rf"{wrong.__name__} must name .*\['random_state'\] not found in \['estimator'\]"
        with pytest.raises(AssertionError, match=message):
            check_unlearner(wrong(), sklearn_checks=False)
