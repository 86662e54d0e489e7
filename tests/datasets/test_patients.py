import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from sklunlearn.datasets import make_patients


def test_content():
    visits = make_patients(60, n_sites=4, n_features=5, n_classes=3, random_state=0)
    n = len(visits.data)
    assert visits.data.shape == (n, 5)
    assert visits.data.dtype == np.float32
    assert visits.target.shape == (n,)
    assert visits.target_names == ["stage 0", "stage 1", "stage 2"]
    assert len(visits.feature_names) == 5
    meta = visits.metadata.assign(target=visits.target)
    assert len(meta) == n
    patients = meta.groupby("patient_id")
    assert len(patients) == 60
    # Diagnosis and site are the patient's; visits are a year apart.
    assert (patients["target"].nunique() == 1).all()
    assert (patients["site"].nunique() == 1).all()
    assert (patients["year"].diff().dropna() == 1).all()
    assert set(patients["year"].min()) == {2015, 2016, 2017, 2018, 2019}
    first = patients.first()
    assert sorted(first["target"].value_counts()) == [20, 20, 20]
    assert sorted(first["site"].value_counts()) == [15, 15, 15, 15]


def test_visits():
    n_visits = make_patients(4000, n_features=1, random_state=0).metadata["patient_id"]
    counts = n_visits.value_counts()
    assert counts.min() == 1
    assert counts.mean() == pytest.approx(4, abs=0.1)
    assert counts.var() == pytest.approx(3, abs=0.3)  # of a Poisson number, as its mean
    once = make_patients(30, mean_visits=1, random_state=0)
    assert len(once.data) == 30


def test_spread_within_and_between_patients_and_sites():
    visits = make_patients(3000, n_sites=300, site_effect=2.0, visit_noise=0.5, random_state=0)
    X, meta = visits.data.astype(float), visits.metadata
    means = np.stack([X[rows].mean(axis=0) for rows in meta.groupby("patient_id").indices.values()])
    size = meta["patient_id"].value_counts()[meta["patient_id"]].to_numpy()
    within = X - means[meta["patient_id"].str[1:].astype(int)]
    variance = (within**2).sum() / (X.shape[1] * (1 - 1 / size).sum())
    assert variance == pytest.approx(0.25, rel=0.05)
    by_site = np.stack([X[rows].mean(axis=0) for rows in meta.groupby("site").indices.values()])
    assert by_site.std() == pytest.approx(2, rel=0.1)


def test_no_site_effect():
    visits = make_patients(3000, n_sites=3, site_effect=0, random_state=0)
    by_site = [
        visits.data[rows].mean(axis=0) for rows in visits.metadata.groupby("site").indices.values()
    ]
    assert np.abs(by_site).max() < 0.15


@pytest.mark.parametrize("label_noise, low, high", [(0.0, 0.99, 1.0), (100.0, 0.4, 0.65)])
def test_label_is_a_direction_and_noise(label_noise, low, high):
    visits = make_patients(
        400, site_effect=0, visit_noise=0, label_noise=label_noise, random_state=0
    )
    model = LogisticRegression(C=1e6, max_iter=5000).fit(visits.data, visits.target)
    assert low <= model.score(visits.data, visits.target) <= high


def test_seed():
    one, same = make_patients(20, random_state=1), make_patients(20, random_state=1)
    np.testing.assert_array_equal(one.data, same.data)
    X, y = make_patients(20, random_state=1, return_X_y=True)
    np.testing.assert_array_equal(one.target, y)
    np.testing.assert_array_equal(one.data, X)


@pytest.mark.parametrize(
    "params",
    [
        {"n_patients": 0},
        {"mean_visits": 0.5},
        {"n_classes": 1},
        {"site_effect": -1},
        {"visit_noise": -1},
        {"label_noise": -1},
    ],
)
def test_wrong_parameter(params):
    with pytest.raises(ValueError, match=next(iter(params))):
        make_patients(**params)


def test_too_few_patients():
    with pytest.raises(ValueError, match="2 patients cannot be divided among 2 classes and 3"):
        make_patients(2)
