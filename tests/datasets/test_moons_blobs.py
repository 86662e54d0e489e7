import numpy as np
import pytest

from sklunlearn.datasets import make_moons_blobs


def test_content():
    points = make_moons_blobs(602, n_blobs=3, n_domains=2, random_state=0)
    assert points.data.shape == (602, 2)
    assert points.data.dtype == np.float32
    assert sorted(np.bincount(points.target)) == [120, 120, 120, 121, 121]
    assert points.target_names == ["upper moon", "lower moon", "blob 0", "blob 1", "blob 2"]
    counts = points.metadata.groupby([points.target, "domain"]).size()
    assert len(counts) == 10
    assert counts.min() >= 60


def test_classes_lie_where_they_should():
    X, y = make_moons_blobs(400, n_blobs=2, noise=0.0, random_state=0, return_X_y=True)
    upper, lower = X[y == 0] + [0.5, 0.25], X[y == 1] + [0.5, 0.25]
    # scikit-learn's moons: half circles about (0, 0) and (1, 0.5).
    np.testing.assert_allclose(np.hypot(*upper.T), 1, atol=1e-6)
    np.testing.assert_allclose(np.hypot(*(lower - [1, 0.5]).T), 1, atol=1e-6)
    assert (upper[:, 1] >= -1e-6).all()
    assert (lower[:, 1] <= 0.5 + 1e-6).all()
    np.testing.assert_allclose(X[y == 2], [[0, 2.5]] * 100, atol=1e-6)
    np.testing.assert_allclose(X[y == 3], [[0, -2.5]] * 100, atol=1e-6)


def test_noise_of_blobs():
    X, y = make_moons_blobs(8000, noise=0.2, random_state=0, return_X_y=True)
    np.testing.assert_allclose(X[y == 2].std(axis=0), 0.6, rtol=0.05)


def test_domains_are_turned():
    X = make_moons_blobs(90, noise=0.0, n_domains=3, shift=1.0, random_state=0)
    plain = make_moons_blobs(90, noise=0.0, n_domains=3, shift=0.0, random_state=0)
    complex_X, complex_plain = (d.data[:, 0] + 1j * d.data[:, 1] for d in (X, plain))
    turn = np.angle(complex_X / complex_plain)
    np.testing.assert_allclose(turn, X.metadata["domain"] * 0.5 - 0.5, atol=1e-5)


def test_one_domain_and_no_blobs():
    X = make_moons_blobs(50, n_blobs=0, shift=3.0, random_state=0)
    np.testing.assert_array_equal(X.data, make_moons_blobs(50, n_blobs=0, random_state=0).data)
    assert set(X.target) == {0, 1}
    assert set(X.metadata["domain"]) == {0}


@pytest.mark.parametrize(
    "params", [{"n_samples": 0}, {"n_blobs": -1}, {"noise": -0.1}, {"n_domains": 0}, {"shift": "a"}]
)
def test_wrong_parameter(params):
    with pytest.raises(ValueError, match=next(iter(params))):
        make_moons_blobs(**params)
