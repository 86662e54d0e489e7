"""Make the notebooks of the course from its scripts: one with blanks, and one with the answers.

    python notebooks/make_notebooks.py          # writes them
    python notebooks/make_notebooks.py --check  # says which are not what the scripts make

A script is in jupytext's percent format. In a cell tagged "answer", the notebook with blanks has
``name = ...`` in place of each assignment, and ``...`` in place of the body of each function.
"""

import argparse
import ast
import copy
import sys
from pathlib import Path

import jupytext
import nbformat

FOLDER = Path(__file__).resolve().parent
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def notebooks_of(script):
    """Text of the notebooks that a script makes, by path."""
    answered = jupytext.read(script)
    blank = copy.deepcopy(answered)
    for cell in blank.cells:
        if "answer" in cell.metadata.get("tags", ()):
            cell.source = with_blanks(cell.source)
    name = f"{script.stem}.ipynb"
    return {FOLDER / name: _text(blank), FOLDER / "solutions" / name: _text(answered)}


def with_blanks(source):
    """The cell without its answers: comments before the first statement stay."""
    tree = ast.parse(source)
    lines = source.splitlines()[: tree.body[0].lineno - 1]
    for statement in tree.body:
        if isinstance(statement, ast.Assign):
            lines.append(f"{ast.unparse(statement.targets[0])} = ...")
        elif isinstance(statement, ast.FunctionDef):
            head = statement.body[:1] if ast.get_docstring(statement) else []
            statement.body = [*head, ast.Expr(ast.Constant(...))]
            lines.append(ast.unparse(statement))
        else:
            raise ValueError(
                f"An answer is an assignment or a function, got {ast.unparse(statement)!r}: put it "
                "into a cell of its own."
            )
    return "\n".join(lines)


def _text(notebook):
    """JSON of a notebook, the same every time: nothing of the machine, ids by number, no output."""
    notebook.metadata = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number:02d}"
    nbformat.validate(notebook)
    return nbformat.writes(notebook, version=4) + "\n"


def main(arguments=None):
    """Write the notebooks, or compare them with what the scripts make."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing, end with 1 if stale")
    check = parser.parse_args(arguments).check
    texts = {}
    for script in sorted((FOLDER / "scripts").glob("*.py")):
        texts |= notebooks_of(script)
    there = {*FOLDER.glob("*.ipynb"), *FOLDER.glob("solutions/*.ipynb")}
    stale = [p for p, text in texts.items() if p not in there or p.read_text("utf-8") != text]
    stale += there - texts.keys()
    for path in stale:
        print(path.relative_to(FOLDER))
        if check:
            continue
        if path in texts:
            path.parent.mkdir(exist_ok=True)
            path.write_text(texts[path], "utf-8")
        else:
            path.unlink()  # its script is gone
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
