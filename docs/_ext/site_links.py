"""Links that lead somewhere on a code host, led to the same on the site."""

import re
from pathlib import Path

# Files above `docs/` that are pages of the site.
_PAGES = {
    "CHANGELOG.md": "/changelog.md",
    "CONTRIBUTING.md": "/contributing.md",
    "README.md": "/index.md",
    "notebooks/README.md": "/course/index.md",
    "docs": "/index.md",
}
_LINK = re.compile(r"\]\(([^)\s#:]+)((?:#[^)\s]*)?)\)")
_PATTERN = re.compile(r"^[\w./]+\*\n", re.MULTILINE)


def mend(app, docname, source):
    """Mend the links of a page, and leave out patterns of a toctree that no page matches."""
    folder, root = Path(app.srcdir, docname).parent, Path(app.srcdir).parent

    def link(match):
        path = (folder / match[1]).resolve()
        if not path.is_relative_to(root):
            return match[0]
        name = path.relative_to(root).as_posix()
        page = _PAGES.get(name)
        if re.fullmatch(r"notebooks/\w+\.ipynb", name):
            page = f"/course/{path.stem}.md"
        return f"]({page}{match[2]})" if page else match[0]

    def pattern(match):
        return match[0] if any(folder.glob(match[0].strip())) else ""

    source[0] = _LINK.sub(link, _PATTERN.sub(pattern, source[0]))


def setup(app):
    """Mend each page as it is read."""
    app.connect("source-read", mend)
    return {"parallel_read_safe": True, "version": "1"}
