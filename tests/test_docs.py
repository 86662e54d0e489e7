"""The documentation: every public name is in the reference, with a docstring that says all."""

import importlib.util
import inspect
import re
from dataclasses import is_dataclass
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[1] / "docs"
COURSE = DOCS.parent / "notebooks"
# `unlearners` offers what `sklunlearn` offers.
MODULES = (
    "attacks audit base compose datasets discovery domains embeddings exceptions gradient "
    "inspection metrics model_selection networks persistence requests saliency search trainable "
    "utils"
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


def in_reference():
    """Dotted names that the autosummary tables of the reference list."""
    spec = importlib.util.spec_from_file_location("methods_page", DOCS / "_ext/methods_page.py")
    written = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(written)
    pages = {page.name: page.read_text(encoding="utf-8") for page in (DOCS / "api").glob("*.rst")}
    found = []
    for page in (pages | {"unlearners.rst": written.methods_page()}).values():
        module = ""
        for line in page.splitlines():
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


def is_result(value):
    """Whether it is a class that a function makes, which has its fields as attributes."""
    made = inspect.isclass(value) and (issubclass(value, tuple) or is_dataclass(value))
    return made and "Parameters" not in sections(value.__doc__)


def is_exception(value):
    """Whether it is raised, with a message."""
    return inspect.isclass(value) and issubclass(value, Exception)


@pytest.mark.parametrize("name", sorted(CLASSES | FUNCTIONS | METHODS))
def test_a_docstring_describes_each_parameter(name):
    value = (CLASSES | FUNCTIONS | METHODS)[name]
    assert value.__doc__, "no docstring"
    found = sections(value.__doc__)
    assert found[""].strip(), "no summary"
    if is_exception(value) or name.endswith(".forward"):  # as Python and torch would have it
        return
    signature = dict(inspect.signature(value).parameters)
    signature.pop("self", None)
    given = described(found.get("Attributes" if is_result(value) else "Parameters", ""))
    assert sorted(given) == sorted(signature)
    ordered = [name for name, p in signature.items() if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert [name for name in given if name in ordered] == ordered


@pytest.mark.parametrize("name", sorted(CLASSES | FUNCTIONS))
def test_a_docstring_has_an_example(name):
    value = PUBLIC[name]
    if inspect.isabstract(value) or is_exception(value):
        return
    if is_result(value):  # the function that returns it has one
        return
    example = sections(value.__doc__).get("Examples", "")
    assert ">>>" in example or re.fullmatch(r"\s*See :func:`\w+`\.\s*", example), "no example"


PAGES = sorted(
    page
    for page in [*DOCS.rglob("*.md"), *DOCS.parent.glob("*.md"), COURSE / "README.md"]
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
