import numpy as np
import pytest
import torch
from scipy.special import softmax
from tiny import arrays, changed, dropout_network, linears, unlearn
from torch import nn
from torch.nn.functional import cross_entropy

from sklunlearn import SSDUnlearner

WEIGHT = np.array([[1.0, -1.0], [0.5, 0.2], [-1.0, 2.0]])
BIAS = np.array([0.5, 0.3, -0.2])
MANY = np.random.default_rng(0).normal(size=(41, 3)).astype(np.float32)
MANY_Y = np.arange(41) % 4


def batches(n, batch_size):
    """Rows in order, in as few batches as possible of nearly equal size."""
    return np.array_split(np.arange(n), -(-n // batch_size))


def given_importances(of_forget, of_all):
    """SSD with importances that are given: the rule alone, on four weights."""

    class Given(SSDUnlearner):
        def _importance(self, net, rows):
            return torch.tensor(of_forget if len(rows) == 1 else of_all, dtype=torch.float64)

    def dampened(**params):
        module = linears(([[1.0, -2.0], [3.0, 4.0]], None))
        unlearner = unlearn(Given, module, np.eye(2), [0, 1], [0], **params)
        return arrays(unlearner.net_.module_)["0.weight"].ravel(), unlearner.dampened_fraction_

    return dampened


@pytest.mark.parametrize(
    "alpha, dampening, expected, fraction",
    [
        (10.0, 1.0, [1, -0.1, 0.06, 4], 0.5),
        (10.0, 0.5, [1, -0.05, 0.03, 4], 0.5),
        (10.0, 0.0, [1, 0, 0, 4], 0.5),
        (20.0, 1.0, [1, -2, 0.06, 4], 0.25),  # 20 is not more than 20 times 1
        (5.0, 1.0, [1, -0.1, 0.06, 4], 0.5),
        (4.9, 1.0, [0.2, -0.1, 0.06, 4], 0.75),
        (0.0, 10.0, [1, -1, 0.6, 4], 0.5),  # never scaled up
        (50.0, 1.0, [1, -2, 3, 4], 0.0),
        (np.inf, 1.0, [1, -2, 3, 4], 0.0),
    ],
)
def test_rule(alpha, dampening, expected, fraction):
    dampened = given_importances([5, 20, 50, 0], [1, 1, 1, 0])
    weights, share = dampened(alpha=alpha, dampening=dampening)
    np.testing.assert_allclose(weights, expected, rtol=1e-6)
    assert share == fraction


def test_rule_where_nothing_matters():
    # Without importance for any row: as it is. For the forget rows alone: to zero.
    weights, share = given_importances([0, 0, 1e-30, 3], [0, 1, 0, 0])(alpha=10.0)
    np.testing.assert_array_equal(weights, [1, -2, 0, 0])
    assert share == 0.5


def test_small_gradients():
    # Of exp(-60): their squares would be 0 in single precision.
    module = linears((np.ones((3, 2)), [60.0, 0.0, 0.0]))
    unlearner = unlearn(SSDUnlearner, module, np.eye(2), [0, 0], [0], alpha=2.0)
    # The gradient of the first column is half as large for both rows together.
    expected = [[1, 1], [0.25, 1], [0.25, 1]]
    np.testing.assert_allclose(arrays(unlearner.net_.module_)["0.weight"], expected, rtol=1e-5)
    assert unlearner.dampened_fraction_ == pytest.approx(2 / 9)


def importance_by_hand(X, Y, batch_size):
    """Of the weights and biases of the linear network."""
    squares = []
    for rows in batches(len(X), batch_size):
        error = softmax(X[rows] @ WEIGHT.T + BIAS, axis=1) - np.eye(3)[Y[rows]]
        gradient = np.column_stack([error.T @ X[rows], error.sum(axis=0)]) / len(rows)
        squares.append(gradient**2)
    return np.mean(squares, axis=0)


@pytest.mark.parametrize("as_dataset", [False, True])
@pytest.mark.parametrize("batch_size", [1, 4, 100])
@pytest.mark.parametrize("n_forget", [1, 11])
@pytest.mark.parametrize("alpha, dampening", [(1.0, 1.0), (1.5, 0.3), (0.7, 1.0)])
def test_linear_network(as_dataset, batch_size, n_forget, alpha, dampening):
    X, Y = MANY[:, :2], np.arange(41) % 3
    own = softmax(X @ WEIGHT.T + BIAS, axis=1)[np.arange(41), Y]
    forget = np.sort(own.argsort()[:n_forget])  # on which the gradient is large
    unlearner = unlearn(
        SSDUnlearner,
        linears((WEIGHT, BIAS)),
        X,
        Y,
        forget,
        batch_size=batch_size,
        alpha=alpha,
        dampening=dampening,
        as_dataset=as_dataset,
    )
    of_forget = importance_by_hand(X[forget], Y[forget], batch_size)
    of_all = importance_by_hand(X, Y, batch_size)
    factor = np.where(of_forget > alpha * of_all, dampening * of_all / of_forget, 1).clip(max=1)
    expected = factor * np.column_stack([WEIGHT, BIAS])
    after = arrays(unlearner.net_.module_)
    np.testing.assert_allclose(after["0.weight"], expected[:, :2], rtol=1e-4)
    np.testing.assert_allclose(after["0.bias"], expected[:, 2], rtol=1e-4)
    assert (factor < 1).any()
    assert unlearner.dampened_fraction_ == pytest.approx((factor < 1).mean())
    assert unlearner.alpha_ == alpha
    assert len(unlearner.history_) == 0
    assert unlearner.updated_params_ == ["0.weight", "0.bias"]


def importance_in_torch(module, rows, names, batch_size=8):
    total = {name: 0.0 for name in names}
    for batch in batches(len(rows), batch_size):
        module.zero_grad()
        x, y = torch.tensor(MANY[rows[batch]]), torch.tensor(MANY_Y[rows[batch]])
        cross_entropy(module.eval()(x), y).backward()
        for name in names:
            total[name] = total[name] + module.get_parameter(name).grad.numpy() ** 2
    module.zero_grad()
    return {name: value / len(batches(len(rows), batch_size)) for name, value in total.items()}


@pytest.mark.parametrize("trainable, first", [("all", 0), ("head", 4), (lambda n, p: "1." in n, 2)])
def test_network_with_batchnorm_and_dropout(trainable, first):
    module = dropout_network()
    before, forget = arrays(module), np.flatnonzero(MANY_Y == 1)
    names = [name for name, _ in module.named_parameters()]
    names = names[first : first + 2] if first else names
    of_forget = importance_in_torch(module, forget, names)
    of_all = importance_in_torch(module, np.arange(41), names)
    module.train()  # the importance is that in evaluation mode all the same
    unlearner = unlearn(
        SSDUnlearner,
        module,
        MANY,
        MANY_Y,
        forget,
        batch_size=8,
        alpha=2.0,
        dampening=0.5,
        trainable=trainable,
    )
    after = arrays(unlearner.net_.module_)
    n_changed = 0
    for name, value in before.items():
        if name not in names:  # buffers, and parameters that were not to change
            np.testing.assert_array_equal(after[name], value, err_msg=name)
            continue
        selected = of_forget[name] > 2 * of_all[name]
        factor = np.minimum(0.5 * of_all[name] / of_forget[name], 1)
        expected = np.where(selected, value * factor, value)
        np.testing.assert_allclose(after[name], expected, rtol=1e-3, err_msg=name)
        n_changed += (after[name] != value).sum()
    assert n_changed > 0
    sizes = sum(before[name].size for name in names)
    assert unlearner.dampened_fraction_ == pytest.approx(n_changed / sizes)
    assert unlearner.updated_params_ == names
    assert changed(before, module) == []
    assert all(p.grad is None for p in unlearner.net_.module_.parameters())


@pytest.mark.parametrize("alpha", [1.0, 1.001, 1e300, np.inf])
def test_all_rows_forgotten_change_nothing(alpha):
    module = dropout_network()
    before = arrays(module)
    unlearner = unlearn(SSDUnlearner, module, MANY, MANY_Y, range(41), batch_size=8, alpha=alpha)
    assert changed(before, unlearner.net_.module_) == []
    assert unlearner.dampened_fraction_ == 0


# The choice of alpha.


def accuracy_after(module, rows, alpha, of_forget, of_all):
    """Accuracy on some rows after the rule, of a copy of the network."""
    weights = arrays(module)
    for name in of_all:
        factor = np.where(of_forget[name] > alpha * of_all[name], of_all[name] / of_forget[name], 1)
        weights[name] = weights[name] * factor.clip(max=1)
    hidden = MANY[rows] @ weights["0.weight"].T + weights["0.bias"]
    scale = np.sqrt(weights["1.running_var"] + 1e-5)
    hidden = (hidden - weights["1.running_mean"]) / scale * weights["1.weight"] + weights["1.bias"]
    logits = np.tanh(hidden) @ weights["4.weight"].T + weights["4.bias"]
    return (logits.argmax(axis=1) == MANY_Y[rows]).mean()


@pytest.fixture(scope="module")
def trained():
    """A network that has learned the rows."""
    module = dropout_network()
    optimizer = torch.optim.Adam(module.parameters(), lr=0.03)
    for _ in range(150):
        optimizer.zero_grad()
        cross_entropy(module(torch.tensor(MANY)), torch.tensor(MANY_Y)).backward()
        optimizer.step()
    module.zero_grad()
    return module


@pytest.mark.parametrize("label", [0, 1, 2, 3])
@pytest.mark.parametrize("max_drop", [0.0, 0.1, 0.3])
def test_alpha_within_the_drop(trained, label, max_drop):
    forget, retain = np.flatnonzero(MANY_Y == label), np.flatnonzero(MANY_Y != label)
    names = [name for name, _ in trained.named_parameters()]
    importances = (
        importance_in_torch(trained, forget, names),
        importance_in_torch(trained, np.arange(41), names),
    )
    lowest = accuracy_after(trained, retain, np.inf, *importances) - max_drop
    unlearner = unlearn(
        SSDUnlearner,
        trained,
        MANY,
        MANY_Y,
        forget,
        batch_size=8,
        max_retain_drop=max_drop,
        alpha=1e-9,  # not used
    )
    assert unlearner.score(MANY[retain], MANY_Y[retain]) >= lowest - 1e-9
    # The accuracy does not only rise with alpha: there may be several from which on it is enough.
    grid = np.geomspace(1, 100, 1000)
    good = [accuracy_after(trained, retain, a, *importances) >= lowest - 1e-9 for a in grid]
    enough = [a for a, now, before in zip(grid, good, [False, *good], strict=False) if now > before]
    assert min(abs(np.log(enough) - np.log(unlearner.alpha_))) < 0.006


@pytest.mark.parametrize(
    "max_drop, alpha", [(0.0, 1024), (0.09, 1024), (0.1, 512), (0.2, 256), (0.3, 128), (0.4, 1)]
)
def test_smallest_alpha_where_each_weight_has_its_row(max_drop, alpha):
    # The logit of class 0 is x_k in row k, against 0.01 of class 1. The importance of its weight is
    # 2 ** (k + 1) times as large for the forget row: dampened, it is too small from k = 6 on.
    class Given(SSDUnlearner):
        def _importance(self, net, rows):
            of_forget = torch.tensor([2.0 ** (k + 1) for k in range(10)] + [0.0] * 10)
            return of_forget.double() if len(rows) == 1 else torch.ones(20, dtype=torch.float64)

    module = linears((np.stack([np.ones(10), np.full(10, 0.01)]), None))
    X, y = np.concatenate([np.eye(10), np.zeros((1, 10))]), [0] * 10 + [1]
    unlearner = unlearn(Given, module, X, y, [10], max_retain_drop=max_drop)
    assert unlearner.alpha_ == alpha
    n_dampened = 10 - int(np.log2(alpha))
    assert unlearner.dampened_fraction_ == n_dampened / 20
    assert unlearner.score(X[:10], y[:10]) == 1 - min(n_dampened, 4) / 10


@pytest.mark.parametrize("max_drop, n_lost", [(0.1, 1), (0.3, 3), (0.05, 0)])
def test_drop_of_a_whole_number_of_rows(max_drop, n_lost):
    # Of ten rows the network has two wrong: 0.8 - 0.1 is 0.7000000000000001.
    class Given(SSDUnlearner):
        def _importance(self, net, rows):
            of_forget = torch.tensor([0.0, 0.0, 2.0, 3.0, 4.0, 5.0, *[0.0] * 14])
            return of_forget.double() if len(rows) == 1 else torch.ones(20, dtype=torch.float64)

    module = linears((np.stack([np.ones(10), np.full(10, 0.9)]), None))
    X, y = np.concatenate([np.eye(10), np.zeros((1, 10))]), [1, 1] + [0] * 9
    unlearner = unlearn(Given, module, X, y, [10], max_retain_drop=max_drop)
    assert unlearner.score(X[:10], y[:10]) == pytest.approx(0.8 - n_lost / 10)


def test_drop_is_respected_whatever_the_ratio():
    # The one ratio is that which is chosen; at it, nothing must be selected.
    for of_forget in np.random.default_rng(0).uniform(2, 1e6, size=60):

        class Given(SSDUnlearner):
            def _importance(self, net, rows):
                values = [of_forget, 0.0] if len(rows) == 1 else [1.0, 1.0]  # noqa: B023
                return torch.tensor(values, dtype=torch.float64)

        module = linears(([[1.0], [0.9]], None))
        unlearner = unlearn(Given, module, [[1.0], [2.0]], [0, 0], [0], max_retain_drop=0.0)
        assert unlearner.score([[2.0]], [0]) == 1.0
        assert unlearner.dampened_fraction_ == 0.0


def test_choice_of_alpha_needs_retain_rows():
    with pytest.raises(ValueError, match="retain"):
        unlearn(
            SSDUnlearner,
            linears((WEIGHT, BIAS)),
            MANY[:3, :2],
            [0, 1, 2],
            [0, 1, 2],
            max_retain_drop=0.1,
        )


def test_unused_parameter():
    class Idle(nn.Linear):
        def __init__(self):
            super().__init__(3, 4)
            self.idle = nn.Parameter(torch.ones(2))

    module = Idle()
    unlearner = unlearn(SSDUnlearner, module, MANY, MANY_Y, MANY_Y == 0, alpha=0.1)
    np.testing.assert_array_equal(arrays(unlearner.net_.module_)["idle"], 1)
    assert unlearner.updated_params_ == ["weight", "bias", "idle"]
