import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from sklearn.cluster import DBSCAN, AgglomerativeClustering, KMeans
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture

from sklunlearn.domains import discover_domains


def scans(n_samples=300, seed=0):
    """Soft spots of any size and place, as three scanners of unequal use see them."""
    rng = np.random.default_rng(seed)
    device = rng.choice(3, size=n_samples, p=[0.5, 0.3, 0.2])
    axis = np.linspace(-1, 1, 16)
    row, column = axis[:, None], axis[None, :]
    X = np.empty((n_samples, 3, 16, 16), dtype=np.float32)
    for image in X:
        place, size = rng.uniform(-0.3, 0.3, size=2), rng.uniform(0.3, 0.6, size=2)
        spot = np.exp(-(((row - place[0]) / size[0]) ** 2) - ((column - place[1]) / size[1]) ** 2)
        image[:] = rng.uniform(0.7, 0.9) - rng.uniform(0.3, 0.5) * spot
        image += rng.normal(scale=0.02, size=(3, 1, 1)) + rng.normal(scale=0.05, size=(16, 16))
    gain, blur, noise = [1.0, 0.9, 1.1], [0.0, 0.8, 0.4], [0.02, 0.05, 0.03]
    cast = np.array([[1, 1, 1], [1, 0.95, 0.85], [0.9, 1, 1.1]])[:, :, None, None]
    vignette = 1 - np.array([0.0, 0.2, 0.1])[:, None, None] * (row**2 + column**2)
    for d in range(3):
        seen = gaussian_filter(X[device == d], (0, 0, blur[d], blur[d]))
        seen = gain[d] * cast[d] * vignette[d] * seen
        X[device == d] = seen + rng.normal(scale=noise[d], size=seen.shape)
    return X, device


X, DEVICE = scans()


@pytest.mark.parametrize("seed", range(3))
def test_the_scanners_are_found(seed):
    data, device = scans(seed=seed)
    domains = discover_domains(data, random_state=0)
    assert adjusted_rand_score(device, domains) > 0.9
    domains = discover_domains(data, n_domains=3, random_state=0)
    assert adjusted_rand_score(device, domains) > 0.95


@pytest.mark.parametrize("with_y", [False, True])
def test_scanners_of_the_generated_data(with_y):
    datasets = pytest.importorskip("sklunlearn.datasets")
    made = datasets.make_device_shift(random_state=0)
    y = made.target if with_y else None
    domains = discover_domains(made.data, y, random_state=0)
    assert adjusted_rand_score(made.metadata["device"], domains) > 0.9


def test_domains_are_numbered_by_size():
    domains = discover_domains(X, n_domains=3, random_state=0)
    assert domains.dtype == np.int64
    sizes = np.bincount(domains)
    assert len(sizes) == 3 and (np.diff(sizes) <= 0).all()
    np.testing.assert_array_equal(np.sort(sizes), np.sort(np.bincount(DEVICE)))


def test_details():
    found = discover_domains(X, max_domains=4, return_details=True, random_state=0)
    assert isinstance(found.model[-1].random_state, int)  # drawn from the random state given
    assert found.criterion == "bic" and sorted(found.scores) == [1, 2, 3, 4]
    assert found.n_domains == min(found.scores, key=found.scores.get) == found.labels.max() + 1
    assert found.features.shape == (300, len(found.feature_names))
    # The model makes the same clusters of the features, numbered in its own way.
    again = found.model.predict(found.features)
    assert adjusted_rand_score(again, found.labels) == 1
    np.testing.assert_array_equal(discover_domains(X, max_domains=4, random_state=0), found.labels)


def test_features_are_whitened():
    found = discover_domains(X, n_domains=3, return_details=True, explained_variance=0.8)
    white = found.model[:-1].transform(found.features)
    np.testing.assert_allclose(np.cov(white.T), np.eye(white.shape[1]), atol=1e-8)
    standardised = found.model[0].transform(found.features)
    values = np.linalg.eigvalsh(np.cov(np.clip(standardised, -5, 5).T))[::-1]
    shares = np.cumsum(values) / values.sum()
    assert white.shape[1] == 1 + np.searchsorted(shares, 0.8)


def test_classes_that_look_different_are_told_apart_only_without_y():
    rng = np.random.default_rng(0)
    y = rng.integers(2, size=200)
    y[:2] = [0, 1]
    table = rng.normal(size=(200, 5)) + 9 * y[:, None]
    assert adjusted_rand_score(y, discover_domains(table, n_domains=2, random_state=0)) == 1
    names = np.array(["a", "b"])[y]
    domains = discover_domains(table, names, n_domains=2, random_state=0)
    assert adjusted_rand_score(y, domains) < 0.1
    # The means of the classes are gone, and nothing else.
    found = discover_domains(table, names, n_domains=2, return_details=True)
    expected = found.features - np.array([found.features[y == c].mean(axis=0) for c in (0, 1)])[y]
    np.testing.assert_allclose(found.model[0].var_, expected.var(axis=0))


def test_missing_values_tell_sites_apart():
    rng = np.random.default_rng(0)
    table, site = rng.normal(size=(150, 4)), np.repeat([0, 1, 2], 50)
    table[site == 1, 0] = np.nan
    table[site == 2, 3] = np.nan
    domains = discover_domains(table, n_domains=3, random_state=0)
    assert adjusted_rand_score(site, domains) == 1


def test_embeddings_of_a_function():
    def contrasts(batch):
        return np.log(batch.std(axis=(2, 3)) / batch[:, :1].std(axis=(2, 3)))

    domains = discover_domains(
        X, method="embedding", estimator=contrasts, n_domains=3, random_state=0
    )
    assert adjusted_rand_score(DEVICE, domains) > 0.5


@pytest.mark.parametrize(
    "clusterer", [KMeans(n_init=3), GaussianMixture(covariance_type="tied", n_init=3),
                  AgglomerativeClustering()]
)  # fmt: skip
def test_any_clusterer(clusterer):
    before = clusterer.get_params()
    domains = discover_domains(X, clusterer=clusterer, n_domains=3, random_state=0)
    assert adjusted_rand_score(DEVICE, domains) > 0.7
    assert clusterer.get_params() == before and not hasattr(clusterer, "n_features_in_")
    if "random_state" in before:
        again = discover_domains(X, clusterer=clusterer, n_domains=3, random_state=0)
        np.testing.assert_array_equal(again, domains)


def test_without_bic_the_silhouette_chooses():
    rng = np.random.default_rng(0)
    table = rng.normal(size=(90, 2)) + np.repeat([[0, 0], [40, 0], [0, 40]], 30, axis=0)
    clusterer = KMeans(n_init=3)
    found = discover_domains(
        table, clusterer=clusterer, max_domains=5, return_details=True, random_state=0
    )
    assert found.criterion == "silhouette" and sorted(found.scores) == [2, 3, 4, 5]
    assert found.n_domains == 3


def test_a_clusterer_that_chooses_itself():
    rng = np.random.default_rng(0)
    table = rng.normal(scale=0.01, size=(61, 2)) + np.repeat([[0, 0], [1, 1]], [20, 41], axis=0)
    table[0] = 9
    found = discover_domains(table, clusterer=DBSCAN(eps=0.3), return_details=True)
    assert found.criterion is None and found.scores == {}
    assert found.labels.tolist() == [-1] + 19 * [1] + 41 * [0]  # noise is no domain


def test_one_domain():
    table = np.random.default_rng(0).normal(size=(200, 2))
    assert (discover_domains(table, random_state=0) == 0).all()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"n_domains": 1}, ValueError, "'n_domains' parameter"),
        ({"n_domains": 2.0}, ValueError, "'n_domains' parameter"),
        ({"n_domains": 301}, ValueError, "n_domains=301, but X has 300 rows"),
        ({"method": "colour"}, ValueError, "'method' parameter"),
        ({"method": "embedding"}, ValueError, "needs a fitted unlearner"),
        ({"estimator": len}, ValueError, "`estimator` is for method='embedding'"),
        ({"method": "embedding", "estimator": 3}, TypeError, "got int"),
        (
            {"method": "embedding", "estimator": lambda batch: np.full((len(batch), 1), np.nan)},
            ValueError,
            "infinite or missing",
        ),
        ({"clusterer": 3}, ValueError, "'clusterer' parameter"),
        ({"clusterer": KMeans}, TypeError, r"is the class KMeans: pass an instance, KMeans\(\)"),
        ({"clusterer": DBSCAN(), "n_domains": 2}, ValueError, "chooses the number of domains"),
        ({"max_domains": 1}, ValueError, "'max_domains' parameter"),
        ({"explained_variance": 1.0}, ValueError, "'explained_variance' parameter"),
        ({"batch_size": 0}, ValueError, "'batch_size' parameter"),
        ({"y": DEVICE[:7]}, ValueError, r"shape \(300,\), one label a row of X, got \(7,\)"),
        ({"X": np.ones((9, 2))}, ValueError, "same description"),
        ({"X": np.ones((1, 2))}, ValueError, "same description"),
        ({"X": [[0.0], [1.0]], "clusterer": KMeans()}, ValueError, "too few to choose"),
        ({"X": DEVICE}, ValueError, "X must hold numbers"),
    ],
)
def test_errors_of_discover_domains(arguments, error, message):
    with pytest.raises(error, match=message):
        discover_domains(**{"X": X, **arguments})
