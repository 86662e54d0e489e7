import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch

from sklunlearn.requests import check_forget, forget_mask

Y = np.array(["benign", "melanoma", "benign", "melanoma", "nevus", "nevus"])


def metadata():
    return pd.DataFrame(
        {
            "device": ["molemax", "molemax", "iphone", "x@y", None, "a`b"],
            "age": [25.0, 45.0, 29.0, np.nan, 30.0, 61.0],
            "site id": [1, 2, 3, 1, 2, 3],
            "consent": [True, False, True, False, True, True],
            "stage": pd.array([1, 2, None, 4, 5, 6], dtype="Int64"),
            "day": pd.date_range("2020-01-30", periods=6),
            "maybe": [True, pd.NA, False, True, np.nan, False],
            "grade": pd.Categorical(list("abcabc"), ordered=True),
            "mixed": pd.Series([1, pd.NA, "a", None, 1, 2], dtype=object).array,
            "answer": pd.array([True, None, False, None, True, False], dtype="boolean"),
        },
        index=[9, 9, 7, 5, 3, 1],
    )


def rows(mask):
    assert mask.dtype == bool and mask.shape == (6,)
    return np.flatnonzero(mask).tolist()


@pytest.mark.parametrize(
    "y, classes, expected",
    [
        (Y, "melanoma", [1, 3]),
        (Y, ["melanoma"], [1, 3]),
        (Y, ("melanoma", "nevus"), [1, 3, 4, 5]),
        (Y, {"nevus"}, [4, 5]),
        (Y, np.array(["nevus"]), [4, 5]),
        (Y, pd.Series(["nevus"]), [4, 5]),
        (pd.Series(Y, index=[9, 9, 7, 5, 3, 1]), "benign", [0, 2]),
        (list(Y), "benign", [0, 2]),
        ([3, 1, 2, 3, 1, 2], 3, [0, 3]),
        ([3, 1, 2, 3, 1, 2], np.int64(3), [0, 3]),
        ([3, 1, 2, 3, 1, 2], 3.0, [0, 3]),
        (torch.tensor([3, 1, 2, 3, 1, 2]), [1, 2], [1, 2, 4, 5]),
        ([True, False, True, True, True, True], False, [1]),
    ],
)
def test_classes(y, classes, expected):
    assert rows(forget_mask(y, classes=classes)) == expected


# Where there are no missing values, pandas itself is the reference too.
@pytest.mark.parametrize(
    "query, expected",
    [
        ("age < 30", [0, 2]),
        ("30 > age", [0, 2]),
        ("25 < age <= 45", [1, 2, 4]),
        ("device == 'molemax' and age < 30", [0]),
        ("device == 'molemax' & age < 30", [0]),
        ('device == "iphone" | age == 61', [2, 5]),
        ("(device == 'iphone') | (age == 61)", [2, 5]),
        ("device in ['iphone', 'molemax']", [0, 1, 2]),
        ("device in ('iphone', 'molemax')", [0, 1, 2]),
        ("device in 'iphone'", [2]),
        ("device == ['iphone', 'molemax']", [0, 1, 2]),
        ("['iphone', 'molemax'] == device", [0, 1, 2]),
        ("`site id` not in [1, 2]", [2, 5]),
        ("`site id` != [1, 2]", [2, 5]),
        ("`site id` in stage", [0, 1, 3, 4]),
        ("`site id` == 1 and age < 30", [0]),
        ("`site id`==stage", [0, 1]),
        ("device == 'x@y'", [3]),
        ("device == 'a`b'", [5]),
        ("device == 'a`b' and `site id` == 3", [5]),
        ("device == 'a & b' or `site id` == 2", [1, 4]),
        ("device == '#' or `site id` == 2", [1, 4]),
        ("consent", [0, 2, 4, 5]),
        ("not consent", [1, 3]),
        ("~consent", [1, 3]),
        ("consent == False", [1, 3]),
        ("consent and not `site id` == 3", [0, 4]),
        ("not (consent or age > 1)", [3]),
        ("consent or age > 1 and age > 50", [0, 2, 4, 5]),
        ("age * 2 - 10 > 100 / 2", [1, 5]),
        ("age ** 2 > 2024", [1, 5]),
        ("`site id` % 2 == 1 and age // 10 == 2", [0, 2]),
        ("-age < -50", [5]),
        ("day < '2020-02-01'", [0, 1]),
        ("grade >= 'b'", [1, 2, 4, 5]),
        ("(age < 30) == consent", [0, 1, 2, 3]),
        ("\n  age < 30\n  and consent\n", [0, 2]),
        ("stage > 4", [4, 5]),
    ],
)
def test_query(query, expected):
    frame = metadata()
    assert rows(forget_mask(metadata=frame, query=query)) == expected
    if "\n" not in query:
        numbered = frame.reset_index(drop=True)
        assert numbered.query(query, engine="python").index.tolist() == expected


@pytest.mark.parametrize(
    "query, expected",
    [
        ("age != 30", [0, 1, 2, 5]),
        ("age >= 30", [1, 4, 5]),
        ("not age < 30", [1, 3, 4, 5]),
        ("not age == age", [3]),
        ("device != 'molemax'", [2, 3, 5]),
        ("device not in ['molemax']", [2, 3, 5]),
        ("stage != 1", [1, 3, 4, 5]),
        ("stage < age and stage > 1", [1, 4, 5]),
        ("maybe", [0, 3]),
        ("not maybe", [1, 2, 4, 5]),
        ("maybe == False", [2, 5]),
        ("consent or age == None", [0, 2, 4, 5]),
        ("mixed == 1", [0, 4]),
        ("mixed != 1", [2, 5]),
        ("answer", [0, 4]),
        ("answer != True", [2, 5]),
        ("day == '2020-02-01'", [2]),
    ],
)
def test_a_comparison_with_a_missing_value_is_false(query, expected):
    assert rows(forget_mask(metadata=metadata(), query=query)) == expected


@pytest.mark.parametrize(
    "query, found",
    [
        ("__import__('os').system('true')", "a function call: __import__"),
        ("age.apply(print)", "a function call"),
        ("age.sum() > 3", "a function call"),
        ("age > age.mean", "an attribute: age.mean"),
        ("age.__class__", "an attribute"),
        ("`site id`.values > 3", "an attribute: `site id`.values"),
        ("age[0] > 3", "a subscript"),
        ("@print(age)", "'@'"),
        ("age > @np.pi", "'@'"),
        ("age @ age", "'@'"),
        ("age < 30  # young\n or consent", "'#'"),
        ("age > (lambda: 3)()", "a function call"),
        ("(lambda: consent)", "a lambda"),
        ("(z := consent)", "an assignment"),
        ("device == f'{age}'", "an f-string"),
        ("[x for x in age]", "ListComp"),
        ("consent if consent else consent", "IfExp"),
        ("age == {1: 2}", "Dict"),
        ("age == {1, 2}", "Set"),
        ("device == b'x'", "Constant"),
        ("age > 3j", "Constant"),
        ("age is None", "Is"),
        ("age << 2 > 3", "BinOp"),
        ("`age`.eval('3')", "a function call"),
        ("consent and open('x')", "a function call"),
        ("device in [open('x')]", "a function call"),
    ],
)
def test_queries_cannot_run_code(query, found):
    with pytest.raises(ValueError, match="holds") as info:
        forget_mask(metadata=metadata(), query=query)
    assert f"holds {found}" in str(info.value)


@pytest.mark.parametrize(
    "query, error, message",
    [
        ("agee < 30", ValueError, r"'agee', which is not a column.*Did you mean 'age'\?"),
        ("print", ValueError, "'print', which is not a column"),
        ("__builtins__ == 1", ValueError, "'__builtins__', which is not a column"),
        ("`site  id` == 1", ValueError, "Did you mean 'site id'"),
        ("index == 1", ValueError, "'index', which is not a column"),
        ("age", ValueError, "age does not give one boolean a row"),
        ("age + 1", ValueError, r"age \+ 1 does not give"),
        ("device and consent", ValueError, "device does not give"),
        ("True", ValueError, "True does not give one boolean a row"),
        ("not 3", ValueError, "3 does not give"),
        ("1 == 1", ValueError, "neither is a column"),
        ("2 < [3]", ValueError, "neither is a column"),
        ("age < [3]", ValueError, "a list can only follow"),
        ("'iphone' in device", ValueError, "a list can only follow"),
        ("age in [stage]", ValueError, "constants only"),
        ("device + 'x' == 'ax'", ValueError, "arithmetic needs columns and numbers, got 'x'"),
        ("age > 9 ** 9 ** 9", ValueError, "only a column can be raised"),
        ("age > 1 / 0", ValueError, "division by zero"),
        ("device < 3", TypeError, "cannot be evaluated"),
        ("age < 'old'", TypeError, "cannot be evaluated"),
        ("age <", ValueError, "not a valid expression"),
        ("", ValueError, "not a valid expression"),
        ("import os", ValueError, "not a valid expression"),
        ("age = 3", ValueError, "not a valid expression"),
        ("age < 3; consent", ValueError, "not a valid expression"),
        ("`site id == 1", ValueError, "not a valid expression"),
        (3, TypeError, "`query` must be a str, got int"),
    ],
)
def test_query_errors(query, error, message):
    with pytest.raises(error, match=message):
        forget_mask(metadata=metadata(), query=query)


def test_two_columns_of_one_name():
    frame = pd.DataFrame([[1, 2]] * 3, columns=["a", "a"])
    with pytest.raises(ValueError, match="2 columns are named 'a'"):
        forget_mask(metadata=frame, query="a == 1")


def test_metadata_is_left_as_it_was():
    frame = metadata()
    forget_mask(metadata=frame, query="age < 30 and not maybe or `site id` + 1 == 2")
    pd.testing.assert_frame_equal(frame, metadata())


def test_classes_and_query_are_intersected():
    assert rows(forget_mask(Y, metadata(), classes="benign", query="age > 26")) == [2]


def test_fraction_is_drawn_from_the_selected_rows_and_rounded():
    y = np.repeat([0, 1], [10, 30])
    for fraction, n_marked in [(0.04, 1), (0.1, 1), (0.14, 1), (0.15, 2), (0.25, 3), (0.5, 5)]:
        mask = forget_mask(y, classes=0, fraction=fraction, random_state=0)
        assert mask.sum() == n_marked and not mask[10:].any()
    assert forget_mask(y, fraction=0.25, random_state=0).sum() == 10
    assert forget_mask(metadata=metadata(), fraction=0.5, random_state=0).sum() == 3


def test_fraction_is_random_and_reproducible():
    y = np.zeros(50)
    masks = [forget_mask(y, fraction=0.5, random_state=seed) for seed in range(100)]
    # Each row is marked with probability 1/2: 100 draws within 5 standard deviations.
    counts = np.sum(masks, axis=0)
    assert counts.min() > 25 and counts.max() < 75
    np.testing.assert_array_equal(masks[3], forget_mask(y, fraction=0.5, random_state=3))
    rng = np.random.RandomState(3)
    np.testing.assert_array_equal(masks[3], forget_mask(y, fraction=0.5, random_state=rng))
    assert (forget_mask(y, fraction=0.5, random_state=rng) != masks[3]).any()


def test_global_random_state_is_untouched():
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    forget_mask(Y, fraction=0.5, random_state=0)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ({}, ValueError, "needs `y`, `metadata` or both"),
        ({"y": Y}, ValueError, "would select every row"),
        ({"y": Y, "query": "age < 3"}, ValueError, "pass `metadata`"),
        ({"metadata": metadata(), "classes": "nevus"}, ValueError, "pass `y`"),
        ({"y": Y[:5], "metadata": metadata(), "classes": "nevus"}, ValueError, "5 rows.* has 6"),
        ({"y": Y.reshape(3, 2), "classes": "nevus"}, ValueError, r"got \(3, 2\)"),
        ({"y": Y, "metadata": {"age": [3] * 6}, "query": "age < 3"}, TypeError, "got dict"),
        ({"y": Y, "classes": "naevus"}, ValueError, r"\['naevus'\] are not in `y`.*'nevus'"),
        ({"y": Y, "classes": ["nevus", 3]}, ValueError, r"classes \[3\] are not in"),
        ({"y": ["1", "3"], "classes": 3}, ValueError, r"holds \['1', '3'\]"),
        ({"y": [1, 3], "classes": "3"}, ValueError, r"\['3'\] are not.*holds \[1, 3\]"),
        ({"y": Y, "classes": []}, ValueError, "a label or a list of labels"),
        ({"y": Y, "classes": [["nevus"]]}, ValueError, "a label or a list of labels"),
        ({"y": Y, "classes": [*set(Y)]}, ValueError, "All 6 rows are selected"),
        ({"metadata": metadata(), "query": "age < 3"}, ValueError, "No row is selected by"),
        ({"metadata": metadata(), "query": "`site id` > 0"}, ValueError, "All 6 rows"),
        (
            {"y": Y, "metadata": metadata(), "classes": "nevus", "query": "age < 30"},
            ValueError,
            "No row is selected by classes='nevus', query='age < 30'",
        ),
        ({"y": Y, "fraction": 0.99}, ValueError, "All 6 rows"),
        ({"y": Y, "fraction": 0}, ValueError, r"in \(0, 1\], got 0"),
        ({"y": Y, "fraction": 1.5}, ValueError, r"in \(0, 1\], got 1.5"),
        ({"y": Y, "fraction": float("nan")}, ValueError, r"in \(0, 1\], got nan"),
        ({"y": Y, "fraction": True}, TypeError, "got True"),
        ({"y": Y, "fraction": "half"}, TypeError, "got 'half'"),
    ],
)
def test_forget_mask_errors(arguments, error, message):
    with pytest.raises(error, match=message):
        forget_mask(**arguments)


def test_fraction_of_all_classes_is_no_error():
    assert forget_mask([0, 1, 0, 1], classes=[0, 1], fraction=0.5, random_state=0).sum() == 2


@pytest.mark.parametrize(
    "forget",
    [
        [False, True, False, True],
        np.array([False, True, False, True]),
        pd.Series([False, True, False, True], index=[3, 2, 1, 0]),
        torch.tensor([False, True, False, True]),
        [1, 3],
        (3, 1),
        np.array([3, 1], dtype=np.uint8),
        pd.Series([3, 1], index=[1, 3]),
        pd.Index([1, 3]),
        torch.tensor([1, 3]),
    ],
    ids=lambda forget: type(forget).__name__,
)
def test_check_forget(forget):
    mask = check_forget(forget, 4)
    assert mask.dtype == bool
    assert mask.tolist() == [False, True, False, True]


def test_check_forget_returns_a_new_array():
    forget = np.array([True, False])
    check_forget(forget, 2)[:] = False
    assert forget.tolist() == [True, False]


def test_all_rows():
    assert check_forget([1, 0], 2).all()
    for forget in ([True, True], [1, 0]):
        with pytest.raises(ValueError, match="all 2 rows: no retain rows are left"):
            check_forget(forget, 2, allow_all=False)
    assert check_forget([1], 2, allow_all=False).tolist() == [False, True]


@pytest.mark.parametrize("forget", [[], [False, False], np.array([], dtype=int)])
def test_no_row(forget):
    assert check_forget(forget, 2, allow_none=True).tolist() == [False, False]
    with pytest.raises(ValueError, match="`forget` marks no row"):
        check_forget(forget, 2)


@pytest.mark.parametrize(
    "forget, error, message",
    [
        (None, TypeError, "`forget` is required: pass a boolean mask of shape"),
        (3, ValueError, r"one-dimensional, got shape \(\): .* For a class, that is `y == label`."),
        ([[True, False, True, False]], ValueError, r"one-dimensional, got shape \(1, 4\)"),
        ([True, False], ValueError, "mask of 2 rows, but the data has 4 rows"),
        (np.zeros(0, dtype=bool), ValueError, "mask of 0 rows"),
        ([0.0, 1.0], TypeError, "dtype float64, expected bool or int"),
        (["a"], TypeError, "dtype <U1"),
        (np.array([True, None, False, True]), TypeError, "dtype object"),
        ([1, 4], ValueError, "index 4, but the data has 4 rows: indices go from 0 to 3"),
        ([1, -1], ValueError, "index -1"),
        ([2, 3, 2], ValueError, "repeats the row index 2"),
        ([0, 1, 0, 1], ValueError, r"0/1 mask of the 4 rows: pass `forget.astype\(bool\)`"),
        ([0, 0, 0, 0], ValueError, "0/1 mask"),
        ([0, 2, 0, 1], ValueError, "repeats the row index 0"),
        ([], ValueError, "marks no row"),
        (np.zeros(0, dtype=int), ValueError, "marks no row"),
        ([False] * 4, ValueError, "marks no row"),
    ],
)
def test_check_forget_errors(forget, error, message):
    with pytest.raises(error, match=message):
        check_forget(forget, 4)


def test_pandas_is_imported_only_when_metadata_is_given():
    code = """
import sys, importlib.util
sys.modules["pandas"] = None  # an import of it would raise
spec = importlib.util.spec_from_file_location("requests_alone", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
assert module.forget_mask([0, 1], classes=1).tolist() == [False, True]
assert "matplotlib" not in sys.modules
"""
    path = sys.modules[forget_mask.__module__].__file__
    subprocess.run([sys.executable, "-c", code, path], check=True)
