"""Two moons and some blobs in the plane."""

from numbers import Integral, Real

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, validate_params

from sklunlearn.datasets._base import as_bunch

__all__ = ["make_moons_blobs"]


@validate_params(
    {
        "n_samples": [Interval(Integral, 1, None, closed="left")],
        "n_blobs": [Interval(Integral, 0, None, closed="left")],
        "noise": [Interval(Real, 0, None, closed="left")],
        "n_domains": [Interval(Integral, 1, None, closed="left")],
        "shift": [Interval(Real, 0, None, closed="left")],
        "random_state": ["random_state"],
        "return_X_y": ["boolean"],
    },
    prefer_skip_nested_validation=True,
)
def make_moons_blobs(
    n_samples=600,
    *,
    n_blobs=2,
    noise=0.1,
    n_domains=1,
    shift=0.5,
    random_state=None,
    return_X_y=False,
):
    r"""Make two moons and some blobs in the plane, for looking at decision boundaries.

    Classes 0 and 1 are half circles that reach into each other, so that their boundary is bent;
    each further class is a blob on a circle of radius 2.5 about them. Every class is observed in
    `n_domains` domains. Domain j of J is the whole picture turned about its centre by

    .. math:: \alpha_j = \text{shift} \cdot (j / (J - 1) - 1/2)

    Parameters
    ----------
    n_samples : int, default=600
        Number of points, divided as evenly as possible among classes and domains.
    n_blobs : int, default=2
        Number of classes besides the moons.
    noise : float, default=0.1
        Standard deviation about the moons; that of the blobs is three times as large.
    n_domains : int, default=1
        Number of domains.
    shift : float, default=0.5
        Angle between the first domain and the last, in radians. With one domain it has no effect.
    random_state : int, RandomState instance or None, default=None
        Draws the points and their order.
    return_X_y : bool, default=False
        Return ``(data, target)`` instead of a Bunch.

    Returns
    -------
    dataset : sklearn.utils.Bunch
        With

        data : ndarray of shape (n_samples, 2), dtype float32
            The points.
        target : ndarray of shape (n_samples,), dtype int64
            The class.
        target_names : list of str
            Names of the classes.
        metadata : pandas.DataFrame of n_samples rows
            ``domain``, from 0.
        DESCR : str
            Description.

    Raises
    ------
    ValueError
        If a parameter has the wrong type or lies outside its bounds.

    See Also
    --------
    sklearn.datasets.make_moons, sklearn.datasets.make_blobs : The parts.

    Examples
    --------
    >>> from sklunlearn.datasets import make_moons_blobs
    >>> points = make_moons_blobs(random_state=0)
    >>> points.data.shape, points.target_names
    ((600, 2), ['upper moon', 'lower moon', 'blob 0', 'blob 1'])
    """
    import pandas as pd

    rng = check_random_state(random_state)
    order = rng.permutation(n_samples)
    n_classes = 2 + n_blobs
    target = order % n_classes
    domain = order // n_classes % n_domains

    normal = rng.normal(size=(n_samples, 2))
    along = np.pi * rng.uniform(size=n_samples)
    X = np.empty((n_samples, 2))
    for label in range(n_classes):
        rows = target == label
        if label < 2:
            # Moved by half of (1, 0.5), so that the two moons together are centred at 0.
            sign = 1 - 2 * label
            moon = sign * np.column_stack([np.cos(along[rows]) - 0.5, np.sin(along[rows]) - 0.25])
            X[rows] = moon + noise * normal[rows]
        else:
            # From the top, where the moons are narrowest, and round evenly.
            angle = np.pi / 2 + 2 * np.pi * (label - 2) / n_blobs
            center = 2.5 * np.array([np.cos(angle), np.sin(angle)])
            X[rows] = center + 3 * noise * normal[rows]

    turn = shift * (domain / (n_domains - 1) - 0.5) if n_domains > 1 else 0.0 * domain
    X = np.column_stack(
        [
            np.cos(turn) * X[:, 0] - np.sin(turn) * X[:, 1],
            np.sin(turn) * X[:, 0] + np.cos(turn) * X[:, 1],
        ]
    )
    return as_bunch(
        return_X_y,
        data=X.astype(np.float32),
        target=target.astype(np.int64),
        target_names=["upper moon", "lower moon", *(f"blob {i}" for i in range(n_blobs))],
        metadata=pd.DataFrame({"domain": domain}),
        DESCR=f"Two moons and {n_blobs} blobs in {n_domains} domains.",
    )
