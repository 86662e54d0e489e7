import numpy as np
import pytest
import torch
from torch.utils.data import Dataset, Subset, TensorDataset

from sklunlearn._dataset_labels import labels_of


class Labelled(Dataset):
    """Counts how often a row is read; gives the labels that it holds, or others."""

    def __init__(self, targets, others=None):
        self.targets, self.others, self.n_reads = targets, others, 0

    def __len__(self):
        return 100

    def __getitem__(self, i):
        self.n_reads += 1
        return torch.zeros(2), (self.targets if self.others is None else self.others)[i]


HUNDRED = list(range(100, 200))


@pytest.mark.parametrize(
    "targets", [HUNDRED, torch.tensor(HUNDRED), np.array(HUNDRED), [str(i) for i in HUNDRED]]
)
def test_labels_that_a_dataset_holds_are_read_alone(targets):
    dataset = Labelled(targets)
    expected = [str(i) for i in HUNDRED] if isinstance(targets[0], str) else HUNDRED
    assert labels_of(dataset) == expected
    assert all(type(label) is type(expected[0]) for label in labels_of(dataset))
    assert labels_of(Subset(dataset, [2, 0])) == [expected[2], expected[0]]
    assert dataset.n_reads < 50


@pytest.mark.parametrize("held", [[0] * 100, [0, 1], None], ids=["others", "too few", "none"])
def test_labels_of_the_rows_count_where_a_dataset_holds_others(held):
    assert labels_of(Labelled(held, others=HUNDRED)) == HUNDRED


@pytest.mark.parametrize(
    "dataset, message",
    [
        (TensorDataset(torch.zeros(3, 2)), "is not a pair"),
        (TensorDataset(torch.zeros(3, 2), torch.eye(3)), r"has a label of shape \(3,\)"),
    ],
    ids=["no label", "one-hot"],
)
def test_rows_without_a_label(dataset, message):
    with pytest.raises(ValueError, match=f"A row of .* {message}"):
        labels_of(dataset)
