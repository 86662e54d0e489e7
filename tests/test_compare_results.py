"""The comparison of two files of benchmark results, and the harness that writes them."""

import argparse
import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).resolve().parent / "benchmarks"


@pytest.fixture
def script(monkeypatch):
    """Import one of the scripts by its name."""
    monkeypatch.syspath_prepend(str(FOLDER))
    yield importlib.import_module
    for name in ("compare_results", "harness"):
        sys.modules.pop(name, None)


def row(name, ours, plain):
    return {
        "name": name,
        "network": "MLP",
        "rows": 1000,
        "seconds": {"ours": ours, "plain": plain},
        "ratio": {"plain": ours / plain},
    }


def write(path, load, *rows):
    path.write_text(json.dumps({"about": {"torch": "2.13", "load": load}, "results": rows}))
    return str(path)


def test_two_files_are_compared(script, tmp_path, capsys):
    before = write(tmp_path / "a", 0.5, row("fit", 0.010, 0.008), row("save", 0.004, 0.001))
    after = write(tmp_path / "b", 1.5, row("fit", 0.012, 0.008), row("load", 0.002, 0.001))
    script("compare_results").main([before, after])
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == "load: 0.5 -> 1.5"
    assert shown[2].split() == "fit MLP 1000 10.00 12.00 +20% plain 1.25 -> 1.50 *".split()
    assert shown[3:] == ["only before: save MLP 1000", "only after: load MLP 1000"]


def test_small_changes_are_not_marked(script, tmp_path, capsys):
    paths = [
        write(tmp_path / name, 0.5, row("fit", ours, 0.008))
        for name, ours in (("a", 0.010), ("b", 0.0105))
    ]
    script("compare_results").main(paths)
    assert "*" not in capsys.readouterr().out
    script("compare_results").main([*paths, "--threshold", "0.01"])
    assert "*" in capsys.readouterr().out


def test_functions_take_turns(script):
    calls = []
    functions = [lambda: calls.append("a"), lambda: calls.append("b")]
    times = script("harness").interleaved(functions, 3)
    assert times.shape == (3, 2, 2)
    assert "".join(calls) == "ba" + "ab" + "ba" + "ab"


def test_ratios_are_medians_of_paired_runs(script, tmp_path, monkeypatch, capsys):
    harness = script("harness")
    seconds = {"ours": [2.0, 6.0, 3.0], "plain": [1.0, 2.0, 3.0]}
    times = np.stack([seconds["ours"], seconds["plain"]], axis=1)
    monkeypatch.setattr(harness, "interleaved", lambda *a, **k: np.stack([0 * times, times], -1))
    results = harness.Results(["plain", "skorch"])
    sides = {"ours": lambda: None, "plain": lambda: None}
    results.measure("fit", "MLP", 1000, sides, seconds=0.0, most=3)
    results.write(tmp_path / "file")
    written = json.loads((tmp_path / "file").read_text())
    (found,) = written["results"]
    assert found["seconds"] == {"ours": 3.0, "plain": 2.0}
    assert found["ratio"] == {"plain": 2.0}  # of 2, 3 and 1
    assert {"torch", "skorch", "numpy", "load", "command"} <= written["about"].keys()
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.split() == "fit MLP 1000 3 3000.00 2000.00 2.00 - -".split()


def test_without_a_file_nothing_is_written(script, tmp_path, monkeypatch):
    harness = script("harness")
    monkeypatch.chdir(tmp_path)
    parser = argparse.ArgumentParser()
    harness.add_arguments(parser)
    arguments = parser.parse_args([])
    assert arguments.quick is False
    harness.Results([]).write(arguments.json)
    assert list(tmp_path.iterdir()) == []
