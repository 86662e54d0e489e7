"""Assignment: write an unlearning method and judge it. The text is in assignment.md.

Replace each `raise NotImplementedError` and leave names and arguments as they are. Check with

    pytest check_assignment.py
"""

# ruff: noqa: F401
import numpy as np
import torch
from torch.nn.functional import cross_entropy

from sklunlearn.gradient import GradientUnlearner


def walk_across(module, X, y, step_size, n_steps):
    """Task 1: labels on the other side of the boundary.

    Parameters
    ----------
    module : torch.nn.Module
        Maps a tensor of shape (n, n_features) to logits of shape (n, n_classes).
    X : tensor of shape (n, n_features)
    y : tensor of shape (n,), dtype int64
        Classes of the rows.
    step_size : float
        By how much each feature moves in a step.
    n_steps : int
        Number of steps at most; at least one is taken.

    Returns
    -------
    labels : tensor of shape (n,), dtype int64
        The class that wins where the row first meets another class than its own, after one step
        or more. A row that does not get across: the likeliest other class where it ends.
    """
    raise NotImplementedError("Task 1")


class ConfusingUnlearner(GradientUnlearner):
    """Task 2: the network is taught to be undecided about the forget rows.

    The loss is the mean over the forget rows of KL(u || p), where u gives each class the
    probability 1 / n_classes, plus `retain_weight` times the mean cross-entropy of the retain
    rows. Where `retain` is None, the first part alone.
    """

    def _loss(self, module, forget, retain):
        raise NotImplementedError("Task 2")


def membership_auc(member_losses, other_losses):
    """Task 3: the probability that a member has a lower loss than another row; a tie counts half.

    Without scikit-learn and without sklunlearn.metrics.

    Parameters
    ----------
    member_losses, other_losses : ndarrays of shape (n_members,) and (n_others,)

    Returns
    -------
    auc : float
    """
    raise NotImplementedError("Task 3")


def gap_and_floor(unlearned, retrained):
    """Task 4: how far the unlearned network is from retraining, and retrained ones from each other.

    The distance of two networks is the total variation distance of the probabilities that they
    give a row, 1/2 sum_k |p_k - q_k|, averaged over the rows.

    Parameters
    ----------
    unlearned : ndarray of shape (n_rows, n_classes)
        Probabilities by the unlearned network.
    retrained : list of ndarrays of shape (n_rows, n_classes)
        Probabilities by two or more networks that never saw the rows.

    Returns
    -------
    gap : float
        Mean distance of the unlearned network from the retrained ones.
    floor : float
        Mean distance of two different retrained networks.
    """
    raise NotImplementedError("Task 4")
