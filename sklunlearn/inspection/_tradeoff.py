"""What forgetting costs: candidates of a search, their front and its knee."""

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sklunlearn.inspection._plotting import (
    FORGET_COLOR,
    LINE_COLOR,
    RETAIN_COLOR,
    label_points,
    legend_beside,
    make_axes,
)
from sklunlearn.inspection._tradeoff_points import points_of

__all__ = ["TradeoffDisplay"]

_BASELINE_MARKERS = ["^", "D", "v", "P", "X", "p", "<", ">"]


class TradeoffDisplay:
    """Forget score against retain score of many candidates.

    Make one with :meth:`from_search`, :meth:`from_composition` or :meth:`from_frame`.

    Parameters
    ----------
    x, y : ndarray of shape (n_candidates,)
        Scores of the candidates.
    front : ndarray of shape (n_candidates,), dtype bool, default=None
        The candidates that no other one dominates. None: not known.
    knee : int, default=None
        Position of the candidate that is chosen. None: none is.
    baselines : dict of str to (float, float), default=None
        Scores (x, y) of models to compare with.
    names : list of str, default=None
        Names of the candidates. None: their numbers.
    x_name, y_name : str, default="retain score" and "forget score"
        What the scores are called.
    x_good, y_good : str, default=None
        What is good, such as "low" or "as retrained"; it is written at the axis.
    annotate : bool, default=False
        Whether the names of the candidates are written beside them.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the picture.
    figure_ : matplotlib Figure
        Its figure.
    candidates_ : matplotlib PathCollection
        The candidates.
    front_ : matplotlib Line2D or None
        The front; its points are joined only where they make a curve in this plane, as those of
        a front of more than two scores do not.
    labels_ : list of matplotlib Annotation
        The names beside the candidates, if any.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> import pandas as pd
    >>> from sklunlearn.inspection import TradeoffDisplay
    >>> frame = pd.DataFrame({"retain": [0.99, 0.97, 0.95], "forgotten": [0.2, 0.9, 0.8]})
    >>> display = TradeoffDisplay.from_frame(
    ...     frame, x="retain", y="forgotten", front=[True, True, False], knee=1,
    ...     baselines={"retrained": (0.98, 1.0)},
    ... )
    >>> display.frame()["role"].tolist()
    ['front', 'knee', 'candidate', 'baseline']
    >>> plt.close(display.figure_)
    """

    def __init__(
        self,
        *,
        x,
        y,
        front=None,
        knee=None,
        baselines=None,
        names=None,
        x_name="retain score",
        y_name="forget score",
        x_good=None,
        y_good=None,
        annotate=False,
    ):
        self.x = x
        self.y = y
        self.front = front
        self.knee = knee
        self.baselines = baselines
        self.names = names
        self.x_name = x_name
        self.y_name = y_name
        self.x_good = x_good
        self.y_good = y_good
        self.annotate = annotate

    @classmethod
    def from_frame(
        cls,
        frame,
        *,
        x,
        y,
        names=None,
        x_good=None,
        y_good=None,
        front=None,
        knee=None,
        baselines=None,
        ax=None,
        **kwargs,
    ):
        """Draw the rows of a table.

        Parameters
        ----------
        frame : pandas.DataFrame
            One row a candidate.
        x, y : str
            Columns with the scores of the two axes.
        names : str or list of str, default=None
            Column with the names of the candidates, or the names, which are written beside them.
            ``names=frame.index`` takes the index. None: their numbers, which are not.
        x_good, y_good : str, default=None
            What is good, such as "low" or "as retrained"; it is written at the axis.
        front : array-like of shape (n_candidates,), dtype bool, default=None
            The candidates that no other one dominates.
        knee : int, default=None
            Position (not index label) of the candidate that is chosen.
        baselines : dict of str to (float, float), default=None
            Scores (x, y) of models to compare with.
        ax : matplotlib Axes, default=None
            Where to draw; None: a new figure.
        **kwargs : dict
            Options of the candidates' ``ax.scatter``.

        Returns
        -------
        display : TradeoffDisplay

        Raises
        ------
        ValueError
            If there is no such column, or `names`, `front` or `knee` does not suit the rows.
        """
        for name in (x, y, *([names] if isinstance(names, str) else [])):
            if name not in frame:
                raise ValueError(
                    f"{name!r} is not a column of `frame`: choose from {list(frame.columns)}."
                )
        n = len(frame)
        if names is not None:
            names = [str(name) for name in (frame[names] if isinstance(names, str) else names)]
            if len(names) != n:
                raise ValueError(
                    f"`names` must be one name for each of the {n} rows of `frame`, or a column of "
                    f"it, got {len(names)}: {names[:5]}."
                )
        if front is not None:
            front = np.asarray(front)
            if front.dtype != bool or front.shape != (n,):
                raise ValueError(
                    f"`front` must be a boolean mask of the {n} rows of `frame`, got "
                    f"{front.dtype} of shape {front.shape}."
                )
        if knee is not None and not 0 <= knee < n:
            raise ValueError(f"`knee` must be a position from 0 to {n - 1}, got {knee!r}.")
        display = cls(
            x=frame[x].to_numpy(dtype=float),
            y=frame[y].to_numpy(dtype=float),
            front=front,
            knee=knee,
            baselines=baselines,
            names=names,
            x_name=str(x),
            y_name=str(y),
            x_good=x_good,
            y_good=y_good,
            annotate=names is not None,
        )
        return display.plot(ax=ax, **kwargs)

    @classmethod
    def from_search(
        cls, search, *, x="retention", y="forgetting", baselines=None, ax=None, **kwargs
    ):
        """Draw the candidates of a search.

        Parameters
        ----------
        search : TradeoffSearchCV, GridSearchCV or alike
            Fitted, with several scorers. The candidate of `best_index_` is marked; those of
            `pareto_front_` and the scores of `original_scores_`, which a TradeoffSearchCV has, too.
        x, y : str, default="retention" and "forgetting"
            Names of two scorers; their means over the test folds are drawn.
        baselines : dict of str to (float, float), default=None
            Scores (x, y) of further models to compare with.
        ax : matplotlib Axes, default=None
            Where to draw; None: a new figure.
        **kwargs : dict
            Options of the candidates' ``ax.scatter``.

        Returns
        -------
        display : TradeoffDisplay

        Raises
        ------
        NotFittedError
            If the search is not fitted.
        ValueError
            If it has no scorer of that name.
        """
        import pandas as pd

        check_is_fitted(search, "cv_results_")
        prefix = "mean_test_"
        columns = {
            key.removeprefix(prefix): values
            for key, values in search.cv_results_.items()
            if key.startswith(prefix)
        }
        for name in (x, y):
            if name not in columns:
                raise ValueError(
                    f"The search has no scorer {name!r}: choose from {list(columns)}, or give it "
                    "more with `scoring`."
                )
        scores = pd.DataFrame(columns)
        front = getattr(search, "pareto_front_", None)
        if front is not None:
            front = np.isin(np.arange(len(scores)), front.index)
        knee = getattr(search, "best_index_", None)
        original = getattr(search, "original_scores_", None)
        known = {} if original is None else {"original": (original[x], original[y])}
        baselines = known | (baselines or {})
        return cls.from_frame(
            scores, x=x, y=y, front=front, knee=knee, baselines=baselines, ax=ax, **kwargs
        )

    @classmethod
    def from_composition(cls, composed, X, y, *, forget, baselines=None, ax=None, **kwargs):
        """Draw a composition, its members and the original network.

        Parameters
        ----------
        composed : ComposedUnlearner
            After a request.
        X : array-like of shape (n_samples, ...) or torch Dataset
            Rows that were not used to choose anything, for instance test rows.
        y : array-like of shape (n_samples,)
            Their labels.
        forget : array-like of shape (n_samples,), dtype bool, or of row indices
            Those that are like the forgotten rows; the others are like the retained ones.
        baselines : dict of str to (float, float), default=None
            Retention and forgetting of further models, for instance the retrained one.
        ax : matplotlib Axes, default=None
            Where to draw; None: a new figure.
        **kwargs : dict
            Options of the ``ax.scatter`` of the composition.

        Returns
        -------
        display : TradeoffDisplay
            "retention" is the accuracy on the retain rows, "forgetting" is 1 less the distance of
            the accuracy on the forget rows from `forget_target` of the composition.

        Raises
        ------
        TypeError
            If `composed` is no composition.
        NotFittedError
            If the composition has not carried out a request, or was released.
        ValueError
            If `forget` marks no row, or all.
        """
        (x_composed, y_composed), known = points_of(composed, X, y, forget)
        display = cls(
            x=np.array([x_composed]),
            y=np.array([y_composed]),
            names=["composed"],
            baselines=known | (baselines or {}),
            x_name="retention",
            y_name="forgetting",
        )
        style = {"s": 260, "marker": "*", "facecolor": FORGET_COLOR, "edgecolor": "black"}
        return display.plot(ax=ax, **{**style, "zorder": 4, "label": "composed", **kwargs})

    def frame(self):
        """The numbers of the picture.

        Returns
        -------
        frame : pandas.DataFrame
            One row a candidate, then one a baseline, which `name` names. `role` is "candidate",
            "front", "knee" or "baseline"; the scores are in columns of their names.
        """
        import pandas as pd

        roles = np.full(len(self.x), "candidate", dtype=object)
        if self.front is not None:
            roles[self.front] = "front"
        if self.knee is not None:
            roles[self.knee] = "knee"
        baselines = self.baselines or {}
        scores = [*zip(self.x, self.y, strict=True), *baselines.values()]
        frame = pd.DataFrame(scores, columns=[self.x_name, self.y_name], dtype=float)
        frame.insert(0, "role", [*roles, *["baseline"] * len(baselines)])
        names = map(str, range(len(roles))) if self.names is None else self.names
        frame.insert(0, "name", [*names, *baselines])
        return frame

    def plot(self, ax=None, **kwargs):
        """Draw it.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None: a new figure.
        **kwargs : dict
            Options of the candidates' ``ax.scatter``.

        Returns
        -------
        display : TradeoffDisplay
        """
        (ax,) = make_axes(ax, size=(6.8, 4.2))
        options = {"s": 36, "facecolor": "none", "edgecolor": RETAIN_COLOR, "label": "candidate"}
        self.candidates_ = ax.scatter(self.x, self.y, **options | kwargs)
        self.front_ = None
        if self.front is not None:
            order = np.flatnonzero(self.front)
            order = order[np.lexsort((-self.y[order], self.x[order]))]
            steps = np.diff(self.y[order])
            # The front of three scores is no curve in the plane of two.
            line = "s-" if (steps <= 0).all() or (steps >= 0).all() else "s"
            style = {"color": LINE_COLOR, "markersize": 6, "label": "front"}
            (self.front_,) = ax.plot(self.x[order], self.y[order], line, **style)
        if self.knee is not None:
            at = self.x[self.knee], self.y[self.knee]
            style = {"s": 260, "marker": "*", "color": FORGET_COLOR, "edgecolor": "black"}
            ax.scatter(*at, **style, zorder=4, label="chosen")
        for i, (name, at) in enumerate((self.baselines or {}).items()):
            marker = _BASELINE_MARKERS[i % len(_BASELINE_MARKERS)]
            ax.scatter(*at, s=70, marker=marker, color="black", zorder=3, label=name)
        ax.set_xlabel(self.x_name + (f" (good: {self.x_good})" if self.x_good else ""))
        ax.set_ylabel(self.y_name + (f" (good: {self.y_good})" if self.y_good else ""))
        ax.margins(0.08)
        legend_beside(ax)
        self.labels_ = []
        if self.annotate:
            points = np.column_stack([self.x, self.y])
            names = self.frame()["name"][: len(points)]
            others = list((self.baselines or {}).values())
            self.labels_ = label_points(ax, points, names, others)
        self.ax_, self.figure_ = ax, ax.figure
        return self
