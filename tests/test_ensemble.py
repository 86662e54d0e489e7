import copy
import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from skorch import NeuralNet, NeuralNetClassifier
from torch import nn

from sklunlearn import BoundaryUnlearner
from sklunlearn._ensemble import Ensemble, SideBySide, make_ensemble
from sklunlearn._nets import check_outputs, copy_net, strip_net, weights_digest


class Fixed(nn.Module):
    """Gives the same answer to all rows."""

    def __init__(self, answer):
        super().__init__()
        self.answer = torch.tensor(answer)

    def forward(self, x):
        return self.answer.expand(len(x), -1)


class Same(nn.Module):
    def forward(self, x):
        return x, "something else"


def identity(output):
    return output


def answer(answers, aggregation, weights=None):
    constituents, nonlinearities = [Fixed(a) for a in answers], [identity] * len(answers)
    module = Ensemble(constituents, nonlinearities, aggregation, weights=weights)
    return module(torch.zeros(2, 1)).numpy()


def test_mean():
    answers = [[0.2, 0.8, 0.0], [0.5, 0.3, 0.2]]
    np.testing.assert_allclose(answer(answers, "mean"), [[0.35, 0.55, 0.1]] * 2, rtol=1e-6)


@pytest.mark.parametrize("aggregation", ["mean", "vote"])
def test_weights(aggregation):
    answers = [[0.2, 0.8, 0.0], [0.5, 0.3, 0.2], [0.1, 0.1, 0.8]]
    counted = np.eye(3)[np.argmax(answers, axis=1)] if aggregation == "vote" else answers
    for weights in ([1.0, 3.0, 0.5], [0.25, 0.25, 0.5], [0.0, 2.0, 0.0]):
        expected = np.average(counted, axis=0, weights=weights)
        actual = answer(answers, aggregation, weights)
        np.testing.assert_allclose(actual, [expected] * 2, rtol=1e-6)
    np.testing.assert_array_equal(
        answer(answers, aggregation), answer(answers, aggregation, [1.0, 1.0, 1.0])
    )


def test_vote_is_the_share_of_votes():
    answers = [[0.4, 0.35, 0.25], [0.4, 0.35, 0.25], [0.0, 0.0, 1.0], [0.1, 0.9, 0.0]]
    np.testing.assert_allclose(answer(answers, "vote"), [[0.5, 0.25, 0.25]] * 2)


def test_ties_go_to_the_first_class():
    # Within a constituent, and between two.
    np.testing.assert_array_equal(answer([[0.2, 0.4, 0.4]], "vote"), [[0, 1, 0]] * 2)
    shares = answer([[0.1, 0.0, 0.9], [0.1, 0.9, 0.0]], "vote")
    np.testing.assert_array_equal(shares.argmax(axis=1), [1, 1])


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 2, 3)])
def test_widths_divide_the_input_along_axis_1(shape):
    x = torch.arange(float(np.prod(shape))).reshape(shape)
    module = Ensemble([Same(), Same()], [lambda out: 0 * out[:, :2], identity], "mean", [3, 2])
    assert torch.equal(module(x), x[:, 3:] / 2)


def test_the_answer_to_a_row_does_not_depend_on_its_place_in_the_batch():
    x = torch.rand(33, 7 * 3, generator=torch.Generator().manual_seed(0))
    module = Ensemble([Same()] * 7, [identity] * 7, "mean", [3] * 7)
    assert torch.equal(module(x).flip(0), module(x.flip(0)))


def train(X, y, seed, **params):
    net = NeuralNetClassifier(
        nn.Linear,
        module__in_features=4,
        module__out_features=3,
        criterion=nn.CrossEntropyLoss,
        train_split=None,
        max_epochs=3,
        verbose=0,
        **params,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return net.fit(X, y)


@pytest.fixture
def nets(X, y):
    return [train(X, y, seed) for seed in range(3)]


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def probabilities_by_hand(net, X):
    weight, bias = (parameter.detach().numpy() for parameter in net.module_.parameters())
    return softmax(X @ weight.T + bias)


@pytest.mark.parametrize("aggregation", ["mean", "vote"])
def test_net_answers_as_its_constituents_do_together(nets, X, aggregation):
    expected = np.array([probabilities_by_hand(net, X) for net in nets])
    if aggregation == "vote":
        expected = np.eye(3)[expected.argmax(axis=2)]
    net = make_ensemble([None] * 3, nets, aggregation, X)
    check_outputs(net, torch.from_numpy(X), np.arange(3))
    for same in (
        net,
        copy.deepcopy(net),
        pickle.loads(pickle.dumps(net)),
        copy_net(net),
        strip_net(net),
        FrozenEstimator(net),
    ):
        np.testing.assert_allclose(same.predict_proba(X), expected.mean(axis=0), atol=1e-6)
    assert weights_digest(copy_net(net)) == weights_digest(net)
    assert net.optimizer_ is None


def test_nets_with_a_nonlinearity_of_their_own(X, y):
    nets = [train(X, y, seed, predict_nonlinearity=softmax_of_double) for seed in range(2)]
    weights = [[p.detach().numpy() for p in net.module_.parameters()] for net in nets]
    expected = np.mean([softmax(2 * (X @ w.T + b)) for w, b in weights], axis=0)
    net = make_ensemble([None] * 2, nets, "mean", X)
    np.testing.assert_allclose(net.predict_proba(X), expected, atol=1e-6)


def softmax_of_double(output):
    return torch.softmax(2 * output, dim=1)


def test_the_nets_are_left_as_they_were(nets, X):
    attributes = [dict(vars(net)) for net in nets]
    make_ensemble([None] * 3, nets, "mean", X)
    for net, before in zip(nets, attributes, strict=True):
        assert vars(net).keys() == before.keys()
        assert all(vars(net)[name] is value for name, value in before.items())


def test_a_clone_is_one_untrained_constituent(nets, X):
    fresh = clone(make_ensemble([None] * 3, nets, "mean", X)).initialize()
    assert isinstance(fresh.module_, nn.Linear)
    assert isinstance(fresh.criterion_, nn.CrossEntropyLoss)


def test_an_approximate_method_can_start_from_an_ensemble(nets, X, y):
    net = make_ensemble([None] * 3, nets, "mean", X)
    before = weights_digest(net)
    unlearner = BoundaryUnlearner(FrozenEstimator(net), max_epochs=1, random_state=0).fit(X, y)
    unlearner.unlearn(X, y, forget=(y == 2))
    assert weights_digest(net) == before
    assert weights_digest(unlearner.net_) != before


def test_each_net_has_its_own_preprocessing(nets, X):
    scalers = [make_pipeline(StandardScaler()).fit(X[i::3]) for i in range(3)]
    expected = np.zeros((75, 3))
    for i, net in enumerate(nets):
        scaled = (X - X[i::3].mean(axis=0)) / X[i::3].std(axis=0)
        expected += probabilities_by_hand(net, scaled) / 3
    pipeline = make_ensemble(scalers, nets, "mean", X[:1])
    for same in (pipeline, pickle.loads(pickle.dumps(pipeline)), FrozenEstimator(pipeline)):
        np.testing.assert_allclose(same.predict_proba(X), expected, atol=1e-6)
    with pytest.raises(TypeError, match="cannot be fitted as one"):
        clone(pipeline).fit(X, np.zeros(75))


def test_images_side_by_side():
    images = np.random.default_rng(0).random((5, 2, 3, 3))
    negative = make_pipeline(FunctionTransformer(np.negative)).fit(images)
    beside = SideBySide([make_pipeline(FunctionTransformer()).fit(images), negative])
    result = beside.transform(images)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result[:, :2], images, rtol=1e-6)
    np.testing.assert_allclose(result[:, 2:], -images, rtol=1e-6)


def test_a_net_of_several_modules_is_refused(X, y):
    class Two(NeuralNetClassifier):
        def initialize_module(self):
            super().initialize_module()
            self.second_ = nn.Linear(3, 3)
            return self

    net = Two(nn.Linear, module__in_features=4, module__out_features=3).initialize()
    assert isinstance(net, NeuralNet)
    with pytest.raises(TypeError, match=r"several modules, \['module', 'second'\]"):
        make_ensemble([None], [net], "mean", X)
