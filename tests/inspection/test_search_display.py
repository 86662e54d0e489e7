import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from sklunlearn import BoundaryUnlearner, FineTuneUnlearner
from sklunlearn.inspection import SearchDisplay
from sklunlearn.search import perturbed_sign_search


def test_numbers_drawn():
    """One feature, logits (x, 0): rows of class 0 walk down to 0."""
    X = torch.tensor([[0.25], [0.35]])
    search = perturbed_sign_search(
        lambda x: torch.cat([x, 0 * x], dim=1),
        X,
        torch.tensor([0, 0]),
        step_size=0.2,
        step_decay=None,
    )
    display = SearchDisplay.from_search(search)
    x = np.array([[0.25, 0.35], [0.05, 0.15], [-0.15, -0.05]])
    norm = 1 / (1 + np.exp(x))  # the gradient is that of log(1 + exp(-x))
    expected = [[0, 0, 1], np.log1p(np.exp(-x)).mean(axis=1), norm[:2].mean(axis=1)]
    frame = display.frame()
    assert frame["step"].tolist() == [0, 1, 2]
    names = ["fraction_crossed", "loss", "gradient_norm"]
    for line, name, values in zip(display.lines_, names, expected, strict=True):
        assert np.allclose(line.get_ydata(), values, atol=1e-6)
        assert np.array_equal(line.get_xdata(), np.arange(len(values)))
        assert np.array_equal(frame[name].dropna(), line.get_ydata())
    assert np.isnan(frame["gradient_norm"].iloc[-1])
    assert display.ax_.shape == (3,)
    assert display.ax_[-1].get_xlabel() == "steps taken"


def test_unlearner(unlearner):
    _, axes = plt.subplots(3)
    display = SearchDisplay.from_estimator(unlearner, ax=axes, linewidth=3)
    assert display.ax_.tolist() == axes.tolist()
    assert display.figure_ is axes[0].figure
    assert display.frame()["loss"].tolist() == unlearner.search_.loss.tolist()
    assert display.lines_[0].get_linewidth() == 3


def test_without_a_search(unlearner, flowers):
    X, y, forget = flowers
    tilted = BoundaryUnlearner(target="tilted", max_epochs=1, random_state=0)
    other = FineTuneUnlearner(max_epochs=1, random_state=0)
    for each in (tilted.fit(X, y, forget=forget), other.fit(X, y, forget=forget)):
        with pytest.raises(ValueError, match=f"This {type(each).__name__} has no `search_`"):
            SearchDisplay.from_estimator(each)
    with pytest.raises(ValueError, match="was released"):
        SearchDisplay.from_estimator(unlearner.release())
    with pytest.raises(TypeError, match="must be a fitted unlearner"):
        SearchDisplay.from_estimator(unlearner.search_)
