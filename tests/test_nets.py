import copy
import hashlib
import signal

import numpy as np
import pytest
import torch
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch import NeuralNetBinaryClassifier, NeuralNetClassifier
from skorch.callbacks import Callback
from torch import nn

from sklunlearn import _nets
from sklunlearn._data import Rows
from sklunlearn.exceptions import DivergenceError


def weights_of(net):
    return [value.clone() for value in net.module_.state_dict().values()]


def assert_same(values, others):
    assert all(torch.equal(one, other) for one, other in zip(values, others, strict=True))


def make_net(module, criterion=nn.CrossEntropyLoss, **params):
    """A net that is initialized with this module."""
    net = NeuralNetClassifier(
        module, criterion=criterion, train_split=None, verbose=0, classes=[0, 1, 2], **params
    )
    return net.initialize()


class Linear(nn.Module):
    """Logits of two features for three classes: x0, x1 and 0; after a dropout of everything."""

    def __init__(self, after=None):
        super().__init__()
        self.after = after or nn.Identity()
        self.dropout = nn.Dropout(1.0)
        self.linear = nn.Linear(2, 3, bias=False)
        self.linear.weight.data = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])

    def forward(self, x):
        return self.after(self.linear(self.dropout(x)))


class Pair(Linear):
    def forward(self, x):
        return super().forward(x), x


def softmax(logits):
    powers = np.exp(np.asarray(logits, dtype=np.float64))
    return powers / powers.sum(axis=1, keepdims=True)


# Which estimators will do


def test_skorch_classifiers_will_do(net):
    pipeline = make_pipeline(StandardScaler(), net)
    for estimator in (net, pipeline, FrozenEstimator(net), FrozenEstimator(pipeline)):
        _nets.check_estimator_type(estimator)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda net: LogisticRegression(),
            r"got LogisticRegression\(\)\. .*wrap your torch module",
        ),
        (lambda net: make_pipeline(LogisticRegression()), "got a Pipeline that ends in Logistic"),
        (lambda net: NeuralNetBinaryClassifier(nn.Linear), "give the module two outputs"),
        (lambda net: make_pipeline(FrozenEstimator(net)), r"FrozenEstimator\(pipeline\)"),
        (lambda net: FrozenEstimator(FrozenEstimator(net)), "must be a skorch"),
    ],
)
def test_other_estimators_will_not(net, make, message):
    with pytest.raises(TypeError, match=message):
        _nets.check_estimator_type(make(net))


# Copies


def test_a_copied_net_has_weights_of_its_own(trained_net, X, y):
    copied = _nets.copy_net(trained_net)
    before = weights_of(trained_net)
    assert_same(weights_of(copied), before)
    with torch.no_grad():
        for parameter in copied.module_.parameters():
            parameter.add_(1)
    assert_same(weights_of(trained_net), before)
    assert list(copied.history_) == []
    assert len(trained_net.history_) == 10
    assert copied.optimizer_ is None
    assert trained_net.optimizer_ is not None


def test_hooks_of_a_copy_are_its_own(trained_net, X):
    calls = []
    trained_net.module_.register_forward_hook(lambda *args: calls.append("original"))
    copied = _nets.copy_net(trained_net)
    for layer in copied.module_.modules():
        layer.register_forward_pre_hook(lambda *args: calls.append("copy"))
    trained_net.module_(torch.from_numpy(X))
    assert calls == ["original"]
    copied.module_(torch.from_numpy(X))
    assert calls[1:] == ["copy"] * len(list(copied.module_.modules())) + ["original"]
    empty = [v for layer in copied.module_.modules() for v in vars(layer).values() if v == {}]
    assert len({id(value) for value in empty}) == len(empty)


def test_what_modules_share_their_copies_share_too(X):
    class Net(NeuralNetClassifier):
        def initialize_module(self):
            super().initialize_module()
            self.extra_ = nn.Sequential(self.module_.linear)
            return self

    net = Net(Linear, criterion=nn.CrossEntropyLoss).initialize()
    copied = _nets.copy_net(net)
    assert copied.extra_[0] is copied.module_.linear
    assert copied.module_.linear is not net.module_.linear


def test_a_shallow_copy_shares_its_attributes(trained_net):
    copied = _nets.shallow_copy(trained_net)
    assert vars(copied) == vars(trained_net)
    copied.extra = 1
    assert not hasattr(trained_net, "extra")


def test_a_net_can_be_trained_on_after_a_run(trained_net, X, y):
    run = _nets.copy_net(trained_net)
    run.lr = 100.0
    run.initialize_optimizer()
    run.module_(torch.from_numpy(X)).sum().backward()
    run.history.new_epoch()
    with torch.no_grad():
        run.module_.classifier.bias.add_(1)
    net = _nets.resume_training(run, trained_net)
    assert_same(weights_of(net), weights_of(run))
    assert len(net.history_) == 1
    assert net.lr == 0.05
    assert all(parameter.grad is None for parameter in net.module_.parameters())
    assert net.optimizer_.param_groups[0]["params"] == list(net.module_.parameters())
    before, original = weights_of(net), weights_of(trained_net)
    net.partial_fit(X, y)
    assert len(net.history_) == 11
    assert not torch.equal(weights_of(net)[0], before[0])
    assert_same(weights_of(trained_net), original)


def test_a_run_does_not_share_callbacks_with_the_net(net, X, y):
    class Counter(Callback):
        def __init__(self):
            self.epochs = 0

        def on_epoch_end(self, net, **kwargs):
            self.epochs += 1

    original = net.set_params(callbacks=[("counter", Counter())], max_epochs=2).fit(X, y)
    resumed = _nets.resume_training(_nets.copy_net(original), original)
    resumed.partial_fit(X, y)
    assert dict(original.callbacks_)["counter"].epochs == 2


def test_a_stripped_net_predicts_and_nothing_else(net, X, y):
    class Keeper(Callback):
        def on_train_begin(self, net, X=None, **kwargs):
            self.rows_ = X

    net.set_params(
        callbacks=[("keeper", Keeper())],
        callbacks__print_log=None,
        optimizer__weight_decay=0.125,
        iterator_train__shuffle=True,
    ).fit(X, y)
    stripped = _nets.strip_net(net)
    np.testing.assert_array_equal(stripped.predict_proba(X), net.predict_proba(X))
    np.testing.assert_array_equal(stripped.predict(X), net.predict(X))
    assert stripped.callbacks_ == []
    assert stripped.callbacks is None
    assert stripped.optimizer_ is None
    assert list(stripped.history_) == []
    assert "iterator_train__shuffle" not in vars(stripped)
    assert "optimizer__weight_decay" not in vars(stripped)
    assert net.get_params()["optimizer__weight_decay"] == 0.125


def test_a_stripped_net_holds_no_other_weights(X, y):
    net = make_net(Linear())
    net.module_.linear.weight.data.add_(1)
    stripped = _nets.strip_net(net)
    assert stripped.module is stripped.module_
    assert stripped.module is not net.module


# Stopping


class Stopper(Callback):
    def on_epoch_end(self, net, **kwargs):
        raise KeyboardInterrupt


def test_a_callback_leaves_the_context():
    steps = []
    with _nets.stopped_by_callback():
        steps.append(1)
        Stopper().on_epoch_end(None)
        steps.append(2)
    assert steps == [1]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_all_else_reaches_the_caller(error):
    def fail():
        raise error

    with pytest.raises(error), _nets.stopped_by_callback():
        fail()


# What a net says


def test_probabilities_and_logits_of_a_net_with_cross_entropy():
    net = make_net(Linear())
    X = torch.tensor([[2.0, -1.0], [0.5, 3.0]])
    expected = [[2, -1, 0], [0.5, 3, 0]]
    rows = Rows(X.numpy())
    logits = _nets.forward(net, rows, lambda net, output, batch: _nets.logits_of(net, output))
    np.testing.assert_array_equal(logits, expected)
    probabilities = _nets.forward(
        net, rows, lambda net, output, batch: _nets.probabilities_of(net, output)
    )
    np.testing.assert_allclose(probabilities, softmax(expected), rtol=1e-6)


@pytest.mark.parametrize("module", [Linear, Pair], ids=["tensor", "tuple"])
@pytest.mark.parametrize(
    ("after", "criterion"),
    [(nn.Softmax(dim=1), nn.NLLLoss), (nn.Identity(), nn.CrossEntropyLoss)],
    ids=["probabilities", "logits"],
)
def test_cross_entropy_whatever_the_module_gives_out(module, after, criterion):
    net = make_net(module(after), criterion)
    rows = Rows(np.array([[2, -1], [0.5, 3], [0, 0]], dtype=np.float32), y=np.array([0, 0, 2]))
    losses = _nets.forward(
        net, rows, lambda net, output, batch: _nets.cross_entropy_of(net, output, batch.y)
    )
    expected = softmax([[2, -1, 0], [0.5, 3, 0], [0, 0, 0]])[[0, 1, 2], [0, 0, 2]]
    np.testing.assert_allclose(losses, -np.log(expected), rtol=1e-5)


@pytest.mark.parametrize("logit", [25, 60])  # rounds to 0 in single, and in double precision
def test_cross_entropy_of_a_row_that_the_net_is_sure_of_is_not_zero(logit):
    logits = torch.tensor([[logit, 0.0, 0.0]])
    losses = _nets.cross_entropy_of(make_net(Linear), logits, torch.tensor([0]))
    np.testing.assert_allclose(losses, 2 * np.exp(-logit), rtol=1e-4)


def test_cross_entropy_is_that_of_the_metrics_where_probabilities_are_small():
    proba = np.array([[0.0, 1.0], [1e-9, 1 - 1e-9], [0.25, 0.75]], dtype=np.float32)
    net = make_net(Linear, nn.NLLLoss)
    losses = _nets.cross_entropy_of(net, torch.tensor(proba), torch.tensor([0, 0, 0]))
    np.testing.assert_allclose(losses, [-np.log(np.finfo(float).tiny), -np.log(1e-9), np.log(4)])


@pytest.mark.parametrize("batch_size", [1, 2, 5, 100])
def test_batches_come_back_in_order(batch_size, monkeypatch):
    monkeypatch.setattr(Rows, "at_once", lambda self, most: batch_size)
    net = make_net(Linear)
    X = np.arange(10, dtype=np.float32).reshape(5, 2)
    assert net.module_.train().training  # dropout of everything, unless in evaluation mode
    result = _nets.forward(net, Rows(X), lambda net, output, batch: output)
    np.testing.assert_array_equal(result, np.column_stack([X, np.zeros(5)]))
    assert not torch.from_numpy(result).requires_grad


# Outputs and weights that will not do


class Reshape(nn.Module):
    def __init__(self, reshape):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.reshape = reshape

    def forward(self, x):
        return self.reshape(self.weight * x)


@pytest.mark.parametrize(
    ("reshape", "shape"),
    [
        (lambda x: x[:, :2], r"\(1, 2\)"),
        (lambda x: torch.cat([x, x], dim=1), r"\(1, 6\)"),
        (lambda x: x[:, 0], r"\(1,\)"),
        (lambda x: x[:, :, None], r"\(1, 3, 1\)"),
        (lambda x: x.sum(), r"\(\)"),
        (lambda x: (x[:, :1], x), r"\(1, 1\)"),
    ],
    ids=["too few", "too many", "one axis", "three axes", "a number", "first of a tuple"],
)
def test_one_logit_a_class(reshape, shape):
    net = make_net(Reshape(reshape))
    with pytest.raises(ValueError, match=rf"output of shape {shape} for one row.*\(1, 3\).*'a'"):
        _nets.check_outputs(net, torch.ones(5, 3), np.array(["a", "b", "c"]))


@pytest.mark.parametrize("reshape", [lambda x: x, lambda x: (x, "more")], ids=["tensor", "tuple"])
def test_outputs_that_match_the_classes(reshape):
    _nets.check_outputs(make_net(Reshape(reshape)), torch.ones(5, 3), np.arange(3))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["0.weight", "1.running_var"])
def test_a_parameter_or_buffer_that_is_not_finite(name, value):
    net = make_net(nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)))
    _nets.check_finite_weights(net, "Unlearning")
    net.module_.state_dict()[name].view(-1)[1] = value
    with pytest.raises(DivergenceError, match=f"Unlearning diverged: {name} is no longer finite"):
        _nets.check_finite_weights(net, "Unlearning")


class Buffers(Linear):
    def __init__(self, buffer):
        super().__init__()
        self.register_buffer("extra", buffer)


BUFFERS = pytest.mark.parametrize(
    "buffer",
    [
        torch.tensor([True, False]),
        torch.tensor(3),
        torch.zeros(0),
        torch.tensor([1.5], dtype=torch.float16),
        torch.tensor([1.5], dtype=torch.bfloat16),
        torch.tensor([[1.0, 2.0], [3.0, 4.0]]).T,
    ],
    ids=["bool", "number", "empty", "float16", "bfloat16", "transposed"],
)


@BUFFERS
def test_all_kinds_of_buffers_can_be_finite(buffer):
    _nets.check_finite_weights(make_net(Buffers(buffer)), "Unlearning")


# Digests


def test_the_digest_is_that_of_names_and_bytes():
    digest = hashlib.sha256(b"linear.weight")
    digest.update(np.array([[1, 0], [0, 1], [0, 0]], dtype=np.float32).tobytes())
    assert _nets.weights_digest(make_net(Linear)) == digest.hexdigest()


@BUFFERS
def test_the_digest_tells_nets_apart(buffer):
    net = make_net(Buffers(buffer))
    digest = _nets.weights_digest(net)
    assert _nets.weights_digest(copy.deepcopy(net)) == digest
    with torch.no_grad():
        net.module_.linear.weight[0, 1] += 1e-6
    assert _nets.weights_digest(net) != digest


class Focal(torch.nn.Module):
    """A criterion on logits that skorch does not know."""

    def forward(self, logits, y):
        losses = torch.nn.functional.cross_entropy(logits, y, reduction="none")
        return ((1 - (-losses).exp()) ** 2 * losses).mean()


def test_outputs_that_are_no_probabilities_are_refused(net, X):
    rows, classes = torch.from_numpy(X), np.arange(3)
    net.set_params(criterion=Focal).initialize()
    with pytest.raises(ValueError, match=r"adds up to .*predict_nonlinearity"):
        _nets.check_outputs(net, rows, classes)
    net.set_params(predict_nonlinearity=lambda logits: logits.softmax(dim=1))
    _nets.check_outputs(net, rows, classes)


def test_an_interrupt_during_a_callback_is_no_stop():
    class Slow(Callback):
        def on_epoch_end(self, net, **kwargs):
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt), _nets.stopped_by_callback():
        Slow().on_epoch_end(None)
