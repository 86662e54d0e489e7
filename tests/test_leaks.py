"""Nothing of the forgotten rows is in what is released."""

import functools

import numpy as np
import pytest
import torch
from leaks import find_leaks, leaks_in_bytes, leaks_in_graph, serialized
from registry import ALL, MEMBERS, WHOLE_CLASSES
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch import NeuralNetBinaryClassifier, NeuralNetClassifier
from skorch.callbacks import Callback, EpochScoring
from skorch.dataset import Dataset
from skorch.helper import predefined_split
from torch.utils.data import DataLoader, WeightedRandomSampler

from sklunlearn import ComposedUnlearner, NegGradUnlearner
from sklunlearn._nets import strip_net
from sklunlearn.networks import MLP

# No layer, and nothing else that a network has, is of these sizes.
SIZES = N_FORGET, N_RETAIN, N_SAMPLES = 13, 60, 73


@pytest.fixture(scope="module")
def data():
    """Rows of normally distributed numbers; of the classes, the second has N_FORGET rows."""
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1, 2], [31, N_FORGET, 29])
    return (rng.normal(size=(N_SAMPLES, 4)) + y[:, None]).astype(np.float32), y


def forget_of(unlearner, y):
    if type(unlearner).__name__ in WHOLE_CLASSES:
        return y == 1
    mask = np.zeros(N_SAMPLES, dtype=bool)
    mask[np.random.default_rng(1).choice(N_SAMPLES, N_FORGET, replace=False)] = True
    return mask


def state_of(net):
    return {name: value.numpy().copy() for name, value in net.module_.state_dict().items()}


def changed_weights(unlearner):
    """Values of all networks that the unlearner has held, but not of the one in use."""
    nets = [unlearner.fitted_[-1] if hasattr(unlearner.fitted_, "steps") else unlearner.fitted_]
    nets += [member.net_ for member in getattr(unlearner, "estimators_", [])]
    for shards in (getattr(unlearner, name, []) for name in ("fitted_shards_", "shards_")):
        nets += [net for shard in shards for _, net in filter(None, shard.checkpoints)]
    values = [value for net in nets for value in state_of(net).values()]
    heads = getattr(unlearner, "fitted_heads_", None)
    if heads is not None:
        values.append(np.asarray(heads.weights))
    used = b"\0".join(value.tobytes() for value in state_of(unlearner.net_).values())
    return [value for value in values if value.tobytes() not in used]


def searched(unlearner, X, forget, tmp_path):
    """What is looked for."""
    rows = list(X[forget])
    if unlearner.preprocessing_ is not None:
        rows += list(np.asarray(unlearner.preprocessing_.transform(X[forget]), dtype=np.float32))
    return {
        "rows": rows,
        "weights": [*changed_weights(unlearner), unlearner.forget_loss_],
        "texts": [str(tmp_path)],
    }


COMPOSITIONS = [
    ComposedUnlearner(MEMBERS, method=method, random_state=0)
    for method in ("average", "task_arithmetic", "interpolate", "vote")
]


def name_of(unlearner):
    return type(unlearner).__name__ + f"-{getattr(unlearner, 'method', '')}".rstrip("-")


@pytest.mark.filterwarnings("ignore:The members' embeddings")
@pytest.mark.parametrize("kind", ["net", "frozen", "pipeline", "default"])
@pytest.mark.parametrize("unlearner", [*ALL, *COMPOSITIONS], ids=name_of)
def test_nothing_of_the_forgotten_rows_is_released(unlearner, kind, net, data, tmp_path):
    X, y = data
    estimator = {
        "net": net,
        "frozen": FrozenEstimator(clone(net).fit(X, y)) if kind == "frozen" else None,
        "pipeline": make_pipeline(StandardScaler(), net),
        "default": None,
    }[kind]
    unlearner = clone(unlearner).set_params(estimator=estimator, memory=str(tmp_path / "cache"))
    forget = forget_of(unlearner, y)
    unlearner.fit(X, y).unlearn(X, y, forget=forget, max_retain_drop=1)
    what = searched(unlearner, X, forget, tmp_path)
    # What is looked for can be found where it is, in memory and in files.
    assert any("weights" in found for found in leaks_in_graph(unlearner, sizes=SIZES, **what))
    for name, file in serialized(unlearner, skip={"skops"}).items():
        assert any("weights" in found for found in leaks_in_bytes(file, **what)), name
    assert find_leaks(unlearner.release(), sizes=SIZES, **what) == []
    unlearner.partial_unlearn(X, y, forget=forget)
    what = searched(unlearner, X, forget, tmp_path)
    assert leaks_in_graph(unlearner.release(), sizes=SIZES, **what) == []


# What the net was trained with may hold rows, or something for each of them


class Keeper(Callback):
    """Keeps what it is shown."""

    def on_train_begin(self, net, X=None, y=None, **kwargs):
        self.seen = np.array(X)


class KeepingDataset(Dataset):
    def __init__(self, X, y=None, rows=None):
        super().__init__(X, y)


class KeepingLoss(torch.nn.CrossEntropyLoss):
    def __init__(self, rows):
        super().__init__()
        self.register_buffer("rows", rows)


class Collate:
    def __init__(self, rows):
        self.rows = rows

    def __call__(self, batch):
        return torch.utils.data.default_collate(batch)


class Prototypes(MLP):
    """Begins with rows, from which its training leads away."""

    def __init__(self, rows, **params):
        super().__init__(**params)
        self.offset = torch.nn.Parameter(torch.as_tensor(rows).mean())

    def forward(self, X):
        return super().forward(X + self.offset)


def keeping(function, rows):
    """The function, or class, as a function that refers to rows."""
    return lambda *args, **params: function(*args, **params) if len(rows) else None


def make_mlp(rows):
    return lambda **params: MLP(**params) if len(rows) else None


NET_PARAMS = {
    "callback": lambda X, y: {"callbacks": [Keeper()]},
    "scoring": lambda X, y: {"callbacks": [EpochScoring("accuracy", use_caching=False)]},
    "named callback": lambda X, y: {"callbacks": [("own", None)], "callbacks__own": Keeper()},
    "train_split": lambda X, y: {"train_split": predefined_split(Dataset(X, y))},
    "sampler": lambda X, y: {
        "iterator_train__sampler": WeightedRandomSampler(np.ones(N_SAMPLES), N_SAMPLES)
    },
    "dataset": lambda X, y: {"dataset": KeepingDataset, "dataset__rows": X},
    "iterator": lambda X, y: {"iterator_valid__collate_fn": Collate(X)},
    "module": lambda X, y: {"module": make_mlp(X)},
    "criterion": lambda X, y: {"criterion": KeepingLoss, "criterion__rows": torch.from_numpy(X)},
    "module parameter": lambda X, y: {"module": Prototypes, "module__rows": X},
    "loader for training": lambda X, y: {"iterator_train": keeping(DataLoader, X)},
    "loader for validation": lambda X, y: {"iterator_valid": keeping(DataLoader, X)},
    "dataset by a function": lambda X, y: {"dataset": keeping(Dataset, X)},
    "optimizer": lambda X, y: {"optimizer": keeping(torch.optim.SGD, X)},
}


@pytest.mark.parametrize("name", NET_PARAMS)
def test_what_the_net_was_trained_with(name, net, data, tmp_path):
    X, y = data
    base = {k: v for k, v in net.get_params(deep=False).items() if k != "callbacks"}
    net = NeuralNetClassifier(**{**base, **NET_PARAMS[name](X, y)})
    unlearner = NegGradUnlearner(net, random_state=0).fit(X, y)
    forget = forget_of(unlearner, y)
    unlearner.unlearn(X, y, forget=forget)
    what = {**searched(unlearner, X, forget, tmp_path), "weights": []}
    if name != "scoring":
        assert leaks_in_graph(unlearner.net_, sizes=SIZES, **what)
    released = unlearner.release()
    assert leaks_in_graph(released, sizes=SIZES, **what) == []
    np.testing.assert_array_equal(released.predict_proba(X), unlearner.predict_proba(X))
    np.testing.assert_array_equal(released.net_.predict_proba(X), unlearner.predict_proba(X))


def test_losses_of_two_classes_keep_no_weights(data):
    X, _ = data
    weight = torch.tensor([0.25, 0.5, 0.75, 1.25])
    module = torch.nn.Sequential(torch.nn.Linear(X.shape[1], 1), torch.nn.Flatten(0))
    for loss, output in (("BCELoss", torch.sigmoid(weight)), ("BCEWithLogitsLoss", weight)):
        net = NeuralNetBinaryClassifier(
            module, criterion=getattr(torch.nn, loss), criterion__weight=weight
        ).initialize()
        stripped = strip_net(net)
        assert type(stripped.criterion_) is getattr(torch.nn, loss)
        what = {"rows": [], "weights": [weight.numpy()]}
        assert leaks_in_graph(net, **what) and leaks_in_graph(stripped, **what) == []
        # Whether there are logits is still known.
        as_before = stripped._get_predict_nonlinearity()(output)
        torch.testing.assert_close(as_before, net._get_predict_nonlinearity()(output))


def test_the_cache_of_a_pipeline_is_not_released(net, data, tmp_path):
    X, y = data
    pipeline = make_pipeline(StandardScaler(), net, memory=str(tmp_path / "cached steps"))
    unlearner = NegGradUnlearner(pipeline, random_state=0).fit(X, y, forget=[0])
    released = unlearner.release()
    what = {"rows": [], "texts": ["cached steps"]}
    assert leaks_in_graph(unlearner.preprocessing_, **what)
    assert find_leaks(released, **what) == []
    np.testing.assert_array_equal(released.predict_proba(X), unlearner.predict_proba(X))


# Planted leaks, each of which must be found


def plant_closure(released, row, unlearner):
    def nonlinearity(output):
        return row, output

    released.net_.predict_nonlinearity = nonlinearity


def plant_default(released, row, unlearner):
    released.net_.predict_nonlinearity = lambda output, row=row: output


def plant_keyword_default(released, row, unlearner):
    def nonlinearity(output, *, row=row):
        return output

    released.net_.predict_nonlinearity = nonlinearity


def plant_partial(released, row, unlearner):
    released.net_.predict_nonlinearity = functools.partial(torch.softmax, row)


def plant_array(released, row, unlearner):
    released.seen_ = np.vstack([np.zeros(4), row])


def plant_view(released, row, unlearner):
    released.seen_ = np.concatenate([row, [0.0]])[4:]  # only the zero, but of the whole


def plant_tensor_view(released, row, unlearner):
    released.seen_ = torch.cat([torch.zeros(1), torch.from_numpy(row)])[:1]


def plant_other_order(released, row, unlearner):
    released.seen_ = row.astype(">f8")


def plant_bytes(released, row, unlearner):
    released.seen_ = b"header" + row.astype(">f4").tobytes()


def plant_list(released, row, unlearner):
    released.seen_ = {"row": row.tolist()}


def plant_objects(released, row, unlearner):
    released.seen_ = np.array([row, None], dtype=object)


def plant_original_weights(released, row, unlearner):
    old = next(unlearner.fitted_.module_.parameters()).detach().clone()
    released.net_.module_.register_buffer("old", old.flatten())


def plant_optimizer(released, row, unlearner):
    released.net_.optimizer_ = unlearner.fitted_.optimizer_


def plant_history(released, row, unlearner):
    released.net_.history_.new_epoch()
    released.net_.history_.record("losses", [0.5] * N_FORGET)


def plant_losses(released, row, unlearner):
    released.seen_ = np.zeros((N_SAMPLES, 2))


def plant_dictionary(released, row, unlearner):
    released.seen_ = dict.fromkeys(range(N_FORGET))


def plant_hook(released, row, unlearner):
    released.net_.module_.register_forward_hook(lambda *args, row=row: None)


def plant_gradient(released, row, unlearner):
    parameter = next(released.net_.module_.parameters())
    parameter.grad = torch.from_numpy(np.tile(row, 8)).reshape(parameter.shape)


def plant_graph(released, row, unlearner):
    released.seen_ = next(released.net_.module_.parameters()).sum() * float(row[0])


def plant_path(released, row, unlearner):
    released.net_.verbose = unlearner.memory


def plant_bound_method(released, row, unlearner):
    released.net_.predict_nonlinearity = unlearner.predict


PLANTS = [value for name, value in sorted(globals().items()) if name.startswith("plant_")]
IN_FILES = [plant_array, plant_bytes, plant_other_order, plant_original_weights, plant_path]


@pytest.fixture
def planted(net, data, tmp_path):
    """A released model, a forgotten row, the unlearner, and what is looked for."""
    X, y = data
    unlearner = NegGradUnlearner(net, memory=str(tmp_path / "cache"), random_state=0)
    forget = forget_of(unlearner, y)
    unlearner.fit(X, y).unlearn(X, y, forget=forget)
    return unlearner.release(), X[forget][5], unlearner, searched(unlearner, X, forget, tmp_path)


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.__name__[6:])
def test_a_planted_leak_is_found(plant, planted):
    released, row, unlearner, what = planted
    assert leaks_in_graph(released, sizes=SIZES, **what) == []
    plant(released, row, unlearner)
    assert leaks_in_graph(released, sizes=SIZES, **what)


@pytest.mark.parametrize("plant", IN_FILES, ids=lambda plant: plant.__name__[6:])
def test_a_planted_leak_is_found_in_files(plant, planted):
    released, row, unlearner, what = planted
    assert not any(leaks_in_bytes(file, **what) for file in serialized(released).values())
    plant(released, row, unlearner)
    # save_model writes only what it knows of.
    for name, file in serialized(released, skip={"save_model"}).items():
        assert leaks_in_bytes(file, **what), name
