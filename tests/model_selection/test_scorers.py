import copy
import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, roc_auc_score
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    ParameterGrid,
    RandomizedSearchCV,
    cross_validate,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklunlearn import NegGradUnlearner, SISAUnlearner
from sklunlearn.model_selection import (
    ForgetSplit,
    ForgetStratifiedKFold,
    select_knee,
    unlearning_scorers,
)
from sklunlearn.model_selection._scorers import shared_answers

NAMES = ("forgetting", "retention", "membership")


class Stub:
    """A fitted model with given answers; X holds row numbers."""

    def __init__(self, proba, classes, forget_loss=None):
        self.proba, self.classes_ = np.asarray(proba, float), np.asarray(classes)
        if forget_loss is not None:
            self.forget_loss_ = np.asarray(forget_loss)

    def predict_proba(self, X):
        return self.proba[np.ravel(X).astype(int)]


ROWS = np.arange(6).reshape(-1, 1)
Y = np.array(["a", "a", "b", "b", "a", "b"])
FORGET = np.array([True, True, True, False, False, False])
PROBA = [[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.7, 0.3], [0.6, 0.4], [0.1, 0.9]]
# Predictions a, b, b | a, a, b: two of three right on each side.


def call(name, model=None, y=Y, forget=FORGET, **kwargs):
    model = model or Stub(PROBA, ["a", "b"], forget_loss=[0.05, 0.3, 0.7])
    return unlearning_scorers(name, **kwargs)[name](model, ROWS, y, forget=forget)


@pytest.mark.parametrize("aggregation", ["mean", "vote"])
def test_membership_of_a_network_that_gives_probabilities(aggregation):
    # The same rows on both sides cannot be told apart, however the network gives its answer.
    X, y = load_iris(return_X_y=True)
    forget = y == 2
    unlearner = SISAUnlearner(n_shards=3, aggregation=aggregation, random_state=0)
    unlearner.fit(X, y, forget=forget)
    score = unlearning_scorers("membership")["membership"](unlearner, X, y, forget=forget)
    assert score == pytest.approx(1, abs=1e-3)


def test_membership_calls_losses_equal_that_single_precision_does():
    model = Stub([[1, 0]] * 3, ["a", "b"], forget_loss=[1e-100, 1e-90, 1e-80])
    y, forget = np.array(["a"] * 3), np.ones(3, dtype=bool)
    scorer = unlearning_scorers("membership")["membership"]
    assert scorer(model, ROWS[:3], y, forget=forget) == 1


def test_forgetting_and_retention_by_hand():
    assert call("forgetting") == pytest.approx(1 - 2 / 3)
    assert call("forgetting", target=0.5) == pytest.approx(1 - (2 / 3 - 1 / 2))
    assert call("forgetting", target=1.0) == pytest.approx(2 / 3)
    assert call("retention") == pytest.approx(2 / 3)
    forget = np.array([1, 0, 0, 0, 1, 0], dtype=bool)
    assert call("forgetting", forget=forget) == 0
    assert call("retention", forget=forget) == 0.5
    assert call("retention", forget=[0, 4]) == 0.5  # by indices


def test_forgetting_of_seen_rows_aims_at_held_out_rows_of_the_same_classes():
    # Held out: of class a 1 of 1 is right, of class b 1 of 2; two forget rows are a, one is b.
    target = (2 * 1 + 1 * 0.5) / 3
    assert call("forgetting", seen=True) == pytest.approx(1 - abs(2 / 3 - target))


def test_seen_rows_without_held_out_rows_of_their_class_are_left_out():
    y = np.array(["c", "a", "b", "a", "a", "b"])
    model = Stub(np.column_stack([PROBA, np.zeros(6)]), ["a", "b", "c"])
    # Of a: 0 of 1 is right, and of those held out 2 of 2; of b: 1 of 1, and 1 of 1.
    assert call("forgetting", model, y, seen=True) == pytest.approx(1 - 1 / 2)


def test_membership_of_unseen_rows_by_hand():
    # Members 0.05, 0.3, 0.7; non-members -log of 0.9, 0.2, 0.6 = 0.105, 1.609, 0.511
    is_member = [1, 1, 1, 0, 0, 0]
    auc = roc_auc_score(is_member, -np.array([0.05, 0.3, 0.7, *-np.log([0.9, 0.2, 0.6])]))
    assert auc == pytest.approx(6 / 9)
    assert call("membership") == pytest.approx(1 - 2 * (6 / 9 - 0.5))
    # What is told apart the other way round is told apart.
    high = Stub(PROBA, ["a", "b"], forget_loss=[5.0, 6.0])
    assert call("membership", high) == 0


def test_membership_of_seen_rows_is_judged_class_by_class():
    # Class a: forget rows 0.9 and 0.2 against 0.6: one of two has the lower loss. Class b: 0.6
    # against 0.3 (lower loss) and 0.9 (higher): 1/2 too. Of all rows together it would be 4/9.
    assert call("membership", seen=True) == pytest.approx(1)
    sure = [[0.99, 0.01], [0.98, 0.02], *PROBA[2:]]
    auc = (2 * 1 + 1 * 0.5) / 3
    assert call("membership", Stub(sure, ["a", "b"]), seen=True) == pytest.approx(2 - 2 * auc)


def test_losses_that_single_precision_cannot_tell_apart_count_as_equal():
    proba = [[0.0, 1.0], [0.0, 1.0], [1.0, 0.0], *PROBA[3:]]
    assert call("membership", Stub(proba, ["a", "b"], forget_loss=[90.0, 700.0])) == 1


def test_a_reference_sets_what_is_right():
    other = [[0.8, 0.2], [0.7, 0.3], [0.9, 0.1], [0.7, 0.3], [0.6, 0.4], [0.1, 0.9]]
    reference = Stub(other, ["a", "b"], forget_loss=[0.1, 0.1, 3.0])
    assert call("agreement", reference=reference) == pytest.approx(1 / 3)
    # The reference has 2 of 3 right, as the model has.
    assert call("forgetting", reference=reference) == 1
    assert call("forgetting", reference=reference, target=0.0) == pytest.approx(1 / 3)
    p, q = np.array(PROBA[:3]), np.array(other[:3])
    m = (p + q) / 2
    js = (p * np.log2(p / m) + q * np.log2(q / m)).sum(axis=1).mean() / 2
    assert call("js", reference=reference) == pytest.approx(1 - js)
    # AUC of the reference: 0.1, 0.1, 3.0 against 0.223, 0.357, 2.303: 6 of 9, as the model's.
    assert call("membership", reference=reference) == pytest.approx(1)
    half = Stub(other, ["a", "b"], forget_loss=[0.1, 5.0])
    assert call("membership", reference=half) == pytest.approx(1 - (6 / 9 - 1 / 2) / 0.5)
    low = Stub(other, ["a", "b"], forget_loss=[5.0])  # an AUC of 0
    assert call("membership", reference=low) == pytest.approx(1 - 6 / 9)


def test_the_columns_of_a_reference_are_aligned():
    swapped = Stub(np.array(PROBA)[:, ::-1], ["b", "a"], forget_loss=[1.0])
    assert call("agreement", reference=swapped) == 1
    assert call("js", reference=swapped) == pytest.approx(1)
    one_class = Stub(np.ones((6, 1)), ["b"], forget_loss=[1.0])  # has never seen class a
    assert call("agreement", reference=one_class) == pytest.approx(2 / 3)
    with pytest.raises(ValueError, match=r"classes \['c'\], which the estimator does not have"):
        call("agreement", reference=Stub(PROBA, ["a", "c"]))


@pytest.mark.parametrize(
    ("name", "forget", "kwargs", "missing"),
    [
        ("forgetting", np.zeros(6, bool), {}, "no row to forget"),
        ("membership", np.zeros(6, bool), {}, "no row to forget"),
        ("agreement", np.zeros(6, bool), {"reference": Stub(PROBA, ["a", "b"])}, "no row to f"),
        ("js", np.zeros(6, bool), {"reference": Stub(PROBA, ["a", "b"])}, "no row to forget"),
        ("retention", np.ones(6, bool), {}, "no row to retain"),
        ("forgetting", Y == "a", {"seen": True}, "no held-out row of the classes"),
        ("membership", Y == "a", {"seen": True}, "no held-out row of the classes"),
    ],
)
def test_an_empty_group_gives_nan_and_a_warning(name, forget, kwargs, missing):
    with pytest.warns(UndefinedMetricWarning, match=f"{name} is nan: .*{missing}.*ForgetSplit"):
        assert np.isnan(call(name, forget=forget, **kwargs))


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"names": "forget"}, ValueError, r"\['forget'\], expected some of"),
        ({"names": ["retention", 3]}, ValueError, r"\[3\], expected some of"),
        ({"names": []}, ValueError, "`names` is empty"),
        ({"names": "js"}, ValueError, r"\['js'\] compare with a retrained network"),
        ({"reference": NegGradUnlearner()}, TypeError, "fit it first"),
        ({"reference": "retrain"}, TypeError, "must be a fitted classifier"),
        ({"seen": "yes"}, TypeError, "`seen` must be True or False"),
        ({"target": "low"}, TypeError, "`target` must be an accuracy"),
        ({"target": True}, TypeError, "`target` must be an accuracy"),
        ({"target": 50}, ValueError, "`target` must be an accuracy from 0 to 1"),
    ],
)
def test_bad_arguments_are_refused(kwargs, error, message):
    with pytest.raises(error, match=message):
        unlearning_scorers(**kwargs)


@pytest.mark.parametrize(
    ("forget", "error", "message"),
    [
        (None, TypeError, "without `forget`. In model selection turn metadata routing on"),
        (FORGET[:4], ValueError, "mask of 4 rows, but the data has 6"),
        (FORGET.astype(float), TypeError, "dtype float64"),
    ],
)
def test_a_call_with_bad_masks(forget, error, message):
    with pytest.raises(error, match=message):
        call("forgetting", forget=forget)


def test_membership_needs_a_model_that_has_forgotten():
    with pytest.raises(ValueError, match=r"`forget_loss_`, which Stub does not have"):
        call("membership", Stub(PROBA, ["a", "b"]))


def test_the_scores_of_one_model_ask_it_once():
    class Counting(Stub):
        n_asked = 0

        def predict_proba(self, X):
            self.n_asked += 1
            return super().predict_proba(X)

    scorers = unlearning_scorers(NAMES)
    expected = [call(name) for name in NAMES]
    models = [Counting(PROBA, ["a", "b"], forget_loss=[0.05, 0.3, 0.7]) for _ in range(2)]
    models[1].proba = models[1].proba[:, ::-1]
    with shared_answers():
        shared = [[s(m, ROWS, Y, forget=FORGET) for s in scorers.values()] for m in models]
    assert [model.n_asked for model in models] == [1, 1]
    assert shared[0] == expected
    assert shared[1] != expected
    models[0].proba = models[1].proba  # nothing is kept
    assert [s(models[0], ROWS, Y, forget=FORGET) for s in scorers.values()] == shared[1]


def test_scorers_can_be_copied():
    for scorer in unlearning_scorers(reference=Stub(PROBA, ["a", "b"], [1.0])).values():
        model = Stub(PROBA, ["a", "b"], forget_loss=[0.05, 0.3, 0.7])
        expected = scorer(model, ROWS, Y, forget=FORGET)
        for same in (
            copy.deepcopy(scorer),
            pickle.loads(pickle.dumps(scorer)),
            clone(scorer, safe=False),
        ):
            assert same(model, ROWS, Y, forget=FORGET) == expected
        assert scorer.name in repr(scorer)
    search = clone(GridSearchCV(NegGradUnlearner(), {}, scoring=unlearning_scorers()))
    assert set(search.scoring) == set(NAMES)


# With scikit-learn's tools


@pytest.fixture
def unlearner(trained_net):
    return NegGradUnlearner(FrozenEstimator(trained_net), max_epochs=2, random_state=0)


@pytest.fixture
def forget(y):
    return y == 1


GRID = {"lr": [1e-6, 0.02]}


def expected_scores(estimator, X, y, forget, splits):
    """Fit and score each split by hand."""
    rows = []
    for train, test in splits:
        model = clone(estimator).fit(X[train], y[train], forget=forget[train])
        right, marked = model.predict(X[test]) == y[test], forget[test]
        loss = -np.log(model.predict_proba(X[test]).astype(float)[marked, y[test][marked]])
        members = model.forget_loss_
        wins = (members[:, None] < loss).mean() + (members[:, None] == loss).mean() / 2
        rows.append([1 - right[marked].mean(), right[~marked].mean(), 1 - 2 * abs(wins - 0.5)])
    return np.array(rows)


def test_cross_validate_gives_what_is_computed_by_hand(unlearner, X, y, forget):
    unlearner.set_params(lr=0.02)
    cv = ForgetStratifiedKFold(3)
    expected = expected_scores(unlearner, X, y, forget, cv.split(X, y, forget=forget))
    assert expected.std() > 0.01
    with config_context(enable_metadata_routing=True):
        scores = cross_validate(
            unlearner,
            X,
            y,
            params={"forget": forget},
            cv=cv,
            scoring=unlearning_scorers(),
            error_score="raise",
        )
    for column, name in zip(expected.T, NAMES, strict=True):
        np.testing.assert_allclose(scores[f"test_{name}"], column, atol=1e-3)


SEARCHES = {
    "grid": lambda *args, **kwargs: GridSearchCV(*args, **kwargs),
    "randomized": lambda *args, **kwargs: RandomizedSearchCV(
        *args, n_iter=2, random_state=0, **kwargs
    ),
    "halving": lambda *args, **kwargs: HalvingGridSearchCV(
        *args, resource="max_epochs", max_resources=4, factor=2, **kwargs
    ),
}


@pytest.mark.parametrize("as_frame", [False, True])
@pytest.mark.parametrize("make_search", SEARCHES.values(), ids=SEARCHES.keys())
def test_searches_with_one_score(unlearner, X, y, forget, make_search, as_frame):
    if as_frame:
        X, y, forget = pd.DataFrame(X, columns=list("abcd")), pd.Series(y), pd.Series(forget)
        unlearner.set_params(estimator=make_pipeline(StandardScaler(), unlearner.estimator))
        unlearner.estimator.steps[-1] = ("net", unlearner.estimator[-1].estimator)
    search = make_search(
        unlearner,
        GRID,
        scoring=unlearning_scorers("forgetting")["forgetting"],
        cv=ForgetStratifiedKFold(3),
        error_score="raise",
    )
    with config_context(enable_metadata_routing=True):
        search.fit(X, y, forget=forget)
    assert search.best_params_["lr"] == 0.02
    best = search.cv_results_["mean_test_score"][search.best_index_]
    assert search.cv_results_["mean_test_score"].min() < best


@pytest.mark.parametrize("name", ["grid", "randomized"])
def test_searches_with_several_scores_in_a_pipeline_with_two_workers(unlearner, X, y, forget, name):
    pipeline = make_pipeline(StandardScaler(), unlearner)
    search = SEARCHES[name](
        pipeline,
        {"neggradunlearner__lr": GRID["lr"]},
        scoring=unlearning_scorers(),
        refit=select_knee(),
        cv=ForgetSplit(2, random_state=0),
        error_score="raise",
        n_jobs=2,
    )
    forget = np.arange(75) % 5 == 0
    with config_context(enable_metadata_routing=True):
        search.fit(X, y, forget=forget)
    for score in NAMES:
        assert np.isfinite(search.cv_results_[f"mean_test_{score}"]).all()
    assert search.best_estimator_[-1].records_[0]["n_forget"] == 15


def test_without_routing_the_error_says_what_to_do(unlearner, X, y, forget):
    search = GridSearchCV(
        unlearner, GRID, scoring=unlearning_scorers(), refit=False, cv=3, error_score="raise"
    )
    with pytest.raises(TypeError, match="turn metadata routing on"):
        search.fit(X, y, forget=forget)


def test_a_fold_without_rows_to_forget_gives_nan(unlearner, X, y):
    forget = np.arange(75) < 5
    half = np.arange(75) % 2 == 0
    splits = [(np.flatnonzero(half), np.flatnonzero(~half)), (np.arange(40), np.arange(40, 75))]
    with config_context(enable_metadata_routing=True):
        with pytest.warns(UndefinedMetricWarning, match="no row to forget"):
            scores = cross_validate(
                unlearner,
                X,
                y,
                params={"forget": forget},
                cv=splits,
                scoring=unlearning_scorers(),
                error_score="raise",
            )
    np.testing.assert_array_equal(np.isnan(scores["test_forgetting"]), [False, True])
    np.testing.assert_array_equal(np.isnan(scores["test_membership"]), [False, True])
    assert np.isfinite(scores["test_retention"]).all()


def test_a_caller_that_knows_only_set_params_fit_and_score(unlearner, X, y, forget):
    scorer = unlearning_scorers("forgetting")["forgetting"]
    train, test = next(ForgetStratifiedKFold(3).split(X, y, forget=forget))
    losses = {}
    for params in ParameterGrid(GRID):
        model = clone(unlearner).set_params(**params)
        model.fit(X[train], y[train], forget=forget[train])
        losses[params["lr"]] = -scorer(model, X[test], y[test], forget=forget[test])
        assert model.score(X[test], y[test]) == accuracy_score(y[test], model.predict(X[test]))
    assert losses[0.02] < losses[1e-6]


def test_a_reference_of_scikit_learn(unlearner, X, y, forget):
    reference = LogisticRegression().fit(X[~forget], y[~forget])
    unlearner.set_params(lr=0.02).fit(X, y, forget=forget)
    scorers = unlearning_scorers(["forgetting", "agreement"], reference=reference)
    same = unlearner.predict(X[forget]) == reference.predict(X[forget])
    assert scorers["agreement"](unlearner, X, y, forget=forget) == same.mean()
    accuracy = unlearner.score(X[forget], y[forget])  # the reference does not know the class
    assert scorers["forgetting"](unlearner, X, y, forget=forget) == pytest.approx(1 - accuracy)
