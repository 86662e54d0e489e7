"""The Heart Disease data of UCI: a table from four hospitals."""

import numpy as np
from sklearn.utils._param_validation import validate_params

from sklunlearn.datasets._base import (
    FETCH_CONSTRAINTS,
    as_bunch,
    cache_folder,
    damaged,
    download,
)

__all__ = ["fetch_heart_disease"]

_URL = "https://archive.ics.uci.edu/ml/machine-learning-databases/heart-disease/"
# Rows of each site's file. UCI states no checksums; a file that was cut off has fewer rows.
_N_ROWS = {"cleveland": 303, "hungarian": 294, "switzerland": 123, "va": 200}
_FEATURES = [
    "age",
    "sex",
    "cp",
    "trestbps",
    "chol",
    "fbs",
    "restecg",
    "thalach",
    "exang",
    "oldpeak",
    "slope",
    "ca",
    "thal",
]


@validate_params({**FETCH_CONSTRAINTS, "as_frame": ["boolean"]}, prefer_skip_nested_validation=True)
def fetch_heart_disease(
    *,
    data_home=None,
    download_if_missing=True,
    return_X_y=False,
    as_frame=False,
    n_retries=3,
    delay=1.0,
):
    """Fetch the Heart Disease data of UCI: 920 patients of four hospitals.

    Parameters
    ----------
    data_home, download_if_missing, return_X_y, n_retries, delay
        As for :func:`fetch_mnist`.
    as_frame : bool, default=False
        Return a DataFrame and a Series instead of arrays.

    Returns
    -------
    dataset : sklearn.utils.Bunch
        With

        data : ndarray or DataFrame of shape (920, 13), dtype float64
            Age in years; sex (1: male); kind of chest pain (1 to 4); blood pressure at rest in
            mmHg; cholesterol in mg/dl; whether fasting blood sugar exceeds 120 mg/dl;
            electrocardiogram at rest (0 to 2); highest heart rate; angina on exertion; depression
            of the ST segment and its slope (1 to 3); number of major vessels seen (0 to 3);
            thallium scan (3, 6 or 7). NaN where missing.
        target : ndarray or Series of shape (920,), dtype int64
            1 where a vessel is narrowed (``num > 0`` of the source), else 0.
        target_names : list of str
            Names of the classes, in order.
        feature_names : list of str
            The columns' names.
        metadata : pandas.DataFrame of 920 rows
            ``site``: ``"cleveland"``, ``"hungarian"``, ``"switzerland"`` or ``"va"``.
        frame : pandas.DataFrame
            Features and target; only with ``as_frame=True``.
        DESCR : str
            Description.

    Raises
    ------
    OSError
        If there is no network, or a file is damaged: it says what to do.
    ValueError
        If an argument has the wrong type.

    Notes
    -----
    A cholesterol or a blood pressure of 0 is a missing value too, and given as NaN. Three features
    are hardly ever known outside of Cleveland: what is missing tells much of the site.

    References
    ----------
    .. [1] A. Janosi, W. Steinbrunn, M. Pfisterer, R. Detrano, "Heart Disease", UCI Machine Learning
       Repository, 1988, doi:10.24432/C52P4X.

    Examples
    --------
    >>> from sklunlearn import forget_mask
    >>> from sklunlearn.datasets import fetch_heart_disease
    >>> heart = fetch_heart_disease()  # doctest: +SKIP
    >>> mask = forget_mask(metadata=heart.metadata, query="site == 'va'")  # doctest: +SKIP
    """
    import pandas as pd

    folder = cache_folder(data_home)
    frames = []
    for site, n_rows in _N_ROWS.items():
        path = download(
            f"{_URL}processed.{site}.data",
            folder / f"heart_disease_{site}.data",
            download_if_missing=download_if_missing,
            n_retries=n_retries,
            delay=delay,
        )
        frames.append(_read(path, n_rows))
    frame = pd.concat(frames, ignore_index=True)

    data, target = frame[_FEATURES], (frame["num"] > 0).astype(np.int64).rename("target")
    extra = {"frame": pd.concat([data, target], axis=1)} if as_frame else {}
    return as_bunch(
        return_X_y,
        data=data if as_frame else data.to_numpy(),
        target=target if as_frame else target.to_numpy(),
        target_names=["healthy", "diseased"],
        feature_names=_FEATURES.copy(),
        metadata=pd.DataFrame({"site": np.repeat(list(_N_ROWS), list(_N_ROWS.values()))}),
        DESCR="Heart Disease (Janosi et al., 1988): patients of four hospitals, from UCI.",
        **extra,
    )


def _read(path, n_rows):
    """One site's rows, float64, with NaN for what is missing."""
    import pandas as pd

    try:
        frame = pd.read_csv(path, header=None, na_values="?", skipinitialspace=True)
        if frame.shape != (n_rows, len(_FEATURES) + 1):
            raise ValueError(
                f"{frame.shape[0]} rows of {frame.shape[1]} columns instead of {n_rows} of "
                f"{len(_FEATURES) + 1}"
            )
        frame.columns = [*_FEATURES, "num"]
        frame = frame.astype(np.float64)
        if frame["num"].isna().any():
            raise ValueError("a row has no diagnosis")
    except (ValueError, OSError) as error:
        raise damaged(path, error) from error
    # Nobody alive has either: a 0 was written where the value was not known.
    for name in ("trestbps", "chol"):
        frame[name] = frame[name].where(frame[name] != 0)
    return frame
