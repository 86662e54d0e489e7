import dataclasses

import numpy as np
import pytest
import torch
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression

from sklunlearn._newton import (
    LinearHeads,
    fit_logistic,
    gradient,
    newton_removal,
    removal_budget,
    residual_bound,
)

# Five rows on the unit circle, of which the second is removed; values found by an independent
# implementation.
X = np.array([[1, 0], [0.6, 0.8], [0, 1], [-0.6, 0.8], [-1, 0]])
Y = np.array([1, 1, -1, -1, -1])
FORGET = np.arange(5) == 1


def problem(seed, n=40, d=6):
    """Random rows of norm at most 1, labels that depend on them, and noise."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d))
    X /= np.maximum(1, np.linalg.norm(X, axis=1, keepdims=True))
    y = np.where(X @ rng.normal(size=d) + rng.normal(scale=0.3, size=n) > 0, 1.0, -1.0)
    return X, y, rng.normal(size=d)


def autograd(w, X, y, l2, noise):
    """Gradient of the objective, as torch finds it."""
    w = torch.tensor(w, requires_grad=True)
    margins = torch.tensor(y) * (torch.tensor(X) @ w)
    value = torch.nn.functional.softplus(-margins).sum() + len(X) * l2 / 2 * (w @ w)
    (value + torch.tensor(noise) @ w).backward()
    return w.grad.numpy()


def squared_loss(scores, y):
    return (scores - y) ** 2 / 2, scores - y, np.ones_like(scores)


def test_known_logistic_vector():
    w = fit_logistic(X, Y, l2=0.1, noise=np.zeros(2))
    np.testing.assert_allclose(w, [1.46805, -0.495803], rtol=1e-5)
    step = newton_removal(w, X, Y, FORGET, l2=0.1)
    np.testing.assert_allclose(w + step, [1.308242, -0.989752], rtol=1e-6)
    retrained = fit_logistic(X[~FORGET], Y[~FORGET], l2=0.1, noise=np.zeros(2))
    np.testing.assert_allclose(retrained, [1.31316, -1.006827], rtol=1e-5)
    residual = gradient(w + step, X[~FORGET], Y[~FORGET], l2=0.1, noise=0)
    np.testing.assert_allclose(np.linalg.norm(residual), 0.013068, atol=5e-7)
    np.testing.assert_allclose(residual_bound(step, X[~FORGET]), 0.129792, atol=5e-7)
    np.testing.assert_allclose(worst_case_bound(5, l2=0.1), 25.0)


def worst_case_bound(n_samples, n_forget=1, *, l2):
    """The paper's bound for any rows, from a minimum without noise."""
    return n_forget**2 / (l2**2 * (n_samples - n_forget))


def test_gradient_is_that_of_the_objective():
    X, y, noise = problem(0)
    w = np.linspace(-2, 3, 6)
    expected = autograd(w, X, y, 0.05, noise)
    np.testing.assert_allclose(gradient(w, X, y, l2=0.05, noise=noise), expected, rtol=1e-10)


@pytest.mark.parametrize("l2", [1e-4, 1e-2, 1.0])
def test_fit_without_noise_is_logistic_regression(l2):
    X, y, _ = problem(1)
    reference = LogisticRegression(
        C=1 / (len(X) * l2), fit_intercept=False, tol=1e-10, max_iter=10_000, solver="newton-cg"
    )
    expected = reference.fit(X, y).coef_[0]
    w = fit_logistic(X, y, l2=l2, noise=np.zeros(6))
    np.testing.assert_allclose(w, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("scale", [0.1, 1, 30])
def test_fit_leaves_next_to_no_gradient(scale):
    X, y, noise = problem(2)
    w = fit_logistic(X, y, l2=1e-3, noise=scale * noise)
    assert np.linalg.norm(autograd(w, X, y, 1e-3, scale * noise)) < 1e-9


def test_fit_to_rows_of_one_class():
    X, y, noise = problem(3)
    w = fit_logistic(X, np.abs(y), l2=0.01, noise=noise)
    assert np.linalg.norm(autograd(w, X, np.abs(y), 0.01, noise)) < 1e-11


def test_one_step_is_exact_for_the_squared_loss():
    X, y, noise = problem(4)
    forget = np.arange(40) % 3 == 0

    def ridge(X, y):
        return np.linalg.solve(X.T @ X + len(X) * 0.2 * np.eye(6), X.T @ y - noise)

    w = ridge(X, y)
    step = newton_removal(w, X, y, forget, l2=0.2, loss=squared_loss)
    np.testing.assert_allclose(w + step, ridge(X[~forget], y[~forget]), rtol=1e-10)


@pytest.mark.parametrize("seed", range(20))
def test_bound_is_at_least_the_residual(seed):
    rng = np.random.default_rng(seed)
    l2, m = 10 ** rng.uniform(-3, 0), rng.integers(1, 20)
    X, y, noise = problem(seed)
    forget = rng.permutation(40) < m
    w = fit_logistic(X, y, l2=l2, noise=noise)
    step = newton_removal(w, X, y, forget, l2=l2)
    residual = np.linalg.norm(autograd(w + step, X[~forget], y[~forget], l2, noise))
    bound = residual_bound(step, X[~forget])
    assert residual <= bound
    without_noise = fit_logistic(X, y, l2=l2, noise=np.zeros(6))
    step = newton_removal(without_noise, X, y, forget, l2=l2)
    assert residual_bound(step, X[~forget]) <= worst_case_bound(40, m, l2=l2)


def test_bound_is_the_product_of_three_norms():
    X, _, _ = problem(5)
    steps = np.random.default_rng(5).normal(size=(2, 6))
    largest = np.linalg.svd(X, compute_uv=False)[0]
    expected = [
        largest * np.sqrt(sum(step**2)) * np.sqrt(sum((X @ step) ** 2)) / 4 for step in steps
    ]
    np.testing.assert_allclose(residual_bound(steps, X), expected)
    np.testing.assert_allclose(residual_bound(steps[0], X), expected[0])


def test_budget():
    # c = sqrt(2 ln 15000) = 4.385385
    np.testing.assert_allclose(removal_budget(3.0, 0.5, 1e-4), 1.5 / 4.385385, rtol=1e-6)


@pytest.mark.parametrize("epsilon", [0.01, 0.1, 1, 2 * np.log(3)])
@pytest.mark.parametrize("delta", [1e-9, 1e-4, 0.1, 0.9])
def test_noise_hides_a_gradient_as_large_as_the_budget(epsilon, delta):
    # The exact delta of two normal distributions whose means are so far apart (Balle & Wang 2018).
    distance = removal_budget(2.0, epsilon, delta) / 2.0
    exact = norm.cdf(distance / 2 - epsilon / distance) - np.exp(epsilon) * norm.cdf(
        -distance / 2 - epsilon / distance
    )
    assert exact <= delta


# Heads


@pytest.fixture
def heads():
    X, y, _ = problem(6)
    return LinearHeads.fit(
        X, np.array([y, -y]), l2=0.05, noise_std=2.0, rng=np.random.default_rng(0)
    )


def test_each_head_has_noise_of_its_own(heads):
    np.testing.assert_array_equal(heads.noise, 2 * np.random.default_rng(0).standard_normal((2, 6)))
    X, y, _ = problem(6)
    for w, sign, noise in zip(heads.weights, (1, -1), heads.noise, strict=True):
        assert np.linalg.norm(autograd(w, X, sign * y, 0.05, noise)) < 1e-11


def test_what_the_optimiser_leaves_is_spent(heads):
    X, y, _ = problem(6)
    expected = heads.residual_norm(X, np.array([y, -y]))
    np.testing.assert_array_equal(heads.spent, expected)
    moved = dataclasses.replace(heads, weights=heads.weights + 0.1)
    for norm_, w, sign, noise in zip(
        moved.residual_norm(X, np.array([y, -y])), moved.weights, (1, -1), heads.noise, strict=True
    ):
        np.testing.assert_allclose(norm_, np.linalg.norm(autograd(w, X, sign * y, 0.05, noise)))


def test_bounds_add_up_over_removals(heads):
    X, y, _ = problem(6)
    signs, before = np.array([y, -y]), heads.weights.copy()
    first, bound_1 = heads.remove(X, signs, np.arange(40) < 5)
    X, signs = X[5:], signs[:, 5:]
    second, bound_2 = first.remove(X, signs, np.arange(35) < 7)
    np.testing.assert_allclose(second.spent, bound_1 + bound_2, atol=1e-12)
    assert (bound_1 > 1e-6).all()
    np.testing.assert_array_equal(heads.weights, before)
    for spent, w, y, noise in zip(second.spent, second.weights, signs, heads.noise, strict=True):
        assert np.linalg.norm(autograd(w, X[7:], y[7:], 0.05, noise)) <= spent


def test_rows_that_the_fit_did_not_have_cost_what_their_gradient_is(heads):
    X, y, _ = problem(6)
    # As if one more row had been there, of the wrong label.
    X, signs = np.vstack([X, X[:1]]), np.array([y, -y])
    signs = np.hstack([signs, -signs[:, :1]])
    forget = np.arange(41) == 3
    after, bound = heads.remove(X, signs, forget)
    measured = [
        np.linalg.norm(autograd(w, X, sign, 0.05, noise))
        for w, sign, noise in zip(heads.weights, signs, heads.noise, strict=True)
    ]
    assert min(measured) > 0.1
    np.testing.assert_allclose(after.spent, measured + bound)
