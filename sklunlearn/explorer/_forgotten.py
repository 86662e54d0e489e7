"""Forgotten images: where the boundary search takes them, and what each network says of them."""

from typing import NamedTuple

import numpy as np

from sklunlearn.inspection._boundary_points import find_boundary_points
from sklunlearn.inspection._models import original_of

__all__ = ["Forgotten", "look_at_forgotten"]

_N_SHOWN = 6


class Forgotten(NamedTuple):
    """Numbers of some rows, their boundary points, and probabilities by name of the network."""

    rows: np.ndarray
    points: object
    probabilities: dict


def look_at_forgotten(run):
    """Search and predict for the first rows that a run forgot.

    For the worker alone: both use the global random states, which another run may be using.
    """
    source, mask = run.source, run.request.mask
    if run.forgotten is None:
        rows = np.flatnonzero(mask)[:_N_SHOWN]
        codes = np.searchsorted(source.classes, source.y)
        points = find_boundary_points(run.unlearner, source.X, codes, mask, rows)
        networks = {"original": original_of(run.unlearner), "unlearned": run.unlearner}
        found = Forgotten(rows, points, {})
    else:
        found, networks = run.forgotten, {}
    if run.reference is not None:
        networks["retrained"] = run.reference
    said = {name: net.predict_proba(source.X[found.rows]) for name, net in networks.items()}
    return found._replace(probabilities={**found.probabilities, **said})
