import pickle

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from sklunlearn.trainable import (
    head_module,
    reinitialize,
    select_parameters,
    training_only,
)


def conv_net():
    """Names: 0 BatchNorm before the first layer, 1 Conv, 2 BatchNorm, 4 PReLU, 6 and 8 Linear."""
    return nn.Sequential(
        nn.BatchNorm2d(1),
        nn.Conv2d(1, 2, 3),
        nn.BatchNorm2d(2),
        nn.ReLU(),
        nn.PReLU(),
        nn.Flatten(),
        nn.Linear(8, 3),
        nn.LayerNorm(3),
        nn.Linear(3, 2),
    )


def of_layers(*indices):
    return [f"{i}.{p}" for i in indices for p in (("weight",) if i == 4 else ("weight", "bias"))]


@pytest.mark.parametrize(
    "trainable, indices",
    [
        ("all", [0, 1, 2, 4, 6, 7, 8]),
        ("head", [8]),
        (1, [8]),
        (2, [6, 7, 8]),
        (3, [0, 1, 2, 4, 6, 7, 8]),
    ],
)
def test_layers_are_counted_from_the_output_and_norms_belong_to_them(trainable, indices):
    assert select_parameters(conv_net(), trainable) == of_layers(*indices)


def test_norms_after_the_layer_belong_to_the_selection_but_not_those_before_it():
    net = nn.Sequential(
        nn.Linear(2, 2), nn.BatchNorm1d(2), nn.PReLU(), nn.Linear(2, 2), nn.GroupNorm(1, 2)
    )
    assert select_parameters(net, 1) == ["3.weight", "3.bias", "4.weight", "4.bias"]
    assert head_module(net) == ("3", net[3])


@pytest.mark.parametrize(
    "norm",
    [
        nn.BatchNorm1d(2),
        nn.SyncBatchNorm(2),
        nn.LayerNorm(2),
        nn.GroupNorm(1, 2),
        nn.InstanceNorm1d(2, affine=True),
        nn.RMSNorm(2),
        type("OtherRMSNorm", (nn.Linear,), {})(2, 2),
        type("Renamed", (nn.BatchNorm1d,), {})(2),
        nn.PReLU(),
    ],
    ids=lambda norm: type(norm).__name__,
)
def test_norm_is_not_counted(norm):
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), norm)
    assert head_module(net)[0] == "1"
    with pytest.raises(ValueError, match="has 2 that count"):
        select_parameters(net, 3)


def test_nested_modules_in_registration_order():
    net = nn.ModuleDict(
        {
            "encoder": nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 2))),
            "head": nn.Linear(2, 2, bias=False),
        }
    )
    assert select_parameters(net, 2) == ["encoder.1.0.weight", "encoder.1.0.bias", "head.weight"]


def test_the_module_itself_can_be_the_layer():
    net = nn.Linear(2, 2)
    assert select_parameters(net, "head") == ["weight", "bias"]
    assert head_module(net) == ("", net)


def test_attention_follows_the_general_rule():
    net = nn.MultiheadAttention(4, 2)
    assert select_parameters(net, 1) == ["out_proj.weight", "out_proj.bias"]
    assert select_parameters(net, 2) == [name for name, _ in net.named_parameters()]


def test_shared_parameter_belongs_to_every_owner():
    net = nn.Sequential(nn.Embedding(5, 3), nn.Linear(3, 3), nn.Linear(3, 5))
    net[2].weight = net[0].weight
    assert select_parameters(net, "head") == ["0.weight", "2.bias"]
    assert select_parameters(net, 2) == ["0.weight", "1.weight", "1.bias", "2.bias"]


def test_parametrized_layer_counts_once():
    net = nn.Sequential(nn.Linear(2, 2), weight_norm(nn.Linear(2, 2, bias=False)))
    assert head_module(net) == ("1", net[1])
    original = [f"1.parametrizations.weight.original{i}" for i in range(2)]
    assert select_parameters(net, "head") == original
    with pytest.raises(ValueError, match="has 2 that count"):
        select_parameters(net, 3)


def test_frozen_parameters_are_left_out_except_by_a_callable():
    net = conv_net()
    net[8].weight.requires_grad_(False)
    assert select_parameters(net, "head") == ["8.bias"]
    assert "8.weight" not in select_parameters(net, "all")
    assert select_parameters(net, lambda name, p: name.startswith("8.")) == of_layers(8)


def test_callable_gets_name_and_parameter():
    net = conv_net()
    assert select_parameters(net, lambda name, p: p.shape == (3, 8)) == ["6.weight"]


@pytest.mark.parametrize(
    "trainable, error, message",
    [
        ("tail", ValueError, "'tail' is unknown: pass 'all', 'head', an int or a callable"),
        (0, ValueError, "pass an int between 1 and 3"),
        (-1, ValueError, "pass an int between 1 and 3"),
        (4, ValueError, "asks for the last 4 layers, but Sequential has 3 that count"),
        (True, TypeError, "got True"),
        (1.0, TypeError, r"got 1\.0"),
        (None, TypeError, "got None"),
        (["8.weight"], TypeError, "callable"),
        (lambda name, p: False, ValueError, "matches no parameter.*'8.weight'"),
    ],
)
def test_errors(trainable, error, message):
    with pytest.raises(error, match=message):
        select_parameters(conv_net(), trainable)


def test_all_frozen_and_no_layers_are_errors():
    net = nn.Linear(2, 2).requires_grad_(False)
    with pytest.raises(ValueError, match=r"weight \(requires_grad=False\)"):
        select_parameters(net, "all")
    with pytest.raises(ValueError, match="has no head"):
        head_module(nn.Sequential(nn.LayerNorm(3), nn.ReLU()))


def test_the_kth_last_layer_that_counts():
    net = conv_net()
    assert [head_module(net, k) for k in (1, 2, 3)] == [("8", net[8]), ("6", net[6]), ("1", net[1])]
    for k in (0, 4, -1):
        message = rf"Sequential has 3 layers that count, \['1', '6', '8'\]: .* number {k} from"
        with pytest.raises(ValueError, match=message):
            head_module(net, k)


def batchnorm_net(affine=True):
    return nn.Sequential(
        nn.Linear(3, 4), nn.BatchNorm1d(4, affine=affine), nn.Linear(4, 4), nn.BatchNorm1d(4)
    )


def train(net, steps=3):
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, weight_decay=0.1)
    X = torch.randn(16, 3, generator=torch.Generator().manual_seed(0)) + 5
    for _ in range(steps):
        net.train()
        optimizer.zero_grad()
        net(X).square().mean().backward()
        optimizer.step()


def changed(net, before):
    return {
        name for name, value in net.state_dict().items() if not torch.equal(value, before[name])
    }


STATISTICS = ["running_mean", "running_var", "num_batches_tracked"]


@pytest.mark.parametrize(
    "affine, names, freeze_batchnorm, moving",
    [
        (True, ["2.weight"], True, []),
        (True, ["0.weight", "1.bias", "3.weight"], True, []),
        (True, ["2.weight"], False, []),
        (True, ["2.weight", "3.bias"], False, [3]),
        (True, ["1.weight", "2.weight"], False, [1]),
        (False, ["2.weight", "3.weight", "3.bias"], False, [3]),
        (False, ["0.weight", "0.bias", "2.weight", "2.bias", "3.weight", "3.bias"], False, [1, 3]),
        (False, ["0.weight", "0.bias", "2.weight", "2.bias", "3.weight", "3.bias"], True, []),
    ],
)
def test_only_named_parameters_and_live_statistics_change(affine, names, freeze_batchnorm, moving):
    net = batchnorm_net(affine)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with training_only(net, names, freeze_batchnorm=freeze_batchnorm):
        train(net)
    # The gradient of a bias before a live BatchNorm is 0 up to rounding, so it may stay.
    expected = {*names, *(f"{i}.{statistic}" for i in moving for statistic in STATISTICS)}
    assert changed(net, before) <= expected
    assert expected - changed(net, before) <= {"0.bias", "2.bias"}


def test_user_frozen_parameters_do_not_hinder_everything():
    net = batchnorm_net(affine=False)
    net[0].requires_grad_(False)
    before = net[1].running_mean.clone()
    with training_only(net, select_parameters(net, "all"), freeze_batchnorm=False):
        train(net)
    assert not torch.equal(net[1].running_mean, before)


def test_frozen_batchnorm_normalises_by_its_statistics():
    layer = nn.BatchNorm1d(1)
    layer.running_mean.fill_(2.0)
    layer.running_var.fill_(9.0 - layer.eps)
    with training_only(layer, ["weight"], freeze_batchnorm=True):
        output = layer.train()(torch.tensor([[5.0]]))  # in training mode one row is an error
    torch.testing.assert_close(output, torch.tensor([[1.0]]))


@pytest.mark.parametrize("fails", [False, True])
def test_flags_and_hooks_are_restored(fails):
    net = batchnorm_net()
    net[0].bias.requires_grad_(False)
    net.train()
    net[2].eval()
    requires_grad = [p.requires_grad for p in net.parameters()]
    training = [m.training for m in net.modules()]
    try:
        with training_only(net, ["0.bias", "2.bias"], freeze_batchnorm=True) as entered:
            assert entered is net
            named = {name for name, p in net.named_parameters() if p.requires_grad}
            assert named == {"0.bias", "2.bias"}
            train(net)
            pickle.dumps(net)
            if fails:
                raise KeyboardInterrupt
    except KeyboardInterrupt:
        assert fails
    assert [p.requires_grad for p in net.parameters()] == requires_grad
    assert [m.training for m in net.modules()] == training
    before = net[1].running_mean.clone()
    train(net)
    assert not torch.equal(net[1].running_mean, before)


def test_unknown_name():
    net = batchnorm_net()
    with (
        pytest.raises(ValueError, match=r"\['9.weight'\] are not parameters.*'0.weight'"),
        training_only(net, ["0.weight", "9.weight"], freeze_batchnorm=True),
    ):
        pass
    assert all(p.requires_grad for p in net.parameters())


# New initial weights


def seeded(make):
    torch.manual_seed(5)
    return make()


@pytest.mark.parametrize("trainable", ["all", 3])
def test_new_weights_are_those_of_a_new_network(trainable):
    net = conv_net()
    net(torch.randn(4, 1, 4, 4))  # moves the statistics
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(1)
    expected = seeded(conv_net)
    seeded(lambda: reinitialize(net, select_parameters(net, trainable)))
    assert changed(net, expected.state_dict()) == set()


@pytest.mark.parametrize(
    ("trainable", "names"),
    [
        ("head", ["8.weight", "8.bias"]),
        (2, ["6.weight", "6.bias", "7.weight", "7.bias", "8.weight", "8.bias"]),
        (
            lambda name, p: name.startswith("2."),
            ["2.weight", "2.bias", "2.running_mean", "2.running_var", "2.num_batches_tracked"],
        ),
    ],
)
def test_only_named_layers_get_new_weights(trainable, names):
    net = conv_net().train()
    net(torch.randn(4, 1, 4, 4))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(1)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    reinitialize(net, select_parameters(net, trainable))
    assert changed(net, before) == set(names)


def test_layers_are_drawn_in_the_order_of_registration():
    net = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2))
    expected = seeded(lambda: nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2)))
    seeded(lambda: reinitialize(net, reversed(select_parameters(net, "all"))))
    assert changed(net, expected.state_dict()) == set()


@pytest.mark.parametrize("everything", [True, False])
def test_statistics_of_a_batchnorm_without_parameters(everything):
    net = batchnorm_net(affine=False)
    net(torch.randn(9, 3) + 3)
    statistics = net[1].running_mean.clone()
    reinitialize(net, select_parameters(net, "all" if everything else 1))
    if everything:
        assert net[1].running_mean.tolist() == [0] * 4
        assert net[1].running_var.tolist() == [1] * 4
        assert net[1].num_batches_tracked == 0
    else:
        assert torch.equal(net[1].running_mean, statistics)


def test_new_weights_can_be_trained():
    net = nn.Linear(2, 2)
    reinitialize(net, ["weight", "bias"])
    net(torch.ones(1, 2)).sum().backward()
    assert net.weight.requires_grad and net.weight.is_leaf and net.weight.grad is not None


class Scale(nn.Module):
    """A layer without reset_parameters."""

    def __init__(self):
        super().__init__()
        self.factor = nn.Parameter(torch.ones(1))

    def forward(self, x):
        return self.factor * x


@pytest.mark.parametrize(
    ("names", "layer"),
    [
        (["0.weight"], "0"),
        (["0.weight", "0.bias", "1.factor"], "1"),
        (["0.weight", "0.bias", "2.bias"], "2"),
    ],
)
def test_layers_that_cannot_get_new_weights(names, layer):
    net = nn.Sequential(nn.Linear(2, 2), Scale(), nn.Linear(2, 2))
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with pytest.raises(ValueError, match=rf"The layer '{layer}'.*reset_parameters"):
        reinitialize(net, names)
    assert changed(net, before) == set()
    with pytest.raises(ValueError, match="The layer 'Scale'"):
        reinitialize(net[1], ["factor"])
