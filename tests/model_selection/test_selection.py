import copy
import pickle

import numpy as np
import pytest
from sklearn import config_context
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV

from sklunlearn import NegGradUnlearner
from sklunlearn.model_selection import select_constrained, select_knee, unlearning_scorers

RETENTION = [0.95, 0.9, 0.7, 0.6, 0.3]
FORGETTING = [0.2, 0.6, 0.8, 0.5, 0.95]


def results(retention=RETENTION, forgetting=FORGETTING, **others):
    scores = {"retention": retention, "forgetting": forgetting, **others}
    found = {f"mean_test_{name}": np.array(values) for name, values in scores.items()}
    return {**found, "params": [{"lr": i} for i in range(len(retention))]}


def test_the_knee_by_hand():
    # Scaled by the ends of the front: (0, 1), (.533, .923), (.8, .615), (1, 0); row 3 is dominated.
    assert select_knee()(results()) == 1
    # The mean of both for row 1 is 0.3: no longer far outside of the chord.
    membership = [0.2, 0.0, 0.8, 0.5, 0.95]
    assert select_knee()(results(membership=membership)) == 1
    assert select_knee(forget=["forgetting", "membership"])(results(membership=membership)) == 2
    assert select_knee(forget="membership")(results(membership=membership)) == 2
    assert select_knee(retain="membership")(results(membership=RETENTION)) == 1


def test_other_scores_decide_between_equals():
    equal = [0.9, 0.9, 0.9, 0.8], [0.8, 0.8, 0.8, 0.7]
    assert select_knee()(results(*equal)) == 0
    for rule in (select_knee(), select_constrained(min_retain=0.5)):
        assert rule(results(*equal, membership=[0.1, 0.3, 0.2, 1.0])) == 1
        # Means of the two: 0.45, 0.4, 0.6
        others = {"membership": [0.1, 0.3, 0.2, 1.0], "js": [0.8, 0.5, 1.0, 1.0]}
        assert rule(results(*equal, **others)) == 2
        assert rule(results(*equal, membership=[np.nan, 0.3, 0.2, 1.0])) == 1


def test_a_front_of_two_is_decided_by_the_distance_from_the_ideal():
    assert select_knee()(results([0.9, 0.95, 0.5], [0.9, 0.2, 0.1])) == 0


def test_candidates_with_nan_take_no_part():
    nan = float("nan")
    assert select_knee()(results(forgetting=[nan, nan, 0.8, 0.5, 0.95])) == 2
    assert select_constrained(min_retain=0.5)(results(forgetting=[0.2, nan, nan, 0.5, 0.9])) == 3
    retention = [0.95, 0.9, nan, 0.6, 0.3]
    assert select_constrained(min_retain=0)(results(retention)) == 4


@pytest.mark.parametrize(
    ("min_retain", "index"), [(0, 4), (0.3, 4), (0.31, 2), (0.65, 2), (0.8, 1), (0.95, 0)]
)
def test_the_best_of_those_that_retain_enough(min_retain, index):
    assert select_constrained(min_retain=min_retain)(results()) == index


def test_ties_are_broken_by_what_is_retained_then_by_order():
    tied = results([0.7, 0.9, 0.9, 0.8], [0.5, 0.5, 0.5, 0.4])
    assert select_constrained(min_retain=0.6)(tied) == 1


def test_other_names_and_several_scores():
    found = results(js=[0.9, 0.5, 0.5, 0.5, 0.5])
    assert select_constrained(min_retain=0.6, retain="js")(found) == 0
    # Means of forgetting and js: 0.55, 0.55, 0.65
    assert select_constrained(min_retain=0.65, forget=["forgetting", "js"])(found) == 2
    assert select_constrained(min_retain=0.65, forget="js")(found) == 0


def test_nothing_retains_enough():
    with pytest.raises(ValueError, match=r"'retention' of at least 0.99; the best has 0.95, with"):
        select_constrained(min_retain=0.99)(results())


@pytest.mark.parametrize("rule", [select_knee(), select_constrained(min_retain=0)])
@pytest.mark.parametrize(
    ("found", "message"),
    [
        (results(forgetting=[np.nan] * 5), r"nan in one of \['forgetting'\].*error_score='raise'"),
        ({"mean_test_score": [1.0], "params": [{}]}, r"search has \['score'\]: pass `scoring="),
        ({"mean_test_retention": [1.0], "params": [{}]}, r"needs the scores \['forgetting'\], but"),
    ],
)
def test_results_that_cannot_be_weighed(rule, found, message):
    with pytest.raises(ValueError, match=message):
        rule(found)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: select_knee(retain=1), TypeError, "`retain` must be the name"),
        (lambda: select_knee(forget=1), TypeError, "`forget` must be the name"),
        (lambda: select_knee(forget=["a", 1]), TypeError, "`forget` must be the name"),
        (lambda: select_knee(forget=[]), ValueError, "`forget` is empty"),
        (lambda: select_constrained(min_retain="all"), TypeError, "`min_retain` must be a number"),
        (lambda: select_constrained(min_retain=True), TypeError, "`min_retain` must be a number"),
        (lambda: select_constrained(min_retain=np.nan), TypeError, "`min_retain` must be a num"),
        (lambda: select_constrained(min_retain=0, retain=None), TypeError, "`retain` must be"),
        (lambda: select_constrained(min_retain=0, forget=0), TypeError, "`forget` must be"),
    ],
)
def test_bad_arguments_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_rules_can_be_copied():
    for rule in (select_knee(forget="forgetting"), select_constrained(min_retain=0.65)):
        for same in (pickle.loads(pickle.dumps(rule)), copy.deepcopy(rule)):
            assert same(results()) == rule(results())


def test_a_rule_in_a_plain_grid_search(trained_net, X, y):
    unlearner = NegGradUnlearner(FrozenEstimator(trained_net), max_epochs=3, random_state=0)
    grid = {"lr": [1e-6, 0.02, 0.5]}
    forget = y == 2
    searches = [
        GridSearchCV(
            unlearner,
            grid,
            cv=3,
            scoring=unlearning_scorers(),
            refit=refit,
            error_score="raise",
        )
        for refit in (select_knee(), select_constrained(min_retain=0.7))
    ]
    with config_context(enable_metadata_routing=True):
        for search in searches:
            search.fit(X, y, forget=forget)
            assert search.best_estimator_.lr == grid["lr"][search.best_index_] == 0.02
    assert search.cv_results_["mean_test_retention"][search.best_index_] >= 0.7
    assert search.cv_results_["mean_test_forgetting"][search.best_index_] > 0.9
