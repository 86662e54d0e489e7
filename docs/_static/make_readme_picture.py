"""Draw the picture of the README and of the first page: `python` with this file."""

import io
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import ListedColormap
from PIL import Image
from sklearn.datasets import load_digits

from sklunlearn import BoundaryUnlearner, NegGradUnlearner, RetrainUnlearner
from sklunlearn.datasets import make_moons_blobs
from sklunlearn.inspection import BoundaryDisplay
from sklunlearn.model_selection import (
    ForgetStratifiedKFold,
    TradeoffSearchCV,
    unlearning_scorers,
)

BLUE, ORANGE, VERMILION, PURPLE, GREY = "#0072B2", "#E69F00", "#D55E00", "#CC79A7", "#8793A0"
CLASSES = [BLUE, ORANGE, VERMILION, PURPLE]


def draw_regions(axes):
    """Decision regions of three networks; an arrow is a walk to the nearest boundary."""
    X, y = make_moons_blobs(random_state=0, return_X_y=True)
    forget = y == 2
    unlearner = BoundaryUnlearner(random_state=0).fit(X, y).unlearn(X, y, forget=forget)
    retrained = RetrainUnlearner(random_state=1).fit(X, y, forget=forget)
    display = BoundaryDisplay.from_estimator(
        unlearner, X, y, forget=forget, retrained=retrained, grid_resolution=400
    )
    plt.close(display.figure_)
    pale = ListedColormap([0.3 * np.array(mpl.colors.to_rgb(c)) + 0.7 for c in CLASSES])
    subtitles = ["four classes", "the class on top is forgotten", "never saw the class"]
    for ax, (name, regions), subtitle in zip(axes, display.regions.items(), subtitles, strict=True):
        ax.pcolormesh(display.x0, display.x1, regions, cmap=pale, vmin=0, vmax=3)
        for label in range(4):
            inside = (regions == label).astype(float)
            if 0 < inside.mean() < 1:
                ax.contour(display.x0, display.x1, inside, [0.5], colors="black", linewidths=0.8)
        for label, color in enumerate(CLASSES):
            gone = label == 2 and name != "original"
            style = {"facecolor": "none", "edgecolor": color} if gone else {"facecolor": color}
            edge = {} if gone else {"edgecolor": "white"}
            ax.scatter(*X[y == label][::2].T, s=16, linewidth=0.5, **style, **edge)
        if name == "original":
            for start, end in list(zip(X[forget], display.points, strict=True))[:60:5]:
                ax.annotate("", end, start, arrowprops={"arrowstyle": "->", "linewidth": 0.9})
        ax.set(xticks=[], yticks=[])
        ax.set_title(f"{name}\n{subtitle}", fontsize=10)


def draw_front(ax):
    """Candidates of a search on the digits."""
    X, y = load_digits(return_X_y=True)
    search = TradeoffSearchCV(
        NegGradUnlearner(max_epochs=2, random_state=0),
        {"lr": np.geomspace(1e-3, 1e-2, 14), "retain_weight": [0.0, 0.003, 0.01]},
        scoring=unlearning_scorers(["forgetting", "retention"]),
        cv=ForgetStratifiedKFold(3, shuffle=True, random_state=0),
        engine="vectorized",
    ).fit(X, y, forget=(y == 9))
    scores = search.cv_results_
    front = search.pareto_front_.sort_values("retention")
    ax.scatter(
        scores["mean_test_retention"],
        scores["mean_test_forgetting"],
        s=20,
        facecolor="none",
        edgecolor=GREY,
        label="a setting",
    )
    ax.plot(front.retention, front.forgetting, "s-", color=BLUE, markersize=4, label="front")
    best = search.best_index_
    ax.plot(
        scores["mean_test_retention"][best],
        scores["mean_test_forgetting"][best],
        "*",
        color=VERMILION,
        markeredgecolor="black",
        markersize=14,
        label="chosen",
    )
    ax.set_xlabel("accuracy on what is kept", fontsize=9)
    ax.set_ylabel("forgotten", fontsize=9)
    ax.set_xticks([0.96, 0.965, 0.97, 0.975])
    ax.tick_params(labelsize=8)
    ax.legend(loc="lower left", fontsize=8, frameon=False)
    ax.spines[["top", "right"]].set_visible(False)
    ax.set_title("settings compared\na digit is forgotten", fontsize=10)


def main():
    """Write `readme.png` beside this file, and its first two panels as `plane.png`."""
    fig, axes = plt.subplots(
        1, 4, figsize=(10, 2.9), layout="constrained", width_ratios=[1, 1, 1, 1.25]
    )
    draw_regions(axes[:3])
    draw_front(axes[3])
    buffer = io.BytesIO()
    fig.savefig(buffer, dpi=160)
    picture = Image.open(buffer).convert("RGB").quantize(96, dither=Image.Dither.NONE)
    picture.save(Path(__file__).with_name("readme.png"), optimize=True)
    # The thumbnail of an example whose own picture is too wide to be one.
    picture.crop((0, 0, 718, 405)).save(Path(__file__).with_name("plane.png"), optimize=True)


if __name__ == "__main__":
    main()
