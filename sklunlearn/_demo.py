"""The demonstration behind ``python -m sklunlearn``: learn, forget, compare, draw."""

import dataclasses
import time

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import train_test_split
from sklearn.utils import Bunch

from sklunlearn import BoundaryUnlearner, RetrainUnlearner
from sklunlearn.search import perturbed_sign_search

__all__ = ["DATASETS", "draw", "format_table", "load", "run"]

DATASETS = {"digits": load_digits, "breast_cancer": load_breast_cancer, "wine": load_wine}
N_SHOWN = 4
# Vermilion and blue of the Okabe-Ito palette, which colour-blind people can tell apart.
FORGET_COLOR, RETAIN_COLOR, POINT_COLOR = "#D55E00", "#9AA5B1", "#0072B2"


@dataclasses.dataclass
class Row:
    """One line of the table: accuracies on (train, test) rows, and seconds."""

    name: str
    forget: tuple
    retain: tuple
    seconds: float
    speed_up: float | None = None


def load(name):
    """Data with string labels; digits as images of shape (1, 8, 8)."""
    bunch = DATASETS[name]()
    X = bunch.data.astype(np.float32)
    if name == "digits":
        X = X.reshape(-1, 1, 8, 8)
    classes = [str(label) for label in bunch.target_names]
    return Bunch(name=name, X=X, y=np.array(classes)[bunch.target], classes=classes)


def run(data, label, seed, verbose):
    """Train, unlearn and retrain.

    Returns
    -------
    rows : list of Row
        Original, unlearned and retrained.
    picture : Bunch
        What :func:`draw` needs.
    """
    split = train_test_split(data.X, data.y, test_size=0.3, stratify=data.y, random_state=seed)
    X_train, X_test, y_train, y_test = split
    parts = [(X_train, y_train, y_train == label), (X_test, y_test, y_test == label)]
    forget = parts[0][2]
    shown = X_train[forget][:N_SHOWN]

    def judge(name, unlearner, seconds):
        accuracies = [
            tuple(unlearner.score(X[rows], y[rows]) for X, y, rows in sides)
            for sides in (parts, [(X, y, ~rows) for X, y, rows in parts])
        ]
        probabilities[name] = unlearner.predict_proba(shown)
        return Row(name, *accuracies, seconds)

    probabilities = {}
    began = time.perf_counter()
    unlearner = BoundaryUnlearner(random_state=seed, verbose=verbose).fit(X_train, y_train)
    rows = [judge("original", unlearner, time.perf_counter() - began)]
    original = unlearner.fitted_

    unlearner.unlearn(X_train, y_train, forget=forget)
    rows.append(judge("unlearned", unlearner, unlearner.unlearning_time_))

    retrained = RetrainUnlearner(FrozenEstimator(original), random_state=seed)
    retrained.fit(X_train, y_train).unlearn(X_train, y_train, forget=forget)
    rows.append(judge("retrained", retrained, retrained.unlearning_time_))
    for row in rows[1:]:
        row.speed_up = retrained.unlearning_time_ / row.seconds

    classes = unlearner.classes_.tolist()
    picture = Bunch(
        data=data.name,
        label=label,
        classes=classes,
        shown=shown,
        boundary=_boundary_points(unlearner, original, X_train[~forget], shown, label),
        probabilities=probabilities,
        X=X_train,
        forget=forget,
    )
    return rows, picture


def _boundary_points(unlearner, original, X_retain, shown, label):
    """Where the search of the unlearner takes these rows, and the class found there."""
    index = unlearner.classes_.tolist().index(label)
    axes = (0, *range(2, X_retain.ndim))
    search = perturbed_sign_search(
        original.module_.eval(),
        torch.from_numpy(shown),
        torch.full((len(shown),), index),
        step_size=unlearner.step_size,
        max_steps=unlearner.max_steps,
        scale=torch.from_numpy(X_retain.std(axis=axes, keepdims=True)[0]),
    )
    logits = search.logits.numpy().copy()
    logits[:, index] = -np.inf
    return Bunch(X=search.X.numpy(), labels=unlearner.classes_[logits.argmax(axis=1)])


def format_table(rows):
    """The table, as text."""
    lines = [
        f"{'':10} {'forget accuracy':>16} {'retain accuracy':>17}",
        f"{'':10} {'train':>8} {'test':>7} {'train':>9} {'test':>7} {'seconds':>9} {'speed-up':>9}",
    ]
    for row in rows:
        speed_up = "" if row.speed_up is None else f"{row.speed_up:.1f}x"
        lines.append(
            f"{row.name:10} {row.forget[0]:8.3f} {row.forget[1]:7.3f} {row.retain[0]:9.3f} "
            f"{row.retain[1]:7.3f} {row.seconds:9.2f} {speed_up:>9}".rstrip()
        )
    return "\n".join(lines)


def draw(picture, path):
    """Save a PNG: forgotten rows, their boundary points and what the three networks say of them."""
    from matplotlib.figure import Figure  # imported here: the table needs none of it

    images = picture.shown.ndim == 4
    n_rows, n_nets = len(picture.shown), len(picture.probabilities)
    widths = [1, 1] if images else [4.2]
    figure = Figure(figsize=(10.5, 1.55 * n_rows + 1.1), layout="constrained")
    figure.suptitle(
        f"{picture.data}: class {picture.label!r} forgotten", fontsize=13, fontweight="bold"
    )
    grid = figure.add_gridspec(
        n_rows, len(widths) + n_nets, width_ratios=[*widths, *[1.8] * n_nets]
    )
    if images:
        _draw_images(figure, grid, picture)
    else:
        _draw_projection(figure.add_subplot(grid[:, 0]), picture)
    for column, (name, probabilities) in enumerate(picture.probabilities.items(), len(widths)):
        for row in range(n_rows):
            axes = figure.add_subplot(grid[row, column])
            _draw_probabilities(axes, probabilities[row], picture, is_last=row == n_rows - 1)
            if row == 0:
                axes.set_title(f"{name} network", fontsize=10)
            if column == len(widths):
                axes.set_ylabel("probability" if images else f"row {row + 1}", fontsize=8)
            else:
                axes.set_yticklabels([])
    figure.savefig(path, dpi=150)


def _draw_images(figure, grid, picture):
    for row, (image, point) in enumerate(zip(picture.shown, picture.boundary.X, strict=True)):
        for column, pixels in enumerate((image, point)):
            axes = figure.add_subplot(grid[row, column])
            axes.imshow(pixels[0], cmap="gray_r", vmin=0, vmax=16)
            axes.set(xticks=[], yticks=[])
            if row == 0:
                axes.set_title(("forgotten", "boundary point")[column], fontsize=10)
        axes.set_xlabel(f"nearest: {picture.boundary.labels[row]}", fontsize=8)


def _draw_projection(axes, picture):
    """Principal components of the standardised training rows."""
    mean, scale = picture.X.mean(axis=0), picture.X.std(axis=0)
    _, _, components = np.linalg.svd((picture.X - mean) / scale, full_matrices=False)

    def project(X):
        return (X - mean) / scale @ components[:2].T

    for rows, color, name in [
        (~picture.forget, RETAIN_COLOR, "retain rows"),
        (picture.forget, FORGET_COLOR, "forget rows"),
    ]:
        axes.scatter(*project(picture.X[rows]).T, s=10, alpha=0.5, color=color, label=name)
    starts, ends = project(picture.shown), project(picture.boundary.X)
    axes.scatter(*ends.T, s=45, marker="X", color=POINT_COLOR, label="boundary points", zorder=4)
    for number, (start, end) in enumerate(zip(starts, ends, strict=True), 1):
        axes.annotate("", end, start, arrowprops={"arrowstyle": "-", "color": POINT_COLOR})
        axes.annotate(
            f"{number}",
            start,
            fontsize=10,
            fontweight="bold",
            xytext=(-8, 4),
            textcoords="offset points",
        )
    axes.set(xlabel="first principal component", ylabel="second principal component")
    axes.legend(fontsize=8, loc="best")
    axes.set_title("training rows", fontsize=10)


def _draw_probabilities(axes, probabilities, picture, *, is_last):
    colors = [FORGET_COLOR if c == picture.label else RETAIN_COLOR for c in picture.classes]
    axes.bar(range(len(probabilities)), probabilities, color=colors, width=0.8)
    axes.set(ylim=(0, 1.05), yticks=[0, 0.5, 1], xticks=range(len(probabilities)))
    axes.set_xticklabels(picture.classes if is_last else [])
    axes.tick_params(labelsize=8, length=2)
    axes.spines[["top", "right"]].set_visible(False)
