"""Checks of the assignment: `pytest check_assignment.py`, beside your assignment.py.

The variable ASSIGNMENT can name another file.
"""

import importlib.util
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_iris


def load(path):
    """The module in a file, imported anew."""
    spec = importlib.util.spec_from_file_location("assignment", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def answer():
    return load(os.environ.get("ASSIGNMENT", Path(__file__).with_name("assignment.py")))


def linear(weights):
    module = torch.nn.Linear(len(weights[0]), len(weights), bias=False)
    module.weight.data = torch.tensor(weights)
    return module


# Three classes in the plane; 0 is on the right, 1 above, 2 on the left.
THREE = [[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]


def test_1_the_row_goes_to_the_class_next_door(answer):
    X = torch.tensor([[1.0, 0.5], [0.2, 0.9]])
    labels = answer.walk_across(linear(THREE), X, torch.tensor([0, 1]), 0.1, 20)
    assert labels.dtype == torch.int64, "labels are class numbers, dtype int64"
    assert labels.tolist() == [1, 0], "a row of class 0 that lies near class 1 meets 1"


def test_1_a_row_that_does_not_get_across_takes_the_likeliest_other_class(answer):
    X = torch.tensor([[9.0, 1.0], [9.0, -1.0], [9.0, -20.0]])
    y = torch.zeros(3, dtype=torch.int64)
    labels = answer.walk_across(linear(THREE), X, y, 0.1, 3)
    # After three steps the third row is at (8.7, -19.7): logits 8.7, -19.7, -8.7.
    assert labels.tolist() == [1, 1, 2]


def test_1_a_row_stops_where_it_first_meets_another_class(answer):
    # A line with the classes 0, 1, 2 side by side; whoever walks on meets 2.
    module = linear([[0.0], [2.0], [3.0]])
    module.bias = torch.nn.Parameter(torch.tensor([0.0, -1.0, -3.0]))
    labels = answer.walk_across(module, torch.zeros(1, 1), torch.tensor([0]), 0.6, 50)
    assert labels.tolist() == [1], "the walk of a row ends at its first crossing"


def test_1_the_walk_goes_up_the_cross_entropy(answer):
    # Where the row stands, class 1 is the likeliest other one; on the way up, 2 overtakes it.
    module = linear([[0.0], [0.1], [3.0]])
    module.bias = torch.nn.Parameter(torch.tensor([0.0, -1.0, -2.5]))
    labels = answer.walk_across(module, torch.zeros(1, 1), torch.tensor([0]), 0.1, 50)
    assert labels.tolist() == [2], "a step goes where the loss of the own class grows"


def test_1_nothing_is_left_on_the_network(answer):
    module, X = linear(THREE), torch.tensor([[1.0, 0.5]])
    before = module.weight.detach().clone()
    answer.walk_across(module, X, torch.tensor([0]), 0.1, 5)
    assert torch.equal(module.weight, before), "the search must not train the network"
    assert module.weight.grad is None, "take the gradient of the rows alone: torch.autograd.grad"
    assert torch.equal(X, torch.tensor([[1.0, 0.5]])), "the rows are not to be changed"


class Batch:
    def __init__(self, logits, y):
        self.logits, self.y = torch.tensor(logits, dtype=torch.float64), torch.tensor(y)


FORGET = Batch([[2.0, 0.0, -1.0], [0.3, 0.1, 0.0]], [0, 1])
RETAIN = Batch([[1.0, 0.0, 0.0]], [2])


def log_softmax(logits):
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def divergence():
    log_p = log_softmax(FORGET.logits.numpy())
    return (np.log(1 / 3) - log_p).mean()


def test_2_the_loss_of_the_forget_rows(answer):
    loss = answer.ConfusingUnlearner()._loss(None, FORGET, None)
    assert float(loss) == pytest.approx(divergence()), "KL(u || p), with the entropy of u"
    undecided = Batch([[5.0, 5.0, 5.0]], [0])
    loss = answer.ConfusingUnlearner()._loss(None, undecided, None)
    assert float(loss) == pytest.approx(0, abs=1e-12), "nothing to do for a network in doubt"


@pytest.mark.parametrize("retain_weight", [0.5, 3.0])
def test_2_the_loss_of_the_retain_rows(answer, retain_weight):
    unlearner = answer.ConfusingUnlearner(retain_weight=retain_weight)
    loss = unlearner._loss(None, FORGET, RETAIN)
    expected = divergence() - retain_weight * log_softmax(RETAIN.logits.numpy())[0, 2]
    assert float(loss) == pytest.approx(expected), "`retain_weight` times the cross-entropy"


def test_2_it_forgets_a_class_and_keeps_the_others(answer):
    X, y = load_iris(return_X_y=True)
    forget = y == 2
    unlearner = answer.ConfusingUnlearner(max_epochs=40, random_state=0).fit(X, y)
    before = unlearner.predict_proba(X[forget]).max(axis=1).mean()
    unlearner.unlearn(X, y, forget=forget)
    assert unlearner.predict_proba(X[forget]).max(axis=1).mean() < before - 0.2
    assert unlearner.score(X[~forget], y[~forget]) > 0.9
    clone(unlearner)


def test_3_auc(answer):
    members, others = np.array([0.1, 0.2, 0.2, 0.5]), np.array([0.2, 0.4, 0.9, 1.3])
    assert answer.membership_auc(members, others) == pytest.approx(13 / 16)
    assert answer.membership_auc(others, members) == pytest.approx(3 / 16)


def test_3_ties_count_half(answer):
    assert answer.membership_auc(np.ones(3), np.ones(5)) == pytest.approx(0.5)


def test_3_many_rows(answer):
    rng = np.random.default_rng(0)
    members, others = rng.exponential(1.0, 300), rng.exponential(2.0, 200)
    expected = (members[:, None] < others).mean()
    assert answer.membership_auc(members, others) == pytest.approx(expected)


def test_4_gap_and_floor(answer):
    unlearned = np.array([[0.5, 0.5], [1.0, 0.0]])
    retrained = [
        np.array([[0.5, 0.5], [0.8, 0.2]]),
        np.array([[0.1, 0.9], [0.6, 0.4]]),
        np.array([[0.5, 0.5], [1.0, 0.0]]),
    ]
    gap, floor = answer.gap_and_floor(unlearned, retrained)
    assert gap == pytest.approx((0.1 + 0.4 + 0.0) / 3)
    assert floor == pytest.approx((0.3 + 0.1 + 0.4) / 3), "pairs of different networks"


def test_4_equal_networks(answer):
    proba = np.array([[0.7, 0.3]])
    assert answer.gap_and_floor(proba, [proba, proba]) == pytest.approx((0, 0))
