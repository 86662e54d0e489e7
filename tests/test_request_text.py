import sys

import pytest

from sklunlearn._request_text import json_of, parse_json, parse_yaml, yaml_of

VALUES = {"b": [1, 2.5, "ø", True], "a": {"c": None}}


def test_json():
    text = json_of(VALUES)
    assert parse_json(text) == VALUES
    assert text.index('"b"') < text.index('"a"') and "ø" in text and text.endswith("}\n")


@pytest.mark.parametrize(
    "text",
    ["", "{", "{'a': 1}", '{"a": 1, "a": 2}', '{"a": NaN}', '{"a": -Infinity}',
     "[" * 100_000, '{"a": ' + "9" * 10_000 + "}"],
    ids=range(8),
)  # fmt: skip
def test_bad_json(text):
    with pytest.raises(ValueError, match="Not a valid JSON text") as info:
        parse_json(text)
    assert len(str(info.value)) < 400


def test_yaml():
    pytest.importorskip("yaml")
    text = yaml_of(VALUES)
    assert parse_yaml(text) == VALUES
    assert text.index("b:") < text.index("a:") and "ø" in text


@pytest.mark.parametrize(
    "text",
    [
        "a: [",
        "a: 1\na: 2",
        "b: {a: 1, a: 2}",
        "!!python/object/apply:os.system ['true']",
        "a: !!python/name:os.system",
        "a: &a [1]\nb: *a",
        "a: &a [*a]",
        "a: 1\n---\nb: 2",
        "? [1, 2]\n: 3",
        "a: " + "[" * 5000,
        "a: \x00",
        "<<: 3",
    ],
    ids=range(12),
)
def test_bad_yaml(text):
    pytest.importorskip("yaml")
    with pytest.raises(ValueError, match="Not a valid YAML text") as info:
        parse_yaml(text)
    assert len(str(info.value)) < 600


@pytest.mark.parametrize("parse", [parse_json, parse_yaml])
@pytest.mark.parametrize("text", [b"{}", None, {}])
def test_what_is_no_text(parse, text):
    with pytest.raises(TypeError, match="must be a str"):
        parse(text)


def test_without_pyyaml(monkeypatch):
    monkeypatch.setitem(sys.modules, "yaml", None)  # an import of it raises
    for call in (lambda: parse_yaml("a: 1"), lambda: yaml_of(VALUES)):
        with pytest.raises(ImportError, match=r"pip install 'sklunlearn\[yaml\]'"):
            call()
