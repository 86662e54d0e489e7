import numpy as np
import pytest
import torch
from scipy.special import softmax
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import ParameterGrid
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback
from torch import nn
from torch.nn.functional import cross_entropy

from sklunlearn import (
    AMUNUnlearner,
    BadTeacherUnlearner,
    BoundaryExpandUnlearner,
    BoundaryUnlearner,
    DELETEUnlearner,
    FineTuneUnlearner,
    NegGradUnlearner,
    RandomLabelUnlearner,
    SalUnUnlearner,
    SCRUBUnlearner,
    SSDUnlearner,
    _stackable,
    gradient,
)
from sklunlearn._data import on_device
from sklunlearn._stackable import NotStackable
from sklunlearn._stacked import Judged, unlearn_stacked
from sklunlearn.gradient import GradientUnlearner
from sklunlearn.networks import SmallCNN
from sklunlearn.search import perturbed_sign_search
from sklunlearn.unlearners import boundary

COMMON = {"max_epochs": 3, "batch_size": 10, "random_state": 0}
RATES = {"lr": [0.001, 0.01]}


@pytest.fixture
def forget(y):
    return y == 0


@pytest.fixture(scope="module")
def images():
    """Rows of three classes, each with a bright corner of its own, and a network for them."""
    rng = np.random.default_rng(0)
    y = np.arange(36) % 3
    X = rng.normal(size=(36, 1, 6, 6)).astype(np.float32)
    for row, label in zip(X, y, strict=True):
        row[0, 3 * (label // 2) :, 3 * (label % 2) :][:3, :3] += 2
    torch.manual_seed(0)
    net = NeuralNetClassifier(
        SmallCNN(1, 3, channels=(3, 4)),
        criterion=nn.CrossEntropyLoss,
        lr=0.3,
        max_epochs=10,
        batch_size=12,
        train_split=None,
        verbose=0,
    )
    return net.fit(X, y), X, y


def make_net(module, cls=NeuralNetClassifier, **params):
    """A net for iris that counts as trained."""
    return cls(
        module,
        criterion=nn.CrossEntropyLoss,
        classes=[0, 1, 2],
        train_split=None,
        verbose=0,
        **params,
    ).initialize()


def fit(cls, net, X, y, **params):
    return cls(FrozenEstimator(net), **{**COMMON, **params}).fit(X, y)


def check_against_single_runs(cls, params, grid, net, X, y, forget, tolerance):
    """Compare with runs one by one; give the largest change of a probability by a run."""
    candidates = list(ParameterGrid(grid))
    fitted = fit(cls, net, X, y, **params)
    before, change = fitted.predict_proba(X), 0
    asked = X[5:]
    made = unlearn_stacked(fitted, candidates, X, y, forget)
    judged = unlearn_stacked(fitted, candidates, X, y, forget, asked)
    for given, actual, said in zip(candidates, made, judged, strict=True):
        assert not actual.net_.module_.training
        # The network of the other is not the one that was trained.
        assert isinstance(said, Judged) == (cls is not BoundaryExpandUnlearner)
        probabilities = said.predict_proba(asked)
        np.testing.assert_allclose(probabilities, actual.predict_proba(asked), atol=1e-6)
        np.testing.assert_allclose(said.forget_loss_, actual.forget_loss_, rtol=1e-5)
        assert said.classes_ is actual.classes_
        expected = fit(cls, net, X, y, **{**params, **given}).unlearn(X, y, forget=forget)
        probabilities = expected.predict_proba(X)
        np.testing.assert_allclose(actual.predict_proba(X), probabilities, atol=tolerance)
        change = max(change, abs(probabilities - before).max())
        state = expected.net_.module_.state_dict()
        for name, value in actual.net_.module_.state_dict().items():
            torch.testing.assert_close(value, state[name], atol=tolerance, rtol=0)
        np.testing.assert_allclose(actual.forget_loss_, expected.forget_loss_, atol=50 * tolerance)
        # All that a run leaves behind, but for times and digests of weights.
        assert vars(actual).keys() == vars(expected).keys()
        assert actual.get_params() == expected.get_params() | {"estimator": actual.estimator}
        records = [unlearner.records_[0] for unlearner in (actual, expected)]
        assert records[0]["parameters"] == records[1]["parameters"]
        assert records[0]["weights_before"] == records[1]["weights_before"]
        for ours, theirs in zip(actual.history_, expected.history_, strict=True):
            assert ours.keys() == theirs.keys()
            np.testing.assert_allclose(ours["train_loss"], theirs["train_loss"], atol=tolerance)
            sizes = [[b["train_batch_size"] for b in row["batches"]] for row in (ours, theirs)]
            assert sizes[0] == sizes[1]
    np.testing.assert_array_equal(fitted.predict_proba(X), before)
    return change


SGD = torch.optim.SGD
DECAYS = [{}, {"optimizer__weight_decay": 0.1}]
CASES = [
    (BoundaryUnlearner, {}, {"noise": [0.0, 0.5], "retain_weight": [0.5, 2], **RATES}),
    (BoundaryUnlearner, {"target": "soft"}, {"temperature": [1.0, 3.0], "step_size": [0.1, 0.4]}),
    (BoundaryUnlearner, {}, {"target": ["hard", "soft"], **RATES}),  # labels, and probabilities
    (
        BoundaryUnlearner,
        {"relabel": "epoch", "uncrossed": "skip", "retain_target": "distill", "step_size": 0.5},
        {"noise": [0.3, 0.6], **RATES},
    ),
    (BoundaryUnlearner, {"retain_weight": 0, "max_grad_norm": 1.0}, {"max_grad_norm": [0.1, 9.0]}),
    (NegGradUnlearner, {"optimizer": SGD}, {"forget_weight": [0.1, 1.0], "loss_cap": [1.0, 2.0]}),
    (NegGradUnlearner, {}, {"net_params": DECAYS, **RATES}),
    (NegGradUnlearner, {"optimizer": SGD}, {"net_params": [{}, {"optimizer__lr": 0.1}], **RATES}),
    (FineTuneUnlearner, {"trainable": 1, "reinitialize": True}, RATES),
    (BadTeacherUnlearner, {}, {"temperature": [1.0, 2.0], "retain_weight": [0.5, 1.0]}),
    (DELETEUnlearner, {}, {"retain_weight": [0.1, 1.0], **RATES}),
    (RandomLabelUnlearner, {}, {"retain_weight": [0.1, 1.0], **RATES}),
    (SalUnUnlearner, {}, {"fraction": [0.1, 0.5], **RATES}),
    (BoundaryExpandUnlearner, {}, {"lr": [0.01, 0.1]}),
    (AMUNUnlearner, {"max_doublings": 5}, {"radius": [0.1, 0.2], **RATES}),
]


@pytest.mark.parametrize(("cls", "params", "grid"), CASES)
def test_each_run_is_as_if_it_were_alone(cls, params, grid, trained_net, X, y, forget):
    change = check_against_single_runs(cls, params, grid, trained_net, X, y, forget, 2e-5)
    assert change > 0.003, "the runs do something"


@pytest.mark.parametrize(
    ("cls", "params"),
    [(BoundaryUnlearner, {}), (RandomLabelUnlearner, {"lr": 0.1}), (NegGradUnlearner, {})],
)
def test_convolutions(cls, params, images):
    net, X, y = images
    grid = {"lr": [0.02, 0.1], "retain_weight": [0.5, 1.0]}
    change = check_against_single_runs(cls, params, grid, net, X, y, np.arange(36) < 9, 1e-4)
    assert change > 0.01


def test_one_search_for_all_that_is_made_of_its_result(trained_net, X, y, forget, monkeypatch):
    noises = []

    def search(*args, noise, **params):
        noises.append(noise)
        return perturbed_sign_search(*args, noise=noise, **params)

    monkeypatch.setattr(boundary, "perturbed_sign_search", search)
    fitted = fit(BoundaryUnlearner, trained_net, X, y, target="soft")
    grid = {"noise": [0.2, 0.5], "temperature": [1.0, 3.0], "lr": [0.01, 0.02]}
    list(unlearn_stacked(fitted, list(ParameterGrid(grid)), X, y, forget))
    assert noises == [0.2, 0.5]
    monkeypatch.undo()
    # In the order of the draws that follow, too.
    del grid["lr"]
    check_against_single_runs(
        BoundaryUnlearner, {"target": "soft"}, grid, trained_net, X, y, forget, 2e-5
    )


def test_the_data_are_put_on_the_device_once(trained_net, X, y, forget, monkeypatch):
    placed = []

    def place(source, device):
        if not isinstance(source, torch.Tensor):
            placed.append(len(source))
        return on_device(source, device)

    monkeypatch.setattr(gradient, "on_device", place)
    grid = {"temperature": [1.0, 3.0], "noise": [0.2, 0.5]}
    fitted = fit(BoundaryUnlearner, trained_net, X, y, target="soft", data_on_device=True)
    list(unlearn_stacked(fitted, list(ParameterGrid(grid)), X, y, forget))
    assert placed == [len(X)]
    monkeypatch.undo()
    params = {"target": "soft", "data_on_device": True}
    check_against_single_runs(BoundaryUnlearner, params, grid, trained_net, X, y, forget, 2e-5)


def test_the_steps_before_the_network_are_gone_through_once(trained_net, X, y, forget):
    counts = []

    def shake(X):
        counts.append(len(X))
        return X + 0.1 * np.random.normal(size=X.shape).astype(np.float32)  # noqa: NPY002

    net = Pipeline([("shake", FunctionTransformer(shake)), ("net", trained_net)])
    fitted = fit(BoundaryUnlearner, net, X, y, noise=0.3)
    candidates = list(ParameterGrid({"temperature": [1.0, 3.0], "step_size": [0.1, 0.4]}))
    counts.clear()
    found = list(unlearn_stacked(fitted, candidates, X, y, forget))
    assert counts.count(len(X)) == 1
    for given, actual in zip(candidates, found, strict=True):
        expected = fit(BoundaryUnlearner, net, X, y, noise=0.3, **given).unlearn(
            X, y, forget=forget
        )
        state = expected.net_.module_.state_dict()
        for name, value in actual.net_.module_.state_dict().items():
            torch.testing.assert_close(value, state[name], atol=2e-5, rtol=0)


def test_two_steps_by_hand():
    """Gradient ascent of a linear network on all forget rows, with plain SGD."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(6, 3)).astype(np.float32), np.array([0, 1, 2, 0, 1, 2])
    forget = np.arange(6) < 2
    net = make_net(nn.Linear(3, 3))
    start = [p.detach().numpy().astype(float) for p in net.module_.parameters()]
    params = {"loss_cap": None, "retain_weight": 0, "optimizer": SGD, "max_epochs": 2}
    fitted = fit(NegGradUnlearner, net, X, y, **params)
    candidates = [{"lr": 0.5, "forget_weight": 1.0}, {"lr": 0.2, "forget_weight": 3.0}]
    for given, unlearner in zip(
        candidates, unlearn_stacked(fitted, candidates, X, y, forget), strict=True
    ):
        weight, bias = start
        for _ in range(2):
            error = softmax(X[:2] @ weight.T + bias, axis=1) - np.eye(3)[y[:2]]
            rate = given["lr"] * given["forget_weight"] / 2
            weight, bias = weight + rate * error.T @ X[:2], bias + rate * error.sum(axis=0)
        module = unlearner.net_.module_
        np.testing.assert_allclose(module.weight.detach().numpy(), weight, atol=1e-6)
        np.testing.assert_allclose(module.bias.detach().numpy(), bias, atol=1e-6)


def test_weights_that_are_not_trained_stay_as_they_are(trained_net, X, y, forget):
    net_params = {"optimizer__weight_decay": 0.1, "optimizer__momentum": 0.9}
    fitted = fit(SalUnUnlearner, trained_net, X, y, fraction=0.2, net_params=net_params)
    before = torch.cat([p.flatten() for p in trained_net.module_.parameters()])
    for unlearner in unlearn_stacked(fitted, [{"lr": 0.1}, {"lr": 0.2}], X, y, forget):
        after = torch.cat([p.flatten() for p in unlearner.net_.module_.parameters()])
        assert (before != after).sum() == np.ceil(0.2 * len(before))


def test_a_run_that_diverges_does_not_harm_the_others(trained_net, X, y, forget):
    fitted = fit(NegGradUnlearner, trained_net, X, y, optimizer=SGD, loss_cap=None)
    rates = [{"lr": 0.01}, {"lr": 1e30}, {"lr": 0.02}]
    first, lost, last = unlearn_stacked(fitted, rates, X, y, forget)
    assert lost is None
    for given, unlearner in zip([rates[0], rates[2]], [first, last], strict=True):
        alone = next(iter(unlearn_stacked(fitted, [given], X, y, forget)))
        np.testing.assert_allclose(unlearner.predict_proba(X), alone.predict_proba(X), atol=1e-6)


def test_global_random_states_stay_as_they_were(trained_net, X, y, forget):
    fitted = fit(RandomLabelUnlearner, trained_net, X, y)
    before = torch.get_rng_state()
    list(unlearn_stacked(fitted, [{"lr": 0.1}, {"lr": 0.2}], X, y, forget))
    assert torch.equal(torch.get_rng_state(), before)


def test_no_epoch(trained_net, X, y, forget):
    fitted = fit(RandomLabelUnlearner, trained_net, X, y, max_epochs=0)
    for unlearner in unlearn_stacked(fitted, [{"lr": 0.1}, {"lr": 0.2}], X, y, forget):
        np.testing.assert_array_equal(unlearner.predict_proba(X), fitted.predict_proba(X))
        assert len(unlearner.history_) == 0


def test_a_stack_is_bounded_in_memory(trained_net, X, y, forget, monkeypatch):
    sizes, start = [], _stackable.largest_stack(trained_net, X[:20])
    # Layers of 4 x 8 and 8 x 3, and what these, with a ReLU between them, give of 20 rows.
    assert start == 2**26 // (4 * (5 * 8 + 9 * 3) + 20 * (8 + 8 + 3))
    fitted = fit(BoundaryUnlearner, trained_net, X, y)
    candidates = list(ParameterGrid({"noise": [0.0, 0.5], "lr": [0.001, 0.01, 0.02]}))
    at_once = list(unlearn_stacked(fitted, candidates, X, y, forget))
    monkeypatch.setattr(_stackable, "_MAX_NUMBERS", 4 * 648)
    in_parts = list(unlearn_stacked(fitted, candidates, X, y, forget))
    for a, b in zip(at_once, in_parts, strict=True):
        np.testing.assert_allclose(a.predict_proba(X), b.predict_proba(X), atol=1e-6)
        sizes.append(b.records_[0]["seconds"])
    assert len(set(sizes)) == 2, "four runs, and two"
    monkeypatch.setattr(_stackable, "_MAX_NUMBERS", 2 * 648 - 1)
    with pytest.raises(NotStackable, match="more memory than a stack may"):
        list(unlearn_stacked(fitted, candidates, X, y, forget))


def test_answers_are_bounded_in_memory(trained_net, X, y, forget, monkeypatch):
    fitted = fit(RandomLabelUnlearner, trained_net, X, y)
    rates = [{"lr": 0.01}, {"lr": 0.1}]
    monkeypatch.setattr(_stackable, "_MAX_NUMBERS", 2 * 1000 * 3)  # networks, rows, classes
    for n_rows, together in ((1000, True), (1001, False)):
        asked = np.resize(X, (n_rows, X.shape[1]))
        for model in unlearn_stacked(fitted, rates, X, y, forget, asked):
            assert isinstance(model, Judged) == together


class Centred(nn.Module):
    """Takes the mean of all rows of the batch from each."""

    def forward(self, x):
        return x - x.mean(0)


class Checking(nn.Module):
    """Looks at the numbers, in evaluation alone."""

    def forward(self, x):
        if not self.training and x.abs().max() > 1e6:
            return 0 * x
        return x


def by_its_batch(output):
    return (output / (1e-6 + output.std())).softmax(dim=1)


@pytest.mark.parametrize(
    ("layer", "nonlinearity", "together"),
    [
        (Centred(), "auto", False),
        (nn.Tanh(), by_its_batch, False),
        (Checking(), "auto", False),
        (nn.Tanh(), "auto", True),
    ],
)
def test_answers_that_each_network_has_to_give_by_itself(
    layer, nonlinearity, together, X, y, forget
):
    """Else the answers of a stack would be those of other batches, or none."""
    net = make_net(network(layer, nn.ReLU()), predict_nonlinearity=nonlinearity)
    fitted = fit(RandomLabelUnlearner, net, X, y)
    rates = [{"lr": 0.01}, {"lr": 0.1}]
    for given, actual in zip(rates, unlearn_stacked(fitted, rates, X, y, forget, X), strict=True):
        assert isinstance(actual, Judged) == together
        alone = fit(RandomLabelUnlearner, net, X, y, **given).unlearn(X, y, forget=forget)
        np.testing.assert_allclose(actual.forget_loss_, alone.forget_loss_, atol=1e-4)
        np.testing.assert_allclose(actual.predict_proba(X), alone.predict_proba(X), atol=1e-4)


# What cannot be stacked


def network(*between):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), *between, nn.Linear(6, 3))


class OwnStep(NeuralNetClassifier):
    def train_step(self, batch, **kwargs):
        return super().train_step(batch, **kwargs)


class OwnInfer(NeuralNetClassifier):
    def infer(self, x, **kwargs):
        return super().infer(x, **kwargs)


class OwnLoss(NeuralNetClassifier):
    def get_loss(self, *args, **kwargs):
        return super().get_loss(*args, **kwargs)


class OwnNotice(NeuralNetClassifier):
    def on_batch_end(self, net, **kwargs):
        super().on_batch_end(net, **kwargs)


class OwnCallbacks(NeuralNetClassifier):
    @property
    def _default_callbacks(self):
        return [("mine", Callback())]


class Silent(NegGradUnlearner):
    """Inherits a declaration, which holds for its base."""


class Undeclared(GradientUnlearner):
    def _loss(self, module, forget, retain):
        return forget.logits.square().mean()


class Branching(GradientUnlearner):
    _stackable = ("retain_weight",)

    def _loss(self, module, forget, retain):
        return forget.logits.mean() if self.retain_weight > 1 else forget.logits.square().mean()


class Drawing(GradientUnlearner):
    _stackable = ()

    def _loss(self, module, forget, retain):
        return (forget.logits * torch.rand_like(forget.logits)).mean()


class Reading(GradientUnlearner):
    _stackable = ()

    def _loss(self, module, forget, retain):
        return cross_entropy(forget.logits, forget.y) + next(module.parameters()).sum()


class Counter(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("n", torch.zeros(()))

    def forward(self, x):
        if self.training:
            self.n += 1
        return x


class Skipping(nn.Module):
    """Leaves out its layer at random in the training, by other draws than torch's."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(6, 6)

    def forward(self, x):
        # Both ways depend on the weights: that some take no part would be another reason.
        keep = not self.training or np.random.random() < 0.5  # noqa: NPY002
        return x + (1.0 if keep else 0.01) * self.layer(x)


class Idle(nn.Module):
    """Weights that take part in evaluation alone."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(6, 6)

    def forward(self, x):
        return x if self.training else x + self.layer(x)


class Half(nn.Module):
    """Two layers in half precision, for rows in single precision."""

    def __init__(self):
        super().__init__()
        self.layers = network(nn.ReLU()).bfloat16()

    def forward(self, x):
        return self.layers(x.bfloat16()).float()


def with_groups(net_params):
    return {"net_params": net_params, "optimizer": SGD}


@pytest.mark.parametrize(
    ("cls", "params", "net", "reason"),
    [
        (SSDUnlearner, {}, {}, "SSDUnlearner does not train by gradient steps"),
        (SCRUBUnlearner, {}, {}, "SCRUBUnlearner does not declare"),
        (Undeclared, {}, {}, "Undeclared does not declare which numbers its steps read"),
        (Silent, {}, {}, "Silent does not declare"),
        (NegGradUnlearner, {"callbacks": [Callback()]}, {}, "callbacks are given"),
        (NegGradUnlearner, {"stop_accuracy": 0.1}, {}, "`stop_accuracy` is set"),
        (NegGradUnlearner, {"optimizer": torch.optim.RMSprop}, {}, "optimizer RMSprop"),
        (
            NegGradUnlearner,
            with_groups({"optimizer__param_groups": [("0*", {"lr": 0.1})]}),
            {},
            "several groups of parameters",
        ),
        (BoundaryUnlearner, {"relabel": "batch", "noise": 0.1}, {}, "torch.func.vmap refuses"),
        (FineTuneUnlearner, {"l1_weight": 0.1}, {}, "the loss reads 'parameters' of the network"),
        (Reading, {}, {}, "the loss reads 'parameters' of the network"),
        (Branching, {}, {}, "torch.func.vmap refuses: .*data-dependent control flow"),
        (Drawing, {}, {}, "torch.func.vmap refuses: .*random"),
        (NegGradUnlearner, {}, {"cls": OwnStep}, "class of the net, OwnStep, has its own 'train_s"),
        (NegGradUnlearner, {}, {"cls": OwnInfer}, "OwnInfer, has its own 'infer'"),
        (NegGradUnlearner, {}, {"cls": OwnLoss}, "OwnLoss, has its own 'get_loss'"),
        (NegGradUnlearner, {}, {"cls": OwnNotice}, "OwnNotice, has its own 'on_batch_end'"),
        (NegGradUnlearner, {}, {"cls": OwnCallbacks}, "OwnCallbacks, has its own '_default_"),
        (NegGradUnlearner, {}, {"layer": nn.BatchNorm1d(6)}, "BatchNorm is trained"),
        (
            NegGradUnlearner,
            {},
            {"layer": nn.BatchNorm1d(6, affine=False)},
            "BatchNorm is trained",
        ),
        (NegGradUnlearner, {}, {"layer": nn.Dropout(0.5)}, "dropout draws anew"),
        (NegGradUnlearner, {}, {"layer": nn.RReLU()}, "torch.func.vmap refuses: .*rrelu"),
        (NegGradUnlearner, {}, {"layer": Counter()}, "a layer keeps something of each batch"),
        (NegGradUnlearner, {}, {"layer": Skipping()}, "the steps draw random numbers"),
        (NegGradUnlearner, {}, {"layer": Idle()}, "a weight that may be trained has no part"),
    ],
)
def test_what_cannot_be_stacked(cls, params, net, reason, X, y, forget):
    module = network(*([net["layer"]] if "layer" in net else []))
    net = make_net(module, net.get("cls", NeuralNetClassifier))
    if cls is SSDUnlearner:
        fitted = SSDUnlearner(FrozenEstimator(net)).fit(X, y)
        candidates = [{"dampening": 0.1}, {"dampening": 0.2}]
    else:
        fitted = fit(cls, net, X, y, **params)
        candidates = [{"lr": 0.01, "retain_weight": 0.5}, {"lr": 0.02, "retain_weight": 1.0}]
    with pytest.raises(NotStackable, match=reason):
        list(unlearn_stacked(fitted, candidates, X, y, forget))


def test_weights_in_half_precision(X, y, forget):
    fitted = fit(RandomLabelUnlearner, make_net(Half()), X, y)
    with pytest.raises(NotStackable, match="the weights are in half precision"):
        list(unlearn_stacked(fitted, [{"lr": 0.1}, {"lr": 0.2}], X, y, forget))


class Plain(NeuralNetClassifier):
    """Has nothing of its own."""


def test_a_class_of_nets_that_changes_nothing(X, y, forget):
    net = make_net(network(), Plain)
    fitted = fit(NegGradUnlearner, net, X, y)
    for unlearner in unlearn_stacked(fitted, [{"lr": 0.1}, {"lr": 0.2}], X, y, forget):
        assert type(unlearner.net_) is Plain


@pytest.mark.parametrize("params", [{"freeze_batchnorm": True}, {"trainable": "head"}])
def test_batchnorm_that_is_frozen_and_dropout_without_effect(params, X, y, forget):
    net = make_net(network(nn.BatchNorm1d(6), nn.Tanh(), nn.Dropout(0.0)))
    net.module_(torch.tensor(X))  # statistics
    params = {"optimizer": SGD, **params}
    grid = {"lr": [0.01, 0.1]}
    change = check_against_single_runs(NegGradUnlearner, params, grid, net, X, y, forget, 1e-6)
    assert change > 0.003
