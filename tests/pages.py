"""The pages of the documentation, and the code in them."""

import re
from pathlib import Path

DOCS = Path(__file__).resolve().parents[1] / "docs"


def code_blocks(page, language="python"):
    """Blocks of code of a page of the documentation, in order, compiled if they are Python."""
    text = (DOCS / page).read_text(encoding="utf-8")
    blocks = re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)
    return [compile(block, page, "exec") for block in blocks] if language == "python" else blocks


def run_page(page, names):
    """Run a page, block by block, in a namespace; what it holds then is in `names`."""
    for block in code_blocks(page):
        exec(block, names)
