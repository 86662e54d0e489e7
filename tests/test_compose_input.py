"""Bad input of a composition: what is said of it, and that the model stays as it was."""

import re

import numpy as np
import pytest
from composing import BatchNormNet, Fails, Shift, initialized, make, shifted, state
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.preprocessing import StandardScaler
from torch import nn

from sklunlearn import ComposedUnlearner, FineTuneUnlearner
from sklunlearn.networks import MLP


@pytest.fixture
def start():
    return initialized(BatchNormNet)


@pytest.fixture
def forget(y):
    return y == 0


@pytest.fixture
def composed(start, X, y, forget):
    """After a request."""
    members = [("a", Shift(scale=0.02)), ("b", Shift(scale=0.02, seed=1))]
    composed = ComposedUnlearner(members, estimator=FrozenEstimator(start), random_state=0)
    return composed.fit(X, y, forget=forget)


def assert_refused(composed, message, X, y, forget, error=ValueError, calls=None, **held_out):
    """By each way to ask; afterwards the model predicts and requests as before."""
    before, scores = composed.predict_proba(X), composed.scores_
    attributes = set(vars(composed))
    for call in calls or ("fit", "unlearn", "partial_unlearn"):
        with pytest.raises(error, match=message):
            getattr(composed, call)(X, y, forget=forget, **held_out)
        np.testing.assert_array_equal(composed.predict_proba(X), before)
        assert composed.scores_ is scores
        assert len(composed.records_) == 1
        assert set(vars(composed)) == attributes


MEMBERS = {
    "none": ([], "must be a list of (name, unlearner), with at least one; got []"),
    "not pairs": ([Shift()], "must be a list of (name, unlearner)"),
    "triples": ([("a", Shift(), 1)], "must be a list of (name, unlearner)"),
    "a name that is no text": ([(1, Shift())], "must be a list of (name, unlearner)"),
    "the same name": ([("a", Shift()), ("a", Shift())], "not unique: ['a', 'a']"),
    "two underscores": ([("a__b", Shift())], "must not contain __: got ['a__b']"),
    "a parameter's name": (
        [("cut", Shift())],
        "conflict with constructor arguments: ['cut']",
    ),
    "auto": ([("auto", Shift())], "The names ['auto'] of members mean something else"),
    "merged": ([("merged", Shift()), ("b", Shift())], "The names ['merged'] of members"),
    "all dropped": ([("a", "drop"), ("b", "drop")], "All members are dropped"),
}


@pytest.mark.parametrize("members, message", MEMBERS.values(), ids=MEMBERS.keys())
def test_lists_of_members(composed, X, y, forget, members, message):
    composed.estimators = members
    assert_refused(composed, re.escape(message), X, y, forget)


@pytest.mark.parametrize("members", [{"a": Shift()}, (("a", Shift()),), None, "a"])
def test_members_that_are_no_list(members, composed, X, y, forget):
    composed.estimators = members
    assert_refused(
        composed, "The 'estimators' parameter .* must be an instance of 'list'", X, y, forget
    )


@pytest.mark.parametrize("member", [StandardScaler(), Shift, None, FrozenEstimator(MLP)])
def test_members_that_are_no_unlearners(composed, X, y, forget, member):
    composed.estimators = [("a", Shift()), ("b", member)]
    assert_refused(composed, "'b' must be an unlearner", X, y, forget, TypeError)


def test_a_frozen_member_that_is_not_fitted(composed, X, y, forget):
    composed.estimators = [("a", Shift()), ("b", FrozenEstimator(Shift()))]
    assert_refused(composed, "'b' is frozen.* and not fitted: fit the Shift first", X, y, forget)


def frozen(net, X, y, **params):
    return FrozenEstimator(Shift(FrozenEstimator(net), **params).fit(X, y))


def test_members_of_other_architectures(composed, X, y, forget):
    wide = initialized(lambda: BatchNormNet(7))
    composed.estimators = [("a", Shift()), ("b", frozen(wide, X, y))]
    message = "'a' and 'b' have different architectures, .*Only method='vote'"
    assert_refused(composed, message, X, y, forget)
    composed.set_params(method="vote").fit(X, y, forget=forget)


def test_members_of_other_classes(composed, start, X, y, forget):
    net = shifted(start)
    net.classes = net.classes_inferred_ = np.array([5, 6, 7])
    for method in ("graft", "vote"):
        composed.set_params(method=method, b=frozen(net, X, y + 5))
        message = re.escape("'b' has the classes [5, 6, 7], but the composition [0, 1, 2]")
        assert_refused(composed, message, X, y, forget)


@pytest.mark.parametrize("method", ["graft", "vote"])
def test_members_of_other_features(composed, X, y, forget, method):
    net = make(MLP, module__n_features=2, module__n_classes=3, max_epochs=1)
    net.fit(X[:, :2], y)
    composed.set_params(method=method, b=frozen(net, X[:, :2], y))
    message = "'b' was fitted to rows of 2 features, but the composition to rows of 4"
    assert_refused(composed, message, X, y, forget)


def test_a_composition_of_another_network_than_its_members(start, X, y, forget):
    members = [("a", frozen(start, X, y))]
    own = FrozenEstimator(initialized(lambda: BatchNormNet(7)))
    composed = ComposedUnlearner(members, estimator=own, method="task_arithmetic").fit(X, y)
    with pytest.raises(ValueError, match="'a' was not made from the original network"):
        composed.unlearn(X, y, forget=forget)
    assert not composed.records_


PARAMETERS = {
    "unknown cut": (
        {"cut": "third"},
        "cut='third' is not a submodule of BatchNormNet: choose one of ['first', 'first.0',",
    ),
    "too many layers": ({"cut": 4}, "has 3 layers that count, ['first.0', 'second.0', 'head']"),
    "the same cut twice": ({"cut": ["head", "head"]}, "and each once: ['head', 'head']"),
    "the same layer twice": ({"cut": [None, "head"]}, "and each once: ['head', 'head']"),
    "no cut": ({"cut": []}, "must name at least one submodule"),
    "a cut that is none": ({"cut": [2.5]}, "each cut must be the name of a submodule, an int"),
    "an empty part": ({"cut": "first"}, "leaves part 1 of 2 of the network without a parameter"),
    "an empty last part": ({"cut": "last"}, "leaves part 2 of 2"),
    "an unknown head": ({"head": "c"}, "'c' is not a member: name one of ['a', 'b'], or 'auto'"),
    "an unknown encoder": ({"encoder": "x"}, "'x' is not a member"),
    "an unknown encoder in a list": ({"encoder": ["a", 0]}, "0 is not a member"),
    "an encoder too many": ({"encoder": ["a", "b"]}, "`encoder` names 2 members for the 1 parts"),
    "an encoder too few": (
        {"encoder": ["a"], "cut": [1, 2]},
        "names 1 members for the 2 parts before the last cut: pass one for each, or one name for "
        "all. The cuts are ['second.0', 'head']",
    ),
    "too few weights": ({"method": "average", "weights": [1]}, "`weights` must be 2 finite"),
    "a negative weight": ({"method": "average", "weights": [2, -1]}, "must not be negative"),
    "weights of 0": ({"method": "vote", "weights": [0, 0]}, "nor all 0, got [0, 0]"),
    "a weight of NaN": ({"method": "vote", "weights": [1, np.nan]}, "`weights` must be 2 finite"),
    "an infinite weight": (
        {"method": "task_arithmetic", "weights": [1, np.inf]},
        "`weights` must be 2 finite numbers, one for each of `estimators`; got [1, inf]",
    ),
    "fine-tuned votes": (
        {"method": "vote", "finetune_epochs": 1},
        "method='vote' has no single network to fine-tune: set finetune_epochs=0",
    ),
    "an unknown method": ({"method": "mean"}, "The 'method' parameter of ComposedUnlearner must"),
    "all trimmed": ({"method": "task_arithmetic", "trim": 1.0}, "The 'trim' parameter"),
    "beyond the end": ({"method": "interpolate", "alpha": 1.1}, "The 'alpha' parameter"),
    "one point": ({"method": "interpolate", "n_points": 1}, "The 'n_points' parameter"),
    "an accuracy of 2": ({"forget_target": 2}, "The 'forget_target' parameter"),
    "half an epoch": ({"finetune_epochs": 0.5}, "The 'finetune_epochs' parameter"),
}


class WithTail(BatchNormNet):
    """After its head comes a submodule without parameters."""

    def __init__(self):
        super().__init__()
        self.last = nn.Identity()

    def forward(self, x):
        return self.last(super().forward(x))


@pytest.mark.parametrize("params, message", PARAMETERS.values(), ids=PARAMETERS.keys())
def test_parameters(composed, X, y, forget, params, message):
    if params.get("cut") == "last":
        start = FrozenEstimator(initialized(WithTail))
        composed.set_params(estimator=start).fit(X, y, forget=forget)
    assert_refused(composed.set_params(**params), re.escape(message), X, y, forget)


@pytest.mark.parametrize("n_members", [1, 3])
def test_a_line_has_two_ends(composed, X, y, forget, n_members):
    members = [(name, Shift(scale=0.02, seed=seed)) for seed, name in enumerate("abc"[:n_members])]
    composed.set_params(estimators=members, method="interpolate")
    assert_refused(composed, "'interpolate' is between two members, got", X, y, forget)
    members[-1] = (members[-1][0], "drop")
    if n_members == 3:
        composed.set_params(estimators=members).fit(X, y, forget=forget)


def test_what_cannot_be_grafted_is_said_before_the_members_run(start, X, y, forget):
    members = [("a", Fails()), ("b", Shift())]
    composed = ComposedUnlearner(members, estimator=FrozenEstimator(start), cut="first").fit(X, y)
    with pytest.raises(ValueError, match="leaves part 1 of 2"):
        composed.unlearn(X, y, forget=forget)


def test_tiny_weights_of_a_vote(start, X, y, forget):
    members = [("a", Shift()), ("b", Shift(seed=1))]
    composed = ComposedUnlearner(members, estimator=FrozenEstimator(start), method="vote")
    answers = [
        composed.set_params(weights=weights).fit(X, y, forget=forget).predict_proba(X)
        for weights in ([1, 3], [1e-300, 3e-300])
    ]
    np.testing.assert_allclose(*answers, rtol=1e-6)


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.features, self.head = nn.Linear(4, 4), nn.Linear(4, 4)
        self.head.weight = self.features.weight
        self.last = nn.Linear(4, 3)

    def forward(self, x):
        return self.last(self.head(self.features(x)))


def test_a_cut_through_shared_weights(composed, X, y, forget):
    composed.set_params(estimator=FrozenEstimator(initialized(Tied)), cut="head")
    message = "goes through 'head.weight', which is shared by layers on both sides"
    assert_refused(composed, message, X, y, forget, calls=["fit"])


HELD_OUT = {
    "other features": ({"X_val": np.ones((5, 3)), "y_val": [0] * 5}, "X has 3 features, but"),
    "no labels": ({"X_val": np.ones((5, 4))}, "requires y to be passed"),
    "too few labels": (
        {"X_val": np.ones((5, 4)), "y_val": [0] * 4},
        "`y` has 4 entries for 5|inconsistent numbers of samples",
    ),
    "unknown labels": ({"X_val": np.ones((5, 4)), "y_val": [7] * 5}, r"holds the labels \[7\]"),
    "a mask of other rows": (
        {"X_val": np.ones((5, 4)), "y_val": [0] * 5, "forget_val": np.ones(4, dtype=bool)},
        "`forget` is a boolean mask of 4 rows, but the data has 5 rows",
    ),
    "an index of no row": (
        {"X_val": np.ones((5, 4)), "y_val": [0] * 5, "forget_val": [5]},
        "holds the index 5, but the data has 5 rows",
    ),
    "a mask of no row": (
        {"X_val": np.ones((5, 4)), "y_val": [0] * 5, "forget_val": np.zeros(5, dtype=bool)},
        "marks no row",
    ),
    "NaN": ({"X_val": np.full((5, 4), np.nan), "y_val": [0] * 5}, "contains NaN"),
}


@pytest.mark.parametrize("held_out, message", HELD_OUT.values(), ids=HELD_OUT.keys())
def test_held_out_rows(composed, X, y, forget, held_out, message):
    assert_refused(composed, message, X, y, forget, **held_out)
    with pytest.raises(ValueError) as caught:
        composed.unlearn(X, y, forget=forget, **held_out)
    note = "This is about the held-out rows: `X_val`, `y_val`, `forget_val`."
    assert caught.value.__notes__ == [note]


@pytest.mark.parametrize("held_out", [{"y_val": [0]}, {"forget_val": [0]}])
def test_labels_of_no_rows(composed, X, y, forget, held_out):
    message = "`y_val` and `forget_val` describe `X_val`: pass that too"
    assert_refused(composed, message, X, y, forget, **held_out)


def test_bad_held_out_rows_are_refused_before_the_training(X, y):
    class Never(MLP):
        def forward(self, x):
            raise AssertionError("was trained")

    net = make(Never, module__n_features=4, module__n_classes=3)
    composed = ComposedUnlearner([("a", Shift(net))])
    with pytest.raises(ValueError, match="X has 3 features"):
        composed.fit(X, y, X_val=X[:, :3], y_val=y)


def test_what_cannot_be_merged_is_said_before_the_members_run(composed, X, y, forget):
    class Never(Shift):
        def _unlearn(self, start, X, y, forget):
            raise AssertionError("ran")

    composed.set_params(b=Never()).fit(X, y)
    for params in ({"cut": "nowhere"}, {"encoder": ["a", "b"]}, {"head": "c"}):
        composed.set_params(**{"cut": None, "encoder": "auto", "head": "auto", **params})
        with pytest.raises(ValueError, match=r"nowhere|2 members|not a member"):
            composed.unlearn(X, y, forget=forget)


def test_there_must_be_rows_to_retain(composed, X, y):
    everything = np.ones(75, dtype=bool)
    assert_refused(composed, "no retain rows are left", X, y, everything)


@pytest.mark.parametrize("n_retain", [1, 2])
@pytest.mark.parametrize("method", ["graft", "average", "interpolate", "vote"])
def test_a_single_row_to_retain(composed, X, y, method, n_retain):
    composed.set_params(method=method, cut=None).unlearn(X, y, forget=np.arange(75) >= n_retain)
    assert np.isfinite(composed.predict_proba(X)).all()


def test_a_composition_that_is_not_fitted(X, y, forget):
    composed = ComposedUnlearner([("a", FineTuneUnlearner())])
    for request in ("unlearn", "partial_unlearn"):
        with pytest.raises(NotFittedError):
            getattr(composed, request)(X, y, forget=forget)
    assert "_held_out" not in vars(composed)


def test_members_are_as_they_were_after_a_refusal(composed, X, y, forget):
    before = [state(member.net_) for member in composed.estimators_]
    composed.set_params(head="nobody")
    with pytest.raises(ValueError, match="'nobody' is not a member"):
        composed.partial_unlearn(X, y, forget=forget)
    for member, expected in zip(composed.estimators_, before, strict=True):
        for key, value in state(member.net_).items():
            np.testing.assert_array_equal(value, expected[key])
