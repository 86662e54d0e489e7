import copy
import datetime
import functools
import gc
import random
import weakref

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.metadata_routing import get_routing_for_object
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback
from torch.utils.data import TensorDataset

from sklunlearn.base import BaseUnlearner
from sklunlearn.exceptions import DivergenceError
from sklunlearn.model_selection._cache import NetworkCache
from sklunlearn.networks import MLP, SmallCNN
from sklunlearn.saliency import saliency_mask


class ShiftUnlearner(BaseUnlearner):
    """Adds `shift` to the bias of class 0, and keeps what it was called with."""

    def __init__(self, estimator=None, *, shift=1.0, memory=None, random_state=None, verbose=0):
        super().__init__(estimator, memory=memory, random_state=random_state, verbose=verbose)
        self.shift = shift

    def _unlearn(self, start, X, y, forget):
        self.called_with_ = start, X, y, forget
        self.drawn_ = [random.random(), np.random.rand(), torch.rand(1).item()]  # noqa: NPY002
        self._of_the_run = X
        net = copy.deepcopy(start)
        with torch.no_grad():
            net.module_.classifier.bias[0] += self.shift
            if self.shift == 14:
                net.module_.classifier.weight.fill_(3e38)
        if self.shift == 13:
            raise RuntimeError("too much")
        return net


@pytest.fixture
def unlearner(trained_net, X, y):
    return ShiftUnlearner(FrozenEstimator(trained_net), random_state=0).fit(X, y)


def bias_of(net):
    return net.module_.classifier.bias[0].item()


def test_a_method_is_given_class_indices_and_a_mask(trained_net, X, y):
    labels = np.array(["a", "b", "c"])[y]
    trained_net.classes_inferred_ = np.array(["a", "b", "c"])
    unlearner = ShiftUnlearner(FrozenEstimator(trained_net)).fit(X.astype(np.float64), labels)
    unlearner.unlearn(X.astype(np.float64), labels, forget=[3, 1])
    start, given_X, given_y, forget = unlearner.called_with_
    assert start is unlearner.fitted_
    np.testing.assert_array_equal(given_X, X)
    assert given_X.dtype == np.float32
    np.testing.assert_array_equal(given_y, y)
    assert given_y.dtype == np.int64
    np.testing.assert_array_equal(forget, np.isin(np.arange(75), [1, 3]))


def test_a_method_starts_from_the_original_or_from_the_current_network(unlearner, X, y):
    original = bias_of(unlearner.net_)
    for request, times in [("unlearn", 1), ("partial_unlearn", 2), ("unlearn", 1)]:
        getattr(unlearner, request)(X, y, forget=[0])
        assert bias_of(unlearner.net_) == pytest.approx(original + times)
    assert bias_of(unlearner.fitted_) == original


def test_a_method_is_given_rows_as_they_are_before_the_preprocessing(net, X, y):
    unlearner = ShiftUnlearner(make_pipeline(StandardScaler(), net), random_state=0).fit(X, y)
    unlearner.unlearn(X, y, forget=[0])
    start, given_X, _, _ = unlearner.called_with_
    assert start is unlearner.fitted_[-1]
    assert given_X is X
    np.testing.assert_allclose(unlearner.preprocessing_[0].mean_, X.mean(axis=0), rtol=1e-6)


def test_public_attributes_of_a_method_are_kept_and_private_ones_are_not(unlearner, X, y):
    unlearner.unlearn(X, y, forget=[0])
    assert hasattr(unlearner, "called_with_")
    assert not hasattr(unlearner, "_of_the_run")


def test_a_failed_method_leaves_nothing(unlearner, X, y):
    unlearner.unlearn(X, y, forget=[0])
    unlearner.set_params(shift=13)
    before = dict(vars(unlearner))
    with pytest.raises(RuntimeError, match="too much"):
        unlearner.unlearn(X, y, forget=[1])
    assert vars(unlearner) == before


@pytest.mark.parametrize("shift", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite(unlearner, X, y, shift):
    before = bias_of(unlearner.net_)
    with pytest.raises(DivergenceError, match=r"classifier.bias is no longer finite"):
        unlearner.set_params(shift=shift).unlearn(X, y, forget=[0])
    assert bias_of(unlearner.net_) == before
    assert unlearner.records_ == []


def test_weights_whose_output_is_not_finite(unlearner, X, y):
    before = bias_of(unlearner.net_)
    with pytest.raises(DivergenceError, match="output for rows to forget is not finite"):
        unlearner.set_params(shift=14).unlearn(X, y, forget=[0])
    assert bias_of(unlearner.net_) == before
    assert unlearner.records_ == []


def test_draws_of_a_method_depend_on_the_random_state_alone(unlearner, X, y):
    random.seed(1)
    first = unlearner.unlearn(X, y, forget=[0]).drawn_
    random.seed(2)
    assert unlearner.unlearn(X, y, forget=[0]).drawn_ == first
    assert unlearner.set_params(random_state=1).unlearn(X, y, forget=[0]).drawn_ != first
    # An instance goes on; so does None, from the operating system's entropy.
    for random_state in (np.random.RandomState(0), None):
        unlearner.set_params(random_state=random_state)
        first = unlearner.unlearn(X, y, forget=[0]).drawn_
        assert unlearner.unlearn(X, y, forget=[0]).drawn_ != first


def test_retain_rows_are_not_needed_unless_a_method_says_so(unlearner, X, y):
    unlearner.unlearn(X, y, forget=np.ones(75, dtype=bool))
    assert (unlearner.records_[0]["n_forget"], unlearner.records_[0]["n_retain"]) == (75, 0)
    unlearner._needs_retain = lambda: True
    with pytest.raises(ValueError, match="no retain rows"):
        unlearner.unlearn(X, y, forget=np.ones(75, dtype=bool))


def test_fit_forgets_earlier_requests(unlearner, X, y):
    unlearner.fit(X, y, forget=[0])
    assert len(unlearner.records_) == 1
    unlearner.fit(X, y)
    assert unlearner.records_ == []
    for name in ("history_", "forget_loss_", "unlearning_time_", "called_with_"):
        assert not hasattr(unlearner, name)


def test_a_record_tells_when_and_with_which_parameters(unlearner, X, y):
    began = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    unlearner.set_params(shift=0.5).unlearn(X, y, forget=[0])
    record = unlearner.records_[0]
    requested_at = datetime.datetime.fromisoformat(record["requested_at"])
    assert began <= requested_at <= datetime.datetime.now(datetime.UTC)
    assert record["method"] == "ShiftUnlearner"
    assert record["parameters"] == {
        "memory": "None",
        "random_state": "0",
        "shift": "0.5",
        "verbose": "0",
    }
    assert record["versions"]["torch"] == torch.__version__


class Keeping(Callback):
    def __init__(self, rows):
        self.rows = rows


@pytest.mark.parametrize(
    ("value", "described"),
    [
        (0.5, "0.5"),
        (np.float64(0.5), "0.5"),
        (np.bool_(True), "True"),
        (NetworkCache("folder"), "NetworkCache(folder='folder')"),  # not what it holds
        ({"device": torch.device("cuda", 1)}, "{'device': device(type='cuda', index=1)}"),
        (torch.float64, "torch.float64"),
        ((0, 1), "(0, 1)"),
        (saliency_mask(0.5), "SaliencyMask(fraction=0.5, trainable='all')"),
        (saliency_mask(0.5, trainable=len), "SaliencyMask(fraction=0.5, trainable=builtins.len)"),
        (BaseUnlearner, repr(BaseUnlearner)),
        ({"optimizer__nesterov": True}, "{'optimizer__nesterov': True}"),
        ([("name", BaseUnlearner)], f"[('name', {BaseUnlearner!r})]"),
        (np.arange(12.0).reshape(4, 3), "ndarray of shape (4, 3)"),
        ((np.ones((4, 3)), pd.Series([1, 2])), "[ndarray of shape (4, 3), Series of shape (2,)]"),
        (([[0.25, 0.75]], ["cat"]), "[list of 1 entries, list of 1 entries]"),
        (
            {"rows": np.ones((4, 3)), "own": {0.25: 1}},
            "{'rows': ndarray of shape (4, 3), 'own': dict of 1 entries}",
        ),
        (
            functools.partial(np.add, np.ones(3), out={0.75}),
            "partial(numpy.add, ndarray of shape (3,), out=set of 1 entries)",
        ),
        (slice(0.25, 0.75), "builtins.slice"),
        ([Keeping([0.25, 0.75])], "[Keeping(rows=list of 2 entries)]"),
        (np.random.RandomState, repr(np.random.RandomState)),
    ],
)
def test_a_record_describes_parameters_and_not_their_data(unlearner, X, y, value, described):
    class Described(ShiftUnlearner):
        def __init__(self, estimator=None, *, told=None, memory=None, random_state=None, verbose=0):
            super().__init__(estimator, memory=memory, random_state=random_state, verbose=verbose)
            self.told = told

    unlearner = Described(unlearner.estimator, told=value).fit(X, y).unlearn(X, y, forget=[0])
    assert unlearner.records_[0]["parameters"]["told"] == described


def test_the_default_network_suits_the_data(X, y):
    unlearner = ShiftUnlearner(random_state=0).fit(X, y)
    assert isinstance(unlearner.net_.module_, MLP)
    assert unlearner.score(X, y) > 0.9
    images = X.reshape(-1, 1, 2, 2)
    unlearner.fit(images, y)
    assert isinstance(unlearner.net_.module_, SmallCNN)
    unlearner.fit(TensorDataset(torch.from_numpy(images), torch.from_numpy(y)))
    assert isinstance(unlearner.net_.module_, SmallCNN)


def test_a_frozen_net_whose_weights_were_loaded_has_no_classes_of_its_own(net, trained_net, X, y):
    loaded = net.initialize()
    loaded.module_.load_state_dict(trained_net.module_.state_dict())
    unlearner = ShiftUnlearner(FrozenEstimator(loaded)).fit(X, y)
    np.testing.assert_array_equal(unlearner.predict_proba(X), trained_net.predict_proba(X))


def test_a_net_that_gives_out_probabilities(X, y):
    net = NeuralNetClassifier(  # skorch's default criterion expects them
        lambda: torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Softmax(dim=1)),
        train_split=None,
        verbose=0,
    )
    unlearner = ShiftUnlearner(net, shift=0.0, random_state=0).fit(X, y)
    probabilities = unlearner.predict_proba(X)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(probabilities, unlearner.net_.predict_proba(X))


def test_fit_asks_for_forget():
    requests = get_routing_for_object(ShiftUnlearner())
    assert requests.fit.requests == {"forget": True}


def test_release_keeps_plain_parameters_alone(unlearner, X, y):
    for plain in (0.5, "text", None, torch.optim.SGD, (1, (2.0, "a"))):
        assert unlearner.set_params(shift=plain).release().shift == plain
    for other in (len, {"rows": X}, [X], (1, X), X, np.random.RandomState(0)):
        assert unlearner.set_params(shift=other).release().shift == 1.0
    released = unlearner.set_params(memory="folder", random_state=3, verbose=2).release()
    # A cache may hold the original network.
    assert (released.memory, released.random_state, released.verbose) == (None, 3, 2)
    assert released.estimator is None


def test_a_released_pipeline_predicts_the_same(net, X, y):
    unlearner = ShiftUnlearner(make_pipeline(StandardScaler(), net), random_state=0)
    unlearner.fit(X, y, forget=[0])
    released = unlearner.release()
    np.testing.assert_array_equal(released.predict_proba(X), unlearner.predict_proba(X))
    with pytest.raises(ValueError, match="features"):
        released.predict(X[:, 1:])


def test_a_method_must_be_written():
    with pytest.raises(TypeError, match="_unlearn"):
        BaseUnlearner()


# Parameter names, which are read once for each class


class Longer(BaseUnlearner):
    def __init__(self, estimator, extra=1):
        self.estimator = estimator
        self.extra = extra

    def _unlearn(self, start, X, y, forget):
        return start


class Extended(Longer):
    @classmethod
    def _get_param_names(cls):
        names = super()._get_param_names()
        names.append("more")
        return names


def test_parameter_names_are_those_of_each_class():
    assert Longer._get_param_names() == ["estimator", "extra"]
    for _ in range(2):  # what is done to a list is not done to the next
        assert Extended._get_param_names() == ["estimator", "extra", "more"]


def test_a_class_that_nothing_needs_is_freed():
    kept = weakref.ref(type("Short", (Longer,), {}))
    assert kept()._get_param_names() == ["estimator", "extra"]
    gc.collect()
    assert kept() is None
