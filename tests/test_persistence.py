import copy
import functools
import json
import os
import re
import sys
import types

import numpy as np
import pandas as pd
import pytest
import torch
from pages import run_page
from registry import ALL, WHOLE_CLASSES
from sklearn import config_context
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from skorch import NeuralNetClassifier
from skorch.callbacks import EarlyStopping, LRScheduler
from torch import nn

from sklunlearn import BoundaryUnlearner, CertifiedUnlearner, NegGradUnlearner, SISAUnlearner
from sklunlearn._model_file import unpack
from sklunlearn.exceptions import ModelFileError, ReleasedModelError
from sklunlearn.networks import SmallCNN
from sklunlearn.persistence import load_model, save_model
from sklunlearn.saliency import saliency_mask


class Own(nn.Module):
    """A user's module, with what such modules hold."""

    def __init__(self, width=8):
        super().__init__()
        self.first, self.last = nn.Linear(4, width), nn.Linear(width, 3)
        self.activation = nn.functional.relu
        self.settings = {"scale": 2.0, "shape": (width, 3)}

    def forward(self, x):
        return self.last(self.activation(self.first(x))) * self.settings["scale"]


class Halve(TransformerMixin, BaseEstimator):
    def fit(self, X, y=None):
        self.fitted_ = True
        return self

    def transform(self, X):
        return np.asarray(X) / 2


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


@pytest.fixture
def forget():
    return np.arange(75) % 5 == 0


@pytest.fixture
def fitted(trained_net, X, y, forget):
    unlearner = NegGradUnlearner(FrozenEstimator(trained_net), max_epochs=1, random_state=0)
    return unlearner.fit(X, y).unlearn(X, y, forget=forget)


def round_trip(unlearner, path, **kwargs):
    save_model(unlearner, path)
    return load_model(path, **kwargs)


def assert_same_weights(one, other):
    mine, its = one.net_.module_.state_dict(), other.net_.module_.state_dict()
    assert list(mine) == list(its)
    for key, value in mine.items():
        assert torch.equal(value, its[key]), key
        assert value.dtype == its[key].dtype


def assert_goes_on_as(unlearner, loaded, X, y, forget):
    for request in ("unlearn", "partial_unlearn"):
        one, other = copy.deepcopy(unlearner), copy.deepcopy(loaded)
        for each in (one, other):
            getattr(each, request)(X, y, forget=forget)
        assert_same_weights(one, other)
        assert len(one.records_) == len(other.records_)


def describe(path):
    return unpack(path.read_bytes(), path)


# Round trips


@pytest.mark.parametrize("method", ALL, ids=lambda method: type(method).__name__)
def test_every_method_predicts_the_same_and_goes_on_the_same(method, net, X, y, forget, path):
    other = np.roll(forget, 1)
    if type(method).__name__ in WHOLE_CLASSES:
        forget, other = y == 1, y == 2
    unlearner = clone(method).set_params(estimator=net).fit(X, y).unlearn(X, y, forget=forget)
    loaded = round_trip(unlearner, path)
    np.testing.assert_array_equal(loaded.predict_proba(X), unlearner.predict_proba(X))
    assert_same_weights(unlearner, loaded)
    assert loaded.records_ == unlearner.records_
    assert_goes_on_as(unlearner, loaded, X, y, other)

    released = unlearner.release()
    loaded = round_trip(released, path)
    assert vars(loaded).keys() == vars(released).keys()
    np.testing.assert_array_equal(loaded.predict_proba(X), unlearner.predict_proba(X))
    with pytest.raises(ReleasedModelError):
        loaded.unlearn(X, y, forget=forget)
    assert repr(loaded) == repr(released)
    assert (loaded.net_.optimizer_, loaded.net_.callbacks_, loaded.net_.history_) == (None, [], [])


@pytest.mark.parametrize(
    "make",
    [NegGradUnlearner, functools.partial(SISAUnlearner, n_shards=2), CertifiedUnlearner],
    ids=["NegGrad", "SISA", "Certified"],
)
@pytest.mark.parametrize("kind", ["default", "pipeline", "frozen pipeline"])
def test_default_networks_and_pipelines(make, kind, net, X, y, forget, path):
    estimator = None if kind == "default" else make_pipeline(StandardScaler(), net)
    if kind == "frozen pipeline":
        estimator = FrozenEstimator(estimator.fit(X, y))
    unlearner = make(estimator, random_state=0).fit(X, y, forget=forget)
    loaded = round_trip(unlearner, path)
    np.testing.assert_array_equal(loaded.predict_proba(X), unlearner.predict_proba(X))
    assert_goes_on_as(unlearner, loaded, X, y, np.roll(forget, 1))
    released = round_trip(unlearner.release(), path)
    np.testing.assert_array_equal(released.predict(X), unlearner.predict(X))


@pytest.mark.parametrize(
    "labels",
    [
        ["a", "bé", "c"],
        [-1, 5, 7],
        [1.0, 2.0, 4.0],
        np.array(["no", "yes", "?"], dtype=object),
        [False, True],
    ],
    ids=["str", "int", "float", "object", "bool"],
)
def test_labels_keep_their_type_and_features_their_names(labels, X, y, path):
    labels = np.asarray(labels)
    frame = pd.DataFrame(X, columns=["a", "b", "c", "d"])
    y = labels[y % len(labels)]
    unlearner = NegGradUnlearner(random_state=0, max_epochs=1).fit(frame, y, forget=[0])
    loaded = round_trip(unlearner, path)
    assert loaded.classes_.dtype == unlearner.classes_.dtype
    assert loaded.predict(frame).tolist() == unlearner.predict(frame).tolist()
    assert loaded.feature_names_in_.tolist() == ["a", "b", "c", "d"]
    with pytest.raises(ValueError, match="feature names"):
        loaded.predict(frame[["b", "a", "c", "d"]])


def test_parameters_come_back(fitted, path):
    params = {
        "callbacks": [EarlyStopping(patience=3), ("lr", LRScheduler(policy="StepLR", step_size=2))],
        "optimizer": torch.optim.AdamW,
        "trainable": saliency_mask(0.25, trainable="head"),
        "net_params": {"optimizer__weight_decay": 1e-3, "lr": float("inf")},
        "max_grad_norm": np.float32(1.5),
        "random_state": np.random.RandomState(3),
    }
    loaded = round_trip(fitted.set_params(**params), path)
    assert loaded.callbacks[0].patience == 3
    assert loaded.callbacks[1][1].kwargs == {"step_size": 2}
    assert (loaded.optimizer, repr(loaded.trainable)) == (torch.optim.AdamW, repr(fitted.trainable))
    assert loaded.net_params == params["net_params"]
    assert loaded.max_grad_norm == 1.5
    assert type(loaded.max_grad_norm) is np.float32
    assert loaded.random_state.randint(1000) == np.random.RandomState(3).randint(1000)


def test_modules_of_all_sorts(X, y, path):
    tied = nn.Linear(4, 4, bias=False)
    layers = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.PReLU(), tied)
    tied.weight = layers[0].weight
    tied.parents = [layers]
    layers[1].requires_grad_(False)
    layers.append(nn.BatchNorm1d(4, dtype=torch.float32)).append(nn.Linear(4, 3))
    layers.register_buffer("not_in_state", torch.arange(3), persistent=False)
    net = NeuralNetClassifier(
        layers, criterion=nn.CrossEntropyLoss, max_epochs=1, verbose=0, train_split=None
    ).fit(X, y)
    unlearner = NegGradUnlearner(FrozenEstimator(net), max_epochs=1).fit(X, y, forget=[0])
    loaded = round_trip(unlearner, path)
    np.testing.assert_array_equal(loaded.predict_proba(X), unlearner.predict_proba(X))
    again = loaded.net_.module_
    assert again[3].weight is again[0].weight
    assert again[3].parents[0] is again
    assert [p.requires_grad for p in again[1].parameters()] == [False, False]
    assert again.not_in_state.tolist() == [0, 1, 2]
    assert "not_in_state" not in again.state_dict()
    assert loaded.fitted_ is loaded.estimator.estimator, "what was one is one again"


def test_recurrent_networks_and_images(path):
    class_of_rows = torch.randn(12, 1, 6, 6, generator=torch.manual_seed(0)).numpy()
    y = np.arange(12) % 2
    net = NeuralNetClassifier(
        SmallCNN, module__n_channels=1, module__n_classes=2, max_epochs=1, verbose=0,
        criterion=nn.CrossEntropyLoss, train_split=None,
    )  # fmt: skip
    unlearner = NegGradUnlearner(net, max_epochs=1).fit(class_of_rows, y, forget=[0])
    loaded = round_trip(unlearner, path)
    np.testing.assert_array_equal(
        loaded.predict_proba(class_of_rows), unlearner.predict_proba(class_of_rows)
    )

    lstm = nn.LSTM(6, 3, batch_first=True)
    unlearner.net_.module_.lstm = lstm
    again = round_trip(unlearner, path).net_.module_.lstm
    rows = torch.from_numpy(class_of_rows[:, 0])
    assert torch.equal(again(rows)[0], lstm(rows)[0])


# A user's own classes


def own_net(X, y, **params):
    net = NeuralNetClassifier(
        Own, criterion=nn.CrossEntropyLoss, max_epochs=1, train_split=None, verbose=0, **params
    )
    return NegGradUnlearner(net, max_epochs=1, random_state=0).fit(X, y, forget=[0, 1])


class WithExtraState(nn.Linear):
    """With a state beside its tensors, as quantized layers have."""

    n_seen = 3

    def get_extra_state(self):
        return {"n_seen": self.n_seen}

    def set_extra_state(self, state):
        self.n_seen = state["n_seen"]


def test_modules_with_an_extra_state(X, y, path):
    net = NeuralNetClassifier(
        WithExtraState(4, 3), criterion=nn.CrossEntropyLoss, train_split=None, verbose=0
    )
    unlearner = NegGradUnlearner(net, random_state=0).fit(X, y, forget=[0])
    unlearner.net_.module_.n_seen = 5
    save_model(unlearner, path)
    loaded = load_model(path, custom_objects=[WithExtraState])
    assert loaded.net_.module_.n_seen == 5
    np.testing.assert_array_equal(loaded.predict_proba(X), unlearner.predict_proba(X))


@pytest.mark.parametrize("dtype", [">i4", ">f8", ">U2"])
def test_labels_of_another_byte_order(dtype, X, y, path):
    unlearner = NegGradUnlearner(random_state=0, max_epochs=1).fit(X, y.astype(dtype), forget=[0])
    loaded = round_trip(unlearner, path)
    assert loaded.classes_.tolist() == unlearner.classes_.tolist()
    assert loaded.predict(X).tolist() == unlearner.predict(X).tolist()


def test_own_modules_are_given_by_the_caller(X, y, path):
    unlearner = own_net(X, y, module__width=5)
    save_model(unlearner, path)
    with pytest.raises(ModelFileError, match=r"needs test_persistence.Own.*=\[Own\]"):
        load_model(path)
    for given in (Own, [Own]):
        loaded = load_model(path, custom_objects=given)
        np.testing.assert_array_equal(loaded.predict_proba(X), unlearner.predict_proba(X))
    assert_goes_on_as(unlearner, loaded, X, y, [3])
    assert clone(loaded.net_).module is Own
    with pytest.raises(TypeError, match="got 'Own' in it"):
        load_model(path, custom_objects=["Own"])


class OwnUnlearner(NegGradUnlearner):
    def _finish(self, run):
        self.finished_ = {"phases": ("one", 2)}


def test_own_methods_are_given_by_the_caller(net, X, y, path):
    unlearner = OwnUnlearner(net, max_epochs=1, random_state=0).fit(X, y, forget=[0])
    save_model(unlearner, path)
    with pytest.raises(ModelFileError, match=r"custom_objects=\[OwnUnlearner\]"):
        load_model(path)
    loaded = load_model(path, custom_objects=[OwnUnlearner])
    assert type(loaded) is OwnUnlearner
    assert loaded.finished_ == {"phases": ("one", 2)}
    assert_goes_on_as(unlearner, loaded, X, y, [3])


def test_another_class_of_the_same_name_is_noticed(X, y, path):
    save_model(own_net(X, y), path)

    def forward(self, x):
        return Own.forward(self, x) + x[:, :3]

    changed = type("Own", (Own,), {"forward": forward})
    with pytest.raises(ModelFileError, match="code of one of its classes must have changed"):
        load_model(path, custom_objects=[changed])
    with pytest.raises(ModelFileError, match="is no Module"):
        load_model(path, custom_objects=[type("Own", (), {})])


def test_own_transformers_are_given_by_the_caller(net, X, y, path):
    pipeline = make_pipeline(Halve(), FunctionTransformer(np.tanh), net)
    unlearner = NegGradUnlearner(pipeline, max_epochs=1).fit(X, y, forget=[0])
    save_model(unlearner, path)
    with pytest.raises(ModelFileError, match=r"needs test_persistence.Halve.*=\[Halve\]"):
        load_model(path)
    loaded = load_model(path, custom_objects=[Halve])
    np.testing.assert_array_equal(loaded.predict_proba(X), unlearner.predict_proba(X))


# What is left out, and what cannot be saved


@pytest.mark.parametrize("method", ALL, ids=lambda method: type(method).__name__)
def test_nothing_has_a_value_for_each_row(method, net, X, y, path):
    forget = y == 1 if type(method).__name__ in WHOLE_CLASSES else np.arange(75) % 6 == 0
    numbers = {int(forget.sum()), int((~forget).sum()), 75}
    unlearner = clone(method).set_params(estimator=net).fit(X, y).unlearn(X, y, forget=forget)
    for each in (unlearner, unlearner.release()):
        save_model(each, path)
        description, tensors = describe(path)
        assert not [n for n, t in tensors.items() if numbers & set(t.shape)]
        assert not re.search(rf'"{"|".join(["history_", "forget_loss_", "search_"])}"',
                             json.dumps(description))  # fmt: skip
        content = path.read_bytes()
        assert not any(row.tobytes() in content for row in X)


def test_the_folder_of_a_cache_is_not_stored(net, X, y, path, tmp_path):
    unlearner = NegGradUnlearner(net, max_epochs=1, memory=str(tmp_path / "cache"))
    assert round_trip(unlearner.fit(X, y, forget=[0]), path).memory is None
    assert "memory" not in describe(path)[0]["parameters"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda u: u.set_params(trainable=lambda n, p: True), "`trainable`.*not found by its name"),
        (lambda u: setattr(u, "extra_", {1, 2}), "`extra_` cannot be saved: it is a builtins.set"),
        (lambda u: setattr(u, "extra_", object()), "`extra_` cannot be saved"),
        (lambda u: setattr(u, "extra_", [np.array([1j])]), r"`extra_.0`.*complex128"),
        (lambda u: setattr(u, "extra_", torch.eye(2).to_sparse()), r"`extra_`.*sparse"),
        (lambda u: setattr(u, "extra_", torch.tensor(1j).cdouble()), r"`extra_`.*complex128"),
        (lambda u: setattr(u, "extra_", pd.DataFrame()), r"`extra_`.*DataFrame.*may hold data"),
        (lambda u: u.net_.module_.register_forward_hook(print), r"`net_.module_`.*hooks"),
    ],
)
def test_what_cannot_be_saved_is_named_and_the_file_stays(fitted, path, change, message):
    path.write_bytes(b"old")
    change(fitted)
    with pytest.raises(TypeError, match=message):
        save_model(fitted, path)
    assert path.read_bytes() == b"old"
    assert os.listdir(path.parent) == [path.name]


def test_a_transformer_without_a_name_is_refused(net, X, y, path):
    pipeline = make_pipeline(FunctionTransformer(lambda X: X / 2), net)
    unlearner = NegGradUnlearner(pipeline, max_epochs=1).fit(X, y, forget=[0])
    with pytest.raises(TypeError, match=r"functiontransformer` cannot be saved.*lambda"):
        save_model(unlearner, path)
    assert not path.exists()


def test_requests_for_metadata_are_no_obstacle(net, X, y, path):
    with config_context(enable_metadata_routing=True):
        unlearner = NegGradUnlearner(net, max_epochs=1).set_fit_request(forget=False)
        unlearner = unlearner.fit(X, y).unlearn(X, y, forget=[0])
    assert round_trip(unlearner, path).predict(X).tolist() == unlearner.predict(X).tolist()


def test_only_fitted_unlearners(path):
    with pytest.raises(NotFittedError):
        save_model(NegGradUnlearner(), path)
    with pytest.raises(TypeError, match="must be an unlearner"):
        save_model(LogisticRegression(), path)
    assert not path.exists()


@pytest.mark.parametrize("name", ["safetensors.torch", "skops.io"])
def test_what_is_not_installed_is_named(name, net, X, y, path, monkeypatch):
    unlearner = NegGradUnlearner(make_pipeline(StandardScaler(), net), max_epochs=1)
    save_model(unlearner.fit(X, y, forget=[0]), path)
    monkeypatch.setitem(sys.modules, name, None)
    for call in (lambda: save_model(unlearner, path), lambda: load_model(path)):
        with pytest.raises(ImportError, match=r"pip install sklunlearn\[persistence\]"):
            call()


# The page of the documentation


def test_the_code_of_the_page_runs(X, y, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = types.ModuleType("page")  # as classes are looked up by their names
    monkeypatch.setitem(sys.modules, "page", page)
    names = vars(page)
    run_page("persistence.md", names)
    assert isinstance(names["unlearner"], BoundaryUnlearner)
