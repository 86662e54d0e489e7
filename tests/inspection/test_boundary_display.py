import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklunlearn import BoundaryUnlearner, NegGradUnlearner
from sklunlearn.inspection import BoundaryDisplay
from sklunlearn.networks import default_net


def test_numbers_drawn(unlearner, flowers):
    X, y, forget = flowers
    display = BoundaryDisplay.from_estimator(unlearner, X, y, forget=forget, grid_resolution=9)
    assert list(display.regions) == ["original", "unlearned"]
    grid = np.array([[a, b] for b in display.x1 for a in display.x0], dtype="float32")
    codes = {"original": unlearner.fitted_.predict_proba(grid).argmax(axis=1)}
    codes["unlearned"] = unlearner.net_.predict_proba(grid).argmax(axis=1)
    assert not np.array_equal(*codes.values())
    regions = display.frame("regions")
    for name, mesh in zip(codes, display.regions_, strict=True):
        assert np.array_equal(mesh.get_array().ravel(), codes[name])
        of_model = regions[regions["model"] == name]
        assert np.array_equal(of_model["label"], unlearner.classes_[codes[name]])
        assert np.allclose(of_model[["x0", "x1"]], grid)
    rows = display.frame()
    assert np.allclose(rows[["x0", "x1"]], X)
    assert np.array_equal(rows["label"], y)
    assert np.array_equal(rows["forget"], forget)
    ends = rows.loc[forget, ["boundary_x0", "boundary_x1"]].to_numpy(dtype="float32")
    assert np.array_equal(ends, display.points)
    assert rows.loc[~forget, "boundary_x0"].isna().all()
    said = unlearner.classes_[unlearner.fitted_.predict_proba(ends).argmax(axis=1)]
    assert np.array_equal(said != "virginica", rows.loc[forget, "crossed"])
    # The grid holds all that is drawn.
    drawn = np.concatenate([X, ends])
    assert display.x0[0] < drawn[:, 0].min() and display.x1[-1] > drawn[:, 1].max()


def test_artists(unlearner, flowers):
    X, y, forget = flowers
    _, axes = plt.subplots(1, 2)
    display = BoundaryDisplay.from_estimator(
        unlearner, X, y, forget=forget, grid_resolution=9, ax=axes, s=7
    )
    assert display.ax_.tolist() == axes.tolist()
    by_label = {artist.get_label(): artist for artist in axes[0].collections}
    drawn = by_label["class virginica, forget"]
    assert np.allclose(drawn.get_offsets(), X[forget])
    assert drawn.get_sizes().tolist() == [7]
    assert np.allclose(by_label["class setosa"].get_offsets(), X[y == "setosa"])
    points = by_label["boundary point"].get_offsets()
    assert np.allclose(points, display.points[display.crossed])
    # The search was made on the original network: only there are its points drawn.
    assert "boundary point" not in {artist.get_label() for artist in axes[1].collections}
    assert [ax.get_title() for ax in axes] == ["original", "unlearned"]


def test_before_unlearning(flowers):
    X, y, forget = flowers
    fitted = BoundaryUnlearner(random_state=0, max_steps=1).fit(X, y)
    display = BoundaryDisplay.from_estimator(fitted, X, y, forget=forget, grid_resolution=5)
    assert list(display.regions) == ["original"]
    assert not display.crossed.all()  # by the unlearner's own parameters, after one step


def test_released_and_retrained(unlearner, retrained, flowers):
    X, y, forget = flowers
    display = BoundaryDisplay.from_estimator(
        unlearner.release(), X, y, forget=forget, retrained=retrained, grid_resolution=5
    )
    assert list(display.regions) == ["unlearned", "retrained"]
    assert np.isnan(display.points).all()
    labels = {artist.get_label() for ax in display.ax_ for artist in ax.collections}
    assert not labels & {"boundary point", "not across"}
    grid = np.array([[a, b] for b in display.x1 for a in display.x0])
    expected = retrained.predict(grid)
    assert np.array_equal(display.classes[display.regions["retrained"].ravel()], expected)


def test_pipeline_and_data_frame(flowers):
    X, y, forget = flowers
    frame = pd.DataFrame(X, columns=["length (cm)", "width (cm)"])
    pipeline = make_pipeline(StandardScaler(), default_net(X, 3))
    unlearner = NegGradUnlearner(pipeline, max_epochs=1, random_state=0).fit(frame, y)
    display = BoundaryDisplay.from_estimator(unlearner, frame, y, forget=forget, grid_resolution=5)
    assert display.ax_[0].get_xlabel() == "length (cm)"
    said = unlearner.predict(pd.DataFrame(display.points, columns=frame.columns))
    assert (said[display.crossed] != "virginica").all()
    plain = BoundaryUnlearner(random_state=0).fit(frame, y)
    BoundaryDisplay.from_estimator(plain, frame, y, forget=forget, grid_resolution=5)


def test_errors(unlearner, flowers, X, y, trained_net):
    four = BoundaryUnlearner(FrozenEstimator(trained_net)).fit(X, y)
    with pytest.raises(ValueError, match=r"data of 2 features.*rows of shape \(4,\)"):
        BoundaryDisplay.from_estimator(four, X, y, forget=[0])
    with pytest.raises(ValueError, match="`forget` is a boolean mask of 2 rows"):
        BoundaryDisplay.from_estimator(unlearner, *flowers[:2], forget=[True, False])
    display = BoundaryDisplay.from_estimator(unlearner, *flowers[:2], forget=[0], grid_resolution=3)
    with pytest.raises(ValueError, match="must be 'rows' or 'regions', got 'all'"):
        display.frame("all")
