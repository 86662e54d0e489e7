"""The page on compositions: its code runs and does what it says."""

import numpy as np
import pandas as pd
from pages import run_page
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from sklunlearn import RetrainUnlearner


def test_the_code_of_the_page_runs():
    X, X_test, y, y_test = train_test_split(*load_digits(return_X_y=True), random_state=0)
    net = RetrainUnlearner(random_state=0).fit(X, y).fitted_
    names = {"X": X, "y": y, "X_test": X_test, "y_test": y_test, "net": net, "pd": pd}
    run_page("composition.md", names)
    composed, again, both = names["composed"], names["again"], names["both"]
    assert composed.score(X_test[y_test == 3], y_test[y_test == 3]) == 0
    assert composed.score(X_test[y_test != 3], y_test[y_test != 3]) > 0.95
    assert again.estimators_ == list(composed.named_estimators_.values())
    gone = np.isin(y_test, [3, 5])
    assert both.score(X_test[gone], y_test[gone]) < 0.05
    assert both.score(X_test[~gone], y_test[~gone]) > 0.95
