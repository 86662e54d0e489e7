"""A table of visits: several rows a patient, patients of several sites."""

from numbers import Integral, Real

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, validate_params

from sklunlearn.datasets._base import as_bunch

__all__ = ["make_patients"]

_FIRST_YEAR = 2015


@validate_params(
    {
        "n_patients": [Interval(Integral, 1, None, closed="left")],
        "mean_visits": [Interval(Real, 1, None, closed="left")],
        "n_sites": [Interval(Integral, 1, None, closed="left")],
        "n_features": [Interval(Integral, 1, None, closed="left")],
        "n_classes": [Interval(Integral, 2, None, closed="left")],
        "site_effect": [Interval(Real, 0, None, closed="left")],
        "visit_noise": [Interval(Real, 0, None, closed="left")],
        "label_noise": [Interval(Real, 0, None, closed="left")],
        "random_state": ["random_state"],
        "return_X_y": ["boolean"],
    },
    prefer_skip_nested_validation=True,
)
def make_patients(
    n_patients=200,
    *,
    mean_visits=4.0,
    n_sites=3,
    n_features=10,
    n_classes=2,
    site_effect=1.0,
    visit_noise=0.5,
    label_noise=0.2,
    random_state=None,
    return_X_y=False,
):
    r"""Make a table with several rows a patient, from several sites.

    Patient p has a state :math:`u_p` and belongs to a site :math:`s_p`; each visit i measures

    .. math::
        x_i = u_p + b_{s_p} + \text{visit\_noise} \cdot \varepsilon_i, \qquad
        u_p, \varepsilon_i \sim N(0, I), \quad b_s \sim \text{site\_effect} \cdot N(0, I).

    The diagnosis belongs to the patient, all of whose rows share it. It does not depend on the
    site: with a direction w of length 1, the patients are put in order of
    :math:`w \cdot u_p + \text{label\_noise} \cdot \eta_p`, :math:`\eta_p \sim N(0, 1)`, and divided
    into `n_classes` groups of equal size.

    Parameters
    ----------
    n_patients : int, default=200
        Number of patients.
    mean_visits : float, default=4.0
        Rows a patient: 1 and a Poisson number of mean ``mean_visits - 1``.
    n_sites : int, default=3
        Number of sites, of nearly the same number of patients.
    n_features : int, default=10
        Number of measurements.
    n_classes : int, default=2
        Number of diagnoses, from healthy to ill.
    site_effect : float, default=1.0
        Standard deviation of the sites' offsets, in units of that of the patients. 0: none.
    visit_noise : float, default=0.5
        Standard deviation between visits of a patient, in the same units.
    label_noise : float, default=0.2
        Standard deviation of what the measurements do not say of the diagnosis.
    random_state : int, RandomState instance or None, default=None
        Draws everything.
    return_X_y : bool, default=False
        Return ``(data, target)`` instead of a Bunch.

    Returns
    -------
    dataset : sklearn.utils.Bunch
        With

        data : ndarray of shape (n_rows, n_features), dtype float32
            The measurements, visit by visit, patient by patient.
        target : ndarray of shape (n_rows,), dtype int64
            The diagnosis.
        target_names : list of str
            Names of the diagnoses.
        feature_names : list of str
            Names of the measurements.
        metadata : pandas.DataFrame of n_rows rows
            ``patient_id``, such as ``"p0012"``; ``site``, such as ``"site_0"``; ``year``, one
            visit a year.
        DESCR : str
            Description.

    Raises
    ------
    ValueError
        If a parameter has the wrong type or lies outside its bounds, or there are fewer patients
        than classes or sites.

    Examples
    --------
    >>> from sklunlearn import forget_mask
    >>> from sklunlearn.datasets import make_patients
    >>> visits = make_patients(50, random_state=0)
    >>> mask = forget_mask(metadata=visits.metadata, query="patient_id == 'p0007'")
    >>> visits.metadata[mask]
       patient_id    site  year
    ...
    """
    import pandas as pd

    if n_patients < max(n_classes, n_sites):
        raise ValueError(
            f"{n_patients} patients cannot be divided among {n_classes} classes and {n_sites} "
            "sites: raise `n_patients`."
        )
    rng = check_random_state(random_state)
    direction = rng.normal(size=n_features)
    direction /= np.linalg.norm(direction)
    state = rng.normal(size=(n_patients, n_features))
    score = state @ direction + label_noise * rng.normal(size=n_patients)
    diagnosis = score.argsort().argsort() * n_classes // n_patients
    site = rng.permutation(np.arange(n_patients) % n_sites)
    offset = site_effect * rng.normal(size=(n_sites, n_features))
    n_visits = 1 + rng.poisson(mean_visits - 1, size=n_patients)
    first_year = _FIRST_YEAR + rng.randint(5, size=n_patients)

    patient = np.repeat(np.arange(n_patients), n_visits)
    visit = np.arange(len(patient)) - np.repeat(n_visits.cumsum() - n_visits, n_visits)
    X = (state + offset[site])[patient]
    X += visit_noise * rng.normal(size=X.shape)
    return as_bunch(
        return_X_y,
        data=X.astype(np.float32),
        target=diagnosis[patient].astype(np.int64),
        target_names=[f"stage {k}" for k in range(n_classes)],
        feature_names=[f"measurement_{j}" for j in range(n_features)],
        metadata=pd.DataFrame(
            {
                "patient_id": [f"p{p:04d}" for p in patient],
                "site": [f"site_{s}" for s in site[patient]],
                "year": first_year[patient] + visit,
            }
        ),
        DESCR=f"{len(patient)} visits of {n_patients} simulated patients of {n_sites} sites.",
    )
