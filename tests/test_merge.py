from types import SimpleNamespace

import numpy as np
import pytest
import torch
from composing import BatchNormNet, assert_same, initialized, shifted, state
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from sklunlearn._data import Rows
from sklunlearn._members import check_same_architecture
from sklunlearn._merge import add_differences, average, graft, is_one_of, recalibrate


@pytest.fixture
def start():
    return initialized(BatchNormNet)


@pytest.fixture
def nets(start):
    """Three nets made from `start`."""
    return [shifted(start, seed=seed) for seed in range(3)]


def linear_net(weight, bias):
    net = initialized(nn.Sequential(nn.Linear(4, 3)))
    with torch.no_grad():
        net.module_[0].weight.copy_(torch.as_tensor(weight))
        net.module_[0].bias.copy_(torch.as_tensor(bias))
    return net


def weights_of(net):
    """Weight and bias of a linear net in one vector, float64."""
    return np.concatenate([value.ravel() for value in state(net).values()]).astype(float)


# graft


@pytest.mark.parametrize(
    "cuts, prefixes",
    [
        (["head"], [("first.", "second."), ("head.",)]),
        (["second"], [("first.",), ("second.", "head.")]),
        (["second.1"], [("first.", "second.0."), ("second.1.", "head.")]),
        (["second", "head"], [("first.",), ("second.",), ("head.",)]),
        (["second", "second.1"], [("first.",), ("second.0.",), ("second.1.", "head.")]),
    ],
)
def test_each_part_is_bit_for_bit_that_of_its_donor(nets, cuts, prefixes):
    donors = nets[: len(prefixes)]
    before = [state(net) for net in donors]
    grafted = state(graft(donors, cuts))
    expected = {
        k: v for d, p in zip(before, prefixes, strict=True) for k, v in d.items() if k.startswith(p)
    }
    assert grafted.keys() == expected.keys()
    for key, value in expected.items():
        np.testing.assert_array_equal(value, grafted[key], err_msg=key)
    for net, old in zip(donors, before, strict=True):
        assert_same(net, old)


def test_a_graft_shares_no_memory_with_its_donors(nets):
    grafted = graft(nets[:2], ["head"])
    before = state(nets[0])
    with torch.no_grad():
        for value in grafted.module_.state_dict().values():
            value.zero_()
    assert_same(nets[0], before)


def test_graft_of_a_parametrized_layer():
    def module():
        return nn.Sequential(weight_norm(nn.Linear(4, 4)), weight_norm(nn.Linear(4, 3)))

    a, b = initialized(module(), seed=1), initialized(module(), seed=2)
    b = shifted(b)
    grafted, a, b = state(graft([a, b], ["1"])), state(a), state(b)
    for key, value in grafted.items():
        np.testing.assert_array_equal(value, (a if key.startswith("0") else b)[key])


class Tied(nn.Module):
    """The weights of two layers are the same; with `whole`, the layers are one."""

    def __init__(self, whole=False):
        super().__init__()
        self.a, self.b, self.head = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 3)
        if whole:
            self.b = self.a
        else:
            self.b.weight = self.a.weight

    def forward(self, x):
        return self.head(self.b(self.a(x)))


@pytest.mark.parametrize("whole", [False, True])
def test_shared_weights_lie_on_one_side_of_a_cut(whole):
    a, b = (shifted(initialized(Tied(whole))), shifted(initialized(Tied(whole)), seed=1))
    grafted = state(graft([a, b], ["head"]))
    for key, value in grafted.items():
        donor = b if key.startswith("head") else a
        np.testing.assert_array_equal(value, state(donor)[key], err_msg=key)


def test_a_cut_through_shared_weights():
    nets = [initialized(Tied(), seed=seed) for seed in range(2)]
    with pytest.raises(ValueError, match=r"goes through 'b.weight', which is shared"):
        graft(nets, ["b"])


def test_a_cut_through_a_shared_layer():
    nets = [initialized(Separated(), seed=seed) for seed in range(2)]
    with pytest.raises(ValueError, match=r"goes through .*, which is shared"):
        graft(nets, ["middle"])


def test_a_network_of_one_layer():
    nets = [initialized(lambda: nn.Linear(4, 3)) for _ in range(2)]
    with pytest.raises(ValueError, match="one layer cannot be divided, use another method"):
        graft(nets, [""])


class Separated(nn.Module):
    """One layer is applied before and after another."""

    def __init__(self):
        super().__init__()
        self.a, self.middle = nn.Linear(4, 4), nn.Linear(4, 4)
        self.again, self.head = self.a, nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.again(self.middle(self.a(x))))


@pytest.mark.parametrize(
    "cuts, part", [(["first"], 1), (["first.0"], 1), (["", "head"], 1), (["second.2", "head"], 2)]
)
def test_a_part_without_a_parameter(nets, cuts, part):
    with pytest.raises(ValueError, match=f"leaves part {part} of {len(cuts) + 1}"):
        graft(nets[: len(cuts) + 1], cuts)


# average


def test_average_is_that_of_numpy(nets):
    weights = [0.5, 0.3, 0.2]
    merged = state(average(nets, weights))
    for key, value in merged.items():
        values = [state(net)[key] for net in nets]
        if value.dtype.kind == "i":
            assert value == values[0]
        else:
            expected = np.average(np.array(values, dtype=float), axis=0, weights=weights)
            np.testing.assert_array_equal(value, expected.astype(np.float32), err_msg=key)


def test_average_of_one_and_the_same_and_of_a_single_weight(nets):
    assert_same(average([nets[0], nets[0]], [0.5, 0.5]), nets[0])
    assert_same(average([nets[0], nets[0]], [0.7, 0.3]), nets[0])
    assert_same(average([nets[0], nets[1]], [1.0, 0.0]), nets[0])
    merged = state(average([nets[0], nets[1]], [0.0, 1.0]))
    for key in ("first.0.weight", "first.1.running_var", "head.bias"):
        np.testing.assert_array_equal(merged[key], state(nets[1])[key])


# task arithmetic


def test_differences_are_added(start, nets):
    weights = np.array([1.0, -0.5, 2.0])
    merged, origin = state(add_differences(start, nets, weights)), state(start)
    for key, value in merged.items():
        if value.dtype.kind == "i":
            assert value == state(nets[0])[key]
            continue
        old = origin[key].astype(float)
        expected = old + sum(
            w * (state(net)[key] - old) for w, net in zip(weights, nets, strict=True)
        )
        if key.endswith("running_var"):
            expected = np.maximum(expected, 0)
        np.testing.assert_allclose(value, expected, rtol=1e-6, err_msg=key)


def test_a_difference_of_weight_1_gives_the_network_itself(start, nets):
    assert_same(add_differences(start, nets[:1], np.ones(1)), nets[0])
    assert_same(add_differences(start, [nets[0]] * 2, np.full(2, 0.5)), nets[0])
    assert_same(add_differences(start, nets[:2], np.array([1.0, 0.0])), nets[0])


def test_a_running_variance_is_not_negative(start):
    lower = initialized(BatchNormNet)
    with torch.no_grad():
        for layer in (lower.module_.first[1], lower.module_.second[1]):
            layer.running_var.mul_(0.25)
    merged = add_differences(start, [lower, lower], np.ones(2))
    assert state(merged)["first.1.running_var"].min() >= 0
    assert np.isfinite(merged.predict_proba(np.ones((2, 4), dtype=np.float32))).all()


def ties(origin, vectors, weights, keep):
    """TIES-Merging of vectors: trim, elect, disjoint mean, as in Algorithm 1 of the paper.

    The paper's scale of the merged vector is the sum of `weights`, which are alike there.
    """
    n = len(origin)
    trimmed = []
    for vector in vectors:
        task = vector - origin
        kept = np.argsort(-np.abs(task))[: round(keep * n)]
        trimmed.append(np.zeros(n))
        trimmed[-1][kept] = task[kept]
    merged = np.zeros(n)
    for p in range(n):
        column = np.array([w * task[p] for w, task in zip(weights, trimmed, strict=True)])
        sign = np.sign(column.sum())
        agreeing = (np.sign(column) == sign) & (column != 0)
        if agreeing.any():
            mean = column[agreeing].sum() / np.abs(weights)[agreeing].sum()
            merged[p] = np.abs(weights).sum() * mean
    return origin + merged


@pytest.mark.parametrize("weights", [[1 / 3] * 3, [1.0, 1.0, 1.0], [2.0, 0.5, 1.0]])
@pytest.mark.parametrize("trim", [0.0, 0.2, 0.8])
def test_trim_and_elect_sign_are_ties_merging(weights, trim):
    rng = np.random.default_rng(0)
    origin, *others = (linear_net(rng.normal(size=(3, 4)), rng.normal(size=3)) for _ in range(4))
    merged = add_differences(origin, others, np.array(weights), trim, True)
    vectors = [weights_of(net) for net in others]
    expected = ties(weights_of(origin), vectors, np.array(weights), 1 - trim)
    np.testing.assert_allclose(weights_of(merged), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("trim", [0.2, 0.4, 0.999])
def test_trim_leaves_out_the_smallest_differences(trim):
    rng = np.random.default_rng(1)
    origin, other = (linear_net(rng.normal(size=(3, 4)), rng.normal(size=3)) for _ in range(2))
    start, end = weights_of(origin), weights_of(other)
    smallest = np.argsort(np.abs(end - start))[: int(trim * 15)]
    expected = end.copy()
    expected[smallest] = start[smallest]
    merged = weights_of(add_differences(origin, [other], np.ones(1), trim))
    np.testing.assert_array_equal(merged, expected)


def test_differences_that_cancel_each_other_elect_no_sign():
    origin = linear_net(np.zeros((3, 4)), np.zeros(3))
    plus, minus = (linear_net(np.full((3, 4), s), np.full(3, s)) for s in (0.5, -0.5))
    merged = add_differences(origin, [plus, minus], np.full(2, 0.5), 0.0, True)
    assert_same(merged, origin)


def test_trim_counts_the_parameters_and_leaves_statistics_alone(start, nets):
    merged = state(add_differences(start, nets[:1], np.ones(1), trim=0.5))
    origin, end = state(start), state(nets[0])
    names = dict(start.module_.named_parameters())
    left_out = sum((merged[k] == origin[k]).sum() for k in names)
    assert left_out == sum(origin[k].size for k in names) // 2
    np.testing.assert_array_equal(merged["first.1.running_mean"], end["first.1.running_mean"])


def test_shared_weights_are_trimmed_too():
    start = initialized(Tied())
    end, double = shifted(start), shifted(start, seed=5)
    once = state(add_differences(start, [end, double], np.ones(2), 0.5, True))
    apart = state(_untied(add_differences, start, [end, double]))
    np.testing.assert_array_equal(once["a.weight"], apart["a.weight"])


def _untied(function, start, nets):
    """As if nothing had been shared; what is shared counts once for the threshold."""

    def untie(net):
        net = shifted(net, scale=0)
        module = nn.Module()
        for name, parameter in net.module_.named_parameters():  # the shared one has one name
            module.register_parameter(name.replace(".", "_"), parameter)
        net.module_ = module
        return net

    merged = function(untie(start), [untie(net) for net in nets], np.ones(2), 0.5, True)
    renamed = nn.Module()
    renamed.a = nn.Module()
    renamed.a.weight = merged.module_.a_weight
    merged.module_ = renamed
    return merged


# recalibrate


def batchnorm_by_hand(net, X):
    """Mean and unbiased variance before each BatchNorm, by NumPy, of all rows at once."""
    weights = {key: value.astype(float) for key, value in state(net).items()}
    expected, x = {}, X.astype(float)
    for part in ("first", "second"):
        x = x @ weights[f"{part}.0.weight"].T + weights[f"{part}.0.bias"]
        mean, var = x.mean(axis=0), x.var(axis=0)
        expected[f"{part}.1.running_mean"] = mean
        expected[f"{part}.1.running_var"] = x.var(axis=0, ddof=1)
        x = (x - mean) / np.sqrt(var + 1e-5)
        x = np.tanh(x * weights[f"{part}.1.weight"] + weights[f"{part}.1.bias"])
    return expected


def test_statistics_are_those_of_the_rows(nets, X):
    net, indices = nets[0], np.arange(0, 75, 2)
    before = state(net)
    recalibrate(net, Rows(X, indices=indices))
    after, expected = state(net), batchnorm_by_hand(net, X[indices])
    for key, value in after.items():
        if key in expected:
            np.testing.assert_allclose(value, expected[key], rtol=1e-4, atol=1e-5, err_msg=key)
        elif not key.endswith("num_batches_tracked"):
            np.testing.assert_array_equal(value, before[key])
    assert not net.module_.training


def test_statistics_of_several_batches_are_their_mean(nets):
    X = np.random.default_rng(0).normal(size=(512, 4)).astype(np.float32)
    recalibrate(nets[0], Rows(X))
    halves = [
        batchnorm_by_hand(nets[0], half)["first.1.running_mean"] for half in (X[:256], X[256:])
    ]
    actual = state(nets[0])["first.1.running_mean"]
    np.testing.assert_allclose(actual, np.mean(halves, axis=0), atol=1e-5)


def test_dropout_does_not_take_part_in_statistics(X):
    layers = nn.Linear(4, 6), nn.Dropout(0.5), nn.BatchNorm1d(6), nn.Linear(6, 3)
    net = initialized(nn.Sequential(*layers))
    recalibrate(net, Rows(X))
    weights = state(net)
    expected = X.astype(float) @ weights["0.weight"].T + weights["0.bias"]
    np.testing.assert_allclose(weights["2.running_mean"], expected.mean(axis=0), atol=1e-4)


def test_a_single_row_has_no_statistics(nets, X):
    before = state(nets[0])
    recalibrate(nets[0], Rows(X, indices=np.array([3])))
    assert_same(nets[0], before)


def test_the_momentum_of_batchnorm_is_as_it_was(nets, X):
    nets[0].module_.first[1].momentum = 0.37
    recalibrate(nets[0], Rows(X))
    assert nets[0].module_.first[1].momentum == 0.37


def test_is_one_of(nets):
    assert is_one_of(average(nets[:2], [1.0, 0.0]), nets)
    assert not is_one_of(average(nets[:2], [0.5, 0.5]), nets)


def test_layers_are_merged_in_pieces(nets, monkeypatch):
    start, *others = nets
    weight = others[0].module_.second[0].weight
    weight.data = weight.data.T.contiguous().T
    assert not weight.is_contiguous()

    def merged():
        weights = np.array([0.7, -0.4])[: len(others)]
        yield average(nets, [1 / len(nets)] * len(nets))
        yield add_differences(start, others, weights, 0.3, elect_sign=True)
        yield graft(nets[:2], ["head"])

    whole = [state(net) for net in merged()]
    monkeypatch.setattr("sklunlearn._merge._PIECE", 5)
    for expected, net in zip(whole, merged(), strict=True):
        for key, value in state(net).items():
            np.testing.assert_array_equal(value, expected[key], err_msg=key)


class Noted(nn.Sequential):
    """With a state that is no tensor."""

    def __init__(self):
        super().__init__(nn.Linear(4, 3), nn.Linear(3, 3))

    def get_extra_state(self):
        return {"note": "a"}

    def set_extra_state(self, state):
        pass


def test_a_state_that_is_no_tensor():
    nets = [initialized(Noted, seed) for seed in range(2)]
    first, second = ([p.detach() for p in net.module_.parameters()] for net in nets)
    weights = np.array([0.5, 0.5])
    for merged, expected in [
        (average(nets, weights), [(a + b) / 2 for a, b in zip(first, second, strict=True)]),
        (graft(nets, ["1"]), first[:2] + second[2:]),
    ]:
        torch.testing.assert_close(list(merged.module_.parameters()), expected)
    members = [SimpleNamespace(net_=net, preprocessing_=None) for net in nets]
    check_same_architecture(["one", "other"], members)
