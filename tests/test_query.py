"""Queries that are made to harm; what queries mean is tested with `forget_mask`."""

import numpy as np
import pandas as pd
import pytest

from sklunlearn._query import mask_of_query

FRAME = pd.DataFrame(
    {
        "age": [1.0, 2.0, 3.0],
        "n": [1, 2, 3],
        "device": ["a", "b", "%1000000000d"],
        "number": pd.Series([1, 2, 3], dtype=object),
        "huge": pd.Series([10**30, 2, 3], dtype=object),
        "grade": pd.Categorical(list("abc")),
        "day": pd.date_range("2020-01-01", periods=3),
    }
)


@pytest.mark.parametrize(
    ("query", "error", "message"),
    [
        ("9**9**9**9 > age", ValueError, "only a column can be raised"),
        ("age > 9**9**9**9", ValueError, "only a column can be raised"),
        ("age ** 9**9 > 1", ValueError, "only a column can be raised"),
        ("huge ** 99999999 > 1", TypeError, "huge does not hold numbers"),
        ("device * 1000000000 == 'a'", TypeError, "device does not hold numbers"),
        ("device % 3 == 'a'", TypeError, "device does not hold numbers"),
        ("-device == 'a'", TypeError, "device does not hold numbers"),
        ("grade + 1 > 1", TypeError, "grade does not hold numbers"),
        ("n ** -1 > 0", ValueError, r"n \*\* \(-1\): Integers to negative"),
        ("n * 99999999999999999999999 > 1", ValueError, "cannot be evaluated"),
        ("day + 1 > 3", TypeError, "cannot be evaluated"),
        ("age > " + "9" * 5000, ValueError, "not a valid expression"),
        ("age\x00>1", ValueError, "not a valid expression"),
        ("\ud800 > age", ValueError, "not a valid expression"),
        ("(" * 4000 + "age", ValueError, "not a valid expression"),
        ("not " * 2400 + "(age > 1)", ValueError, "nested too deeply"),
        ("-" * 9000 + "age > 1", ValueError, "nested too deeply"),
        ("age" + "+1" * 3000 + " > 1", ValueError, "nested too deeply"),
        ("a." * 4000 + "a == 1", ValueError, "nested too deeply"),
        ("device == '" + "x" * 10_000_000 + "'", ValueError, "has 10000012 characters"),
        ("\\'" * 4000, ValueError, "not a valid expression"),
        ("*age", ValueError, "not a valid expression"),
        ("await age", ValueError, "holds Await"),
        ("{**age}", ValueError, "holds Dict"),
        ("age > ...", ValueError, "holds Constant"),
        ("__quoted_0__ == 1", ValueError, "which is not a column"),
        ("age > __import__", ValueError, "which is not a column"),
    ],
    ids=range(27),
)
def test_harmful_queries_end_in_a_short_error(query, error, message):
    with pytest.raises(error, match=message) as info:
        mask_of_query(FRAME, query)
    assert len(str(info.value)) < 1000


@pytest.mark.parametrize("column", ["day", "zoned", "span"])
def test_times_are_written_as_texts_in_lists_too(column):
    days = pd.date_range("2020-01-01", periods=3)
    times = {"day": days, "zoned": days.tz_localize("UTC"), "span": days - days[0]}
    frame = pd.DataFrame(times).set_index(pd.Index([7, 7, 7]))
    frame.loc[:, column] = frame[column].where([True, True, False])
    second = "1 day" if column == "span" else "2020-01-02"
    for query, expected in [
        (f"{column} in ['{second}']", [1]),
        (f"{column} == ['{second}', None]", [1]),
        (f"{column} in '{second}'", [1]),
        (f"{column} not in ['{second}']", [0]),
        (f"{column} != ['{second}']", [0]),
        (f"{column} in []", []),
    ]:
        assert np.flatnonzero(mask_of_query(frame, query)).tolist() == expected, query


def test_arithmetic_of_numbers_that_are_kept_as_objects():
    np.testing.assert_array_equal(mask_of_query(FRAME, "number * 2 > 3"), [False, True, True])
    np.testing.assert_array_equal(mask_of_query(FRAME, "-number < -2"), [False, False, True])


def test_the_error_lists_few_of_many_columns():
    frame = pd.DataFrame(np.zeros((2, 500)), columns=[f"c{j}" for j in range(500)])
    with pytest.raises(ValueError, match=r"and 480 more\. Did you mean 'c7'") as info:
        mask_of_query(frame, "c_7 > 1")
    assert len(str(info.value)) < 400
