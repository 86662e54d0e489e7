"""The pictures and the table of the page."""

import base64
import io
from html import escape

import numpy as np

from sklunlearn.explorer._runs import grid_of
from sklunlearn.inspection._plotting import class_styles

__all__ = [
    "draw_choice",
    "draw_forgotten",
    "draw_front",
    "draw_progress",
    "draw_regions",
    "figures_table",
    "pixels_of",
    "row_at",
    "rows_offered",
    "run_at",
    "to_html",
]

_N_OFFERED, _N_COLUMNS = 60, 10
_SIDE, _WIDTH, _HEIGHT = 48, 600, 400  # pixels of an image of the sheet, and of the plane
_INK, _QUIET = "#1a1f29", "#4a5261"
_BLUE, _RED, _GREEN = "#1f5fa8", "#b3261e", "#1b6e3c"
_ROWS = [
    ("forget_accuracy", "forget accuracy"),
    ("forget_accuracy_test", "forget accuracy, test rows"),
    ("retain_accuracy", "retain accuracy"),
    ("test_accuracy", "test accuracy"),
    ("membership_auc", "membership inference AUC"),
    ("seconds", "seconds"),
]


def _figure(width, height, layout="constrained"):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # Not by pyplot, whose list of figures is shared by all threads.
    figure = Figure(figsize=(width, height), dpi=100, layout=layout)
    FigureCanvasAgg(figure)
    return figure


def to_html(figure, text):
    """An image that needs no file and no request, with a text for those who do not see it."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<img class="picture" alt="{escape(text)}" src="data:image/png;base64,{data}">'


def pixels_of(figure):
    """An image as an array."""
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3].copy()


def figures_table(run):
    """Original, unlearned and retrained beside each other, as HTML."""
    frame = run.report.to_frame()
    found = {(row.metric, row.model): row for row in frame.itertuples()}
    models = ["original", "unlearned", "retrained"]
    lines = []
    for metric, title in _ROWS:
        cells = "".join(f"<td>{_cell(found.get((metric, model)))}</td>" for model in models)
        lines.append(f'<tr><th scope="row">{title}</th>{cells}</tr>')
    heads = "".join(f'<th scope="col">{model}</th>' for model in models)
    wait = "" if run.reference is not None else "<p>Retraining without the rows ...</p>"
    notes = "".join(f"<p>Note: {escape(note)}</p>" for note in run.notes)
    return (
        f'<div class="figures"><table><caption>Run {escape(run.label)}: '
        f"{escape(run.request.title)}</caption><thead><tr><td></td>{heads}</tr></thead>"
        f"<tbody>{''.join(lines)}</tbody></table>{wait}{notes}</div>"
    )


def _cell(row):
    if row is None:
        return "–"
    if row.metric == "seconds":
        return f"{row.value:.2f}"
    text = f"{row.value:.3f}"
    return text if np.isnan(row.low) else f"{text} <small>{row.low:.3f} to {row.high:.3f}</small>"


def draw_progress(history):
    """Forget and retain accuracy after each epoch."""
    figure = _figure(5.2, 3.2)
    ax = figure.add_subplot()
    for name, color, mark in (("forget", _RED, "o"), ("retain", _BLUE, "s")):
        points = [(event["epoch"], event[name]) for event in history if name in event]
        if points:
            ax.plot(*zip(*points, strict=True), color=color, marker=mark, ms=4, label=name)
    ax.set(ylim=(-0.05, 1.05), xlabel="epoch", ylabel="accuracy")
    ax.xaxis.get_major_locator().set_params(integer=True)
    if ax.lines:
        ax.legend(loc="center right")
    return figure


def draw_regions(run, epoch=None):
    """Of data in the plane: decision regions after an epoch, beside original and retrained."""
    from matplotlib.colors import ListedColormap

    source = run.source
    models = {"original": run.regions["original"]}
    if run.frames:
        epoch = len(run.frames) if epoch is None else min(max(int(epoch), 1), len(run.frames))
        models[f"epoch {epoch}"] = run.frames[epoch - 1]
    else:
        models["unlearned"] = run.regions["unlearned"]
    if "retrained" in run.regions:
        models["retrained"] = run.regions["retrained"]
    _, axes = grid_of(source)
    figure = _figure(3.4 * len(models), 3.5)
    styles = class_styles(len(source.classes))
    colors = [color for color, _ in styles]
    for i, (title, regions) in enumerate(models.items()):
        ax = figure.add_subplot(1, len(models), i + 1)
        ax.pcolormesh(
            *axes,
            regions.reshape(len(axes[1]), len(axes[0])),
            cmap=ListedColormap(colors),
            vmin=-0.5,
            vmax=len(colors) - 0.5,
            alpha=0.35,
            shading="nearest",
        )
        _scatter(ax, source, run.request.mask, styles)
        ax.set_title(title, fontsize=11)
    return figure


def _scatter(ax, source, mask, styles, plane=None):
    plane = source.X if plane is None else plane
    for k, label in enumerate(source.classes):
        color, marker = styles[k]
        rows = source.y == label
        ax.scatter(*plane[rows].T, s=10, color=color, marker=marker, label=label)
    ax.scatter(*plane[mask].T, s=26, facecolors="none", edgecolors=_INK, linewidths=0.7)
    ax.set(xticks=[], yticks=[])


def draw_forgotten(run, n_shown=None, n_columns=3):
    """Some forgotten images, where the boundary search takes them, and what the networks say.

    Several figures of a few columns, which a narrow page puts below each other.
    """
    source, (rows, points, said) = run.source, run.forgotten
    figures = []
    for i, row in enumerate(rows[:n_shown]):
        k = i % n_columns
        if k == 0:
            figure = _figure(4.2, 4.1)
            figures.append(figure)
            grid = figure.add_gridspec(2, n_columns)
        upper, lower = (figure.add_subplot(grid[j, k]) for j in (0, 1))
        _show(upper, _scaled(source, source.X[row]))
        # Names of classes are no formulas, whatever dollars they hold.
        plain = {"parse_math": False, "fontsize": 10}
        upper.set_title(f"row {row}: {source.y[row]}", **plain)
        _show(lower, _scaled(source, points.X[i]))
        lower.set_title(f"boundary to {source.classes[points.codes[i]]}", **plain)
        words = [f"{n}: {source.classes[p[i].argmax()]} {p[i].max():.2f}" for n, p in said.items()]
        lower.set_xlabel("\n".join(words), fontsize=9, color=_INK, parse_math=False)
    return figures


def _scaled(source, X):
    """Images as height, width and channels, from 0 to 1."""
    scale = 1 if source.X.max() <= 1.5 else 255
    return np.moveaxis(X / scale, -3, -1).clip(0, 1)


def _show(ax, image):
    ax.imshow(image[..., 0] if image.shape[-1] == 1 else image, cmap="gray_r", vmin=0, vmax=1)
    ax.set(xticks=[], yticks=[])


def draw_front(runs, chosen=None):
    """Forget against test accuracy of each run, the original and the retrained network."""
    figure = _figure(5.2, 3.6)
    ax = figure.add_subplot()
    numbers = {}
    for run in runs:
        x, y = _point(run, "unlearned")
        numbers.setdefault((x, y), []).append(str(run.number))
        is_chosen = run is chosen
        ax.plot(x, y, "o", ms=11 if is_chosen else 7, color=_RED if is_chosen else _BLUE)
    for point, those in numbers.items():
        ax.annotate(", ".join(those), point, xytext=(7, 6), textcoords="offset points")
    for model, color, marker in (("original", _QUIET, "X"), ("retrained", _GREEN, "*")):
        points = [_point(run, model) for run in runs]
        points = [point for point in points if point is not None]
        if points:
            ax.plot(*points[-1], marker, ms=11, color=color, label=model, ls="")
    ax.set(xlabel="forget accuracy", ylabel="test accuracy", xlim=(-0.05, 1.05))
    ax.margins(y=0.15)
    if ax.get_legend_handles_labels()[0]:
        figure.legend(loc="outside upper center", ncols=2, frameon=False)
    return figure


def run_at(runs, chosen, x, y, reach=20):
    """The run whose point of that picture is nearest to a pixel, or None if none is near.

    Of several at one point, the one after that which is chosen.
    """
    if not runs:
        return None
    figure = draw_front(runs, chosen)
    figure.canvas.draw()
    pixels = figure.axes[0].transData.transform([_point(run, "unlearned") for run in runs])
    distances = np.hypot(pixels[:, 0] - x, figure.bbox.height - pixels[:, 1] - y)
    if distances.min() > reach:
        return None
    those = [runs[i] for i in np.flatnonzero(distances < distances.min() + 1e-6)]
    return those[(those.index(chosen) + 1) % len(those)] if chosen in those else those[0]


def _point(run, model):
    frame = run.report.to_frame().query("model == @model").set_index("metric")["value"]
    if "forget_accuracy" not in frame or "test_accuracy" not in frame:
        return None
    return frame["forget_accuracy"], frame["test_accuracy"]


def rows_offered(source, label):
    """Training rows that a picture offers to pick from: the first of a class."""
    return np.flatnonzero(source.y == str(label))[:_N_OFFERED]


def draw_choice(source, label, picked=()):
    """Pixels of a picture to pick rows from: images in a sheet, other data in the plane."""
    picked = np.asarray(sorted(picked), dtype=int)
    if source.kind != "images":
        figure = _figure(_WIDTH / 100, _HEIGHT / 100, layout=None)
        mask = np.zeros(len(source.y), dtype=bool)
        mask[picked] = True
        ax, plane = figure.add_axes((0, 0, 1, 1)), _plane(source)
        _scatter(ax, source, mask, class_styles(len(source.classes)), plane)
        xlim, ylim = _limits(plane)
        ax.set(xlim=xlim, ylim=ylim)
        return pixels_of(figure)
    rows = rows_offered(source, label)
    side = _SIDE
    sheet = np.full((side * (_N_OFFERED // _N_COLUMNS), side * _N_COLUMNS, 3), 255, dtype=np.uint8)
    for i, (row, image) in enumerate(zip(rows, _scaled(source, source.X[rows]), strict=True)):
        image = 255 * (1 - image if image.shape[-1] == 1 else image)
        places = np.arange(side - 6) * np.array(image.shape[:2])[:, None] // (side - 6)
        image = image[places[0][:, None], places[1][None]].astype(np.uint8)
        tile = np.full((side, side, 3), (179, 38, 30) if row in picked else 255, dtype=np.uint8)
        tile[3:-3, 3:-3] = image
        top, left = side * (i // _N_COLUMNS), side * (i % _N_COLUMNS)
        sheet[top : top + side, left : left + side] = tile
    return sheet


def row_at(source, label, x, y):
    """The row at a pixel of that picture, or None."""
    if source.kind == "images":
        rows = rows_offered(source, label)
        i = int(y) // _SIDE * _N_COLUMNS + int(x) // _SIDE
        return int(rows[i]) if 0 <= i < len(rows) else None
    plane = _plane(source)
    (left, right), (bottom, top) = _limits(plane)
    scale = np.array([right - left, top - bottom])
    at = np.array([left, top]) + scale * [x / _WIDTH, -y / _HEIGHT]
    return int((((plane - at) / scale) ** 2).sum(axis=1).argmin())


def _plane(source):
    """Rows of a table by their two largest principal components; points as they are."""
    if source.kind == "points":
        return source.X
    X = source.X - source.X.mean(axis=0)
    scale = X.std(axis=0)
    X = X / np.where(scale > 0, scale, 1)
    return X @ np.linalg.svd(X, full_matrices=False)[2][:2].T if X.shape[1] > 1 else X.repeat(2, 1)


def _limits(plane):
    low, high = plane.min(axis=0), plane.max(axis=0)
    beyond = 0.05 * (high - low) + 1e-9
    return list(zip(low - beyond, high + beyond, strict=True))
