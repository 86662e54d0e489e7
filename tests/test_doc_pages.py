"""The pages of the documentation: their code runs, and shows what they say."""

import importlib
import re
import runpy

import numpy as np
import pytest
import torch
from pages import DOCS, code_blocks, run_page


def test_theory():
    names = {}
    run_page("theory.md", names)
    search = names["search"]
    assert search.crossed.all() and search.n_steps.max() <= 20
    assert names["shares"][1000] < 0.6
    assert (names["coarse_label"] == names["fine_label"]).float().mean() > 0.98
    assert names["mean_sign"] == pytest.approx(names["expected_sign"], abs=0.01)
    norms = names["diagnostics"].gradient_norm
    assert norms[3] > 100 * norms[0]
    assert names["pulled"][1] < names["plain"][1] < names["pushed"][1]


def test_the_mean_norm_falls_as_the_theorem_says():
    script = runpy.run_path(str(DOCS / "figures" / "convergence.py"), run_name="script")
    # A concave objective: log(1 + exp(-x)) of one feature, with a pull.
    line = torch.nn.Linear(1, 2, bias=False)
    line.weight.data = torch.tensor([[1.0], [0.0]])
    X = torch.tensor([[1.0], [2.0]])
    y = torch.zeros(2, dtype=torch.int64)
    horizons = (64, 256, 1024)
    decaying, fixed = script["measure"](line, X, y, torch.tensor([1.0]), horizons, 1.0)
    assert script["slope"](horizons, fixed) == pytest.approx(-0.5, abs=0.15)
    assert -0.8 < script["slope"](horizons, decaying) < -0.25
    # By hand: before the first step, the gradient is p_0 - 1, whatever the pull.
    norms = script["walk"](line, X, y, torch.tensor([1.0]), 1.0, max_steps=2, step_size=0.1)
    first = 1 - 1 / (1 + np.exp(-X[:, 0].numpy()))
    assert norms[0] == pytest.approx(first.mean(), rel=1e-5)
    gradient = 1 - 1 / (1 + np.exp(-(X[:, 0].numpy() - 0.1)))
    assert norms[1] == pytest.approx(np.abs(-gradient + 0.1).mean(), rel=1e-5)


def test_choosing_a_metric():
    names = {}
    run_page("choosing_metric.md", names)
    table = names["table"]
    for name in ("masked", "boundary", "retrained"):
        assert table[name]["forget accuracy"] == 0
        assert table[name]["test accuracy"] > 0.95
    # The mask passes for unlearning by its answers, and by its embeddings for the original.
    assert table["masked"]["JS to reference"] < 0.6 < table["original"]["JS to reference"]
    assert table["masked"]["probe AUC"] == pytest.approx(table["original"]["probe AUC"])
    assert table["retrained"]["probe AUC"] < table["masked"]["probe AUC"]
    assert abs(table["original"]["membership AUC"] - 0.5) < 0.1
    # With wrong labels, the AUC of the retrained network is the farther one from 0.5.
    clean, annotated = names["clean"], names["annotated"]
    distances = {name: abs(scores["membership AUC"] - 0.5) for name, scores in annotated.items()}
    assert distances["original"] < distances["retrained"] - 0.1
    assert clean["original"]["tug of war"] > 0.9 > annotated["original"]["tug of war"]


def test_choosing_a_method():
    names = {}
    run_page("choosing_method.md", names)
    accuracy = names["table"].mean()["forget_accuracy"]
    assert accuracy["boundary"] == accuracy["DELETE"] == 0
    # With its defaults, it hardly forgets a class of wine.
    assert accuracy["NegGrad"] > 0.7


def test_write_your_own(tmp_path, monkeypatch):
    # The class lies in a file outside of the package, as it would with a user.
    blocks = code_blocks("write_your_own.md")
    source = (DOCS / "write_your_own.md").read_text(encoding="utf-8")
    (tmp_path / "margin.py").write_text(source.split("```python\n")[1].split("```")[0])
    monkeypatch.syspath_prepend(tmp_path)
    names = dict(vars(importlib.import_module("margin")))
    for block in blocks[1:]:
        exec(block, names)
    assert names["tables"]["a class"]["forget_accuracy"]["margin"] == 0
    assert names["search"].best_params_["lr"] == 0.001


def test_the_bibliography_has_every_identifier_of_the_docstrings():
    page = (DOCS / "bibliography.md").read_text(encoding="utf-8")
    package = DOCS.parent / "sklunlearn"
    texts = [path.read_text(encoding="utf-8") for path in package.rglob("*.py")]
    found = {
        name for text in texts for name in re.findall(r"arXiv:\d{4}\.\d{5}|doi:10\.\S+\d", text)
    }
    assert len(found) > 20
    assert not {name for name in found if name not in page}


def test_the_glossary_is_in_order():
    page = (DOCS / "glossary.md").read_text(encoding="utf-8")
    terms = re.findall(r"^\*\*(.+):\*\* [A-Z]", page, flags=re.MULTILINE)
    assert len(terms) > 30 and len(set(terms)) == len(terms)
    assert page.count("\n\n") == len(terms) + 1
    words = [re.sub(r"[^a-z]", "", term.lower()) for term in terms]
    assert words == sorted(words)


@pytest.fixture
def how_to(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(page):
        names = {}
        run_page(f"howto/{page}.md", names)
        return names

    return run


def test_how_to_use_a_network_of_ones_own(how_to):
    names = how_to("own_network")
    X, y, unlearner = (names[name] for name in ("X", "y", "unlearner"))
    assert unlearner.score(X[y == 3], y[y == 3]) == 0
    assert unlearner.score(X[y != 3], y[y != 3]) > 0.9


def test_how_to_preprocess(how_to):
    names = how_to("pipeline")
    # The mean age is that of the rows that are left.
    imputer = names["unlearner"].preprocessing_[0].named_transformers_["pipeline"][0]
    held = names["X"][~names["forget"]]
    assert imputer.statistics_[0] == pytest.approx(held["age"].mean())


def test_how_to_start_from_a_trained_network(how_to):
    names = how_to("frozen")
    assert names["unlearner"].fitted_ is names["net"]


def test_how_to_unlearn_large_data(how_to):
    names = how_to("large_data")
    request, X, y = names["request"], names["X"], names["y"]
    assert request.score(X[y == 5], y[y == 5]) == 0


def test_how_to_search_in_parallel(how_to):
    names = how_to("cluster")
    scores = [names[name].cv_results_["mean_test_retention"] for name in ("stacked", "search")]
    np.testing.assert_allclose(*scores, atol=0.02)
    assert min(names["accuracies"]) > 0.9


def test_how_to_release_with_evidence(how_to, tmp_path):
    names = how_to("release_audit")
    assert names["accepted"].to_dict() == {
        "forget_accuracy": True,
        "test_accuracy": True,
        "probe_accuracy": False,
    }
    files = {"request.json", "report.html", "requests.jsonl", "model.safetensors"}
    assert files <= {path.name for path in tmp_path.iterdir()}


def test_how_to_use_a_transformer(how_to):
    pytest.importorskip("transformers")
    names = how_to("hugging_face_timm")
    assert names["before"][0] > 0.8
    assert names["after"][0] < 0.1 and names["after"][1] > 0.8
