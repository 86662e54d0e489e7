"""What the pictures have in common: colours, markers, room and legends."""

import itertools

import numpy as np

__all__ = [
    "FORGET_COLOR",
    "LINE_COLOR",
    "RETAIN_COLOR",
    "class_styles",
    "label_points",
    "legend_beside",
    "make_axes",
]

# The Okabe-Ito palette, whose colours colour-blind people can tell apart. Vermilion stands for
# what is to be forgotten in every picture; black and the grey are free for anything else.
FORGET_COLOR, LINE_COLOR, RETAIN_COLOR = "#D55E00", "#0072B2", "#8793A0"
_CLASS_COLORS = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#F0E442", "#8793A0"]
_CLASS_COLORS += ["#00314D", "#7A5400", "#004D38"]  # darker, for up to ten classes
_CLASS_MARKERS = ["o", "s", "^", "D", "v", "P", "<", "*", ">"]


# Where a label may be, from its point: directions, the best first, and distances in points.
_DIRECTIONS = [(1, 1), (1, -1), (-1, 1), (-1, -1), (1, 0), (-1, 0), (0, 1), (0, -1)]
_DISTANCES = [5, 16, 30]


def class_styles(n_classes):
    """Colour and marker of each class; no pair occurs twice among the first 90."""
    return [
        (_CLASS_COLORS[i % len(_CLASS_COLORS)], _CLASS_MARKERS[i % len(_CLASS_MARKERS)])
        for i in range(n_classes)
    ]


def make_axes(ax, n_rows=1, n_columns=1, *, size, sharex=False, sharey=False):
    """Axes for the panels of a picture.

    Parameters
    ----------
    ax : matplotlib Axes, array-like of Axes, or None
        One Axes is used for a picture of one panel, and otherwise divided among the panels. Of
        several there must be one a panel. None: a new figure.
    n_rows, n_columns : int, default=1
        Of the panels.
    size : (float, float)
        Width and height of a panel of a new figure, in inches.
    sharex, sharey : bool, default=False
        Whether the panels have the same limits; given Axes stay as they are.

    Returns
    -------
    axes : ndarray of Axes of shape (n_rows * n_columns,)
    """
    n_panels = n_rows * n_columns
    sharing = {"sharex": sharex, "sharey": sharey, "squeeze": False}
    if ax is None:
        import matplotlib.pyplot as plt

        figsize = (n_columns * size[0], n_rows * size[1])
        _, axes = plt.subplots(n_rows, n_columns, figsize=figsize, layout="constrained", **sharing)
        return axes.ravel()
    given = np.ravel(np.asarray(ax, dtype=object))
    if len(given) == n_panels:
        return given
    if len(given) > 1:
        raise ValueError(
            f"`ax` holds {len(given)} Axes, but the picture has {n_panels} panels: pass one Axes a "
            "panel, a single Axes to be divided among them, or None."
        )
    spec = given[0].get_subplotspec()
    if spec is None:
        raise ValueError(
            f"`ax` is an Axes that is not part of a grid, which cannot be divided among {n_panels} "
            f"panels: make it with `plt.subplots`, or pass {n_panels} Axes."
        )
    given[0].set_axis_off()
    return spec.subgridspec(n_rows, n_columns).subplots(**sharing).ravel()


def legend_beside(ax, **kwargs):
    """Legend to the right of the axes, where it covers nothing."""
    n_entries = len(kwargs["handles"] if "handles" in kwargs else ax.get_legend_handles_labels()[0])
    options = {"fontsize": 9, "frameon": False, "borderaxespad": 0, "ncols": 1 + n_entries // 16}
    legend = ax.legend(loc="upper left", bbox_to_anchor=(1.02, 1), **options | kwargs)
    for text in legend.get_texts():  # a class may be called "$5_$"
        text.set_parse_math(False)
    return legend


def label_points(ax, points, names, others=()):
    """Write names beside points, each where it covers least of the points and names before it.

    Parameters
    ----------
    ax : matplotlib Axes
        With everything else that it shows: the room that there is depends on it.
    points : array-like of shape (n, 2)
        In the coordinates of the data.
    names : list of str of length n
    others : array-like of shape (m, 2)
        Points without a name, which should not be covered either.

    Returns
    -------
    labels : list of matplotlib Annotation
        None of a point that has a nan.
    """
    shown = [(*xy, name) for xy, name in zip(points, names, strict=True) if np.isfinite(xy).all()]
    if not shown:
        return []
    figure = ax.figure.canvas.figure  # the axes may be part of a subfigure
    figure.draw_without_rendering()  # only now the axes are where they will be
    unit = figure.dpi / 72
    room = np.array(ax.bbox.extents)
    at = ax.transData.transform([*[row[:2] for row in shown], *others])
    taken = [np.concatenate([xy - 3 * unit, xy + 3 * unit]) for xy in at if np.isfinite(xy).all()]
    labels = []
    for (x, y, name), xy in zip(shown, at, strict=False):
        label = ax.annotate(
            name,
            (x, y),
            xytext=(0, 0),
            textcoords="offset points",
            fontsize=9,
            parse_math=False,  # a method may be called "$5_$"
            arrowprops={"arrowstyle": "-", "color": RETAIN_COLOR, "linewidth": 0.6, "shrinkB": 3},
        )
        extent = label.get_window_extent()
        size = np.array([extent.width, extent.height])
        boxes, offsets = [], []
        for distance, direction in itertools.product(_DISTANCES, _DIRECTIONS):
            offset = distance * np.array(direction)
            low = xy + offset * unit + (np.array(direction) - 1) / 2 * size
            boxes.append(np.concatenate([low, low + size]))
            offsets.append((offset, direction))
        costs = [
            sum(_shared(box, other) for other in taken) + size.prod() - _shared(box, room)
            for box in boxes
        ]
        best = int(np.argmin(np.round(costs)))  # the nearest of those that are as good
        offset, (h, v) = offsets[best]
        label.set(
            position=offset,
            horizontalalignment=("right", "center", "left")[h + 1],
            verticalalignment=("top", "center", "bottom")[v + 1],
        )
        taken.append(boxes[best])
        labels.append(label)
    return labels


def _shared(box, other):
    """Area in which two boxes (left, bottom, right, top) overlap."""
    sides = np.minimum(box[2:], other[2:]) - np.maximum(box[:2], other[:2])
    return np.prod(np.maximum(sides, 0))
