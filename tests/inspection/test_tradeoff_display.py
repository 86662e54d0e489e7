import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV

from sklunlearn import ComposedUnlearner, FineTuneUnlearner
from sklunlearn.inspection import TradeoffDisplay

FRAME = pd.DataFrame(
    {"kept": [0.9, 0.7, 0.8, 0.5], "gone": [0.1, 0.9, 0.5, 0.5]}, index=[7, 8, 9, 9]
)


def test_numbers_drawn():
    front = np.array([True, True, True, False])
    display = TradeoffDisplay.from_frame(
        FRAME, x="kept", y="gone", front=front, knee=2, baselines={"original": (0.95, 0.0)}
    )
    drawn = display.candidates_.get_offsets()
    assert np.array_equal(drawn, FRAME.to_numpy())
    assert np.array_equal(display.front_.get_xydata(), [[0.7, 0.9], [0.8, 0.5], [0.9, 0.1]])
    assert display.front_.get_linestyle() == "-"
    frame = display.frame()
    assert list(frame) == ["name", "role", "kept", "gone"]
    assert frame["role"].tolist() == ["front", "front", "knee", "candidate", "baseline"]
    assert frame["name"].tolist() == ["0", "1", "2", "3", "original"]
    assert np.array_equal(frame[["kept", "gone"]], [*FRAME.to_numpy(), [0.95, 0.0]])
    _, _, knee, baseline = [
        artist.get_offsets().tolist() if hasattr(artist, "get_offsets") else None
        for artist in [display.candidates_, display.front_, *display.ax_.collections[1:]]
    ]
    assert knee == [[0.8, 0.5]] and baseline == [[0.95, 0.0]]
    legend = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert legend == ["candidate", "front", "chosen", "original"]
    assert (display.ax_.get_xlabel(), display.ax_.get_ylabel()) == ("kept", "gone")


def test_front_that_is_no_curve_is_not_joined():
    frame = pd.DataFrame({"a": [1.0, 2.0, 3.0], "b": [1.0, 3.0, 2.0]})
    display = TradeoffDisplay.from_frame(frame, x="a", y="b", front=[True] * 3)
    assert display.front_.get_linestyle() == "None"


def test_given_axes_and_options():
    _, ax = plt.subplots()
    display = TradeoffDisplay.from_frame(FRAME, x="kept", y="gone", ax=ax, s=5)
    assert display.ax_ is ax and display.figure_ is ax.figure
    assert display.front_ is None
    assert display.candidates_.get_sizes().tolist() == [5]


def test_names_beside_the_candidates():
    frame = FRAME.assign(method=["a", "b_$", 3, "d"])
    display = TradeoffDisplay.from_frame(
        frame, x="kept", y="gone", names="method", baselines={"original": (0.95, 0.0)}
    )
    assert [label.get_text() for label in display.labels_] == ["a", "b_$", "3", "d"]
    assert [label.xy for label in display.labels_] == [tuple(row) for row in FRAME.to_numpy()]
    assert display.frame()["name"].tolist() == ["a", "b_$", "3", "d", "original"]
    given = TradeoffDisplay.from_frame(FRAME, x="kept", y="gone", names=FRAME.index)
    assert [label.get_text() for label in given.labels_] == ["7", "8", "9", "9"]
    assert TradeoffDisplay.from_frame(FRAME, x="kept", y="gone").labels_ == []
    assert len(given.plot().ax_.texts) == 4


def test_what_is_good_is_at_the_axes():
    display = TradeoffDisplay.from_frame(
        FRAME, x="kept", y="gone", x_good="as retrained", y_good="low"
    )
    assert display.ax_.get_xlabel() == "kept (good: as retrained)"
    assert display.ax_.get_ylabel() == "gone (good: low)"
    assert list(display.frame())[2:] == ["kept", "gone"]


def _search():
    X = np.arange(12.0)[:, None]
    scoring = {"forgetting": "accuracy", "retention": "balanced_accuracy"}
    grid = {"C": [1e-4, 1.0, 100.0]}
    return GridSearchCV(LogisticRegression(), grid, scoring=scoring, refit="retention", cv=2), X


def test_search():
    search, X = _search()
    search.fit(X, [0, 1, 0, 1, 0, 0, 1, 0, 1, 1, 1, 1])
    search.pareto_front_ = pd.DataFrame({"any": [0, 0]}, index=[2, 0])
    search.original_scores_ = {"forgetting": 0.1, "retention": 0.9, "other": 0.5}
    display = TradeoffDisplay.from_search(search, baselines={"retrained": (0.8, 1.0)})
    frame = display.frame()
    assert np.array_equal(frame["retention"][:3], search.cv_results_["mean_test_retention"])
    assert np.array_equal(frame["forgetting"][:3], search.cv_results_["mean_test_forgetting"])
    assert display.front.tolist() == [True, False, True]
    assert display.knee == search.best_index_
    assert frame["name"].tolist()[3:] == ["original", "retrained"]
    assert frame[["retention", "forgetting"]][3:].to_numpy().tolist() == [[0.9, 0.1], [0.8, 1.0]]
    with pytest.raises(ValueError, match=r"no scorer 'gone'.*\['forgetting', 'retention'\]"):
        TradeoffDisplay.from_search(search, x="gone")


def test_search_must_be_fitted():
    with pytest.raises(NotFittedError):
        TradeoffDisplay.from_search(_search()[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": "lost"}, r"'lost' is not a column of `frame`.*\['kept', 'gone'\]"),
        ({"front": [0, 1]}, "`front` must be a boolean mask of the 4 rows.*int64"),
        ({"front": [True]}, r"of the 4 rows of `frame`, got bool of shape \(1,\)"),
        ({"names": "lost"}, "'lost' is not a column of `frame`"),
        ({"names": ["a"]}, r"one name for each of the 4 rows of `frame`.* got 1: \['a'\]"),
        ({"knee": 4}, "position from 0 to 3, got 4"),
    ],
)
def test_errors(change, message):
    with pytest.raises(ValueError, match=message):
        TradeoffDisplay.from_frame(FRAME, **({"x": "kept", "y": "gone"} | change))


class Answers:
    """A model that gives these labels."""

    def __init__(self, labels):
        self.labels = np.array(labels)

    def predict(self, X):
        return self.labels


def test_a_composition_and_its_members():
    class Composition(Answers, BaseEstimator):
        forget_target = 0.25
        named_estimators_ = {"a": Answers([0, 0, 1, 1, 1, 1]), "b": "drop"}

        def _restart(self):
            self.labels = np.array([0, 0, 0, 0, 1, 1])

        def fit(self):
            self.compatibility_ = {}
            return self

    composed = Composition([1, 1, 1, 0, 1, 0]).fit()
    y, forget = [0, 0, 0, 0, 1, 1], [0, 1, 2, 3]
    baselines = {"retrained": (1.0, 0.9)}
    display = TradeoffDisplay.from_composition(
        composed, np.zeros((6, 1)), y, forget=forget, baselines=baselines
    )
    frame = display.frame()
    assert frame["name"].tolist() == ["composed", "original", "a", "retrained"]
    assert frame["role"].tolist() == ["candidate", "baseline", "baseline", "baseline"]
    assert frame["retention"].tolist() == [0.5, 1.0, 1.0, 1.0]
    # Forget rows that are right: 1, 4 and 2 of 4; the target is 1 of 4.
    assert frame["forgetting"].tolist() == [1.0, 0.25, 0.75, 0.9]
    legend = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert legend == ["composed", "original", "a", "retrained"]
    assert composed.labels.tolist() == [1, 1, 1, 0, 1, 0], "the composition is not changed"


def test_a_composition_without_a_request():
    X, y = np.arange(6.0)[:, None], [0, 1] * 3
    fitted = ComposedUnlearner([("a", FineTuneUnlearner())], method="average").fit(X, y)
    released = clone(fitted).fit(X, y, forget=[0]).release()
    for composed in (clone(fitted), fitted, released):
        with pytest.raises(NotFittedError, match="has not carried out a request, or was released"):
            TradeoffDisplay.from_composition(composed, X, y, forget=[0])
    with pytest.raises(TypeError, match="needs a ComposedUnlearner, got a FineTuneUnlearner"):
        TradeoffDisplay.from_composition(FineTuneUnlearner().fit(X, y), X, y, forget=[0])
