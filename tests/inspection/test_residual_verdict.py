from types import SimpleNamespace

import numpy as np
import pytest

from sklunlearn.inspection._residual_verdict import ResidualVerdict


def read(apart=(), n_references=3, classes=(3,), unchanged=False, **changed):
    """Verdict about made-up figures: a probe and relearning that are as with retraining."""
    figures = {
        "probe_accuracy/original": (0.99, 0.98, 1.0),
        "probe_accuracy/unlearned": (0.95, 0.94, 0.96),
        "probe_accuracy/retrained": (0.95, 0.94, 0.96),
        "probe_accuracy/original gap": (0.04, 0.03, 0.05),
        "probe_accuracy/unlearned gap": (0.0, -0.01, 0.01),
        "probe_control/unlearned": (0.5, 0.5, 0.5),
        "forget_accuracy/unlearned gap": (0.0, 0.0, 0.0),
        "relearn_steps/original": (1.0, 1.0, 1.0),
        "relearn_steps/unlearned": (80.0, 78.0, 82.0),
        "relearn_steps/retrained": (88.0, 80.0, 95.0),
    } | changed
    table = {
        tuple(name.split("/")): SimpleNamespace(
            **dict(zip(("value", "low", "high"), figure, strict=True))
        )
        for name, figure in figures.items()
        if figure is not None
    }
    about = {"n_references": n_references, "classes": list(classes)}
    about |= {"is_embedding_unchanged": unchanged, "relearning": {"n_steps": 300, "target": 0.9}}
    return ResidualVerdict(table, about, lambda metric, model: f"{metric}/{model}" in apart)


BETTER = {
    "probe_accuracy/unlearned": (0.98, 0.97, 0.99),
    "probe_accuracy/unlearned gap": (0.03, 0.02, 0.04),
}
BOTH = ["probe_accuracy/unlearned", "probe_accuracy/original"]
QUICK = {"relearn_steps/unlearned": (20.0, 19.0, 21.0)}


def test_as_retrained():
    verdict = read(apart=["probe_accuracy/original"])
    assert verdict.headline() is None
    assert [finding.level for finding in verdict.findings()] == ["good", "good"]
    probe, relearning = verdict.findings()
    assert "about as well as with retrained networks (accuracy 95.0% against 95.0%" in probe.text
    assert "after 80 steps (78 to 82), retrained networks after 88 steps (80 to 95)" in (
        relearning.text
    )


def test_last_layer_and_quick():
    mostly = read(apart=BOTH, **BETTER)
    assert mostly.headline().startswith("Forgotten mostly in the last layer")
    assert "undone" not in mostly.headline()
    only = read(apart=BOTH, unchanged=True, **BETTER, **QUICK)
    assert only.headline().startswith("Forgotten only in the last layer")
    assert "It can be undone quickly" in only.headline()
    assert [finding.level for finding in only.findings()] == ["warning", "warning"]
    quick = read(**QUICK)
    assert quick.headline().startswith("Can be undone quickly")
    classes = read(apart=BOTH, classes=(3, 4), **BETTER)
    assert "forgotten classes" in classes.headline()
    assert "would know them again" in next(classes.findings()).text


@pytest.mark.parametrize(
    "changed",
    [
        {"apart": ["probe_accuracy/original"]},  # as far as retrained networks are
        {"n_references": 1},
        {"probe_accuracy/unlearned gap": (-0.03, -0.04, -0.02)},
        {"probe_accuracy/unlearned gap": (0.009, 0.001, 0.02)},  # too little to matter
        {"probe_accuracy/original gap": (0.08, 0.07, 0.09)},  # nearer to retrained ones
        {"probe_control/unlearned": (0.98, 0.98, 0.98)},  # so are labels that mean nothing
        # Its outputs still know the rows: then it is not the last layer that forgot.
        {
            "apart": [*BOTH, "forget_accuracy/unlearned"],
            "forget_accuracy/unlearned gap": (0.3, 0.2, 0.4),
        },
    ],
)
def test_no_headline_about_the_last_layer(changed):
    assert read(**{"apart": BOTH} | BETTER | changed).headline() is None


@pytest.mark.parametrize(
    "changed",
    [
        {"relearn_steps/unlearned": (41.0, 40.0, 42.0)},  # more than half of 80
        {"relearn_steps/unlearned": (3.0, 3.0, 3.0), "relearn_steps/retrained": (7.0, 7.0, 8.0)},
        {"n_references": 1, **QUICK},
        {"n_references": 0, "relearn_steps/retrained": None, **QUICK},
    ],
)
def test_not_quick(changed):
    verdict = read(**changed)
    assert not verdict.relearns_faster()
    assert verdict.headline() is None
    assert "undone" not in " ".join(finding.text for finding in verdict.findings())


def test_not_reached():
    never = (301.0, 301.0, 301.0)
    both = read(**{"relearn_steps/unlearned": never, "relearn_steps/retrained": never})
    text = list(both.findings())[1].text
    assert "not within 300 steps, retrained networks not within 300 steps: too few to tell" in text
    # That it takes retrained ones longer than was tried is enough to tell.
    one = read(**QUICK, **{"relearn_steps/retrained": never})
    assert one.relearns_faster()
    beyond = read(**{"relearn_steps/unlearned": (190.0, 180.0, 200.0)})
    assert "at least twice as many, which is beyond forgetting" in list(beyond.findings())[1].text
    some = read(**{"relearn_steps/retrained": (200.0, 90.0, 301.0)})
    assert "(90 to over 300)" in list(some.findings())[1].text


def test_original_is_not_told_apart_either():
    finding = next(read().findings())
    assert finding.level == "note"
    assert "So it does with the original" in finding.text


def test_apart_but_not_accused():
    less = {"probe_accuracy/unlearned gap": (-0.03, -0.04, -0.02)}
    assert "less well than" in next(read(apart=BOTH, **less).findings()).text
    little = {"probe_accuracy/unlearned gap": (0.009, 0.001, 0.02)}
    assert "a little better than" in next(read(apart=BOTH, **little).findings()).text


def test_nothing_measured():
    verdict = read(
        **{
            f"{metric}/{model}": None
            for metric in ("probe_accuracy", "relearn_steps")
            for model in ("original", "unlearned", "retrained", "original gap", "unlearned gap")
        }
    )
    assert list(verdict.findings()) == []
    assert verdict.headline() is None
    assert not np.any([verdict.separates(), verdict.relearns_faster()])
