import numpy as np
import pytest
from scipy.ndimage import convolve, gaussian_filter
from scipy.stats import kurtosis, skew

from sklunlearn._style import image_style, image_style_names

RNG = np.random.default_rng(0)
IMAGES = RNG.uniform(size=(5, 3, 20, 24)) ** 2


def style(X, scale=1.0):
    values = image_style(X, scale)
    names = image_style_names(X.shape[1:])
    assert values.shape == (len(X), len(names)) and len(set(names)) == len(names)
    return dict(zip(names, values.T, strict=True))


def test_moments_of_each_channel():
    found = style(IMAGES)
    for c in range(3):
        pixels = IMAGES[:, c].reshape(5, -1)
        np.testing.assert_allclose(found[f"mean_{c}"], pixels.mean(axis=1))
        np.testing.assert_allclose(found[f"log_std_{c}"], np.log(pixels.std(axis=1)))
        np.testing.assert_allclose(found[f"skewness_{c}"], skew(pixels, axis=1), rtol=1e-5)
        expected = kurtosis(pixels, axis=1, fisher=False)
        np.testing.assert_allclose(found[f"kurtosis_{c}"], expected, rtol=1e-5)
        np.testing.assert_allclose(found[f"low_{c}"], np.quantile(pixels, 0.05, axis=1))
        np.testing.assert_allclose(found[f"high_{c}"], np.quantile(pixels, 0.95, axis=1))


def test_noise():
    kernel = np.outer([1, -2, 1], [1, -2, 1])
    filtered = [convolve(image, kernel)[1:-1, 1:-1] for image in IMAGES[:, 1]]
    expected = np.sqrt(np.pi / 2) / 6 * np.abs(filtered).mean(axis=(1, 2))
    np.testing.assert_allclose(style(IMAGES)["log_noise_1"], np.log(expected))
    # It estimates the standard deviation of white noise, whatever plane lies below.
    plane = 0.3 * np.arange(200)[:, None] + 0.1 * np.arange(200)
    noisy = plane + RNG.normal(scale=0.7, size=(1, 1, 200, 200))
    np.testing.assert_allclose(np.exp(style(noisy)["log_noise_0"]), 0.7, rtol=0.03)


def test_colour():
    found = style(IMAGES)
    expected = [np.corrcoef(image[0].ravel(), image[2].ravel())[0, 1] for image in IMAGES]
    np.testing.assert_allclose(found["correlation_2"], expected, rtol=1e-5)
    cast = IMAGES * np.array([1, 1, 0.5])[:, None, None]
    ratio = style(cast)["contrast_ratio_2"] - found["contrast_ratio_2"]
    np.testing.assert_allclose(ratio, np.log(0.5))
    difference = IMAGES[:, 2].mean(axis=(1, 2)) - IMAGES[:, 0].mean(axis=(1, 2))
    np.testing.assert_allclose(found["mean_difference_2"], difference)


def test_blur():
    sharp, blurred = style(IMAGES), style(gaussian_filter(IMAGES, (0, 0, 1, 1)))
    for name in ("log_high_frequency", "spectrum_slope", "log_sharpness", "log_noise_0"):
        assert (blurred[name] < sharp[name] - 0.3).all(), name


def test_the_slope_of_a_spectrum():
    size, slope = 256, -1.7
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.fftfreq(size)[None, :])
    frequency[0, 0] = np.inf
    spectrum = np.fft.fft2(RNG.normal(size=(size, size))) * frequency ** (slope / 2)
    image = np.fft.ifft2(spectrum).real
    np.testing.assert_allclose(style(image[None, None])["spectrum_slope"], slope, atol=0.1)


def test_vignette():
    row, column = np.linspace(-1, 1, 20)[:, None], np.linspace(-1, 1, 24)[None, :]
    falloff = 1 - 0.4 * (row**2 + column**2)
    assert (style(IMAGES * falloff)["vignette"] < style(IMAGES)["vignette"] - 0.1).all()
    np.testing.assert_allclose(style(np.ones((1, 1, 20, 24)))["vignette"], 0, atol=1e-12)


def test_blocks_of_jpeg():
    blocks = np.kron(RNG.uniform(size=(4, 1, 3, 3)), np.ones((8, 8)))
    noisy = blocks + 0.01 * RNG.normal(size=blocks.shape)
    shifted = np.roll(noisy, 3, axis=(2, 3))
    assert (style(noisy)["blockiness"] > 1.5).all()
    assert (style(shifted)["blockiness"] < 0).all()
    assert "blockiness" not in image_style_names((1, 15, 20))


@pytest.mark.parametrize("shape", [(1, 4, 4), (3, 4, 9), (2, 15, 16), (3, 16, 16), (1, 33, 17)])
@pytest.mark.parametrize("value", [0.0, 255.0, "noise"])
def test_any_image_has_a_finite_style(shape, value):
    X = RNG.normal(size=(2, *shape)) if value == "noise" else np.full((2, *shape), value)
    assert all(np.isfinite(values).all() for values in style(X).values())


def test_the_unit_does_not_matter():
    for name, values in style(IMAGES, IMAGES.std()).items():
        other = style(255 * IMAGES, (255 * IMAGES).std())[name]
        np.testing.assert_allclose(other, values, atol=1e-9)
