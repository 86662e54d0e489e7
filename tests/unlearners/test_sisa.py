from fractions import Fraction
from math import floor

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_digits, load_iris, load_wine
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback, EarlyStopping
from torch import nn

from sklunlearn import RetrainUnlearner, SISAUnlearner
from sklunlearn._nets import weights_digest
from sklunlearn._partition import partition
from sklunlearn.networks import SmallCNN
from sklunlearn.unlearners.sisa import stage_epochs

SEED = 5


class Net(nn.Module):
    def __init__(self, n_features=4):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(n_features, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(0.2), nn.Linear(6, 3)
        )

    def forward(self, x):
        return self.layers(x)


def make_net(**params):
    params = {"module": Net, "optimizer": torch.optim.Adam, "max_epochs": 4, "lr": 0.02, **params}
    return NeuralNetClassifier(
        **params,
        criterion=nn.CrossEntropyLoss,
        classes=[0, 1, 2],  # also where a class is forgotten
        iterator_train__shuffle=True,
        train_split=None,
        verbose=0,
    )


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    y = np.arange(120) % 3
    X = rng.normal(size=(120, 4)) + 2 * np.eye(4)[y]
    return (10 * X + 3).astype(np.float32), y


def places_of(X, n_shards, n_slices):
    return partition(X, SEED, n_shards, n_slices)


def state_of(net):
    return {name: value.numpy().copy() for name, value in net.module_.state_dict().items()}


def assert_same_weights(net, other):
    actual, expected = state_of(net), state_of(other)
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(actual[name], value, err_msg=name)


def constituent_of(shard, stage=-1):
    return shard.checkpoints[stage][1]


def seed_of(shard, stage):
    return int(np.random.SeedSequence((SEED, shard, stage)).generate_state(1)[0])


# Exactness

MASKS = {
    "one row": lambda y: np.arange(len(y)) == 17,
    "some rows": lambda y: np.random.default_rng(1).random(len(y)) < 0.1,
    "most rows": lambda y: np.random.default_rng(1).random(len(y)) < 0.8,
    "a class": lambda y: y == 1,
}


@pytest.fixture(params=MASKS.values(), ids=MASKS.keys())
def forget(request, data):
    return request.param(data[1])


def assert_exact(make, X, y, forget):
    """What is left after a request is what a training without the rows gives."""
    rest = np.flatnonzero(~forget)
    X_rest = X.iloc[rest] if hasattr(X, "iloc") else X[rest]
    unlearner = make().fit(X, y).unlearn(X, y, forget=forget)
    other = make().fit(X_rest, y[rest])
    assert_same_weights(unlearner.net_, other.net_)
    np.testing.assert_array_equal(unlearner.predict_proba(X), other.predict_proba(X))
    for shard, expected in zip(unlearner.shards_, other.shards_, strict=True):
        np.testing.assert_array_equal(shard.n_rows, expected.n_rows)
        for stage, checkpoint in zip(shard.checkpoints, expected.checkpoints, strict=True):
            assert (stage is None) == (checkpoint is None)
            if stage is not None:
                assert_same_weights(stage[1], checkpoint[1])
    return unlearner


@pytest.mark.parametrize("n_slices", [1, 3])
def test_equals_an_unlearner_that_never_saw_the_rows(data, forget, n_slices):
    def make():
        return SISAUnlearner(make_net(), n_shards=2, n_slices=n_slices, random_state=SEED)

    assert_exact(make, *data, forget)


@pytest.mark.parametrize("n_slices", [1, 3])
def test_so_it_does_with_the_default_network(data, forget, n_slices):
    def make():
        return SISAUnlearner(n_shards=3, n_slices=n_slices, random_state=SEED)

    # It takes the classes from the data: keep a row of each.
    assert_exact(make, *data, forget & (np.arange(120) > 2))


@pytest.mark.parametrize("n_slices", [1, 3])
def test_so_it_does_with_a_pipeline_of_a_mixed_table(data, forget, n_slices):
    X, y = data
    table = pd.DataFrame(X[:, :3], columns=list("abc"), index=np.arange(len(y)) + 50)
    table["colour"] = np.array(["red", "green"])[np.arange(len(y)) % 2]
    colours = OneHotEncoder(categories=[["red", "green"]], sparse_output=False)
    steps = make_column_transformer((StandardScaler(), list("abc")), (colours, ["colour"]))

    def make():
        net = make_pipeline(steps, make_net(module__n_features=5))
        return SISAUnlearner(net, n_shards=2, n_slices=n_slices, random_state=SEED)

    unlearner = assert_exact(make, table, y, forget)
    n_columns = unlearner.preprocessing_.transform(table.iloc[:2]).shape[1]
    assert n_columns == 5 * len(unlearner.net_.module_.constituents)


def test_so_it_does_with_images(forget):
    y = np.arange(120) % 3
    images = np.random.default_rng(2).normal(size=(120, 2, 5, 5)).astype(np.float32)
    images[:, 0] += y[:, None, None]

    def make():
        net = make_net(
            module=SmallCNN, module__n_channels=2, module__n_classes=3, module__channels=(3,)
        )
        return SISAUnlearner(net, n_shards=2, n_slices=3, random_state=SEED)

    assert_exact(make, images, y, forget)


@pytest.mark.parametrize("n_slices", [1, 3])
def test_so_it_does_after_a_stream_of_requests(data, n_slices):
    X, y = data
    unlearner = SISAUnlearner(make_net(), n_shards=3, n_slices=n_slices, random_state=SEED)
    other = clone(unlearner)
    unlearner.fit(X, y)
    for number in range(3):
        forget = np.random.default_rng(number).random(len(y)) < 0.05
        unlearner.partial_unlearn(X, y, forget=forget)
        X, y = X[~forget], y[~forget]
    assert_same_weights(unlearner.net_, other.fit(X, y).net_)


def test_a_frozen_net_is_replaced_by_shards_of_the_retain_rows(data):
    X, y = data
    frozen = FrozenEstimator(make_net().fit(X, y))
    forget = MASKS["some rows"](y)
    unlearner = SISAUnlearner(frozen, n_shards=2, n_slices=2, random_state=SEED).fit(X, y)
    assert not hasattr(unlearner, "shards_")
    np.testing.assert_array_equal(unlearner.predict_proba(X), frozen.predict_proba(X))
    X_rest, y_rest = X[~forget], y[~forget]
    other = SISAUnlearner(make_net(), n_shards=2, n_slices=2, random_state=SEED)
    other.fit(X_rest, y_rest)
    unlearner.unlearn(X, y, forget=forget)
    assert_same_weights(unlearner.net_, other.net_)
    assert unlearner.retrained_stages_ == [(0, 0), (1, 0)]
    # The next request goes on from these shards: it need not train all of them.
    for one in (unlearner, other):
        one.partial_unlearn(X_rest, y_rest, forget=[0])
    assert len(unlearner.retrained_stages_) == 1
    assert_same_weights(unlearner.net_, other.net_)
    # But `unlearn` starts again from the net in the FrozenEstimator.
    unlearner.unlearn(X, y, forget=[0])
    assert unlearner.retrained_stages_ == [(0, 0), (1, 0)]


# What is trained


def test_stages_are_trainings_by_skorch(data):
    X, y = data
    unlearner = SISAUnlearner(make_net(), n_shards=2, n_slices=2, random_state=SEED).fit(X, y)
    shards, slices = places_of(X, 2, 2)
    for shard in (0, 1):
        # e = 2 * 4 / 3: two epochs on the first slice, three on both.
        rows = (shards == shard) & (slices == 0)
        with torch.random.fork_rng():
            torch.manual_seed(seed_of(shard, 0))
            first = make_net(max_epochs=2).fit(X[rows], y[rows])
            torch.manual_seed(seed_of(shard, 1))
            second = make_net(max_epochs=3).initialize()
            second.module_.load_state_dict(first.module_.state_dict())
            second.partial_fit(X[shards == shard], y[shards == shard])
        assert_same_weights(constituent_of(unlearner.shards_[shard], 0), first)
        assert_same_weights(constituent_of(unlearner.shards_[shard], 1), second)
        assert unlearner.shards_[shard].n_rows.tolist() == [
            rows.sum(),
            (shards == shard).sum() - rows.sum(),
        ]
        history = [epoch for epoch in unlearner.net_.history if epoch["shard"] == shard]
        assert [epoch["stage"] for epoch in history] == [0, 0, 1, 1, 1]
        assert [epoch["epoch"] for epoch in history] == [1, 2, 1, 2, 3]


@pytest.mark.parametrize("n_slices", [1, 2, 3, 5, 10])
def test_epochs_of_a_stage(n_slices):
    for max_epochs in (0, 1, 3, 10, 30, 100):
        e = Fraction(2 * max_epochs, n_slices + 1)
        expected = [floor((r + 1) * e) - floor(r * e) for r in range(n_slices)]
        assert stage_epochs(max_epochs, n_slices) == expected
    assert stage_epochs(7, 1) == [7]


def test_a_stage_without_epochs_passes_the_weights_on(data):
    X, y = data
    # One epoch in three stages: none, one, none.
    unlearner = SISAUnlearner(make_net(max_epochs=1), n_slices=3, random_state=SEED).fit(X, y)
    for number, shard in enumerate(unlearner.shards_):
        with torch.random.fork_rng():
            torch.manual_seed(seed_of(number, 0))
            assert_same_weights(constituent_of(shard, 0), make_net().initialize())
        assert weights_digest(constituent_of(shard, 1)) != weights_digest(constituent_of(shard, 0))
        assert_same_weights(constituent_of(shard, 2), constituent_of(shard, 1))


def test_preprocessing_is_that_of_the_first_slice_of_each_shard(data):
    X, y = data
    pipeline = make_pipeline(StandardScaler(), make_net())
    unlearner = SISAUnlearner(pipeline, n_shards=2, n_slices=2, random_state=SEED).fit(X, y)
    shards, slices = places_of(X, 2, 2)
    expected = 0
    for number, shard in enumerate(unlearner.shards_):
        rows = X[(shards == number) & (slices == 0)].astype(float)
        scaler = shard.checkpoints[-1][0][0]
        np.testing.assert_allclose(scaler.mean_, rows.mean(axis=0), rtol=1e-6)
        scaled = torch.tensor((X - rows.mean(axis=0)) / rows.std(axis=0), dtype=torch.float32)
        with torch.no_grad():
            logits = constituent_of(shard).module_.eval()(scaled)
        expected = expected + logits.softmax(dim=1).numpy() / 2
    np.testing.assert_allclose(unlearner.predict_proba(X), expected, atol=1e-5)


@pytest.mark.parametrize("aggregation", ["mean", "vote"])
def test_aggregation(data, aggregation):
    X, y = data
    unlearner = SISAUnlearner(make_net(), n_shards=3, aggregation=aggregation, random_state=SEED)
    unlearner.fit(X, y)
    answers = np.array([constituent_of(s).predict_proba(X) for s in unlearner.shards_])
    if aggregation == "vote":
        answers = np.eye(3)[answers.argmax(axis=2)]
    np.testing.assert_allclose(unlearner.predict_proba(X), answers.mean(axis=0), atol=1e-6)
    np.testing.assert_array_equal(unlearner.predict(X), answers.sum(axis=0).argmax(axis=1))
    # The vote is a matter of the request too: nothing else has to be trained.
    other = "mean" if aggregation == "vote" else "vote"
    unlearner.set_params(aggregation=other).unlearn(X, y, forget=[0])
    assert len(unlearner.retrained_stages_) == 1
    assert unlearner.net_.module_.aggregation == other


# What a request trains


@pytest.mark.parametrize("n_slices", [1, 3])
def test_only_what_has_seen_the_rows_is_trained_again(data, n_slices):
    X, y = data
    unlearner = SISAUnlearner(make_net(), n_shards=4, n_slices=n_slices, random_state=SEED)
    unlearner.fit(X, y)
    shards, slices = places_of(X, 4, n_slices)
    epochs = stage_epochs(4, n_slices)
    forget = np.zeros(len(y), dtype=bool)
    forget[np.flatnonzero((shards == 1) & (slices == n_slices - 1))[0]] = True
    forget[np.flatnonzero((shards == 3) & (slices >= n_slices // 2))[:2]] = True
    before = [
        [weights_digest(constituent_of(shard, r)) for r in range(n_slices)]
        for shard in unlearner.shards_
    ]
    unlearner.unlearn(X, y, forget=forget)
    first_of = {s: slices[forget & (shards == s)].min() for s in (1, 3)}
    assert unlearner.retrained_stages_ == list(first_of.items())
    cost = 0
    for s, shard in enumerate(unlearner.shards_):
        for r in range(n_slices):
            digest = weights_digest(constituent_of(shard, r))
            assert (digest != before[s][r]) == (r >= first_of.get(s, n_slices))
            if r >= first_of.get(s, n_slices):
                held = [i for i in range(len(y)) if shards[i] == s and slices[i] <= r]
                cost += epochs[r] * sum(not forget[i] for i in held)
        assert shard is unlearner.fitted_shards_[s] or s in first_of
    assert unlearner.row_epochs_ == cost
    whole = sum(epochs[r] * int((slices <= r).sum()) for r in range(n_slices))
    assert unlearner.row_epochs_fit_ == whole
    # What was fitted is as it was.
    for s, shard in enumerate(unlearner.fitted_shards_):
        for r in range(n_slices):
            assert weights_digest(constituent_of(shard, r)) == before[s][r]


def test_epochs_that_a_callback_leaves_out_cost_nothing(data):
    X, y = data
    stop = EarlyStopping(monitor="train_loss", lower_is_better=False, patience=1)
    net = make_net(callbacks=[stop], lr=1e-3, max_epochs=20)
    unlearner = SISAUnlearner(net, n_shards=2, random_state=SEED).fit(X, y)
    assert len(unlearner.net_.history) < 40
    shards, _ = places_of(X, 2, 1)
    counts = [sum(epoch["shard"] == s for epoch in unlearner.net_.history) for s in (0, 1)]
    assert unlearner.row_epochs_fit_ == np.dot(counts, np.bincount(shards))


# Small shards


def test_a_shard_without_a_class_has_an_output_for_it(data):
    X, y = data
    shards, _ = places_of(X, 2, 1)
    held = ~((shards == 1) & (y == 2))
    labels = np.array(["ape", "bee", "cow"])[y]
    net = make_net(max_epochs=30).set_params(classes=None)
    unlearner = SISAUnlearner(net, n_shards=2, random_state=SEED).fit(X[held], labels[held])
    assert [constituent_of(s).predict_proba(X).shape for s in unlearner.shards_] == [(120, 3)] * 2
    assert not (constituent_of(unlearner.shards_[1]).predict(X) == 2).any()
    assert (constituent_of(unlearner.shards_[0]).predict(X) == 2).any()
    np.testing.assert_array_equal(unlearner.classes_, ["ape", "bee", "cow"])


def test_shards_and_slices_without_rows(data):
    X, y = data[0][:12], data[1][:12]
    net = make_net(module=nn.Linear, module__in_features=4, module__out_features=3)
    unlearner = SISAUnlearner(net, n_shards=20, n_slices=2, random_state=SEED).fit(X, y)
    shards, slices = places_of(X, 20, 2)
    held = set(shards.tolist())
    assert 3 < len(held) < 12, "the test needs empty shards, and shards with several rows"
    for s, shard in enumerate(unlearner.shards_):
        assert shard.n_rows.tolist() == [sum((shards == s) & (slices == r)) for r in (0, 1)]
        for r in (0, 1):
            assert (shard.checkpoints[r] is None) == (shard.n_rows[: r + 1].sum() == 0)
    assert any(shard.checkpoints[0] is None and shard.checkpoints[1] for shard in unlearner.shards_)
    assert len(unlearner.net_.module_.constituents) == len(held)

    gone = shards == min(held)
    unlearner.unlearn(X, y, forget=gone)
    assert unlearner.shards_[min(held)].checkpoints == [None, None]
    assert len(unlearner.net_.module_.constituents) == len(held) - 1
    other = clone(unlearner).fit(X[~gone], y[~gone])
    assert_same_weights(unlearner.net_, other.net_)


def test_nothing_left_that_was_fitted(data):
    X, y = data
    shards, _ = places_of(X, 2, 1)
    known, new = shards == 0, shards == 1
    net = make_net(max_epochs=1)
    unlearner = SISAUnlearner(net, n_shards=2, random_state=SEED).fit(X[known], y[known])
    before = unlearner.net_
    with pytest.raises(ValueError, match="No shard has rows left"):
        unlearner.unlearn(X[known | new], y[known | new], forget=known)
    assert unlearner.net_ is before


# Parameters


def test_without_a_seed_every_fit_has_another_partition(data):
    X, y = data
    net = make_net(max_epochs=1)
    first, second = (SISAUnlearner(net, n_shards=2).fit(X, y) for _ in range(2))
    assert first.salt_ != second.salt_
    # A request needs the partition of the fit.
    first.unlearn(X, y, forget=[3])
    (shard,) = np.unique(partition(X[3:4], first.salt_, 2, 1)[0])
    assert first.retrained_stages_ == [(shard, 0)]


def test_the_partition_is_that_of_fit_whatever_is_set_afterwards(data):
    X, y = data
    unlearner = SISAUnlearner(make_net(), n_shards=2, n_slices=2, random_state=SEED).fit(X, y)
    expected = clone(unlearner).fit(X, y).unlearn(X, y, forget=[3])
    unlearner.set_params(n_shards=7, n_slices=1, random_state=1).unlearn(X, y, forget=[3])
    assert_same_weights(unlearner.net_, expected.net_)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"n_shards": 0}, "'n_shards' parameter"),
        ({"n_shards": 2.0}, "'n_shards' parameter"),
        ({"n_slices": 0}, "'n_slices' parameter"),
        ({"aggregation": "median"}, "'aggregation' parameter"),
    ],
)
def test_bad_parameters(data, params, message):
    with pytest.raises(ValueError, match=message):
        SISAUnlearner(**params).fit(*data)


def test_a_module_instance_starts_from_its_own_weights(data):
    X, y = data
    net = make_net(module=Net())

    def make():
        return SISAUnlearner(net, n_shards=2, n_slices=2, random_state=SEED)

    before = {name: value.clone() for name, value in net.module.state_dict().items()}
    assert_exact(make, X, y, MASKS["some rows"](y))
    for name, value in net.module.state_dict().items():
        assert torch.equal(value, before[name])
    net.fit(X, y)
    unlearner = make().fit(X, y)
    with pytest.raises(ValueError, match="made from an instance of Net and has been trained"):
        unlearner.unlearn(X, y, forget=[0])


trained_rows = []


class RowCounter(Callback):
    def on_train_begin(self, net, X=None, **kwargs):
        trained_rows.append(len(X))


def test_shards_that_were_trained_before_come_from_the_cache(data, tmp_path):
    X, y = data
    net = make_net(callbacks=[RowCounter()], max_epochs=1)
    unlearner = SISAUnlearner(net, n_shards=3, random_state=SEED, memory=str(tmp_path))
    shards, _ = places_of(X, 3, 1)
    trained_rows.clear()
    unlearner.fit(X, y)
    assert trained_rows == np.bincount(shards).tolist()
    first = weights_digest(unlearner.net_)
    assert weights_digest(clone(unlearner).fit(X, y).net_) == first
    clone(unlearner).set_params(aggregation="vote").fit(X, y)
    assert len(trained_rows) == 3
    for _ in range(2):
        unlearner.unlearn(X, y, forget=[0])
    assert trained_rows[3:] == [(shards == shards[0]).sum() - 1]
    clone(unlearner).set_params(estimator__lr=0.5).fit(X, y)
    assert len(trained_rows) == 7


# Learning


def split(load):
    X, y = load(return_X_y=True)
    return train_test_split(X.astype(np.float32), y, test_size=0.3, random_state=0, stratify=y)


@pytest.mark.parametrize("load", [load_iris, load_wine])
def test_defaults_learn_from_few_rows(load):
    X, X_test, y, y_test = split(load)
    assert SISAUnlearner(random_state=0).fit(X, y).score(X_test, y_test) > 0.9


def test_defaults_are_nearly_as_good_as_one_network():
    X, X_test, y, y_test = split(load_digits)
    scores = []
    for unlearner in (SISAUnlearner(random_state=0), RetrainUnlearner(random_state=0)):
        unlearner.fit(X, y).unlearn(X, y, forget=(y == 3))
        assert unlearner.score(X_test[y_test == 3], y_test[y_test == 3]) == 0
        scores.append(unlearner.score(X_test[y_test != 3], y_test[y_test != 3]))
    assert scores[0] > scores[1] - 0.03
