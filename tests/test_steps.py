import numpy as np
import pytest
import torch
from torch.utils.data import TensorDataset
from transfers import Transfers

from sklunlearn._data import Rows, on_device
from sklunlearn._steps import StepBatches, mixed

SIZES = [(2, 2, 1), (1, 9, 1), (0, 7, 3), (7, 0, 3), (1, 1, 64), (3, 20, 5), (20, 3, 5), (9, 9, 4)]


def rows(n, first=0):
    """Rows (i, 10 i) of class i, for i from `first` on, of a data set of their own."""
    numbers = np.arange(first, first + n)
    return Rows(np.stack([numbers, 10 * numbers], axis=1).astype(np.float32), numbers)


# Mixed steps


@pytest.mark.parametrize(("n_forget", "n_retain", "batch_size"), SIZES)
def test_mixed_steps_take_every_row_once(n_forget, n_retain, batch_size):
    torch.manual_seed(0)
    steps = list(mixed(rows(n_forget), rows(n_retain), batch_size))
    forget, retain = (torch.cat(positions).tolist() for positions in zip(*steps, strict=True))
    assert sorted(forget) == list(range(n_forget))
    assert sorted(retain) == list(range(n_retain))


@pytest.mark.parametrize(("n_forget", "n_retain", "batch_size"), SIZES)
def test_mixed_steps_are_few_of_equal_size_and_proportion(n_forget, n_retain, batch_size):
    n = n_forget + n_retain
    steps = [(len(f), len(r)) for f, r in mixed(rows(n_forget), rows(n_retain), batch_size)]
    sizes = [sum(step) for step in steps]
    assert len(steps) == np.ceil(n / batch_size)
    assert 0 < min(sizes) and max(sizes) <= min(batch_size, min(sizes) + 1)
    for size, (f, _) in zip(sizes, steps, strict=True):
        assert abs(f - size * n_forget / n) < 1


def test_few_rows_come_in_the_middle_of_the_others():
    steps = list(mixed(rows(1), rows(8), 1))
    assert [len(forget) for forget, _ in steps].index(1) in (3, 4, 5)
    steps = list(mixed(rows(16), rows(2), 1))
    at = np.flatnonzero([len(retain) for _, retain in steps])
    assert at[0] in (3, 4, 5) and at[1] in (12, 13, 14)


def test_mixed_steps_are_shuffled_anew():
    torch.manual_seed(0)
    epochs = [list(mixed(rows(50), rows(50), 100)) for _ in range(2)]
    orders = [
        positions.tolist() for ((forget, retain),) in epochs for positions in (forget, retain)
    ]
    assert len(set(map(tuple, [*orders, range(50)]))) == 5


def test_a_step_holds_rows_of_all_parts_of_the_data():
    # Neighbours in the data, often of one class, are not neighbours in the steps.
    torch.manual_seed(0)
    for positions in zip(*mixed(rows(400), rows(400), 80), strict=True):
        for order in positions:
            assert 120 < order.double().mean() < 280


def test_no_rows_are_no_steps():
    assert list(mixed(rows(0), rows(0), 4)) == []


# Batches of steps


def one_source():
    array = rows(9).source
    forget, retain = (Rows(array, np.arange(9), np.array(i)) for i in ([7, 2, 4], [0, 1, 8, 3]))
    return forget, retain


def two_sources():
    """The same rows, those to retain from a data set that holds all in the opposite order."""
    forget, retain = one_source()
    backwards = retain.source[::-1].copy()
    return forget, Rows(backwards, np.arange(9)[::-1].copy(), 8 - retain.indices)


def datasets():
    """As `two_sources`, from torch data sets."""
    for rows in (both := two_sources()):
        rows.source = TensorDataset(torch.from_numpy(rows.source), torch.zeros(9))
    return both


@pytest.mark.parametrize("make", [one_source, two_sources, datasets])
@pytest.mark.parametrize(
    ("step", "numbers"),
    [
        (([2, 0], [3, 1, 0]), ([4, 7], [3, 1, 0])),
        (([1], None), ([2], None)),
        ((None, [2, 2]), (None, [8, 8])),
        (([], [1]), ([], [1])),
        (([0], []), ([7], [])),
    ],
)
def test_batch_of_a_step(make, step, numbers):
    forget, retain = make()
    forget["name"] = forget.y + 100
    retain["name"] = retain.y + 200
    batches = StepBatches(forget, retain, "cpu")
    batches.steps = [tuple(None if p is None else torch.tensor(p).long() for p in step)]
    ((X, y),) = batches

    expected = [i for part in numbers if part is not None for i in part]
    assert X.dtype == torch.float32 and y.dtype == torch.int64
    np.testing.assert_array_equal(X, [[i, 10 * i] for i in expected])
    assert y.tolist() == expected

    logits = -X
    for half, part, first in zip(batches.split(logits), numbers, (100, 200), strict=True):
        if part is None:
            assert half is None
            continue
        assert half.y.tolist() == part
        assert half["name"].tolist() == [first + i for i in part]
        for values, sign in ((half.X, 1), (half.logits, -1)):
            np.testing.assert_array_equal(
                values, np.reshape([[i, 10 * i] for i in part], (-1, 2)) * sign
            )


def test_one_source_is_read_once_a_step():
    class Source(torch.utils.data.Dataset):
        def __len__(self):
            return 9

        def __getitems__(self, indices):
            reads.append(indices)
            return [(np.array([i]), 0) for i in indices]

    reads, source = [], Source()
    batches = StepBatches(
        Rows(source, indices=np.array([5, 6])), Rows(source, indices=np.array([1, 2])), "cpu"
    )
    batches.steps = [(torch.tensor([1, 0]), torch.tensor([0])), (None, torch.tensor([1]))]
    assert len(list(batches)) == 2
    assert reads == [[6, 5, 1], [2]]


def test_gradient_reaches_both_halves():
    batches = StepBatches(*one_source(), "cpu")
    batches.steps = [(torch.tensor([0]), torch.tensor([1, 2]))]
    ((X, _),) = batches
    logits = X.clone().requires_grad_()
    forget, retain = batches.split(logits)
    (2 * forget.logits.sum() - 3 * retain.logits.sum()).backward()
    np.testing.assert_array_equal(logits.grad, [[2, 2], [-3, -3], [-3, -3]])


# Data on another device


@pytest.mark.parametrize("apart", [False, True])
def test_data_on_the_device_are_moved_once(apart):
    X, y = np.zeros((30, 2), dtype=np.float32), np.arange(30)
    with Transfers() as transfers:
        held = on_device(X, "meta")
        assert held.device.type == "meta" and held.shape == (30, 2)
        forget, retain = Rows(held, y, np.arange(10)), Rows(held, y, np.arange(10, 30))
        if apart:  # as a method that makes rows of its own
            forget.source = on_device(X, "meta")
        forget["teacher"] = torch.zeros(10, 5)
        batches = StepBatches(forget, retain, "meta")
        for _ in range(3):
            batches.steps = mixed(forget, retain, 6)
            for X_batch, y_batch in batches:
                assert X_batch.device.type == y_batch.device.type == "meta"
                assert X_batch.shape == (6, 2) and y_batch.shape == (6,)
                assert batches.halves[0]["teacher"].device.type == "meta"
    sizes = sorted(transfers.shapes, key=np.prod, reverse=True)
    # X, what is stored with the rows and the two sets of labels once; then positions only.
    n_sources = 2 if apart else 1
    assert sizes[: n_sources + 3] == [*[(30, 2)] * n_sources, (10, 5), (20,), (10,)]
    assert all(len(size) == 1 and size[0] <= 6 for size in sizes[n_sources + 3 :])


def test_data_on_the_host_are_moved_with_each_batch():
    X, y = np.zeros((30, 2), dtype=np.float32), np.arange(30)
    forget, retain = Rows(X, y, np.arange(10)), Rows(X, y, np.arange(10, 30))
    batches = StepBatches(forget, retain, "meta")
    with Transfers() as transfers:
        batches.steps = mixed(forget, retain, 6)
        assert sum(len(X_batch) for X_batch, _ in batches) == 30
    assert transfers.shapes.count((6, 2)) == 5


def test_values_that_are_stored_anew_are_moved_anew():
    some = Rows(on_device(np.zeros((3, 2)), "meta"), np.arange(3))
    with Transfers() as transfers:
        for values in (torch.zeros(3, 4), torch.ones(3, 4)):
            some["target"] = values
            for _ in range(2):
                some.batch(torch.arange(2), "meta")
    assert transfers.shapes.count((3, 4)) == 2
