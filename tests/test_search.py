import numpy as np
import pytest
import torch
from scipy import stats
from scipy.special import log_softmax
from torch import nn

from sklunlearn.search import merge_searches, perturbed_sign_search

LINEAR = np.array([[1.0, -1.0], [0.0, 0.0], [-1.0, 1.0]])


def linear_net(x):
    return x @ torch.tensor(LINEAR, dtype=x.dtype).T


def search_one(x, y, logits_of=linear_net, **options):
    X = torch.tensor([x], dtype=torch.float64)
    return perturbed_sign_search(logits_of, X, torch.tensor([y]), **options)


# By hand, on a linear network.


def test_two_steps_on_the_linear_network():
    search = search_one([1.0, 0.0], 0, step_size=0.3)
    delta = 0.3 + 0.3 / np.sqrt(2)
    assert delta == pytest.approx(0.512132, abs=1e-6)
    np.testing.assert_allclose(search.X, [[1 - delta, delta]], rtol=1e-12)
    np.testing.assert_allclose(search.logits, search.X.numpy() @ LINEAR.T, rtol=1e-12)
    assert search.logits.argmax() == 2
    np.testing.assert_allclose(np.exp(-search.loss), [0.665241, 0.471776, 0.325279], atol=1e-6)
    np.testing.assert_array_equal(search.fraction_crossed, [0, 0, 1])
    np.testing.assert_array_equal(search.n_steps, [2])
    np.testing.assert_array_equal(search.crossed, [True])


@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_a_network_of_another_precision_than_its_rows(noise):
    rows, y = torch.tensor([[1.0, 0.0]]), torch.tensor([0])
    search = perturbed_sign_search(
        lambda x: linear_net(x.double()),
        rows,
        y,
        step_size=0.3,
        noise=noise,
        normalize_gradient=False,
    )
    assert search.X.dtype == torch.float32
    assert search.logits.dtype == torch.float64
    assert search.crossed.all()


def test_first_of_the_two_steps_has_the_full_length():
    search = search_one([1.0, 0.0], 0, step_size=0.3, max_steps=1)
    np.testing.assert_allclose(search.X, [[0.7, 0.3]], rtol=1e-12)
    np.testing.assert_array_equal(search.crossed, [False])
    np.testing.assert_array_equal(search.n_steps, [1])


@pytest.mark.parametrize("closeness", [-5.0, 0.0, 5.0])
@pytest.mark.parametrize("closeness_decay", [None, "inverse", "exponential", "linear"])
@pytest.mark.parametrize("normalize_gradient", [True, False])
def test_one_step_does_not_depend_on_closeness(closeness, closeness_decay, normalize_gradient):
    search = search_one(
        [1.0, 0.0],
        0,
        step_size=0.3,
        max_steps=1,
        closeness=closeness,
        closeness_decay=closeness_decay,
        normalize_gradient=normalize_gradient,
    )
    np.testing.assert_allclose(search.X, [[0.7, 0.3]], rtol=1e-12)


def test_each_row_stops_on_its_own_and_stays_where_it_stopped():
    # x = (a, 0) of class 0 is across once a - t * 0.2 < t * 0.2 after t steps of length 0.2.
    X = torch.tensor([[0.9, 0.0], [0.3, 0.0], [0.5, 0.0]], dtype=torch.float64)
    search = perturbed_sign_search(
        linear_net, X, torch.tensor([0, 0, 0]), step_size=0.2, step_decay=None
    )
    n_steps = np.array([3, 1, 2])
    np.testing.assert_array_equal(search.n_steps, n_steps)
    np.testing.assert_array_equal(search.crossed, [True, True, True])
    moved = 0.2 * n_steps[:, None] * [-1, 1]
    np.testing.assert_allclose(search.X, X.numpy() + moved, rtol=1e-12)
    np.testing.assert_allclose(search.fraction_crossed, [0, 1 / 3, 2 / 3, 1], rtol=1e-12)


def test_misclassified_row_takes_one_step():
    search = search_one([1.0, 0.0], 2, step_size=0.3)
    np.testing.assert_array_equal(search.n_steps, [1])
    np.testing.assert_array_equal(search.crossed, [True])
    np.testing.assert_allclose(search.X, [[1.3, -0.3]], rtol=1e-12)  # away from class 2
    np.testing.assert_array_equal(search.fraction_crossed, [0, 1])


@pytest.mark.parametrize(
    "closeness, second", [(0.0, [1.0, 1.0]), (2.0, [1.0, 0.0]), (-2.0, [1.0, 1.0])]
)
def test_positive_closeness_pulls_back(closeness, second):
    # The gradient is (3, 1), normalised (1.5, 0.5); after the first step delta is (0.5, 0.5).
    def logits_of(x):
        return torch.stack([torch.zeros(len(x)), 3 * x[:, 0] + x[:, 1] - 100], dim=1)

    options = {"step_size": 0.5, "step_decay": None, "max_steps": 2, "closeness": closeness}
    search = search_one([0.0, 0.0], 0, logits_of, **options)
    np.testing.assert_allclose(search.X, [second], atol=1e-12)


@pytest.mark.parametrize("closeness, second", [(0.0, 0.0), (1.5, 0.0), (-1.5, 0.0), (-3.0, 1.0)])
def test_negative_closeness_pushes_away(closeness, second):
    # Past the top at 0.4 the normalised gradient is -1; delta is 0.5.
    def logits_of(x):
        return torch.cat([torch.zeros_like(x), -((x - 0.4) ** 2) - 1], dim=1)

    options = {"step_size": 0.5, "step_decay": None, "max_steps": 2, "closeness": closeness}
    search = search_one([0.0], 0, logits_of, **options)
    np.testing.assert_allclose(search.X, [[second]], atol=1e-12)


@pytest.mark.parametrize(
    "threshold, n_steps, crossed",
    [(None, 4, True), (0.5, 4, True), (0.4, 5, True), (0.2, 7, True), (0.01, 10, False)],
)
def test_threshold_asks_for_a_low_probability(threshold, n_steps, crossed):
    # p_y is the sigmoid of x, and x = 1.75 - 0.5 t.
    def logits_of(x):
        return torch.cat([x, torch.zeros_like(x)], dim=1)

    options = {"step_size": 0.5, "step_decay": None, "max_steps": 10, "threshold": threshold}
    search = search_one([1.75], 0, logits_of, **options)
    np.testing.assert_array_equal(search.n_steps, [n_steps])
    np.testing.assert_array_equal(search.crossed, [crossed])


def test_threshold_is_not_enough_without_a_crossing():
    # Four classes: p_0 is below 0.4 although class 0 still wins.
    def logits_of(x):
        return torch.cat([x, torch.zeros(len(x), 3)], dim=1)

    options = {"step_size": 0.1, "step_decay": None, "max_steps": 2, "threshold": 0.4}
    search = search_one([0.3], 0, logits_of, **options)
    assert np.exp(-search.loss[-1]) < 0.4
    np.testing.assert_array_equal(search.crossed, [False])


@pytest.mark.parametrize(
    "clip, moved", [((0.0, 0.9), [0.7, 0.3]), ((0.8, 1.0), [0.8, 0.8]), ((-1.0, 0.2), [0.2, 0.2])]
)
def test_clip(clip, moved):
    search = search_one([1.0, 0.0], 0, step_size=0.3, max_steps=1, clip=clip)
    np.testing.assert_allclose(search.X, [moved], rtol=1e-12)
    np.testing.assert_allclose(search.logits, search.X.numpy() @ LINEAR.T, rtol=1e-12)


def test_scale_and_clip_of_each_channel():
    def logits_of(x):
        return torch.stack([torch.zeros(len(x)), x.sum(dim=(1, 2, 3)) - 100], dim=1)

    X = torch.zeros(2, 3, 2, 2, dtype=torch.float64)
    search = perturbed_sign_search(
        logits_of,
        X,
        torch.tensor([0, 0]),
        step_size=0.5,
        max_steps=1,
        scale=torch.tensor([1.0, 0.0, 4.0]).reshape(3, 1, 1),
        clip=(torch.full((3, 1, 1), -9.0), torch.tensor([9.0, 9.0, 1.5]).reshape(3, 1, 1)),
    )
    expected = np.broadcast_to(np.reshape([0.5, 0.0, 1.5], (3, 1, 1)), X.shape)
    np.testing.assert_allclose(search.X, expected, rtol=1e-12)


@pytest.mark.parametrize("options", [{}, {"closeness": 0.5}, {"noise": 0.1}])
def test_direction_survives_saturation(options):
    # 1 - p_y is 0 in single precision: the cross-entropy has no gradient.
    def logits_of(x):
        return 1e3 * linear_net(x)

    X, y = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 2])
    x = X.clone().requires_grad_()
    nn.functional.cross_entropy(logits_of(x), y).backward()
    assert (x.grad == 0).all()

    generator = torch.Generator().manual_seed(0)
    search = perturbed_sign_search(
        logits_of, X, y, step_size=0.3, max_steps=1, generator=generator, **options
    )
    np.testing.assert_allclose(search.X, [[0.7, 0.3], [0.3, 0.7]], rtol=1e-6)


def test_constant_network_moves_nothing():
    search = search_one([1.0, 0.0], 0, lambda x: 0 * linear_net(x), closeness=1.0)
    np.testing.assert_array_equal(search.X, [[1.0, 0.0]])
    np.testing.assert_array_equal(search.gradient_norm, np.zeros(50))
    np.testing.assert_array_equal(search.crossed, [False])


def test_network_and_rows_are_left_alone():
    net = nn.Linear(2, 3)
    before = [p.clone() for p in net.parameters()]
    X, y = torch.tensor([[1.0, 0.0]]), torch.tensor([0])
    search = perturbed_sign_search(net, X, y, max_steps=3)
    np.testing.assert_array_equal(X, [[1.0, 0.0]])
    assert not X.requires_grad and not search.X.requires_grad and not search.logits.requires_grad
    assert all(p.grad is None for p in net.parameters())
    assert all(map(torch.equal, net.parameters(), before))


def test_search_where_gradients_are_switched_off():
    with torch.no_grad():
        search = search_one([1.0, 0.0], 0, step_size=0.3, max_steps=1)
    np.testing.assert_allclose(search.X, [[0.7, 0.3]], rtol=1e-12)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"max_steps": 0}, "`max_steps` must be at least 1, got 0"),
        ({"step_decay": "linear"}, "`step_decay` must be one of .*got 'linear'"),
        ({"closeness_decay": "sqrt"}, "`closeness_decay` must be one of .*got 'sqrt'"),
        ({"noise_distribution": "gumbel"}, "`noise_distribution` must be one of .*got 'gumbel'"),
    ],
)
def test_unknown_options(options, message):
    with pytest.raises(ValueError, match=message):
        search_one([1.0, 0.0], 0, **options)


# Against the whole algorithm in NumPy, one row after the other.


class Network:
    """``act(x W1' + b1) W2' + b2`` with 5 features, 8 hidden units and 4 classes."""

    def __init__(self, activation):
        rng = np.random.default_rng(0)
        self.activation = activation
        self.W1, self.b1 = rng.normal(size=(8, 5)), rng.normal(size=8)
        self.W2, self.b2 = rng.normal(size=(4, 8)), rng.normal(size=4)

    def in_torch(self, x):
        W1, b1, W2, b2 = map(torch.from_numpy, (self.W1, self.b1, self.W2, self.b2))
        hidden = x @ W1.T + b1
        return (torch.relu(hidden) if self.activation == "relu" else torch.tanh(hidden)) @ W2.T + b2

    def hidden(self, x):
        a = self.W1 @ x + self.b1
        if self.activation == "relu":
            return np.maximum(a, 0), (a > 0).astype(float)
        return np.tanh(a), 1 - np.tanh(a) ** 2

    def logits(self, x):
        return self.W2 @ self.hidden(x)[0] + self.b2

    def loss(self, x, y):
        return -log_softmax(self.logits(x))[y]

    def gradient(self, x, y):
        """Gradient of the loss with respect to x."""
        error = np.exp(log_softmax(self.logits(x)))
        error[y] -= 1
        return self.W1.T @ (self.hidden(x)[1] * (self.W2.T @ error))


def walk(
    network,
    start,
    y,
    *,
    step_size=0.1,
    max_steps=50,
    step_decay="sqrt",
    scale=1.0,
    closeness=0.0,
    closeness_decay=None,
    noise=0.0,
    z=None,
    normalize_gradient=True,
    threshold=None,
    clip=(-np.inf, np.inf),
):
    """One row's search: the point, whether it is across, its losses and its gradient norms."""
    x, losses, norms = start, [network.loss(start, y)], []
    scale = np.broadcast_to(scale, start.shape)
    for t in range(1, max_steps + 1):
        gradient = scale * network.gradient(x, y)
        norms.append(np.abs(gradient).sum())
        if normalize_gradient:
            gradient = gradient / np.abs(gradient).mean()
        weight = {
            None: closeness,
            "inverse": closeness / t,
            "exponential": closeness * np.exp(-0.01 * t),
            "linear": closeness * (1 - t / max_steps),
        }[closeness_decay]
        displacement = np.divide(x - start, scale, out=np.zeros(len(x)), where=scale > 0)
        direction = gradient - weight * displacement
        if noise:
            direction = direction + noise * z[t - 1]
        length = step_size / np.sqrt(t) if step_decay == "sqrt" else step_size
        x = np.clip(x + scale * length * np.sign(direction), *clip)
        losses.append(network.loss(x, y))
        crossed = network.logits(x).argmax() != y
        if threshold is not None:
            crossed = crossed and np.exp(-losses[-1]) <= threshold
        if crossed:
            break
    return x, crossed, losses, norms


def check_search(search, walks):
    """Compare a search with the walks of its rows."""
    X, crossed, losses, norms = zip(*walks, strict=True)
    n_steps = np.array([len(row) for row in norms])
    steps = np.arange(n_steps.max() + 1)
    if search.X is not None:
        np.testing.assert_allclose(search.X, X, rtol=1e-9)
    np.testing.assert_array_equal(search.crossed, crossed)
    np.testing.assert_array_equal(search.n_steps, n_steps)
    np.testing.assert_allclose(
        search.loss, [np.mean([row[min(t, len(row) - 1)] for row in losses]) for t in steps]
    )
    np.testing.assert_allclose(
        search.fraction_crossed, [np.mean(np.array(crossed) & (n_steps <= t)) for t in steps]
    )
    np.testing.assert_allclose(
        search.gradient_norm,
        [np.mean([row[t] for row in norms if t < len(row)]) for t in steps[:-1]],
    )


SETTINGS = {
    "defaults": {},
    "constant steps": {"step_decay": None},
    "few steps": {"max_steps": 4},
    "pull": {"closeness": 0.8},
    "push": {"closeness": -0.8},
    "inverse": {"closeness": 3.0, "closeness_decay": "inverse"},
    "exponential": {"closeness": 1.5, "closeness_decay": "exponential"},
    "linear": {"closeness": 1.5, "closeness_decay": "linear"},
    "raw": {"closeness": 0.3, "normalize_gradient": False},
    "raw push": {"closeness": -2.0, "normalize_gradient": False},
    "threshold": {"threshold": 0.15},
    "clip": {"clip": (-1.0, 1.0)},
    "scale": {"scale": np.array([1.0, 0.2, 3.0, 0.0, 0.5]), "closeness": 0.8},
    "together": {
        "step_size": 0.3,
        "step_decay": None,
        "max_steps": 12,
        "scale": np.array([1.0, 0.2, 3.0, 0.0, 0.5]),
        "closeness": 0.5,
        "closeness_decay": "linear",
        "normalize_gradient": False,
        "threshold": 0.1,
        "clip": (-np.array([2.0, 0.5, 3.0, 9.0, 1.0]), np.array([1.0, 0.6, 2.0, 9.0, 1.5])),
    },
}


def make_rows(network):
    """12 rows, of which the network gets the first three wrong."""
    X = np.random.default_rng(1).normal(size=(12, 5))
    y = np.array([network.logits(x).argmax() for x in X])
    y[:3] = (y[:3] + 1) % 4
    return X, y


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("name", SETTINGS)
def test_search_in_numpy(name, activation):
    network, options = Network(activation), {"step_size": 0.2, **SETTINGS[name]}
    X, y = make_rows(network)
    search = perturbed_sign_search(
        network.in_torch, torch.from_numpy(X), torch.from_numpy(y), **options
    )
    walks = [walk(network, x, label, **options) for x, label in zip(X, y, strict=True)]
    check_search(search, walks)
    np.testing.assert_allclose(search.logits, [network.logits(x) for x, _, _, _ in walks])
    assert len(set(search.n_steps)) > 1
    if "scale" in options:
        np.testing.assert_array_equal(search.X[:, 3], X[:, 3])


@pytest.mark.parametrize("normalize_gradient", [True, False])
def test_noise_in_numpy(normalize_gradient):
    network, x = Network("tanh"), np.full(5, 0.3)
    y = int(network.logits(x).argmax())
    options = {
        "max_steps": 20,
        "noise": 0.7,
        "closeness": 0.3,
        "normalize_gradient": normalize_gradient,
    }
    generator = torch.Generator().manual_seed(3)
    z = [torch.randn(1, 5, dtype=torch.float64, generator=generator)[0].numpy() for _ in range(20)]
    search = search_one(
        x.tolist(), y, network.in_torch, generator=torch.Generator().manual_seed(3), **options
    )
    check_search(search, [walk(network, x, y, z=z, **options)])
    assert search.n_steps > 1


@pytest.mark.parametrize("sizes", [[12], [5, 7], [1] * 12])
def test_merged_batches_are_the_search_of_all_rows(sizes):
    network, options = Network("tanh"), {"step_size": 0.2, "max_steps": 6}
    X, y = make_rows(network)
    batches = zip(torch.from_numpy(X).split(sizes), torch.from_numpy(y).split(sizes), strict=True)
    searches = [perturbed_sign_search(network.in_torch, *batch, **options) for batch in batches]
    merged = merge_searches(searches)
    walks = [walk(network, x, label, **options) for x, label in zip(X, y, strict=True)]
    check_search(merged, walks)
    np.testing.assert_allclose(merged.logits, [network.logits(x) for x, _, _, _ in walks])
    assert merged.X is None
    assert len(set(merged.n_steps)) > 2  # so that batches stop after different numbers of steps


# Noise: a step goes down where gradient + noise is negative.

GRADIENT = np.array([0.1, 0.5, 1.0, 1.5, 1.9])  # mean 1


def noisy_step(n_rows, **options):
    """Sign of one step of rows at 0, where the gradient of the cross-entropy is GRADIENT."""

    def logits_of(x):
        return torch.stack([torch.zeros(len(x)), x @ torch.tensor(2 * GRADIENT).float()], dim=1)

    X, y = torch.zeros(n_rows, 5), torch.zeros(n_rows, dtype=torch.int64)
    options = {"step_size": 1.0, "max_steps": 1, **options}
    return perturbed_sign_search(logits_of, X, y, **options).X.numpy()


@pytest.mark.parametrize("noise", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("normalize_gradient", [True, False])
@pytest.mark.parametrize(
    "name, distribution",
    [
        ("normal", stats.norm()),
        ("uniform", stats.uniform(-1, 2)),
        ("laplace", stats.laplace()),
        ("cauchy", stats.cauchy()),
    ],
)
def test_noise_distribution(name, distribution, noise, normalize_gradient):
    generator = torch.Generator().manual_seed(0)
    steps = noisy_step(
        20_000,
        noise=noise,
        noise_distribution=name,
        normalize_gradient=normalize_gradient,
        generator=generator,
    )
    probability = distribution.cdf(-GRADIENT / noise)
    error = 5 * np.sqrt(probability * (1 - probability) / 20_000)
    assert (np.abs((steps < 0).mean(axis=0) - probability) <= error).all()


def test_noise_is_fresh_at_each_step_and_alone_where_there_is_no_gradient():
    def logits_of(x):
        return torch.cat([0 * x, 0 * x - 10], dim=1)

    X, y = torch.zeros(4000, 1), torch.zeros(4000, dtype=torch.int64)
    generator = torch.Generator().manual_seed(0)
    search = perturbed_sign_search(
        logits_of, X, y, step_size=1.0, step_decay=None, max_steps=2, noise=1.0, generator=generator
    )
    values, counts = np.unique(search.X.numpy(), return_counts=True)
    np.testing.assert_array_equal(values, [-2, 0, 2])
    np.testing.assert_allclose(counts / 4000, [0.25, 0.5, 0.25], atol=0.04)


def test_generator_draws_the_noise():
    state = torch.get_rng_state()
    steps = [
        noisy_step(50, noise=1.0, generator=torch.Generator().manual_seed(seed))
        for seed in [5, 5, 6]
    ]
    assert torch.equal(torch.get_rng_state(), state)
    np.testing.assert_array_equal(steps[0], steps[1])
    assert (steps[0] != steps[2]).any()


def test_without_a_generator_the_global_random_state_draws():
    with torch.random.fork_rng():
        torch.manual_seed(5)
        steps = noisy_step(50, noise=1.0)
    expected = noisy_step(50, noise=1.0, generator=torch.Generator().manual_seed(5))
    np.testing.assert_array_equal(steps, expected)
