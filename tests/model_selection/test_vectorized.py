import numpy as np
import pandas as pd
import pytest
import torch
from joblib import parallel_config
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback
from torch import nn

from sklunlearn import (
    BoundaryUnlearner,
    NegGradUnlearner,
    RandomLabelUnlearner,
    SCRUBUnlearner,
    SSDUnlearner,
    all_unlearners,
)
from sklunlearn.exceptions import DivergenceError
from sklunlearn.model_selection import ForgetSplit, TradeoffSearchCV, unlearning_scorers
from sklunlearn.networks import MLP, SmallCNN

pytestmark = pytest.mark.filterwarnings("ignore:The original network dominates")


@pytest.fixture(scope="module")
def digits():
    """400 rows of digits, and a network trained on all: rows of the test folds too."""
    X, y = load_digits(return_X_y=True)
    X, y = X[:400].astype(np.float32), y[:400]
    torch.manual_seed(0)
    net = NeuralNetClassifier(
        MLP(64, 10, hidden=(32,)),
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.Adam,
        lr=0.01,
        max_epochs=10,
        batch_size=50,
        train_split=None,
        verbose=0,
    )
    return net.fit(X, y), X, y


@pytest.fixture(scope="module")
def digit_images(digits):
    _, X, y = digits
    X = X.reshape(-1, 1, 8, 8) / 16
    torch.manual_seed(0)
    net = NeuralNetClassifier(
        SmallCNN(1, 10, channels=(4, 8)),
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.Adam,
        lr=0.02,
        max_epochs=5,
        batch_size=50,
        train_split=None,
        verbose=0,
    )
    return net.fit(X, y), X, y


@pytest.fixture
def unlearner(trained_net):
    return RandomLabelUnlearner(FrozenEstimator(trained_net), max_epochs=2, random_state=0)


@pytest.fixture
def forget(y):
    return y == 0


def search_both(unlearner, grid, X, y, forget, **params):
    """Searches one by one and stacked."""
    searches = [
        TradeoffSearchCV(unlearner, grid, engine=engine, **{"cv": 2, **params})
        for engine in ("sequential", "vectorized")
    ]
    return [search.fit(X, y, forget=forget) for search in searches]


def check_equal(alone, stacked, tolerance=1e-9):
    """Equal results, but for times."""
    ours, theirs = stacked.cv_results_, alone.cv_results_
    assert list(ours) == list(theirs)
    assert ours["params"] == theirs["params"]
    for name in theirs:
        if "_test_" in name:
            np.testing.assert_allclose(ours[name], theirs[name], atol=tolerance)
        elif name.startswith("param_"):
            assert ours[name].tolist() == theirs[name].tolist()
        elif name != "params":
            assert (ours[name] >= 0).all()
    assert stacked.best_index_ == alone.best_index_
    assert stacked.best_params_ == alone.best_params_
    assert stacked.n_splits_ == alone.n_splits_
    assert stacked.verdict_ == alone.verdict_
    assert stacked.scorer_.keys() == alone.scorer_.keys()
    pd.testing.assert_frame_equal(stacked.pareto_front_, alone.pareto_front_, atol=tolerance)


@pytest.mark.parametrize(
    ("cls", "params", "grid", "tolerance"),
    [
        (
            BoundaryUnlearner,
            {"target": "soft", "max_epochs": 5},
            {
                "noise": [0.0, 0.5],
                "closeness": [0.0, 0.1],
                "temperature": [1.0, 2.0],
                "retain_weight": [0.5, 2.0],
                "lr": [0.002, 0.01],
            },
            1e-9,
        ),
        (NegGradUnlearner, {}, {"forget_weight": [0.05, 0.2], "lr": [0.0005, 0.002]}, 1e-9),
        # An ascent amplifies rounding: in larger steps two rows may change places, for the attack.
        (NegGradUnlearner, {}, {"forget_weight": [0.05, 0.2], "lr": [0.001, 0.005]}, 5e-3),
        (
            RandomLabelUnlearner,
            {"max_epochs": 3},
            {"retain_weight": [1, 3], "lr": [0.01, 0.05]},
            1e-9,
        ),
    ],
)
def test_digits(cls, params, grid, tolerance, digits):
    net, X, y = digits
    unlearner = cls(FrozenEstimator(net), random_state=0, **params)
    alone, stacked = search_both(unlearner, grid, X, y, y == 3)
    check_equal(alone, stacked, tolerance)
    assert set(stacked.engine_["engine"]) == {"vectorized"}
    assert set(stacked.engine_["reason"]) == {""}
    assert not hasattr(alone, "engine_")
    np.testing.assert_array_equal(stacked.predict_proba(X), alone.predict_proba(X))


@pytest.mark.parametrize("cls", [BoundaryUnlearner, RandomLabelUnlearner])
def test_images_of_digits(cls, digit_images):
    net, X, y = digit_images
    unlearner = cls(FrozenEstimator(net), max_epochs=2, random_state=0)
    grid = {"retain_weight": [0.5, 2.0], "lr": [0.005, 0.05]}
    alone, stacked = search_both(unlearner, grid, X, y, y == 3)
    check_equal(alone, stacked)
    assert set(stacked.engine_["engine"]) == {"vectorized"}


def test_what_the_scorers_are_given(unlearner, X, y, forget):
    """The same unlearners, with the same probabilities, in another order."""
    seen = {"sequential": [], "vectorized": []}

    def search(engine):
        def scorer(estimator, X, y):
            seen[engine].append((estimator.lr, len(X), estimator.predict_proba(X), estimator))
            return 1.0

        search = TradeoffSearchCV(
            unlearner,
            {"lr": [0.01, 0.1]},
            cv=2,
            scoring={"any": scorer},
            refit=False,
            engine=engine,
        )
        search.fit(X, y, forget=forget)

    for engine, rows in seen.items():
        search(engine)
        rows[:] = sorted(rows[2:], key=lambda row: row[:2])  # without the original
    for alone, stacked in zip(seen["sequential"], seen["vectorized"], strict=True):
        assert stacked[:2] == alone[:2]
        np.testing.assert_allclose(stacked[2], alone[2], atol=1e-5)
        assert vars(stacked[3]).keys() == vars(alone[3]).keys()
        assert stacked[3].get_params().keys() == alone[3].get_params().keys()
        assert stacked[3].records_[0]["n_forget"] == alone[3].records_[0]["n_forget"]


def test_parameters_that_are_no_numbers_divide_the_candidates(unlearner, X, y, forget):
    grid = [
        {"resample": ["epoch", "once"], "lr": [0.01, 0.1], "max_epochs": [1]},
        {"retain_weight": [0, 0.5, 2.0]},  # without retain rows, other steps
    ]
    alone, stacked = search_both(unlearner, grid, X, y, forget)
    check_equal(alone, stacked)
    reason = "no other candidate differs from it only in numbers"
    assert stacked.engine_["reason"].tolist() == ["", "", "", "", reason, "", ""]
    assert stacked.engine_["engine"].tolist() == [
        *["vectorized"] * 4,
        "sequential",
        *["vectorized"] * 2,
    ]


def test_what_a_grid_does_not_name_has_its_value_in_the_estimator(unlearner, X, y, forget):
    unlearner.set_params(lr=0.05)
    grid = [{"lr": [0.2], "retain_weight": [3.0]}, {"retain_weight": [0.2, 0.4]}]
    alone, stacked = search_both(unlearner, grid, X, y, forget)
    check_equal(alone, stacked)
    assert set(stacked.engine_["reason"]) == {""}


def test_parameters_of_the_network_and_its_training_once_a_fold(net, X, y, forget, tmp_path):
    path = tmp_path / "trainings"

    class Recorder(Callback):
        def on_train_begin(self, net, **kwargs):
            with open(path, "a") as file:
                file.write("trained\n")

    net.set_params(callbacks=[Recorder()])
    unlearner = RandomLabelUnlearner(make_pipeline(StandardScaler(), net), random_state=0)
    grid = {"estimator__neuralnetclassifier__lr": [0.05, 0.01], "lr": [0.001, 0.01, 0.02]}
    search = TradeoffSearchCV(unlearner, grid, cv=2, engine="vectorized", refit=False)
    search.fit(X, y, forget=forget)
    assert len(path.read_text().split()) == 4
    # A callback of the net's own training takes no part in the run.
    assert set(search.engine_["engine"]) == {"vectorized"}


@pytest.mark.parametrize("random_state", [None, np.random.RandomState(0)])
def test_other_random_states(unlearner, X, y, forget, random_state):
    unlearner.set_params(random_state=random_state)
    alone, stacked = search_both(unlearner, {"lr": [0.01, 0.1]}, X, y, forget)
    assert set(stacked.engine_["engine"]) == {"vectorized"}
    if random_state is not None:
        check_equal(alone, stacked)


def test_two_workers(unlearner, X, y, forget):
    grid = {"lr": [0.01, 0.1], "max_epochs": [1, 2], "stop_accuracy": [None, 0.0]}
    alone, stacked = search_both(unlearner, grid, X, y, forget)
    stacked.set_params(n_jobs=2).fit(X, y, forget=forget)
    check_equal(alone, stacked, 1e-6)
    assert stacked.engine_["engine"].value_counts().to_dict() == {"vectorized": 4, "sequential": 4}


@pytest.mark.parametrize("backend", ["multiprocessing", "threading"])
def test_other_backends(backend, unlearner, X, y, forget):
    """One has no results before the last, and the workers of the other share a random state."""
    grid = {"lr": [0.01, 0.1], "max_epochs": [1, 2], "stop_accuracy": [None, 0.0]}
    alone, stacked = search_both(unlearner, grid, X, y, forget)
    with parallel_config(backend):
        stacked.set_params(n_jobs=2).fit(X, y, forget=forget)
    check_equal(alone, stacked, 1e-6)


@pytest.mark.parametrize("values", [np.array([1, 3]), np.array([0.5, 2.0], dtype="f")])
def test_numbers_of_numpy(values, unlearner, X, y, forget):
    alone, stacked = search_both(unlearner, {"retain_weight": values}, X, y, forget)
    check_equal(alone, stacked)
    assert set(stacked.engine_["engine"]) == {"vectorized"}


def test_rows_of_every_class(unlearner, X, y):
    grid = {"lr": [0.001, 0.01]}
    cv = ForgetSplit(2, random_state=0)
    alone, stacked = search_both(unlearner, grid, X, y, np.arange(75) % 5 == 0, cv=cv)
    check_equal(alone, stacked)


def test_a_rule_a_name_or_none(unlearner, X, y, forget):
    for refit in ("retention", lambda results: 1):
        alone, stacked = search_both(unlearner, {"lr": [0.01, 0.1]}, X, y, forget, refit=refit)
        check_equal(alone, stacked)
        assert hasattr(stacked, "best_score_") == hasattr(alone, "best_score_")
    search = stacked.set_params(refit=False).fit(X, y, forget=forget)
    assert not hasattr(search, "best_estimator_")
    assert not hasattr(search.set_params(engine="sequential").fit(X, y, forget=forget), "engine_")


# Failures


def test_a_candidate_that_diverges_gets_what_it_would_get_alone(unlearner, X, y, forget):
    grid = {"lr": [0.01, 1e30, 0.1]}
    for engine in ("sequential", "vectorized"):
        search = TradeoffSearchCV(unlearner, grid, cv=2, engine=engine)
        with pytest.raises(DivergenceError, match=r"no longer finite.* Lower `lr`=1e\+30"):
            search.fit(X, y, forget=forget)
    with pytest.warns(Warning, match="2 fits failed out of a total of 6|non-finite"):
        alone, stacked = search_both(unlearner, grid, X, y, forget, error_score=np.nan)
    check_equal(alone, stacked)
    assert np.isnan(stacked.cv_results_["mean_test_forgetting"]).tolist() == [False, True, False]
    assert stacked.engine_["reason"].tolist() == ["", "its run diverged", ""]


def test_a_candidate_that_is_not_valid(unlearner, X, y, forget):
    grid = {"lr": [0.01, -1.0, 0.1]}
    with pytest.raises(ValueError, match="'lr' parameter"):
        TradeoffSearchCV(unlearner, grid, cv=2, engine="vectorized").fit(X, y, forget=forget)
    with pytest.warns(Warning, match="2 fits failed out of a total of 6|non-finite"):
        alone, stacked = search_both(unlearner, grid, X, y, forget, error_score=np.nan)
    check_equal(alone, stacked)
    assert stacked.engine_["reason"][1].startswith("InvalidParameterError: The 'lr' parameter")


def test_an_error_of_any_class_is_that_of_the_candidate(X, y, forget):
    class Fussy(nn.Linear):
        def forward(self, X):
            if self.training:
                raise IndexError("no such row")
            return super().forward(X)

    net = sequential([Fussy(6, 6)])
    grid = {"lr": [0.01, 0.1], "max_epochs": [0, 1]}
    with pytest.warns(Warning, match="4 fits failed out of a total of 8|non-finite"):
        alone, stacked = search_both(
            NegGradUnlearner(FrozenEstimator(net), random_state=0),
            *(grid, X, y, forget),
            error_score=np.nan,
        )
    check_equal(alone, stacked)
    assert stacked.engine_["reason"].tolist() == ["", "IndexError: no such row"] * 2


def test_a_scorer_that_fails(unlearner, X, y, forget):
    def fails(estimator, X, y):
        raise ValueError("no score today")

    search = TradeoffSearchCV(
        unlearner, {"lr": [0.01, 0.1]}, cv=2, scoring={"fails": fails}, engine="vectorized"
    )
    with pytest.raises(ValueError, match="no score today"):
        search.fit(X, y, forget=forget)


# What is trained one by one


class OwnStep(NeuralNetClassifier):
    def train_step(self, batch, **kwargs):
        return super().train_step(batch, **kwargs)


def sequential(layers=(), cls=NeuralNetClassifier):
    """A net that counts as trained."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 6), *layers, nn.Linear(6, 3))
    return cls(
        module, criterion=nn.CrossEntropyLoss, classes=[0, 1, 2], train_split=None, verbose=0
    ).initialize()


@pytest.mark.parametrize(
    ("unlearner", "reason"),
    [
        (SCRUBUnlearner(sequential(), max_epochs=1), "SCRUBUnlearner does not declare"),
        (NegGradUnlearner(sequential(), callbacks=[Callback()]), "callbacks are given"),
        (NegGradUnlearner(sequential(), stop_accuracy=0.1), "`stop_accuracy` is set"),
        (NegGradUnlearner(sequential(), optimizer=torch.optim.RMSprop), "optimizer RMSprop"),
        (NegGradUnlearner(sequential(cls=OwnStep)), "has its own 'train_step'"),
        (NegGradUnlearner(sequential([nn.BatchNorm1d(6)])), "BatchNorm is trained"),
        (NegGradUnlearner(sequential([nn.Dropout()])), "dropout draws anew"),
        (SSDUnlearner(sequential()), "SSDUnlearner does not train by gradient steps"),
    ],
)
def test_reasons(unlearner, reason, X, y, forget):
    unlearner = clone(unlearner).set_params(
        random_state=0, estimator=FrozenEstimator(unlearner.estimator)
    )
    grid = {"lr" if "lr" in unlearner.get_params() else "dampening": [0.01, 0.1]}
    alone, stacked = search_both(unlearner, grid, X, y, forget)
    check_equal(alone, stacked)
    assert set(stacked.engine_["engine"]) == {"sequential"}
    assert stacked.engine_["reason"].str.contains(reason, regex=False).all()


def test_an_unlearner_inside_a_pipeline(unlearner, X, y, forget):
    pipeline = make_pipeline(StandardScaler(), unlearner)
    grid = {"randomlabelunlearner__lr": [0.01, 0.1]}
    alone, stacked = search_both(pipeline, grid, X, y, forget)
    check_equal(alone, stacked)
    assert set(stacked.engine_["reason"]) == {"the unlearner is in a Pipeline"}


def test_verbose_shows_a_bar(unlearner, X, y, forget, capsys):
    search = TradeoffSearchCV(unlearner, {"lr": [0.01, 0.1]}, cv=2, verbose=1, engine="vectorized")
    search.fit(X, y, forget=forget)
    assert "4/4" in capsys.readouterr().err


def test_an_engine_that_does_not_exist(unlearner, X, y, forget):
    search = TradeoffSearchCV(unlearner, {"lr": [0.01]}, engine="parallel")
    with pytest.raises(ValueError, match="'engine' parameter"):
        search.fit(X, y, forget=forget)


def test_every_method_that_declares_it_is_stacked(trained_net, X, y, forget):
    """Of the registry: what can be stacked on a plain network."""
    scoring = unlearning_scorers("retention")
    declared = [cls for _, cls in all_unlearners() if "_stackable" in vars(cls)]
    assert len(declared) == 9
    for cls in declared:
        unlearner = cls(FrozenEstimator(trained_net), max_epochs=1, random_state=0)
        search = TradeoffSearchCV(
            unlearner,
            {"lr": [0.001, 0.002]},
            cv=2,
            scoring=scoring,
            refit=False,
            engine="vectorized",
        )
        search.fit(X, y, forget=forget)
        assert set(search.engine_["reason"]) == {""}, cls
