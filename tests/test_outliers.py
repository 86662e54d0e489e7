import numpy as np
import pandas as pd
import pytest
from scipy.stats import median_abs_deviation
from sklearn.base import BaseEstimator
from sklearn.covariance import EllipticEnvelope
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import LocalOutlierFactor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import OneClassSVM

from sklunlearn._outliers import robust_z_scores
from sklunlearn.requests import forget_mask

RNG = np.random.default_rng(0)
X = np.concatenate([RNG.normal(size=(57, 2)), [[9, 9], [-9, 9], [9, -9]]])


def test_robust_z_scores():
    values = RNG.normal(3, 7, size=101)
    expected = np.abs(values - np.median(values)) / median_abs_deviation(values, scale="normal")
    np.testing.assert_allclose(robust_z_scores(pd.Series(values)), expected, rtol=1e-4)
    with_missing = pd.Series([*values[:50], None, *values[50:]])
    np.testing.assert_allclose(
        robust_z_scores(with_missing), np.insert(expected, 50, np.nan), rtol=1e-4
    )


def test_where_most_values_are_equal_the_mean_distance_counts():
    scores = robust_z_scores(pd.Series([5, 5, 5, 5, 9, 3]))
    np.testing.assert_allclose(scores, np.array([0, 0, 0, 0, 4, 2]) / (1.2533 * 1.0))


@pytest.mark.parametrize(
    "column",
    [
        [1.0, 2.0, np.nan, 3.0, -50.0, 2.0],
        pd.array([1, 2, None, 3, -50, 2], dtype="Int64"),
        pd.to_datetime(
            ["2020-01-01", "2020-01-02", None, "2020-01-03", "1990-01-01", "2020-01-02"]
        ),
        pd.to_timedelta([1, 2, None, 3, -50, 2], unit="h"),
    ],
    ids=["float", "Int64", "datetime", "timedelta"],
)
def test_the_most_extreme_rows_of_a_column(column):
    frame = pd.DataFrame({"a": column})
    mask = forget_mask(metadata=frame, outliers=0.1, by="a")
    assert np.flatnonzero(mask).tolist() == [4]
    # Equally far rows: the first; the row without a value comes never.
    mask = forget_mask(metadata=frame, outliers=0.3, by="a")
    assert np.flatnonzero(mask).tolist() == [0, 4]
    assert not forget_mask(metadata=frame, outliers=1.0, by="a")[2]


@pytest.mark.parametrize(
    "detector",
    [
        IsolationForest(random_state=0, contamination=0.4),
        LocalOutlierFactor(10),
        LocalOutlierFactor(10, novelty=True),
        make_pipeline(StandardScaler(), LocalOutlierFactor(10)),
        OneClassSVM(nu=0.5),
        EllipticEnvelope(random_state=0),
    ],
    ids=["forest", "lof", "novelty", "pipeline", "svm", "envelope"],
)
@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
def test_detectors(detector):
    mask = forget_mask(X=X.reshape(60, 2, 1), outliers=0.05, by=detector)
    assert np.flatnonzero(mask).tolist() == [57, 58, 59]
    last = detector[-1] if isinstance(detector, Pipeline) else detector
    assert not hasattr(last, "offset_")  # it was cloned


def test_outliers_are_among_all_rows_and_then_intersected():
    frame = pd.DataFrame({"age": [1, 2, 3, 90, 4, 80], "sex": list("fmfmfm")})
    mask = forget_mask(metadata=frame, outliers=2 / 6, by="age", query="age < 85")
    assert np.flatnonzero(mask).tolist() == [5]


class NoScores(BaseEstimator):
    def fit(self, X, y=None):
        return self


FRAME = pd.DataFrame({"age": [1.0, 2, 3], "name": list("abc"), "same": 1, "none": np.nan})
FRAME["inf"] = [1, np.inf, 2]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"outliers": 0.1}, ValueError, "`by`, a column or a detector, go together"),
        ({"by": "age"}, ValueError, "go together: got outliers=None"),
        ({"outliers": 0, "by": "age"}, ValueError, r"`outliers` must be in \(0, 1\]"),
        ({"outliers": "2%", "by": "age"}, TypeError, "`outliers` must be a number"),
        ({"outliers": True, "by": "age"}, TypeError, "`outliers` must be a number"),
        ({"outliers": 0.1, "by": "agee"}, ValueError, "Did you mean 'age'"),
        ({"outliers": 0.1, "by": "name"}, TypeError, "need numbers or dates"),
        ({"outliers": 0.1, "by": "same"}, ValueError, "finite and not all equal"),
        ({"outliers": 0.1, "by": "none"}, ValueError, "finite and not all equal"),
        ({"outliers": 0.1, "by": "inf"}, ValueError, "finite and not all equal"),
        ({"outliers": 0.1, "by": IsolationForest()}, ValueError, "pass `X`"),
        ({"outliers": 0.1, "by": NoScores(), "X": X[:3]}, TypeError, "neither `score_samples`"),
        ({"outliers": 0.1, "by": NoScores(), "X": ["a", "b", "c"]}, ValueError, "hold numbers"),
        ({"outliers": 1.0, "by": "age"}, ValueError, "All 3 rows are selected by outliers=1.0"),
    ],
)
def test_errors_of_outliers(arguments, error, message):
    with pytest.raises(error, match=message):
        forget_mask(metadata=FRAME, **arguments)


def test_a_column_needs_metadata():
    with pytest.raises(ValueError, match="by needs the column 'age': pass `metadata`"):
        forget_mask([0, 1], outliers=0.1, by="age")
