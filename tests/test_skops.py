import copy
import pickle
from pathlib import Path

import numpy as np
import pytest
import skops.io
from registry import ALL, WHOLE_CLASSES
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skops.io.exceptions import UntrustedTypesFoundException
from skorch import NeuralNetClassifier

from sklunlearn import BoundaryUnlearner, NegGradUnlearner
from sklunlearn.persistence import SKOPS_TRUSTED


@pytest.mark.parametrize("pipeline", [False, True])
@pytest.mark.parametrize("method", ALL, ids=lambda method: type(method).__name__)
def test_a_released_unlearner_predicts_the_same(method, pipeline, net, X, y):
    forget = y == 1 if type(method).__name__ in WHOLE_CLASSES else np.arange(75) % 5 == 0
    estimator = make_pipeline(StandardScaler(), net) if pipeline else net
    unlearner = clone(method).set_params(estimator=estimator).fit(X, y, forget=forget)
    loaded = skops.io.loads(skops.io.dumps(unlearner.release()), trusted=SKOPS_TRUSTED)
    np.testing.assert_array_equal(loaded.predict_proba(X), unlearner.predict_proba(X))


@pytest.mark.parametrize("method", ALL, ids=lambda method: type(method).__name__)
def test_an_unlearner_goes_on_the_same(method, net, X, y):
    forget, other = np.arange(75) % 5 == 0, np.arange(75) % 5 == 1
    if type(method).__name__ in WHOLE_CLASSES:
        forget, other = y == 1, y == 2
    unlearner = clone(method).set_params(estimator=net).fit(X, y, forget=forget)
    if type(method) is BoundaryUnlearner:  # see the next test
        del unlearner.search_
    data = skops.io.dumps(unlearner)
    for request in ("unlearn", "partial_unlearn"):
        loaded, mine = skops.io.loads(data, trusted=SKOPS_TRUSTED), copy.deepcopy(unlearner)
        for each in (loaded, mine):
            getattr(each, request)(X, y, forget=other)
        np.testing.assert_array_equal(loaded.predict_proba(X), mine.predict_proba(X))


def test_default_networks(X, y):
    unlearner = NegGradUnlearner(random_state=0, max_epochs=1).fit(X, y, forget=[0])
    for each in (unlearner, unlearner.release()):
        loaded = skops.io.loads(skops.io.dumps(each), trusted=SKOPS_TRUSTED)
        np.testing.assert_array_equal(loaded.predict_proba(X), unlearner.predict_proba(X))


def test_tensors_outside_of_a_net_have_no_form(net, X, y):
    unlearner = BoundaryUnlearner(net, max_epochs=1).fit(X, y, forget=[0])
    with pytest.raises(RuntimeError, match="construct TensorBase"):
        skops.io.dumps(unlearner)


def test_nothing_of_this_package_is_trusted_unasked(net, X, y):
    data = skops.io.dumps(NegGradUnlearner(net, max_epochs=1).fit(X, y, forget=[0]).release())
    with pytest.raises(UntrustedTypesFoundException):
        skops.io.loads(data)


class Harm:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (Path(self.path),)


def test_to_trust_a_net_is_to_run_its_pickle_as_the_docs_say(net, X, y, tmp_path, monkeypatch):
    unlearner = NegGradUnlearner(net, max_epochs=1).fit(X, y, forget=[0]).release()
    get_state = NeuralNetClassifier.__getstate__

    def forged(net):
        harm = pickle.dumps({"module_": Harm(str(tmp_path / "harm"))})
        return {**get_state(net), "__cuda_dependent_attributes__": harm}

    with monkeypatch.context() as patch:
        patch.setattr(NeuralNetClassifier, "__getstate__", forged)
        data = skops.io.dumps(unlearner)
    assert set(skops.io.get_untrusted_types(data=data)) <= set(SKOPS_TRUSTED)
    skops.io.loads(data, trusted=SKOPS_TRUSTED)
    assert (tmp_path / "harm").exists()
