import copy

import numpy as np
import pytest
import torch
from torch import nn

from sklunlearn.attacks import nearest_adversarial

# Two classes: the boundary is the line 3 x + 4 y = 1, of unit normal (0.6, 0.8).
WEIGHT, BIAS = np.array([[1.5, 2.0], [-1.5, -2.0]]), np.array([-0.5, 0.5])
# Distances to it 0.766, 0.392, 2.984, 0.0008; the first two are of class 0, the others of class 1.
ROWS = np.array([[1.0, 0.4575], [0.2, 0.59], [-2.0, -1.98], [0.1, 0.174]])
NORMALS = np.array([[-0.6, -0.8]] * 2 + [[0.6, 0.8]] * 2)
CLASSES = np.array([0, 0, 1, 1])


def linear(weight=WEIGHT, bias=BIAS):
    module = nn.Linear(weight.shape[1], weight.shape[0])
    module.weight.data, module.bias.data = torch.tensor(weight), torch.tensor(bias)
    return module


def search(X=ROWS, y=CLASSES, module=None, **params):
    """In double precision, as arrays."""
    module = linear() if module is None else module
    params = {"radius": 0.01, **params}
    found = nearest_adversarial(module, torch.tensor(X), torch.tensor(y), **params)
    return [part.detach().numpy() for part in found]


def logits(X, weight=WEIGHT, bias=BIAS):
    return X @ weight.T + bias


def exact_distances(X):
    return np.abs(3 * X[:, 0] + 4 * X[:, 1] - 1) / 5


# Near the boundary


@pytest.mark.parametrize("radius", [1e-4, 0.01, 0.05])
def test_points_are_just_across_the_boundary(radius):
    X, labels, distances = search(radius=radius, max_steps=50)
    np.testing.assert_array_equal(labels, 1 - CLASSES)
    np.testing.assert_array_equal(logits(X).argmax(axis=1), labels)
    np.testing.assert_allclose(distances, np.linalg.norm(X - ROWS, axis=1), rtol=1e-9)
    # The way is straight, so that only the last step, a tenth of the radius, goes too far.
    exact = exact_distances(ROWS)
    assert (distances > exact).all()
    assert (distances <= np.maximum(1.2 * exact, exact + radius / 10)).all()
    np.testing.assert_allclose(X - ROWS, distances[:, None] * NORMALS, atol=1e-9)


@pytest.mark.parametrize(
    ("row", "radius", "max_steps", "expected"),
    [
        (0, 1.0, 50, 8 * 0.1),
        # Four steps within 0.5, four within 1, one within 2.
        (0, 0.5, 4, 4 * 0.05 + 4 * 0.1 + 0.2),
        # Ten steps fill 0.5, and ten more go nowhere.
        (0, 0.5, 20, 0.5 + 3 * 0.1),
        (0, 0.3, 10, 0.6 + 2 * 0.12),
        (1, 1.0, 1, 0.1 + 0.2 + 0.4),
    ],
)
def test_steps_and_radii(row, radius, max_steps, expected):
    _, labels, (distance,) = search(ROWS[[row]], CLASSES[[row]], radius=radius, max_steps=max_steps)
    assert labels == [1]
    assert distance == pytest.approx(expected)


def test_steps_are_those_of_the_cross_entropy():
    # Three classes: the way leads from class 0 along the mean of the others, by their shares.
    rng = np.random.default_rng(1)
    weight, bias = rng.normal(size=(3, 4)), np.array([3.0, 0.0, 0.5])
    x, radius = rng.normal(size=4) / 10, 2.0
    point, delta = x, np.zeros(4)
    for _ in range(200):
        e = np.exp(logits(point, weight, bias))
        gradient = (e / e.sum() - [1, 0, 0]) @ weight
        delta = delta + radius / 10 * gradient / np.linalg.norm(gradient)
        delta *= min(1, radius / np.linalg.norm(delta))
        point = x + delta
        if logits(point, weight, bias).argmax():
            break
    assert 3 * radius / 10 < np.linalg.norm(delta) < radius
    X, labels, distances = search(
        x[None], np.array([0]), linear(weight, bias), radius=radius, max_steps=200
    )
    np.testing.assert_allclose(X[0], point, atol=1e-9)
    assert labels[0] == logits(point, weight, bias).argmax() != 0
    assert distances[0] == pytest.approx(np.linalg.norm(delta))


def test_each_row_by_itself():
    together = search()
    for i in range(len(ROWS)):
        for one, all_rows in zip(search(ROWS[[i]], CLASSES[[i]]), together, strict=True):
            np.testing.assert_allclose(one[0], all_rows[i], rtol=1e-9)


# Rows that are not moved


def test_misclassified_rows_stand_for_themselves():
    X, labels, distances = search(y=np.array([1, 0, 1, 0]))
    np.testing.assert_array_equal(X[[0, 3]], ROWS[[0, 3]])
    np.testing.assert_array_equal(labels, [0, 1, 0, 1])
    np.testing.assert_array_equal(distances > 0, [False, True, True, False])


def test_rows_for_which_nothing_is_found():
    # Within a radius of 0.02 is the boundary of the last row only.
    X, labels, distances = search(radius=0.01, max_doublings=1)
    np.testing.assert_array_equal(X[:3], ROWS[:3])
    np.testing.assert_array_equal(labels, [0, 0, 1, 0])
    np.testing.assert_array_equal(distances > 0, [False, False, False, True])


def test_number_of_doublings():
    # 0.392 away: the radius 0.2 is too small, 0.4 is not.
    for max_doublings, found in [(2, False), (3, True)]:
        _, labels, _ = search(ROWS[[1]], CLASSES[[1]], radius=0.05, max_doublings=max_doublings)
        assert (labels[0] == 1) == found


def test_no_gradient():
    module = linear(np.zeros((2, 2)), np.array([1.0, 0.0]))
    X, labels, distances = search(ROWS, np.zeros(4, dtype=int), module, max_doublings=5)
    np.testing.assert_array_equal(X, ROWS)
    np.testing.assert_array_equal(labels, 0)
    np.testing.assert_array_equal(distances, 0)


def test_network_that_is_sure():
    # In single precision the cross-entropy of these logits is 0, and so is its gradient.
    weight, bias = (1000 * torch.tensor(v).float() for v in (WEIGHT, BIAS))
    X, y = torch.tensor(ROWS).float(), torch.tensor(CLASSES)
    assert nn.functional.cross_entropy(X[:3] @ weight.T + bias, y[:3]) == 0
    _, labels, distances = nearest_adversarial(lambda x: x @ weight.T + bias, X, y, radius=0.01)
    np.testing.assert_array_equal(labels, 1 - y)
    exact = exact_distances(ROWS)
    assert (distances.numpy() <= np.maximum(1.2 * exact, 0.0021)).all()


# Units


@pytest.mark.parametrize("scale", [2.5, [0.5, 2.0]])
def test_scale(scale):
    u, weight = ROWS / scale, WEIGHT * scale
    X, _, distances = search(scale=torch.tensor(scale), radius=0.03)
    normal = weight[0] - weight[1]
    exact = np.abs(3 * ROWS[:, 0] + 4 * ROWS[:, 1] - 1) / np.linalg.norm(normal)
    np.testing.assert_allclose(distances, np.linalg.norm(X / scale - u, axis=1), rtol=1e-9)
    assert (distances > exact).all()
    assert (distances <= np.maximum(1.2 * exact, exact + 0.003)).all()
    directions = np.where(CLASSES == 0, -1, 1)[:, None] * normal / np.linalg.norm(normal)
    np.testing.assert_allclose(X / scale - u, distances[:, None] * directions, atol=1e-9)


def test_feature_of_scale_zero_is_not_moved():
    X, labels, distances = search(scale=torch.tensor([1.0, 0.0]))
    np.testing.assert_array_equal(X[:, 1], ROWS[:, 1])
    np.testing.assert_array_equal(labels, 1 - CLASSES)
    exact = np.abs(3 * ROWS[:, 0] + 4 * ROWS[:, 1] - 1) / 3
    assert (distances > exact).all() and (distances <= np.maximum(1.2 * exact, 0.003)).all()
    nowhere = search(scale=0.0, max_doublings=3)
    np.testing.assert_array_equal(nowhere[0], ROWS)
    np.testing.assert_array_equal(nowhere[1], CLASSES)


def test_images_with_a_scale_for_each_channel():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(3, 2, 2, 2))
    weight = rng.normal(size=(2, 8))
    scale = np.array([0.5, 3.0]).reshape(2, 1, 1)
    y = (X.reshape(3, 8) @ weight.T).argmax(axis=1)
    module = nn.Sequential(nn.Flatten(), linear(weight, np.zeros(2)))
    found, labels, distances = search(X, y, module, scale=torch.tensor(scale))
    normal = (weight[0] - weight[1]).reshape(2, 2, 2) * scale
    exact = np.abs(X.reshape(3, 8) @ (weight[0] - weight[1])) / np.linalg.norm(normal)
    assert found.shape == X.shape and distances.shape == (3,)
    np.testing.assert_array_equal(labels, 1 - y)
    assert (distances > exact).all() and (distances <= np.maximum(1.2 * exact, 0.002)).all()
    moved = ((found - X) / scale).reshape(3, 8)
    np.testing.assert_allclose(np.linalg.norm(moved, axis=1), distances, rtol=1e-9)


# The range of the features


def test_points_stay_in_range():
    # Only the first feature can fall.
    clip = torch.tensor([-0.5, 0.4575]).double(), torch.tensor([2.0, 0.9])
    X, labels, distances = search(ROWS[:1], CLASSES[:1], clip=clip)
    assert labels == [1]
    assert X[0, 1] == pytest.approx(0.4575) and -0.5 <= X[0, 0] < (1 - 4 * 0.4575) / 3
    assert distances[0] == pytest.approx(1 - X[0, 0])


@pytest.mark.parametrize("clip", [(0.2, 0.9), [0.2, 0.9]])
def test_range_of_numbers(clip):
    # Within it every point is of class 0, for 3 * 0.2 + 4 * 0.2 > 1.
    X, labels, distances = search(ROWS[1:2], CLASSES[1:2], clip=clip, max_doublings=5)
    np.testing.assert_array_equal(X, ROWS[1:2])
    assert labels == [0] and distances == [0]


def test_row_outside_the_range_is_not_moved_into_it():
    # Both features are above the range: they fall as far as they must, and the way is straight.
    X, labels, distances = search(ROWS[:1], CLASSES[:1], clip=(-0.5, 0.3))
    assert labels == [1]
    np.testing.assert_allclose(X[0] - ROWS[0], distances[0] * NORMALS[0], atol=1e-9)
    # Both are below it, and rise.
    X, labels, distances = search(ROWS[2:3], CLASSES[2:3], clip=(-1.0, 0.9))
    assert labels == [0]
    np.testing.assert_allclose(X[0] - ROWS[2], distances[0] * NORMALS[2], atol=1e-9)


# The network


def test_network_and_rows_are_left_as_they_were():
    module = linear().float()
    before = copy.deepcopy(module.state_dict())
    X = torch.tensor(ROWS).float()
    found, _, distances = nearest_adversarial(module, X, torch.tensor(CLASSES), radius=0.01)
    np.testing.assert_array_equal(X, ROWS.astype(np.float32))
    assert all(p.grad is None for p in module.parameters())
    assert all(torch.equal(v, before[name]) for name, v in module.state_dict().items())
    assert not found.requires_grad and not distances.requires_grad
    assert found.dtype == distances.dtype == torch.float32


def test_only_rows_that_are_not_yet_across_are_asked_for():
    sizes, module = [], linear()

    def counting(x):
        sizes.append(len(x))
        return module(x)

    # With steps of 0.1 the last row takes one, the others eight and four.
    search(ROWS[[0, 1, 3]], CLASSES[[0, 1, 3]], counting, radius=1.0)
    assert sizes == [3] + [3, 3] + [2, 2] * 3 + [1, 1] * 4


def test_a_row_that_is_held_by_its_range_is_given_up():
    # The larger feature wins; the second may not come so high.
    def logits_of(x):
        passes.append(len(x))
        return x

    passes, X = [], torch.tensor([[1.0, 0.0], [1.0, 0.9]])
    found, labels, _ = nearest_adversarial(
        logits_of, X, torch.tensor([0, 0]), radius=0.05, clip=(torch.tensor([0.95, 0.0]), 0.92)
    )
    assert labels.tolist() == [0, 0]
    assert torch.equal(found, X)
    # Far fewer than 21 radii of 50 steps, of two passes each.
    assert len(passes) < 1000


def test_a_row_that_is_not_held_goes_on():
    passes, X = [], torch.tensor([[100.0, 0.0]])

    def logits_of(x):
        passes.append(len(x))
        return x

    _, labels, distances = nearest_adversarial(logits_of, X, torch.tensor([0]), radius=0.05)
    assert labels.tolist() == [1]
    assert 100 / 2**0.5 <= distances.item() < 1.2 * 100 / 2**0.5
