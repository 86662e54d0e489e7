"""Machine unlearning in the manner of scikit-learn: fit learns, unlearn forgets, score judges."""

__version__ = "0.1.0.dev0"

from sklunlearn.requests import forget_mask
from sklunlearn.unlearners import BoundaryUnlearner, CertifiedUnlearner, RetrainUnlearner

__all__ = [
    "BoundaryUnlearner",
    "CertifiedUnlearner",
    "RetrainUnlearner",
    "__version__",
    "forget_mask",
]
