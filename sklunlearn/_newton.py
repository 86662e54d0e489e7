"""Linear models with a perturbed objective, and the removal of rows by one Newton step.

Rows are float64 arrays of shape (n_samples, n_features) with an L2 norm of at most 1, labels are
-1 and 1. The objective is a sum over rows,
``sum_i [loss(x_i @ w, y_i) + l2 / 2 * ||w||^2] + noise @ w``.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import solve
from scipy.optimize import minimize
from scipy.special import expit

__all__ = [
    "LinearHeads",
    "fit_logistic",
    "gradient",
    "logistic_loss",
    "newton_removal",
    "removal_budget",
    "residual_bound",
]

# Lipschitz constant of the second derivative of the logistic loss, as published. The smallest
# valid one is 1 / (6 * sqrt(3)), two fifths of it.
GAMMA = 0.25


def logistic_loss(scores, y):
    """Logistic loss of each row, with its first and second derivative in the score."""
    margins = y * scores
    missing = expit(-margins)
    return np.logaddexp(0, -margins), -y * missing, missing * (1 - missing)


def gradient(w, X, y, *, l2, noise, loss=logistic_loss):
    """Gradient of the objective, of shape (n_features,)."""
    _, slope, _ = loss(X @ w, y)
    return X.T @ slope + len(X) * l2 * w + noise


def hessian(w, X, y, *, l2, loss=logistic_loss):
    """Hessian of the objective, of shape (n_features, n_features); the noise has no part in it."""
    _, _, curvature = loss(X @ w, y)
    return (X.T * curvature) @ X + len(X) * l2 * np.eye(len(w))


def fit_logistic(X, y, *, l2, noise):
    """Minimise the objective with the logistic loss.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Rows.
    y : ndarray of shape (n_samples,)
        Labels -1 and 1; one of them may be missing.
    l2 : float
        Strength of the regularisation of each row, positive.
    noise : ndarray of shape (n_features,)
        The perturbation.

    Returns
    -------
    w : ndarray of shape (n_features,)
        Weights, at which the gradient is as small as double precision allows.
    """

    def mean_objective(w):
        value, _, _ = logistic_loss(X @ w, y)
        total = value.sum() + len(X) * l2 / 2 * w @ w + noise @ w
        return total / len(X), gradient(w, X, y, l2=l2, noise=noise) / len(X)

    options = {"maxiter": 10_000, "gtol": 1e-6, "ftol": 0}
    w = minimize(mean_objective, np.zeros(X.shape[1]), jac=True, method="L-BFGS-B", options=options)
    w = w.x
    # A line search ends where the objective's own rounding begins; Newton's method goes on.
    for _ in range(5):
        slope = gradient(w, X, y, l2=l2, noise=noise)
        better = w - solve(hessian(w, X, y, l2=l2), slope, assume_a="pos")
        if not np.linalg.norm(gradient(better, X, y, l2=l2, noise=noise)) < np.linalg.norm(slope):
            break
        w = better
    return w


def newton_removal(w, X, y, forget, *, l2, loss=logistic_loss):
    """The step that takes the minimum on all rows to nearly that on the rows that remain.

    ``H^-1 Delta`` with ``Delta = m * l2 * w + sum of the gradients of the m forgotten rows`` and
    the Hessian ``H`` of the other rows, both at `w`. The noise is the same before and after, so
    that it cancels.

    Parameters
    ----------
    w : ndarray of shape (n_features,)
        Weights, fitted to all rows.
    X : ndarray of shape (n_samples, n_features)
        All rows.
    y : ndarray of shape (n_samples,)
        Their labels.
    forget : ndarray of shape (n_samples,), dtype bool
        Rows to remove.
    l2 : float
        As in the fit.
    loss : callable, default=logistic_loss
        ``(scores, y) -> (loss, first derivative, second derivative)``, each of shape (n_samples,).

    Returns
    -------
    step : ndarray of shape (n_features,)
        What to add to `w`.
    """
    delta = gradient(w, X[forget], y[forget], l2=l2, noise=0, loss=loss)
    return solve(hessian(w, X[~forget], y[~forget], l2=l2, loss=loss), delta, assume_a="pos")


def residual_bound(step, X):
    """Upper bound on what a Newton step on the logistic loss adds to the norm of the gradient.

    ``gamma * ||X||_2 * ||step||_2 * ||X step||_2`` with gamma = 1/4.

    Parameters
    ----------
    step : ndarray of shape (n_features,) or (n_steps, n_features)
        From :func:`newton_removal`.
    X : ndarray of shape (n_samples, n_features)
        The rows that remain.

    Returns
    -------
    bound : float or ndarray of shape (n_steps,)
    """
    spectral_norm = np.sqrt(np.linalg.eigvalsh(X.T @ X)[-1])
    moved = np.linalg.norm(step @ X.T, axis=-1)
    return GAMMA * spectral_norm * np.linalg.norm(step, axis=-1) * moved


def removal_budget(noise, epsilon, delta):
    """Largest norm of the gradient that noise of this standard deviation hides.

    ``noise * epsilon / c`` with ``c = sqrt(2 ln(1.5 / delta))``.
    """
    return noise * epsilon / np.sqrt(2 * np.log(1.5 / delta))


@dataclass(frozen=True)
class LinearHeads:
    """One-vs-rest logistic models with perturbed objectives, and what removals have cost them.

    Attributes
    ----------
    weights, noise : ndarray of shape (n_heads, n_features)
        Weights, and the noise in the objective, of each head.
    spent : ndarray of shape (n_heads,)
        Upper bound on the norm of the gradient of each objective at the weights.
    l2, noise_std : float
        Strength of the regularisation, and standard deviation of the noise.
    n_draws : int
        How often noise has been drawn, this time included.
    """

    weights: np.ndarray
    noise: np.ndarray
    spent: np.ndarray
    l2: float
    noise_std: float
    n_draws: int

    @classmethod
    def fit(cls, X, signs, *, l2, noise_std, rng, n_draws=1):
        """Heads fitted to rows with labels `signs`, of shape (n_heads, n_samples)."""
        noise = noise_std * rng.standard_normal((len(signs), X.shape[1]))
        weights = np.array(
            [fit_logistic(X, y, l2=l2, noise=b) for y, b in zip(signs, noise, strict=True)]
        )
        heads = cls(weights, noise, np.zeros(len(signs)), l2, noise_std, n_draws)
        # The optimiser's own residual counts as well.
        return replace(heads, spent=heads.residual_norm(X, signs))

    def remove(self, X, signs, forget):
        """Heads after one Newton step each, and the bound, of shape (n_heads,), on its residual."""
        steps = np.array(
            [
                newton_removal(w, X, y, forget, l2=self.l2)
                for w, y in zip(self.weights, signs, strict=True)
            ]
        )
        bound = residual_bound(steps, X[~forget])
        # More than was accounted for, where these are not the rows of the fit less those that
        # are gone, or not to the last digit.
        spent = np.maximum(self.spent, self.residual_norm(X, signs)) + bound
        return replace(self, weights=self.weights + steps, spent=spent), bound

    def residual_norm(self, X, signs):
        """Norm of the gradient of each objective on these rows, of shape (n_heads,)."""
        models = zip(self.weights, signs, self.noise, strict=True)
        gradients = [gradient(w, X, y, l2=self.l2, noise=b) for w, y, b in models]
        return np.linalg.norm(gradients, axis=1)
