import copy
import itertools

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.spatial.distance import jensenshannon
from scipy.stats import ks_2samp
from sklearn.exceptions import NotFittedError
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch.utils.data import TensorDataset

from sklunlearn import (
    BoundaryUnlearner,
    RetrainUnlearner,
    SISAUnlearner,
    UnlearningReport,
    unlearning_report,
)
from sklunlearn.inspection._bootstrap import Resampler, interval
from sklunlearn.inspection._judged_rows import forgotten_classes, matched_rows
from sklunlearn.inspection._models import original_of
from sklunlearn.inspection._verdict import find_verdict
from sklunlearn.metrics import ks_distance, membership_auc


@pytest.fixture(scope="module")
def judge(flowers, unseen):
    X, y, forget = flowers

    def judge(unlearner, reference=None, **options):
        rows = {"X": X, "y": y, "forget": forget} | options
        return unlearning_report(
            unlearner, *unseen, reference=reference, random_state=0, n_bootstrap=200, **rows
        )

    return judge


def values(report):
    return report.to_frame().set_index(["metric", "model"])["value"]


# The bootstrap


def indices_drawn(resampler):
    """The draws as row indices, made again one by one."""
    rng = np.random.default_rng(resampler.seed)
    return [rng.integers(resampler.n, size=resampler.n) for _ in range(resampler.n_bootstrap)]


@pytest.mark.parametrize("n_per_block", [1, 7, 1000])
def test_draws_do_not_depend_on_the_blocks(n_per_block):
    resampler = Resampler(11, 20, [0, 1])
    counts = np.concatenate(list(resampler.counts(n_per_block)))
    drawn = indices_drawn(resampler)
    assert np.array_equal(counts, [np.bincount(rows, minlength=11) for rows in drawn])


def test_resampled_as_in_a_loop():
    rng = np.random.default_rng(0)
    losses = rng.integers(0, 6, size=(2, 15)) / 2  # with ties
    others = rng.integers(1, 8, size=9) / 2
    members, non_members = Resampler(15, 40, [3]), Resampler(9, 40, [4])
    drawn, drawn_others = indices_drawn(members), indices_drawn(non_members)
    assert np.allclose(members.means(losses.T), [losses[:, i].mean(axis=1) for i in drawn])
    expected = [ks_distance(losses[0][i], losses[1][i]) for i in drawn]
    assert np.allclose(members.ks(*losses), expected)
    expected = [
        membership_auc(losses[0][i], others[j]) for i, j in zip(drawn, drawn_others, strict=True)
    ]
    assert np.allclose(members.auc(losses[0], non_members, others), expected)


def test_interval():
    assert np.allclose(interval(np.arange(101), 0.9), (5, 95))


# Rows


def test_matched_rows_have_the_shares_of_the_forget_rows():
    y = np.repeat([0, 1, 2, 3], [20, 20, 20, 20])
    forget = np.zeros(80, dtype=bool)
    forget[[0, 1, 2, 3, 20, 21, 40]] = True  # 4, 2 and 1 of classes 0, 1 and 2
    y_test = np.repeat([0, 1, 3], [40, 10, 50])
    members, others = matched_rows(y, forget, y_test, np.random.default_rng(0))
    assert members.tolist() == [0, 1, 2, 3, 20, 21]  # no test row is of class 2
    assert np.bincount(y_test[others], minlength=4).tolist() == [20, 10, 0, 0]
    assert len(set(others.tolist())) == 30
    assert forgotten_classes(y, forget).size == 0
    assert forgotten_classes(y, y > 1).tolist() == [2, 3]
    assert matched_rows(y, y == 2, y_test, np.random.default_rng(0))[1].size == 0


# Numbers


def test_numbers_equal_independent_ones(unlearner, references, flowers, unseen, judge):
    X, y, forget = flowers
    X_test, y_test = unseen
    gone = y_test == "virginica"
    report = judge(unlearner, references)
    score = values(report)
    models = {"original": [original_of(unlearner)], "unlearned": [unlearner]}
    models["retrained"] = references
    accuracy, auc, loss = {}, {}, {}
    for name, networks in models.items():
        for m in networks:
            proba = m.predict_proba(X).astype(float)
            column = (y[:, None] == m.classes_).argmax(axis=1)
            loss.setdefault(name, []).append(-np.log(proba[np.arange(len(y)), column])[forget])
            proba_test = m.predict_proba(X_test[gone]).astype(float)
            loss_test = -np.log(proba_test[:, 2])
            auc.setdefault(name, []).append(
                roc_auc_score(
                    np.repeat([1, 0], [forget.sum(), gone.sum()]),
                    -np.concatenate([loss[name][-1], loss_test]),
                )
            )
            accuracy.setdefault(name, []).append(
                [
                    np.mean(m.predict(X[forget]) == y[forget]),
                    np.mean(m.predict(X_test[gone]) == y_test[gone]),
                    np.mean(m.predict(X[~forget]) == y[~forget]),
                    np.mean(m.predict(X_test[~gone]) == y_test[~gone]),
                ]
            )
    metrics = ["forget_accuracy", "forget_accuracy_test", "retain_accuracy", "test_accuracy"]
    mean = {name: np.mean(of, axis=0) for name, of in accuracy.items()}
    for i, metric in enumerate(metrics):
        for name, of in mean.items():
            assert score[metric, name] == pytest.approx(of[i])
        for name in ("original", "unlearned"):
            expected = mean[name][i] - mean["retrained"][i]
            assert score[metric, f"{name} gap"] == pytest.approx(expected)
        r = [of[i] for of in accuracy["retrained"]]
        apart = [abs(r[0] - (r[1] + r[2]) / 2), abs(r[1] - (r[0] + r[2]) / 2)]
        apart.append(abs(r[2] - (r[0] + r[1]) / 2))
        assert score[metric, "floor"] == pytest.approx(max(apart))
    for name, of in auc.items():
        assert score["membership_auc", name] == pytest.approx(np.mean(of), abs=2e-3)
    assert score["membership_auc_noise", "unlearned"] == pytest.approx(np.sqrt(51 / (12 * 625)))

    tow = np.prod(1 - np.abs(mean["unlearned"] - mean["retrained"])[[0, 2, 3]])
    assert score["tug_of_war", "unlearned"] == pytest.approx(tow)

    def js(a, b, rows):
        p, q = (m.predict_proba(rows).astype(float) for m in (a, b))
        return np.mean(jensenshannon(p, q, base=2, axis=1) ** 2)

    for metric, rows in [("js_forget", X[forget]), ("js_test", X_test)]:
        for name in ("original", "unlearned"):
            expected = np.mean([js(models[name][0], r, rows) for r in references])
            assert score[metric, name] == pytest.approx(expected, abs=1e-5)
        pairs = [js(a, b, rows) for a, b in itertools.combinations(references, 2)]
        assert score[metric, "retrained"] == pytest.approx(np.mean(pairs), abs=1e-5)
        # Each from the two others: 12 and 13, 12 and 23, 13 and 23.
        each = [np.mean([pairs[i], pairs[j]]) for i, j in ((0, 1), (0, 2), (1, 2))]
        assert score[metric, "floor"] == pytest.approx(max(each), abs=1e-5)
    expected = np.mean([ks_2samp(loss["unlearned"][0], of).statistic for of in loss["retrained"]])
    assert score["ks_forget", "unlearned"] == pytest.approx(expected)
    agreement = [np.mean(unlearner.predict(X_test) == r.predict(X_test)) for r in references]
    assert score["agreement_test", "unlearned"] == pytest.approx(np.mean(agreement))

    seconds = np.median([r.unlearning_time_ for r in references])
    assert score["seconds", "unlearned"] == unlearner.unlearning_time_
    assert score["speed_up", "unlearned"] == pytest.approx(seconds / unlearner.unlearning_time_)


def test_interval_of_a_report_is_that_of_a_direct_loop(unlearner, flowers, unseen, judge):
    frame = judge(unlearner).to_frame().set_index(["metric", "model"])
    row = frame.loc[("test_accuracy", "unlearned")]
    kept = unseen[1] != "virginica"
    right = (unlearner.predict(unseen[0]) == unseen[1])[kept]
    drawn = [right[rows].mean() for rows in indices_drawn(Resampler(kept.sum(), 200, [0, 2]))]
    assert (row.low, row.high) == pytest.approx(tuple(np.percentile(drawn, [2.5, 97.5])))
    assert row.n == kept.sum()
    paired = judge(unlearner, copy.deepcopy(unlearner))
    gap = paired.to_frame().set_index(["metric", "model"]).loc[("test_accuracy", "unlearned gap")]
    assert (gap.value, gap.low, gap.high) == (0, 0, 0)  # the same rows are drawn for both


def test_frame(unlearner, retrained, judge):
    report = judge(unlearner, retrained)
    frame = report.to_frame()
    assert frame.columns.tolist() == ["metric", "model", "value", "low", "high", "n"]
    assert not frame.duplicated(["metric", "model"]).any()
    known = frame.dropna()
    assert (known["low"] <= known["high"]).all()
    assert (
        known.query("metric in ('forget_accuracy', 'test_accuracy')")
        .eval("low <= value <= high")
        .all()
    )
    frame["value"] = 0  # a copy
    assert report.to_frame()["value"].any()
    per_class = report.per_class.query("model == 'unlearned'")
    assert per_class["n"].tolist() == [25, 25, 25]
    assert per_class["rows"].tolist() == ["all"] * 3
    assert ("js_forget", "floor") not in values(report)  # of one network there is none
    assert repr(report).startswith("Unlearning report, BoundaryUnlearner\n[")


def test_random_state(unlearner, judge):
    pd.testing.assert_frame_equal(judge(unlearner).scores, judge(unlearner).scores)


# What the verdict says


def levels(report):
    return [finding.level for finding in report.verdict]


def test_retrained_is_ideal(retrained, references, judge):
    report = judge(retrained, references)
    assert report.verdict[0].level == "good"
    assert report.verdict[0].text.startswith("Not told apart from retraining")
    assert values(report)["tug_of_war", "unlearned"] > 0.9


def test_original_is_not_forgotten(unlearner, references, judge):
    unlearner._restart()
    report = judge(unlearner, references)
    assert report.verdict[0].level == "bad"
    assert report.verdict[0].text.startswith("Not forgotten")
    assert any("still knows" in finding.text for finding in report.verdict)


def test_original_of_a_request_of_rows(unlearner, retrained, flowers, judge):
    X, y, _ = flowers
    forget = np.arange(0, 75, 5)
    retrained.unlearn(X, y, forget=forget)
    unlearner._restart()
    for reference in (None, retrained):
        headline = judge(unlearner, reference, forget=forget).verdict[0]
        assert headline.level == "bad"
        assert "the very probabilities that the original gives" in headline.text


def test_barely_changed_network_is_not_forgotten(unlearner, references, judge):
    unlearner._restart()
    unlearner.net_ = copy.deepcopy(unlearner.net_)
    with torch.no_grad():
        for parameter in unlearner.net_.module_.parameters():
            parameter.mul_(0.99)
    report = judge(unlearner, references)
    assert report.verdict[0].text.startswith("Not forgotten: on the forgotten rows")


@pytest.mark.parametrize("with_reference", [True, False])
def test_permuted_head_is_useless(unlearner, references, judge, with_reference):
    unlearner.net_ = copy.deepcopy(unlearner.net_)
    head = [m for m in unlearner.net_.module_.modules() if isinstance(m, torch.nn.Linear)][-1]
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.copy_(parameter[[1, 2, 0]])
    report = judge(unlearner, references if with_reference else None)
    assert report.verdict[0].text.startswith("Useless")
    assert "good" not in levels(report)


def test_no_reference_no_verdict(unlearner, judge):
    report = judge(unlearner)
    assert report.verdict[0].text.startswith("No verdict")
    assert "proxies" in report.verdict[0].text
    assert "good" not in levels(report)
    assert not {"js_forget", "ks_forget", "tug_of_war", "speed_up"} & set(report.scores["metric"])
    assert not report.scores["model"].str.contains("gap").any()


def test_class_and_rows_of_others_without_reference(flowers, unseen):
    X, y, forget = flowers
    forget = forget | (np.arange(len(y)) % 5 == 0)
    unlearner = RetrainUnlearner(random_state=0).fit(X, y, forget=forget)
    report = unlearning_report(unlearner, *unseen, X=X, y=y, forget=forget, n_bootstrap=50)
    of_forgotten, of_unseen = report.verdict[2:4]
    assert "about as often as on unseen rows, not never" in of_forgotten.text
    assert "normally never right" in of_unseen.text
    assert "(among them all of class " in report.to_html()


def test_votes_that_came_out_the_same_after_retraining(flowers, unseen):
    X, y, _ = flowers
    unlearner = SISAUnlearner(n_shards=3, aggregation="vote", random_state=0)
    unlearner.fit(X, y, forget=[0])
    report = unlearning_report(unlearner, *unseen, X=X, y=y, forget=[0], n_bootstrap=50)
    before, after = unlearner.fitted_.predict_proba(X[:1]), unlearner.predict_proba(X[:1])
    np.testing.assert_array_equal(before, after)
    assert not report.verdict[0].text.startswith("Not forgotten")


def test_known_class_without_reference(unlearner, judge):
    unlearner._restart()
    assert judge(unlearner).verdict[2].level == "warning"


def test_one_reference_says_so(unlearner, retrained, judge):
    texts = " ".join(finding.text for finding in judge(unlearner, retrained).verdict)
    assert "one retrained network" in texts


def made_up(**changed):
    """Scores and description of a request of rows that cannot be told from retraining."""
    rows = {
        ("test_accuracy", "original"): (0.9, 0.88, 0.92),
        ("test_accuracy", "unlearned"): (0.9, 0.88, 0.92),
        ("test_accuracy", "retrained"): (0.9, 0.88, 0.92),
        ("test_accuracy", "unlearned gap"): (0.0, -0.01, 0.01),
        ("forget_accuracy", "original"): (1.0, 1.0, 1.0),
        ("forget_accuracy", "unlearned"): (0.9, 0.85, 0.95),
        ("forget_accuracy", "retrained"): (0.9, 0.85, 0.95),
        ("forget_accuracy", "unlearned gap"): (0.0, -0.02, 0.02),
        ("forget_accuracy", "original gap"): (0.1, 0.05, 0.15),
        ("membership_auc", "unlearned"): (0.5, 0.45, 0.55),
        ("membership_auc", "retrained"): (0.5, 0.45, 0.55),
        ("membership_auc", "unlearned gap"): (0.0, -0.05, 0.05),
        ("membership_auc_noise", "unlearned"): (0.03, np.nan, np.nan),
        ("js_forget", "original"): (0.2, 0.15, 0.25),
        ("js_forget", "unlearned"): (0.05, 0.04, 0.06),
        ("js_forget", "retrained"): (0.05, 0.04, 0.06),
        ("js_forget", "unlearned gap"): (0.0, -0.01, 0.01),
        ("js_forget", "original gap"): (0.15, 0.1, 0.2),
        ("js_forget", "floor"): (0.05, np.nan, np.nan),
    } | {tuple(key.split("/")): value for key, value in changed.items()}
    scores = pd.DataFrame(
        [(*key, *value, 200) for key, value in rows.items()],
        columns=["metric", "model", "value", "low", "high", "n"],
    )
    about = {"n_references": 3, "n_forget": 200, "classes": [], "chance": 0.1, "remarks": []}
    about |= {"n_forget_of_kept_classes": 200, "n_unseen_of_kept_classes": 0}
    about["is_unseen_marked"] = False
    return scores, about | {"confidence": 0.95, "method": "made up", "is_unchanged": False}


def test_verdict_of_made_up_scores():
    findings = find_verdict(*made_up())
    assert findings[0].text == "Not told apart from retraining by the figures of this report."
    assert {f.level for f in findings[1:-1]} == {"good"}
    assert "as often as the retrained one, within the interval" in findings[2].text


@pytest.mark.parametrize(
    ("changed", "headline", "text"),
    [
        (
            {
                "membership_auc/unlearned": (0.3, 0.25, 0.35),
                "membership_auc/unlearned gap": (-0.2, -0.25, -0.15),
            },
            "Told apart from retraining, by the membership attack. See",
            "Streisand",
        ),
        (
            {
                "membership_auc/unlearned": (0.7, 0.65, 0.75),
                "membership_auc/unlearned gap": (0.2, 0.15, 0.25),
            },
            "Told apart from retraining, by the membership attack. See",
            "recognises forgotten rows more often",
        ),
        (
            {"forget_accuracy/unlearned gap": (-0.3, -0.4, -0.2)},
            "Told apart from retraining, by the accuracy on the forgotten rows. See",
            "worse there than never having seen them",
        ),
        (
            {"forget_accuracy/unlearned gap": (0.08, 0.05, 0.12)},
            "Told apart from retraining",
            "still knows some",
        ),
        (
            {
                "forget_accuracy/unlearned gap": (0.08, 0.05, 0.12),
                "js_forget/unlearned": (0.2, 0.15, 0.25),
                "js_forget/unlearned gap": (0.15, 0.1, 0.2),
            },
            "Not forgotten",
            "farther from those of retrained networks",
        ),
        (
            {
                "js_forget/original gap": (0.0, -0.1, 0.1),
                "forget_accuracy/original gap": (0.01, 0.005, 0.015),
            },
            "Cannot tell",
            "So is the original",
        ),
        (
            {
                "test_accuracy/unlearned": (0.4, 0.35, 0.45),
                "test_accuracy/unlearned gap": (-0.5, -0.6, -0.4),
            },
            "Useless",
            "right less often than the retrained one",
        ),
        (
            {
                "seconds/unlearned": (2.0, np.nan, np.nan),
                "speed_up/unlearned": (0.5, np.nan, np.nan),
            },
            "Not told apart",
            "2.0 times as long as retraining",
        ),
    ],
)
def test_verdict_names_what_is_wrong(changed, headline, text):
    findings = find_verdict(*made_up(**changed))
    assert findings[0].text.startswith(headline)
    assert any(text in finding.text for finding in findings[1:])


# What it is given


def test_random_rows(unlearner, retrained, flowers, judge):
    X, y, _ = flowers
    forget = np.arange(0, 75, 5)
    for model in (unlearner, retrained):
        model.unlearn(X, y, forget=forget)
    report = judge(unlearner, retrained, forget=forget)
    assert report.about["classes"] == []
    assert report.about["n_forget"] == 15
    assert "forget_accuracy_test" not in set(report.scores["metric"])
    assert any("Only 15 rows" in finding.text for finding in report.verdict)


def test_marked_test_rows_are_those_of_the_same_kind(unlearner, retrained, flowers, unseen, judge):
    X, y, _ = flowers
    X_test, y_test = unseen
    forget, marked = X[:, 0] > 4.5, X_test[:, 0] > 4.5  # long petals, of two of the classes
    assert 1 < len(set(y[forget])) < len(set(y))
    for model in (unlearner, retrained):
        model.unlearn(X, y, forget=forget)
    report = judge(unlearner, retrained, forget=forget, forget_test=np.flatnonzero(marked))
    right = unlearner.predict(X_test) == y_test
    score = values(report)
    assert score["forget_accuracy_test", "unlearned"] == pytest.approx(right[marked].mean())
    assert score["test_accuracy", "unlearned"] == pytest.approx(right[~marked].mean())
    # The attack sees marked rows only: each loss it compares with is that of one of them.
    proba = unlearner.predict_proba(X_test)
    losses = -np.log(proba[np.arange(75), np.searchsorted(unlearner.classes_, y_test)])
    others = report.losses["unlearned"][1]
    assert all(np.isclose(losses[marked], loss).any() for loss in others)
    unmarked = judge(unlearner, retrained, forget=forget).losses["unlearned"][1]
    assert len(others) < len(unmarked)
    assert not all(np.isclose(losses[marked], loss).any() for loss in unmarked)
    texts = " ".join(finding.text for finding in report.verdict)
    assert "On the other test rows" in texts
    assert "normally never right" not in texts
    assert "the other test rows" in report.to_html()
    # Of each class, marked rows and others by themselves; none is of a class without such rows.
    found = report.per_class.set_index(["model", "rows", "label"]).loc["unlearned"]
    assert list(found.index) == [
        (rows, label)
        for rows, of in (("kept", ~marked), ("of what was forgotten", marked))
        for label in np.unique(y_test[of])
    ]
    for (rows, label), row in found.iterrows():
        chosen = (y_test == label) & (marked if rows == "of what was forgotten" else ~marked)
        assert row["n"] == chosen.sum()
        assert row["accuracy"] == pytest.approx(right[chosen].mean())
    axes = report.plot().axes[-2:]
    assert [len(ax.patches) for ax in axes] == [9, 9]  # three classes, three models
    assert [ax.get_ylabel() for ax in axes] == [
        "accuracy on the other\ntest rows",
        "accuracy on test rows\nof what was forgotten",
    ]
    heights = [patch.get_height() for patch in axes[1].patches[3:6]]
    expected = found.loc["of what was forgotten", "accuracy"].to_dict()
    for height, label in zip(heights, unlearner.classes_, strict=True):
        assert height == pytest.approx(expected.get(label, np.nan), abs=0.006, nan_ok=True)


def test_marked_test_rows_of_other_classes(unlearner, flowers, judge, unseen):
    report = judge(unlearner, forget=np.flatnonzero(flowers[1] == "setosa")[:9], forget_test=[74])
    assert unseen[1][74] != "setosa"
    assert report.losses == {}
    assert any("test rows of what was forgotten" in finding.text for finding in report.verdict)


def test_all_rows(unlearner, flowers, unseen, judge):
    report = judge(unlearner, forget=np.ones(75, dtype=bool))
    assert not {"retain_accuracy", "test_accuracy"} & set(report.scores["metric"])
    assert any("no test rows of what was to be kept" in f.text for f in report.verdict)
    assert report.to_html()
    assert any("last asked to forget 25 rows" in f.text for f in report.verdict)


def test_test_rows_alone(unlearner, unseen):
    report = unlearning_report(unlearner, *unseen)
    assert set(report.scores["metric"]) == {"test_accuracy", "seconds"}
    assert report.verdict[0].text.startswith("No statement about forgetting")
    assert report.to_html()


def test_no_test_row_of_the_class(unlearner, retrained, flowers, unseen):
    X, y, forget = flowers
    kept = unseen[1] != "virginica"
    report = unlearning_report(
        unlearner,
        unseen[0][kept],
        unseen[1][kept],
        X=X,
        y=y,
        forget=forget,
        reference=retrained,
        n_bootstrap=20,
    )
    assert report.losses == {}
    assert any("nothing to compare" in finding.text for finding in report.verdict)
    assert report.to_html()
    report.plot()


def test_released(unlearner, retrained, judge):
    report = judge(unlearner.release(), retrained.release())
    assert set(report.scores["model"]) == {"unlearned", "retrained", "unlearned gap"}
    assert "seconds" not in set(report.scores["metric"])
    texts = " ".join(finding.text for finding in report.verdict)
    assert "was released" in texts
    assert "taken on trust" in texts
    assert report.to_html()


def test_pipeline_and_frame(flowers, unseen, unlearner):
    X, y, forget = flowers
    net = unlearner.estimator
    names = ["length", "width"]
    X, X_test = pd.DataFrame(X, columns=names), pd.DataFrame(unseen[0], columns=names)
    pipeline = make_pipeline(StandardScaler(), net)
    scaled = BoundaryUnlearner(pipeline, max_epochs=5, random_state=0).fit(X, y, forget=forget)
    reference = RetrainUnlearner(pipeline, random_state=1).fit(X, y, forget=forget)
    report = unlearning_report(
        scaled, X_test, unseen[1], X=X, y=y, forget=forget, reference=reference, n_bootstrap=20
    )
    expected = np.mean(reference.predict(X[~forget]) == y[~forget])
    assert values(report)["retain_accuracy", "retrained"] == pytest.approx(expected)


def test_dataset(flowers, unseen, unlearner, retrained):
    X, y, forget = flowers
    net = unlearner.estimator
    as_set = [
        TensorDataset(torch.tensor(rows), torch.tensor(np.unique(labels, return_inverse=True)[1]))
        for rows, labels in ((X, y), unseen)
    ]
    of_set = BoundaryUnlearner(net, max_epochs=2, random_state=0).fit(as_set[0], forget=forget)
    report = unlearning_report(of_set, as_set[1], None, X=as_set[0], forget=forget, n_bootstrap=20)
    assert report.about["classes"] == [2]
    assert report.about["n_test"] == 75


def test_nothing_is_changed(unlearner, references, judge):
    before = copy.deepcopy(unlearner.net_.module_.state_dict()), torch.get_rng_state()
    judge(unlearner, references).to_html()
    for name, value in unlearner.net_.module_.state_dict().items():
        assert torch.equal(value, before[0][name])
    assert torch.equal(torch.get_rng_state(), before[1])


def test_plot(unlearner, retrained, unseen, judge):
    figure = judge(unlearner, retrained).plot()
    assert len(figure.axes) == 5  # trade-off, three histograms, classes
    assert len(unlearning_report(unlearner, *unseen).plot().axes) == 1


@pytest.mark.parametrize(
    ("changed", "error", "match"),
    [
        ({"unlearner": "net"}, TypeError, "must be a fitted unlearner"),
        ({"unlearner": BoundaryUnlearner()}, NotFittedError, "not fitted"),
        ({"unlearner": "fitted"}, ValueError, "has not forgotten anything"),
        ({"reference": "net"}, TypeError, "`reference` must be a fitted unlearner"),
        ({"reference": []}, TypeError, "`reference` must be a fitted unlearner"),
        ({"reference": [1]}, TypeError, "`reference` must be a fitted unlearner"),
        ({"reference": RetrainUnlearner()}, NotFittedError, "not fitted"),
        ({"reference": "itself"}, ValueError, "is the unlearner itself"),
        ({"reference": "other"}, ValueError, "has the classes"),
        ({"X": None}, ValueError, "belong together"),
        ({"forget": None}, ValueError, "belong together"),
        ({"forget": [0, 99]}, ValueError, "index 99"),
        ({"forget": np.zeros(75, dtype=bool)}, ValueError, "marks no row"),
        ({"forget_test": [0, 99]}, ValueError, "`forget_test` holds the index 99"),
        ({"forget_test": [True]}, ValueError, "`forget_test` is a boolean mask of 1 rows"),
        ({"forget_test": [0]}, ValueError, "leaves out 25 of the test rows of class virginica"),
        ({"X": None, "y": None, "forget": None, "forget_test": [0]}, ValueError, "pass `X`, `y`"),
        ({"y": np.array(["rose"] * 75)}, ValueError, "not classes of the network"),
        ({"y_test": np.array([1] * 75)}, ValueError, "not classes of the network"),
        ({"X_test": np.zeros((75, 3))}, ValueError, "features"),
        ({"X_test": np.full((75, 2), np.nan)}, ValueError, "NaN"),
        ({"n_bootstrap": 0}, ValueError, "`n_bootstrap` must be an integer of at least 1"),
        ({"n_bootstrap": 1.5}, TypeError, "`n_bootstrap` must be an integer"),
        ({"confidence": 95}, ValueError, "`confidence` must be a number between 0 and 1"),
        ({"confidence": 1}, ValueError, "`confidence` must be a number between 0 and 1"),
        ({"random_state": -1}, ValueError, "`random_state` must be an integer of at least 0"),
    ],
)
def test_errors(unlearner, retrained, flowers, unseen, changed, error, match):
    X, y, forget = flowers
    arguments = {"unlearner": unlearner, "X_test": unseen[0], "y_test": unseen[1]}
    arguments |= {"X": X, "y": y, "forget": forget} | changed
    if arguments["unlearner"] == "fitted":
        arguments["unlearner"] = RetrainUnlearner(unlearner.estimator).fit(X, y)
    if changed.get("reference") == "itself":
        arguments["reference"] = unlearner
    if changed.get("reference") == "other":
        arguments["reference"] = RetrainUnlearner(random_state=0).fit(X[~forget], y[~forget])
    with pytest.raises(error, match=match):
        unlearning_report(arguments.pop("unlearner"), **arguments)


def test_path(unlearner, judge, tmp_path):
    report = judge(unlearner)
    assert isinstance(report, UnlearningReport)
    with pytest.raises(TypeError, match="`path` must be a path"):
        report.to_html(3)
