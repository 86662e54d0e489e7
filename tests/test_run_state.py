import copy
import random
from collections import deque

import numpy as np
import pytest
import torch
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback, LRScheduler
from torch import nn

from sklunlearn._data import Rows
from sklunlearn._run_state import RunState, UnsaveableError, random_states, set_random_states


class Method:
    """Stands for an unlearner: any object with attributes."""


class Remembers(Callback):
    def __init__(self, value=None):
        self.value = value


def make_net(callbacks=()):
    net = NeuralNetClassifier(
        nn.Linear, module__in_features=2, module__out_features=2, callbacks=list(callbacks)
    )
    idle = ["train_loss", "valid_loss", "valid_acc", "print_log"]
    net.set_params(optimizer__momentum=0.9, **{f"callbacks__{name}": None for name in idle})
    net.initialize()
    net.notify("on_train_begin", X=None, y=None)
    return net


def train(net, n=1):
    for _ in range(n):
        net.notify("on_epoch_begin")
        net.optimizer_.zero_grad()
        net.module_(torch.ones(3, 2)).square().mean().backward()
        net.optimizer_.step()


def parameters_of(net):
    return [parameter.detach().clone() for parameter in net.module_.parameters()]


def assert_equal_lists(found, expected):
    assert len(found) == len(expected)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_random_states():
    def draw():
        return torch.rand(2).tolist(), np.random.rand(2).tolist(), random.random()  # noqa: NPY002

    before = random_states()
    np.random.normal()  # noqa: NPY002 - the second of a pair is held back
    held = random_states()
    first, after_held = draw(), np.random.normal()  # noqa: NPY002
    set_random_states(held)
    assert draw() == first
    assert np.random.normal() == after_held  # noqa: NPY002
    set_random_states(before)
    assert np.random.normal() != after_held  # noqa: NPY002


def test_weights_optimizer_history_and_modes():
    net = make_net()
    state = RunState(net)
    train(net, 2)
    net.history.record("loss", np.float64(0.5))
    net.module_.bias.requires_grad_(False)
    net.module_.eval()
    kept = copy.deepcopy(state.take())
    expected = parameters_of(net)
    train(net, 2)
    net.module_.train().requires_grad_(True)
    state.put_back(kept)
    assert_equal_lists(parameters_of(net), expected)
    assert [row["epoch"] for row in net.history] == [1, 2]
    assert net.history[-1, "loss"] == 0.5
    assert not net.module_.training
    assert [p.requires_grad for p in net.module_.parameters()] == [True, False]

    # One more step from here, by hand: v = 0.9 v + g, w = w - lr v.
    net.module_.requires_grad_(True)
    weight = net.module_.weight
    velocity = kept["optimizers"]["optimizer"]["state"][0]["momentum_buffer"].clone()
    output = weight.detach().sum(dim=1) + net.module_.bias.detach()
    gradient = output[:, None].expand(2, 2)  # of the mean of two squares, by ones
    after = weight.detach() - 0.01 * (0.9 * velocity + gradient)
    train(net)
    torch.testing.assert_close(weight.detach(), after)


def test_order_and_columns_of_rows():
    rows = Rows(np.arange(10.0)[:, None])
    rows["kept"] = torch.arange(10)
    state = RunState(make_net(), (rows,))
    first = rows.next_positions(4)
    rows["drawn"] = torch.arange(10, 20)
    kept = state.take()
    left = [rows.next_positions(4), rows.next_positions(4)]
    assert sorted(torch.cat([first, *left]).tolist()) == list(range(10))
    assert list(kept["columns"][0]) == ["drawn"]

    again = Rows(np.arange(10.0)[:, None])
    RunState(make_net(), (again,)).put_back(kept)
    assert_equal_lists([again.next_positions(4), again.next_positions(4)], left)
    assert again["drawn"].tolist() == list(range(10, 20))
    # Of a series that was not begun, nothing is left.
    assert RunState(make_net(), (Rows(np.zeros((2, 1))),)).take()["orders"][0]["sizes"] == []


def test_what_changes_in_place():
    def make():
        net = make_net()
        method = Method()
        method.counts, method.table = np.zeros(2), {"deep": [{"list": []}]}
        method.weights = list(net.module_.parameters())
        method.mean = [torch.zeros(2, dtype=torch.bfloat16), (np.ones(3), "a")]
        method.pair = [torch.zeros(2)], {"n": 1}
        net.module_.temperature = 1.0
        return net, method, RunState(net, method=method)

    net, method, state = make()
    assert all(not any(each.values()) for each in state.take()["attributes"].values())
    method.counts += [1, 2]
    method.table["deep"][0]["list"].append(7)
    method.mean[0] += 0.5
    method.mean[1][0][2] = 4
    method.pair[0].append(torch.ones(2))
    method.pair[1]["n"] = 2
    net.module_.temperature = 0.25
    with torch.no_grad():
        method.weights[0] += 1
    kept = copy.deepcopy(state.take())

    other, again, fresh = make()
    arrays = again.counts, again.mean[0], again.mean[1][0]
    fresh.put_back(kept)
    assert again.table == {"deep": [{"list": [7]}]}
    assert [part.tolist() for part in again.pair[0]] == [[0, 0], [1, 1]]
    assert again.pair[1] == {"n": 2}
    assert other.module_.temperature == 0.25
    # What others refer to, as an optimizer to the weights, is still the same.
    assert all(a is b for a, b in zip(again.weights, other.module_.parameters(), strict=True))
    torch.testing.assert_close(again.weights, method.weights, rtol=0, atol=0)
    assert arrays[0] is again.counts and arrays[0].tolist() == [1, 2]
    assert arrays[1] is again.mean[0] and arrays[1].tolist() == [0.5, 0.5]
    assert arrays[2] is again.mean[1][0] and arrays[2].tolist() == [1, 1, 4]


@pytest.mark.parametrize(
    "make",
    [
        lambda: np.arange(4.0)[::-1],
        lambda: np.arange(4, dtype=">i4"),
        lambda: np.arange(4).astype(np.float16)[::2],
        lambda: np.array(1 + 2j),
        lambda: torch.tensor([1j, 2]).conj(),
        lambda: torch.zeros(0, 2),
    ],
)
def test_arrays_of_every_kind(make):
    method, other = Method(), Method()
    method.value, other.value = make(), make()
    state, fresh = RunState(make_net(), method=method), RunState(make_net(), method=other)
    assert not any(state.take()["attributes"]["method"].values())
    method.value *= 3
    kept = copy.deepcopy(state.take())
    assert (len(kept["attributes"]["method"]["contents"]) == 1) == (method.value.shape != (0, 2))
    held = other.value
    fresh.put_back(kept)
    assert other.value is held and held.tolist() == (3 * make()).tolist()
    method.new = make()
    fresh.put_back(copy.deepcopy(state.take()))
    assert other.new.tolist() == make().tolist()


@pytest.mark.parametrize("value", [np.zeros(2, dtype=np.longdouble), torch.zeros(2, device="meta")])
def test_arrays_of_other_kinds_are_left_alone(value):
    method = Method()
    method.value, method.fixed = value, np.arange(3.0)
    method.fixed.flags.writeable = False
    state = RunState(make_net(), method=method)
    assert not any(state.take()["attributes"]["method"].values())


def test_attributes_that_change():
    method = Method()
    method.fixed, method.teacher, method.numbers, method.table = "a", object(), [1], {"a": 1}
    state = RunState(make_net(), method=method)
    assert state.take()["attributes"]["method"]["changed"] == {}
    method.numbers.append(2)
    method.table["b"] = np.arange(3)
    method.new = (1, np.float32(0.5), torch.ones(2), None)
    kept = copy.deepcopy(state.take())
    assert set(kept["attributes"]["method"]["changed"]) == {"numbers", "table", "new"}

    other = Method()
    other.fixed, other.numbers, other.table = "b", [1], {"a": 1}
    RunState(make_net(), method=other).put_back(kept)
    assert other.fixed == "b"
    assert other.numbers == [1, 2]
    assert isinstance(other.table["b"], np.ndarray)
    assert other.table["b"].tolist() == [0, 1, 2]
    assert other.new[:2] == (1, 0.5)
    assert other.new[2].tolist() == [1, 1]


@pytest.mark.parametrize(
    "value", [object(), {1, 2}, np.array(["a"]), [object()], {(1, 2): 3}, lambda: 1, nn.ReLU()]
)
def test_values_without_a_form(value):
    method = Method()
    state = RunState(make_net(), method=method)
    method.value = value
    with pytest.raises(UnsaveableError, match="attribute 'value' of Method holds a"):
        state.take()


@pytest.mark.parametrize("make", [lambda: {1}, lambda: deque([1])])
def test_containers_without_a_form_that_change_in_place(make):
    method = Method()
    method.seen, method.fixed = make(), [(make(), 1)]
    state = RunState(make_net(), method=method)
    assert state.take()["attributes"]["method"]["changed"] == {}
    method.seen.pop()
    with pytest.raises(UnsaveableError, match="attribute 'seen' of Method holds a"):
        state.take()


@pytest.mark.parametrize(
    ("make", "draw"),
    [
        (lambda: torch.Generator().manual_seed(0), lambda g: torch.rand(2, generator=g).tolist()),
        (lambda: np.random.RandomState(0), lambda g: g.normal()),
        (lambda: np.random.default_rng(0), lambda g: g.normal()),
    ],
)
def test_generators(make, draw):
    generator = make()
    callback = Remembers(generator)
    state = RunState(make_net([callback]))
    draw(generator)
    kept = copy.deepcopy(state.take())
    expected = draw(generator)
    state.put_back(kept)
    assert callback.value is generator
    assert draw(generator) == expected != draw(make())


def test_schedules_of_the_learning_rate():
    net = make_net([("rate", LRScheduler("StepLR", step_size=2, gamma=0.1))])
    state = RunState(net)
    train(net)
    net.notify("on_epoch_end")
    kept = copy.deepcopy(state.take())
    for _ in range(2):
        train(net)
        net.notify("on_epoch_end")
    assert net.optimizer_.param_groups[0]["lr"] == pytest.approx(0.001)
    state.put_back(kept)
    assert net.optimizer_.param_groups[0]["lr"] == 0.01
    train(net)
    net.notify("on_epoch_end")
    assert net.optimizer_.param_groups[0]["lr"] == pytest.approx(0.001)
