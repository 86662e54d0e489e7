import copy
import pickle

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch import NeuralNetClassifier
from torch import nn

from sklunlearn import CertifiedUnlearner, RetrainUnlearner
from sklunlearn.exceptions import ReleasedModelError


class Net(nn.Module):
    """One hidden layer; given data that are `broken`, its evaluation fails."""

    broken = False

    def __init__(self, n_classes=3):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Dropout(0.5))
        self.head = nn.Linear(6, n_classes)

    def forward(self, x):
        if Net.broken and len(x) < 20:  # only the pass over the forgotten rows is so short
            raise KeyboardInterrupt
        return self.head(self.body(x))


def make_net(module=Net, **params):
    return NeuralNetClassifier(
        module,
        **params,
        criterion=nn.CrossEntropyLoss,
        max_epochs=5,
        lr=0.1,
        train_split=None,
        verbose=0,
    )


def linear_net(n_classes=3):
    return make_net(nn.Linear, module__in_features=4, module__out_features=n_classes)


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    y = np.arange(120) % 3
    return (rng.normal(size=(120, 4)) + 2 * np.eye(4)[y]).astype(np.float32), y


def one(n=120, row=4):
    return np.arange(n) == row


def inputs_of(X):
    """The rows of a bare linear layer, as the heads see them."""
    X = X.astype(np.float64)
    scaled = X / np.sqrt(1 + (X**2).sum(axis=1))[:, None]
    return np.column_stack([scaled, np.ones(len(X))]) / np.sqrt(2)


def gradient_norms(unlearner, X, y):
    """Norm of the gradient of each head's objective, by torch."""
    heads, inputs = unlearner.heads_, torch.tensor(inputs_of(X))
    w = torch.tensor(heads.weights, requires_grad=True)
    positive = range(3) if len(w) == 3 else [1]
    signs = torch.tensor(np.array([np.where(y == k, 1.0, -1.0) for k in positive]))
    value = nn.functional.softplus(-signs * (w @ inputs.T)).sum()
    value = value + len(X) * heads.l2 / 2 * w.square().sum() + (w * torch.tensor(heads.noise)).sum()
    value.backward()
    return w.grad.norm(dim=1).numpy()


def test_fit_minimises_the_perturbed_objectives(data):
    X, y = data
    unlearner = CertifiedUnlearner(linear_net(), l2=0.02, noise=3, random_state=0).fit(X, y)
    assert unlearner.heads_.weights.shape == (3, 5)
    assert unlearner.heads_.l2 == 0.02
    assert (gradient_norms(unlearner, X, y) < 1e-6).all()
    # The inputs of the network are rounded to single precision, those above are not.
    np.testing.assert_allclose(unlearner.residual_norm_, 0, atol=1e-10)
    np.testing.assert_array_equal(unlearner.residual_bound_, 0)
    assert unlearner.refitted_ is False
    assert 2 < unlearner.heads_.noise.std() < 4
    # The network predicts with the heads.
    logits = inputs_of(X) @ unlearner.heads_.weights.T
    np.testing.assert_allclose(
        unlearner.net_.module_(torch.from_numpy(X)).detach(), logits, rtol=1e-4, atol=1e-5
    )
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(unlearner.predict_proba(X), expected, rtol=1e-4)


def test_a_request_is_a_newton_step_on_each_head(data):
    X, y = data
    unlearner = CertifiedUnlearner(linear_net(), noise=5, random_state=0).fit(X, y)
    before, forget = unlearner.heads_, one()
    unlearner.unlearn(X, y, forget=forget)
    assert unlearner.refitted_ is False
    Z = inputs_of(X)
    for k, w in enumerate(before.weights):
        sign = np.where(y == k, 1, -1)
        s = 1 / (1 + np.exp(-sign * (Z @ w)))
        delta = 0.01 * w - ((1 - s) * sign)[4] * Z[4]
        rest = Z[~forget]
        H = (rest.T * (s * (1 - s))[~forget]) @ rest + 119 * 0.01 * np.eye(5)
        step = np.linalg.inv(H) @ delta
        np.testing.assert_allclose(unlearner.heads_.weights[k], w + step, rtol=1e-4)
        bound = np.linalg.norm(rest, 2) * np.linalg.norm(step) * np.linalg.norm(rest @ step) / 4
        np.testing.assert_allclose(unlearner.residual_bound_[k], bound, rtol=1e-3)
    np.testing.assert_array_equal(unlearner.heads_.noise, before.noise)
    measured = gradient_norms(unlearner, X[~forget], y[~forget])
    np.testing.assert_allclose(unlearner.residual_norm_, measured, rtol=0.02, atol=1e-6)
    assert (measured <= unlearner.residual_bound_).all()
    assert unlearner.fitted_heads_ is before
    logits = Z @ unlearner.heads_.weights.T
    np.testing.assert_allclose(
        unlearner.net_.module_(torch.from_numpy(X)).detach(), logits, rtol=1e-4, atol=1e-5
    )
    assert list(unlearner.history_) == []


def test_heads_share_epsilon_and_delta(data):
    X, y = data
    params = {"noise": 3.0, "epsilon": 0.6, "delta": 3e-3, "random_state": 0}
    unlearner = CertifiedUnlearner(linear_net(), **params).fit(X, y)
    # Three heads: epsilon 0.2 and delta 0.001 each.
    np.testing.assert_allclose(unlearner.budget_, 3 * 0.2 / np.sqrt(2 * np.log(1500)))
    two = y < 2
    unlearner = CertifiedUnlearner(linear_net(2), **params).fit(X[two], y[two])
    assert unlearner.heads_.weights.shape == (1, 5)
    np.testing.assert_allclose(unlearner.budget_, 3 * 0.6 / np.sqrt(2 * np.log(500)))
    assert (gradient_norms(unlearner, X[two], y[two]) < 1e-6).all()
    assert unlearner.score(X[two], y[two]) > 0.9


def test_a_stream_of_requests_adds_up_and_a_restart_does_not(data):
    X, y = data
    unlearner = CertifiedUnlearner(linear_net(), l2=0.1, noise=3, random_state=0).fit(X, y)
    bounds = []
    for _ in range(3):
        unlearner.partial_unlearn(X, y, forget=one(len(X)))
        assert not unlearner.refitted_
        bounds.append(unlearner.residual_bound_)
        X, y = np.delete(X, 4, axis=0), np.delete(y, 4)
        np.testing.assert_allclose(unlearner.heads_.spent, sum(bounds), rtol=1e-3)
        np.testing.assert_allclose(unlearner.certificate_["spent"], max(sum(bounds)), rtol=1e-3)
        assert (gradient_norms(unlearner, X, y) <= unlearner.heads_.spent).all()
    unlearner.unlearn(*data, forget=one())
    np.testing.assert_allclose(unlearner.heads_.spent, bounds[0], rtol=1e-3)


def test_a_stream_that_exceeds_the_budget_has_the_heads_fitted_again(data):
    X, y = data
    unlearner = CertifiedUnlearner(linear_net(), noise=3, random_state=0).fit(X, y)
    noise = [unlearner.heads_.noise]
    for _ in range(60):
        spent = unlearner.heads_.spent
        unlearner.partial_unlearn(X, y, forget=one(len(X)))
        X, y = np.delete(X, 4, axis=0), np.delete(y, 4)
        assert unlearner.certified_
        over = spent + unlearner.residual_bound_ > unlearner.budget_
        assert unlearner.refitted_ == over.any()
        if unlearner.refitted_:
            assert (gradient_norms(unlearner, X, y) < 1e-6).all()
            assert (unlearner.heads_.spent < 1e-9).all()
            noise.append(unlearner.heads_.noise)
        if len(noise) == 3:
            break
    # Fresh noise each time, although the seed is fixed.
    first, second, third = noise
    for a, b in ((first, second), (second, third), (first, third)):
        assert not np.isclose(a, b).any()


def test_without_noise_there_is_no_budget(data):
    X, y = data
    unlearner = CertifiedUnlearner(linear_net(), noise=0, random_state=0).fit(X, y)
    assert unlearner.certificate_["reasons"] == ["There is no noise."]
    unlearner.unlearn(X, y, forget=y == 1)
    assert unlearner.refitted_ is False
    assert unlearner.budget_ == 0
    assert unlearner.certified_ is False
    assert unlearner.certificate_["reasons"] == ["There is no noise."]
    # One step from the minimum on all rows is not the minimum on the rest.
    assert unlearner.residual_norm_.max() > 0.1


def test_what_certifies_a_bare_linear_layer(data):
    X, y = data
    for estimator in (linear_net(), FrozenEstimator(linear_net().fit(X, y))):
        unlearner = CertifiedUnlearner(estimator, random_state=0).fit(X, y)
        assert unlearner.certified_ is True
        unlearner.unlearn(X, y, forget=one())
        assert unlearner.certified_ is True
        assert unlearner.certificate_ == {
            "epsilon": 1.0,
            "delta": 1e-4,
            "spent": unlearner.heads_.spent.max(),
            "budget": unlearner.budget_,
            "certified": True,
            "reasons": [],
        }


def reasons(unlearner, X, y):
    unlearner.fit(X, y)
    (before,) = unlearner.certificate_["reasons"]
    unlearner.unlearn(X, y, forget=one())
    assert unlearner.certificate_["reasons"] == [before]
    assert unlearner.certified_ is unlearner.certificate_["certified"] is False
    return before


@pytest.mark.parametrize(
    "estimator",
    [
        make_net(),
        None,
        make_pipeline(StandardScaler(), linear_net()),
        make_net(nn.Sequential(nn.BatchNorm1d(4, affine=False), nn.Linear(4, 3))),
    ],
    ids=["net", "default", "pipeline", "statistics"],
)
def test_an_encoder_that_saw_the_rows_is_not_certified(data, estimator):
    unlearner = CertifiedUnlearner(estimator, random_state=0)
    assert "What comes before the head" in reasons(unlearner, *data)


def test_an_encoder_is_public_only_by_declaration(data):
    X, y = data
    other = X[::-1] + 1
    for estimator in (make_net(), make_pipeline(StandardScaler(), make_net())):
        frozen = FrozenEstimator(estimator.fit(other, y))
        unlearner = CertifiedUnlearner(frozen, random_state=0)
        assert "declared it public" in reasons(unlearner, X, y)
        unlearner.set_params(public_encoder=True).fit(X, y)
        assert unlearner.certified_ is True
        assert unlearner.unlearn(X, y, forget=one()).certified_ is True
        restored = pickle.loads(pickle.dumps(unlearner))
        assert restored.unlearn(X, y, forget=one()).certified_ is True


def test_a_declaration_is_for_the_network_that_was_fitted(data):
    X, y = data
    unlearner = CertifiedUnlearner(make_net(), random_state=0).fit(X, y)
    frozen = FrozenEstimator(make_net().fit(X, y))
    unlearner.set_params(estimator=frozen, public_encoder=True)
    assert unlearner.unlearn(X, y, forget=one()).certified_ is False


def test_a_network_trained_here_cannot_be_public(data):
    X, y = data
    with pytest.raises(ValueError, match=r"(?s)public_encoder=True.*FrozenEstimator"):
        CertifiedUnlearner(linear_net(), public_encoder=True).fit(X, y)


def test_an_epsilon_beyond_the_theorem(data):
    X, y = data
    unlearner = CertifiedUnlearner(linear_net(), epsilon=6.6, random_state=0)
    assert "epsilon of one head is above 2.2," in reasons(unlearner, X, y)  # 2 ln 3 = 2.197
    assert unlearner.set_params(epsilon=6.5).fit(X, y).certified_ is True


@pytest.mark.parametrize(
    "params", [{"l2": 0}, {"noise": -1}, {"epsilon": 0}, {"delta": 0}, {"delta": 1}]
)
def test_bad_parameters(data, params):
    X, y = data
    with pytest.raises(ValueError, match=f"'{next(iter(params))}' parameter"):
        CertifiedUnlearner(linear_net(), **params).fit(X, y)


def test_a_last_layer_that_is_not_linear(data):
    X, y = data
    module = nn.Sequential(nn.Unflatten(1, (4, 1)), nn.Conv1d(4, 3, 1), nn.Flatten())
    unlearner = CertifiedUnlearner(make_net(module))
    with pytest.raises(ValueError, match=r"expected torch.nn.Linear with 3 outputs"):
        unlearner.fit(X, y)
    assert not hasattr(unlearner, "fitted_")


def test_the_trained_network_is_kept_as_it_was(data):
    X, y = data
    net = make_net().fit(X, y)
    weights = copy.deepcopy(net.module_.state_dict())
    unlearner = CertifiedUnlearner(FrozenEstimator(net), random_state=0).fit(X, y)
    unlearner.unlearn(X, y, forget=one()).partial_unlearn(X, y, forget=y == 1)
    assert unlearner.fitted_ is net
    assert type(net.module_.head) is nn.Linear
    new = unlearner.net_.module_.state_dict()
    for name, value in weights.items():
        assert torch.equal(net.module_.state_dict()[name], value)
        assert torch.equal(new[name], value) == name.startswith("body")


def test_a_request_that_is_interrupted_leaves_the_heads_as_they_were(data, monkeypatch):
    X, y = data
    unlearner = CertifiedUnlearner(make_net(), random_state=0).fit(X, y)
    unlearner.unlearn(X, y, forget=one())
    attributes = dict(vars(unlearner))
    arrays = copy.deepcopy(vars(unlearner.heads_))
    predictions = unlearner.predict_proba(X)
    monkeypatch.setattr(Net, "broken", True)
    for request in (unlearner.unlearn, unlearner.partial_unlearn):
        with pytest.raises(KeyboardInterrupt):
            request(X, y, forget=one(row=9))
    monkeypatch.setattr(Net, "broken", False)
    assert vars(unlearner).keys() == attributes.keys()
    assert all(value is attributes[name] for name, value in vars(unlearner).items())
    for name, value in arrays.items():
        np.testing.assert_array_equal(getattr(unlearner.heads_, name), value)
    np.testing.assert_array_equal(unlearner.predict_proba(X), predictions)


def test_a_released_model_has_neither_noise_nor_seed_nor_state(data):
    X, y = data
    seed = 1_234_567_891
    unlearner = CertifiedUnlearner(linear_net(), noise=5, random_state=seed).fit(X, y)
    unlearner.unlearn(X, y, forget=one())
    released = unlearner.release()
    heads = unlearner.heads_
    secrets = [heads.noise, heads.weights, unlearner.fitted_heads_.weights, *inputs_of(X[:9])]
    held, given = pickle.dumps(unlearner), pickle.dumps(released)
    for secret in [*secrets[:3], *heads.noise]:
        assert secret.tobytes() in held, "what is looked for can be found"
    for secret in [*secrets, *heads.noise, *heads.weights]:
        assert secret.tobytes() not in given
        assert secret.astype(np.float32).tobytes() not in given
    assert seed.to_bytes(4, "little") in held
    assert seed.to_bytes(4, "little") not in given
    np.testing.assert_array_equal(released.predict_proba(X), unlearner.predict_proba(X))
    assert not hasattr(released, "certificate_")
    with pytest.raises(ReleasedModelError):
        released.unlearn(X, y, forget=one())


def test_without_a_seed_the_noise_is_not_torchs(data):
    # The seed that the global random states get has 31 bits, which can be tried out.
    X, y = data
    unlearner = CertifiedUnlearner(linear_net(), random_state=None)
    first, second = (unlearner.fit(X, y).heads_.noise for _ in range(2))
    assert not np.isclose(first, second).any()


def test_digits_without_a_class():
    X, y = load_digits(return_X_y=True)
    X, X_test, y, y_test = train_test_split(X, y, random_state=0, stratify=y)
    retrained = RetrainUnlearner(random_state=0).fit(X, y)
    unlearner = CertifiedUnlearner(FrozenEstimator(retrained.fitted_), random_state=0).fit(X, y)
    assert unlearner.score(X_test, y_test) > retrained.score(X_test, y_test) - 0.02
    rest = y_test != 3
    retrained.unlearn(X, y, forget=y == 3)
    unlearner.unlearn(X, y, forget=y == 3)
    assert unlearner.refitted_
    assert unlearner.score(X_test[~rest], y_test[~rest]) <= 0.05
    expected = retrained.score(X_test[rest], y_test[rest])
    assert abs(unlearner.score(X_test[rest], y_test[rest]) - expected) < 0.03
