"""Machine unlearning in the manner of scikit-learn: fit learns, unlearn forgets, score judges."""

__version__ = "0.1.0.dev0"

from sklunlearn.discovery import all_unlearners
from sklunlearn.requests import forget_mask
from sklunlearn.unlearners import BoundaryUnlearner, RetrainUnlearner

__all__ = ["BoundaryUnlearner", "RetrainUnlearner", "__version__", "all_unlearners", "forget_mask"]
