import warnings

import numpy as np
import pandas as pd
import pytest

from sklunlearn.requests import check_group_leakage, forget_mask

GROUPS = ["a", "a", "b", "b", "b", None, None, "c"]


def test_a_divided_group_is_counted():
    message = (
        "2 of 3 groups to forget are divided, 'a' for one: 3 of their rows are forgotten and 2 "
        "retained"
    )
    with pytest.warns(UserWarning, match=message) as caught:
        mask = check_group_leakage([0, 2, 3, 5, 7], GROUPS)
    assert caught[0].filename == __file__
    assert np.flatnonzero(mask).tolist() == [0, 2, 3, 5, 7]


def test_expand_marks_whole_groups_and_no_missing_ones():
    mask = check_group_leakage([0, 5], GROUPS, on_leakage="expand")
    assert np.flatnonzero(mask).tolist() == [0, 1, 5]


def test_raise():
    with pytest.raises(ValueError, match="1 of 1 groups to forget are divided"):
        check_group_leakage([4], pd.Series(GROUPS), on_leakage="raise")


@pytest.mark.parametrize("forget", [[0, 1], [0, 1, 7], [5], [], list(range(8))])
@pytest.mark.parametrize("on_leakage", ["warn", "expand", "raise"])
def test_whole_groups_pass(forget, on_leakage):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mask = check_group_leakage(forget, GROUPS, on_leakage=on_leakage)
    assert np.flatnonzero(mask).tolist() == forget


def test_labels_of_different_types_are_different_groups():
    mask = check_group_leakage([0], [3, "3", 3, "3"], on_leakage="expand")
    assert mask.tolist() == [True, False, True, False]


def test_the_mask_given_is_not_changed():
    forget = np.array([True, False, False])
    for groups in (["a", "a", "b"], ["a", "b", "b"]):
        mask = check_group_leakage(forget, groups, on_leakage="expand")
        mask[:] = True
    assert forget.tolist() == [True, False, False]


def test_forget_mask_looks_for_divided_groups():
    frame = pd.DataFrame({"patient": GROUPS, "age": range(8)})
    with pytest.warns(UserWarning, match="1 of 1 groups") as caught:
        mask = forget_mask(metadata=frame, query="age == 3", keep_together="patient")
    assert caught[0].filename == __file__
    assert np.flatnonzero(mask).tolist() == [3]
    arguments = {"metadata": frame, "query": "age == 3", "keep_together": "patient"}
    mask = forget_mask(**arguments, on_leakage="expand")
    assert np.flatnonzero(mask).tolist() == [2, 3, 4]
    with pytest.raises(ValueError, match="are divided"):
        forget_mask(**arguments, on_leakage="raise")


def test_whole_groups_that_leave_nothing():
    frame = pd.DataFrame({"patient": ["a", "a"], "age": [1, 2]})
    with pytest.raises(ValueError, match=r"All 2 rows are selected by .*keep_together='patient'"):
        forget_mask(metadata=frame, query="age == 1", keep_together="patient", on_leakage="expand")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (([0], GROUPS, "grow"), ValueError, "`on_leakage` must be one of"),
        (([8], GROUPS, "warn"), ValueError, "index 8"),
        (([True], GROUPS, "warn"), ValueError, "mask of 1 rows"),
        ((None, GROUPS, "warn"), TypeError, "`forget` is required"),
        (([0], np.zeros((3, 2)), "warn"), ValueError, r"`groups` must have shape .* got \(3, 2\)"),
        (([0], np.zeros(3, dtype=int), "raise"), ValueError, "divided, 0 for one"),
    ],
)
def test_errors_of_check_group_leakage(arguments, error, message):
    forget, groups, on_leakage = arguments
    with pytest.raises(error, match=message):
        check_group_leakage(forget, groups, on_leakage=on_leakage)
