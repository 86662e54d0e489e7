"""Criteria of `forget_mask` beyond classes, queries and fractions, and how they combine."""

import numpy as np
import pandas as pd
import pytest

from sklunlearn.requests import forget_mask

Y = np.array([0, 1, 0, 1, 0, 1, 0, 1])
FRAME = pd.DataFrame(
    {
        "patient": ["p1", "p2", "p1", "p3", None, "p7", "p7", "p2"],
        "site id": [1, 2, 1, 2, 1, 2, 1, 2],
        "mixed": pd.Series([3, "3", 3, "3", 3.0, None, 4, 4], dtype=object).array,
        "grade": pd.Categorical(list("aabbccaa")),
    },
    index=[5, 5, 4, 3, 2, 1, 0, 9],
)


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        ({"patient": "p1"}, [0, 2]),
        ({"patient": ["p1", "p7"]}, [0, 2, 5, 6]),
        ({"patient": {"p3"}}, [3]),
        ({"patient": np.array(["p1", "p7"])}, [0, 2, 5, 6]),
        ({"site id": 1}, [0, 2, 4, 6]),
        ({"site id": np.int64(1)}, [0, 2, 4, 6]),
        ({"patient": ["p1", "p7"], "site id": 1}, [0, 2, 6]),
        ({"mixed": 3}, [0, 2, 4]),
        ({"mixed": "3"}, [1, 3]),
        ({"grade": ["b", "c"]}, [2, 3, 4, 5]),
    ],
)
def test_groups(groups, expected):
    assert np.flatnonzero(forget_mask(metadata=FRAME, groups=groups)).tolist() == expected


def test_all_criteria_are_intersected():
    mask = forget_mask(
        Y, FRAME, classes=0, groups={"patient": ["p1", "p2", "p7"]}, query="grade == 'a'"
    )
    assert np.flatnonzero(mask).tolist() == [0, 6]


@pytest.mark.parametrize("n_samples", [1, 2, 3, np.int64(4)])
def test_an_exact_number_of_the_selected_rows(n_samples):
    masks = [
        forget_mask(Y, classes=1, n_samples=n_samples, random_state=seed) for seed in range(40)
    ]
    assert {mask.sum() for mask in masks} == {n_samples}
    assert set(np.flatnonzero(np.any(masks, axis=0))) == {1, 3, 5, 7}


def test_a_number_of_all_rows():
    assert forget_mask(Y, n_samples=7, random_state=0).sum() == 7
    assert forget_mask(X=np.zeros((5, 2)), n_samples=2, random_state=0).shape == (5,)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"groups": "p1"}, TypeError, "`groups` must be a dict of columns"),
        ({"groups": ["p1"]}, TypeError, "`groups` must be a dict of columns"),
        ({"groups": {}}, TypeError, "`groups` must be a dict of columns"),
        ({"groups": {"patient": []}}, ValueError, "a label or a list of labels"),
        ({"groups": {"patient": [["p1"]]}}, ValueError, "a label or a list of labels"),
        ({"groups": {"patient": None}}, ValueError, r"\[None\] are not in"),
        ({"groups": {"patient": "p9"}}, ValueError, r"\['p9'\] are not in the column 'patient'"),
        ({"groups": {"site id": "1"}}, ValueError, r"holds \[1, 2\]"),
        ({"groups": {"patients": "p1"}}, ValueError, "Did you mean 'patient'"),
        ({"groups": {"patient": "p1"}, "metadata": None}, ValueError, "pass `metadata`"),
        (
            {"groups": {"patient": "p3"}, "classes": 0},
            ValueError,
            "No row is selected by classes=0",
        ),
        ({"n_samples": 0}, ValueError, "at least 1, got 0"),
        ({"n_samples": 2.0}, TypeError, "must be an int, got 2.0"),
        ({"n_samples": True}, TypeError, "must be an int, got True"),
        ({"n_samples": 5, "classes": 0}, ValueError, "only 4 rows are selected"),
        ({"n_samples": 8}, ValueError, "All 8 rows are selected by n_samples=8"),
        ({"n_samples": 2, "fraction": 0.5}, ValueError, "not both"),
        ({"n_samples": 2, "on_leakage": "grow"}, ValueError, "`on_leakage` must be one of"),
        ({"n_samples": 2, "on_leakage": "expand"}, ValueError, "name their column"),
        ({"n_samples": 2, "keep_together": "patients"}, ValueError, "keep_together names"),
        ({"n_samples": 2, "X": np.zeros((5, 2))}, ValueError, "`y` has 8 rows and `X` has 5"),
    ],
)
def test_errors_of_criteria(arguments, error, message):
    with pytest.raises(error, match=message):
        forget_mask(Y, **{"metadata": FRAME, **arguments})


def test_errors_show_few_of_many_labels():
    frame = pd.DataFrame({"patient": [f"p{i}" for i in range(5000)]})
    with pytest.raises(ValueError, match="and 4980 more") as info:
        forget_mask(metadata=frame, groups={"patient": [f"q{i}" for i in range(5000)]})
    assert len(str(info.value)) < 1000
