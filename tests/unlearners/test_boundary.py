import copy

import numpy as np
import pytest
import tiny
import torch
from scipy.special import softmax
from sklearn.frozen import FrozenEstimator
from torch import nn
from torch.nn.functional import cross_entropy, one_hot

import sklunlearn.unlearners.boundary as boundary
from sklunlearn import BoundaryUnlearner

# Logits of the linear network: (1, 0, -1, -1) at x = (1, 0). Steps of class 0 lead along (-1, 1).
WEIGHT = np.array([[1.0, -1.0], [0.0, 0.0], [-1.0, 1.0], [0.0, 0.0]])
BIAS = np.array([0.0, 0.0, 0.0, -1.0])
G = 0.6 * (1 + 1 / np.sqrt(2)) - 1
AT_ROW, AFTER_ONE, AFTER_TWO = [1, 0, -1, -1], [0.4, 0, -0.4, -1], [-G, 0, G, -1]


def linear(weight=WEIGHT, bias=BIAS):
    return nn.Sequential(nn.Flatten(), tiny.linear(weight, bias))


def network():
    """Small network with BatchNorm statistics of rows in [0, 1]."""
    layers = nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 4)
    return tiny.with_gain(nn.Sequential(*layers), seed=9, draw=torch.rand)


def rows(module, n=40):
    """Rows in [0, 1] with the labels that the network gives them; every fifth has another."""
    X = np.random.default_rng(0).random((n, 3), dtype=np.float32)
    y = module(torch.tensor(X)).argmax(dim=1).numpy()
    y[::5] = (y[::5] + 1) % 4
    return X, y


def unlearn(module, X, y, forget, *, make=BoundaryUnlearner, **params):
    """Forget rows of a network that counts as trained."""
    params = {"random_state": 0, "batch_size": 1000, **params}
    unlearner = make(FrozenEstimator(tiny.make_net(module)), **params)
    return unlearner.fit(X, y).unlearn(X, y, forget=forget)


def one_step(X, y, forget, weight=WEIGHT, bias=BIAS, **params):
    """Change of the weights and the bias of a linear network by one step with lr=1."""
    defaults = {"step_size": 0.3, "step_units": "absolute", "retain_weight": 0}
    params = {**defaults, "lr": 1.0, "max_epochs": 1, **params}
    unlearner = unlearn(linear(weight, bias), X, y, forget, **params)
    head = unlearner.net_.module_[1]
    return head.weight.detach().numpy() - weight, head.bias.detach().numpy() - bias


def learned_target(X=((1.0, 0.0),), y=(0,), weight=WEIGHT, bias=BIAS, **params):
    """What a linear network is trained to say of the first row, which it is to forget.

    The gradient of the cross-entropy with respect to the bias is the probabilities less the target.
    """
    _, step = one_step(X, y, [0], weight, bias, **params)
    return softmax(weight @ np.ravel(X[0]) + bias) + step


def share(logits, classes, temperature=1.0):
    """Probabilities of some classes alone."""
    probabilities = np.zeros(4)
    probabilities[classes] = softmax(np.array(logits)[classes] / temperature)
    return probabilities


class Recorder(BoundaryUnlearner):
    """Keeps the rows and the target probabilities of each step."""

    def _prepare(self, net, forget, retain):
        self.seen_ = []
        super()._prepare(net, forget, retain)

    def _loss(self, module, forget, retain):
        loss = super()._loss(module, forget, retain)
        target = forget["target"]
        if target.ndim == 1:
            target = one_hot(target, len(self.classes_))
        self.seen_.append((forget.X.numpy(), forget.y.numpy(), target.numpy()))
        return loss


def assert_same_weights(module, expected, rtol=0.0, atol=0.0):
    for name, value in expected.state_dict().items():
        np.testing.assert_allclose(
            module.state_dict()[name], value, rtol=rtol, atol=atol, err_msg=name
        )


# Targets, by hand.


@pytest.mark.parametrize(
    "params, expected",
    [
        ({}, [0, 0, 1, 0]),
        ({"temperature": 3.0}, [0, 0, 1, 0]),
        ({"target": "soft"}, share(AFTER_TWO, [1, 2, 3])),
        ({"target": "soft", "temperature": 0.5}, share(AFTER_TWO, [1, 2, 3], 0.5)),
        ({"target": "topk"}, share(AFTER_TWO, [1, 2])),
        ({"target": "topk", "top_k": 1}, [0, 0, 1, 0]),
        ({"target": "topk", "top_k": 9}, share(AFTER_TWO, [1, 2, 3])),
        ({"target": "topk", "temperature": 2.0}, share(AFTER_TWO, [1, 2], 2.0)),
        ({"target": "tilted"}, share(AT_ROW, [1, 2, 3])),
        ({"target": "tilted", "temperature": 2.0}, share(AT_ROW, [1, 2, 3], 2.0)),
    ],
)
@pytest.mark.parametrize("uncrossed", ["runner_up", "keep", "skip"])
def test_target_of_a_row_that_is_across(params, expected, uncrossed):
    # A tilted target needs no search, so that no row of it is uncrossed.
    target = learned_target(uncrossed=uncrossed, **params)
    np.testing.assert_allclose(target, expected, atol=1e-6)


@pytest.mark.parametrize(
    "params, expected",
    [
        ({}, [0, 1, 0, 0]),
        ({"target": "soft"}, share(AFTER_ONE, [1, 2, 3])),
        ({"target": "topk"}, share(AFTER_ONE, [1, 2])),
        ({"target": "tilted"}, share(AT_ROW, [1, 2, 3])),
        ({"uncrossed": "keep"}, [1, 0, 0, 0]),
        ({"uncrossed": "keep", "target": "soft"}, [1, 0, 0, 0]),
        ({"uncrossed": "keep", "target": "topk"}, [1, 0, 0, 0]),
        ({"uncrossed": "keep", "target": "tilted"}, share(AT_ROW, [1, 2, 3])),
    ],
)
def test_target_of_a_row_that_is_not_across(params, expected):
    np.testing.assert_allclose(learned_target(max_steps=1, **params), expected, atol=1e-6)


@pytest.mark.parametrize(
    "retained, expected",
    [
        ([], [0, 0, 1, 0]),
        ([1, 2, 3], [0, 0, 1, 0]),
        ([0, 1, 3], [0, 1, 0, 0]),
        ([1, 3], [0, 1, 0, 0]),
        ([3], [0, 0, 0, 1]),
        ([0], [0, 0, 1, 0]),  # only its own class is retained: any other will do
    ],
)
def test_class_of_which_no_row_is_retained_is_no_target(retained, expected):
    X, y = [[1.0, 0.0], *[[0.5, 0.5]] * len(retained)], [0, *retained]
    np.testing.assert_allclose(learned_target(X, y), expected, atol=1e-6)
    soft = learned_target(X, y, target="soft")
    others = [k for k in retained if k != 0] or [1, 2, 3]
    np.testing.assert_allclose(soft, share(AFTER_TWO, others), atol=1e-6)


@pytest.mark.parametrize("target", ["hard", "soft", "topk", "tilted"])
@pytest.mark.parametrize("max_steps", [1, 50])
def test_true_class_and_removed_classes_have_target_probability_zero(target, max_steps):
    module = network()
    X, y = rows(module, n=60)
    forget = (y == 3) | (np.arange(60) < 20)  # all of class 3, and some of the others
    params = {"step_size": 0.05, "target": target, "top_k": 3, "max_steps": max_steps}
    unlearner = unlearn(module, X, y, forget, make=Recorder, max_epochs=1, **params)
    [(_, labels, targets)] = unlearner.seen_
    assert set(labels) == {0, 1, 2, 3}
    assert (targets[np.arange(len(labels)), labels] == 0).all()
    assert (targets[:, 3] == 0).all()
    np.testing.assert_allclose(targets.sum(axis=1), 1, rtol=1e-6)


def test_tilted_loss_at_the_start():
    # Of probabilities (p_0, p_1, p_2) without p_0; the divergence from it is -log(1 - p_0).
    bias = np.array([3.0, 1.0, 0.0])
    params = {"target": "tilted", "retain_weight": 0, "max_epochs": 1}
    unlearner = unlearn(linear(np.zeros((3, 2)), bias), [[1.0, 2.0]], [0], [0], **params)
    q = np.array([0.731059, 0.268941])
    entropy = -(q * np.log(q)).sum()
    assert -np.log(1 - softmax(bias)[0]) == pytest.approx(1.856584, abs=1e-6)
    assert unlearner.history_[0, "train_loss"] == pytest.approx(1.856584 + entropy, abs=2e-6)
    assert unlearner.search_ is None


# Rows that are skipped.

FAR_AND_NEAR = [[1.0, 0.0], [0.5, 0.0]]  # one step of 0.3 carries the second across, to class 2


@pytest.mark.parametrize("batch_size", [1, 2])
def test_skipped_rows_do_not_contribute(batch_size):
    weight_step, bias_step = one_step(
        FAR_AND_NEAR,
        [0, 0],
        [0, 1],
        max_steps=1,
        uncrossed="skip",
        batch_size=batch_size,
        optimizer=torch.optim.SGD,  # without momentum, which would repeat the step
    )
    error = softmax(WEIGHT @ FAR_AND_NEAR[1] + BIAS) - [0, 0, 1, 0]
    np.testing.assert_allclose(bias_step, -error, atol=1e-6)
    np.testing.assert_allclose(weight_step, -np.outer(error, FAR_AND_NEAR[1]), atol=1e-6)


def test_nothing_crossed_leaves_the_network_as_it_was():
    with pytest.warns(UserWarning, match="carried no row across") as caught:
        steps = one_step([[1.0, 0.0]], [0], [0], max_steps=1, uncrossed="skip", max_epochs=3)
    assert caught[0].filename == __file__
    for step in steps:
        np.testing.assert_array_equal(step, 0)


# The retain loss: with a forget row that is skipped, it is the only one.

RETAINED = np.array([[0.2, 0.1], [-0.4, 0.3], [0.0, 1.0]])
RETAINED_LABELS = np.array([1, 2, 1])


@pytest.mark.filterwarnings("ignore:The search carried no row across")
@pytest.mark.parametrize("retain_weight", [0.5, 2.0])
@pytest.mark.parametrize("retain_target", ["labels", "distill"])
def test_retain_loss(retain_weight, retain_target):
    _, step = one_step(
        [[1.0, 0.0], *RETAINED],
        [0, *RETAINED_LABELS],
        [0],
        max_steps=1,
        uncrossed="skip",
        retain_weight=retain_weight,
        retain_target=retain_target,
    )
    error = softmax(RETAINED @ WEIGHT.T + BIAS, axis=1) - np.eye(4)[RETAINED_LABELS]
    # The network says already what it is distilled to say.
    expected = -retain_weight * error.mean(axis=0) if retain_target == "labels" else np.zeros(4)
    np.testing.assert_allclose(step, expected, atol=1e-6)


# Whole runs, against plain PyTorch.


def test_boundary_shrink():
    module = network()
    X, y = rows(module)
    forget = np.arange(40) < 20
    unlearner = unlearn(
        module,
        X,
        y,
        forget,
        step_size=0.1,
        step_units="absolute",
        max_steps=1,
        clip=(0, 1),
        uncrossed="keep",
        retain_weight=0,
        lr=0.1,
        max_epochs=5,
    )

    x, label = torch.tensor(X[:20]).requires_grad_(), torch.tensor(y[:20])
    (gradient,) = torch.autograd.grad(cross_entropy(module(x), label), x)
    x = x.detach()
    nearest = module((x + 0.1 * gradient.sign()).clamp(0, 1)).argmax(dim=1)
    assert 5 < (nearest != label).sum() < 15  # some rows are across, some keep their label
    expected = copy.deepcopy(module).train()
    optimizer = torch.optim.SGD(expected.parameters(), lr=0.1, momentum=0.9)
    for _ in range(5):
        optimizer.zero_grad()
        cross_entropy(expected(x), nearest).backward()
        optimizer.step()

    assert_same_weights(unlearner.net_.module_, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(unlearner.search_.crossed, nearest != label)


@pytest.mark.parametrize("retain_target", ["labels", "distill"])
def test_run_with_retain_rows(retain_target):
    module = network()
    X, y = rows(module)
    forget = np.arange(40) % 2 == 0
    unlearner = unlearn(
        module,
        X,
        y,
        forget,
        target="tilted",
        temperature=2.0,
        retain_weight=0.7,
        retain_target=retain_target,
        lr=0.1,
        max_epochs=3,
    )

    x, x_retain = torch.tensor(X[forget]), torch.tensor(X[~forget])
    own = one_hot(torch.tensor(y[forget]), 4).bool()
    with torch.no_grad():
        target = (module(x).masked_fill(own, -torch.inf) / 2).softmax(dim=1)
        held = module(x_retain).softmax(dim=1)
    if retain_target == "labels":
        held = torch.tensor(y[~forget])
    expected = copy.deepcopy(module).train()
    optimizer = torch.optim.SGD(expected.parameters(), lr=0.1, momentum=0.9)
    for _ in range(3):
        optimizer.zero_grad()
        logits = expected(torch.cat([x, x_retain]))  # together, as BatchNorm sees them
        loss = cross_entropy(logits[:20], target) + 0.7 * cross_entropy(logits[20:], held)
        loss.backward()
        optimizer.step()

    assert_same_weights(unlearner.net_.module_, expected, rtol=1e-4, atol=1e-5)


def test_original_network_is_unchanged():
    module = network()
    before = copy.deepcopy(module)
    X, y = rows(module)
    unlearner = unlearn(module, X, y, y == 1, retain_target="distill", noise=0.1, relabel="batch")
    assert_same_weights(module, before)
    assert unlearner.fitted_.module_ is module
    assert unlearner.net_.module_ is not module
    assert all(p.grad is None for p in module.parameters())


# Units and bounds.

FOUR = np.array([[1.0, 0.0], [1.2, 0.0], [0.9, 0.05], [1.0, -0.1]])  # the first is to be forgotten


@pytest.mark.parametrize(
    "params, point",
    [
        ({"step_units": "data"}, FOUR[0] + 0.3 * FOUR[1:].std(axis=0) * [-1, 1]),
        ({"clip": "data"}, [0.9, 0.05]),
        ({"clip": "data", "step_size": 0.02}, [0.98, 0.02]),
        ({"clip": (0.0, 0.8)}, [0.7, 0.3]),
        ({"clip": (-1, 0.2)}, [0.2, 0.2]),
        ({"clip": [0.8, 2.0], "step_units": "data"}, [0.9625793, 0.8]),
    ],
)
def test_units_and_clip_of_a_table(params, point):
    target = learned_target(FOUR, [0, 1, 2, 3], target="soft", max_steps=1, **params)
    np.testing.assert_allclose(target, share(WEIGHT @ point + BIAS, [1, 2, 3]), atol=1e-6)


def test_units_and_clip_of_images():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(5, 2, 3, 3)) * np.reshape([1.0, 5.0], (2, 1, 1))
    weight, bias = rng.normal(size=(4, 18)), np.zeros(4)
    target = learned_target(
        X,
        [0, 1, 2, 3, 1],
        weight,
        bias,
        target="soft",
        max_steps=1,
        step_units="data",
        clip="data",
    )
    others = softmax((weight @ X[0].ravel())[1:])
    direction = np.sign(others @ weight[1:] - weight[0]).reshape(2, 3, 3)
    retained = X[1:].transpose(1, 0, 2, 3).reshape(2, -1)
    low, high, std = (f(retained, axis=1).reshape(2, 1, 1) for f in (np.min, np.max, np.std))
    point = np.clip(X[0] + 0.3 * std * direction, low, high)
    expected = share(weight @ point.ravel(), [1, 2, 3])
    np.testing.assert_allclose(target, expected, atol=1e-5)


@pytest.mark.parametrize("step_units", ["data", "absolute"])
def test_data_units_do_not_depend_on_the_units_of_a_feature(step_units):
    module = network()
    X, y = rows(module)
    factor = np.array([8.0, 1.0, 0.25], dtype=np.float32)
    rescaled = copy.deepcopy(module)
    rescaled[0].weight.data /= torch.tensor(factor)
    params = {"step_units": step_units, "trainable": "head", "closeness": 0.3, "clip": "data"}
    one = unlearn(module, X, y, y == 1, **params)
    other = unlearn(rescaled, X * factor, y, y == 1, **params)
    if step_units == "absolute":
        assert (one.search_.n_steps != other.search_.n_steps).any()
    else:
        np.testing.assert_array_equal(one.search_.n_steps, other.search_.n_steps)
        np.testing.assert_allclose(one.search_.logits, other.search_.logits, atol=1e-4)
        assert_same_weights(one.net_.module_[3], other.net_.module_[3], atol=1e-5)


@pytest.mark.parametrize("clip", [(1,), (0, 1, 2), (1, 0), (0, 0), (float("nan"), 1), "feature", 3])
def test_wrong_clip(clip):
    with pytest.raises(ValueError, match="clip"):
        learned_target(clip=clip)


# When and how the search is done.


@pytest.fixture
def searches(monkeypatch):
    """Options of the searches that are done."""
    calls, search = [], boundary.perturbed_sign_search

    def counted(*args, **options):
        calls.append(options)
        return search(*args, **options)

    monkeypatch.setattr(boundary, "perturbed_sign_search", counted)
    return calls


@pytest.mark.parametrize("noise", [0.0, 0.5])
@pytest.mark.parametrize("relabel, n_searches", [("once", 1), ("epoch", 3), ("batch", 9)])
def test_number_of_searches(searches, relabel, n_searches, noise):
    module = network()
    X, y = rows(module)
    # 10 rows in batches of 4 are 3 batches.
    unlearn(module, X, y, range(10), relabel=relabel, noise=noise, max_epochs=3, batch_size=4)
    assert len(searches) == (n_searches if noise else 1)


def test_tilted_target_needs_no_search(searches):
    module = network()
    X, y = rows(module)
    unlearn(module, X, y, range(10), target="tilted", noise=0.5, relabel="batch")
    assert searches == []


@pytest.mark.parametrize("relabel", ["once", "epoch", "batch"])
def test_labels_are_drawn_anew(relabel):
    module = network()
    X, y = rows(module)
    unlearner = unlearn(
        module, X, y, y == 1, make=Recorder, noise=2.0, relabel=relabel, max_epochs=6
    )
    labels = [
        tuple(target.argmax(axis=1)[np.argsort(rows[:, 0])]) for rows, _, target in unlearner.seen_
    ]
    assert len(labels) == 6
    assert len(set(labels)) == 1 if relabel == "once" else len(set(labels)) > 1


def test_options_reach_the_search(searches):
    options = {
        "step_size": 0.4,
        "max_steps": 7,
        "step_decay": None,
        "closeness": -0.6,
        "closeness_decay": "inverse",
        "noise": 0.2,
        "noise_distribution": "laplace",
        "normalize_gradient": False,
        "threshold": 0.3,
        "clip": (-1.0, 2.0),
    }
    unlearn(linear(), RETAINED, RETAINED_LABELS, [0], step_units="absolute", **options)
    (call,) = searches
    assert {name: call[name] for name in options} == options
    assert call["scale"] == 1.0


def test_search_diagnostics_are_those_of_all_rows_in_order():
    # (a, 0) of class 0 is across once 2 * 0.2 * t > a.
    a = np.linspace(0.05, 1.95, 300)  # more rows than are searched at once
    X = np.column_stack([a, np.zeros(300)])
    params = {"step_size": 0.2, "step_decay": None, "step_units": "absolute", "max_steps": 4}
    unlearner = unlearn(
        linear(), X, np.zeros(300, int), range(300), retain_weight=0, max_epochs=1, **params
    )
    search = unlearner.search_
    needed = np.floor(a / 0.4).astype(int) + 1
    n_steps = np.minimum(needed, 4)
    steps = np.arange(5)
    delta = 0.2 * np.minimum(steps[:, None], n_steps)
    logits = np.stack([a - 2 * delta, 0 * delta, 2 * delta - a, 0 * delta - 1], axis=2)
    loss = -np.log(softmax(logits, axis=2)[:, :, 0]).mean(axis=1)

    assert search.X is None
    np.testing.assert_array_equal(search.n_steps, n_steps)
    np.testing.assert_array_equal(search.crossed, needed <= 4)
    np.testing.assert_allclose(search.logits, logits[-1], atol=1e-5)
    np.testing.assert_allclose(search.loss, loss, rtol=1e-5)
    crossed = [((needed <= t) & (t > 0)).mean() for t in steps]
    np.testing.assert_allclose(search.fraction_crossed, crossed, rtol=1e-6)
    assert search.gradient_norm.shape == (4,)
