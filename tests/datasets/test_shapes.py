import numpy as np
import pytest

from sklunlearn.datasets._shapes import SHAPES, draw_shapes


class Centred:
    """Random numbers that are all in the middle of what they are drawn from."""

    def uniform(self, low, high, size):
        return np.full(size, (low + high) / 2)

    def normal(self, scale, size):
        return np.zeros(size)


# Share of the picture that is ink, by geometry: the radius is 0.625 of half the picture.
AREA = (
    0.625**2
    / 4
    * np.array(
        [
            np.pi,
            1.7**2,
            np.pi * (1 - 0.5**2),
            4 * 2 * 0.28 - 0.56**2,
            3 * 0.5**2 * np.sqrt(3),  # equilateral, by the radius of the circle inside
            2 * 2 * 0.95 * 0.36,
        ]
    )
)


@pytest.mark.parametrize("label", range(6), ids=SHAPES)
def test_area(label):
    image = draw_shapes(np.array([label]), 64, Centred())[0]
    ground, ink = np.array([0.85, 0.68, 0.6]), np.array([0.45, 0.27, 0.25])
    share = (image.mean(axis=(1, 2)) - ground) / (ink - ground)
    np.testing.assert_allclose(share, AREA[label], rtol=0.03)
    np.testing.assert_allclose(image[:, 0, 0], ground, rtol=1e-6)


def test_pictures_stay_inside_and_differ():
    rng = np.random.default_rng(0)
    images = draw_shapes(np.repeat(np.arange(6), 50), 16, rng)
    assert images.dtype == np.float32
    assert images.min() >= 0
    assert images.max() <= 1
    assert len(np.unique(images.reshape(300, -1), axis=0)) == 300
