"""Requests for a device, a hospital, a patient and five rows; see choosing_method.md.

    python docs/figures/choosing_method.py

Prints the figures that the page quotes; a minute or two of one core.
"""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import GroupShuffleSplit, train_test_split

from sklunlearn import BoundaryUnlearner, all_unlearners, compare_unlearners
from sklunlearn.datasets import make_device_shift, make_patients

COLUMNS = ["forget_accuracy", "gap_forget_accuracy", "gap_test_accuracy", "js_forget", "speed_up"]


def requests():
    """By name: X, X_test, y, y_test, and the mask of rows to forget."""
    scans = make_device_shift(1200, random_state=0)
    device = scans.metadata["device"].to_numpy()
    train, test = train_test_split(
        np.arange(len(device)), test_size=0.3, random_state=0, stratify=device
    )
    yield "device", *parts(scans, train, test), device[train] == "scanner_0"

    visits = make_patients(random_state=0)
    patient = visits.metadata["patient_id"].to_numpy()
    site = visits.metadata["site"].to_numpy()
    splitter = GroupShuffleSplit(1, test_size=0.3, random_state=0)
    train, test = next(splitter.split(visits.data, groups=patient))
    yield "hospital", *parts(visits, train, test), site[train] == "site_0"
    yield "patient", *parts(visits, train, test), patient[train] == patient[train].min()

    X, y = load_digits(return_X_y=True)
    X, X_test, y, y_test = train_test_split(X, y, test_size=0.3, stratify=y, random_state=0)
    rows = np.random.default_rng(0).choice(len(X), 5, replace=False)
    yield "five rows", X, X_test, y, y_test, rows


def parts(data, train, test):
    return data.data[train], data.data[test], data.target[train], data.target[test]


def main():
    methods = {name: method() for name, method in all_unlearners("rows") if "Retrain" not in name}
    methods["BoundaryUnlearner, gentle"] = BoundaryUnlearner(max_epochs=1, lr=2e-4)
    for name, X, X_test, y, y_test, forget in requests():
        frame = compare_unlearners(methods, X, y, forget=forget, X_test=X_test, y_test=y_test)
        print(f"\n{name}")
        print(frame.groupby("method", sort=False)[COLUMNS].mean().round(3).to_string())


if __name__ == "__main__":
    main()
