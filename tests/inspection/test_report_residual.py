import copy

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from skorch import NeuralNetClassifier
from torch import nn
from torch.utils.data import TensorDataset

from sklunlearn import (
    BoundaryUnlearner,
    ComposedUnlearner,
    FineTuneUnlearner,
    RetrainUnlearner,
    SISAUnlearner,
    unlearning_report,
)
from sklunlearn._nets import weights_digest
from sklunlearn.inspection import _residual
from sklunlearn.inspection._models import original_of
from sklunlearn.metrics import RelearnTime


@pytest.fixture(scope="module")
def digits():
    """Rows of a request and test rows; all rows of class 3 are forgotten."""
    X, y = load_digits(return_X_y=True)
    X = (X / 16).astype("float32")
    return X[:600], y[:600], X[600:1000], y[600:1000], y[:600] == 3


@pytest.fixture(scope="module")
def retrained_nets(digits):
    X, y, _, _, forget = digits
    return [RetrainUnlearner(random_state=seed).fit(X, y, forget=forget) for seed in range(1, 5)]


@pytest.fixture(scope="module")
def judge_digits(digits):
    X, y, X_test, y_test, forget = digits

    def judge(unlearner, reference, **options):
        options = {
            "X": X,
            "y": y,
            "forget": forget,
            "random_state": 0,
            "n_bootstrap": 200,
        } | options
        return unlearning_report(unlearner, X_test, y_test, reference=reference, **options)

    return judge


@pytest.fixture(scope="module")
def head_only(digits):
    X, y, _, _, forget = digits
    return BoundaryUnlearner(trainable="head", random_state=0).fit(X, y, forget=forget)


def row(report, metric, model):
    return report.scores.set_index(["metric", "model"]).loc[(metric, model)]


def texts(report):
    return " ".join(finding.text for finding in report.verdict)


def warned(report):
    return [f.text for f in report.verdict[1:] if f.level == "warning" and "probe" in f.text]


# The honest cases


def test_head_that_forgot_alone_is_found(head_only, retrained_nets, judge_digits):
    report = judge_digits(head_only, retrained_nets[:3])
    assert report.verdict[0].level == "warning"
    assert report.verdict[0].text.startswith("Forgotten only in the last layer")
    assert len(warned(report)) == 1
    assert "Only the last layer has changed" in warned(report)[0]
    assert row(report, "probe_control", "unlearned").value < 0.6
    # As the embeddings are those of the original.
    before, after = (row(report, "probe_accuracy", m).value for m in ("original", "unlearned"))
    assert before == after > 0.98


@pytest.mark.parametrize("i", range(4))
def test_retrained_network_is_not_accused(retrained_nets, judge_digits, i):
    others = [model for j, model in enumerate(retrained_nets) if j != i]
    report = judge_digits(retrained_nets[i], others)
    assert "last layer" not in report.verdict[0].text
    assert warned(report) == []
    assert row(report, "probe_accuracy", "unlearned").value > 0.9  # it does separate the class


def test_all_weights_changed_but_embeddings_tell(digits, retrained_nets, judge_digits):
    X, y, _, _, forget = digits
    unlearner = BoundaryUnlearner(random_state=0).fit(X, y, forget=forget)
    report = judge_digits(unlearner, retrained_nets[:3])
    assert report.verdict[0].text.startswith("Forgotten mostly in the last layer")
    assert "Only the last layer" not in texts(report)


def test_released_unlearner_is_found_too(head_only, retrained_nets, judge_digits):
    references = retrained_nets[:3]
    report = judge_digits(head_only.release(), references, relearning=1)
    assert report.verdict[0].text.startswith("Forgotten mostly in the last layer")
    # There is no original to set the target by.
    retained = row(report, "retain_accuracy", "retrained").value
    assert report.about["relearning"] == {"n_steps": 1, "target": pytest.approx(0.95 * retained)}


# The figures, in another way


def embedding_by_hand(unlearner, X):
    with torch.no_grad():
        x = torch.tensor(X)
        for layer in unlearner.net_.module_.features:
            x = layer(x)
    return x.double().numpy()


def test_probe_by_hand(digits, head_only, retrained_nets, judge_digits):
    X, _, X_test, y_test, forget = digits
    report = judge_digits(head_only, retrained_nets[:2])
    others = X_test[y_test != 3]
    label = np.repeat([1, 0], [forget.sum(), len(others)])
    rng = np.random.default_rng([0, 10])
    shuffled = rng.permutation(label)
    seed = int(rng.integers(2**31))

    def accuracy(model, label):
        E = embedding_by_hand(model, np.concatenate([X[forget], others]))
        said = np.full(len(label), -1)
        for train, test in StratifiedKFold(5, shuffle=True, random_state=seed).split(E, label):
            mean, std = E[train].mean(axis=0), E[train].std(axis=0)
            std[std == 0] = 1
            probe = LogisticRegression(class_weight="balanced", max_iter=1000)
            probe.fit((E[train] - mean) / std, label[train])
            said[test] = probe.predict((E[test] - mean) / std)
        return (np.mean(said[label == 1] == 1) + np.mean(said[label == 0] == 0)) / 2

    assert row(report, "probe_accuracy", "unlearned").value == pytest.approx(
        accuracy(head_only, label)
    )
    of_each = [accuracy(model, label) for model in retrained_nets[:2]]
    assert row(report, "probe_accuracy", "retrained").value == pytest.approx(np.mean(of_each))
    spread = abs(of_each[0] - of_each[1])
    assert row(report, "probe_accuracy", "floor").value == pytest.approx(spread)
    assert row(report, "probe_control", "unlearned").value == pytest.approx(
        accuracy(head_only, shuffled)
    )
    assert row(report, "probe_accuracy", "unlearned").n == len(label)


def steps_by_hand(unlearner, X, y, forget, target, n_steps):
    """Full batches, so that their order does not matter."""
    module = copy.deepcopy(unlearner.net_.module_).train()
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-3)
    X, y, forget = torch.tensor(X), torch.tensor(y), torch.tensor(forget)
    for t in range(n_steps + 1):
        with torch.no_grad():
            if (module(X[forget]).argmax(dim=1) == y[forget]).double().mean() >= target:
                return max(t, 1)
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(X), y).backward()
        optimizer.step()
    return n_steps + 1


def test_steps_by_hand(digits):
    X, y, X_test, y_test, forget = (part[:250] for part in digits)
    unlearner = BoundaryUnlearner(random_state=0).fit(X, y, forget=forget)
    references = [RetrainUnlearner(random_state=seed).fit(X, y, forget=forget) for seed in (1, 2)]
    target = 0.95 * np.mean(original_of(unlearner).predict(X[forget]) == 3)
    models = {"original": [original_of(unlearner)], "unlearned": [unlearner]}
    models["retrained"] = references
    steps = {
        name: [steps_by_hand(model, X, y, forget, target, 150) for model in of]
        for name, of in models.items()
    }
    assert steps["original"] == [1]
    assert 1 < steps["unlearned"][0] < min(steps["retrained"]) <= 150
    for n_steps in (150, 20):  # 20 are too few
        report = unlearning_report(
            unlearner,
            X_test,
            y_test,
            X=X,
            y=y,
            forget=forget,
            reference=references,
            relearning=n_steps,
            n_bootstrap=20,
            random_state=0,
        )
        for name, of in steps.items():
            of = np.minimum(of, n_steps + 1)  # one more than tried
            found = row(report, "relearn_steps", name)
            found = (found.value, found.low, found.high)
            assert found == pytest.approx((np.mean(of), min(of), max(of)))
        assert report.about["relearning"]["target"] == pytest.approx(target)
        assert "Trained on all rows" in texts(report)
        assert ("not within 20 steps" in texts(report)) == (n_steps == 20)
        page = report.to_html()
        assert "Steps of training until" in page
        assert ("21: not within the 20 that were tried" in page) == (n_steps == 20)


def test_no_more_steps_than_asked_for(head_only, judge_digits, monkeypatch):
    asked = []

    def relearn_time(*args, **options):
        asked.append(options["max_epochs"])
        return RelearnTime(6, True)  # the end of the second epoch of three batches

    monkeypatch.setattr(_residual, "relearn_time", relearn_time)
    for n_steps, expected in ((6, 6), (4, 5)):
        report = judge_digits(head_only, None, relearning=n_steps)
        assert row(report, "relearn_steps", "unlearned").value == expected
    assert set(asked) == {2}


# What is left out, and why


def test_few_references_are_not_judged(head_only, retrained_nets, judge_digits):
    for reference in (None, retrained_nets[0]):
        report = judge_digits(head_only, reference, relearning=2)
        assert not report.verdict[0].text.startswith("Forgotten")
        assert "two retrained ones or more" in texts(report)
        assert "Only the last layer has changed" in texts(report)  # a fact by itself
        assert report.to_html()


def test_neither_is_asked_for(head_only, retrained_nets, judge_digits):
    report = judge_digits(head_only, retrained_nets[:2], probe=False)
    assert not {"probe_accuracy", "probe_control", "relearn_steps"} & set(report.scores["metric"])
    assert "last layer" not in texts(report)


def test_rows_of_kept_classes(unlearner, references, flowers, unseen):
    X, y, _ = flowers
    forget = np.arange(0, 75, 5)
    unlearner.unlearn(X, y, forget=forget)
    rows = {"X": X, "y": y, "forget": forget, "n_bootstrap": 20}
    report = unlearning_report(unlearner, *unseen, relearning=True, **rows)
    assert not {"probe_accuracy", "relearn_steps"} & set(report.scores["metric"])
    assert "Relearning was left out: a retrained network knows" in texts(report)
    assert "left out" not in texts(unlearning_report(unlearner, *unseen, **rows))


def test_few_rows(unlearner, flowers, unseen):
    X, y, _ = flowers
    few = np.concatenate([np.flatnonzero(y != "virginica"), np.flatnonzero(y == "virginica")[:4]])
    X, y = X[few], y[few]
    report = unlearning_report(unlearner, *unseen, X=X, y=y, forget=y == "virginica", n_bootstrap=9)
    assert "4 rows of forgotten classes and 50 test rows of the others are too few" in texts(report)


def test_several_networks(unlearner, flowers, unseen):
    X, y, forget = flowers
    net = clone(unlearner.estimator).set_params(max_epochs=5)
    members = [("a", BoundaryUnlearner(max_epochs=1)), ("b", FineTuneUnlearner(max_epochs=1))]
    composed = ComposedUnlearner(members, method="vote", estimator=net, random_state=0)
    shards = SISAUnlearner(net, n_shards=2, aggregation="vote", random_state=0)
    rows = {"X": X, "y": y, "forget": forget, "n_bootstrap": 9}
    for model, relearns in ((composed, True), (shards, False)):
        model.fit(X, y, forget=forget)
        for judged in (model, model.release()):
            reference = RetrainUnlearner(net, random_state=0).fit(X, y, forget=forget)
            report = unlearning_report(judged, *unseen, reference=reference, relearning=3, **rows)
            assert "probe_accuracy" not in set(report.scores["metric"])
            assert "several networks has no single embedding" in texts(report)
            assert ("relearn_steps" in set(report.scores["metric"])) == relearns
            assert ("no gradient to train by" in texts(report)) != relearns


def test_composed_network_has_embeddings(unlearner, flowers, unseen):
    X, y, forget = flowers
    net = clone(unlearner.estimator).set_params(max_epochs=5)
    members = [(name, FineTuneUnlearner(max_epochs=1, lr=1e-4)) for name in ("a", "b")]
    composed = ComposedUnlearner(members, method="average", estimator=net, random_state=0)
    composed.fit(X, y, forget=forget)
    report = unlearning_report(composed, *unseen, X=X, y=y, forget=forget, n_bootstrap=9)
    assert "probe_accuracy" in set(report.scores["metric"])


def test_one_layer_and_no_original(unlearner, flowers, unseen):
    X, y, forget = flowers
    net = clone(unlearner.estimator).set_params(module__hidden=(), max_epochs=2)
    linear = BoundaryUnlearner(net, max_epochs=1, random_state=0).fit(X, y, forget=forget)
    report = unlearning_report(
        linear.release(), *unseen, X=X, y=y, forget=forget, n_bootstrap=9, relearning=True
    )
    assert "only layer is the data" in texts(report)
    assert "there is no accuracy to reach" in texts(report)


class HeadFirst(nn.Module):
    """A network the last registered layer of which is not applied."""

    def __init__(self):
        super().__init__()
        self.body, self.head, self.unused = nn.Linear(2, 4), nn.Linear(4, 3), nn.Linear(4, 3)

    def forward(self, x):
        return self.head(torch.relu(self.body(x)))


def test_head_that_is_not_applied(flowers, unseen):
    X, y, forget = flowers
    net = NeuralNetClassifier(
        HeadFirst, criterion=nn.CrossEntropyLoss, train_split=None, max_epochs=1, verbose=0
    )
    unlearner = RetrainUnlearner(net, random_state=0).fit(X, y, forget=forget)
    report = unlearning_report(unlearner, *unseen, X=X, y=y, forget=forget, n_bootstrap=9)
    assert "The probe of embeddings was left out: The network does not apply" in texts(report)


# What it is given


def test_dataset_and_several_classes(unlearner, flowers, unseen):
    X, y, _ = flowers
    codes, codes_test = (np.unique(of, return_inverse=True)[1] for of in (y, unseen[1]))
    rows = TensorDataset(torch.tensor(X), torch.tensor(codes))
    test = TensorDataset(torch.tensor(unseen[0]), torch.tensor(codes_test))
    net, forget = unlearner.estimator, codes > 0
    options = {"forget": forget, "relearning": 30, "n_bootstrap": 9, "random_state": 0}
    reports = []
    for X_given, y_given, test_given in ((rows, None, (test, None)), (X, codes, None)):
        model = RetrainUnlearner(net, random_state=0)
        model.fit(X_given, y_given, forget=forget)
        test_rows = test_given or (unseen[0], codes_test)
        reports.append(unlearning_report(model, *test_rows, X=X_given, y=y_given, **options))
    for metric in ("probe_accuracy", "relearn_steps"):
        of_set, of_array = (row(report, metric, "unlearned").value for report in reports)
        assert of_set == of_array
    assert "forgotten classes from the others" in texts(reports[0])


def test_networks_stay_as_they_are(head_only, retrained_nets, judge_digits):
    models = [head_only, *retrained_nets[:2]]
    before = [weights_digest(model.net_) for model in models], torch.get_rng_state()
    judge_digits(head_only, retrained_nets[:2], relearning=2)
    assert [weights_digest(model.net_) for model in models] == before[0]
    assert torch.equal(torch.get_rng_state(), before[1])


@pytest.mark.parametrize(
    ("changed", "error", "match"),
    [
        ({"probe": 1}, TypeError, "`probe` must be True or False, got 1"),
        ({"relearning": 0}, ValueError, "`relearning` must be an integer of at least 1"),
        ({"relearning": 1.5}, TypeError, "`relearning` must be an integer"),
        ({"relearning": "yes"}, TypeError, "`relearning` must be an integer"),
    ],
)
def test_residual_errors(unlearner, unseen, changed, error, match):
    with pytest.raises(error, match=match):
        unlearning_report(unlearner, *unseen, **changed)
