import matplotlib.pyplot as plt
import numpy as np
import pytest

from sklunlearn.inspection import LossHistogramDisplay
from sklunlearn.inspection._models import losses_of, original_of

LOSSES = {"original": ([0.001, 0.02, 0.02, 5.0], [0.5, 0.5]), "unlearned": ([1.0], [10.0, 0.0])}


def test_numbers_drawn():
    display = LossHistogramDisplay.from_losses(LOSSES, n_bins=4, lowest=0.001)
    assert np.allclose(display.bins, [0.001, 0.01, 0.1, 1, 10])
    expected = [[0.25, 0.5, 0, 0.25], [0, 0, 1, 0], [0, 0, 0, 1], [0.5, 0, 0, 0.5]]
    for stairs, values in zip(display.stairs_, expected, strict=True):
        assert np.allclose(stairs.get_data().values, values)
        assert np.array_equal(stairs.get_data().edges, display.bins)
    frame = display.frame()
    assert np.allclose(frame["fraction"], np.ravel(expected))
    assert frame["model"].unique().tolist() == ["original", "unlearned"]
    assert frame["group"].tolist() == (["members"] * 4 + ["non-members"] * 4) * 2
    assert np.allclose(frame["left"], np.tile(display.bins[:-1], 4))
    assert np.allclose(frame["right"], np.tile(display.bins[1:], 4))
    assert display.ax_[0].get_xscale() == "log"
    assert display.ax_[-1].get_xlabel() == "loss (nats; first bin: all up to 1e-02)"


def test_bins_by_the_data():
    display = LossHistogramDisplay.from_losses({"a": ([0.01], [1.0])}, n_bins=2)
    assert np.allclose(display.bins, [0.01, 0.1, 1])
    assert display.ax_[0].get_xlabel() == "loss (nats)"
    zeros = LossHistogramDisplay.from_losses({"a": ([0.0], [0.0])})
    assert zeros.frame()["fraction"].sum() == 2


def test_models(unlearner, retrained, flowers):
    X, y, forget = flowers
    rows = X[forget], y[forget], X[~forget], y[~forget]
    _, axes = plt.subplots(3)
    display = LossHistogramDisplay.from_estimator(
        unlearner, *rows, retrained=retrained, ax=axes, linestyle="--"
    )
    assert display.ax_.tolist() == axes.tolist()
    models = {"original": original_of(unlearner), "unlearned": unlearner, "retrained": retrained}
    assert list(display.losses) == list(models)
    for name, model in models.items():
        members, others = display.losses[name]
        assert np.array_equal(members, losses_of(model, *rows[:2]))
        assert np.array_equal(others, losses_of(model, *rows[2:]))
    assert np.allclose(display.losses["unlearned"][0], unlearner.forget_loss_)
    assert display.losses["original"][0].max() < display.losses["unlearned"][0].min()


def test_released(unlearner, flowers):
    X, y, _ = flowers
    display = LossHistogramDisplay.from_estimator(unlearner.release(), X, y, X, y)
    assert list(display.losses) == ["unlearned"]


def test_errors(unlearner, flowers):
    X, y, _ = flowers
    with pytest.raises(ValueError, match=r"members under 'a' must be finite.*got 0"):
        LossHistogramDisplay.from_losses({"a": ([], [1.0])})
    with pytest.raises(ValueError, match=r"non-members under 'a'.*2 with 1 that are not finite"):
        LossHistogramDisplay.from_losses({"a": ([1.0], [1.0, np.nan])})
    with pytest.raises(ValueError, match="`lowest` must be above 0"):
        LossHistogramDisplay.from_losses(LOSSES, lowest=0)
    with pytest.raises(ValueError, match="not classes of the network"):
        LossHistogramDisplay.from_estimator(unlearner, X, np.repeat("tulip", len(X)), X, y)
