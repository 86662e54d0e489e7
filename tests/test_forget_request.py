import copy
import dataclasses
import datetime
import json
import pickle

import numpy as np
import pandas as pd
import pytest

from sklunlearn import ForgetRequest, RetrainUnlearner, forget_mask

ABOUT = {
    "reason": "consent withdrawn",
    "requested_by": "Ms Ødegård",
    "requested_at": "2026-03-01T09:30:00+01:00",
}
Y = ["nevus", "melanoma", "nevus", "melanoma"]
FRAME = pd.DataFrame({"patient": ["p1", "p2", "p3", "p3"], "age": [20, 30, 40, 90]})
X = np.array([[0.0], [1.0], [5.0], [6.0]])

CRITERIA = [
    {"classes": "melanoma"},
    {"classes": ["melanoma"], "query": "age < 50"},
    {"groups": {"patient": ["p1", "p3"]}},
    {
        "groups": {"patient": "p3", "age": np.int64(90)},
        "keep_together": "patient",
        "on_leakage": "expand",
    },
    {"fraction": 0.5, "random_state": 3},
    {"n_samples": 2, "random_state": 3},
    {"outliers": 0.25, "by": "age"},
    {"nearest": [3], "n_samples": 2},
    {"nearest": 3, "fraction": 0.5},
]


@pytest.mark.parametrize("criteria", CRITERIA)
def test_a_request_means_what_forget_mask_means(criteria):
    request = ForgetRequest(**ABOUT, **criteria)
    expected = forget_mask(Y, FRAME, X=X, **criteria)
    np.testing.assert_array_equal(request.mask(Y, FRAME, X), expected)


@pytest.mark.parametrize("criteria", CRITERIA)
@pytest.mark.parametrize("suffix", [".json", ".yaml", ".yml", ".JSON"])
def test_saved_and_loaded(criteria, suffix, tmp_path):
    if "y" in suffix:
        pytest.importorskip("yaml")
    request = ForgetRequest(**ABOUT, **criteria)
    path = tmp_path / f"request{suffix}"
    request.save(path)
    loaded = ForgetRequest.load(str(path))
    assert loaded == request and loaded is not request
    np.testing.assert_array_equal(loaded.mask(Y, FRAME, X), request.mask(Y, FRAME, X))
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_what_is_written():
    request = ForgetRequest(**ABOUT, classes=np.array([3, 1]), fraction=0.5, random_state=0)
    assert json.loads(request.to_json()) == {
        "version": 1,
        "forget": {"classes": [3, 1], "fraction": 0.5, "random_state": 0},
        **ABOUT,
    }


def test_yaml_that_a_person_wrote():
    pytest.importorskip("yaml")
    text = """
version: 1
reason: consent withdrawn
requested_by: Ms Ødegård
requested_at: 2026-03-01T09:30:00+01:00
forget:
  groups:
    patient: [p1, p7]
"""
    assert ForgetRequest.from_yaml(text) == ForgetRequest(**ABOUT, groups={"patient": ["p1", "p7"]})


def test_without_a_time_it_is_now():
    before = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    request = ForgetRequest(reason="a", requested_by="b", classes=1)
    asked = datetime.datetime.fromisoformat(request.requested_at)
    assert before <= asked <= datetime.datetime.now(datetime.UTC)
    assert request != ForgetRequest(**ABOUT, classes=1)
    at = datetime.datetime(2026, 3, 1, 8, 30, tzinfo=datetime.UTC)
    request = dataclasses.replace(request, requested_at=at)
    assert request.requested_at == "2026-03-01T08:30:00+00:00"


def test_examples_are_described_and_not_written():
    examples = np.array([[5.5], [7.25]])
    request = ForgetRequest(**ABOUT, nearest=examples, n_samples=2)
    examples[:] = 0  # the request has its own
    assert request.mask(X=X).tolist() == [False, False, True, True]
    assert request.to_dict()["forget"]["nearest"] == {"shape": [2, 1]}
    assert "7.25" not in request.to_json() and "7.25" not in repr(request)
    loaded = ForgetRequest.from_json(request.to_json())
    assert loaded != request
    with pytest.raises(ValueError, match=r"of shape \(2, 1\), were not stored"):
        loaded.mask(X=X)
    replaced = dataclasses.replace(loaded, nearest=[[5.5], [7.25]])
    assert replaced == request


def test_a_request_is_a_value():
    request = ForgetRequest(**ABOUT, groups={"patient": "p1"})
    assert pickle.loads(pickle.dumps(request)) == copy.deepcopy(request) == request
    assert request != "a request"
    with pytest.raises(dataclasses.FrozenInstanceError):
        request.reason = "another"


def test_the_warning_of_divided_groups_points_to_the_caller():
    request = ForgetRequest(**ABOUT, query="age == 40", keep_together="patient")
    with pytest.warns(UserWarning, match="are divided") as caught:
        request.mask(metadata=FRAME)
    assert caught[0].filename == __file__


def test_the_record_of_an_unlearner_holds_the_request():
    rng = np.random.default_rng(0)
    rows, y = rng.normal(size=(40, 2)).astype(np.float32), np.arange(40) % 2
    examples = rows[:2] + 123
    request = ForgetRequest(**ABOUT, nearest=examples, n_samples=3)
    unlearner = RetrainUnlearner(random_state=0).fit(rows, y)
    mask = request.mask(X=rows)
    unlearner.unlearn(rows, y, forget=mask, request=request)
    assert unlearner.records_[0]["request"] == request.to_dict()
    assert unlearner.records_[0]["n_forget"] == 3
    assert json.loads(json.dumps(unlearner.records_)) == unlearner.records_
    unlearner.partial_unlearn(rows[~mask], y[~mask], forget=[0], request=request)
    unlearner.partial_unlearn(rows[~mask], y[~mask], forget=[0])
    assert unlearner.records_[1]["request"] == request.to_dict()
    assert "request" not in unlearner.records_[2]
    before = dict(vars(unlearner))
    for wrong in ("consent withdrawn", request.to_dict(), mask):
        with pytest.raises(TypeError, match="`request` must be a ForgetRequest or None"):
            unlearner.unlearn(rows, y, forget=mask, request=wrong)
    assert vars(unlearner) == before


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"reason": ""}, ValueError, "reason is empty"),
        ({"reason": None}, TypeError, "reason must be a str"),
        ({"requested_by": "  "}, ValueError, "requested_by is empty"),
        ({"requested_at": "yesterday"}, ValueError, "ISO 8601"),
        ({"requested_at": "2026-03-01T09:30:00"}, ValueError, "no time zone"),
        ({"requested_at": "2026-03-01"}, ValueError, "no time zone"),
        ({"requested_at": datetime.datetime(2026, 3, 1)}, ValueError, "no time zone"),
        ({"requested_at": datetime.date(2026, 3, 1)}, TypeError, "a str or a datetime"),
        ({"requested_at": 3}, TypeError, "a str or a datetime"),
        ({"classes": None}, ValueError, "would select every row"),
        ({"classes": []}, ValueError, "a label or a list of labels"),
        ({"classes": [["a"]]}, TypeError, "strings, numbers or booleans"),
        ({"classes": [None]}, ValueError, "a label or a list of labels"),
        ({"classes": [float("nan")]}, ValueError, "must be finite"),
        ({"classes": pd.Timestamp("2026-01-01")}, TypeError, "strings, numbers or booleans"),
        ({"query": 3}, TypeError, "query must be a str"),
        ({"groups": "p1"}, TypeError, "`groups` must be a dict"),
        ({"groups": {3: "p1"}}, TypeError, "a column of `groups` must be a str"),
        ({"groups": {"patient": []}}, ValueError, r"groups\['patient'\] must be a label"),
        ({"groups": {"patient": [b"p"]}}, TypeError, "strings, numbers or booleans"),
        ({"outliers": 0.1}, ValueError, "go together"),
        ({"outliers": 0.1, "by": print}, TypeError, "by must be a str"),
        ({"fraction": 2}, ValueError, r"in \(0, 1\]"),
        ({"fraction": "half"}, TypeError, "`fraction` must be a number"),
        ({"fraction": 0.5}, ValueError, "draws rows at random: pass an int"),
        ({"n_samples": 3}, ValueError, "draws rows at random: pass an int"),
        ({"n_samples": 3, "random_state": True}, TypeError, "`random_state` must be an int"),
        ({"random_state": np.random.RandomState(0)}, TypeError, "random_state must hold"),
        ({"nearest": [3]}, ValueError, "say how many"),
        ({"nearest": [0.5], "n_samples": 1}, TypeError, "must hold row indices, or examples"),
        ({"nearest": {"shape": "x"}, "n_samples": 1}, ValueError, "or their description"),
        ({"nearest": {"rows": [3]}, "n_samples": 1}, ValueError, "or their description"),
        ({"on_leakage": "grow"}, ValueError, "`on_leakage` must be one of"),
        ({"keep_together": 3}, TypeError, "keep_together must be a str"),
    ],
)  # fmt: skip
def test_errors_of_requests(changes, error, message):
    with pytest.raises(error, match=message):
        ForgetRequest(**{**ABOUT, "classes": "a", **changes})


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"version": 2}, ValueError, "has version 2, and this can read version 1"),
        ({"version": True}, ValueError, "has version True"),
        ({"version": "1"}, ValueError, "has version '1'"),
        ({"requested_at": None}, ValueError, "`requested_at` is empty"),
        ({"who": "me"}, ValueError, r"unknown keys \['who'\]"),
        ({"forget": {"class": 3}}, ValueError, r"`forget` has unknown keys \['class'\]"),
        ({"forget": {}}, ValueError, "would select every row"),
        ({"forget": ["classes"]}, TypeError, "`forget` must be a mapping"),
        ({"forget": None}, TypeError, "`forget` must be a mapping"),
        ({"reason": 3}, TypeError, "reason must be a str"),
    ],
)
def test_errors_of_dictionaries(changes, error, message):
    good = ForgetRequest(**ABOUT, classes="a").to_dict()
    assert ForgetRequest.from_dict(good) == ForgetRequest(**ABOUT, classes="a")
    with pytest.raises(error, match=message):
        ForgetRequest.from_dict({**good, **changes})


@pytest.mark.parametrize("key", ["version", "forget", *ABOUT])
def test_a_missing_key(key):
    request = ForgetRequest(**ABOUT, classes="a").to_dict()
    del request[key]
    with pytest.raises(ValueError, match=rf"A request lacks the keys \['{key}'\]"):
        ForgetRequest.from_dict(request)


@pytest.mark.parametrize("given", [None, [], "text", 3])
def test_what_is_no_dictionary(given):
    with pytest.raises(TypeError, match="A request must be a mapping"):
        ForgetRequest.from_dict(given)


def test_a_file_with_a_mark_of_its_encoding(tmp_path):
    request, path = ForgetRequest(**ABOUT, classes="é"), tmp_path / "request.json"
    path.write_text(request.to_json(), encoding="utf-8-sig")
    assert ForgetRequest.load(path) == request


@pytest.mark.parametrize("content", [b"\xff\x00", b"{", b"[]"])
def test_the_error_of_a_file_names_it(content, tmp_path):
    path = tmp_path / "request.json"
    path.write_bytes(content)
    with pytest.raises((TypeError, ValueError)) as caught:
        ForgetRequest.load(path)
    assert str(path) in caught.value.__notes__[-1]


def test_the_suffix_says_how(tmp_path):
    request = ForgetRequest(**ABOUT, classes="a")
    for path in (tmp_path / "request", tmp_path / "request.txt"):
        with pytest.raises(ValueError, match="must end in one of"):
            request.save(path)
        with pytest.raises(ValueError, match="must end in one of"):
            ForgetRequest.load(path)
    with pytest.raises(FileNotFoundError):
        ForgetRequest.load(tmp_path / "request.json")
    assert list(tmp_path.iterdir()) == []
