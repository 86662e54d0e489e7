import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch.utils.data import Dataset, TensorDataset

from sklunlearn import RetrainUnlearner
from sklunlearn._validation import check_X, check_X_y, encode_labels, find_classes


@pytest.fixture
def unlearner(net):
    return RetrainUnlearner(net)


class Named(Dataset):
    """Rows with labels of any kind."""

    def __init__(self, X, labels):
        self.X, self.labels = X, labels

    def __len__(self):
        return len(self.X)

    def __getitem__(self, index):
        return self.X[index], self.labels[index]


def test_float32_is_not_copied(unlearner, X, tmp_path):
    X.tofile(tmp_path / "X")
    on_disk = np.memmap(tmp_path / "X", dtype=np.float32, mode="r", shape=X.shape)
    for same in (X, X.reshape(-1, 1, 2, 2), torch.from_numpy(X), on_disk):
        checked = check_X(unlearner, same, reset=True)
        assert checked.dtype == np.float32
        assert np.shares_memory(checked, np.asarray(same))
        assert checked.shape == same.shape


@pytest.mark.parametrize(
    "convert",
    [
        np.float64,
        lambda X: X.tolist(),
        pd.DataFrame,
        lambda X: torch.tensor(X, dtype=torch.float64),
        lambda X: torch.tensor(X, requires_grad=True),
    ],
    ids=["float64", "lists", "DataFrame", "float64 tensor", "tensor with gradient"],
)
def test_all_else_becomes_float32(unlearner, X, convert):
    checked = check_X(unlearner, convert(X), reset=True)
    assert type(checked) is np.ndarray
    assert checked.dtype == np.float32
    np.testing.assert_array_equal(checked, X)


def test_what_a_pipeline_or_a_dataset_holds_is_its_own_affair(net, X, y):
    table = pd.DataFrame({"a": ["x", None] * 3, "b": range(6)})
    pipeline = make_pipeline(StandardScaler(), net)
    for estimator in (pipeline, FrozenEstimator(pipeline)):
        unlearner = RetrainUnlearner(estimator)
        assert check_X(unlearner, table, reset=True) is table
        assert unlearner.feature_names_in_.tolist() == ["a", "b"]
    dataset = TensorDataset(torch.from_numpy(X), torch.from_numpy(y))
    assert check_X(RetrainUnlearner(net), dataset, reset=True) is dataset


def test_a_pipeline_takes_no_dataset(net, X, y):
    dataset = TensorDataset(torch.from_numpy(X), torch.from_numpy(y))
    unlearner = RetrainUnlearner(make_pipeline(StandardScaler(), net))
    with pytest.raises(TypeError, match="Pipeline takes arrays"):
        unlearner.fit(dataset)


def test_rows_must_be_of_the_shape_seen_in_fit(unlearner, X, y):
    check_X(unlearner, X, reset=True)
    assert unlearner.n_features_in_ == 4
    with pytest.raises(ValueError, match="X has 3 features, but RetrainUnlearner"):
        check_X(unlearner, X[:, 1:], reset=False)
    dataset = TensorDataset(torch.from_numpy(X[:, 1:]), torch.from_numpy(y))
    with pytest.raises(ValueError, match=r"shape \(3,\), but RetrainUnlearner.*\(4,\), as in fit"):
        check_X(unlearner, dataset, reset=False)
    check_X(unlearner, X.reshape(-1, 2, 2, 1), reset=True)
    assert unlearner.n_features_in_ == 2
    with pytest.raises(ValueError, match=r"shape \(2, 1, 2\), but RetrainUnlearner.*\(2, 2, 1\)"):
        check_X(unlearner, X.reshape(-1, 2, 1, 2), reset=False)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (torch.tensor([0, 2, 1]), [0, 2, 1]),
        (np.array([0, 2, 1]), [0, 2, 1]),
        ([0, 2, 1], [0, 2, 1]),
        (["a", "c", "b"], ["a", "c", "b"]),
        (np.array(["a", "c", "b"]), ["a", "c", "b"]),
    ],
    ids=["tensor", "array", "list", "strings", "array of strings"],
)
def test_labels_are_read_from_a_dataset(unlearner, X, labels, expected):
    dataset = Named(X[:3], labels)
    checked, y = check_X_y(unlearner, dataset, None, reset=True)
    assert checked is dataset
    assert isinstance(y, np.ndarray)
    assert y.tolist() == expected


def test_labels_that_are_given_replace_those_of_a_dataset(unlearner, X, y):
    dataset = Named(X, np.zeros(75))
    _, checked = check_X_y(unlearner, dataset, torch.from_numpy(y), reset=True)
    np.testing.assert_array_equal(checked, y)


@pytest.mark.parametrize("length", [0, 74, 76])
def test_one_label_a_row(unlearner, net, X, y, length):
    y = np.resize(y, length)
    with pytest.raises(ValueError, match=f"`y` has {length} entries for 75 rows"):
        check_X_y(unlearner, Named(X, np.zeros(75)), y, reset=True)
    pipeline = RetrainUnlearner(make_pipeline(StandardScaler(), net))
    with pytest.raises(ValueError, match=rf"{length} (entries|samples)|\[75, {length}\]"):
        check_X_y(pipeline, X, y, reset=True)


def test_classes_are_sorted_unless_the_net_names_them(net):
    y = np.array(["b", "c", "a", "b"])
    for estimator in (None, net, make_pipeline(StandardScaler(), net)):
        assert find_classes(estimator, y).tolist() == ["a", "b", "c"]
    net.set_params(classes=["c", "a", "b", "z"])
    for estimator in (net, make_pipeline(StandardScaler(), net)):
        assert find_classes(estimator, y).tolist() == ["c", "a", "b", "z"]


def test_classes_of_a_frozen_net_are_those_that_it_was_trained_on(net, trained_net):
    y = np.array([0, 1, 0])
    assert find_classes(FrozenEstimator(trained_net), y).tolist() == [0, 1, 2]
    pipeline = make_pipeline(StandardScaler(), trained_net)
    assert find_classes(FrozenEstimator(pipeline), y).tolist() == [0, 1, 2]
    assert find_classes(FrozenEstimator(net.initialize()), y).tolist() == [0, 1]


def test_one_class_is_not_enough(net):
    with pytest.raises(ValueError, match=r"at least 2 classes, got 1 class: \['a'\]"):
        find_classes(net, np.array(["a", "a"]))


@pytest.mark.parametrize(
    "classes", [["c", "a", "b"], [9, 2, 5], [0.5, -1.0, 2.0], [True, False]], ids=repr
)
def test_labels_become_their_place_among_the_classes(classes):
    indices = [1, 0, 1, len(classes) - 1]
    encoded = encode_labels(np.array(classes)[indices], np.array(classes))
    assert encoded.dtype == np.int64
    assert encoded.tolist() == indices


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int64, bool])
def test_labels_of_any_integer_type_are_found_among_classes_in_any_order(dtype):
    classes = np.array([1, 0] if dtype is bool else [7, 0, 200 % 128, 3]).astype(dtype)
    y = np.random.default_rng(0).choice(classes, 100)
    expected = [classes.tolist().index(label) for label in y.tolist()]
    assert encode_labels(y, classes).tolist() == expected


def test_labels_that_are_their_own_places_are_taken_as_they_are():
    y = np.array([2, 0, 1])
    assert encode_labels(y, np.arange(3)) is y
    for dtype in (np.uint8, np.int32, bool):
        classes = np.arange(2 if dtype is bool else 3).astype(dtype)
        encoded = encode_labels(y.clip(0, len(classes) - 1).astype(dtype), classes)
        assert encoded.dtype == np.int64
        assert encoded.tolist() == y.clip(0, len(classes) - 1).tolist()
    with pytest.raises(ValueError, match=r"labels \[-1, 3\], which are not"):
        encode_labels(np.array([0, 3, -1]), np.arange(3))
    with pytest.raises(ValueError, match=rf"labels \[{2**63}\], which are not"):
        encode_labels(np.array([0, 2**63], dtype=np.uint64), np.arange(2, dtype=np.uint64))


def test_labels_that_are_not_classes():
    with pytest.raises(ValueError, match=r"labels \[3, 4\], which are not .* \[0, 1\]"):
        encode_labels(np.array([0, 4, 3, 4]), np.array([0, 1]))
    with pytest.raises(ValueError, match=r"labels \[-1, 2\], which are not .* \[1, 3\]"):
        encode_labels(np.array([3, -1, 2]), np.array([1, 3]))
    with pytest.raises(ValueError, match=r"labels \['1'\], which are not .* \[0, 1\]"):
        encode_labels(np.array(["1"]), np.array([0, 1]))
    with pytest.raises(ValueError, match=r"labels \[1\], which are not .* \['0', '1'\]"):
        encode_labels(np.array([1]), np.array(["0", "1"]))
