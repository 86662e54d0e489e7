"""Errors and warnings of this package."""

from sklearn.exceptions import NotFittedError

__all__ = [
    "AuditLogError",
    "DivergenceError",
    "ModelFileError",
    "ReleasedModelError",
    "RetainDropError",
]


class DivergenceError(ArithmeticError):
    """An unlearning run reached a loss or a weight that is not finite; the model is as before."""


class RetainDropError(ValueError):
    """A request would cost more retain accuracy than `max_retain_drop`; the model is as before."""


class ReleasedModelError(NotFittedError):
    """A released model was asked to unlearn; it carries no original weights to start from."""


class ModelFileError(ValueError):
    """A file is not a whole, unchanged model that :func:`sklunlearn.persistence.save_model` wrote.

    Or it needs a newer release, or classes that the caller did not pass.
    """


class AuditLogError(ValueError):
    """A file of audit records is not as :mod:`sklunlearn.audit` wrote it."""
