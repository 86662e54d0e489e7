"""How an unlearning run went, epoch by epoch."""

import numpy as np

from sklunlearn.inspection._models import check_unlearner
from sklunlearn.inspection._plotting import FORGET_COLOR, LINE_COLOR, make_axes

__all__ = ["ForgettingCurveDisplay"]

_NAMES = {
    "train_loss": "train loss",
    "valid_loss": "validation loss",
    "forget_accuracy": "accuracy on\nforget rows",
}


class ForgettingCurveDisplay:
    """Training loss of an unlearning run, and what else was recorded, after each epoch.

    Make one with :meth:`from_estimator` or :meth:`from_history`.

    Parameters
    ----------
    epochs : ndarray of shape (n_epochs,), dtype int
        Number of each epoch, from 1.
    curves : dict of str to ndarray of shape (n_epochs,)
        The quantities, each drawn in a panel of its own; NaN where one was not recorded.

    Attributes
    ----------
    ax_ : ndarray of matplotlib Axes of shape (n_curves,)
        Axes of the quantities.
    figure_ : matplotlib Figure
        Their figure.
    lines_ : list of matplotlib Line2D
        The curves.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import load_iris
    >>> from sklunlearn import BoundaryUnlearner
    >>> from sklunlearn.inspection import ForgettingCurveDisplay
    >>> X, y = load_iris(return_X_y=True)
    >>> unlearner = BoundaryUnlearner(stop_accuracy=0, max_epochs=50, random_state=0)
    >>> unlearner.fit(X, y, forget=(y == 2))
    BoundaryUnlearner(...)
    >>> display = ForgettingCurveDisplay.from_estimator(unlearner)
    >>> list(display.frame())
    ['epoch', 'train_loss', 'forget_accuracy']
    >>> plt.close(display.figure_)
    """

    def __init__(self, *, epochs, curves):
        self.epochs = epochs
        self.curves = curves

    @classmethod
    def from_estimator(cls, unlearner, *, keys=None, ax=None, **kwargs):
        """Draw the last run of an unlearner, its `history_`.

        Parameters
        ----------
        unlearner : BaseUnlearner
            After `unlearn`.
        keys : list of str or None, default=None
            What to draw of what the history records, also by callbacks of one's own. None: the
            train loss and, if `stop_accuracy` was set, the accuracy on the forget rows.
        ax : matplotlib Axes, array of Axes or None, default=None
            Where to draw, one Axes a key; a single one is divided. None: a new figure.
        **kwargs : dict
            Options of the curves' ``ax.plot``.

        Returns
        -------
        display : ForgettingCurveDisplay

        Raises
        ------
        ValueError
            If there is no history, or nothing of that name in it.
        """
        check_unlearner(unlearner)
        history = getattr(unlearner, "history_", None)
        if history is None:
            raise ValueError(
                f"This {type(unlearner).__name__} has no `history_`: it has not unlearned yet, or "
                "was released. Call `unlearn` first, and draw before `release`."
            )
        return cls.from_history(history, keys=keys, ax=ax, **kwargs)

    @classmethod
    def from_history(cls, history, *, keys=None, ax=None, **kwargs):
        """Draw a skorch history.

        Parameters
        ----------
        history : skorch.history.History or list of dict
            One entry an epoch.
        keys : list of str or None, default=None
            What to draw. None: "train_loss" and "forget_accuracy", as far as they are recorded.
        ax : matplotlib Axes, array of Axes or None, default=None
            Where to draw, one Axes a key; a single one is divided. None: a new figure.
        **kwargs : dict
            Options of the curves' ``ax.plot``.

        Returns
        -------
        display : ForgettingCurveDisplay

        Raises
        ------
        ValueError
            If the history is empty, or does not record a key as numbers.
        """
        if len(history) == 0:
            raise ValueError(
                "The history has no epoch to draw: the method does not train, or did nothing."
            )
        entries = list(history)
        recorded = {key for entry in entries for key, v in entry.items() if np.isscalar(v)}
        recorded -= {"epoch"}
        if keys is None:
            keys = [key for key in ("train_loss", "forget_accuracy") if key in recorded]
        unknown = [key for key in keys if key not in recorded]
        if unknown or not keys:
            raise ValueError(
                f"The history does not record {unknown or 'a train loss'}; pass as `keys` some of "
                f"{sorted(recorded)}."
            )
        curves = {
            key: np.array([entry.get(key, np.nan) for entry in entries], dtype=float)
            for key in keys
        }
        return cls(epochs=np.arange(1, len(entries) + 1), curves=curves).plot(ax=ax, **kwargs)

    def frame(self):
        """The numbers of the picture.

        Returns
        -------
        frame : pandas.DataFrame
            A row an epoch, with the column "epoch" and one a quantity.
        """
        import pandas as pd

        return pd.DataFrame({"epoch": self.epochs, **self.curves})

    def plot(self, ax=None, **kwargs):
        """Draw it.

        Parameters
        ----------
        ax : matplotlib Axes, array of Axes or None, default=None
            Where to draw, one Axes a quantity; a single one is divided. None: a new figure.
        **kwargs : dict
            Options of the curves' ``ax.plot``.

        Returns
        -------
        display : ForgettingCurveDisplay
        """
        axes = make_axes(ax, len(self.curves), size=(6, 2), sharex=True)
        self.lines_ = []
        for ax, (key, values) in zip(axes, self.curves.items(), strict=True):
            color = FORGET_COLOR if key == "forget_accuracy" else LINE_COLOR
            options = {"color": color, "marker": "o", "markersize": 4}
            self.lines_ += ax.plot(self.epochs, values, **options | kwargs)
            ax.set_ylabel(_NAMES.get(key, key.replace("_", " ")))
            ax.grid(alpha=0.3)
            ax.xaxis.get_major_locator().set_params(integer=True)
            if "accuracy" in key:
                ax.set_ylim(-0.05, 1.05)
        axes[-1].set_xlabel("epoch")
        self.ax_, self.figure_ = axes, axes[0].figure
        return self
