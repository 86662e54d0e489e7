"""The pictures of a report."""

import numpy as np

from sklunlearn.inspection._loss_histogram import LossHistogramDisplay
from sklunlearn.inspection._plotting import (
    FORGET_COLOR,
    LINE_COLOR,
    RETAIN_COLOR,
    legend_beside,
)
from sklunlearn.inspection._tradeoff import TradeoffDisplay

__all__ = ["PICTURES", "draw_all"]

_COLORS = {"original": RETAIN_COLOR, "unlearned": FORGET_COLOR, "retrained": LINE_COLOR}
_MOST_CLASSES = 30


def draw_all(report, figure):
    """Draw what there is on one figure."""
    drawn = [(title, draw) for title, _, _, draw in PICTURES if can_draw(report, title)]
    if len(drawn) == 1:
        drawn[0][1](report, figure)
        return
    top, bottom = figure.subfigures(2, height_ratios=[1.2, 1])
    parts = [*top.subfigures(1, len(drawn) - 1, squeeze=False)[0], bottom]
    for part, (_, draw) in zip(parts, drawn, strict=True):
        draw(report, part)


def can_draw(report, title):
    """Whether the report has the numbers of a picture."""
    if title == "Trade-off":
        return bool(report.about["n_forget"]) and "test_accuracy" in set(report.scores["metric"])
    return title != "Losses" or bool(report.losses)


def draw_tradeoff(report, figure):
    """Accuracy on forget rows against accuracy on test rows, with intervals."""
    scores = report.scores.set_index(["metric", "model"])
    models = [name for name in _COLORS if ("test_accuracy", name) in scores.index]
    at = {
        name: tuple(scores.loc[(m, name), "value"] for m in ("test_accuracy", "forget_accuracy"))
        for name in models
    }
    import pandas as pd

    names = ["accuracy on test rows", "accuracy on the forgotten rows"]
    ax = figure.subplots()
    TradeoffDisplay.from_frame(
        pd.DataFrame([at["unlearned"]], columns=names),
        x=names[0],
        y=names[1],
        baselines={name: at[name] for name in models if name != "unlearned"},
        ax=ax,
        label="unlearned",
        s=90,
        facecolor=FORGET_COLOR,
        edgecolor="black",
        zorder=4,
    )
    for name in models:
        error = []
        for metric in ("test_accuracy", "forget_accuracy"):
            row = scores.loc[(metric, name)]
            error.append([[max(row.value - row.low, 0)], [max(row.high - row.value, 0)]])
        color = FORGET_COLOR if name == "unlearned" else "black"
        ax.errorbar(*at[name], xerr=error[0], yerr=error[1], color=color, linewidth=1, fmt="none")
    ax.grid(alpha=0.3)


def draw_losses(report, figure):
    """Histograms of the losses of forgotten and of unseen rows."""
    axes = figure.subplots(len(report.losses), sharex=True, sharey=True, squeeze=False).ravel()
    display = LossHistogramDisplay.from_losses(report.losses, ax=axes)
    for ax in axes[:-1]:
        ax.tick_params(labelbottom=False)
    texts = display.ax_[0].get_legend().get_texts()
    for text, name in zip(texts, ("forgotten rows", "unseen rows"), strict=True):
        text.set_text(name)


def draw_classes(report, figure):
    """Accuracy on the test rows of each class, a bar a model; marked rows have their own axes."""
    table = report.per_class
    frame = table.pivot(index="label", columns=["rows", "model"], values="accuracy")
    panels = table["rows"].unique()
    if len(frame) > _MOST_CLASSES:
        spans = [frame[rows].max(axis=1) - frame[rows].min(axis=1) for rows in panels]
        order = np.argsort(np.nanmax(spans, axis=0), kind="stable")
        frame = frame.iloc[np.sort(order[-_MOST_CLASSES:])]
    gone = set(report.about["classes"])
    labels = [f"{label}\n(forgotten)" if label in gone else str(label) for label in frame.index]
    long = max(map(len, labels)) > 60 / len(labels) + 8
    axes = figure.subplots(len(panels), sharex=True, squeeze=False).ravel()
    for rows, ax in zip(panels, axes, strict=True):
        _draw_bars(frame[rows], ax)
        of_rows = {"kept": "the other\ntest rows", "of what was forgotten": "test rows\n" + rows}
        ax.set_ylabel(f"accuracy on {of_rows.get(rows, 'test rows')}")
    legend_beside(axes[0])
    axes[-1].set_xticks(np.arange(len(frame)), labels, rotation=30 if long else 0)
    for text in axes[-1].get_xticklabels():
        text.set(parse_math=False, ha="right" if long else "center")


def _draw_bars(frame, ax):
    models = [name for name in _COLORS if name in frame]
    width = 0.84 / len(models)
    for i, name in enumerate(models):
        # A bar of height 0 would look like one that is missing.
        ax.bar(
            np.arange(len(frame)) + (i - (len(models) - 1) / 2) * width,
            np.maximum(frame[name], 0.006),
            width * 0.92,
            color=_COLORS[name],
            label=name,
        )
    ax.set(ylim=(0, 1.02), xlim=(-0.6, len(frame) - 0.4))
    ax.grid(axis="y", alpha=0.3)


# Title, size in inches, what the picture shows, and what draws it.
PICTURES = [
    (
        "Trade-off",
        (7.4, 3.9),
        "Good is where the retrained network is; bars are intervals.",
        draw_tradeoff,
    ),
    (
        "Losses",
        (7.4, 4.9),
        "Forgotten and unseen rows of the same classes. Good is not that the two are alike, but "
        "that they are as alike as under the retrained network.",
        draw_losses,
    ),
    (
        "Accuracy of each class",
        (10.5, 3.6),
        "On test rows; those marked as of what was forgotten have bars of their own. A class that "
        "pays for the forgetting of others shows here.",
        draw_classes,
    ),
]
