"""Small colour pictures of simple shapes, drawn at random."""

import numpy as np

__all__ = ["SHAPES", "draw_shapes"]

SHAPES = ["disc", "square", "ring", "cross", "triangle", "stripes"]


def draw_shapes(labels, image_size, rng):
    """One picture a label: a shape of random place, size, turn and colours on a plain ground.

    Parameters
    ----------
    labels : ndarray of shape (n_samples,), dtype int64
        Positions in `SHAPES`.
    image_size : int
        Height and width, in pixels.
    rng : numpy.random.Generator
        Draws everything.

    Returns
    -------
    images : ndarray of shape (n_samples, 3, image_size, image_size), dtype float32
        Values from 0 to 1.
    """
    n = len(labels)
    axis = (np.arange(image_size, dtype=np.float32) + 0.5) / image_size * 2 - 1
    center = rng.uniform(-0.2, 0.2, size=(n, 2, 1, 1)).astype(np.float32)
    radius = rng.uniform(0.5, 0.75, size=(n, 1, 1)).astype(np.float32)
    # A square that is turned by 45 degrees would be taken for another shape.
    angle = rng.uniform(-0.3, 0.3, size=(n, 1, 1)).astype(np.float32)
    x = (axis[None, None, :] - center[:, 0]) / radius
    y = (axis[None, :, None] - center[:, 1]) / radius
    u, v = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x

    mask = np.empty((n, image_size, image_size), dtype=np.float32)
    for label, name in enumerate(SHAPES):
        rows = labels == label
        inside = _DISTANCES[name](u[rows], v[rows])
        # An edge that is about one pixel wide.
        mask[rows] = np.clip(0.5 + inside * radius[rows] * image_size / 2, 0, 1)

    ground = np.array([0.85, 0.68, 0.6]) + rng.normal(scale=0.04, size=(n, 3))
    ink = np.array([0.45, 0.27, 0.25]) + rng.normal(scale=0.06, size=(n, 3))
    ground, ink = (color.astype(np.float32)[:, :, None, None] for color in (ground, ink))
    return np.clip(ground + mask[:, None] * (ink - ground), 0, 1)


def _disc(u, v):
    return 1 - np.hypot(u, v)


def _square(u, v):
    return 0.85 - np.maximum(abs(u), abs(v))


def _ring(u, v):
    return 0.25 - abs(np.hypot(u, v) - 0.75)


def _cross(u, v):
    arm, thickness = np.maximum(abs(u), abs(v)), np.minimum(abs(u), abs(v))
    return np.minimum(1 - arm, 0.28 - thickness)


def _triangle(u, v):
    # Three sides at distance 0.5 from the centre; the point is up, where v is -1.
    return 0.5 - np.maximum(v, abs(u) * np.sqrt(0.75) - v / 2)


def _stripes(u, v):
    return np.minimum(0.18 - abs(abs(v) - 0.5), 0.95 - abs(u))


# Of each point: how far it lies inside the shape, negative outside; the shape's radius is 1.
_DISTANCES = {
    "disc": _disc,
    "square": _square,
    "ring": _ring,
    "cross": _cross,
    "triangle": _triangle,
    "stripes": _stripes,
}
