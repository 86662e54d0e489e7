"""The notebooks as pages: Markdown made of the scripts in `notebooks/`; nothing is executed."""

import re
import shutil
from pathlib import Path

# Links of a notebook to the documentation, seen from the page.
_LINKS = re.compile(r"\]\(\.\./docs/")
_HEADER = re.compile(r"\A# ---\n.*?^# ---\n", re.DOTALL | re.MULTILINE)
_CELL = re.compile(r"^# %%(.*)$", re.MULTILINE)


def page_of(script):
    """Markdown of a percent script: Markdown cells as text, code cells as blocks of code."""
    parts = _CELL.split(_HEADER.sub("", script))
    cells = []
    for marker, body in zip(parts[1::2], parts[2::2], strict=True):
        body = body.strip("\n")
        if "[markdown]" in marker:
            body = re.sub(r"^# ?", "", body, flags=re.MULTILINE)
            cells.append(_LINKS.sub("](../", body))
        elif body:
            cells.append(f"```python\n{body}\n```")
    return "\n\n".join(cells) + "\n"


def write_pages(app):
    """Write `docs/course/`, anew if there are notebooks; without them, a page that says so."""
    folder, notebooks = Path(app.srcdir) / "course", Path(app.srcdir).parent / "notebooks"
    pages = {}
    scripts = sorted(notebooks.glob("[0-9]*.py"))
    for script in scripts:
        notebook = script.with_suffix(".ipynb")
        page = page_of(script.read_text(encoding="utf-8"))
        if notebook.exists():
            pages[notebook.name] = notebook.read_bytes()
            note = f"*As a notebook: {{download}}`{notebook.name} <{notebook.name}>`.*"
            page = re.sub(r"\A(\s*# .*\n)", rf"\1\n{note}\n", page)
        pages[script.stem + ".md"] = page.encode()
    pages["index.md"] = _index(notebooks / "README.md", scripts).encode()
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        if old.name not in pages:
            shutil.rmtree(old) if old.is_dir() else old.unlink()
    for name, content in pages.items():
        path = folder / name
        if not path.exists() or path.read_bytes() != content:  # what is the same is not built anew
            path.write_bytes(content)


def _index(readme, scripts):
    text = (
        "# Course\n\nThe notebooks of the course are not part of this copy of the documentation.\n"
    )
    if scripts and readme.exists():
        text = readme.read_text(encoding="utf-8")
        text = re.sub(r"\]\((\d\d_\w+)\.(?:ipynb|py)\)", r"](\1.md)", _LINKS.sub("](../", text))
    elif scripts:
        text = "# Course\n"
    names = "".join(f"{script.stem}\n" for script in scripts)
    return f"{text}\n```{{toctree}}\n:hidden:\n:glob:\n\n{names}../teaching*\n../teaching/*\n```\n"


def setup(app):
    """Write the pages before Sphinx looks for them."""
    app.connect("builder-inited", write_pages)
    return {"parallel_read_safe": True, "version": "1"}
