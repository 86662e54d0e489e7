import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from composing import BatchNormNet
from torch import nn

from sklunlearn._composition_methods import check_weights, find_cuts, get_weights


@pytest.mark.parametrize(
    "cut, expected",
    [
        (None, ["head"]),
        (1, ["head"]),
        (2, ["second.0"]),
        (3, ["first.0"]),
        ("second", ["second"]),
        ("second.1", ["second.1"]),
        (["head", "second"], ["second", "head"]),
        ([1, "second.2", 2], ["second.0", "second.2", "head"]),
        ([None, 2], ["second.0", "head"]),
    ],
)
def test_cuts_are_names_in_the_order_of_the_network(cut, expected):
    assert find_cuts(BatchNormNet(), cut) == expected


@pytest.mark.parametrize(
    "cut, message",
    [
        ("third", "cut='third' is not a submodule of BatchNormNet: choose one of ['first', "),
        (["head", "x"], "cut='x' is not a submodule"),
        (4, "BatchNormNet has 3 layers that count, ['first.0', 'second.0', 'head']: there is none"),
        ([0], "there is none that is number 0 from the output"),
        ([], "cut=[] must name at least one submodule"),
        (["head", "head"], "cut=['head', 'head'] must name at least one submodule, and each once"),
        ([1, "head"], "each once: ['head', 'head']"),
        ([1.5], "cut=[1.5]: each cut must be the name of a submodule, an int"),
        ([["head"]], "cut=[['head']]: each cut must be"),
        ([True], "cut=[True]: each cut must be"),
    ],
)
def test_bad_cuts(cut, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        find_cuts(BatchNormNet(), cut)


def test_a_network_without_a_layer_to_cut_at():
    with pytest.raises(ValueError, match="has no head"):
        find_cuts(nn.Sequential(nn.LayerNorm(3)), None)


def composition(weights, method="average", members=("a", "b", "c")):
    estimators = [(name, "drop" if name == "dropped" else None) for name in members]
    return SimpleNamespace(estimators=estimators, weights=weights, method=method)


def test_weights_are_of_those_that_are_not_dropped():
    np.testing.assert_array_equal(get_weights(composition(None)), np.full(3, 1 / 3))
    members = ("a", "dropped", "c")
    np.testing.assert_array_equal(get_weights(composition(None, members=members)), [0.5, 0.5])
    for weights in ([1, 2, 3], (1, 2, 3), np.array([1, 2, 3]), pd.Series([1, 2, 3])):
        given = composition(weights, members=members)
        check_weights(given)
        np.testing.assert_array_equal(get_weights(given), [1, 3])


@pytest.mark.parametrize("method", ["average", "vote", "task_arithmetic"])
@pytest.mark.parametrize(
    "weights", [[1, 2], [1, 2, 3, 4], [[1, 2, 3]], [1, np.nan, 1], [1, np.inf, 1], list("abc"), 2.0]
)
def test_bad_weights(method, weights):
    with pytest.raises(ValueError, match=r"`weights` must be 3 finite numbers.*got"):
        check_weights(composition(weights, method))


def test_weights_that_overflow():
    with pytest.raises(ValueError, match="more than a float holds"):
        check_weights(composition([1e308, 1e308, 1]))


@pytest.mark.parametrize("weights", [[1, -0.1, 1], [0, 0, 0]])
def test_weights_of_a_mean_and_of_differences(weights):
    check_weights(composition(weights, "task_arithmetic"))
    for method in ("average", "vote"):
        with pytest.raises(ValueError, match=f"method='{method}' must not be negative, nor all 0"):
            check_weights(composition(weights, method))


def test_weights_of_methods_that_have_none_are_not_looked_at():
    for method in ("graft", "interpolate"):
        check_weights(composition([1, 2], method))


def test_all_weight_on_a_dropped_member():
    with pytest.raises(ValueError, match="nor all 0"):
        check_weights(composition([0, 1, 0], members=("a", "dropped", "c")))
