"""The page on requests: its code runs, and its file is what is written."""

import json

import numpy as np
from pages import code_blocks, run_page


def test_the_code_of_the_page_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    run_page("requests.md", names)
    assert json.loads(code_blocks("requests.md", "json")[0]) == json.loads(
        (tmp_path / "request.json").read_text()
    )
    expected = names["metadata"].patient.isin(["p1", "p7"]).sum()
    assert names["unlearner"].records_[-1]["n_forget"] == expected
    np.testing.assert_array_equal(np.flatnonzero(names["forget"]), np.arange(80))
