import subprocess
import sys

# A notebook, as far as tqdm looks: IPython with a kernel, but no ipywidgets.
NOTEBOOK = """
import sys, types
IPython, kernel = types.ModuleType("IPython"), types.ModuleType("ipykernel.zmqshell")
IPython.get_ipython = lambda: None
sys.modules.update({"IPython": IPython, "ipykernel.zmqshell": kernel, "ipywidgets": None})
"""


def run_in_notebook(code):
    return subprocess.run(
        [sys.executable, "-W", "default", "-c", NOTEBOOK + code],
        capture_output=True,
        text=True,
        check=True,
    )


def test_the_import_says_nothing_in_a_notebook_without_widgets():
    # The sentence is tqdm's own: what it would say there.
    assert "IProgress not found" in run_in_notebook("import tqdm.auto").stderr
    done = run_in_notebook(
        "import sklunlearn, sklunlearn.model_selection\n"
        "from sklunlearn._progress import tqdm, trange\n"
        "print(list(trange(2, disable=True)), list(tqdm([0], disable=True)))\n"
    )
    assert done.stderr == ""
    assert done.stdout == "[0, 1] [0]\n"
