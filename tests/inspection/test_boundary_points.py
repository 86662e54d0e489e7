import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, PolynomialFeatures, StandardScaler
from skorch import NeuralNetClassifier

from sklunlearn import BoundaryUnlearner, NegGradUnlearner
from sklunlearn.inspection._boundary_points import find_boundary_points


class Linear(torch.nn.Module):
    def __init__(self, n_features=2):
        super().__init__()
        self.linear = torch.nn.Linear(n_features, 3)

    def forward(self, X):
        return self.linear(X)


def make_net(**params):
    return NeuralNetClassifier(
        Linear,
        criterion=torch.nn.CrossEntropyLoss,
        optimizer=torch.optim.Adam,
        lr=0.1,
        max_epochs=20,
        train_split=None,
        verbose=0,
        **params,
    )


@pytest.fixture
def coded(flowers):
    X, y, forget = flowers
    return X, np.unique(y, return_inverse=True)[1], forget


def test_points_as_found_by_hand(coded):
    """On a linear network with the unit step, by NumPy."""
    X, y, forget = coded
    parameters = {"step_size": 0.2, "step_units": "absolute", "max_steps": 30}
    unlearner = BoundaryUnlearner(make_net(), random_state=0, **parameters).fit(X, y)
    shown = np.flatnonzero(forget)[[0, 5]]
    found = find_boundary_points(unlearner, X, y, forget, shown)
    layer = unlearner.fitted_.module_.linear
    W, b = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    for i, row in enumerate(shown):
        x, steps = X[row].astype(float), 0
        while steps < 30 and (steps == 0 or (W @ x + b).argmax() == y[row]):
            p = np.exp(W @ x + b - (W @ x + b).max())
            p /= p.sum()
            steps += 1
            x = x + 0.2 / np.sqrt(steps) * np.sign(W.T @ (p - np.eye(3)[y[row]]))
        assert np.allclose(found.X[i], x, atol=1e-4)
        assert found.n_steps[i] == steps
        assert found.codes[i] == (W @ x + b).argsort()[[-1, -2]][int(not found.crossed[i])]


def test_another_unlearner_searches_with_the_defaults(coded):
    X, y, forget = coded
    fitted = BoundaryUnlearner(make_net(), random_state=0).fit(X, y)
    shown = np.flatnonzero(forget)
    expected = find_boundary_points(fitted, X, y, forget, shown)
    other = NegGradUnlearner(FrozenEstimator(fitted.fitted_)).fit(X, y, forget=forget)
    assert np.array_equal(find_boundary_points(other, X, y, forget, shown).X, expected.X)


def test_points_of_a_pipeline_are_in_the_units_of_the_data(coded):
    X, y, forget = coded
    pipeline = make_pipeline(StandardScaler(), make_net())
    unlearner = BoundaryUnlearner(pipeline, random_state=0).fit(X, y)
    found = find_boundary_points(unlearner, X, y, forget, np.flatnonzero(forget))
    predicted = unlearner.fitted_.predict(found.X.astype("float32"))
    assert found.crossed.any()
    assert np.array_equal(predicted[found.crossed], found.codes[found.crossed])
    assert (predicted[found.crossed] != y[forget][found.crossed]).all()


@pytest.mark.parametrize(
    ("step", "n_features"), [(PolynomialFeatures(2), 6), (FunctionTransformer(np.log1p), 2)]
)
def test_steps_that_cannot_be_undone(coded, step, n_features):
    X, y, forget = coded
    pipeline = make_pipeline(clone(step), make_net(module__n_features=n_features))
    unlearner = BoundaryUnlearner(pipeline, random_state=0).fit(X, y)
    with pytest.raises(ValueError, match="cannot be undone"):
        find_boundary_points(unlearner, X, y, forget, np.flatnonzero(forget))


def test_random_states_are_left_alone(coded):
    X, y, forget = coded
    unlearner = BoundaryUnlearner(make_net(), noise=1.0, random_state=0).fit(X, y)
    before = torch.random.get_rng_state()
    first, second = (
        find_boundary_points(unlearner, X, y, forget, np.flatnonzero(forget)) for _ in range(2)
    )
    assert np.array_equal(first.X, second.X)
    assert torch.equal(torch.random.get_rng_state(), before)
