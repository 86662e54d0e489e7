import numpy as np
import pytest
import tiny
import torch
from scipy.special import log_softmax, softmax
from tiny import arrays, changed
from torch import nn
from torch.utils.data import TensorDataset

from sklunlearn import AMUNUnlearner

# Two classes: the boundary is the line 3 x + 4 y = 1, of unit normal (0.6, 0.8).
WEIGHT, BIAS = np.array([[1.5, 2.0], [-1.5, -2.0]]), np.array([-0.5, 0.5])
X = np.array(
    [[1.0, 0.5], [-1.1, -0.1], [0.3, 0.8], [-0.2, 0.1], [0.9, -0.7], [-0.8, 0.2], [0.4, 0.3]],
    dtype=np.float32,
)
Y = (3 * X[:, 0] + 4 * X[:, 1] < 1).astype(int)
FORGET, RETAIN = [0, 1, 2], [3, 4, 5, 6]


def linear(weight=WEIGHT, bias=BIAS):
    return nn.Sequential(nn.Flatten(), tiny.linear(weight, bias))


def unlearn(module=None, X=X, y=Y, forget=FORGET, make=AMUNUnlearner, **params):
    """Forget rows; without `params`, by one step of SGD."""
    params = {"radius": 0.01, "clip": None, **params}
    return tiny.unlearn(make, module or linear(), X, y, forget, **params)


def steps(unlearner):
    """Change of the weights and the bias of the linear network."""
    head = unlearner.net_.module_[1]
    return head.weight.detach().numpy() - WEIGHT, head.bias.detach().numpy() - BIAS


class Recorder(AMUNUnlearner):
    """Keeps the rows that take part, in order, and those of each step."""

    def _prepare(self, net, forget, retain):
        rows = super()._prepare(net, forget, retain)
        self.pool_ = rows[0].take_X(np.arange(len(rows[0]))).numpy(), rows[0].y.numpy()
        self.seen_ = []
        return rows

    def _loss(self, module, forget, retain):
        self.seen_.append([(b.X.numpy(), b.y.numpy()) for b in (forget, retain)])
        return super()._loss(module, forget, retain)


def adversarial(*args, **params):
    """Points that were found for the forget rows, their labels and their distances."""
    unlearner = unlearn(*args, make=Recorder, keep_forget=False, **params)
    return *unlearner.pool_, unlearner.distances_


def exact_distances(rows):
    """To the boundary, of forget rows, in units of the search."""
    scale = X[RETAIN].std(axis=0) * np.sqrt(2)
    return np.abs(X[rows] @ [3, 4] - 1) / np.linalg.norm([3, 4] * scale)


# One step, by hand.


@pytest.mark.parametrize("retain_weight", [0.0, 0.4, 1.0, 3.0])
@pytest.mark.parametrize("keep_forget", [True, False])
def test_one_step(retain_weight, keep_forget):
    std = X[RETAIN].astype(np.float64).std(axis=0)
    u = np.array([3.0, 4.0]) * std
    sign = np.where(Y[FORGET] == 0, -1, 1)[:, None]
    found = X[FORGET] + sign * 1.5 * np.sqrt(2) * std * u / np.linalg.norm(u)

    points, targets = [*found], [*(1 - Y[FORGET])]
    if keep_forget:
        points, targets = [*points, *X[FORGET]], [*targets, *Y[FORGET]]
    weights = [1.0] * len(points)
    if retain_weight:
        points, targets = [*points, *X[RETAIN]], [*targets, *Y[RETAIN]]
        weights += [retain_weight] * len(RETAIN)
    points, weights = np.array(points, dtype=np.float64), np.array(weights)[:, None]
    logits = points @ WEIGHT.T + BIAS
    errors = weights * (softmax(logits, axis=1) - np.eye(2)[targets]) / len(points)
    losses = -weights[:, 0] * log_softmax(logits, axis=1)[np.arange(len(points)), targets]

    unlearner = unlearn(retain_weight=retain_weight, keep_forget=keep_forget, radius=15.0, lr=0.7)
    weight_step, bias_step = steps(unlearner)
    np.testing.assert_allclose(weight_step, -0.7 * errors.T @ points, atol=2e-6)
    np.testing.assert_allclose(bias_step, -0.7 * errors.sum(axis=0), atol=2e-6)
    assert unlearner.history_[0, "train_loss"] == pytest.approx(losses.mean(), rel=1e-5)
    np.testing.assert_allclose(unlearner.distances_, 1.5, rtol=1e-5)


# Adversarial examples


@pytest.mark.parametrize("radius", [0.001, 0.02])
def test_adversarial_examples_are_just_across_the_boundary(radius):
    found, labels, distances = adversarial(radius=radius)
    np.testing.assert_array_equal(labels, 1 - Y[FORGET])
    np.testing.assert_array_equal((found @ WEIGHT.T + BIAS).argmax(axis=1), labels)
    exact = exact_distances(FORGET)
    assert (distances > exact).all() and (distances < 1.2 * exact).all()


def test_distances_are_root_mean_squares_in_standard_deviations_of_the_retain_rows():
    found, _, distances = adversarial()
    moved = (found - X[FORGET]) / X[RETAIN].std(axis=0)
    np.testing.assert_allclose(distances, np.sqrt(np.mean(moved**2, axis=1)), rtol=1e-4)


def test_misclassified_rows_stand_for_themselves():
    y = Y.copy()
    y[[0, 4]] = 1 - y[[0, 4]]
    found, labels, distances = adversarial(y=y)
    np.testing.assert_array_equal(distances > 0, [False, True, True])
    np.testing.assert_array_equal(found[0], X[0])
    assert labels[0] == Y[0]  # what the network says there


def test_network_that_says_the_same_everywhere():
    unlearner = unlearn(
        linear(np.zeros((2, 2)), [0.1, 0.0]), y=0 * Y, make=Recorder, max_doublings=5
    )
    found, labels = unlearner.pool_
    np.testing.assert_array_equal(found, X[FORGET + FORGET])
    np.testing.assert_array_equal(labels, 0)
    np.testing.assert_array_equal(unlearner.distances_, 0)
    assert torch.isfinite(unlearner.net_.module_[1].weight).all()


@pytest.mark.parametrize("max_doublings, n_found", [(0, 0), (2, 2), (20, 3)])
def test_number_of_doublings(max_doublings, n_found):
    assert (exact_distances(FORGET) < 0.3 * 2**max_doublings).sum() == n_found
    _, _, distances = adversarial(radius=0.3, max_doublings=max_doublings)
    assert (distances > 0).sum() == n_found


def test_number_of_steps_at_each_radius():
    # One step of a tenth of each radius: 0.01 + 0.02 + 0.04 + ...
    _, _, distances = adversarial(radius=0.1, max_steps=1)
    np.testing.assert_allclose(np.log2(distances / 0.01 + 1) % 1, 0, atol=1e-4)


@pytest.mark.parametrize("clip", ["data", (-0.2, 0.4), [-0.2, 0.4]])
def test_clip(clip):
    low, high = (-0.2, 0.4)
    if clip == "data":
        low, high = X[RETAIN].min(axis=0), X[RETAIN].max(axis=0)

    def in_range(found):
        # What lies outside already may stay there.
        below, above = np.minimum(X[FORGET], low), np.maximum(X[FORGET], high)
        return ((below <= found) & (found <= above)).all()

    assert not in_range(adversarial(clip=None)[0])
    found, labels, _ = adversarial(clip=clip)
    assert in_range(found)
    np.testing.assert_array_equal(labels, 1 - Y[FORGET])


@pytest.mark.parametrize("clip", [(1,), (0, 1, 2), (1, 0), (float("nan"), 1), "feature", 3])
def test_wrong_clip(clip):
    with pytest.raises(ValueError, match="clip"):
        unlearn(clip=clip)


# What the network is trained on


@pytest.mark.parametrize("keep_forget", [True, False])
@pytest.mark.parametrize("retain_weight", [0, 1.0])
def test_rows_of_an_epoch(keep_forget, retain_weight):
    params = {"keep_forget": keep_forget, "retain_weight": retain_weight, "batch_size": 2}
    seen = unlearn(make=Recorder, max_epochs=2, lr=0.01, **params).seen_
    n_forget, n_retain = 6 if keep_forget else 3, 4 if retain_weight else 0
    n_steps = (n_forget + n_retain + 1) // 2
    assert len(seen) == 2 * n_steps
    for epoch in (seen[:n_steps], seen[n_steps:]):
        forget, retain = (
            {(*x, label) for step in epoch for x, label in zip(*step[i], strict=True)}
            for i in (0, 1)
        )
        assert len(forget) == n_forget and len(retain) == n_retain
        given = {(*x, label) for x, label in zip(X[FORGET], Y[FORGET], strict=True)}
        # Forget rows occur with their true labels, or not at all.
        assert forget & given == (given if keep_forget else set())
        if retain_weight:
            assert retain == {(*x, label) for x, label in zip(X[RETAIN], Y[RETAIN], strict=True)}


def test_nothing_need_be_retained_with_weight_zero():
    unlearner = unlearn(make=Recorder, forget=range(7), retain_weight=0)
    assert (unlearner.distances_ > 0).all()
    [((found, _), (retained, _))] = unlearner.seen_
    assert found.shape == (14, 2) and len(retained) == 0
    with pytest.raises(ValueError, match="retain"):
        unlearn(forget=range(7))


@pytest.mark.parametrize("clip", ["data", None])
def test_one_forget_row(clip):
    found, labels, distances = adversarial(forget=[2], clip=clip)
    assert found.shape == (1, 2) and labels == [1] and distances.shape == (1,)
    assert distances > 0


# Units


def test_constant_feature_is_not_moved():
    wide = np.column_stack([X, np.full(7, 2.5)]).astype(np.float32)
    weight = np.column_stack([WEIGHT, [5.0, -5.0]])
    found, _, distances = adversarial(linear(weight, BIAS - [12.5, -12.5]), X=wide)
    np.testing.assert_array_equal(found[:, 2], 2.5)
    assert (distances > 0).all()


def test_search_does_not_depend_on_the_units_of_a_feature():
    factor = np.array([8.0, 0.25], dtype=np.float32)
    shifted = X * factor + np.array([16, -1], dtype=np.float32)
    weight = WEIGHT / factor
    bias = BIAS - weight @ [16, -1]
    one, _, distances = adversarial(clip="data")
    other, _, rescaled = adversarial(linear(weight, bias), X=shifted, clip="data")
    np.testing.assert_allclose(distances, rescaled, rtol=1e-4)
    np.testing.assert_allclose(other, one * factor + [16, -1], rtol=1e-4, atol=1e-5)


def test_images():
    rng = np.random.default_rng(0)
    images = rng.normal(size=(8, 2, 2, 3)) * np.reshape([1.0, 5.0], (2, 1, 1))
    images = images.astype(np.float32)
    weight, bias = rng.normal(size=(2, 12)), np.zeros(2)
    y = (images.reshape(8, 12) @ weight.T).argmax(axis=1)
    unlearner = unlearn(linear(weight, bias), X=images, y=y, forget=[1, 4])
    std = images[[0, 2, 3, 5, 6, 7]].transpose(1, 0, 2, 3).reshape(2, -1).std(axis=1)
    normal = (weight[0] - weight[1]).reshape(2, 6) * std[:, None]
    margin = np.abs(images[[1, 4]].reshape(2, 12) @ (weight[0] - weight[1]))
    exact = margin / np.linalg.norm(normal) / np.sqrt(12)
    assert (unlearner.distances_ > exact).all() and (unlearner.distances_ < 1.2 * exact).all()


# Whole runs


def test_dataset():
    dataset = TensorDataset(torch.tensor(X), torch.tensor(Y))
    ours, theirs = unlearn(clip="data"), unlearn(X=dataset, y=None, clip="data")
    for one, other in zip(steps(ours), steps(theirs), strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(ours.distances_, theirs.distances_)


def test_original_network_is_unchanged():
    module = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 2))
    before = arrays(module)
    unlearner = unlearn(module, lr=0.1, max_epochs=3)
    assert changed(before, module) == []
    assert all(p.requires_grad and p.grad is None for p in module.parameters())
    assert "1.running_mean" in changed(before, unlearner.net_.module_)


def test_confidence_about_the_forget_rows_falls_and_labels_stay():
    unlearner = unlearn(lr=0.1, max_epochs=50)
    before = softmax(X @ WEIGHT.T + BIAS, axis=1)[np.arange(7), Y]
    after = unlearner.predict_proba(X)[np.arange(7), Y]
    assert after[FORGET].mean() < before[FORGET].mean() - 0.005
    np.testing.assert_array_equal(unlearner.predict(X), Y)
