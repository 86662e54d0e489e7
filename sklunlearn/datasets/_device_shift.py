"""The same classes of pictures, seen through different scanners."""

from numbers import Integral, Real

import numpy as np
from scipy.ndimage import gaussian_filter
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, validate_params

from sklunlearn.datasets._base import as_bunch
from sklunlearn.datasets._shapes import SHAPES, draw_shapes

__all__ = ["make_device_shift"]

_NOISE = 0.02  # of any scanner, whatever the shift
_FIRST_YEAR = 2010


@validate_params(
    {
        "n_samples": [Interval(Integral, 1, None, closed="left")],
        "n_devices": [Interval(Integral, 1, None, closed="left")],
        "shift": [Interval(Real, 0, None, closed="left")],
        "n_classes": [Interval(Integral, 2, len(SHAPES), closed="both")],
        "image_size": [Interval(Integral, 8, None, closed="left")],
        "random_state": ["random_state"],
        "return_X_y": ["boolean"],
    },
    prefer_skip_nested_validation=True,
)
def make_device_shift(
    n_samples=1200,
    n_devices=3,
    *,
    shift=1.0,
    n_classes=4,
    image_size=16,
    random_state=None,
    return_X_y=False,
):
    r"""Make colour images of the same classes as different scanners see them.

    The classes are shapes. Device d turns a picture x into

    .. math::
        \operatorname{clip}\bigl(v_d \cdot g_d\, c_d \cdot (K_d * x) + \sigma_d z,\ 0,\ 1\bigr),
        \qquad v_d(r) = 1 - a_d r^2 / 2, \quad z \sim N(0, 1),

    with a gain g, a colour cast c of one factor per channel, a Gaussian blur K, a vignette v that
    darkens with the distance r from the centre (1 at the middle of an edge) and noise. Classes are
    equally frequent on every device, up to chance.

    Parameters
    ----------
    n_samples : int, default=1200
        Number of images.
    n_devices : int, default=3
        Number of scanners, equally often used.
    shift : float, default=1.0
        How much the scanners differ: scales the logarithms of gain and colour cast, the width of
        the blur, the vignette and the noise beyond what any scanner has. 0: not at all.
    n_classes : int, default=4
        Number of classes, 2 to 6.
    image_size : int, default=16
        Height and width in pixels, at least 8.
    random_state : int, RandomState instance or None, default=None
        Draws everything. With the same seed, `shift` changes neither the scenes nor the labels
        nor the metadata: the same pictures are seen by scanners that differ more or less.
    return_X_y : bool, default=False
        Return ``(data, target)`` instead of a Bunch.

    Returns
    -------
    dataset : sklearn.utils.Bunch
        With

        data : ndarray of shape (n_samples, 3, image_size, image_size), dtype float32
            Values from 0 to 1.
        target : ndarray of shape (n_samples,), dtype int64
            The class.
        target_names : list of str
            Names of the shapes.
        metadata : pandas.DataFrame of n_samples rows
            ``device``, such as ``"scanner_0"``; ``year``, of the five in which the device was in
            use (each next one comes two years later); ``site``, ``"east"`` or ``"west"``: four
            fifths of a device's images come from its home.
        devices : pandas.DataFrame of n_devices rows
            What was drawn for each: ``gain``, ``red``, ``green``, ``blue``, ``blur`` (in pixels),
            ``vignette``, ``noise``.
        DESCR : str
            Description.

    Raises
    ------
    ValueError
        If a parameter has the wrong type or lies outside its bounds.

    Notes
    -----
    Each property is spread evenly over its range and dealt out to the devices at random (a Latin
    hypercube), so that no two devices are alike by accident.

    Examples
    --------
    >>> from sklunlearn import forget_mask
    >>> from sklunlearn.datasets import make_device_shift
    >>> scans = make_device_shift(300, random_state=0)
    >>> scans.data.shape, scans.target_names
    ((300, 3, 16, 16), ['disc', 'square', 'ring', 'cross'])
    >>> int(forget_mask(metadata=scans.metadata, query="device == 'scanner_0'").sum())
    100
    """
    import pandas as pd

    seeds = check_random_state(random_state).randint(2**31 - 1, size=4)
    scene_rng, meta_rng, device_rng, noise_rng = map(np.random.default_rng, seeds)

    device = meta_rng.permutation(np.arange(n_samples) % n_devices)
    labels = meta_rng.integers(n_classes, size=n_samples)
    year = _FIRST_YEAR + 2 * device + meta_rng.integers(5, size=n_samples)
    at_home = meta_rng.uniform(size=n_samples) < 0.8

    devices = _draw_devices(n_devices, shift, device_rng)
    X = draw_shapes(labels, image_size, scene_rng)
    noise = noise_rng.standard_normal(X.shape, dtype=np.float32)
    for d, properties in enumerate(devices.to_dict("records")):
        rows = device == d
        X[rows] = _scan(X[rows], noise[rows], **properties)

    return as_bunch(
        return_X_y,
        data=X,
        target=labels,
        target_names=SHAPES[:n_classes],
        metadata=pd.DataFrame(
            {
                "device": [f"scanner_{d}" for d in device],
                "year": year,
                "site": np.where((device % 2 == 0) == at_home, "east", "west"),
            }
        ),
        devices=devices,
        DESCR=f"Shapes seen by {n_devices} simulated scanners that differ by shift={shift}.",
    )


def _draw_devices(n_devices, shift, rng):
    """Properties of the devices, one row each."""
    import pandas as pd

    def spread(low, high):
        positions = (np.arange(n_devices) + rng.uniform(0.25, 0.75, size=n_devices)) / n_devices
        return shift * (low + (high - low) * rng.permutation(positions))

    return pd.DataFrame(
        {
            "gain": np.exp(spread(-0.35, 0.25)),
            "red": np.exp(spread(-0.2, 0.2)),
            "green": np.exp(spread(-0.2, 0.2)),
            "blue": np.exp(spread(-0.3, 0.3)),
            "blur": spread(0.0, 1.2),
            "vignette": np.minimum(spread(0.0, 0.7), 1.0),
            "noise": _NOISE + spread(0.0, 0.08),
        },
        index=pd.Index([f"scanner_{d}" for d in range(n_devices)], name="device"),
    )


def _scan(X, noise_of_rows, *, gain, red, green, blue, blur, vignette, noise):
    """What one device makes of some pictures."""
    if blur > 0:
        X = gaussian_filter(X, sigma=(0, 0, blur, blur), mode="nearest")
    axis = (np.arange(X.shape[-1]) + 0.5) / X.shape[-1] * 2 - 1
    falloff = 1 - vignette * (axis[:, None] ** 2 + axis[None, :] ** 2) / 2
    factor = gain * np.array([red, green, blue])[:, None, None] * falloff
    return np.clip(X * factor.astype(np.float32) + np.float32(noise) * noise_of_rows, 0, 1)
