import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.neighbors import KNeighborsClassifier

from sklunlearn.datasets import make_device_shift
from sklunlearn.datasets._device_shift import _scan


def test_content():
    scans = make_device_shift(121, 4, n_classes=3, image_size=12, random_state=0)
    assert scans.data.shape == (121, 3, 12, 12)
    assert scans.data.dtype == np.float32
    assert scans.data.min() >= 0
    assert scans.data.max() <= 1
    assert set(scans.target) == {0, 1, 2}
    assert scans.target_names == ["disc", "square", "ring"]
    meta = scans.metadata
    assert meta.columns.tolist() == ["device", "year", "site"]
    assert sorted(meta["device"].value_counts()) == [30, 30, 30, 31]
    device = meta["device"].str[-1].astype(int)
    assert set(meta["year"] - 2 * device) == set(range(2010, 2015))
    home = meta["site"] == np.where(device % 2 == 0, "east", "west")
    assert 0.7 < home.mean() < 0.9


def test_seed_and_return_X_y():
    one = make_device_shift(20, random_state=3)
    X, y = make_device_shift(20, random_state=3, return_X_y=True)
    np.testing.assert_array_equal(one.data, X)
    np.testing.assert_array_equal(one.target, y)
    assert (make_device_shift(20, random_state=4).data != X).any()


def test_shift_changes_the_devices_only():
    none, some = (make_device_shift(60, shift=s, random_state=0) for s in (0, 1))
    np.testing.assert_array_equal(none.target, some.target)
    assert none.metadata.equals(some.metadata)
    assert (none.data != some.data).any(axis=(1, 2, 3)).all()
    # Without a shift all devices are one, with its noise and nothing else.
    row = {"gain": 1, "red": 1, "green": 1, "blue": 1, "blur": 0, "vignette": 0, "noise": 0.02}
    assert none.devices.to_dict("records") == [row] * 3


def test_devices_are_spread_over_the_range():
    devices = make_device_shift(10, 5, shift=2.0, random_state=0).devices
    position = (np.log(devices["gain"]) / 2 + 0.35) / 0.6  # from 0 to 1
    assert sorted((position * 5).astype(int)) == [0, 1, 2, 3, 4]
    assert devices.index.tolist() == [f"scanner_{d}" for d in range(5)]
    assert (devices["vignette"] <= 1).all()


def test_what_a_device_does():
    rng = np.random.default_rng(0)
    X, z = rng.uniform(0.2, 0.6, size=(2, 3, 8, 8)), rng.normal(size=(2, 3, 8, 8))
    X, z = X.astype(np.float32), z.astype(np.float32)
    scan = _scan(X, z, gain=1.2, red=0.9, green=1.0, blue=1.5, blur=0.7, vignette=0.6, noise=0.1)
    for i in range(2):
        for channel, cast in enumerate([0.9, 1.0, 1.5]):
            blurred = gaussian_filter(X[i, channel], 0.7, mode="nearest")
            for row, column in [(0, 0), (3, 4), (7, 2)]:
                r2 = ((row - 3.5) / 4) ** 2 + ((column - 3.5) / 4) ** 2
                value = blurred[row, column] * 1.2 * cast * (1 - 0.6 * r2 / 2)
                value += 0.1 * z[i, channel, row, column]
                assert scan[i, channel, row, column] == pytest.approx(
                    np.clip(value, 0, 1), abs=1e-5
                )


@pytest.mark.parametrize("shift, low, high", [(0, 0.2, 0.45), (1, 0.8, 1.0)])
def test_device_can_be_told_only_with_a_shift(shift, low, high):
    scans = make_device_shift(300, shift=shift, random_state=1)
    colors = np.hstack([scans.data.mean(axis=(2, 3)), scans.data.std(axis=(2, 3))])
    model = LogisticRegression(C=1e4, max_iter=5000)
    assert low < cross_val_score(model, colors, scans.metadata["device"], cv=3).mean() <= high


def test_class_can_be_told_on_each_device():
    scans = make_device_shift(600, random_state=0)
    X, device = scans.data.reshape(600, -1), scans.metadata["device"]
    for name in set(device):
        rows = (device == name).to_numpy()
        scores = cross_val_score(KNeighborsClassifier(), X[rows], scans.target[rows], cv=3)
        assert scores.mean() > 0.6  # chance is 0.25


@pytest.mark.parametrize(
    "params",
    [{"n_samples": 0}, {"n_devices": 0}, {"shift": -1}, {"n_classes": 7}, {"image_size": 4}],
)
def test_wrong_parameter(params):
    with pytest.raises(ValueError, match=next(iter(params))):
        make_device_shift(**params)
