"""Where the boundary search takes the rows that are to be forgotten."""

import numpy as np
import torch
from sklearn.utils import Bunch

from sklunlearn._data import Rows, take
from sklunlearn._devices import device_of
from sklunlearn._losses import retained_classes
from sklunlearn._seeding import draw_seed, isolated_random_state
from sklunlearn._training import transform
from sklunlearn.inspection._models import as_array, original_of
from sklunlearn.unlearners import BoundaryUnlearner

__all__ = ["find_boundary_points"]


def find_boundary_points(unlearner, X, y, forget, shown):
    """Search on the fitted network, as `BoundaryUnlearner` does it.

    A `BoundaryUnlearner` searches with its own parameters, another unlearner with the defaults.

    Parameters
    ----------
    unlearner : BaseUnlearner
        Fitted, not released.
    X, y, forget
        Rows, class indices and mask, checked.
    shown : ndarray of int
        The rows to search from.

    Returns
    -------
    points : Bunch
        `X`, the points in the units of the data, ndarray of shape (n_shown, ...); `codes`, the
        classes that are found there; `crossed`; `n_steps`.

    Raises
    ------
    ValueError
        If steps before the network cannot be undone.
    """
    original = original_of(unlearner)
    net, preprocessing = original.net_, original.preprocessing_
    searcher = BoundaryUnlearner()
    if isinstance(unlearner, BoundaryUnlearner):
        searcher.set_params(**unlearner.get_params(deep=False))
    searcher.set_params(target="hard", uncrossed="runner_up")  # a class for each point
    inside = transform(preprocessing, X)
    forget_rows, retain_rows = (Rows(inside, y, np.flatnonzero(m)) for m in (forget, ~forget))
    searcher.classes_, searcher._original = original.classes_, net
    searcher._allowed = retained_classes(retain_rows, len(original.classes_))
    searcher._scale, searcher._clip = searcher._find_units(forget_rows, retain_rows)
    with isolated_random_state(draw_seed(searcher.random_state)):
        batches = Rows(inside, y, shown).batches(256, device_of(net))
        found, searches = zip(*map(searcher._find_targets, batches), strict=True)
    points = torch.cat([search.X for search in searches]).cpu().numpy()
    if preprocessing is not None:
        points = _undo(preprocessing, points, take(X, shown), as_array(X, shown))
    return Bunch(
        X=points,
        codes=torch.cat([columns["target"] for columns in found]).cpu().numpy(),
        crossed=np.concatenate([search.crossed for search in searches]),
        n_steps=np.concatenate([search.n_steps for search in searches]),
    )


def _undo(preprocessing, points, X, values):
    """Points behind the steps before the network, in the units of the data."""
    if hasattr(preprocessing, "inverse_transform"):
        # Some have one that does nothing, or only what is left after a loss.
        back = np.asarray(preprocessing.inverse_transform(transform(preprocessing, X)))
        if back.shape == values.shape and np.allclose(back, values, atol=1e-3 * np.ptp(values)):
            return np.asarray(preprocessing.inverse_transform(points))
    raise ValueError(
        "The boundary points lie behind the steps before the network, "
        f"{[name for name, _ in preprocessing.steps]}, which cannot be undone, so that they cannot "
        "be drawn beside the rows. Use steps that have an exact `inverse_transform`, or fit an "
        "unlearner to the transformed data."
    )
