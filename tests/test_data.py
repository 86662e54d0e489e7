import numpy as np
import pandas as pd
import pytest
import torch
from skorch.dataset import Dataset as SkorchDataset
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset

from sklunlearn import _data
from sklunlearn._data import (
    Batch,
    BatchLoader,
    Rows,
    feature_statistics,
    is_memory_mapped,
    on_device,
    take,
    take_rows,
)
from sklunlearn._positions import Others


class Counting(Dataset):
    """Row i is (i, 10 i) with label i; counts what is read."""

    def __init__(self, n):
        self.n, self.reads = n, 0

    def __len__(self):
        return self.n

    def __getitem__(self, index):
        if not 0 <= index < self.n:
            raise IndexError(index)
        self.reads += 1
        return np.array([index, 10 * index]), index


@pytest.fixture
def array():
    return np.arange(14, dtype=np.float32).reshape(7, 2)


# The loader


def datasets():
    """Several data sets of the same seven rows."""
    X, y = np.arange(14, dtype=np.float32).reshape(7, 2), np.arange(7)
    dataset, backwards = SkorchDataset(X, y), SkorchDataset(X[::-1], y[::-1])
    return {
        "skorch": dataset,
        "subset": Subset(backwards, range(6, -1, -1)),
        "subset of a subset": Subset(Subset(dataset, range(6, -1, -1)), range(6, -1, -1)),
        "torch": TensorDataset(torch.from_numpy(X), torch.from_numpy(y)),
    }


@pytest.mark.parametrize("dataset", datasets().values(), ids=datasets().keys())
def test_a_loader_gives_every_row_with_its_label_in_order(array, dataset):
    loader = BatchLoader(dataset, batch_size=3)
    batches = [(np.asarray(X), np.asarray(y)) for X, y in loader]
    assert [len(X) for X, _ in batches] == [3, 2, 2]
    assert len(loader) == 3
    np.testing.assert_array_equal(np.concatenate([X for X, _ in batches]), array)
    np.testing.assert_array_equal(np.concatenate([y for _, y in batches]), np.arange(7))


def test_a_loader_gives_what_the_loader_of_torch_gives(array):
    dataset = SkorchDataset(array, np.arange(7))
    ours, theirs = BatchLoader(dataset, batch_size=7), DataLoader(dataset, batch_size=7)
    for one, other in zip(next(iter(ours)), next(iter(theirs)), strict=True):
        np.testing.assert_array_equal(np.asarray(one), other.numpy())


class Doubled(SkorchDataset):
    """Gives rows twice as large."""

    def transform(self, X, y):
        return 2 * X, y


def test_a_loader_leaves_indexing_to_data_sets_that_have_their_own(array):
    y = np.arange(7)
    (batch,) = BatchLoader(Doubled(array, y), batch_size=7)
    np.testing.assert_array_equal(batch[0], 2 * array)
    # Not an array: a DataFrame, whose columns skorch gives one by one, and labels in a list.
    (batch,) = BatchLoader(SkorchDataset(pd.DataFrame(array, columns=["a", "b"]), y.tolist()), 7)
    np.testing.assert_array_equal(batch[0]["b"], array[:, 1:])
    assert list(batch[1]) == y.tolist()


def test_a_loader_serves_rows_without_labels(array):
    (batch,) = BatchLoader(SkorchDataset(array), batch_size=7)
    np.testing.assert_array_equal(batch[0], array)


def test_a_loader_shuffles_each_epoch_anew(array):
    loader = BatchLoader(SkorchDataset(array, np.arange(7)), batch_size=3, shuffle=True)

    def epoch():
        return np.concatenate([np.asarray(y) for _, y in loader]).tolist()

    torch.manual_seed(0)
    first, second = epoch(), epoch()
    assert sorted(first) == sorted(second) == list(range(7))
    assert first != second
    torch.manual_seed(0)
    assert epoch() == first
    for X, y in loader:
        np.testing.assert_array_equal(np.asarray(X)[:, 0], 2 * np.asarray(y))


def test_a_batch_size_of_minus_one_is_all_rows(array):
    (batch,) = BatchLoader(SkorchDataset(array, np.arange(7)), batch_size=-1)
    assert len(batch[0]) == 7


def test_a_loader_serves_a_net(net, X, y):
    net.set_params(iterator_train=BatchLoader, iterator_valid=BatchLoader).fit(X, y)
    with torch.no_grad():
        expected = net.module_(torch.from_numpy(X)).argmax(dim=1)
    np.testing.assert_array_equal(net.predict(X), expected)
    assert net.history[-1, "train_loss"] < net.history[0, "train_loss"]


# Rows


def test_rows_of_an_array(array):
    rows = Rows(array, y=np.arange(7) * 10, indices=np.array([4, 1, 6]))
    assert len(rows) == 3
    assert rows.y.tolist() == [40, 10, 60]
    np.testing.assert_array_equal(rows.take_X(np.array([2, 0])), array[[6, 4]])
    x, y = rows[1]
    np.testing.assert_array_equal(x, array[1])
    assert y == 10


def test_all_rows_without_labels(array):
    rows = Rows(array)
    assert len(rows) == 7
    assert rows.y.tolist() == [0] * 7
    assert rows.y.dtype == torch.int64


def test_columns_stay_with_their_rows(array):
    rows = Rows(array, y=np.arange(7), indices=np.array([5, 2, 3]))
    rows["weight"] = torch.tensor([0.5, 0.2, 0.3])
    assert rows["weight"].tolist() == pytest.approx([0.5, 0.2, 0.3])
    batch = rows.batch(torch.tensor([2, 0]))
    assert batch.y.tolist() == [3, 5]
    assert batch["weight"].tolist() == pytest.approx([0.3, 0.5])
    np.testing.assert_array_equal(batch.X, array[[3, 5]])
    assert len(batch) == 2
    with pytest.raises(ValueError, match="'weight' has 2 entries for 3 rows"):
        rows["weight"] = torch.zeros(2)
    with pytest.raises(KeyError, match="mass"):
        batch["mass"]


def test_a_column_is_a_tensor_and_has_been_stored():
    rows = Rows(np.zeros((3, 2), dtype=np.float32))
    with pytest.raises(TypeError, match=r"'weight' must be a tensor .* got ndarray"):
        rows["weight"] = np.zeros(3)
    rows["weight"] = torch.zeros(3)
    for some in (rows, rows.batch(torch.arange(2))):
        with pytest.raises(KeyError, match=r"'wieght' was not stored .* only \['weight'\] was"):
            some["wieght"]


def test_a_batch_takes_rows_that_were_taken_before(array):
    X = torch.ones(2, 2)
    assert Rows(array).batch(torch.tensor([0, 1]), X=X).X is X


def test_batches_cover_the_rows_in_order(array):
    rows = Rows(array, y=np.arange(7), indices=np.arange(6, -1, -1))
    batches = list(rows.batches(3))
    assert [len(batch) for batch in batches] == [3, 2, 2]
    np.testing.assert_array_equal(torch.cat([batch.X for batch in batches]), array[::-1])
    assert torch.cat([batch.y for batch in batches]).tolist() == [6, 5, 4, 3, 2, 1, 0]
    assert list(Rows(array, indices=np.array([], dtype=int)).batches(3)) == []


def test_selected_rows(array):
    rows = Rows(array, y=np.arange(7) * 10, indices=np.array([5, 2, 3]))
    rows["weight"] = torch.tensor([0.5, 0.2, 0.3])
    selected = rows.select(torch.tensor([2, 0, 2, 1]))
    assert selected.y.tolist() == [30, 50, 30, 20]
    assert selected["weight"].tolist() == pytest.approx([0.3, 0.5, 0.3, 0.2])
    np.testing.assert_array_equal(selected.indices, [3, 5, 3, 2])
    np.testing.assert_array_equal(selected.take_X(np.arange(4)), array[[3, 5, 3, 2]])
    assert selected.source is array
    # What is stored later with either is not the other's.
    selected["new"], rows["weight"] = torch.arange(4), torch.zeros(3)
    assert set(rows.columns) == {"weight"}
    assert selected.select(torch.tensor([1])).batch(torch.tensor([0]))["weight"] == 0.5
    none = rows.select(torch.arange(0))
    assert len(none) == len(none.y) == len(none["weight"]) == 0


def test_rows_in_a_random_order(array):
    rows = Rows(array)
    torch.manual_seed(0)
    first, second = list(rows.shuffled(3)), list(rows.shuffled(3))
    assert [len(positions) for positions in first] == [3, 2, 2]
    orders = [torch.cat(epoch).tolist() for epoch in (first, second)]
    assert [sorted(order) for order in orders] == [list(range(7))] * 2
    assert orders[0] != orders[1] and list(range(7)) not in orders


@pytest.mark.parametrize(("batch_size", "sizes"), [(3, [3, 2, 2]), (1, [1] * 7), (9, [7])])
def test_endless_series_of_batches(array, batch_size, sizes):
    rows = Rows(array)
    torch.manual_seed(0)
    passes = [[rows.next_positions(batch_size) for _ in sizes] for _ in range(4)]
    for batches in passes:
        assert [len(positions) for positions in batches] == sizes
        assert sorted(torch.cat(batches).tolist()) == list(range(7))
    assert len({tuple(torch.cat(batches).tolist()) for batches in passes}) == 4


def test_a_change_of_batch_size_waits_for_the_next_pass(array):
    rows = Rows(array)
    sizes = [len(rows.next_positions(batch_size)) for batch_size in (4, 2, 2, 2, 2, 2, 7)]
    assert sizes == [4, 3, 2, 2, 2, 1, 7]


def test_a_batch_is_an_empty_shell_at_first():
    batch = Batch(torch.zeros(2, 1), torch.zeros(2))
    assert (batch.columns, batch.logits) == ({}, None)


def test_rows_of_a_dataset_are_read_only_when_needed():
    dataset = Counting(7)
    rows = Rows(dataset, y=np.arange(7), indices=np.array([4, 1, 6]))
    assert dataset.reads == 0
    X = rows.take_X(np.array([0, 2]))
    assert dataset.reads == 2
    assert X.dtype == torch.float32
    np.testing.assert_array_equal(X, [[4, 40], [6, 60]])


def test_a_dataset_may_give_many_rows_at_once():
    class AtOnce(Counting):
        def __getitems__(self, indices):
            assert all(type(i) is int for i in indices)
            self.asked = indices
            return [self[i] for i in indices]

    dataset = AtOnce(7)
    np.testing.assert_array_equal(take_rows(dataset, np.array([5, 3])), [[5, 50], [3, 30]])
    assert dataset.asked == [5, 3]


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
def test_rows_are_copied_as_float32(dtype):
    array = np.arange(6).reshape(3, 2).astype(dtype)
    array.setflags(write=False)
    rows = take_rows(array, np.array([2, 0]))
    assert rows.dtype == torch.float32
    rows += 1
    np.testing.assert_array_equal(rows, [[5, 6], [1, 2]])
    np.testing.assert_array_equal(array, np.arange(6).reshape(3, 2))


def test_some_rows_of_whatever_a_fit_takes(array):
    indices = np.array([3, 0])
    np.testing.assert_array_equal(take(array, indices), array[[3, 0]])
    assert take(array.tolist(), indices) == [[6, 7], [0, 1]]
    table = pd.DataFrame(array, index=list("abcdefg"))
    assert take(table, indices).index.tolist() == ["d", "a"]
    subset = take(Counting(7), indices)
    assert [label for _, label in (subset[i] for i in range(len(subset)))] == [3, 0]


# Statistics


@pytest.mark.parametrize("shape", [(50, 3), (50, 3, 4, 2)], ids=["table", "images"])
@pytest.mark.parametrize("block_size", [1, 7, 50])
def test_statistics_in_blocks_are_those_of_all_rows(shape, block_size):
    rng = np.random.default_rng(0)
    X = rng.normal(1000, 0.5, size=shape).astype(np.float32)
    blocks = (X[i : i + block_size] for i in range(0, 50, block_size))
    axes = (0, *range(2, len(shape)))
    exact = X.astype(np.float64)
    expected = exact.mean(axes), exact.std(axes), exact.min(axes), exact.max(axes)
    for actual, value in zip(feature_statistics(blocks), expected, strict=True):
        np.testing.assert_allclose(actual, value, rtol=1e-5)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int32", "float16", "float64", ">f4"])
def test_statistics_of_any_type(dtype):
    X = np.random.default_rng(0).uniform(0, 200, size=(40, 3, 2, 2)).astype(dtype)
    exact, axes = X.astype(np.float64), (0, 2, 3)
    expected = exact.mean(axes), exact.std(axes), exact.min(axes), exact.max(axes)
    for actual, value in zip(feature_statistics([X[:30], X[30:]]), expected, strict=True):
        np.testing.assert_allclose(actual, value, rtol=1e-5)


def test_statistics_of_rows():
    X = np.random.default_rng(0).normal(size=(3000, 2)).astype(np.float32)
    rows = Rows(X, indices=np.arange(0, 3000, 2))
    mean, std, low, high = rows.statistics()
    np.testing.assert_allclose(mean, X[::2].mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(std, X[::2].std(axis=0), rtol=1e-5)
    np.testing.assert_array_equal(low, X[::2].min(axis=0))
    np.testing.assert_array_equal(high, X[::2].max(axis=0))


@pytest.mark.parametrize(
    ("max_rows", "used"), [(1, [0]), (2, [0, 6]), (3, [0, 3, 6]), (7, range(7)), (9, range(7))]
)
def test_statistics_of_evenly_spaced_rows(array, max_rows, used):
    mean, _, low, high = Rows(array).statistics(max_rows)
    some = array[list(used)]
    np.testing.assert_allclose(mean, some.mean(axis=0))
    np.testing.assert_array_equal([low, high], [some.min(axis=0), some.max(axis=0)])


def test_statistics_of_images_broadcast_against_an_image():
    X = np.random.default_rng(0).normal(size=(6, 2, 3, 4)) * np.reshape([1.0, 7.0], (2, 1, 1))
    mean, std, low, high = Rows(X).statistics()
    channels = X.transpose(1, 0, 2, 3).reshape(2, -1)
    expected = (
        channels.mean(axis=1),
        channels.std(axis=1),
        channels.min(axis=1),
        channels.max(axis=1),
    )
    for actual, values in zip((mean, std, low, high), expected, strict=True):
        assert actual.shape == (2, 1, 1) and actual.dtype == torch.float32
        np.testing.assert_allclose(actual[:, 0, 0], values, rtol=1e-5)


@pytest.mark.parametrize("shape", [(3,), (3, 5), (3, 5, 4, 2)])
def test_statistics_broadcast_whatever_the_number_of_axes(shape):
    X = np.random.default_rng(0).normal(size=(8, *shape)).astype(np.float32)
    (mean, std, _, _), axes = Rows(X).statistics(), (0, *range(2, X.ndim))
    expected = (X - X.mean(axes, keepdims=True)) / X.std(axes, keepdims=True)
    np.testing.assert_allclose((torch.from_numpy(X) - mean) / std, expected, atol=1e-5)


def test_statistics_of_a_dataset():
    X = np.random.default_rng(0).normal(size=(2500, 2)).astype(np.float32)
    mean, std, _, _ = Rows(TensorDataset(torch.from_numpy(X), torch.zeros(2500))).statistics()
    np.testing.assert_allclose(mean, X.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(std, X.std(axis=0), rtol=1e-5)


# Data that do not fit in memory


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((5, 4), 1000), ((5, 3, 64, 64), 85), ((2, 2**21), 1), ((0, 4), 1000)],
)
def test_large_rows_are_taken_a_few_at_once(shape, expected):
    assert Rows(np.zeros(shape, dtype=np.float32)).at_once(1000) == expected


def test_what_lies_in_a_file(tmp_path):
    array = np.arange(12, dtype=np.uint8).reshape(6, 2)
    array.tofile(tmp_path / "X")
    on_disk = np.memmap(tmp_path / "X", dtype=np.uint8, mode="r", shape=(6, 2))
    assert is_memory_mapped(on_disk) and is_memory_mapped(np.asarray(on_disk)[2:].reshape(-1, 2))
    for in_memory in (array, np.array(on_disk), array.tolist(), None):
        assert not is_memory_mapped(in_memory)
    some = take(take(on_disk, [5, 3, 0]), [1, 2])
    assert isinstance(some, Dataset), "not read yet"
    rows = Rows(some, np.array([7, 8]))
    assert rows.take_X([1, 0]).tolist() == [[0, 1], [6, 7]]
    assert rows.take_X([0]).dtype == torch.float32
    assert isinstance(take(array, [1]), np.ndarray)


# Data in one place


def test_on_device_holds_all_rows_as_float32(array, tmp_path):
    np.save(tmp_path / "X.npy", array.astype(np.int16))
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    dataset = Counting(7)
    numbers = np.array([[i, 10 * i] for i in range(7)])
    for source, expected in [
        (array, array),
        (mapped, array),
        (dataset, numbers),
        (Rows(array, indices=np.array([2, 0])), array[[2, 0]]),
        (Subset(dataset, [3, 1]), numbers[[3, 1]]),
    ]:
        held = on_device(source, "cpu")
        assert held.dtype == torch.float32
        np.testing.assert_array_equal(held.numpy(), expected)
    assert on_device(held, "cpu") is held


def test_on_device_reads_a_dataset_once_in_blocks():
    dataset = Counting(5)
    on_device(dataset, "cpu")
    assert dataset.reads <= 7  # one for the shape, one for the size of the blocks


def test_on_device_in_blocks():
    X = np.arange(3 * 2**19, dtype=np.float32).reshape(6, -1)  # 2**18 values a row, four a block
    np.testing.assert_array_equal(on_device(X, "cpu").numpy(), X)


# Very many rows


def test_classes_that_a_row_has(array, monkeypatch):
    y = np.array([3, 1, 1, 0, 0, 4, 4])
    monkeypatch.setattr(_data, "MANY", 2)  # rows in a block
    some = Rows(array, y, np.array([1, 2, 3, 5]))
    assert some.has_class(6).tolist() == [True, True, False, False, True, False]
    assert Rows(array, y).has_class(5).tolist() == [True, True, False, True, True]
    assert Rows(array, y, np.arange(0)).has_class(2).tolist() == [False, False]


@pytest.mark.parametrize("many", [1, 100])
def test_endless_series_of_few_and_of_many_rows(array, monkeypatch, many):
    monkeypatch.setattr(_data, "MANY", many)
    torch.manual_seed(0)
    rows = Rows(array, indices=np.array([5, 2, 3, 6, 0]))
    passes = [torch.cat([rows.next_positions(2) for _ in range(3)]).tolist() for _ in range(4)]
    assert all(sorted(one) == [0, 1, 2, 3, 4] for one in passes)
    assert len(set(map(tuple, passes))) > 1


def test_labels_are_those_of_the_rows_whatever_indices_are():
    y = np.arange(30) % 7
    mask = np.arange(30) % 4 == 0
    X = np.arange(30, dtype=np.float32)[:, None]
    for indices in (np.flatnonzero(~mask), Others(mask)):
        rows = Rows(X, y, indices)
        assert rows.y.tolist() == y[~mask].tolist()
        batch = rows.batch(torch.tensor([3, 0, 3]))
        assert batch.y.tolist() == y[~mask][[3, 0, 3]].tolist()
        assert batch.X[:, 0].tolist() == X[~mask][[3, 0, 3], 0].tolist()
        selected = rows.select(torch.tensor([5, 1]))
        assert selected.y.tolist() == y[~mask][[5, 1]].tolist()
        assert rows[4][1] == y[~mask][4]
