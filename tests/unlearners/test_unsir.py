import numpy as np
import pytest
import tiny
import torch
from scipy.special import log_softmax, softmax
from tiny import arrays, changed
from torch import nn
from torch.utils.data import TensorDataset

from sklunlearn import UNSIRUnlearner

WEIGHT = np.array([[1.0, -1.0], [0.5, 2.0], [-1.0, 0.3], [0.2, -0.7]])
BIAS = np.array([0.1, 0.0, -0.3, 0.2])
N_CLASSES = 4


def make_data(n=24):
    """As many rows of each class."""
    rng = np.random.default_rng(0)
    X = rng.normal([3.0, -1.0], [2.0, 0.5], size=(n, 2)).astype(np.float32)
    return X, np.arange(n) % N_CLASSES


X, Y = make_data()


def linear():
    return nn.Sequential(nn.Flatten(), tiny.linear(WEIGHT, BIAS))


def unlearn(module=None, X=X, y=Y, forget=(2,), make=UNSIRUnlearner, **params):
    """Forget classes; without `params`, by small steps."""
    defaults = {"n_noise": 3, "noise_copies": 2, "lr": 0.5, "repair_lr": 0.1, "repair_epochs": 1}
    forget = np.isin(Y if y is None else y, forget)
    return tiny.unlearn(make, module or linear(), X, y, forget, **{**defaults, **params})


class Recorder(UNSIRUnlearner):
    """Keeps the rows and the learning rate of each step."""

    def _begin(self, net):
        self.run_ = super()._begin(net)
        self.seen_ = []
        return self.run_

    def _loss(self, module, forget, retain):
        rows = [(b.X.numpy(), b.y.numpy()) for b in (forget, retain)]
        self.seen_.append((*rows, self.run_.optimizer_.param_groups[0]["lr"]))
        return super()._loss(module, forget, retain)


def noise_of(**params):
    """Noise samples in the order in which they were drawn, a class after the other, and labels."""

    class Noise(UNSIRUnlearner):
        def _learn_noise(self, net, labels, retain):
            self.noise_ = super()._learn_noise(net, labels, retain), labels.numpy()
            return self.noise_[0]

    return unlearn(make=Noise, **params).noise_


def retain_statistics(forget=(2,), X=X):
    retained = X[~np.isin(Y, forget)].astype(np.float64)
    axes = (0, *range(2, X.ndim))
    return retained.mean(axis=axes), retained.std(axis=axes)


# Noise


def test_noise_before_it_is_learned():
    # Standard normal in units of the standard deviations of the retain rows, about their mean.
    noise, labels = noise_of(n_noise=5000, noise_steps=0)
    mean, std = retain_statistics()
    assert noise.shape == (5000, 2) and noise.dtype == np.float32
    np.testing.assert_array_equal(labels, 2)
    u = (noise - mean) / std
    np.testing.assert_allclose(u.mean(axis=0), 0, atol=0.05)
    np.testing.assert_allclose(np.cov(u.T), np.eye(2), atol=0.05)


@pytest.mark.parametrize("noise_weight", [0.0, 0.1, 2.0])
@pytest.mark.parametrize("noise_lr", [0.1, 0.03])
@pytest.mark.parametrize("n_steps", [1, 5])
def test_steps_of_the_noise(noise_weight, noise_lr, n_steps):
    params = {"forget": (1, 2), "noise_weight": noise_weight, "noise_lr": noise_lr}
    (start, _), (end, labels) = (noise_of(noise_steps=n, **params) for n in (0, n_steps))
    mean, std = retain_statistics((1, 2))
    N, first, second = (start - mean) / std, 0.0, 0.0
    for t in range(1, n_steps + 1):
        errors = softmax((mean + std * N) @ WEIGHT.T + BIAS, axis=1) - np.eye(N_CLASSES)[labels]
        gradient = (2 * noise_weight * N - errors @ WEIGHT * std) / len(N)
        # Adam
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        m, v = first / (1 - 0.9**t), second / (1 - 0.999**t)
        N = N - noise_lr * m / (np.sqrt(v) + 1e-8)
    np.testing.assert_allclose(end, mean + std * N, atol=1e-4)


def test_noise_is_not_taken_for_the_classes_to_forget():
    params = {"forget": (0, 1), "n_noise": 20, "noise_weight": 0.1}
    (start, _), (end, labels) = (noise_of(noise_steps=n, **params) for n in (0, 40))
    mean, std = retain_statistics((0, 1))

    def objective(noise):
        log_p = log_softmax(noise @ WEIGHT.T + BIAS, axis=1)[np.arange(len(noise)), labels]
        size = (((noise - mean) / std) ** 2).sum(axis=1)
        return log_p.mean() + 0.1 * size.mean()

    assert objective(end) < objective(start) - 1
    start, end = ((noise @ WEIGHT.T + BIAS).argmax(axis=1) == labels for noise in (start, end))
    assert start.mean() > 0.3 and end.mean() < 0.1


@pytest.mark.parametrize("forget", [(0,), (2, 3), (1, 3, 0)])
def test_labels_of_the_noise(forget):
    unlearner = unlearn(make=Recorder, forget=forget, n_noise=3, noise_copies=4)
    (noise, labels), _, _ = unlearner.seen_[0]
    assert noise.shape == (12 * len(forget), 2)
    np.testing.assert_array_equal(
        np.unique(labels, return_counts=True), [sorted(forget), [12] * len(forget)]
    )
    # Each sample occurs four times, always with the same label.
    samples, counts = np.unique(np.column_stack([noise, labels]), axis=0, return_counts=True)
    assert len(samples) == 3 * len(forget)
    np.testing.assert_array_equal(counts, 4)


def test_as_many_noise_samples_as_rows_in_a_batch():
    noise, labels = noise_of(n_noise=None, batch_size=7, forget=(0, 3))
    assert noise.shape == (14, 2)
    np.testing.assert_array_equal(labels, [0] * 7 + [3] * 7)


def test_noise_of_images():
    rng = np.random.default_rng(0)
    loc, scale = np.reshape([5.0, -2.0], (2, 1, 1)), np.reshape([1.0, 9.0], (2, 1, 1))
    images = rng.normal(loc, scale, size=(24, 2, 3, 4)).astype(np.float32)
    module = nn.Sequential(nn.Flatten(), nn.Linear(24, N_CLASSES))
    noise, _ = noise_of(module=module, X=images, n_noise=800, noise_steps=0)
    assert noise.shape == (800, 2, 3, 4)
    mean, std = retain_statistics(X=images)
    np.testing.assert_allclose(noise.mean(axis=(0, 2, 3)), mean, atol=0.05 * std.max())
    np.testing.assert_allclose(noise.std(axis=(0, 2, 3)), std, rtol=0.03)


# Impairing and repairing, by hand


def descend(weight, bias, points, targets, lr):
    """One step of gradient descent; the weights, the bias and the loss before it."""
    logits = points @ weight.T + bias
    errors = (softmax(logits, axis=1) - np.eye(N_CLASSES)[targets]) / len(points)
    loss = -log_softmax(logits, axis=1)[np.arange(len(points)), targets].mean()
    return weight - lr * errors.T @ points, bias - lr * errors.sum(axis=0), loss


@pytest.mark.parametrize("lr, repair_lr", [(0.5, 0.1), (0.02, 0.3)])
@pytest.mark.parametrize("max_epochs, repair_epochs", [(1, 1), (1, 0), (0, 1), (2, 3)])
def test_impair_and_repair(lr, repair_lr, max_epochs, repair_epochs):
    params = {"max_epochs": max_epochs, "repair_epochs": repair_epochs}
    noise, labels = noise_of(forget=(1, 2), lr=lr, repair_lr=repair_lr, **params)
    retained = ~np.isin(Y, (1, 2))
    X_retain, y_retain = X[retained].astype(np.float64), Y[retained]
    points = np.concatenate([noise, noise, X_retain])  # two copies
    targets = np.concatenate([labels, labels, y_retain])
    weight, bias, losses = WEIGHT, BIAS, []
    for _ in range(max_epochs):
        weight, bias, loss = descend(weight, bias, points, targets, lr)
        losses.append(loss)
    for _ in range(repair_epochs):
        weight, bias, loss = descend(weight, bias, X_retain, y_retain, repair_lr)
        losses.append(loss)

    unlearner = unlearn(forget=(1, 2), lr=lr, repair_lr=repair_lr, **params)
    head = unlearner.net_.module_[1]
    np.testing.assert_allclose(head.weight.detach(), weight, atol=1e-5)
    np.testing.assert_allclose(head.bias.detach(), bias, atol=1e-5)
    np.testing.assert_allclose(unlearner.history_[:, "train_loss"], losses, rtol=1e-4)


def test_optimizer_is_fresh_in_the_repair():
    # Without it, the momentum of the impairment would go on.
    params = {"optimizer": None, "max_epochs": 3}
    impaired = unlearn(repair_epochs=0, **params).net_.module_[1]
    weight, bias = (p.detach().numpy().astype(np.float64) for p in impaired.parameters())
    weight, bias, _ = descend(weight, bias, X[Y != 2].astype(np.float64), Y[Y != 2], 0.1)
    repaired = unlearn(repair_epochs=1, **params).net_.module_[1]
    np.testing.assert_allclose(repaired.weight.detach(), weight, atol=1e-5)
    np.testing.assert_allclose(repaired.bias.detach(), bias, atol=1e-5)


def test_steps_and_learning_rates():
    # 2 * 3 noise samples, twice, and 12 retain rows are 5 batches of 5 or 4; 12 alone are 3 of 4.
    unlearner = unlearn(
        make=Recorder, forget=(1, 2), batch_size=5, max_epochs=2, repair_epochs=3, lr=0.01
    )
    sizes = [(len(noise), len(retain), lr) for (noise, _), (retain, _), lr in unlearner.seen_]
    impair, repair = sizes[:10], sizes[10:]
    for epoch in (impair[:5], impair[5:]):
        assert sum(n for n, _, _ in epoch) == sum(n for _, n, _ in epoch) == 12
        assert all(abs(n - m) <= 1 and 4 <= n + m <= 5 and lr == 0.01 for n, m, lr in epoch)
    assert repair == [(0, 4, 0.1)] * 9
    assert unlearner.history_[:, "epoch"] == [1, 2, 3, 4, 5]
    np.testing.assert_array_equal(unlearner.history_[:, "train_batch_count"], [5, 5, 3, 3, 3])


def test_fresh_optimizer_is_no_news(capsys):
    unlearn(net_params={"callbacks__print_log": None}, verbose=2)
    assert capsys.readouterr().out == ""


# Retain rows


@pytest.mark.parametrize("max_retain, n_expected", [(1, 1), (4, 4), (6, 6), (100, 6)])
def test_retain_rows_of_each_class(max_retain, n_expected):
    seen = unlearn(
        make=Recorder, max_retain=max_retain, repair_epochs=2, batch_size=4, lr=0.01
    ).seen_
    n_steps = -(-(6 + 3 * n_expected) // 4)
    middle = (n_steps + len(seen)) // 2
    epochs = seen[:n_steps], seen[n_steps:middle], seen[middle:]
    given = {(*x, label) for x, label in zip(X, Y, strict=True) if label != 2}
    taken = []
    for epoch in epochs:
        rows = [(*x, k) for _, (x_, y_), _ in epoch for x, k in zip(x_, y_, strict=True)]
        assert len(rows) == len(set(rows)) == 3 * n_expected
        assert set(rows) <= given
        np.testing.assert_array_equal(
            np.unique([row[-1] for row in rows], return_counts=True), [[0, 1, 3], [n_expected] * 3]
        )
        taken.append(set(rows))
    assert taken[0] == taken[1] == taken[2]


def test_retain_rows_are_drawn_at_random():
    drawn = set()
    for seed in range(5):
        seen = unlearn(make=Recorder, max_retain=1, random_state=seed).seen_
        drawn.add(tuple(np.sort(seen[-1][1][0][:, 0])))
    assert len(drawn) > 2


# The request


def test_forget_rows_are_not_looked_at():
    other = X.copy()
    other[Y == 2] = 1e6
    one, other = unlearn(), unlearn(X=other)
    assert changed(arrays(one.net_.module_), other.net_.module_) == []
    assert one.history_[:, "train_loss"] == other.history_[:, "train_loss"]


@pytest.mark.parametrize("forget", [[0], [2, 6], range(10)])
def test_request_of_other_rows_than_whole_classes(forget):
    unlearner = unlearn(forget=(1,))
    before = arrays(unlearner.net_.module_)
    with pytest.raises(ValueError, match=r"forgets whole classes.*mark all rows"):
        unlearner.unlearn(X, Y, forget=forget)
    assert changed(before, unlearner.net_.module_) == []
    assert len(unlearner.records_) == 1 and len(unlearner.history_) == 2


def test_class_of_one_row():
    y = np.where(np.arange(24) == 5, 3, Y % 3)
    (noise, labels), (retain, _), _ = unlearn(y=y, forget=(3,), make=Recorder).seen_[0]
    assert labels.tolist() == [3] * 6
    assert len(noise) == 6 and len(retain) == 23


def test_dataset():
    dataset = TensorDataset(torch.tensor(X), torch.tensor(Y))
    ours, theirs = unlearn(forget=(1, 2)), unlearn(X=dataset, y=None, forget=(1, 2))
    assert changed(arrays(ours.net_.module_), theirs.net_.module_) == []


def test_original_network_is_unchanged():
    module = nn.Sequential(
        nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Dropout(), nn.Linear(4, N_CLASSES)
    )
    module.train()
    before = arrays(module)
    unlearner = unlearn(module, noise_steps=10)
    assert changed(before, module) == []
    assert all(p.requires_grad and p.grad is None for p in module.parameters())
    assert "1.running_mean" in changed(before, unlearner.net_.module_)


def test_noise_is_learned_in_evaluation_mode():
    module = nn.Sequential(linear(), nn.Dropout(0.9))
    module.train()
    mean, std = retain_statistics()
    (start, _), (end, labels) = (noise_of(module=module, noise_steps=n) for n in (0, 1))
    # A step of Adam is a sign: that of the gradient without any input dropped.
    N = (start - mean) / std
    errors = softmax(start @ WEIGHT.T + BIAS, axis=1) - np.eye(N_CLASSES)[labels]
    gradient = 0.2 * N - errors @ WEIGHT * std
    np.testing.assert_allclose((end - start) / std, -0.1 * np.sign(gradient), atol=1e-3)
