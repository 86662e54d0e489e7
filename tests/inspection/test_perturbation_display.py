import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from skorch import NeuralNetClassifier

from sklunlearn import BoundaryUnlearner
from sklunlearn.exceptions import ReleasedModelError
from sklunlearn.inspection import PerturbationDisplay
from sklunlearn.inspection._boundary_points import find_boundary_points


def make_images(n_channels):
    """Twelve images of four by five; a bright left half is of class "left"."""
    rng = np.random.default_rng(0)
    X = rng.uniform(0, 50, (12, n_channels, 4, 5)).astype("float32")
    X[:6, :, :, :2] += 150
    X[6:, :, :, 3:] += 150
    return X, np.repeat(["left", "right"], 6)


class Flat(torch.nn.Module):
    def __init__(self, n_features):
        super().__init__()
        self.linear = torch.nn.Linear(n_features, 2)

    def forward(self, X):
        return self.linear(X.flatten(1) / 100)


def fit(X, y):
    net = NeuralNetClassifier(
        Flat,
        module__n_features=X[0].size,
        criterion=torch.nn.CrossEntropyLoss,
        lr=0.1,
        max_epochs=15,
        train_split=None,
        verbose=0,
    )
    return BoundaryUnlearner(net, random_state=0).fit(X, y)


def test_labels_that_mean_something_to_matplotlib():
    images = np.zeros((1, 2, 2))
    display = PerturbationDisplay(
        images=images,
        points=images + 1,
        labels=np.array(["$a_$"]),
        found=np.array(["$b_$"]),
        crossed=np.array([True]),
        n_steps=np.array([3]),
        limits=(0.0, 1.0),
    ).plot()
    display.figure_.draw_without_rendering()  # "$a_$" is no formula that could be drawn
    assert [ax.get_xlabel() for ax in display.ax_[:2]] == ["label $a_$", "$b_$ after 3 steps"]


@pytest.mark.parametrize("n_channels", [1, 3])
def test_numbers_drawn(n_channels):
    X, y = make_images(n_channels)
    unlearner = fit(X, y)
    forget = y == "right"
    display = PerturbationDisplay.from_estimator(unlearner, X, y, forget=forget, n_images=3)
    shown = np.array([6, 8, 11])
    found = find_boundary_points(unlearner, X, (y == "right").astype(int), forget, shown)
    images, points = np.moveaxis(X[shown], 1, -1), np.moveaxis(found.X, 1, -1)
    if n_channels == 1:
        images, points = images[..., 0], points[..., 0]
    assert np.array_equal(display.images, images)
    assert np.array_equal(display.points, points)
    assert display.labels.tolist() == ["right"] * 3
    said = unlearner.predict(found.X)
    assert display.crossed.all() and np.array_equal(said, display.found)
    assert display.ax_.shape == (9,)
    axes = display.ax_.reshape(3, 3)
    for i in range(3):
        drawn = [ax.images[0].get_array() for ax in axes[i]]
        difference = points[i] - images[i]
        if n_channels == 3:
            low, high = X.min(), X.max()
            assert np.allclose(drawn[0], (images[i] - low) / (high - low), atol=1e-6)
            assert np.allclose(drawn[2], difference.mean(axis=-1))
        else:
            assert np.array_equal(drawn[0], images[i])
            assert np.array_equal(drawn[1], points[i])
            assert np.array_equal(drawn[2], difference)
        assert axes[i, 0].get_xlabel() == "label right"
        n = found.n_steps[i]
        assert axes[i, 1].get_xlabel() == f"left after {n} step{'s' if n > 1 else ''}"
    frame = display.frame()
    assert np.array_equal(frame["value"], images.ravel())
    assert np.array_equal(frame["boundary_value"], points.ravel())
    assert np.array_equal(frame["difference"], (points - images).ravel())
    one = frame[(frame["image"] == 1) & (frame["row"] == 2) & (frame["column"] == 4)]
    assert np.array_equal(one["value"], X[8, :, 2, 4])
    assert one["n_steps"].tolist() == [found.n_steps[1]] * n_channels
    assert one["label"].tolist() == ["right"] * n_channels


def test_flat_rows_and_given_axes():
    X, y = make_images(1)
    flat = X.reshape(12, -1)
    _, axes = plt.subplots(2, 3)
    display = PerturbationDisplay.from_estimator(
        fit(flat, y), flat, y, forget=[0, 3], image_shape=(4, 5), ax=axes, cmap="gray_r"
    )
    assert np.array_equal(display.images, X[[0, 3], 0])
    assert display.ax_.tolist() == axes.ravel().tolist()
    assert axes[0, 0].images[0].get_cmap().name == "gray_r"


def test_uncrossed_row():
    X, y = make_images(1)
    unlearner = fit(X, y).set_params(max_steps=1, step_size=1e-6)
    display = PerturbationDisplay.from_estimator(unlearner, X, y, forget=[0])
    assert not display.crossed[0]
    assert display.ax_[1].get_xlabel() == "not across, next right"


def test_errors():
    X, y = make_images(1)
    flat, unlearner = X.reshape(12, -1), fit(X, y)
    draw = PerturbationDisplay.from_estimator
    with pytest.raises(ValueError, match="For flat rows pass `image_shape`"):
        draw(fit(flat, y), flat, y, forget=[0])
    with pytest.raises(ValueError, match=r"`image_shape`=\(3, 3\) has 9 values.*with 20"):
        draw(fit(flat, y), flat, y, forget=[0], image_shape=(3, 3))
    with pytest.raises(ValueError, match=r"got rows of shape \(2, 2, 5\)"):
        draw(unlearner, X, y, forget=[0], image_shape=(2, 2, 5))
    with pytest.raises(ValueError, match="`n_images` must be at least 1, got 0"):
        draw(unlearner, X, y, forget=[0], n_images=0)
    with pytest.raises(ReleasedModelError):
        draw(unlearner.release(), X, y, forget=[0])
