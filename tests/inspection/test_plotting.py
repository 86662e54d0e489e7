import subprocess
import sys

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.text import Text

from sklunlearn.inspection._plotting import class_styles, label_points, legend_beside, make_axes


def test_new_figure_has_a_panel_each():
    axes = make_axes(None, 2, 3, size=(2, 1))
    assert axes.shape == (6,)
    assert axes[0].figure.get_size_inches().tolist() == [6, 2]


def test_given_axes_are_used_as_they_are():
    _, ax = plt.subplots()
    assert make_axes(ax, size=(1, 1)).tolist() == [ax]
    _, several = plt.subplots(2, 2)
    assert make_axes(several, 4, size=(1, 1)).tolist() == several.ravel().tolist()


def test_single_axes_is_divided():
    figure, (left, right) = plt.subplots(1, 2)
    axes = make_axes(left, 3, size=(1, 1), sharex=True)
    assert axes.shape == (3,)
    assert axes[0].figure is figure
    assert not left.axison and right.axison
    assert all(ax.get_position().x1 <= left.get_position().x1 + 1e-9 for ax in axes)
    axes[0].set_xlim(3, 4)
    assert axes[2].get_xlim() == (3, 4)


def test_wrong_axes_are_refused():
    figure, axes = plt.subplots(1, 2)
    with pytest.raises(ValueError, match="holds 2 Axes, but the picture has 3 panels"):
        make_axes(axes, 3, size=(1, 1))
    with pytest.raises(ValueError, match="not part of a grid"):
        make_axes(figure.add_axes((0, 0, 1, 1)), 3, size=(1, 1))


def test_classes_are_told_apart():
    styles = class_styles(90)
    assert len(set(styles)) == 90
    assert len({color for color, _ in styles[:10]}) == 10
    assert len({marker for _, marker in styles[:9]}) == 9


def test_legend_covers_no_data():
    _, ax = plt.subplots(layout="constrained")
    ax.plot([0, 1], label="line")
    legend = legend_beside(ax)
    ax.figure.draw_without_rendering()
    assert legend.get_window_extent().x0 > ax.get_window_extent().x1


def test_matplotlib_is_imported_only_to_draw():
    code = "import sys, sklunlearn, sklunlearn.inspection; print('matplotlib' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout == "False\n", result.stderr


@pytest.mark.parametrize("spread", [1.0, 0.02])
def test_labels_do_not_cover_each_other(spread):
    rng = np.random.default_rng(0)
    points = np.column_stack([rng.normal(size=10) * spread, np.linspace(0, spread, 10)])
    _, ax = plt.subplots(figsize=(6.8, 4.2))
    ax.scatter(*points.T)
    ax.set(xlim=(-3, 3), ylim=(-0.5, 1.5))
    names = [f"method {i}_$" for i in range(10)]  # of which matplotlib would make formulas
    labels = label_points(ax, points, names)
    ax.figure.canvas.draw()
    assert [label.get_text() for label in labels] == names
    boxes = [Text.get_window_extent(label) for label in labels]
    frame = ax.get_window_extent()
    for i, box in enumerate(boxes):
        assert frame.x0 <= box.x0 and box.x1 <= frame.x1
        assert frame.y0 <= box.y0 and box.y1 <= frame.y1
        assert not any(box.shrunk(0.9, 0.9).overlaps(other) for other in boxes[:i])
        x, y = ax.transData.transform(points[i])
        # Beside its own point: within 50 points of it, at 100 to the inch.
        assert np.hypot(max(box.x0 - x, x - box.x1, 0), max(box.y0 - y, y - box.y1, 0)) < 70


def test_labels_of_a_subfigure_and_of_nan():
    figure = plt.figure(layout="constrained")
    ax = figure.subfigures(1, 2)[1].subplots()
    ax.scatter([0, 1], [0, 1])
    labels = label_points(ax, [(0, 0), (np.nan, 1), (1, 1)], ["a", "b", "c"], [(0.5, np.nan)])
    assert [label.get_text() for label in labels] == ["a", "c"]
    assert label_points(ax, [], []) == []
