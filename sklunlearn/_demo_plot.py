"""The picture of the demonstration."""

__all__ = ["draw"]

# Of the Okabe-Ito palette, whose colours colour-blind people can tell apart; and a grey.
_FORGET_COLOR, _POINT_COLOR, _RETAIN_COLOR = "#D55E00", "#0072B2", "#8793A0"


def draw(picture, path):
    """Save a PNG: forgotten rows, their boundary points and what the three networks say of them."""
    from matplotlib.figure import Figure  # imported here: the table needs none of it
    from matplotlib.patches import Patch

    is_image = picture.X.ndim == 4
    widths = [1, 1] if is_image else [4.6]
    n_shown, n_nets = len(picture.shown), len(picture.probabilities)
    # A Figure by itself, without pyplot, is drawn by the Agg backend and changes nothing global.
    figure = Figure(figsize=(10.5, 7.2), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.06, h_pad=0.06)
    figure.suptitle(
        f"{picture.data}, forgetting {picture.label}: what three networks say of some forget rows",
        fontsize=13,
    )
    grid = figure.add_gridspec(
        n_shown, len(widths) + n_nets, width_ratios=[*widths, *[1.9] * n_nets]
    )
    if is_image:
        _draw_images(figure, grid, picture)
    else:
        _draw_plane(figure.add_subplot(grid[:, 0]), picture)
    for column, (name, probabilities) in enumerate(picture.probabilities.items(), len(widths)):
        for row in range(n_shown):
            axes = figure.add_subplot(grid[row, column])
            _draw_probabilities(axes, probabilities[row], picture)
            if row == 0:
                axes.set_title(name, fontsize=11)
            if column > len(widths):
                axes.set_yticklabels([])
            else:
                axes.set_ylabel("probability" if is_image else f"row {row + 1}", fontsize=8)
    figure.legend(
        handles=[
            Patch(color=_FORGET_COLOR, label=f"probability of {picture.label}"),
            Patch(color=_RETAIN_COLOR, label="probability of another class"),
        ],
        loc="outside lower center",
        ncols=2,
        fontsize=9,
        frameon=False,
    )
    figure.savefig(path, dpi=150)


def _draw_images(figure, grid, picture):
    boundary = picture.boundary
    for row, images in enumerate(zip(picture.X, boundary.X, strict=True)):
        for column, image in enumerate(images):
            axes = figure.add_subplot(grid[row, column])
            axes.imshow(image[0], cmap="gray_r", vmin=0, vmax=16)
            axes.set(xticks=[], yticks=[])
            if row == 0:
                axes.set_title(("forget row", "boundary point")[column], fontsize=11)
        how = "crossed into" if boundary.crossed[row] else "uncrossed, next"
        axes.set_xlabel(f"{how} {boundary.labels[row]}", fontsize=8)


def _draw_plane(axes, picture):
    """The training rows in the plane of their principal components."""
    for rows, color, name in [
        (~picture.forget, _RETAIN_COLOR, "retain rows"),
        (picture.forget, _FORGET_COLOR, "forget rows"),
    ]:
        axes.scatter(*picture.plane[rows].T, s=16, alpha=0.6, linewidth=0, color=color, label=name)
    starts, ends = picture.plane[picture.shown], picture.boundary_plane
    for number, (start, end) in enumerate(zip(starts, ends, strict=True), 1):
        axes.plot(*zip(start, end, strict=True), color=_POINT_COLOR, linewidth=1.5, zorder=3)
        axes.annotate(
            f"{number}",
            start,
            color="white",
            fontsize=9,
            ha="center",
            va="center_baseline",
            zorder=5,
        )
    axes.scatter(*starts.T, s=110, color="black", label=f"rows 1 to {len(starts)}", zorder=4)
    axes.scatter(
        *ends.T,
        s=55,
        marker="X",
        color=_POINT_COLOR,
        edgecolor="white",
        linewidth=0.8,
        label="boundary points",
        zorder=3.5,
    )
    axes.set_xlabel("first principal component of the training rows", fontsize=9)
    axes.set_ylabel("second principal component", fontsize=9)
    axes.tick_params(labelsize=8)
    # Above the axes, where it covers no row.
    axes.legend(
        loc="lower center",
        bbox_to_anchor=(0.5, 1),
        ncols=4,
        fontsize=8,
        frameon=False,
        handletextpad=0.1,
        columnspacing=1,
        borderpad=0.2,
        markerscale=0.8,
    )


def _draw_probabilities(axes, probabilities, picture):
    colors = [
        _FORGET_COLOR if label == picture.label else _RETAIN_COLOR for label in picture.classes
    ]
    positions, best = range(len(probabilities)), probabilities.argmax()
    axes.bar(positions, probabilities, color=colors, width=min(0.8, 0.2 * len(probabilities)))
    axes.annotate(
        f"{probabilities[best]:.0%}",
        (best, probabilities[best]),
        xytext=(0, 2),
        textcoords="offset points",
        ha="center",
        fontsize=8,
    )
    axes.set(ylim=(0, 1.25), yticks=[0, 0.5, 1], xlim=(-0.7, len(probabilities) - 0.3))
    axes.set_xticks(positions, picture.classes)
    axes.tick_params(labelsize=8, length=2)
    axes.spines[["top", "right"]].set_visible(False)
