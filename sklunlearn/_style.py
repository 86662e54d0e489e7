r"""Numbers that tell how an image was taken rather than what it shows."""

import numpy as np

__all__ = ["image_style", "image_style_names"]

# Second differences along both axes: 0 on planes, so that little of the content passes.
_LAPLACIAN = ((1, -2, 1), (-2, 4, -2), (1, -2, 1))
_TINY = 1e-8  # relative to the contrast of the images: logarithms of 0 have an end
_MIN_SIZE = 16  # of images in which blocks of 8 pixels are looked for


def image_style(X, scale=1.0):
    """Style statistics of images; :func:`sklunlearn.domains.discover_domains` has the formulas.

    Parameters
    ----------
    X : ndarray of shape (n_samples, channels, height, width)
        The images, of at least 4 x 4 pixels.
    scale : float, default=1.0
        Contrast of the whole data set; in its unit, logarithms of contrasts are cut off.

    Returns
    -------
    features : ndarray of shape (n_samples, n_features), dtype float64
        Named by :func:`image_style_names`.
    """
    X = np.asarray(X, dtype=np.float64) / scale
    flat = X.reshape(*X.shape[:2], -1)
    mean, std = flat.mean(axis=2), flat.std(axis=2)
    z = (flat - mean[..., None]) / (std[..., None] + _TINY)
    low, high = np.quantile(flat, [0.05, 0.95], axis=2)
    columns = [mean, _log(std), (z**3).mean(axis=2), (z**4).mean(axis=2), low, high]
    noise = _noise(X)
    columns += [_log(noise), _log(noise / (std + _TINY))]
    for c in range(1, X.shape[1]):
        # Colour ratio: channels against the first, in contrast as in brightness.
        columns += [_log(std[:, [c]]) - _log(std[:, [0]]), mean[:, [c]] - mean[:, [0]]]
        columns.append((z[:, [c]] * z[:, [0]]).mean(axis=2))
    grey = X.mean(axis=1)
    columns += [*_spectrum(grey), _vignette(grey), _gradients(grey)]
    if min(X.shape[2:]) >= _MIN_SIZE:
        columns.append(_blockiness(grey))
    return np.concatenate([np.reshape(column, (len(X), -1)) for column in columns], axis=1)


def image_style_names(shape):
    """Names of the features of images of shape (channels, height, width)."""
    channels = range(shape[0])
    names = [
        f"{name}_{c}"
        for name in ("mean", "log_std", "skewness", "kurtosis", "low", "high")
        for c in channels
    ]
    names += [f"{name}_{c}" for name in ("log_noise", "log_noise_to_contrast") for c in channels]
    for c in channels[1:]:
        names += [f"contrast_ratio_{c}", f"mean_difference_{c}", f"correlation_{c}"]
    names += ["log_high_frequency", "spectrum_slope", "vignette", "log_sharpness"]
    return names + (["blockiness"] if min(shape[1:]) >= _MIN_SIZE else [])


def _log(x):
    return np.log(np.maximum(x, _TINY))


def _noise(X):
    """Immerkaer's estimate of the noise's standard deviation, of each channel."""
    height, width = X.shape[2:]
    filtered = sum(
        weight * X[:, :, i : height - 2 + i, j : width - 2 + j]
        for i, row in enumerate(_LAPLACIAN)
        for j, weight in enumerate(row)
    )
    return np.sqrt(np.pi / 2) / 6 * np.abs(filtered).mean(axis=(2, 3))


def _spectrum(grey):
    """Share of the power above half of the highest frequency, and the slope over frequency."""
    height, width = grey.shape[1:]
    window = np.hanning(height + 2)[1:-1, None] * np.hanning(width + 2)[None, 1:-1]
    centred = (grey - grey.mean(axis=(1, 2), keepdims=True)) * window
    power = np.abs(np.fft.rfft2(centred)) ** 2
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :])
    inside = (frequency > 0) & (frequency <= 0.5)
    power, frequency = power[:, inside], frequency[inside]
    total = power.sum(axis=1) + _TINY**2
    share = power[:, frequency > 0.25].sum(axis=1) / total
    x = np.log(frequency) - np.log(frequency).mean()
    log_power = np.log(power + _TINY**2)
    return _log(share), log_power @ x / (x @ x)


def _vignette(grey):
    """Mean of the corners less mean of the centre."""
    rows, columns = (np.linspace(-1, 1, size) for size in grey.shape[1:])
    radius = np.hypot(rows[:, None], columns[None, :])
    return grey[:, radius > 1.1].mean(axis=1) - grey[:, radius < 0.5].mean(axis=1)


def _gradients(grey):
    """Blur: steepness between neighbours, relative to that between every other pixel."""
    near = np.abs(np.diff(grey, axis=1)).mean(axis=(1, 2)) + np.abs(np.diff(grey, axis=2)).mean(
        axis=(1, 2)
    )
    far = np.abs(grey[:, 2:] - grey[:, :-2]).mean(axis=(1, 2)) + np.abs(
        grey[:, :, 2:] - grey[:, :, :-2]
    ).mean(axis=(1, 2))
    return _log(near) - _log(far)


def _blockiness(grey):
    """Steps where JPEG's blocks of 8 pixels meet, relative to those elsewhere."""
    ratios = []
    for axis in (1, 2):
        steps = np.abs(np.diff(grey, axis=axis)).mean(axis=3 - axis)
        meets = np.arange(steps.shape[1]) % 8 == 7
        ratios.append(_log(steps[:, meets].mean(axis=1)) - _log(steps[:, ~meets].mean(axis=1)))
    return sum(ratios) / 2
