"""The page on requests: its code runs, and its file is what is written."""

import json
import re
from pathlib import Path

import numpy as np

PAGE = Path(__file__).resolve().parents[1] / "docs" / "requests.md"


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def test_the_code_of_the_page_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in blocks("python"):
        exec(compile(block, PAGE.name, "exec"), names)
    assert json.loads(blocks("json")[0]) == json.loads((tmp_path / "request.json").read_text())
    expected = names["metadata"].patient.isin(["p1", "p7"]).sum()
    assert names["unlearner"].records_[-1]["n_forget"] == expected
    np.testing.assert_array_equal(np.flatnonzero(names["forget"]), np.arange(80))
