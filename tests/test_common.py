"""The contract, checked on each unlearner of the registry."""

import itertools
import json
import pickle
import random
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pytest
import torch
from registry import (
    ALL,
    HARDLY_FORGETS,
    OWN_HEAD,
    OWN_STATE,
    OWN_TRAINING,
    REQUIRED,
    WHOLE_CLASSES,
    WITHOUT_RETAIN,
    WITHOUT_TRAINING,
)
from sklearn import config_context
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks
from skorch import NeuralNetBinaryClassifier, NeuralNetClassifier, NeuralNetRegressor
from skorch.callbacks import Callback, EarlyStopping
from torch.utils.data import TensorDataset

from sklunlearn._data import Rows
from sklunlearn.exceptions import DivergenceError, ReleasedModelError
from sklunlearn.gradient import GradientUnlearner
from sklunlearn.networks import MLP

REQUESTS = ("unlearn", "partial_unlearn")


@pytest.fixture(params=ALL, ids=lambda unlearner: type(unlearner).__name__)
def unlearner(request, net):
    """Each unlearner, around the tiny net; not fitted."""
    return clone(request.param).set_params(estimator=net)


@pytest.fixture
def fitted(unlearner, trained_net, X, y):
    """Each unlearner, fitted to X and y."""
    return clone(unlearner).set_params(estimator=FrozenEstimator(trained_net)).fit(X, y)


@pytest.fixture
def forget(unlearner):
    """Every fifth row: 15 of 75, five of each class; for some methods, a whole class."""
    if type(unlearner).__name__ in WHOLE_CLASSES:
        return np.arange(75) // 25 == 1
    return np.arange(75) % 5 == 0


@pytest.fixture
def routing():
    with config_context(enable_metadata_routing=True):
        yield


def weights_of(net):
    """Parameters and buffers as one vector."""
    state = net.module_.state_dict()
    return np.concatenate([value.numpy().ravel() for value in state.values()]).copy()


def assert_same_weights(net, other):
    np.testing.assert_array_equal(weights_of(net), weights_of(other))


def log_softmax(logits):
    logits = logits - logits.max(axis=1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def logits_of(net, X):
    """What the network says of rows, without the unlearner and without skorch."""
    with torch.no_grad():
        output = net.module_.eval()(torch.from_numpy(X)).numpy().astype(np.float64)
    return np.log(output) if isinstance(net.criterion_, torch.nn.NLLLoss) else output


# scikit-learn's checks, and the package


@parametrize_with_checks(ALL)
def test_passes_every_check_of_scikit_learn(estimator, check):
    check(estimator)


def test_the_import_needs_neither_matplotlib_nor_pandas_nor_a_notebook():
    # scikit-learn imports pandas where it is installed, so that looking for it would prove nothing.
    code = (
        "import sys\n"
        "sys.modules.update({name: None for name in ('matplotlib', 'pandas', 'IPython')})\n"
        "import sklunlearn\n"
        "assert 'tqdm.notebook' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# fit, unlearn, score


@pytest.mark.parametrize("unlearner", ALL, ids=lambda unlearner: type(unlearner).__name__)
def test_the_shortest_program_with_the_defaults(unlearner):
    X, y = load_digits(return_X_y=True)
    X, y = X[:900], y[:900]
    forget = y == 3
    method = type(unlearner)
    for_classes = "class" in method.request_types
    if not for_classes:
        forget = np.arange(900) % 10 == 0
    unlearner = method(**REQUIRED.get(method.__name__, {}), random_state=0).fit(X, y)
    assert unlearner.score(X[forget], y[forget]) > 0.95
    unlearner.unlearn(X, y, forget=forget)
    assert unlearner.score(X[~forget], y[~forget]) > 0.95
    if for_classes and method.__name__ not in HARDLY_FORGETS:
        assert unlearner.score(X[forget], y[forget]) < 0.25


def test_fit_trains_on_all_rows(unlearner, net, X, y):
    unlearner.fit(X, y)
    if type(unlearner).__name__ not in OWN_TRAINING:
        torch.manual_seed(0)
        net.fit(X, y)
        assert_same_weights(unlearner.fitted_, net)
    if type(unlearner).__name__ not in OWN_HEAD:
        assert unlearner.fitted_ is unlearner.net_
    assert unlearner.records_ == []


def test_predictions_are_those_of_the_current_network(fitted, X, y, forget):
    for request in (None, *REQUESTS):
        if request:
            getattr(fitted, request)(X, y, forget=forget)
        probabilities = np.exp(log_softmax(logits_of(fitted.net_, X)))
        np.testing.assert_allclose(fitted.predict_proba(X), probabilities, rtol=1e-5, atol=1e-7)
        np.testing.assert_array_equal(fitted.predict(X), probabilities.argmax(axis=1))
        assert fitted.score(X, y) == np.mean(probabilities.argmax(axis=1) == y)


def test_a_mask_and_indices_in_any_order_mean_the_same(fitted, X, y, forget):
    by_mask = weights_of(fitted.unlearn(X, y, forget=forget).net_)
    losses = fitted.forget_loss_
    indices = np.flatnonzero(forget)[::-1]
    for same in (indices, indices.tolist(), pd.Series(forget), torch.as_tensor(forget)):
        fitted.unlearn(X, y, forget=same)
        np.testing.assert_array_equal(weights_of(fitted.net_), by_mask)
        np.testing.assert_array_equal(fitted.forget_loss_, losses)


def test_unlearn_starts_again_from_the_fitted_model(fitted, X, y, forget):
    once = weights_of(fitted.unlearn(X, y, forget=forget).net_)
    fitted.unlearn(X, y, forget=(y == 2))
    fitted.unlearn(X, y, forget=forget)
    np.testing.assert_array_equal(weights_of(fitted.net_), once)


def test_partial_unlearn_continues_from_the_last_network(fitted, X, y, forget):
    if type(fitted).__name__ in OWN_STATE:
        pytest.skip("its network is not all that it goes on from")
    fitted.unlearn(X, y, forget=forget)
    from_there = clone(fitted).set_params(estimator=FrozenEstimator(fitted.net_))
    rest = ~forget
    from_there.fit(X, y).unlearn(X[rest], y[rest], forget=(y[rest] == 2))
    fitted.partial_unlearn(X[rest], y[rest], forget=(y[rest] == 2))
    assert_same_weights(fitted.net_, from_there.net_)


def test_fit_with_forget_is_fit_then_unlearn(unlearner, X, y, forget):
    at_once = clone(unlearner).fit(X, y, forget=forget)
    unlearner.fit(X, y).unlearn(X, y, forget=forget)
    assert_same_weights(at_once.net_, unlearner.net_)
    assert_same_weights(at_once.fitted_, unlearner.fitted_)


def test_unlearning_changes_the_network_and_not_the_original(unlearner, X, y, forget):
    unlearner.fit(X, y)
    original, before = unlearner.fitted_, weights_of(unlearner.fitted_)
    for request in REQUESTS:
        getattr(unlearner, request)(X, y, forget=forget)
        assert (weights_of(unlearner.net_) != before).any()
        assert unlearner.fitted_ is original
        np.testing.assert_array_equal(weights_of(original), before)


def test_the_data_are_not_changed(unlearner, X, y, forget):
    copies = X.copy(), y.copy(), forget.copy()
    unlearner.fit(X, y, forget=forget).predict(X)
    for array, copied in zip((X, y, forget), copies, strict=True):
        np.testing.assert_array_equal(array, copied)


def test_some_methods_can_forget_all_rows(fitted, X, y):
    name = type(fitted).__name__
    if name in WITHOUT_RETAIN:
        fitted.set_params(**WITHOUT_RETAIN[name]).unlearn(X, y, forget=np.ones(75, dtype=bool))
        assert fitted.records_[0]["n_retain"] == 0


# Labels and kinds of data


@pytest.mark.parametrize(
    "labels", [["cat", "dog", "emu"], [2, 5, 9], [-1.0, 0.0, 1.0]], ids=["str", "int", "float"]
)
def test_labels_are_those_of_the_user(unlearner, X, y, forget, labels):
    plain = clone(unlearner).fit(X, y, forget=forget)
    labels = np.array(labels)
    unlearner.fit(X, labels[y], forget=forget)
    assert_same_weights(unlearner.net_, plain.net_)
    np.testing.assert_array_equal(unlearner.classes_, labels)
    np.testing.assert_array_equal(unlearner.predict(X), labels[plain.predict(X)])
    np.testing.assert_array_equal(unlearner.predict_proba(X), plain.predict_proba(X))
    assert unlearner.score(X, labels[y]) == plain.score(X, y)


KINDS = {
    "float64": lambda X, y: (X.astype(np.float64), y),
    "lists": lambda X, y: (X.tolist(), y.tolist()),
    "DataFrame": lambda X, y: (pd.DataFrame(X, columns=list("abcd")), pd.Series(y, name="kind")),
    "tensor": lambda X, y: (torch.from_numpy(X), torch.from_numpy(y)),
    "Dataset": lambda X, y: (TensorDataset(torch.from_numpy(X), torch.from_numpy(y)), None),
    "Dataset, y given": lambda X, y: (TensorDataset(torch.from_numpy(X), torch.from_numpy(-y)), y),
}


@pytest.mark.parametrize("convert", KINDS.values(), ids=KINDS.keys())
def test_kinds_of_data_give_the_same_network(unlearner, X, y, forget, convert):
    plain = clone(unlearner).fit(X, y).unlearn(X, y, forget=forget)
    data, labels = convert(X, y)
    unlearner.fit(data, labels).unlearn(data, labels, forget=forget)
    assert_same_weights(unlearner.net_, plain.net_)
    np.testing.assert_array_equal(unlearner.predict(data), plain.predict(X))


def test_a_memory_map_that_cannot_be_written(unlearner, X, y, forget, tmp_path):
    plain = clone(unlearner).fit(X, y, forget=forget)
    X.tofile(tmp_path / "X")
    on_disk = np.memmap(tmp_path / "X", dtype=np.float32, mode="r", shape=X.shape)
    unlearner.fit(on_disk, y).unlearn(on_disk, y, forget=forget)
    assert_same_weights(unlearner.net_, plain.net_)


def test_a_memory_map_of_bytes_is_not_converted_as_a_whole(unlearner, tmp_path, monkeypatch):
    monkeypatch.setattr(Rows, "at_once", lambda self, most: 64)  # else for so little data: all
    X = np.random.default_rng(0).integers(0, 256, size=(8000, 900), dtype=np.uint8)
    y, forget = np.arange(8000) % 3, np.arange(8000) % 200 == 0
    if type(unlearner).__name__ in WHOLE_CLASSES:
        y[forget], forget = 3, y == 3
        forget = y == 3
    n_classes = y.max() + 1
    X.tofile(tmp_path / "X")
    on_disk = np.memmap(tmp_path / "X", dtype=np.uint8, mode="r", shape=X.shape)
    net = unlearner.estimator.set_params(module__n_features=900, module__n_classes=n_classes)
    net = FrozenEstimator(net.set_params(max_epochs=1, lr=1e-3).fit(X.astype(np.float32), y))
    plain = clone(unlearner).set_params(estimator=net).fit(X, y, forget=forget)
    tracemalloc.start()
    try:
        unlearner.set_params(estimator=net).fit(on_disk, y, forget=forget)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert_same_weights(unlearner.net_, plain.net_)
    assert peak < X.size * 4 / 2  # half of it as float32


def test_images(unlearner, X, y, forget):
    images = np.tile(X.reshape(-1, 1, 2, 2), (1, 3, 2, 2))
    unlearner.set_params(estimator=None).fit(images, y).unlearn(images, y, forget=forget)
    assert unlearner.n_features_in_ == 3
    assert unlearner.predict_proba(images).shape == (75, 3)
    before = unlearner.predict_proba(images)
    for call in (
        lambda: unlearner.unlearn(images[:, :, :3], y, forget=forget),
        lambda: unlearner.predict(images[:, :, :3]),
    ):
        with pytest.raises(ValueError, match=r"shape \(3, 3, 4\).*expecting.*\(3, 4, 4\)"):
            call()
    np.testing.assert_array_equal(unlearner.predict_proba(images), before)


# Determinism


def test_the_same_random_state_gives_the_same_weights(unlearner, X, y, forget):
    def run(random_state):
        copied = clone(unlearner).set_params(random_state=random_state)
        copied.fit(X, y).unlearn(X, y, forget=forget)
        return weights_of(copied.partial_unlearn(X, y, forget=(y == 2)).net_)

    torch.manual_seed(1)
    first = run(5)
    torch.manual_seed(2)
    np.testing.assert_array_equal(run(5), first)
    assert (run(6) != first).any()
    np.testing.assert_array_equal(
        run(np.random.RandomState(5)),
        run(np.random.RandomState(5)),
    )


@pytest.mark.parametrize("random_state", [None, 0])
def test_the_global_random_states_are_left_as_found(unlearner, X, y, forget, random_state):
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    unlearner.set_params(random_state=random_state).fit(X, y).unlearn(X, y, forget=forget)
    unlearner.predict(X)
    unlearner.release()
    after = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    assert after[0] == before[0]
    assert pickle.dumps(after[1]) == pickle.dumps(before[1])
    assert torch.equal(after[2], before[2])


# FrozenEstimator and Pipeline


def test_a_frozen_net_is_never_refitted(unlearner, trained_net, X, y, forget):
    module, weights, epochs = trained_net.module_, weights_of(trained_net), len(trained_net.history)
    unlearner.set_params(estimator=FrozenEstimator(trained_net)).fit(X, y, forget=forget)
    for request in REQUESTS:
        getattr(unlearner, request)(X, y, forget=forget)
    unlearner.release()
    assert unlearner.fitted_ is trained_net
    assert trained_net.module_ is module
    assert len(trained_net.history) == epochs
    np.testing.assert_array_equal(weights_of(trained_net), weights)


def test_a_frozen_pipeline_is_never_refitted(unlearner, net, X, y, forget):
    pipeline = make_pipeline(StandardScaler(), net).fit(X, y)
    mean, weights = pipeline[0].mean_.copy(), weights_of(net)
    unlearner.set_params(estimator=FrozenEstimator(pipeline))
    unlearner.fit(X[:50], y[:50])  # without class 2: the mean of these rows is another
    assert unlearner.fitted_ is pipeline
    np.testing.assert_array_equal(unlearner.classes_, [0, 1, 2])
    if type(unlearner).__name__ not in OWN_HEAD:
        np.testing.assert_allclose(unlearner.predict_proba(X), pipeline.predict_proba(X), rtol=1e-6)
    unlearner.unlearn(X, y, forget=forget).partial_unlearn(X, y, forget=(y == 2))
    np.testing.assert_array_equal(pipeline[0].mean_, mean)
    np.testing.assert_array_equal(weights_of(net), weights)


def test_a_pipeline_scales_the_rows(unlearner, X, y, forget):
    standardised = ((X - X.mean(axis=0)) / X.std(axis=0)).astype(np.float32)
    plain = clone(unlearner).fit(standardised, y)
    pipeline = make_pipeline(StandardScaler(), unlearner.estimator)
    unlearner.set_params(estimator=pipeline).fit(X.astype(np.float64), y)
    assert not hasattr(pipeline[0], "mean_"), "a clone is fitted, not the user's pipeline"
    assert isinstance(unlearner.fitted_, Pipeline)
    if type(unlearner).__name__ not in OWN_TRAINING:
        np.testing.assert_allclose(
            unlearner.predict_proba(X), plain.predict_proba(standardised), rtol=1e-3, atol=1e-5
        )
    unlearner.unlearn(X, y, forget=forget)
    rows = unlearner.preprocessing_.transform(X).astype(np.float32)
    np.testing.assert_array_equal(
        unlearner.predict(X), logits_of(unlearner.net_, rows).argmax(axis=1)
    )
    np.testing.assert_allclose(
        unlearner.forget_loss_,
        -log_softmax(logits_of(unlearner.net_, rows))[forget, y[forget]],
        rtol=1e-4,
        atol=1e-6,
    )


def test_a_pipeline_with_nothing_but_a_net_is_that_net(unlearner, X, y, forget):
    plain = clone(unlearner).fit(X, y, forget=forget)
    unlearner.set_params(estimator=Pipeline([("net", unlearner.estimator)]))
    unlearner.fit(X.astype(np.float64), y, forget=forget)
    assert_same_weights(unlearner.net_, plain.net_)


def test_a_table_with_strings_and_missing_values(unlearner, X, y, forget):
    table = pd.DataFrame(X[:, :2], columns=["length", "width"], index=range(100, 175))
    table["colour"] = np.array(["red", "green", "blue"])[np.arange(75) % 3]
    table.loc[table.index[::10], "length"] = np.nan
    pipeline = make_pipeline(
        make_column_transformer(
            (make_pipeline(SimpleImputer(), StandardScaler()), ["length", "width"]),
            (OneHotEncoder(sparse_output=False), ["colour"]),
        ),
        unlearner.estimator.set_params(module__n_features=5),
    )
    labels = np.array(["a", "b", "c"])[y]
    unlearner.set_params(estimator=pipeline).fit(table, labels)
    assert unlearner.score(table, labels) > 0.6
    assert list(unlearner.feature_names_in_) == ["length", "width", "colour"]
    unlearner.unlearn(table, labels, forget=forget)
    assert set(unlearner.predict(table)) <= {"a", "b", "c"}
    assert unlearner.release().predict(table).tolist() == unlearner.predict(table).tolist()


def test_an_unlearner_ends_a_pipeline(unlearner, X, y, forget):
    scaled = StandardScaler().fit_transform(X)
    plain = clone(unlearner).fit(scaled, y, forget=forget)
    pipeline = Pipeline([("scale", StandardScaler()), ("unlearn", unlearner)])
    pipeline.fit(X, y, unlearn__forget=forget)
    assert_same_weights(pipeline[-1].net_, plain.net_)
    with config_context(enable_metadata_routing=True):
        clone(pipeline).fit(X, y, forget=forget)
        scores = cross_validate(
            pipeline, X, y, params={"forget": forget}, cv=3, error_score="raise"
        )
    assert np.isfinite(scores["test_score"]).all()


# Model selection

trained_rows = []


class RowCounter(Callback):
    """Puts down of each training how many rows it was given."""

    def on_train_begin(self, net, X=None, **kwargs):
        trained_rows.append(len(X))


@pytest.fixture
def grid(unlearner):
    """Two candidates."""
    return {"lr": [0.001, 0.01]} if hasattr(unlearner, "lr") else {"verbose": [0, False]}


@pytest.mark.parametrize("cached", [False, True])
def test_a_grid_search_trains_as_often_as_it_must(
    unlearner, grid, X, y, forget, cached, tmp_path, routing
):
    trained_rows.clear()
    unlearner.estimator.set_params(callbacks=[RowCounter()])
    unlearner.set_params(memory=str(tmp_path) if cached else None)
    search = GridSearchCV(unlearner, grid, cv=3, error_score="raise").fit(X, y, forget=forget)
    # Training sets have 50 rows, and 75 at the end; what is retained of them 40 and 60.
    if type(unlearner).__name__ not in OWN_TRAINING:
        assert trained_rows.count(50) == (3 if cached else 6)
        assert trained_rows.count(75) == 1
    assert search.best_estimator_.records_[0]["n_forget"] == forget.sum()
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_what_is_cached_does_not_change_the_result(unlearner, X, y, forget, tmp_path):
    plain = clone(unlearner).fit(X, y, forget=forget)
    unlearner.set_params(memory=str(tmp_path))
    for _ in range(2):
        again = clone(unlearner).fit(X, y, forget=forget)
        assert_same_weights(again.net_, plain.net_)
        assert_same_weights(again.fitted_, plain.fitted_)


def test_a_grid_search_does_not_refit_a_frozen_net(
    unlearner, grid, trained_net, X, y, forget, routing
):
    weights = weights_of(trained_net)
    unlearner.set_params(estimator=FrozenEstimator(trained_net))
    search = GridSearchCV(unlearner, grid, cv=3, error_score="raise").fit(X, y, forget=forget)
    assert search.best_estimator_.fitted_ is trained_net
    np.testing.assert_array_equal(weights_of(trained_net), weights)


# clone, pickle, HTML


def test_a_clone_is_not_fitted(unlearner, X, y, forget):
    copied = clone(unlearner.fit(X, y, forget=forget))
    assert not [name for name in vars(copied) if name.endswith("_")]
    copied.fit(X, y, forget=forget)
    assert_same_weights(copied.net_, unlearner.net_)


def test_a_pickle_predicts_and_can_go_on(unlearner, X, y, forget):
    unlearner.fit(X, y).unlearn(X, y, forget=forget)
    restored = pickle.loads(pickle.dumps(unlearner))
    np.testing.assert_array_equal(restored.predict_proba(X), unlearner.predict_proba(X))
    for request in REQUESTS:
        getattr(unlearner, request)(X, y, forget=(y == 2))
        getattr(restored, request)(X, y, forget=(y == 2))
        assert_same_weights(restored.net_, unlearner.net_)


def test_the_html_display_shows_what_is_inside(unlearner, X, y):
    for estimator in (unlearner, unlearner.fit(X, y), FrozenEstimator(unlearner)):
        page = estimator._repr_html_()
        assert type(unlearner).__name__ in page
        assert "NeuralNetClassifier" in page


# release


def test_a_released_model_predicts_the_same_and_cannot_unlearn(fitted, X, y, forget):
    released = fitted.unlearn(X, y, forget=forget).release()
    np.testing.assert_array_equal(released.predict_proba(X), fitted.predict_proba(X))
    np.testing.assert_array_equal(released.predict(X), fitted.predict(X))
    assert released.score(X, y) == fitted.score(X, y)
    for request in REQUESTS:
        with pytest.raises(ReleasedModelError, match="was released"):
            getattr(released, request)(X, y, forget=forget)
    assert type(released) is type(fitted)
    assert "fitted_" in vars(fitted), "a copy is released"
    restored = pickle.loads(pickle.dumps(released)).release()
    np.testing.assert_array_equal(restored.predict_proba(X), fitted.predict_proba(X))


def test_a_released_model_has_few_attributes(fitted, X, y, forget):
    released = fitted.unlearn(X, y, forget=forget).release()
    attributes = {"classes_", "n_features_in_", "net_", "preprocessing_"}
    assert {name for name in vars(released) if name.endswith("_")} == attributes
    assert released.estimator is None
    assert released.net_.optimizer_ is None
    assert list(released.net_.history_) == []
    assert all(parameter.grad is None for parameter in released.net_.module_.parameters())


# Attributes


def test_forget_loss_is_the_cross_entropy_of_the_forgotten_rows(fitted, X, y, forget):
    for request in REQUESTS:
        getattr(fitted, request)(X, y, forget=forget)
        expected = -log_softmax(logits_of(fitted.net_, X))[forget, y[forget]]
        np.testing.assert_allclose(fitted.forget_loss_, expected, rtol=1e-4, atol=1e-6)


def test_unlearning_time_is_part_of_the_time_that_a_request_takes(fitted, X, y, forget):
    began = time.perf_counter()
    fitted.unlearn(X, y, forget=forget)
    assert 0 < fitted.unlearning_time_ < time.perf_counter() - began
    assert fitted.records_[0]["seconds"] == fitted.unlearning_time_


def test_history_is_that_of_the_last_run(fitted, X, y, forget):
    fitted.unlearn(X, y, forget=forget)
    epochs = len(fitted.history_)
    assert (epochs == 0) == (type(fitted).__name__ in WITHOUT_TRAINING)
    assert all("train_loss" in epoch for epoch in fitted.history_)
    fitted.partial_unlearn(X, y, forget=forget)
    assert len(fitted.history_) == epochs


def test_each_request_leaves_a_record_without_data(fitted, X, y, forget):
    fitted.unlearn(X, y, forget=forget)
    fitted.partial_unlearn(X, y, forget=(y == 1))
    last = np.flatnonzero(y == 0) if type(fitted).__name__ in WHOLE_CLASSES else [0, 1]
    fitted.unlearn(X, y, forget=last)
    records = json.loads(json.dumps(fitted.records_))
    assert records == fitted.records_
    assert [record["n_forget"] for record in records] == [forget.sum(), 25, len(last)]
    assert [record["n_retain"] for record in records] == [75 - forget.sum(), 50, 75 - len(last)]
    before = [record["weights_before"] for record in records]
    after = [record["weights_after"] for record in records]
    assert before == [before[0], after[0], before[0]]
    assert len({before[0], *after}) == 4
    for record in records:
        assert record["method"] == type(fitted).__name__
        assert set(record["parameters"]) == set(fitted.get_params(deep=False)) - {"estimator"}
        assert record["versions"].keys() >= {"sklunlearn", "scikit-learn", "skorch", "torch"}
        values = [*record.values(), *record["parameters"].values(), *record["versions"].values()]
        assert all(isinstance(value, (str, int, float, dict)) for value in values)


def test_verbose_shows_a_progress_bar(fitted, X, y, forget, capsys):
    if isinstance(fitted, GradientUnlearner):
        fitted.set_params(verbose=1).unlearn(X, y, forget=forget)
        shown = capsys.readouterr()
        assert f"{type(fitted).__name__}: 100%" in shown.err
        assert shown.out == ""
    fitted.set_params(verbose=0).unlearn(X, y, forget=forget)
    assert capsys.readouterr() == ("", "")


# Bad input


@dataclass
class Bad:
    """Parameters and arguments that are refused; {} and the arguments themselves are good."""

    error: type
    message: str
    change: Callable = lambda X, y, forget: (X, y, forget)
    params: dict = field(default_factory=dict)  # of the net, where it is a function
    methods: tuple = ("fit", *REQUESTS)


def with_value(X, value):
    X[7, 2] = value
    return X


def bad_forget(error, message, change, **params):
    return Bad(error, message, lambda X, y, forget: (X, y, change(forget)), params)


def bad_data(error, message, change, methods=("fit", *REQUESTS)):
    return Bad(error, message, lambda X, y, forget: (*change(X, y), forget), methods=methods)


def bad_estimator(error, message, make):
    return Bad(error, message, params={"estimator": make}, methods=("fit",))


def bad_parameter(message, **params):
    return Bad(ValueError, message, params=params)


def first_logit(net):
    return NeuralNetClassifier(
        lambda: torch.nn.Sequential(torch.nn.Linear(4, 1), torch.nn.Flatten(0)),
        criterion=torch.nn.CrossEntropyLoss,
        train_split=None,
        verbose=0,
    )


BAD = {
    "mask too short": bad_forget(ValueError, "mask of 74 rows.*75", lambda f: f[:-1]),
    "mask too long": bad_forget(ValueError, "mask of 76 rows.*75", lambda f: np.append(f, True)),
    "float forget": bad_forget(TypeError, "dtype float64", lambda f: f.astype(float)),
    "str forget": bad_forget(TypeError, "dtype <U", lambda f: f.astype(str)),
    "object forget": bad_forget(TypeError, "dtype object", lambda f: f.astype(object)),
    "forget with two axes": bad_forget(ValueError, "one-dimensional", lambda f: f[:, None]),
    "forget a number": bad_forget(ValueError, "one-dimensional", lambda f: 3),
    "forget beyond the end": bad_forget(ValueError, "index 75.*0 to 74", lambda f: [0, 75]),
    "negative forget": bad_forget(ValueError, "index -1", lambda f: [0, -1]),
    "repeated forget": bad_forget(ValueError, "repeats the row index 4", lambda f: [4, 2, 4]),
    "forget of 0 and 1": bad_forget(ValueError, r"astype\(bool\)", lambda f: f.astype(int)),
    "empty mask": bad_forget(ValueError, "marks no row", lambda f: f & False),
    "no indices": bad_forget(ValueError, "marks no row", lambda f: []),
    "mask of all": bad_forget(ValueError, "marks all 75 rows", lambda f: f | True),
    "indices of all": bad_forget(ValueError, "marks all 75 rows", lambda f: np.arange(75)),
    "NaN in X": bad_data(ValueError, "NaN", lambda X, y: (with_value(X, np.nan), y)),
    "infinity in X": bad_data(ValueError, "infinity", lambda X, y: (with_value(X, np.inf), y)),
    "strings in X": bad_data(
        ValueError, "could not convert", lambda X, y: (X.astype(str) + "a", y)
    ),
    "no rows": bad_data(ValueError, "0 sample", lambda X, y: (X[:0], y[:0])),
    "one axis": bad_data(ValueError, "2D array|shape", lambda X, y: (X[:, 0], y)),
    "y missing": bad_data(ValueError, "target y is None", lambda X, y: (X, None)),
    "y too short": bad_data(ValueError, "inconsistent numbers of samples", lambda X, y: (X, y[1:])),
    "y of two columns": bad_data(ValueError, "1d array", lambda X, y: (X, np.eye(3)[y])),
    "continuous y": bad_data(ValueError, "continuous", lambda X, y: (X, y + 0.5)),
    "y without a label": bad_data(
        ValueError, "Unknown label type", lambda X, y: (X, [None, *np.array(list("abc"))[y][1:]])
    ),
    "dataset, y too short": bad_data(
        ValueError,
        "74 entries for 75 rows",
        lambda X, y: (TensorDataset(torch.from_numpy(X), torch.from_numpy(y)), y[1:]),
    ),
    "one class": Bad(
        ValueError,
        "at least 2 classes",
        lambda X, y, forget: (X, 0 * y, forget),
        {"estimator": lambda net: net},  # one that is frozen knows three
        ("fit",),
    ),
    "other features": bad_data(ValueError, "3 features", lambda X, y: (X[:, 1:], y), REQUESTS),
    "unknown labels": bad_data(ValueError, r"labels \[3\]", lambda X, y: (X, y + 1), REQUESTS),
    "labels of another type": bad_data(
        ValueError, r"labels \['0', '1', '2'\]", lambda X, y: (X, y.astype(str)), REQUESTS
    ),
    "logistic regression": bad_estimator(
        TypeError, "NeuralNetClassifier.*LogisticRegression", lambda net: LogisticRegression()
    ),
    "pipeline of another": bad_estimator(
        TypeError,
        "a Pipeline that ends in LogisticRegression",
        lambda net: make_pipeline(StandardScaler(), LogisticRegression()),
    ),
    "frozen another": bad_estimator(
        TypeError, "NeuralNetClassifier", lambda net: FrozenEstimator(LogisticRegression())
    ),
    "frozen end of a pipeline": bad_estimator(
        TypeError, "freeze the whole", lambda net: make_pipeline(FrozenEstimator(net))
    ),
    "regressor": bad_estimator(TypeError, "must be a skorch", lambda net: NeuralNetRegressor(MLP)),
    "binary classifier": bad_estimator(
        TypeError, "two outputs", lambda net: NeuralNetBinaryClassifier(MLP)
    ),
    "a class": bad_estimator(TypeError, "must be a skorch", lambda net: NeuralNetClassifier),
    "a torch module": bad_estimator(TypeError, "wrap your torch module", lambda net: MLP(4, 3)),
    "not fitted, frozen": bad_estimator(NotFittedError, "not fitted", FrozenEstimator),
    "not fitted, frozen pipeline": bad_estimator(
        NotFittedError,
        "not fitted",
        lambda net: FrozenEstimator(make_pipeline(StandardScaler(), net)),
    ),
    "too many outputs": bad_estimator(
        ValueError, r"\(1, 4\).*expected \(1, 3\)", lambda net: net.set_params(module__n_classes=4)
    ),
    "too few outputs": bad_estimator(
        ValueError, r"\(1, 2\).*expected \(1, 3\)", lambda net: net.set_params(module__n_classes=2)
    ),
    "output of one axis": bad_estimator(ValueError, r"\(1,\).*expected \(1, 3\)", first_logit),
    "too many inputs": bad_estimator(
        ValueError, "network|features", lambda net: net.set_params(module__n_features=5)
    ),
    "frozen net of other features": bad_data(
        ValueError, "network|features", lambda X, y: (X[:, 1:], y), ("fit",)
    ),
    "random_state": bad_parameter("'random_state' parameter", random_state="seed"),
    "verbose": bad_parameter("'verbose' parameter", verbose=-1),
    "memory": bad_parameter("'memory' parameter", memory=3),
    "negative retain_weight": bad_parameter("'retain_weight' parameter", retain_weight=-1.0),
    "lr": bad_parameter("'lr' parameter", lr=0.0),
    "max_epochs": bad_parameter("'max_epochs' parameter", max_epochs=-1),
    "batch_size": bad_parameter("'batch_size' parameter", batch_size=0),
    "optimizer": bad_parameter("'optimizer' parameter", optimizer="adam"),
    "trainable": bad_parameter("'trainable' parameter", trainable="tail"),
    "stop_accuracy": bad_parameter("'stop_accuracy' parameter", stop_accuracy=1.5),
    "max_grad_norm": bad_parameter("'max_grad_norm' parameter", max_grad_norm=0),
    "net_params of no net": bad_parameter("'warm' *: unknown", net_params={"warm": 1}),
    "net_params of its own": bad_parameter("`lr` instead", net_params={"lr": 1}),
    "net_params of a module": bad_parameter(
        "'module__hidden': it would make", net_params={"module__hidden": (4,)}
    ),
    "uncrossed": bad_parameter("'uncrossed' parameter", uncrossed="drop"),
    "target": bad_parameter("'target' parameter", target="firm"),
    "step_units": bad_parameter("'step_units' parameter", step_units="metre"),
    "clip": bad_parameter("`clip` must be", clip=(1, 0)),
}


@pytest.mark.parametrize(
    ("unlearner", "bad", "method"),
    [
        pytest.param(one, bad, method, id=f"{type(one).__name__}-{name}-{method}")
        for one, (name, bad) in itertools.product(ALL, BAD.items())
        for method in bad.methods
        if bad.params.keys() <= one.get_params().keys()
    ],
)
def test_bad_input_is_refused_and_the_model_stays_as_it_was(
    unlearner, bad, method, trained_net, net, X, y, forget
):
    unlearner = clone(unlearner).set_params(estimator=FrozenEstimator(trained_net)).fit(X, y)
    unlearner.unlearn(X, y, forget=forget)
    params = {name: value(net) if callable(value) else value for name, value in bad.params.items()}
    unlearner.set_params(**params)
    attributes, predictions = dict(vars(unlearner)), unlearner.predict_proba(X)
    bad_X, bad_y, bad_forget = bad.change(X.copy(), y, forget)
    with pytest.raises(bad.error, match=bad.message):
        getattr(unlearner, method)(bad_X, bad_y, forget=bad_forget)
    assert vars(unlearner).keys() == attributes.keys()
    assert all(value is attributes[name] for name, value in vars(unlearner).items())
    np.testing.assert_array_equal(unlearner.predict_proba(X), predictions)


@pytest.mark.parametrize("method", REQUESTS)
def test_a_request_needs_forget(fitted, X, y, method):
    with pytest.raises(TypeError, match="forget"):
        getattr(fitted, method)(X, y)
    with pytest.raises(TypeError, match="`forget` is required"):
        getattr(fitted, method)(X, y, forget=None)


@pytest.mark.parametrize("method", REQUESTS)
def test_a_request_before_fit(unlearner, X, y, forget, method):
    with pytest.raises(NotFittedError, match="not fitted yet"):
        getattr(unlearner, method)(X, y, forget=forget)
    with pytest.raises(NotFittedError, match="not fitted yet"):
        unlearner.release()


def test_unknown_parameters(unlearner):
    with pytest.raises(ValueError, match="Invalid parameter 'foo'"):
        unlearner.set_params(foo=1)
    with pytest.raises(TypeError, match="foo"):
        type(unlearner)(foo=1)


def test_a_refused_fit_leaves_no_trace(unlearner, X, y):
    with pytest.raises(ValueError, match="NaN"):
        unlearner.fit(with_value(X, np.nan), y)
    assert not [name for name in vars(unlearner) if name.endswith("_")]


# Runs that fail, diverge, are interrupted or stop early


class FaultyMLP(MLP):
    """Passes its logits through `fault`, with a list of all passes: True for those in training."""

    fault = None
    passes = None

    def forward(self, x):
        logits = super().forward(x)
        if FaultyMLP.fault is not None:
            FaultyMLP.passes.append(self.training)
            logits = FaultyMLP.fault(logits, FaultyMLP.passes)
        return logits


@pytest.fixture
def set_fault(monkeypatch):
    def set_fault(fault):
        monkeypatch.setattr(FaultyMLP, "fault", fault and staticmethod(fault))
        monkeypatch.setattr(FaultyMLP, "passes", [])

    return set_fault


def diverge(logits, passes):
    return logits * np.nan if passes[-1] and passes.count(True) == 2 else logits


def interrupt_at_once(logits, passes):
    raise KeyboardInterrupt


def interrupt_training(logits, passes):
    if passes.count(True) == 2:
        raise KeyboardInterrupt
    return logits


def interrupt_evaluation_after_training(logits, passes):
    if True in passes and not passes[-1]:
        raise KeyboardInterrupt
    return logits


def fail(logits, passes):
    if passes.count(True) == 2:
        raise RuntimeError("failed")
    return logits


IN_TRAINING = [
    (diverge, DivergenceError),
    (interrupt_at_once, KeyboardInterrupt),
    (interrupt_training, KeyboardInterrupt),
    (fail, RuntimeError),
]


@pytest.mark.parametrize("method", REQUESTS)
@pytest.mark.parametrize(
    ("fault", "error"), [*IN_TRAINING, (interrupt_evaluation_after_training, KeyboardInterrupt)]
)
def test_a_run_that_fails_leaves_the_model_as_it_was(
    unlearner, X, y, forget, set_fault, fault, error, method
):
    if type(unlearner).__name__ in WITHOUT_TRAINING and fault is not interrupt_at_once:
        pytest.skip("has no training that could fail")
    unlearner.estimator.set_params(module=FaultyMLP)
    unlearner.fit(X, y).unlearn(X, y, forget=(y == 2))
    attributes, predictions = dict(vars(unlearner)), unlearner.predict_proba(X)
    weights = weights_of(unlearner.net_)
    set_fault(fault)
    with pytest.raises(error):
        getattr(unlearner, method)(X, y, forget=forget)
    set_fault(None)
    assert vars(unlearner).keys() == attributes.keys()
    assert all(value is attributes[name] for name, value in vars(unlearner).items())
    np.testing.assert_array_equal(weights_of(unlearner.net_), weights)
    np.testing.assert_array_equal(unlearner.predict_proba(X), predictions)


@pytest.mark.parametrize(("fault", "error"), IN_TRAINING)
def test_a_training_that_fails_leaves_the_model_as_it_was(unlearner, X, y, set_fault, fault, error):
    unlearner.estimator.set_params(module=FaultyMLP)
    fitted, unlearner = clone(unlearner).fit(X, y), clone(unlearner)
    attributes, predictions = dict(vars(fitted)), fitted.predict_proba(X)
    for one in (fitted, unlearner):
        set_fault(fault)
        with pytest.raises(error):
            one.fit(X, y)
    set_fault(None)
    assert not [name for name in vars(unlearner) if name.endswith("_")]
    assert all(vars(fitted)[name] is value for name, value in attributes.items())
    np.testing.assert_array_equal(fitted.predict_proba(X), predictions)


def n_trainings(history):
    """One, unless the epochs name the part of the data that they belong to."""
    return len({(epoch.get("shard"), epoch.get("stage")) for epoch in history})


def test_a_callback_can_stop_a_training_and_a_run(unlearner, X, y, forget):
    def stop():  # when the loss falls for the first time: after two epochs
        return EarlyStopping(monitor="train_loss", lower_is_better=False, patience=1)

    unlearner.estimator.set_params(callbacks=[stop()])
    if hasattr(unlearner, "callbacks"):
        unlearner.set_params(callbacks=[stop()], max_epochs=5)
    unlearner.fit(X, y)
    assert len(unlearner.fitted_.history) == 2 * n_trainings(unlearner.fitted_.history)
    unlearner.unlearn(X, y, forget=forget)
    assert len(unlearner.history_) == 2 * n_trainings(unlearner.history_)
    assert len(unlearner.records_) == 1
