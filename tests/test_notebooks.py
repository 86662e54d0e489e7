"""The course: notebooks are what their scripts make, and run."""

import importlib.util
import os
import re
import resource
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from realdata import FOLDER as DATA

COURSE = Path(__file__).resolve().parents[1] / "notebooks"
NAMES = sorted(path.stem for path in COURSE.glob("scripts/*.py"))


@pytest.fixture(scope="module")
def maker():
    spec = importlib.util.spec_from_file_location("make_notebooks", COURSE / "make_notebooks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_notebooks_are_what_their_scripts_make(maker, capsys):
    assert maker.main(["--check"]) == 0, f"run `make notebooks`: {capsys.readouterr().out}"


def test_blanks(maker):
    source = "# your turn\nhalf = 1 / 2\n\ndef double(x):\n    '''Twice x.'''\n    return 2 * x"
    blank = maker.with_blanks(source)
    names = {}
    exec(blank, names)
    assert blank.startswith("# your turn\nhalf = ...")
    assert names["half"] is ...
    assert names["double"](3) is None
    assert names["double"].__doc__ == "Twice x."
    with pytest.raises(ValueError, match=r"got 'print\(1\)'"):
        maker.with_blanks("print(1)")


@pytest.mark.parametrize("name", NAMES)
def test_blanks_differ_from_answers_in_the_tagged_cells_only(name):
    blank, answered = (
        nbformat.read(folder / f"{name}.ipynb", as_version=4)
        for folder in (COURSE, COURSE / "solutions")
    )
    tagged = ["answer" in cell.metadata.get("tags", ()) for cell in answered.cells]
    assert sum(tagged) >= 2  # each notebook has two exercises
    differ = [a.source != b.source for a, b in zip(blank.cells, answered.cells, strict=True)]
    assert differ == tagged


def test_links_lead_to_notebooks():
    for name in NAMES:
        text = (COURSE / "scripts" / f"{name}.py").read_text(encoding="utf-8")
        for target in re.findall(r"\]\((?!http)([^)#]+)\)", text):
            assert (COURSE / target).exists(), f"{name} links to {target}"


def _kernel_seconds():
    """Processor seconds of the processes that this one started and that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.parametrize("path", [p for n in NAMES for p in (f"{n}.ipynb", f"solutions/{n}.ipynb")])
def test_it_runs(path):
    notebook = nbformat.read(COURSE / path, as_version=4)
    folder = {"SKLUNLEARN_DATA": str(DATA)} if DATA.is_dir() else {}
    client = NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": COURSE}}
    )
    backend = {"MPLBACKEND": "module://matplotlib_inline.backend_inline"}
    before = _kernel_seconds()
    client.execute(env={**os.environ, **backend, **folder, "OMP_NUM_THREADS": "1"})
    print(f"{path}: {_kernel_seconds() - before:.1f} processor seconds")
    # Warnings of the library would be the first thing that a student sees.
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert not [o.text for o in outputs if o.output_type == "stream" and o.name == "stderr"]
    assert any("image/png" in output.get("data", {}) for output in outputs)
