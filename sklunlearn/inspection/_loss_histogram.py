"""Losses of members and non-members, from which a membership inference attack would tell them."""

import numpy as np

from sklunlearn.inspection._models import find_models, losses_of
from sklunlearn.inspection._plotting import FORGET_COLOR, legend_beside, make_axes

__all__ = ["LossHistogramDisplay"]


class LossHistogramDisplay:
    """Histograms of the losses of members and of non-members, under each model.

    Make one with :meth:`from_estimator` or :meth:`from_losses`. Under a model that has forgotten
    the members, the two histograms of a panel are as alike as under the retrained one. The bins
    have equal width on a logarithmic axis; they are the same in all panels.

    Parameters
    ----------
    losses : dict of str to (ndarray, ndarray)
        Losses of the members and of the non-members in nats, for each model.
    bins : ndarray of shape (n_bins + 1,)
        Edges of the bins, ascending and above 0. Smaller losses are counted in the first bin,
        larger ones in the last.

    Attributes
    ----------
    ax_ : ndarray of matplotlib Axes of shape (n_models,)
        Axes of the models.
    figure_ : matplotlib Figure
        Their figure.
    stairs_ : list of matplotlib StepPatch
        The histograms: for each model that of the members and that of the non-members.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import load_iris
    >>> from sklunlearn import BoundaryUnlearner
    >>> from sklunlearn.inspection import LossHistogramDisplay
    >>> X, y = load_iris(return_X_y=True)
    >>> X_train, y_train, X_test, y_test = X[::2], y[::2], X[1::2], y[1::2]
    >>> unlearner = BoundaryUnlearner(random_state=0)
    >>> unlearner.fit(X_train, y_train, forget=(y_train == 2))
    BoundaryUnlearner(...)
    >>> display = LossHistogramDisplay.from_estimator(
    ...     unlearner, X_train[y_train == 2], y_train[y_train == 2],
    ...     X_test[y_test == 2], y_test[y_test == 2],
    ... )
    >>> list(display.losses)
    ['original', 'unlearned']
    >>> plt.close(display.figure_)
    """

    def __init__(self, *, losses, bins):
        self.losses = losses
        self.bins = bins

    @classmethod
    def from_estimator(
        cls,
        unlearner,
        X,
        y,
        X_unseen,
        y_unseen,
        *,
        retrained=None,
        n_bins=30,
        lowest=None,
        ax=None,
        **kwargs,
    ):
        """Ask the models for the losses, and draw them.

        Parameters
        ----------
        unlearner : BaseUnlearner
            Fitted. A released one has no original model, which is then left out.
        X, y : array-like or torch Dataset, array-like of shape (n_samples,)
            Members: the rows that were forgotten, and their labels.
        X_unseen, y_unseen : array-like or torch Dataset, array-like of shape (n_samples,)
            Non-members: rows of the same kind that no model was trained on.
        retrained : BaseUnlearner, default=None
            A model that never saw the members: a `RetrainUnlearner` after `unlearn`.
        n_bins : int, default=30
            Number of bins.
        lowest : float or None, default=None
            Lower edge of the first bin, in nats; smaller losses are counted in that bin. None:
            the smallest loss, but at least 1e-9.
        ax : matplotlib Axes, array of Axes or None, default=None
            Where to draw, one Axes a model; a single one is divided. None: a new figure.
        **kwargs : dict
            Options of ``ax.stairs``.

        Returns
        -------
        display : LossHistogramDisplay

        Raises
        ------
        TypeError, ValueError
            If a model is not a fitted unlearner, or the rows do not suit it.
        """
        losses = {
            name: (losses_of(model, X, y), losses_of(model, X_unseen, y_unseen))
            for name, model in find_models(unlearner, retrained).items()
        }
        return cls.from_losses(losses, n_bins=n_bins, lowest=lowest, ax=ax, **kwargs)

    @classmethod
    def from_losses(cls, losses, *, n_bins=30, lowest=None, ax=None, **kwargs):
        """Draw losses.

        Parameters
        ----------
        losses : dict of str to (array-like, array-like)
            Losses of the members and of the non-members in nats, for each model.
        n_bins : int, default=30
            Number of bins.
        lowest : float or None, default=None
            Lower edge of the first bin, in nats; smaller losses are counted in that bin. None:
            the smallest loss, but at least 1e-9.
        ax : matplotlib Axes, array of Axes or None, default=None
            Where to draw, one Axes a model; a single one is divided. None: a new figure.
        **kwargs : dict
            Options of ``ax.stairs``.

        Returns
        -------
        display : LossHistogramDisplay

        Raises
        ------
        ValueError
            If there is no loss, or one that is not finite.
        """
        losses = {
            name: tuple(np.asarray(group, dtype=float) for group in groups)
            for name, groups in losses.items()
        }
        for name, groups in losses.items():
            for group, kind in zip(groups, ("members", "non-members"), strict=True):
                if group.size == 0 or not np.isfinite(group).all():
                    raise ValueError(
                        f"The losses of {kind} under {name!r} must be finite and at least one, got "
                        f"{group.size} with {np.sum(~np.isfinite(group))} that are not finite."
                    )
        together = np.concatenate([group for groups in losses.values() for group in groups])
        if lowest is None:
            lowest = max(together.min(), 1e-9)
        elif not lowest > 0:
            raise ValueError(f"`lowest` must be above 0, as the axis is logarithmic; got {lowest}.")
        bins = np.geomspace(lowest, max(together.max(), 10 * lowest), n_bins + 1)
        return cls(losses=losses, bins=bins).plot(ax=ax, **kwargs)

    def frame(self):
        """The numbers of the picture.

        Returns
        -------
        frame : pandas.DataFrame
            A row for each bin of each histogram: "model", "group" ("members" or "non-members"),
            "left" and "right" edge in nats, and the "fraction" of the group that is in it.
        """
        import pandas as pd

        parts = [
            pd.DataFrame(
                {
                    "model": name,
                    "group": group,
                    "left": self.bins[:-1],
                    "right": self.bins[1:],
                    "fraction": self._fractions(losses),
                }
            )
            for name, groups in self.losses.items()
            for group, losses in zip(("members", "non-members"), groups, strict=True)
        ]
        return pd.concat(parts, ignore_index=True)

    def _fractions(self, losses):
        counts, _ = np.histogram(np.clip(losses, self.bins[0], self.bins[-1]), self.bins)
        return counts / len(losses)

    def plot(self, ax=None, **kwargs):
        """Draw it.

        Parameters
        ----------
        ax : matplotlib Axes, array of Axes or None, default=None
            Where to draw, one Axes a model; a single one is divided. None: a new figure.
        **kwargs : dict
            Options of ``ax.stairs``.

        Returns
        -------
        display : LossHistogramDisplay
        """
        axes = make_axes(ax, len(self.losses), size=(6.8, 1.9), sharex=True, sharey=True)
        self.stairs_ = []
        for ax, (name, (members, others)) in zip(axes, self.losses.items(), strict=True):
            for losses, style in [
                (members, {"fill": True, "color": FORGET_COLOR, "alpha": 0.55, "label": "members"}),
                (others, {"color": "black", "linewidth": 1.6, "label": "non-members"}),
            ]:
                heights = self._fractions(losses)
                self.stairs_.append(ax.stairs(heights, self.bins, **style | kwargs))
            ax.set_xscale("log")
            ax.set_title(name, loc="left", fontsize=10)
            ax.set_ylabel("fraction")
        lowest = min(group.min() for groups in self.losses.values() for group in groups)
        below = f"; first bin: all up to {self.bins[1]:.0e}" * bool(lowest < self.bins[0])
        axes[-1].set_xlabel(f"loss (nats{below})")
        legend_beside(axes[0])
        self.ax_, self.figure_ = axes, axes[0].figure
        return self
