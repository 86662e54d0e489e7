import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax
from sklearn.frozen import FrozenEstimator
from skorch.callbacks import Callback
from tiny import arrays, changed, dropout_network, linear, linears, make_net, unlearn
from torch import nn

from sklunlearn import DUCKUnlearner

# Embeddings of two features, W x + b, and a head of three classes.
W, B = np.array([[1.0, 0.5], [-0.5, 1.0]]), np.array([0.1, -0.2])
V, C = np.array([[1.0, -1.0], [0.5, 0.0], [-1.0, 2.0]]), np.array([0.5, 0.3, -0.2])
X = np.array([[1.0, 0.0], [0.4, -0.7], [0.2, 0.1], [-0.4, 0.3], [0.0, 1.0], [0.7, 0.9]])
Y = np.array([0, 0, 1, 2, 2, 1])
MANY = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
MANY_Y = np.arange(40) % 4


class Recorder(DUCKUnlearner):
    """Keeps the rows of each step, with their targets, and what the step weighs the distance by."""

    def _prepare(self, net, forget, retain):
        super()._prepare(net, forget, retain)
        self.seen_, self.centroids_ = [], self._centroids
        self.targets_ = forget["target"].numpy()

    def _loss(self, module, forget, retain):
        x_retain = None if retain is None else retain.X.numpy()
        self.seen_.append((forget.X.numpy(), forget["target"].numpy(), x_retain))
        return super()._loss(module, forget, retain)


def cosine(u, v):
    return (u * v).sum(-1) / np.linalg.norm(u, axis=-1) / np.linalg.norm(v, axis=-1)


def targets_by_hand(embeddings, y, centroids):
    """Nearest centroid by the cosine, row by row; a class without a centroid has NaN."""
    targets = []
    for z, label in zip(embeddings, y, strict=True):
        others = [k for k in range(len(centroids)) if k != label and not np.isnan(centroids[k, 0])]
        targets.append(max(others, key=lambda k: cosine(z, centroids[k])))
    return np.array(targets)


def centroids_by_hand(embeddings, y, n_classes):
    return np.array(
        [
            embeddings[y == k].mean(axis=0)
            if (y == k).any()
            else np.full(embeddings.shape[1], np.nan)
            for k in range(n_classes)
        ]
    )


def run_by_hand(forget, steps, retain_weight, temperature):
    """Weights after steps (lr, weight of the distance) on all rows at once, and the losses."""
    w, b, v, c = W, B, V, C
    x, x_r, y_r = X[forget], np.delete(X, forget, axis=0), np.delete(Y, forget)
    centroids = centroids_by_hand(x_r @ w.T + b, y_r, 3)
    mu = centroids[targets_by_hand(x @ w.T + b, Y[forget], centroids)]
    losses = []
    for lr, pull in steps:
        z, z_r = x @ w.T + b, x_r @ w.T + b
        cos, size = cosine(z, mu)[:, None], np.linalg.norm(z, axis=1, keepdims=True)
        logits = (z_r @ v.T + c) / temperature
        log_p = log_softmax(logits, axis=1)[np.arange(len(y_r)), y_r]
        losses.append(pull * (1 - cos).mean() - retain_weight * log_p.mean())
        towards = mu / np.linalg.norm(mu, axis=1, keepdims=True)
        dz = -pull / len(x) * (towards - cos * z / size) / size
        error = softmax(logits, axis=1) - np.eye(3)[y_r]
        error *= retain_weight / (len(x_r) * temperature)
        dz = np.concatenate([dz, error @ v])
        w, b = w - lr * dz.T @ np.concatenate([x, x_r]), b - lr * dz.sum(axis=0)
        v, c = v - lr * error.T @ z_r, c - lr * error.sum(axis=0)
    return (w, b, v, c), losses


@pytest.mark.parametrize("as_dataset", [False, True])
@pytest.mark.parametrize(
    "params, steps",
    [
        ({}, [(0.3, 1.0)]),
        ({"forget_weight": 0.6, "retain_weight": 2.0}, [(0.3, 0.6)]),
        ({"temperature": 1.0}, [(0.3, 1.0)]),
        ({"retain_weight": 0.0}, [(0.3, 1.0)]),
        ({"retain_weight": 0.0, "tune_epochs": 4}, [(0.3, 1.0)]),
        ({"forget_weight": 0.0, "tune_epochs": 4}, [(0.3, 0.0)]),
        ({"ratio": 2}, [(0.3, 1.0)] * 3),
        ({"ratio": 1, "max_epochs": 2}, [(0.3, 1.0)] * 4),
        ({"tune_epochs": 2, "tune_lr": 0.8}, [(0.3, 1.0)] + [(0.8, 0.1)] * 2),
        (
            {"forget_weight": 3.0, "ratio": 1, "tune_epochs": 3, "tune_lr": 0.1},
            [(0.3, 3.0)] * 2 + [(0.1, 0.3)] * 3,
        ),
    ],
)
@pytest.mark.parametrize("forget", [[0], [0, 3], [0, 1]])
def test_steps(params, steps, as_dataset, forget):
    given = {"ratio": 0, "tune_epochs": 0, "temperature": 2.0, "retain_weight": 1.4, **params}
    unlearner = unlearn(
        DUCKUnlearner,
        linears((W, B), (V, C)),
        X,
        Y,
        forget,
        lr=0.3,
        stop_accuracy=None,
        as_dataset=as_dataset,
        **{"forget_weight": 1.0, **given},
    )
    expected, losses = run_by_hand(forget, steps, given["retain_weight"], given["temperature"])
    for actual, value in zip(arrays(unlearner.net_.module_).values(), expected, strict=True):
        np.testing.assert_allclose(actual, value, atol=3e-6)
    history = unlearner.history_[:, "batches", :, "train_loss"]
    np.testing.assert_allclose(np.concatenate(history), losses, rtol=1e-5)


def test_forget_term():
    # Embeddings are the rows themselves.
    x = [[1.0, 0.0], [1.0, 1.0], [0.0, 1.0], [1.0, 0.0]]
    unlearner = unlearn(
        Recorder,
        linears((np.eye(2), None), (np.zeros((3, 2)), None)),
        x,
        [1, 2, 0, 1],
        [0, 1],
        retain_weight=0.0,
        stop_accuracy=None,
        forget_weight=1.0,
        ratio=0,
    )
    np.testing.assert_array_equal(unlearner.centroids_, [[0, 1], [1, 0], [np.nan, np.nan]])
    # (1, 0) is of class 1 and has one other centroid; (1, 1) is as near to either.
    assert unlearner.targets_[0] == 0
    assert unlearner.history_[0, "train_loss"] == pytest.approx(0.646447, abs=1e-6)


@pytest.mark.parametrize("as_dataset", [False, True])
def test_targets_and_centroids_with_batchnorm_and_dropout(as_dataset):
    module = dropout_network()
    forget = (MANY_Y == 2) | (np.arange(40) % 5 == 0)  # all of class 2, and some of the others
    unlearner = unlearn(
        Recorder,
        module,
        MANY,
        MANY_Y,
        forget,
        lr=0.05,
        max_epochs=3,
        batch_size=4,
        stop_accuracy=None,
        ratio=1,
        tune_epochs=2,
        as_dataset=as_dataset,
    )
    before = arrays(module)
    hidden = MANY @ before["0.weight"].T + before["0.bias"]
    scale = np.sqrt(before["1.running_var"] + 1e-5)
    hidden = before["1.weight"] * (hidden - before["1.running_mean"]) / scale + before["1.bias"]
    embeddings = np.tanh(hidden)
    centroids = centroids_by_hand(embeddings[~forget], MANY_Y[~forget], 4)
    np.testing.assert_allclose(unlearner.centroids_, centroids, atol=1e-5)
    targets = targets_by_hand(embeddings[forget], MANY_Y[forget], centroids)
    np.testing.assert_array_equal(unlearner.targets_, targets)
    assert set(targets) == {0, 1, 3}
    assert (targets != MANY_Y[forget]).all()

    # A target stays with its row, in each epoch and in the second phase.
    of_row = {tuple(x): target for x, target in zip(MANY[forget], targets, strict=True)}
    assert len(unlearner.seen_) > 30
    for rows, seen, _ in unlearner.seen_:
        assert [of_row[tuple(x)] for x in rows] == list(seen)
    orders = {tuple(rows[:, 0]) for rows, _, _ in unlearner.seen_}
    assert len(orders) > 8


def test_original_is_as_it_was_and_no_hook_stays():
    module = dropout_network()
    before = arrays(module)

    class Failing(DUCKUnlearner):
        def _loss(self, module, forget, retain):
            modules.append(module)
            raise RuntimeError("no loss")

    class Ending(Callback):
        def on_epoch_end(self, net, **kwargs):
            raise KeyboardInterrupt

    modules, params = [], {"lr": 0.1, "stop_accuracy": None}
    one = unlearn(DUCKUnlearner, module, MANY, MANY_Y, range(9), **params, tune_epochs=1)
    other = unlearn(DUCKUnlearner, module, MANY, MANY_Y, range(9), **params, callbacks=[Ending()])
    with pytest.raises(RuntimeError, match="no loss"):
        unlearn(Failing, module, MANY, MANY_Y, range(9), **params)
    for hooked in [module, one.net_.module_, other.net_.module_, *modules]:
        for layer in hooked.modules():
            assert not layer._forward_pre_hooks and not layer._forward_hooks
    assert changed(before, module) == []
    assert one.fitted_.module_ is module


@pytest.mark.parametrize("cut, embed", [("1", lambda z: z), ("0", None), (None, np.tanh)])
def test_cut(cut, embed):
    module = nn.Sequential(linear(W, B), nn.Tanh(), linear(V, C)).eval()
    x = 3 * np.random.default_rng(0).normal(size=(60, 2)).astype(np.float32)
    y = np.arange(60) % 3
    unlearner = unlearn(Recorder, module, x, y, range(30), lr=0.1, cut=cut, stop_accuracy=None)
    embeddings = x if embed is None else embed(x @ W.T + B)
    centroids = centroids_by_hand(embeddings[30:], y[30:], 3)
    np.testing.assert_allclose(unlearner.centroids_, centroids, atol=1e-5)
    targets = targets_by_hand(embeddings[:30], y[:30], centroids)
    np.testing.assert_array_equal(unlearner.targets_, targets)


def test_unknown_cut():
    unlearner = DUCKUnlearner(FrozenEstimator(make_net(linears((W, B), (V, C)))), cut="head")
    unlearner.fit(X.astype(np.float32), Y)
    net = unlearner.net_
    with pytest.raises(ValueError, match=r"cut='head' is not a submodule .* \['0', '1'\]"):
        unlearner.unlearn(X, Y, forget=[0])
    assert unlearner.net_ is net and unlearner.records_ == []


def test_embeddings_of_zero():
    # All units are off for the second row and for the centroid of class 1.
    module = nn.Sequential(linear(np.eye(2), [0.0, 0.0]), nn.ReLU(), linear(V, C)).eval()
    x = [[1.0, 0.5], [-1.0, -2.0], [-1.0, -1.0], [0.5, 1.0]]
    unlearner = unlearn(
        Recorder,
        module,
        x,
        [0, 0, 1, 2],
        [0, 1],
        lr=0.1,
        ratio=0,
        retain_weight=0.0,
        forget_weight=1.0,
        stop_accuracy=None,
    )
    # A row of zeros is at distance 1 from all, and has no direction to go.
    mu = np.array([0.5, 1.0])
    cos = cosine(np.array([1.0, 0.5]), mu)
    assert unlearner.targets_[0] == 2
    assert unlearner.history_[0, "train_loss"] == pytest.approx((1 - cos + 1) / 2, rel=1e-6)
    size = np.linalg.norm(mu)  # that of the first row too
    step = 0.1 / 2 * (mu / size - cos * np.array([1.0, 0.5]) / size) / size
    np.testing.assert_allclose(arrays(unlearner.net_.module_)["0.bias"], step, atol=1e-6)


@pytest.mark.parametrize("ratio", [0, 1, 3])
def test_number_of_steps(ratio):
    # 9 forget rows in batches of 4, 31 retain rows.
    unlearner = unlearn(
        Recorder,
        linears((np.ones((4, 3)), np.zeros(4))),
        MANY,
        MANY_Y,
        range(9),
        lr=0.01,
        batch_size=4,
        max_epochs=2,
        ratio=ratio,
        tune_epochs=2,
        stop_accuracy=None,
    )
    n_steps = 3 * (ratio + 1)
    assert unlearner.history_[:, "train_batch_count"] == [n_steps, n_steps, 8, 8]
    first, second = unlearner.seen_[: 2 * n_steps], unlearner.seen_[2 * n_steps :]
    for i in range(0, len(first), ratio + 1):
        group = first[i : i + ratio + 1]
        for rows, _, _ in group:
            np.testing.assert_array_equal(rows, group[0][0])
        # Each step has other retain rows.
        assert len({tuple(x) for _, _, rows in group for x in rows}) >= 3 * (ratio + 1)
    for epoch in (first[:n_steps], first[n_steps:]):
        rows = np.concatenate([epoch[i][0] for i in range(0, n_steps, ratio + 1)])
        assert sorted(map(tuple, rows)) == sorted(map(tuple, MANY[:9]))
    for epoch in (second[:8], second[8:]):
        rows = np.concatenate([rows for _, _, rows in epoch])
        assert sorted(map(tuple, rows)) == sorted(map(tuple, MANY[9:]))
        rows = np.concatenate([rows for rows, _, _ in epoch])
        assert {tuple(x) for x in rows} == set(map(tuple, MANY[:9]))


@pytest.mark.parametrize("tune_epochs", [0, 3])
@pytest.mark.parametrize("stop_accuracy", [0.0, None])
def test_stop_accuracy_leads_to_the_second_phase(tune_epochs, stop_accuracy):
    # The row of class 0 moves from (1, 0) toward the centroid (0, 1) of class 1.
    module = linears((np.eye(2), None), (np.eye(2), None))
    x, y = np.array([[1.0, 0.0], [0.0, 1.0]]), [0, 1]
    unlearner = unlearn(
        DUCKUnlearner,
        module,
        x,
        y,
        [0],
        lr=0.25,
        max_epochs=40,
        ratio=0,
        forget_weight=1.0,
        retain_weight=1e-9,
        stop_accuracy=stop_accuracy,
        tune_epochs=tune_epochs,
        tune_lr=0.01,
    )
    z, accuracies = np.array([1.0, 0.0]), []
    while not accuracies or accuracies[-1] > 0:
        cos, size = z[1] / np.linalg.norm(z), np.linalg.norm(z)
        z = z + 0.25 * (np.array([0.0, 1.0]) - cos * z / size) / size
        accuracies.append(float(z[0] >= z[1]))
    n_epochs = len(accuracies) if stop_accuracy is not None else 40
    assert 3 < len(accuracies) < 40
    assert len(unlearner.history_) == n_epochs + tune_epochs
    assert unlearner.score(x[:1], y[:1]) == 0.0


def test_learning_rates():
    rates = []

    class Rates(Callback):
        def on_batch_begin(self, net, **kwargs):
            rates.append((net.optimizer_.param_groups[0]["lr"], type(net.optimizer_)))

    unlearner = unlearn(
        DUCKUnlearner,
        linears((W, B), (V, C)),
        X,
        Y,
        [0, 1],
        optimizer=torch.optim.Adam,
        lr=0.02,
        ratio=2,
        tune_epochs=2,
        tune_lr=0.003,
        stop_accuracy=None,
        callbacks=[Rates()],
    )
    assert rates == [(0.02, torch.optim.Adam)] * 3 + [(0.003, torch.optim.Adam)] * 2
    assert unlearner.lr == 0.02
    assert unlearner.net_.lr == unlearner.fitted_.lr


def test_two_classes():
    # Each row has one other centroid.
    y = [0, 1, 0, 1, 1, 0]
    unlearner = unlearn(Recorder, linears((V[:2], None)), X, y, [0, 1], lr=0.1, stop_accuracy=None)
    np.testing.assert_array_equal(unlearner.targets_, [1, 0])


@pytest.mark.parametrize("n_classes, y", [(2, [0, 0, 1, 1]), (3, [0, 1, 1, 1])])
def test_no_other_centroid(n_classes, y):
    with pytest.raises(ValueError, match="of the only class that is retained"):
        unlearn(
            DUCKUnlearner,
            linears((V[:n_classes], None)),
            X[:4],
            y,
            [0, 1, 2],
            stop_accuracy=None,
        )


def test_images():
    # What enters the head is flattened before; the cut can be where it is not yet.
    module = nn.Sequential(nn.Conv2d(1, 2, 2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(generator=generator)
    x = np.random.default_rng(0).normal(size=(12, 1, 3, 3)).astype(np.float32)
    y = np.arange(12) % 3
    before = unlearn(
        Recorder, module.eval(), x, y, range(4), lr=0.1, stop_accuracy=None, cut="2", max_epochs=0
    )
    hidden = module[:3](torch.tensor(x)).detach().numpy()
    centroids = centroids_by_hand(hidden[4:], y[4:], 3)
    np.testing.assert_allclose(before.centroids_, centroids, atol=1e-5)


def test_nothing_that_the_loss_depends_on():
    with pytest.raises(ValueError, match="The loss of DUCKUnlearner does not depend on any"):
        unlearn(
            DUCKUnlearner, linears((W, B), (V, C)), X, Y, [0], trainable="head", retain_weight=0
        )
