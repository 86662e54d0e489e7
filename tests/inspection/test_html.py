import functools
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from sklearn.base import clone

from sklunlearn import BoundaryUnlearner, RetrainUnlearner, unlearning_report

NASTY = np.array(["<script>alert(1)</script>", "a & b", '"><img src=x>$y$'])
VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """Checks that tags are closed in order, and collects what the page refers to."""

    def __init__(self, html):
        super().__init__()
        self.open, self.tags, self.references, self.text = [], [], [], []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        names = [name for name, _ in attributes]
        assert len(names) == len(set(names))
        assert not any(name.startswith("on") for name in names)
        self.references += [v for name, v in attributes if name in ("src", "href", "srcset")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def make_report(flowers, unseen, net, labels, n_references):
    X, y, forget = flowers
    X_test, y_test = unseen
    if labels is not None:
        y, y_test = (labels[np.unique(of, return_inverse=True)[1]] for of in (y, y_test))
    unlearner = BoundaryUnlearner(net, max_epochs=2, random_state=0).fit(X, y, forget=forget)
    references = [
        RetrainUnlearner(net, random_state=seed).fit(X, y, forget=forget)
        for seed in range(n_references)
    ]
    return unlearning_report(
        unlearner,
        X_test,
        y_test,
        X=X,
        y=y,
        forget=forget,
        reference=references or None,
        n_bootstrap=50,
        random_state=0,
    )


@pytest.fixture(scope="module")
def report_of(flowers, unseen, _fitted):
    """Makes reports, each once."""
    net = clone(_fitted[0].estimator).set_params(max_epochs=5)

    @functools.cache
    def report_of(nasty=False, n_references=2):
        return make_report(flowers, unseen, net, NASTY if nasty else None, n_references)

    return report_of


@pytest.mark.parametrize("n_references", [0, 1, 2])
def test_page_needs_nothing_else(report_of, n_references):
    html = report_of(n_references=n_references).to_html()
    page = Page(html)
    assert html.startswith("<!DOCTYPE html>")
    assert not re.search(r"https?:|<script|@import|url\(|//[a-z]", re.sub(r"base64,\S+", "", html))
    assert len(page.references) == page.tags.count("img") == 3
    assert all(value.startswith("data:image/png;base64,") for value in page.references)
    assert not {"link", "script", "iframe", "object", "svg"} & set(page.tags)


def test_labels_are_escaped(report_of):
    report = report_of(nasty=True)
    html = report.to_html()
    assert "<script" not in html
    assert "src=x" not in re.sub(r"&gt;&lt;img src=x", "", html)
    page = Page(html)
    assert page.tags.count("img") == 3
    assert any(report.about["classes"][0] in text for text in page.text)
    assert report.about["classes"] == [NASTY[2]]


def test_page_shows_the_numbers_and_the_verdict(report_of):
    report = report_of()
    text = " ".join(Page(report.to_html()).text).replace("−", "-")
    for finding in report.verdict:
        assert finding.text.replace("−", "-") in text
    shown = report.scores.query("model in ('original', 'unlearned', 'retrained', 'unlearned gap')")
    for row in shown.itertuples():
        if row.metric not in ("membership_auc_noise", "probe_control", "seconds"):
            sign = "+" if row.model == "unlearned gap" else ""
            assert f"{row.value:{sign}.3f}" in text or row.value >= 100
    assert "BoundaryUnlearner(" in text


def test_written_and_shown(report_of, tmp_path):
    import matplotlib.pyplot as plt

    report = report_of()
    before = plt.get_fignums()
    path = tmp_path / "report.html"
    html = report.to_html(path)
    assert html == path.read_text(encoding="utf-8")
    fragment = report._repr_html_()
    assert fragment in html  # the pictures too are the same again
    assert "<html" not in fragment
    Page(fragment)
    assert plt.get_fignums() == before
