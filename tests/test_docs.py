"""The documentation: every public name is in the reference, with a docstring that says all."""

import importlib
import inspect
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[1] / "docs"
# `unlearners` offers what `sklunlearn` offers.
MODULES = (
    "attacks audit base compose datasets discovery domains embeddings exceptions gradient "
    "inspection metrics model_selection networks persistence requests saliency search trainable"
).split()


def public_names():
    """Dotted name of everything public, once, as a dictionary to the objects."""
    found, seen = {}, set()
    for module in [f"sklunlearn.{name}" for name in MODULES] + ["sklunlearn"]:
        for name in importlib.import_module(module).__all__:
            value = getattr(importlib.import_module(module), name)
            if name != "__version__" and id(value) not in seen:
                seen.add(id(value))
                found[f"{module}.{name}"] = value
    return found


PUBLIC = public_names()
CLASSES = {name: value for name, value in PUBLIC.items() if inspect.isclass(value)}
FUNCTIONS = {name: value for name, value in PUBLIC.items() if inspect.isfunction(value)}
METHODS = {
    f"{name}.{method}": getattr(cls, method)
    for name, cls in CLASSES.items()
    for method, value in vars(cls).items()
    if not method.startswith("_")
    and (inspect.isfunction(value) or isinstance(value, classmethod | staticmethod))
}


def sections(docstring):
    """Bodies of the sections of a numpydoc docstring by heading; what comes first under ""."""
    parts = re.split(r"^(\w[\w ]*)\n-{3,}$", inspect.cleandoc(docstring), flags=re.MULTILINE)
    return {"": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}


def described(section):
    """Names that a section describes; several may share a line."""
    lines = re.findall(r"^(\S.*)$", section, flags=re.MULTILINE)
    return [name.strip("* ") for line in lines for name in line.split(" : ")[0].split(",")]


def parameters(function):
    """Names of the parameters of a function or class, without self."""
    return [name for name in inspect.signature(function).parameters if name != "self"]


def in_reference():
    """Dotted names that the autosummary tables of the reference list."""
    found = []
    for page in sorted((DOCS / "api").glob("*.rst")):
        module = ""
        for line in page.read_text(encoding="utf-8").splitlines():
            if line.startswith(".. currentmodule:: "):
                module = line.removeprefix(".. currentmodule:: ")
            elif re.fullmatch(r"   [A-Za-z_]\w*", line) and module:
                found.append(f"{module}.{line.strip()}")
    return found


def objects(names):
    modules = [name.rpartition(".") for name in names]
    return [getattr(importlib.import_module(module), name) for module, _, name in modules]


def test_every_public_name_is_in_the_reference_once():
    listed = in_reference()
    known = {id(value) for value in objects(listed)}
    assert [name for name, value in PUBLIC.items() if id(value) not in known] == []
    assert len(known) == len(listed) == len(PUBLIC)


@pytest.mark.parametrize("name", sorted(CLASSES | FUNCTIONS | METHODS))
def test_a_docstring_describes_each_parameter(name):
    value = (CLASSES | FUNCTIONS | METHODS)[name]
    assert value.__doc__, "no docstring"
    found = sections(value.__doc__)
    assert found[""].strip(), "no summary"
    takes = parameters(value) if not _inherits_constructor(value) else []
    given = described(found.get("Parameters", "")) + described(found.get("Other Parameters", ""))
    if name.endswith(".forward"):  # torch's; a sentence says what goes in and what comes out
        return
    assert given == takes


def _inherits_constructor(value):
    return inspect.isclass(value) and "__init__" not in vars(value)


@pytest.mark.parametrize("name", sorted(CLASSES | FUNCTIONS))
def test_a_docstring_has_an_example(name):
    value = PUBLIC[name]
    if inspect.isabstract(value) or issubclass(type(value), type) and issubclass(value, Exception):
        return  # nobody makes one
    assert ">>>" in sections(value.__doc__).get("Examples", ""), "no example"


PAGES = sorted(
    page
    for page in [*DOCS.rglob("*.md"), *DOCS.parent.glob("*.md")]
    if not {"_build", "auto_examples", "course"} & set(page.parts)
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS.parent)))
def test_relative_links_lead_somewhere(page):
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.S | re.M)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"\w+:", target):
            continue
        path, _, anchor = target.partition("#")
        other = (page.parent / path) if path else page
        assert other.exists(), target
        if anchor:
            assert anchor in anchors(other), target


def anchors(page):
    """Anchors of the headings of a page, as code hosts and MyST make them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
