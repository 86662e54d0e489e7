"""Embeddings of rows in the plane, under each model."""

import numpy as np
from scipy.linalg import orthogonal_procrustes
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from sklunlearn._validation import check_X_y, encode_labels
from sklunlearn.embeddings import embed
from sklunlearn.inspection._models import check_unlearner, find_models, rows_of
from sklunlearn.inspection._plotting import (
    FORGET_COLOR,
    class_styles,
    legend_beside,
    make_axes,
)
from sklunlearn.requests import check_forget

__all__ = ["EmbeddingDisplay"]


class EmbeddingDisplay:
    """Embeddings of the same rows under the original, unlearned and retrained model.

    Make one with :meth:`from_estimator`. Every model has a projection of its own, as the
    embeddings of networks that were trained separately have no axes in common; each is turned and
    mirrored, but not stretched, to lie as close to the first one as it can. So compare groups and
    their neighbours between panels, not positions.

    Parameters
    ----------
    embeddings : dict of str to ndarray of shape (n_samples, 2)
        Projected embeddings, for each model.
    labels : ndarray of shape (n_samples,)
        Labels of the rows.
    forget : ndarray of shape (n_samples,), dtype bool
        The rows that were forgotten.
    method : str, default="embedding"
        Name of the projection, for the axes.

    Attributes
    ----------
    ax_ : ndarray of matplotlib Axes of shape (n_models,)
        Axes of the models.
    figure_ : matplotlib Figure
        Their figure.

    Notes
    -----
    Of an ensemble, as a `SISAUnlearner` makes it, the last network gives the embeddings.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import load_iris
    >>> from sklunlearn import BoundaryUnlearner
    >>> from sklunlearn.inspection import EmbeddingDisplay
    >>> X, y = load_iris(return_X_y=True)
    >>> unlearner = BoundaryUnlearner(random_state=0).fit(X, y, forget=(y == 2))
    >>> display = EmbeddingDisplay.from_estimator(unlearner, X, y, forget=(y == 2))
    >>> display.embeddings["unlearned"].shape
    (150, 2)
    >>> plt.close(display.figure_)
    """

    def __init__(self, *, embeddings, labels, forget, method="embedding"):
        self.embeddings = embeddings
        self.labels = labels
        self.forget = forget
        self.method = method

    @classmethod
    def from_estimator(
        cls,
        unlearner,
        X,
        y,
        *,
        forget,
        retrained=None,
        method="pca",
        cut=None,
        random_state=0,
        ax=None,
        **kwargs,
    ):
        """Embed the rows, project the embeddings and draw them.

        Parameters
        ----------
        unlearner : BaseUnlearner
            Fitted. A released one has no original model, which is then left out.
        X : array-like of shape (n_samples, ...) or torch Dataset
            Rows to embed.
        y : array-like of shape (n_samples,)
            Their labels.
        forget : array-like of shape (n_samples,), dtype bool, or of row indices
            The rows that were forgotten.
        retrained : BaseUnlearner, default=None
            A model that never saw these rows: a `RetrainUnlearner` after `unlearn`.
        method : {"pca", "tsne"} or transformer, default="pca"
            Projection to the plane; of a transformer a clone is fitted to each model's embeddings.
            t-SNE takes seconds for a thousand rows: pass a sample of the rows.
        cut : str or None, default=None
            Name of the submodule whose input is the embedding; see
            :func:`sklunlearn.embeddings.find_cut`.
        random_state : int, RandomState instance or None, default=0
            Seed of "tsne".
        ax : matplotlib Axes, array of Axes or None, default=None
            Where to draw, one Axes a model; a single one is divided. None: a new figure.
        **kwargs : dict
            Options of ``ax.scatter``.

        Returns
        -------
        display : EmbeddingDisplay

        Raises
        ------
        TypeError, ValueError
            If a model is not a fitted unlearner, an argument does not suit it, or embeddings are
            of fewer than two values.
        """
        check_unlearner(unlearner)
        _, labels = check_X_y(unlearner, X, y, reset=False)
        encode_labels(labels, unlearner.classes_)
        forget = check_forget(forget, len(labels))
        name, projector = _find_projector(method, len(labels), random_state)
        embeddings = {}
        for model_name, model in find_models(unlearner, retrained).items():
            rows = rows_of(model, X)
            embedded = embed(model.net_, rows, cut).numpy()
            if embedded.shape[1] < 2:
                raise ValueError(
                    f"The embeddings of the {model_name} model are of {embedded.shape[1]} value, "
                    "which makes no plane: name another submodule as `cut`."
                )
            embeddings[model_name] = _align(projector, embedded, embeddings)
        display = cls(embeddings=embeddings, labels=labels, forget=forget, method=name)
        return display.plot(ax=ax, **kwargs)

    def frame(self):
        """The numbers of the picture.

        Returns
        -------
        frame : pandas.DataFrame
            A row for each row of each model: "model", "x" and "y" in the plane, "label" and
            "forget".
        """
        import pandas as pd

        parts = [
            pd.DataFrame(
                {
                    "model": name,
                    "x": points[:, 0],
                    "y": points[:, 1],
                    "label": self.labels,
                    "forget": self.forget,
                }
            )
            for name, points in self.embeddings.items()
        ]
        return pd.concat(parts, ignore_index=True)

    def plot(self, ax=None, **kwargs):
        """Draw it.

        Parameters
        ----------
        ax : matplotlib Axes, array of Axes or None, default=None
            Where to draw, one Axes a model; a single one is divided. None: a new figure.
        **kwargs : dict
            Options of ``ax.scatter``.

        Returns
        -------
        display : EmbeddingDisplay
        """
        axes = make_axes(ax, 1, len(self.embeddings), size=(3.6, 3.6))
        classes = np.unique(self.labels)
        for ax, (name, points) in zip(axes, self.embeddings.items(), strict=True):
            for rows, is_forget in [(~self.forget, False), (self.forget, True)]:
                for label, (color, marker) in zip(classes, class_styles(len(classes)), strict=True):
                    chosen = rows & (self.labels == label)
                    if not chosen.any():
                        continue
                    style = {"s": 18, "color": color, "alpha": 0.7, "linewidth": 0}
                    if is_forget:
                        style = {"s": 22, "color": FORGET_COLOR, "edgecolor": "black"}
                        style["linewidth"] = 0.6
                    style |= {"marker": marker, "label": f"class {label}{', forget' * is_forget}"}
                    ax.scatter(*points[chosen].T, **style | kwargs)
            ax.set_title(name, fontsize=11)
            ax.set_xlabel(f"{self.method} plane, axis 1")
            ax.tick_params(labelsize=8)
        axes[0].set_ylabel(f"{self.method} plane, axis 2")
        legend_beside(axes[-1], markerscale=1.5)
        self.ax_, self.figure_ = axes, axes[0].figure
        return self


def _find_projector(method, n_samples, random_state):
    """Name of a projection, and the transformer."""
    if method == "pca":
        return "PCA", PCA(2)
    if method == "tsne":
        # The default perplexity, 30, needs some hundred rows.
        perplexity = max(1, min(30, (n_samples - 1) / 3))
        return "t-SNE", TSNE(2, perplexity=perplexity, random_state=random_state)
    if hasattr(method, "fit_transform"):
        return type(method).__name__, method
    raise ValueError(
        f"`method` must be 'pca', 'tsne' or a transformer with `fit_transform`, got {method!r}."
    )


def _align(projector, embedded, embeddings):
    """Project embeddings, and turn them towards those of the first model, if there are any."""
    points = np.asarray(clone(projector).fit_transform(embedded), dtype=float)
    points -= points.mean(axis=0)
    if not embeddings:
        return points
    turn, _ = orthogonal_procrustes(points, next(iter(embeddings.values())))
    return points @ turn
