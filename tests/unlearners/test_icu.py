import copy
import itertools

import numpy as np
import pytest
import tiny
import torch
from scipy.special import softmax
from tiny import arrays, changed
from torch import nn
from torch.utils.data import TensorDataset

from sklunlearn import ICUUnlearner

WEIGHT = np.array([[1.0, -1.0, 0.2], [0.5, 2.0, -0.4], [-1.0, 0.3, 0.9]])
BIAS = np.array([0.1, 0.0, -0.3])
N_FORGET = 6


def linear(weight=WEIGHT, bias=BIAS):
    return nn.Sequential(nn.Flatten(), tiny.linear(weight, bias))


def network():
    layers = nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 3)
    return tiny.with_gain(nn.Sequential(*layers), seed=23)


X = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
Y = (X @ WEIGHT.T + BIAS).argmax(axis=1)  # what the linear network says
X_FORGET, X_RETAIN = X[:N_FORGET].astype(np.float64), X[N_FORGET:].astype(np.float64)
OWN = softmax(X_FORGET @ WEIGHT.T + BIAS, axis=1)[np.arange(N_FORGET), Y[:N_FORGET]]


def nearest(queries, others):
    """Numbers of the nearest rows by the cosine."""
    queries, others = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (queries, others))
    return (queries @ others.T).argmax(axis=1)


def unlearn(module=None, X=X, y=Y, forget=range(N_FORGET), make=ICUUnlearner, **params):
    """Forget the first rows; without `params`, by one step."""
    params = {"threshold": 0.0, **params}
    return tiny.unlearn(make, module or linear(), X, y, forget, **params)


class Recorder(ICUUnlearner):
    """Keeps the pairs of each step, and what the network says of forget rows before each epoch."""

    def _prepare(self, net, forget, retain):
        self.seen_, self.before_ = [], []
        return super()._prepare(net, forget, retain)

    def _start_epoch(self, run, epoch, forget, retain):
        with torch.no_grad():
            before = run.module_.eval()(forget.take_X(np.arange(len(forget)))).softmax(dim=1)
        self.before_.append(before.numpy())
        self.seen_.append([])
        super()._start_epoch(run, epoch, forget, retain)

    def _loss(self, module, forget, retain):
        self.seen_[-1].append([(b.X.numpy(), b.y.numpy()) for b in (forget, retain)])
        return super()._loss(module, forget, retain)


def taken(steps):
    """Numbers of the forget rows of an epoch."""
    rows = np.concatenate([forget for (forget, _), _ in steps])
    return [int(np.flatnonzero((X == row).all(axis=1))[0]) for row in rows]


# One step, by hand. The linear network's embedding is its input.


@pytest.mark.parametrize("forget_weight", [0.0, 1.0, 0.3])
@pytest.mark.parametrize("retain_weight", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("distill_weight", [0.0, 1.0, 0.7])
def test_one_step(forget_weight, retain_weight, distill_weight):
    at = nearest(X_FORGET, X_RETAIN)
    pairs, classes = X_RETAIN[at], Y[N_FORGET:][at]
    p_forget, p_retain = (softmax(x @ WEIGHT.T + BIAS, axis=1) for x in (X_FORGET, pairs))
    error_forget = -forget_weight * (p_forget - np.eye(3)[Y[:N_FORGET]])
    # What the network is distilled to say, it says already.
    error_retain = retain_weight * (p_retain - np.eye(3)[classes])
    loss = (
        forget_weight * np.log(OWN)
        - retain_weight * np.log(p_retain[np.arange(N_FORGET), classes])
        - distill_weight * (p_retain * np.log(p_retain)).sum(axis=1)
    ).mean()

    unlearner = unlearn(
        forget_weight=forget_weight,
        retain_weight=retain_weight,
        distill_weight=distill_weight,
        lr=0.5,
    )
    head = unlearner.net_.module_[1]
    weight_step = -0.5 * (error_forget.T @ X_FORGET + error_retain.T @ pairs) / N_FORGET
    bias_step = -0.5 * (error_forget + error_retain).mean(axis=0)
    np.testing.assert_allclose(head.weight.detach(), WEIGHT + weight_step, atol=2e-6)
    np.testing.assert_allclose(head.bias.detach(), BIAS + bias_step, atol=2e-6)
    assert unlearner.history_[0, "train_loss"] == pytest.approx(loss, abs=1e-5)


@pytest.mark.parametrize("distill_weight", [1.0, 0.4])
def test_second_step_is_held_back_by_what_the_original_said(distill_weight):
    pairs = X_RETAIN[nearest(X_FORGET, X_RETAIN)]
    target = softmax(pairs @ WEIGHT.T + BIAS, axis=1)
    points = np.concatenate([X_FORGET, pairs])
    weight, bias = WEIGHT, BIAS
    for _ in range(2):
        p = softmax(points @ weight.T + bias, axis=1)
        errors = np.concatenate(
            [np.eye(3)[Y[:N_FORGET]] - p[:N_FORGET], distill_weight * (p[N_FORGET:] - target)]
        )
        weight = weight - 0.2 * errors.T @ points / N_FORGET
        bias = bias - 0.2 * errors.sum(axis=0) / N_FORGET
    unlearner = unlearn(
        lr=0.2, max_epochs=2, retain_weight=0, distill_weight=distill_weight, make=Everyone
    )
    head = unlearner.net_.module_[1]
    np.testing.assert_allclose(head.weight.detach(), weight, atol=1e-5)
    np.testing.assert_allclose(head.bias.detach(), bias, atol=1e-5)


class Everyone(ICUUnlearner):
    """All rows, forgotten or not."""

    def _start_epoch(self, run, epoch, forget, retain):
        self._active = torch.arange(len(forget))


# Pairs


@pytest.mark.parametrize("cut, layers", [(None, 3), ("2", 2), ("1", 1), ("0", 0)])
def test_pairs_are_nearest_neighbors_by_the_cosine(cut, layers):
    module = network()
    with torch.no_grad():
        embeddings = module[:layers](torch.tensor(X)).double().numpy()
    at = nearest(embeddings[:N_FORGET], embeddings[N_FORGET:])
    distances = np.linalg.norm(embeddings[:N_FORGET, None] - embeddings[N_FORGET:], axis=2)
    assert (at != distances.argmin(axis=1)).any()  # the nearest by the distance are others
    y = module(torch.tensor(X)).argmax(dim=1).numpy()
    params = {"batch_size": 4, "max_epochs": 3, "lr": 1e-6, "freeze_batchnorm": True}
    unlearner = unlearn(module, y=y, make=Recorder, cut=cut, **params)
    for epoch in unlearner.seen_:
        assert [len(labels) for (_, labels), _ in epoch] == [3, 3]
        assert sorted(taken(epoch)) == list(range(N_FORGET))
        for (forget, labels), (retain, classes) in epoch:
            numbers = taken([((forget, labels), None)])
            expected = [N_FORGET + at[i] for i in numbers]
            np.testing.assert_array_equal(retain, X[expected])
            np.testing.assert_array_equal(classes, y[expected])
            np.testing.assert_array_equal(labels, y[numbers])
    assert len({tuple(taken(epoch)) for epoch in unlearner.seen_}) > 1


def test_more_rows_than_are_compared_at_once():
    rng = np.random.default_rng(3)
    many = rng.normal(size=(1500, 3)).astype(np.float32)
    y = (many @ WEIGHT.T + BIAS).argmax(axis=1)
    unlearner = unlearn(X=many, y=y, forget=range(1100), make=Recorder, batch_size=2000, lr=1e-3)
    [[((forget, _), (retain, _))]] = unlearner.seen_
    others = many[1100:].astype(np.float64)
    expected = others[nearest(forget.astype(np.float64), others)]
    cosine = (forget * retain).sum(axis=1) / np.linalg.norm(retain, axis=1)
    best = (forget * expected).sum(axis=1) / np.linalg.norm(expected, axis=1)
    assert len(forget) == 1100
    np.testing.assert_allclose(cosine, best, atol=1e-5)


def test_one_retain_row_is_the_neighbor_of_all():
    unlearner = unlearn(X=X[:7], y=Y[:7], make=Recorder)
    [[(_, (retain, classes))]] = unlearner.seen_
    np.testing.assert_array_equal(retain, X[[6] * 6])
    np.testing.assert_array_equal(classes, Y[[6] * 6])


def test_one_forget_row():
    unlearner = unlearn(forget=[4], make=Recorder)
    [[((forget, _), (retain, _))]] = unlearner.seen_
    others = np.delete(X, 4, axis=0)
    np.testing.assert_array_equal(forget, X[[4]])
    np.testing.assert_array_equal(retain, others[nearest(X[[4]], others)])
    assert unlearner.n_active_ == [1]


def test_a_row_must_be_retained():
    with pytest.raises(ValueError, match="retain"):
        unlearn(forget=range(20))


# Rows that are left out


@pytest.mark.parametrize("threshold", [0.0, 0.5, 0.8, 0.97, 1.0])
def test_threshold(threshold):
    # One row is of a class that the network does not prefer.
    y = Y.copy()
    y[2] = (y[2] + 1) % 3
    active = np.flatnonzero(OWN > threshold)
    active = active[active != 2]
    unlearner = unlearn(y=y, make=Recorder, threshold=threshold)
    assert unlearner.n_active_ == [len(active)]
    assert len(unlearner.history_) == (len(active) > 0)
    if len(active):
        assert sorted(taken(unlearner.seen_[0])) == active.tolist()


def test_threshold_itself_is_forgotten():
    # Probabilities of exactly 0.5.
    params = {"module": linear(np.zeros((3, 3)), [0.0, 0.0, -200.0]), "y": 0 * Y, "make": Recorder}
    assert unlearn(**params, threshold=0.5).n_active_ == [0]
    assert unlearn(**params, threshold=0.499).n_active_ == [N_FORGET]


def test_without_active_rows_the_network_is_as_it_was():
    module = linear()
    unlearner = unlearn(module, threshold=1.0, max_epochs=5)
    assert unlearner.n_active_ == [0]
    assert len(unlearner.history_) == 0
    assert changed(arrays(module), unlearner.net_.module_) == []


def test_rows_leave_when_they_are_forgotten_and_the_run_ends_with_the_last():
    unlearner = unlearn(make=Recorder, threshold=0.6, lr=0.1, max_epochs=500, batch_size=3)
    n_active = []
    for before, steps in zip(unlearner.before_, unlearner.seen_, strict=True):
        own = before[np.arange(N_FORGET), Y[:N_FORGET]]
        active = np.flatnonzero((before.argmax(axis=1) == Y[:N_FORGET]) & (own > 0.6))
        n_active.append(len(active))
        assert sorted(taken(steps) if steps else []) == active.tolist()
        assert len(steps) == np.ceil(len(active) / 3)
    assert unlearner.n_active_ == n_active
    assert n_active[-1] == 0 and min(n_active[:-1]) > 0
    assert len(unlearner.history_) == len(n_active) - 1
    assert len(set(n_active)) > 3


def test_rows_come_back_when_they_are_remembered():
    # Two rows against each other: of one place, and of two classes.
    x = np.array([[1.0, 0.0, 0.0], [1.0, 0.2, 0.0], [0.0, 0.0, 1.0]], dtype=np.float32)
    weight = np.array([[1.0, -1.0, 0.0], [-1.0, 9.0, 0.0], [-9.0, -9.0, 9.0]])
    y = (x @ weight.T).argmax(axis=1)
    assert y.tolist() == [0, 1, 2]
    unlearner = unlearn(
        linear(weight, np.zeros(3)), X=x, y=y, forget=[0, 1], make=Recorder, max_epochs=40, lr=0.3
    )
    present = [{tuple(row) for (f, _), _ in steps for row in f} for steps in unlearner.seen_]
    first = [tuple(x[0]) in rows for rows in present]
    second = [tuple(x[1]) in rows for rows in present]
    returns = [any(not a and b for a, b in itertools.pairwise(row)) for row in (first, second)]
    assert any(returns)


def test_max_epochs():
    unlearner = unlearn(make=Everyone, max_epochs=4, lr=1e-4)
    assert len(unlearner.history_) == 4
    unlearner = unlearn(max_epochs=4, lr=1e-4)
    assert unlearner.n_active_ == [6, 6, 6, 6]


@pytest.mark.parametrize("stop_accuracy", [0.2, 0.5])
def test_stop_accuracy(stop_accuracy):
    unlearner = unlearn(make=Recorder, stop_accuracy=stop_accuracy, max_epochs=500, lr=0.05)
    after = unlearner.predict_proba(X[:N_FORGET])
    accuracies = [
        (p.argmax(axis=1) == Y[:N_FORGET]).mean() for p in [*unlearner.before_[1:], after]
    ]
    assert 1 < len(accuracies) < 500
    np.testing.assert_allclose(unlearner.history_[:, "forget_accuracy"], accuracies)
    assert accuracies[-1] <= stop_accuracy < min(accuracies[:-1])
    # Of all forget rows, also those that are left out.
    assert len(unlearner.n_active_) == len(accuracies)


def test_active_rows_are_told_in_evaluation_mode():
    module = nn.Sequential(linear(), nn.Dropout(0.999))  # in training mode all logits are 0
    assert unlearn(module, y=Y, threshold=0.0, lr=1e-6, max_epochs=2).n_active_ == [6, 6]


# Whole runs


@pytest.mark.parametrize("freeze_batchnorm", [True, False])
def test_run_in_plain_torch(freeze_batchnorm):
    module = network()
    y = module(torch.tensor(X)).argmax(dim=1)
    x, x_retain = torch.tensor(X[:N_FORGET]), torch.tensor(X[N_FORGET:])
    with torch.no_grad():
        embeddings = module[:3](torch.tensor(X)).numpy()
        at = nearest(embeddings[:N_FORGET], embeddings[N_FORGET:])
        pairs, classes = x_retain[at], y[N_FORGET:][at]
        target = module(pairs).softmax(dim=1)
    expected = copy.deepcopy(module).train()
    if freeze_batchnorm:
        expected[1].eval()
    optimizer = torch.optim.SGD(expected.parameters(), lr=0.01, momentum=0.9)
    for _ in range(4):
        optimizer.zero_grad()
        log_p = expected(torch.cat([x, pairs])).log_softmax(dim=1)  # together, for BatchNorm
        loss = (
            0.7 * log_p[range(N_FORGET), y[:N_FORGET]].mean()
            - 0.4 * log_p[range(N_FORGET, 2 * N_FORGET), classes].mean()
            - 1.5 * (target * log_p[N_FORGET:]).sum(dim=1).mean()
        )
        loss.backward()
        optimizer.step()
    unlearner = unlearn(
        module,
        y=y.numpy(),
        make=Everyone,
        forget_weight=0.7,
        retain_weight=0.4,
        distill_weight=1.5,
        freeze_batchnorm=freeze_batchnorm,
        optimizer=None,
        lr=0.01,
        max_epochs=4,
    )
    for name, value in expected.state_dict().items():
        actual = unlearner.net_.module_.state_dict()[name]
        np.testing.assert_allclose(actual, value, rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("batch_size", [1000, 4])
def test_dataset(batch_size):
    dataset = TensorDataset(torch.tensor(X), torch.tensor(Y))
    params = {"batch_size": batch_size, "max_epochs": 3, "lr": 0.1}
    ours, theirs = unlearn(**params), unlearn(X=dataset, y=None, **params)
    for one, other in zip(
        ours.net_.module_.parameters(), theirs.net_.module_.parameters(), strict=True
    ):
        np.testing.assert_allclose(one.detach(), other.detach(), atol=1e-6)
    assert ours.n_active_ == theirs.n_active_


def test_original_network_is_unchanged():
    module = network()
    before = arrays(module)
    unlearner = unlearn(module, y=module(torch.tensor(X)).argmax(dim=1).numpy(), lr=0.1)
    assert changed(before, module) == []
    assert all(p.grad is None for p in module.parameters())
    # The hook that reads the embeddings is gone.
    modules = [*module.modules(), *unlearner.net_.module_.modules()]
    assert not any(m._forward_pre_hooks for m in modules)
