"""Errors and warnings of this package."""

from sklearn.exceptions import NotFittedError

__all__ = ["DivergenceError", "ReleasedModelError"]


class DivergenceError(ArithmeticError):
    """An unlearning run reached a loss or a weight that is not finite; the model is as before."""


class ReleasedModelError(NotFittedError):
    """A released model was asked to unlearn; it carries no original weights to start from."""
