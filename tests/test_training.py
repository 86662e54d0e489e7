import itertools
import subprocess
import sys

import numpy as np
import pytest
import torch
from joblib import Memory
from scipy import sparse
from sklearn.base import clone
from sklearn.decomposition import TruncatedSVD
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback, EarlyStopping, EpochScoring
from torch.utils.data import TensorDataset

from sklunlearn import BoundaryUnlearner, _training
from sklunlearn._training import (
    hash_of,
    split_pipeline,
    train_cached,
    train_estimator,
    train_further,
    transform,
    unfrozen,
)
from sklunlearn.exceptions import DivergenceError
from sklunlearn.networks import MLP

CLASSES = np.array([0, 1, 2])


def assert_same_weights(net, other):
    for name, value in net.module_.state_dict().items():
        assert torch.equal(value, other.module_.state_dict()[name]), name


class Listener(Callback):
    """Names of the events, and number of rows at the beginning."""

    def __init__(self):
        self.events = []

    def on_train_begin(self, net, X=None, y=None, **kwargs):
        self.events += ["begin", len(X), len(y)]

    def on_epoch_end(self, net, **kwargs):
        self.events.append("epoch")

    def on_train_end(self, net, **kwargs):
        self.events.append("end")


def fit_by_skorch(net, X, y, seed):
    torch.manual_seed(seed)
    return clone(net).fit(X, y)


def test_a_net_is_trained_as_skorch_does_it(net, X, y):
    net.set_params(iterator_train__shuffle=True)
    expected = fit_by_skorch(net, X, y, seed=3)
    fitted = train_estimator(net, X, y, CLASSES, seed=3)
    assert fitted is net
    assert_same_weights(fitted, expected)
    assert len(fitted.history) == 10
    np.testing.assert_array_equal(fitted.predict(X), expected.predict(X))


def test_a_net_is_trained_further_as_skorch_does_it(net, X, y):
    start = train_estimator(net, X, y, CLASSES, seed=3, max_epochs=2)
    assert_same_weights(start, fit_by_skorch(clone(net).set_params(max_epochs=2), X, y, seed=3))
    expected = clone(net).set_params(max_epochs=3).initialize()
    expected.module_.load_state_dict(start.module_.state_dict())
    expected.partial_fit(X, y)  # draws nothing, and has an optimizer of its own
    before = {name: value.clone() for name, value in start.module_.state_dict().items()}
    further = train_further(start, X, y, CLASSES, 4, max_epochs=3)
    assert_same_weights(further, expected)
    assert len(further.history) == 3
    for name, value in start.module_.state_dict().items():
        assert torch.equal(value, before[name])
    assert_same_weights(train_further(start, X, y, CLASSES, 4, max_epochs=0), start)


def test_a_dataset_gives_the_same_net_as_its_rows(net, X, y):
    dataset = TensorDataset(torch.from_numpy(X), torch.from_numpy(y))
    fitted = train_estimator(net, dataset, y, CLASSES, seed=3)
    assert_same_weights(fitted, fit_by_skorch(net, X, y, seed=3))


def test_a_pipeline_is_trained_as_scikit_learn_does_it(net, X, y):
    pipeline = make_pipeline(StandardScaler(), net)
    scaled = ((X - X.mean(axis=0)) / X.std(axis=0)).astype(np.float32)
    expected = fit_by_skorch(net, scaled, y, seed=3)
    fitted = train_estimator(pipeline, X.astype(np.float64), y, CLASSES, seed=3)
    assert [name for name, _ in fitted.steps] == ["standardscaler", "neuralnetclassifier"]
    np.testing.assert_allclose(fitted.predict_proba(X), expected.predict_proba(scaled), atol=1e-3)


def test_the_memory_of_a_pipeline_is_used_and_kept(net, X, y, tmp_path):
    pipeline = make_pipeline(StandardScaler(), net, memory=str(tmp_path))
    fitted = train_estimator(pipeline, X, y, CLASSES, seed=0)
    assert fitted.memory == str(tmp_path)
    np.testing.assert_allclose(fitted[0].mean_, X.mean(axis=0), rtol=1e-6)
    assert any(tmp_path.iterdir())


def test_without_an_estimator_a_default_net_is_trained(X, y):
    fitted = train_estimator(None, X, y, CLASSES, seed=0)
    assert isinstance(fitted.module_, MLP)
    assert np.mean(fitted.predict(X) == y) > 0.9


def test_not_all_classes_need_to_occur(net, X, y):
    fitted = train_estimator(net, X[y < 2], y[y < 2], np.array(["a", "b", "c"]), seed=0)
    assert fitted.classes_.tolist() == ["a", "b", "c"]
    assert fitted.predict_proba(X).shape == (75, 3)


def test_the_seed_decides_the_weights(X, y):
    first = train_estimator(None, X, y, CLASSES, seed=1)
    assert_same_weights(train_estimator(None, X, y, CLASSES, seed=1), first)
    with pytest.raises(AssertionError):
        assert_same_weights(train_estimator(None, X, y, CLASSES, seed=2), first)


def test_callbacks_see_the_training(net, X, y):
    listener = Listener()
    train_estimator(net.set_params(callbacks=[listener], max_epochs=2), X, y, CLASSES, seed=0)
    assert listener.events == ["begin", 75, 75, "epoch", "epoch", "end"]


def test_a_callback_can_stop_the_training(net, X, y):
    stop = EarlyStopping(monitor="train_loss", lower_is_better=False, patience=1)
    listener = Listener()
    net.set_params(callbacks=[("stop", stop), ("listener", listener)])
    fitted = train_estimator(net, X, y, CLASSES, seed=0)
    assert len(fitted.history) == 2
    assert listener.events[-1] == "end"
    assert fitted.classes_.tolist() == [0, 1, 2]


def test_an_interrupt_reaches_the_caller(net, X, y):
    passes = itertools.count()

    class Interrupted(MLP):
        def forward(self, x):
            if next(passes) == 4:
                raise KeyboardInterrupt
            return super().forward(x)

    with pytest.raises(KeyboardInterrupt):
        train_estimator(net.set_params(module=Interrupted), X, y, CLASSES, seed=0)


def test_a_training_that_diverges(net, X, y):
    net.set_params(optimizer=torch.optim.SGD, lr=1e30)
    with pytest.raises(DivergenceError, match=r"Training diverged: .* no longer finite\."):
        train_estimator(net, X, y, CLASSES, seed=0)


class Enormous(torch.nn.Module):
    """Gives numbers that are not finite, once it is trained, though its weights are."""

    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(4, 3)
        self.passes = 0

    def forward(self, x):
        self.passes += self.training
        return self.linear(x) if self.training or not self.passes else self.linear(x) * 1e38 * 1e3


def test_a_training_that_ends_in_numbers_that_are_not_finite(X, y):
    net = NeuralNetClassifier(
        Enormous,
        criterion=torch.nn.CrossEntropyLoss,
        train_split=None,
        max_epochs=1,
        verbose=0,
    )
    with pytest.raises(DivergenceError, match=r"output is not finite\. Scale the data"):
        train_estimator(net, X, y, CLASSES, seed=0)


def test_a_network_of_other_classes_is_not_trained(net, X, y):
    listener = Listener()
    net.set_params(callbacks=[listener])
    with pytest.raises(ValueError, match=r"\(1, 3\) for one row, expected \(1, 4\)"):
        train_estimator(net, X, y, np.arange(4), seed=0)
    assert listener.events == []


def test_read_only_rows_are_no_reason_for_a_warning():
    # In a process of its own: torch warns of them only once.
    code = """
import numpy as np
from skorch import NeuralNetClassifier
from torch import nn
from sklunlearn import BoundaryUnlearner

X = np.eye(4, dtype=np.float32)
X.setflags(write=False)
net = NeuralNetClassifier(nn.Linear, module__in_features=4, module__out_features=2,
    criterion=nn.CrossEntropyLoss, max_epochs=1, train_split=None, verbose=0)
BoundaryUnlearner(net).fit(X, [0, 1, 0, 1], forget=[0]).predict(X)
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_a_callback_can_score_read_only_rows(net, X, y):
    X.setflags(write=False)
    scoring = EpochScoring("accuracy", on_train=True, use_caching=False, name="acc")
    net.set_params(callbacks=[scoring], max_epochs=2)
    fitted = train_estimator(net, X, y, CLASSES, seed=0)
    assert fitted.history[-1, "acc"] == np.mean(fitted.predict(X.copy()) == y)


def test_a_pipeline_is_split_before_the_network(net):
    assert split_pipeline(net) == (None, net)
    assert split_pipeline(make_pipeline(net)) == (None, net)
    scaler = StandardScaler()
    preprocessing, last = split_pipeline(make_pipeline(scaler, "passthrough", net))
    assert last is net
    assert isinstance(preprocessing, Pipeline)
    assert [step for _, step in preprocessing.steps] == [scaler, "passthrough"]


def test_what_is_frozen_is_unwrapped(net):
    assert unfrozen(FrozenEstimator(net)) is net
    assert unfrozen(net) is net
    assert unfrozen(None) is None


def test_the_network_is_given_float32(X):
    assert transform(None, X) is X
    scaler = StandardScaler().fit(X.astype(np.float64))
    transformed = transform(scaler, X.astype(np.float64))
    assert transformed.dtype == np.float32
    np.testing.assert_allclose(
        transformed, (X - X.mean(axis=0)) / X.std(axis=0), rtol=1e-3, atol=1e-5
    )
    images = transform(FunctionTransformer(lambda X: X.reshape(-1, 1, 2, 2)), X)
    assert images.shape == (75, 1, 2, 2)


def test_preprocessing_must_give_finite_numbers(X):
    X[3, 1] = np.nan
    with pytest.raises(ValueError, match="X after preprocessing contains NaN"):
        transform(StandardScaler().fit(X), X)


def test_equal_nets_are_trained_once(net, X, y, tmp_path, monkeypatch):
    trained = []

    def count(*arguments):
        trained.append(arguments)
        return train_estimator(*arguments)

    monkeypatch.setattr(_training, "train_estimator", count)
    weighted = clone(net).set_params(criterion__weight=torch.tensor([1.0, 2.0, 3.0]))
    other = clone(net).set_params(criterion__weight=torch.tensor([1.0, 2.0, 4.0]))
    of_instance = NeuralNetClassifier(
        torch.nn.Linear(4, 3), criterion=torch.nn.CrossEntropyLoss, max_epochs=1, train_split=None
    ).set_params(verbose=0)
    memory = Memory(tmp_path, verbose=0)
    for n_trained, estimator in enumerate((net, weighted, other, of_instance), 1):
        first, second = (train_cached(memory, clone(estimator), X, y, CLASSES, 0) for _ in range(2))
        assert len(trained) == n_trained
        assert_same_weights(first, second)


def test_a_sparse_table_is_an_affair_of_the_pipeline(net, X, y):
    table = sparse.csr_array(np.hstack([X, X**2]))
    pipeline = make_pipeline(TruncatedSVD(4, random_state=0), net)
    unlearner = BoundaryUnlearner(pipeline, random_state=0).fit(table, y)
    unlearner.unlearn(table, y, forget=(y == 2))
    assert unlearner.score(table[y == 2], y[y == 2]) == 0


def test_hash_of_a_net_whose_class_cannot_be_imported():
    def make(width):
        class Local(MLP):
            def size(self):
                return width

        return NeuralNetClassifier(Local, module__n_features=4, module__n_classes=3)

    first, second = make(1), make(2)
    assert hash_of(clone(first)) == hash_of(first)
    assert hash_of(second) != hash_of(first)
    assert hash_of(NeuralNetClassifier(MLP)) == hash_of(NeuralNetClassifier(MLP))
    assert hash_of(NeuralNetClassifier(MLP)) != hash_of(NeuralNetClassifier(MLP, lr=1))
