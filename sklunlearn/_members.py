"""The members of a composition: what they may be, and whether their networks suit each other."""

import itertools
import warnings

import numpy as np
import torch
from sklearn.frozen import FrozenEstimator

from sklunlearn._nets import weights_digest
from sklunlearn._stacklevel import users_stacklevel
from sklunlearn._training import hash_of, split_pipeline
from sklunlearn.base import BaseUnlearner
from sklunlearn.embeddings import embed

__all__ = [
    "ancestor_of",
    "check_descend_from",
    "check_members",
    "check_same_architecture",
    "check_same_classes",
    "check_same_features",
    "have_same_ancestor",
    "is_frozen",
    "similarity_of_embeddings",
    "warn_if_dissimilar",
]

_LEAST_SIMILARITY = 0.8


def is_frozen(member):
    """Whether a member is used as it is."""
    return isinstance(member, FrozenEstimator)


def check_members(estimators):
    """The named members that are not dropped, or an error that says what is wrong with one.

    Parameters
    ----------
    estimators : list of (str, BaseUnlearner, FrozenEstimator of one, or "drop")
        What the composition was given; that the names suit is not checked here.

    Returns
    -------
    members : list of (str, BaseUnlearner or FrozenEstimator)
    """
    members = [(name, member) for name, member in estimators if member != "drop"]
    if not members:
        raise ValueError(
            "All members are dropped: a composition needs at least one. Pass a list of (name, "
            "unlearner)."
        )
    for name, member in members:
        inner = member.estimator if is_frozen(member) else member
        if not isinstance(inner, BaseUnlearner):
            raise TypeError(
                f"The member {name!r} must be an unlearner, a FrozenEstimator of a fitted one or "
                f"'drop', got {member!r}."
            )
        if is_frozen(member) and not hasattr(inner, "net_"):
            raise ValueError(
                f"The member {name!r} is frozen, so that nothing will fit it, and not fitted: fit "
                f"the {type(inner).__name__} first, or pass it without FrozenEstimator."
            )
    return members


def check_same_classes(names, members, classes):
    """Raise a ValueError unless fitted members have these classes, in this order."""
    for name, member in zip(names, members, strict=True):
        if not np.array_equal(member.classes_, classes):
            raise ValueError(
                f"The member {name!r} has the classes {member.classes_.tolist()}, but the "
                f"composition {classes.tolist()}: members must have the same, in the same order."
            )


def check_same_features(names, members, composition):
    """Raise a ValueError unless fitted members take rows of as many features as a composition."""
    expected = getattr(composition, "n_features_in_", None)
    for name, member in zip(names, members, strict=True):
        n_features = getattr(member, "n_features_in_", None)
        if n_features != expected:
            raise ValueError(
                f"The member {name!r} was fitted to rows of {n_features} features, but the "
                f"composition to rows of {expected}: members must take the same rows."
            )


def check_same_architecture(names, members):
    """Raise a ValueError unless the networks of fitted members can be merged into one."""
    for name, member in zip(names, members, strict=True):
        if member.net_._modules != ["module"]:
            raise ValueError(
                f"The net of the member {name!r} has several modules, {member.net_._modules}, "
                "which cannot be merged: put them into one module."
            )
    first, described = members[0], _describe(members[0].net_)
    for name, member in zip(names[1:], members[1:], strict=True):
        other = _describe(member.net_)
        if other != described:
            differing = sorted(set(described.items()) ^ set(other.items()))
            raise ValueError(
                f"The networks of the members {names[0]!r} and {name!r} have different "
                f"architectures, for instance in {differing[0][0]!r}: "
                f"{described.get(differing[0][0])} and {other.get(differing[0][0])}. Only "
                "method='vote' composes such members."
            )
        ours, theirs = first.preprocessing_, member.preprocessing_
        if ours is not theirs and hash_of(ours) != hash_of(theirs):
            raise ValueError(
                f"The members {names[0]!r} and {name!r} preprocess the rows differently, so that "
                "their networks do not take the same input: compose members that were made from "
                "one fitted Pipeline, or use method='vote'."
            )


def _describe(net):
    """What two networks must have in common for their weights to mean the same."""
    state = net.module_.state_dict()
    tensors = {key: v for key, v in state.items() if isinstance(v, torch.Tensor)}
    shapes = {key: f"{tuple(v.shape)}, {v.dtype}" for key, v in tensors.items()}
    return {"module": type(net.module_).__qualname__, **shapes}


def ancestor_of(member):
    """Digest of the weights that a fitted member started from; None if it was released."""
    original = getattr(member, "fitted_", None)
    return None if original is None else weights_digest(split_pipeline(original)[1])


def have_same_ancestor(members):
    """Whether fitted members started from the same weights; None if that is not known."""
    ancestors = {ancestor_of(member) for member in members}
    return None if None in ancestors else len(ancestors) == 1


def check_descend_from(names, members, digest):
    """Raise a ValueError unless fitted members started from the weights with this digest."""
    for name, member in zip(names, members, strict=True):
        if ancestor_of(member) != digest:
            raise ValueError(
                f"The member {name!r} was not made from the original network of the composition, "
                "or was released and does not tell: the difference between them is not what its "
                "unlearning did. Use members of one original network, or another method."
            )


def similarity_of_embeddings(nets, rows, cut=None):
    """Mean cosine similarity of the embeddings of rows under each two of some networks.

    Parameters
    ----------
    nets : list of skorch.NeuralNetClassifier
        Of the same architecture.
    rows : sklunlearn._data.Rows
        The rows.
    cut : str or None, default=None
        Name of the submodule whose input is the embedding; None: the last layer.

    Returns
    -------
    similarity : ndarray of shape (n_nets, n_nets), dtype float64
        From -1 to 1; 1 on the diagonal.
    """
    embeddings = [torch.nn.functional.normalize(embed(net, rows, cut).double()) for net in nets]
    similarity = np.eye(len(nets))
    for i, j in itertools.combinations(range(len(nets)), 2):
        cosine = (embeddings[i] * embeddings[j]).sum(dim=1)
        cosine[(embeddings[i] == embeddings[j]).all(dim=1)] = 1  # also where both are zero
        similarity[i, j] = similarity[j, i] = cosine.mean().item()
    return similarity


def warn_if_dissimilar(similarity):
    """Warn of members, merged with each other, whose embeddings have little in common."""
    least = similarity.min()
    if least < _LEAST_SIMILARITY:
        warnings.warn(
            f"The members' embeddings of retain rows have a mean cosine similarity of only "
            f"{least:.2f} (see `compatibility_`): below {_LEAST_SIMILARITY}, layers of one hardly "
            "make sense of what layers of another give them. Unlearn with a smaller `lr`, or "
            "fine-tune with `finetune_epochs`.",
            stacklevel=users_stacklevel(),
        )
