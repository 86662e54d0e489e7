import matplotlib.pyplot as plt
import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

from sklunlearn import BoundaryUnlearner, SSDUnlearner
from sklunlearn.inspection import ForgettingCurveDisplay

HISTORY = [
    {"epoch": 1, "train_loss": 3.0, "batches": [{}], "my_score": 5},
    {"epoch": 2, "train_loss": 2.0, "batches": [{}], "forget_accuracy": 0.5},
]


def test_numbers_drawn():
    display = ForgettingCurveDisplay.from_history(HISTORY)
    frame = display.frame()
    assert list(frame) == ["epoch", "train_loss", "forget_accuracy"]
    assert frame["train_loss"].tolist() == [3, 2]
    assert np.array_equal(frame["forget_accuracy"], [np.nan, 0.5], equal_nan=True)
    for line, name in zip(display.lines_, list(frame)[1:], strict=True):
        assert line.get_xdata().tolist() == [1, 2]
        assert np.array_equal(line.get_ydata(), frame[name], equal_nan=True)
    labels = [ax.get_ylabel() for ax in display.ax_]
    assert labels == ["train loss", "accuracy on\nforget rows"]
    assert display.ax_[-1].get_xlabel() == "epoch"


def test_keys_of_ones_own():
    _, ax = plt.subplots()
    display = ForgettingCurveDisplay.from_history(HISTORY, keys=["my_score"], ax=ax, linewidth=4)
    assert display.ax_.tolist() == [ax]
    assert display.lines_[0].get_linewidth() == 4
    assert ax.get_ylabel() == "my score"


def test_unlearner(unlearner):
    display = ForgettingCurveDisplay.from_estimator(unlearner)
    frame = display.frame()
    assert frame["train_loss"].tolist() == unlearner.history_[:, "train_loss"]
    assert frame["forget_accuracy"].tolist() == unlearner.history_[:, "forget_accuracy"]
    assert frame["forget_accuracy"].iloc[-1] == 0


def test_errors(unlearner, flowers):
    X, y, forget = flowers
    draw = ForgettingCurveDisplay.from_estimator
    with pytest.raises(NotFittedError):
        draw(BoundaryUnlearner())
    with pytest.raises(ValueError, match="has not unlearned yet"):
        draw(BoundaryUnlearner(random_state=0).fit(X, y))
    with pytest.raises(ValueError, match="was released"):
        draw(unlearner.release())
    with pytest.raises(ValueError, match="no epoch to draw"):
        draw(SSDUnlearner(random_state=0, max_retain_drop=1.0).fit(X, y, forget=forget))
    with pytest.raises(ValueError, match=r"does not record \['gone'\].*'train_loss'"):
        draw(unlearner, keys=["gone", "train_loss"])
    with pytest.raises(ValueError, match=r"does not record a train loss.*\['my_score'\]"):
        ForgettingCurveDisplay.from_history([{"my_score": 1.0}])
