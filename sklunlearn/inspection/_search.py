"""How a boundary search went."""

import numpy as np

from sklunlearn.inspection._models import check_unlearner
from sklunlearn.inspection._plotting import FORGET_COLOR, LINE_COLOR, make_axes

__all__ = ["SearchDisplay"]


class SearchDisplay:
    """Fraction crossed, loss and gradient norm after each step of a boundary search.

    Make one with :meth:`from_estimator` or :meth:`from_search`.

    Parameters
    ----------
    fraction_crossed : ndarray of shape (n_steps + 1,)
        Share of the rows that are across after 0, 1, ... steps.
    loss : ndarray of shape (n_steps + 1,)
        Their mean cross-entropy in nats.
    gradient_norm : ndarray of shape (n_steps,)
        Mean L1 norm of the gradient that the next step follows, over the rows that take it.

    Attributes
    ----------
    ax_ : ndarray of matplotlib Axes of shape (3,)
        Axes of the three quantities.
    figure_ : matplotlib Figure
        Their figure.
    lines_ : list of matplotlib Line2D
        The three curves.

    See Also
    --------
    sklunlearn.search.perturbed_sign_search : The search.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import load_iris
    >>> from sklunlearn import BoundaryUnlearner
    >>> from sklunlearn.inspection import SearchDisplay
    >>> X, y = load_iris(return_X_y=True)
    >>> unlearner = BoundaryUnlearner(random_state=0).fit(X, y, forget=(y == 2))
    >>> display = SearchDisplay.from_estimator(unlearner)
    >>> float(display.frame()["fraction_crossed"].iloc[-1])
    1.0
    >>> plt.close(display.figure_)
    """

    def __init__(self, *, fraction_crossed, loss, gradient_norm):
        self.fraction_crossed = fraction_crossed
        self.loss = loss
        self.gradient_norm = gradient_norm

    @classmethod
    def from_estimator(cls, unlearner, *, ax=None, **kwargs):
        """Draw the last search of an unlearner, its `search_`.

        Parameters
        ----------
        unlearner : BoundaryUnlearner
            After `unlearn`.
        ax : matplotlib Axes, array of 3 Axes or None, default=None
            Where to draw; a single Axes is divided. None: a new figure.
        **kwargs : dict
            Options of the curves' ``ax.plot``.

        Returns
        -------
        display : SearchDisplay

        Raises
        ------
        ValueError
            If the unlearner has made no search.
        """
        check_unlearner(unlearner)
        search = getattr(unlearner, "search_", None)
        if search is None:
            raise ValueError(
                f"This {type(unlearner).__name__} has no `search_` to draw, which a "
                "BoundaryUnlearner has after `unlearn`, unless it was released or has "
                'target="tilted". For another search use SearchDisplay.from_search.'
            )
        return cls.from_search(search, ax=ax, **kwargs)

    @classmethod
    def from_search(cls, search, *, ax=None, **kwargs):
        """Draw a search.

        Parameters
        ----------
        search : sklunlearn.search.BoundarySearch
            What :func:`sklunlearn.search.perturbed_sign_search` returns.
        ax : matplotlib Axes, array of 3 Axes or None, default=None
            Where to draw; a single Axes is divided. None: a new figure.
        **kwargs : dict
            Options of the curves' ``ax.plot``.

        Returns
        -------
        display : SearchDisplay
        """
        display = cls(
            fraction_crossed=search.fraction_crossed,
            loss=search.loss,
            gradient_norm=search.gradient_norm,
        )
        return display.plot(ax=ax, **kwargs)

    def frame(self):
        """The numbers of the picture.

        Returns
        -------
        frame : pandas.DataFrame
            A row for 0, 1, ... steps, with columns "step", "fraction_crossed", "loss" and
            "gradient_norm"; after the last step no gradient is taken, and the norm is NaN.
        """
        import pandas as pd

        return pd.DataFrame(
            {
                "step": np.arange(len(self.loss)),
                "fraction_crossed": self.fraction_crossed,
                "loss": self.loss,
                "gradient_norm": np.append(self.gradient_norm, np.nan),
            }
        )

    def plot(self, ax=None, **kwargs):
        """Draw it.

        Parameters
        ----------
        ax : matplotlib Axes, array of 3 Axes or None, default=None
            Where to draw; a single Axes is divided. None: a new figure.
        **kwargs : dict
            Options of the curves' ``ax.plot``.

        Returns
        -------
        display : SearchDisplay
        """
        axes = make_axes(ax, 3, size=(6, 1.7), sharex=True)
        panels = [
            ("fraction of\nrows across", self.fraction_crossed, FORGET_COLOR),
            ("mean loss\n(nats)", self.loss, LINE_COLOR),
            ("mean L1 norm of\ngradient (nats)", self.gradient_norm, "black"),
        ]
        self.lines_ = []
        for ax, (name, values, color) in zip(axes, panels, strict=True):
            options = {"color": color, "marker": "o", "markersize": 3}
            self.lines_ += ax.plot(np.arange(len(values)), values, **options | kwargs)
            ax.set_ylabel(name)
            ax.grid(alpha=0.3)
            ax.xaxis.get_major_locator().set_params(integer=True)
        axes[0].set_ylim(-0.05, 1.05)
        axes[-1].set_xlabel("steps taken")
        self.ax_, self.figure_ = axes, axes[0].figure
        return self
