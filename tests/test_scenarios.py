"""The scenarios of the documentation, run as a reader would."""

import importlib
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from realdata import find_data

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "scenarios"
SCRIPTS = ["hospital_leaves", "patient_and_outliers", "retired_device", "withdrawn_diagnosis"]


@pytest.fixture
def scenario(monkeypatch):
    """Import one of the scripts by its name, as it finds the modules beside it."""
    monkeypatch.syspath_prepend(str(FOLDER))
    yield importlib.import_module
    for path in FOLDER.glob("*.py"):
        sys.modules.pop(path.stem, None)


def test_every_script_is_known_and_has_its_section():
    shared = {"comparison", "loading"}
    assert sorted({path.stem for path in FOLDER.glob("*.py")} - shared) == SCRIPTS
    page = (FOLDER / "README.md").read_text()
    assert sorted(re.findall(r"^python docs/scenarios/(\w+)\.py", page, re.MULTILINE)) == SCRIPTS


@pytest.mark.parametrize("name", SCRIPTS)
def test_it_runs_on_generated_data(scenario, name, capsys):
    scenario(name).main(["--quick", "--seeds", "2"])
    shown = capsys.readouterr().out
    for line in ("original ", "retrained ", "yardstick "):
        assert f"\n{line}" in shown
    # Every number of the table has its interval, which holds it.
    rows = re.findall(r"(-?\d\.\d{3})[ *]\[(-?\d\.\d\d) (-?\d\.\d\d)\]", shown)
    assert len(rows) > 10
    for value, low, high in np.array(rows, dtype=float):
        assert low - 0.02 <= value <= high + 0.02


def test_a_hospital_leaves_on_real_data(scenario, capsys):
    table = find_data("heart_disease.csv")
    if table is None:
        pytest.skip("the data folder is not there")
    scenario("hospital_leaves").main(["--data", str(table.parent), "--quick", "--seeds", "2"])
    assert "920 patients" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["--seeds", "1"], ["--data", "nowhere"], ["--seeds", "x"]])
def test_bad_arguments_end_the_script(scenario, arguments, capsys):
    with pytest.raises(SystemExit):
        scenario("retired_device").main(arguments)
