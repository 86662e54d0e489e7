"""The notebooks as pages: Markdown made of the files in `notebooks/`; nothing is executed."""

import json
import re
from pathlib import Path


def page_of(notebook, links):
    """Markdown of a notebook: Markdown cells as text, code cells as blocks of code."""
    cells = []
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"]).strip("\n")
        if cell["cell_type"] == "markdown":
            cells.append(links(source))
        elif source:
            cells.append(f"```python\n{source}\n```")
    # Below the title, which the first cell begins with.
    note = f"*To work through: {{download}}`{notebook.name} <{notebook.name}>`.*"
    return re.sub(r"\A(# .*)", rf"\1\n\n{note}", "\n\n".join(cells)) + "\n"


class Links:
    """Links of a notebook, as they are seen from its page; without what is no page, plain text."""

    def __init__(self, names):
        self.names = names

    def __call__(self, text):
        return re.sub(r"(?<!!)\[([^\]\[]*)\]\(([^)\s]+)\)", self._replace, text)

    def _replace(self, match):
        text, target = match.groups()
        if re.match(r"\w+:|#", target):
            return match[0]
        if target.startswith("../docs/"):
            return f"[{text}]({target.replace('docs/', '', 1)})"
        name = Path(target).stem
        return f"[{text}]({name}.md)" if name in self.names else text


def write_pages(app):
    """Write `docs/course/`; without notebooks, a page that says so."""
    folder, source = Path(app.srcdir) / "course", Path(app.srcdir).parent / "notebooks"
    notebooks = sorted(source.glob("[0-9]*.ipynb"))
    links = Links({notebook.stem for notebook in notebooks})
    contents = {"index.md": _index(source / "README.md", notebooks, links).encode()}
    for notebook in notebooks:
        contents[notebook.name] = notebook.read_bytes()
        contents[f"{notebook.stem}.md"] = page_of(notebook, links).encode()
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        if old.name not in contents:
            old.unlink()
    for name, content in contents.items():
        path = folder / name
        if not path.exists() or path.read_bytes() != content:  # what is the same is not built anew
            path.write_bytes(content)


def _index(readme, notebooks, links):
    text = "# Course\n\nThe notebooks of the course are not part of this copy.\n"
    if readme.exists():
        text = links(readme.read_text(encoding="utf-8"))
    names = "".join(f"{notebook.stem}\n" for notebook in notebooks)
    return f"{text}\n```{{toctree}}\n:hidden:\n:glob:\n\n{names}../teaching*\n../teaching/*\n```\n"


def setup(app):
    """Write the pages before Sphinx looks for them."""
    app.connect("builder-inited", write_pages)
    return {"parallel_read_safe": True, "version": "1"}
