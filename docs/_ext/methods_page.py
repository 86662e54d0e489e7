"""The page of the reference that lists the methods, by what they are made for.

It is written anew before every build, so that a method is found by its line in the package alone.
"""

from pathlib import Path

from sklunlearn import all_unlearners

_HEAD = """\
=======
Methods
=======

Every unlearner is a scikit-learn classifier with ``fit``, ``unlearn``, ``partial_unlearn`` and
``release``. The :doc:`user guide </user_guide>` compares them, and the :doc:`theory </background>`
says what they compute. From ``sklunlearn`` or from ``sklunlearn.unlearners``, they are the same.
"""
_KINDS = {
    ("class", "rows"): "For a class, or for rows of any class",
    ("class",): "For a class",
    ("rows",): "For rows of any class",
}
_TAIL = {
    "One model of several runs": ["sklunlearn.compose.ComposedUnlearner"],
    "Which there are": ["sklunlearn.discovery.all_unlearners"],
    "To derive from": ["sklunlearn.base.BaseUnlearner", "sklunlearn.gradient.GradientUnlearner"],
}


def methods_page():
    """reStructuredText of the page."""
    tables = {title: [] for title in _KINDS.values()}
    for name, method in all_unlearners():
        if not name.startswith("Composed"):
            tables[_KINDS[tuple(sorted(method.request_types))]].append(f"sklunlearn.{name}")
    return "\n".join([_HEAD, *(_section(*each) for each in (tables | _TAIL).items())])


def _section(title, names):
    text = f"{title}\n{'-' * len(title)}\n\n"
    module = ""
    for name in names:
        before, _, last = name.rpartition(".")
        if before != module:
            module = before
            text += f".. currentmodule:: {module}\n\n"
            text += ".. autosummary::\n   :toctree: generated/\n   :nosignatures:\n\n"
        text += f"   {last}\n"
        if name != names[-1] and not names[names.index(name) + 1].startswith(f"{module}."):
            text += "\n"
    return text


def write_page(app, config):
    """Write it where it is not there, or not the same."""
    path = Path(app.srcdir, "api", "unlearners.rst")
    if not path.exists() or path.read_text(encoding="utf-8") != methods_page():
        path.write_text(methods_page(), encoding="utf-8")


def setup(app):
    """Write the page before autosummary looks for tables."""
    app.connect("config-inited", write_page)
    return {"parallel_read_safe": True, "version": "1"}
