import copy

import numpy as np
import pytest
import torch
from sklearn.exceptions import NotFittedError, UndefinedMetricWarning
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklunlearn import FineTuneUnlearner, RetrainUnlearner, SISAUnlearner
from sklunlearn._nets import weights_digest
from sklunlearn.exceptions import DivergenceError
from sklunlearn.metrics import RelearnTime, anamnesis_index, relearn_time

# Time to relearn.


@pytest.fixture
def retrained(trained_net, X, y):
    """A network that never saw class 2, although its original did."""
    unlearner = FineTuneUnlearner(FrozenEstimator(trained_net)).fit(X, y)
    unlearner.net_ = RetrainUnlearner(trained_net, random_state=0).fit(X, y, forget=y == 2).net_
    return unlearner


def of_class_2(X, y):
    return {"X_forget": X[y == 2], "y_forget": y[y == 2]}


def by_hand(unlearner, X, y, target, lr, n_batches):
    """Full batches, so that their order does not matter."""
    module = copy.deepcopy(unlearner.net_.module_).train()
    optimizer = torch.optim.Adam(module.parameters(), lr=lr)
    X, y = torch.tensor(X), torch.tensor(y)
    for t in range(n_batches + 1):
        with torch.no_grad():
            if (module(X[y == 2]).argmax(dim=1) == 2).double().mean() >= target:
                return t
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(module(X), y).backward()
        optimizer.step()
    return None


def test_votes_cannot_be_trained(X, y):
    unlearner = SISAUnlearner(n_shards=2, aggregation="vote", random_state=0)
    unlearner.fit(X, y, forget=y == 2)
    with pytest.raises(ValueError, match="no gradient to train by"):
        relearn_time(unlearner, X, y, **of_class_2(X, y))


@pytest.mark.parametrize("target, lr", [(0.5, 0.01), (0.9, 0.01), (0.5, 0.03)])
def test_number_of_full_batches(retrained, X, y, target, lr):
    expected = by_hand(retrained, X, y, target, lr, 200)
    assert expected > 5
    options = {"target": target, "lr": lr, **of_class_2(X, y)}
    assert relearn_time(retrained, X, y, max_epochs=200, **options) == (expected, True)
    # Given up one batch too early.
    assert relearn_time(retrained, X, y, max_epochs=expected - 1, **options) == (
        expected - 1,
        False,
    )
    assert relearn_time(retrained, X, y, max_epochs=expected, **options).reached


def test_accuracy_is_looked_at_after_each_small_batch(retrained, X, y):
    options = {"target": 0.5, "lr": 0.01, "random_state": 0, **of_class_2(X, y)}
    full = relearn_time(retrained, X, y, max_epochs=100, **options)
    small = relearn_time(retrained, X, y, max_epochs=100, batch_size=20, **options)
    assert small.reached
    assert full.n_batches < small.n_batches + 10
    assert small.n_batches % 4  # in the middle of an epoch of four batches
    capped = relearn_time(retrained, X, y, max_epochs=1, batch_size=20, **options)
    assert capped == (4, False)


def test_default_target_is_that_of_the_original(retrained, trained_net, X, y):
    accuracy = (trained_net.predict(X[y == 2]) == 2).mean()
    options = {"lr": 0.01, "max_epochs": 300, "random_state": 0, **of_class_2(X, y)}
    expected = relearn_time(retrained, X, y, target=0.95 * accuracy, **options)
    assert 1 < expected.n_batches < 300
    assert relearn_time(retrained, X, y, **options) == expected
    lower = relearn_time(retrained, X, y, target=0.5 * accuracy, **options)
    assert lower.n_batches < expected.n_batches


def test_network_that_knows_the_rows_takes_one_batch(trained_net, X, y):
    unlearner = FineTuneUnlearner(FrozenEstimator(trained_net)).fit(X, y)
    assert relearn_time(unlearner, X, y, **of_class_2(X, y)) == RelearnTime(1, True)
    assert relearn_time(unlearner, X, y, target=0.0, **of_class_2(X, y)) == (1, True)


def test_unlearner_and_random_states_stay_as_they_are(retrained, X, y):
    before = weights_digest(retrained.net_), weights_digest(retrained.fitted_)
    names = set(vars(retrained))
    modes = retrained.net_.module_.training
    gradients = [p.grad.clone() for p in retrained.net_.module_.parameters()]
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    relearn_time(retrained, X, y, random_state=0, lr=0.1, **of_class_2(X, y))
    assert (weights_digest(retrained.net_), weights_digest(retrained.fitted_)) == before
    after = [p.grad.clone() for p in retrained.net_.module_.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(gradients, after, strict=True))
    assert set(vars(retrained)) == names
    assert retrained.net_.module_.training == modes
    assert torch.equal(torch.get_rng_state(), torch_state)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_state)  # noqa: NPY002


def test_batches_are_trained_on_in_training_mode(retrained, X, y):
    passes = []

    def record(module, inputs, output):
        passes.append((module.training, len(output)))

    retrained.net_.module_.register_forward_hook(record)  # its copies have it too
    relearn_time(retrained, X, y, target=1.0, lr=1e-6, max_epochs=1, **of_class_2(X, y))
    assert passes == [(False, 25), (True, 75), (False, 25)]


def test_relearning_is_repeatable(retrained, X, y):
    options = {"lr": 0.01, "batch_size": 5, "max_epochs": 50, **of_class_2(X, y)}
    times = [relearn_time(retrained, X, y, random_state=s, **options) for s in (0, 0, 1, 2, 3)]
    assert times[0] == times[1]
    assert len(set(times)) > 1


def test_labels_pipeline_and_dataset(net, X, y):
    names = np.array(["x", "y", "z"])[y]
    pipeline = make_pipeline(StandardScaler(), net)
    unlearner = RetrainUnlearner(pipeline, random_state=0).fit(X, names, forget=y == 2)
    options = {"lr": 0.02, "max_epochs": 200}
    time = relearn_time(unlearner, X, names, X_forget=X[y == 2], y_forget=names[y == 2], **options)
    assert time.reached
    assert time.n_batches > 1

    unlearner = RetrainUnlearner(net, random_state=0).fit(X, y, forget=y == 2)
    data = torch.utils.data.TensorDataset(torch.tensor(X), torch.tensor(y))
    some = torch.utils.data.Subset(data, np.flatnonzero(y == 2))
    expected = relearn_time(unlearner, X, y, **options, **of_class_2(X, y))
    found = relearn_time(unlearner, data, None, X_forget=some, y_forget=None, **options)
    assert found == expected


def test_frozen_weights_stay(retrained, X, y):
    for parameter in retrained.net_.module_.parameters():
        parameter.requires_grad_(False)
    with pytest.raises(ValueError, match="no weight to train"):
        relearn_time(retrained, X, y, **of_class_2(X, y))


def test_released_unlearner_needs_a_target(retrained, X, y):
    released = retrained.release()
    with pytest.raises(ValueError, match=r"was released.*pass the accuracy to reach as `target`"):
        relearn_time(released, X, y, **of_class_2(X, y))
    options = {"target": 0.5, "lr": 0.01, "max_epochs": 100, **of_class_2(X, y)}
    assert relearn_time(released, X, y, **options) == relearn_time(retrained, X, y, **options)


def test_no_rows_to_relearn(retrained, X, y):
    with pytest.warns(UndefinedMetricWarning, match="no rows to relearn"):
        time = relearn_time(retrained, X, y, X_forget=X[:0], y_forget=y[:0])
    assert np.isnan(time.n_batches)
    assert time.reached is False


def test_divergence(retrained, X, y):
    # Class 0 is what the largest of several NaN would be.
    rows = {"X_forget": X[y == 0], "y_forget": y[y == 0], "target": 1.0}
    with torch.no_grad():
        retrained.net_.module_.classifier.bias[0] = -100
    with pytest.raises(DivergenceError, match="not finite: lower `lr`"):
        relearn_time(retrained, X, y, lr=1e30, max_epochs=50, **rows)
    for parameter in retrained.net_.module_.parameters():
        parameter.detach().fill_(np.nan)
    with pytest.raises(DivergenceError, match="unlearn again"):
        relearn_time(retrained, X, y, max_epochs=50, **rows)


@pytest.mark.parametrize(
    "change, error, message",
    [
        ({"unlearner": "net"}, TypeError, "net is not an estimator"),
        ({"unlearner": RetrainUnlearner()}, NotFittedError, "not fitted"),
        ({"y": np.zeros(3)}, ValueError, "inconsistent|entries"),
        ({"X": np.zeros((75, 2))}, ValueError, "features"),
        ({"X": np.full((75, 4), np.nan)}, ValueError, "NaN"),
        ({"X_forget": np.zeros((25, 2))}, ValueError, "features"),
        ({"y_forget": np.full(25, 9)}, ValueError, r"the labels \[9\], which are not classes"),
        ({"target": 1.5}, ValueError, "`target` must be an accuracy"),
        ({"target": "high"}, TypeError, "`target` must be an accuracy"),
        ({"lr": 0}, ValueError, "`lr` must be a number above 0"),
        ({"lr": None}, TypeError, "`lr` must be a number above 0"),
        ({"batch_size": 0}, ValueError, "`batch_size` must be an integer of at least 1"),
        ({"max_epochs": 1.0}, TypeError, "`max_epochs` must be an integer of at least 1"),
    ],
)
def test_bad_input(retrained, X, y, change, error, message):
    arguments = {"unlearner": retrained, "X": X, "y": y, **of_class_2(X, y)} | change
    with pytest.raises(error, match=message):
        relearn_time(**arguments)


# Anamnesis index.


def test_index_is_the_ratio_of_geometric_means():
    assert anamnesis_index(RelearnTime(10, True), RelearnTime(40, True)) == pytest.approx(0.25)
    unlearned, retrained = [(2, True), (3, True), (36, True)], [(8, True), (2, True)]
    expected = (2 * 3 * 36) ** (1 / 3) / (8 * 2) ** (1 / 2)
    assert anamnesis_index(unlearned, retrained) == pytest.approx(expected, rel=1e-9)
    assert anamnesis_index(np.array([[5, 1]]), (5, True)) == 1


@pytest.mark.parametrize("retrained", [(20, False), [(5, True), (20, False)]])
def test_index_of_networks_that_are_both_too_slow(retrained):
    with pytest.warns(UndefinedMetricWarning, match="neither.*raise `max_epochs`"):
        assert np.isnan(anamnesis_index((40, False), retrained))


def test_index_is_a_bound():
    with pytest.warns(UserWarning, match="unlearned network .* only a lower bound"):
        assert anamnesis_index((40, False), (20, True)) == pytest.approx(2)
    with pytest.warns(UserWarning, match="retrained network .* only an upper bound"):
        assert anamnesis_index((5, True), [(10, True), (40, False)]) == pytest.approx(0.25)


@pytest.mark.parametrize("times", [([], (5, True)), ((5, True), [])])
def test_index_of_no_runs(times):
    with pytest.warns(UndefinedMetricWarning, match="no runs"):
        assert np.isnan(anamnesis_index(*times))


@pytest.mark.parametrize(
    "times, error, message",
    [
        (5, ValueError, r"must be a pair \(n_batches, reached\)"),
        ((5, True, 3), ValueError, "must be a pair"),
        ((5, 7), ValueError, "must be a pair"),
        ((0, True), ValueError, "not 1 or more"),
        ((np.nan, False), ValueError, "not 1 or more"),
        ("abc", TypeError, "must be a pair"),
        ([(5, True), 3], TypeError, "must be a pair"),
    ],
)
def test_bad_times(times, error, message):
    with pytest.raises(error, match=f"`time_unlearned`.*{message}"):
        anamnesis_index(times, (5, True))
    with pytest.raises(error, match=f"`time_retrained`.*{message}"):
        anamnesis_index((5, True), times)
