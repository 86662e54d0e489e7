"""Decision regions in two dimensions, before and after."""

import numpy as np

from sklunlearn._validation import check_X_y, encode_labels
from sklunlearn.inspection._boundary_points import find_boundary_points
from sklunlearn.inspection._models import as_array, find_models
from sklunlearn.inspection._plotting import (
    FORGET_COLOR,
    class_styles,
    legend_beside,
    make_axes,
)
from sklunlearn.requests import check_forget

__all__ = ["BoundaryDisplay"]


class BoundaryDisplay:
    """Decision regions before and after unlearning, and the boundary points of the forget rows.

    Make one with :meth:`from_estimator`; the data must have two features.

    Parameters
    ----------
    x0, x1 : ndarray of shape (n,)
        Coordinates of the grid on which the regions are known.
    regions : dict of str to ndarray of shape (n, n), dtype int
        Position in `classes` of the class at ``(x0[j], x1[i])``, for each model.
    classes : ndarray of shape (n_classes,)
        The classes.
    X : ndarray of shape (n_samples, 2)
        The rows.
    labels : ndarray of shape (n_samples,)
        Their labels.
    forget : ndarray of shape (n_samples,), dtype bool
        The rows that were forgotten.
    points : ndarray of shape (n_forget, 2)
        Where the boundary search ended for each of those; NaN if there was none.
    crossed : ndarray of shape (n_forget,), dtype bool
        Whether it is across the boundary.
    feature_names : pair of str, default=("feature 0", "feature 1")
        Names of the features.

    Attributes
    ----------
    ax_ : ndarray of matplotlib Axes of shape (n_models,)
        Axes of the models.
    figure_ : matplotlib Figure
        Their figure.
    regions_ : list of matplotlib QuadMesh
        The regions of each model.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import make_blobs
    >>> from sklunlearn import BoundaryUnlearner
    >>> from sklunlearn.inspection import BoundaryDisplay
    >>> X, y = make_blobs(150, centers=3, random_state=0)
    >>> unlearner = BoundaryUnlearner(random_state=0).fit(X, y, forget=(y == 2))
    >>> display = BoundaryDisplay.from_estimator(unlearner, X, y, forget=(y == 2))
    >>> display.points.shape
    (50, 2)
    >>> plt.close(display.figure_)
    """

    def __init__(
        self,
        *,
        x0,
        x1,
        regions,
        classes,
        X,
        labels,
        forget,
        points,
        crossed,
        feature_names=("feature 0", "feature 1"),
    ):
        self.x0 = x0
        self.x1 = x1
        self.regions = regions
        self.classes = classes
        self.X = X
        self.labels = labels
        self.forget = forget
        self.points = points
        self.crossed = crossed
        self.feature_names = feature_names

    @classmethod
    def from_estimator(
        cls,
        unlearner,
        X,
        y,
        *,
        forget,
        retrained=None,
        grid_resolution=200,
        margin=0.1,
        ax=None,
        **kwargs,
    ):
        """Search the boundary points, predict a grid of points and draw both.

        Parameters
        ----------
        unlearner : BaseUnlearner
            Fitted to two features. A `BoundaryUnlearner` searches with its own parameters, another
            one with the defaults of that. A released one has no original model, so that this and
            the boundary points are left out.
        X : array-like of shape (n_samples, 2)
            Rows to draw.
        y : array-like of shape (n_samples,)
            Their labels.
        forget : array-like of shape (n_samples,), dtype bool, or of row indices
            The rows that were forgotten, or are to be.
        retrained : BaseUnlearner, default=None
            A model that never saw these rows: a `RetrainUnlearner` after `unlearn`.
        grid_resolution : int, default=200
            Number of grid points in each direction.
        margin : float, default=0.1
            How far the grid reaches beyond the rows and points, as a share of their range.
        ax : matplotlib Axes, array of Axes or None, default=None
            Where to draw, one Axes a model; a single one is divided. None: a new figure.
        **kwargs : dict
            Options of the rows' ``ax.scatter``.

        Returns
        -------
        display : BoundaryDisplay

        Raises
        ------
        TypeError, ValueError
            If a model is not a fitted unlearner, the data are not of two features, or steps
            before the network cannot be undone.
        """
        models = find_models(unlearner, retrained)
        if unlearner._shape != (2,):
            raise ValueError(
                "BoundaryDisplay draws data of 2 features, but this "
                f"{type(unlearner).__name__} was fitted to rows of shape {unlearner._shape}. Fit "
                "one to two features, or to two principal components, or use EmbeddingDisplay."
            )
        checked, y = check_X_y(unlearner, X, y, reset=False)
        codes = encode_labels(y, unlearner.classes_)
        forget = check_forget(forget, len(y))
        rows = as_array(checked, np.arange(len(y)))
        points, crossed = np.full_like(rows[forget], np.nan), np.zeros(forget.sum(), dtype=bool)
        if "original" in models:
            shown = np.flatnonzero(forget)
            found = find_boundary_points(unlearner, checked, codes, forget, shown)
            points, crossed = found.X, found.crossed
        x0, x1 = _make_grid(np.concatenate([rows, points]), grid_resolution, margin)
        grid = np.stack(np.meshgrid(x0, x1), axis=-1).reshape(-1, 2)
        names = getattr(unlearner, "feature_names_in_", ("feature 0", "feature 1"))
        if hasattr(X, "iloc"):
            grid = type(X)(grid, columns=X.columns)
        regions = {
            name: model.predict_proba(grid).argmax(axis=1).reshape(len(x1), len(x0))
            for name, model in models.items()
        }
        display = cls(
            x0=x0,
            x1=x1,
            regions=regions,
            classes=unlearner.classes_,
            X=rows,
            labels=y,
            forget=forget,
            points=points,
            crossed=crossed,
            feature_names=tuple(names),
        )
        return display.plot(ax=ax, **kwargs)

    def frame(self, what="rows"):
        """The numbers of the picture.

        Parameters
        ----------
        what : {"rows", "regions"}, default="rows"
            Which numbers.

        Returns
        -------
        frame : pandas.DataFrame
            "rows": a row for each row of X, with its features "x0" and "x1", "label", "forget" and,
            for forget rows, where the search ended, "boundary_x0" and "boundary_x1", and whether
            it "crossed". "regions": a row for each point of the grid of each model, with
            "model", "x0", "x1" and "label".
        """
        import pandas as pd

        if what not in ("rows", "regions"):
            raise ValueError(f"`what` must be 'rows' or 'regions', got {what!r}.")
        if what == "regions":
            grid = np.stack(np.meshgrid(self.x0, self.x1), axis=-1).reshape(-1, 2)
            parts = [
                pd.DataFrame(grid, columns=["x0", "x1"]).assign(
                    model=name, label=self.classes[region.ravel()]
                )
                for name, region in self.regions.items()
            ]
            return pd.concat(parts, ignore_index=True)[["model", "x0", "x1", "label"]]
        frame = pd.DataFrame(
            {
                "x0": self.X[:, 0],
                "x1": self.X[:, 1],
                "label": self.labels,
                "forget": self.forget,
            }
        )
        ends = np.full((len(self.X), 2), np.nan)
        ends[self.forget] = self.points
        crossed = np.zeros(len(self.X), dtype=bool)
        crossed[self.forget] = self.crossed
        return frame.assign(boundary_x0=ends[:, 0], boundary_x1=ends[:, 1], crossed=crossed)

    def plot(self, ax=None, **kwargs):
        """Draw it.

        Parameters
        ----------
        ax : matplotlib Axes, array of Axes or None, default=None
            Where to draw, one Axes a model; a single one is divided. None: a new figure.
        **kwargs : dict
            Options of the rows' ``ax.scatter``.

        Returns
        -------
        display : BoundaryDisplay
        """
        axes = make_axes(ax, 1, len(self.regions), size=(4.6, 3.8), sharex=True, sharey=True)
        self.regions_ = []
        for ax, (name, region) in zip(axes, self.regions.items(), strict=True):
            self.regions_.append(self._draw_regions(ax, region))
            self._draw_rows(ax, kwargs)
            if name == "original":  # the search was made on the fitted network
                self._draw_points(ax)
            ax.set_title(name, fontsize=11)
            ax.set_xlabel(self.feature_names[0])
        axes[0].set_ylabel(self.feature_names[1])
        handles, labels = axes[0].get_legend_handles_labels()
        legend_beside(axes[-1], handles=handles, labels=labels)
        self.ax_, self.figure_ = axes, axes[0].figure
        return self

    def _draw_regions(self, ax, region):
        from matplotlib.colors import ListedColormap

        colors = [color for color, _ in class_styles(len(self.classes))]
        mesh = ax.pcolormesh(
            self.x0,
            self.x1,
            region,
            cmap=ListedColormap(colors),
            vmin=-0.5,
            vmax=len(colors) - 0.5,
            alpha=0.3,
            shading="nearest",
            rasterized=True,
        )
        for code in np.unique(region)[1:]:  # the lines around all but one are all lines
            ax.contour(self.x0, self.x1, region == code, [0.5], colors="black", linewidths=0.8)
        return mesh

    def _draw_rows(self, ax, options):
        styles = class_styles(len(self.classes))
        for rows, is_forget in [(~self.forget, False), (self.forget, True)]:
            for label, (color, marker) in zip(self.classes, styles, strict=True):
                chosen = rows & (self.labels == label)
                if chosen.any():
                    style = {
                        "s": 22,
                        "marker": marker,
                        "color": FORGET_COLOR if is_forget else color,
                        "edgecolor": "black" if is_forget else "white",
                        "linewidth": 0.6,
                        "label": f"class {label}{', forget' * is_forget}",
                    }
                    ax.scatter(*self.X[chosen].T, **style | options)

    def _draw_points(self, ax):
        from matplotlib.collections import LineCollection

        segments = np.stack([self.X[self.forget], self.points], axis=1)
        ax.add_collection(LineCollection(segments, colors="black", linewidths=0.5, alpha=0.6))
        for chosen, color, name in [
            (self.crossed, "black", "boundary point"),
            (~self.crossed, "white", "not across"),
        ]:
            if chosen.any():
                ax.scatter(
                    *self.points[chosen].T,
                    s=30,
                    marker="X",
                    color=color,
                    edgecolor="white" if color == "black" else "black",
                    linewidth=0.5,
                    label=name,
                )


def _make_grid(X, resolution, margin):
    """Coordinates in each direction, ndarray of shape (2, resolution)."""
    low, high = np.nanmin(X, axis=0), np.nanmax(X, axis=0)
    beyond = margin * np.where(high > low, high - low, 1)
    return np.linspace(low - beyond, high + beyond, resolution).T
