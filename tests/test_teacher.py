import numpy as np
import pytest
import torch
from skorch import NeuralNetClassifier
from torch import nn
from torch.utils.data import Dataset

from sklunlearn._data import Rows
from sklunlearn._teacher import Teacher

WEIGHT = np.array([[1.0, 2.0], [-1.0, 0.5], [0.0, 3.0]], dtype=np.float32)
BIAS = np.array([0.1, 0.2, -0.3], dtype=np.float32)
X = np.random.default_rng(0).normal(size=(9, 2)).astype(np.float32)
INDICES = np.array([6, 0, 3, 8])


def make_net(cls=NeuralNetClassifier):
    """Linear logits; half of the inputs are dropped in training mode."""
    module = nn.Sequential(nn.Dropout(0.5), nn.Linear(2, 3))
    module[1].weight.data, module[1].bias.data = torch.tensor(WEIGHT), torch.tensor(BIAS)
    net = cls(module, criterion=nn.CrossEntropyLoss, classes=[0, 1, 2]).initialize()
    module.train()
    return net


def assert_says(teacher, rows, positions, expected_X):
    logits = teacher(rows.batch(torch.tensor(positions)))
    assert not logits.requires_grad
    np.testing.assert_allclose(logits, expected_X @ WEIGHT.T + BIAS, atol=1e-6)


def test_rows_that_are_known_before():
    net, rows = make_net(), Rows(X, indices=INDICES)
    teacher = Teacher(net, rows)
    # Computed once: what becomes of the network afterwards does not matter.
    net.module_[1].weight.data.zero_()
    assert_says(teacher, rows, [2, 0, 3], X[[3, 6, 8]])


def test_logits_stay_with_selected_rows():
    rows = Rows(X, indices=INDICES)
    teacher = Teacher(make_net(), Rows(X), rows)
    selected = rows.select(torch.tensor([3, 1]))
    assert_says(teacher, selected, [0, 1], X[[8, 0]])


def test_rows_that_are_not_known_before():
    rows = Rows(X, indices=INDICES)
    teacher = Teacher(make_net())
    assert rows.columns == {}
    assert_says(teacher, rows, [2, 0], X[[3, 6]])


def test_rows_of_a_dataset_are_asked_for_as_they_look():
    class Growing(Dataset):
        reads = 0

        def __len__(self):
            return len(X)

        def __getitem__(self, index):
            self.reads += 1
            return X[index] * self.reads, 0

    source = Growing()
    rows = Rows(source, indices=INDICES)
    teacher = Teacher(make_net(), rows)
    assert source.reads == 0 and rows.columns == {}
    assert_says(teacher, rows, [1], X[[0]])
    assert_says(teacher, rows, [1], 2 * X[[0]])


def test_no_rows():
    rows = Rows(X, indices=np.array([], dtype=int))
    teacher = Teacher(make_net(), rows, Rows(X))
    assert len(teacher(Rows(X).batch(torch.arange(3)))) == 3


@pytest.mark.parametrize("known", [True, False])
def test_own_infer_of_the_net(known):
    class Doubling(NeuralNetClassifier):
        def infer(self, x, **fit_params):
            return super().infer(2 * x, **fit_params)

    rows = Rows(X)
    teacher = Teacher(make_net(Doubling), *([rows] if known else []))
    assert_says(teacher, rows, [4, 1], 2 * X[[4, 1]])


@pytest.mark.parametrize("known", [True, False])
def test_module_that_gives_probabilities(known):
    module = nn.Sequential(make_net().module_, nn.Softmax(dim=1))
    net = NeuralNetClassifier(module, criterion=nn.NLLLoss, classes=[0, 1, 2]).initialize()
    rows = Rows(X)
    teacher = Teacher(net, *([rows] if known else []))
    logits = teacher(rows.batch(torch.arange(9)))
    difference = logits.numpy() - (X @ WEIGHT.T + BIAS)
    np.testing.assert_allclose(difference - difference[:, :1], 0, atol=1e-4)
