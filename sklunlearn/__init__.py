"""Machine unlearning in the manner of scikit-learn: fit learns, unlearn forgets, score judges."""

__version__ = "0.1.0.dev0"

from sklunlearn import unlearners
from sklunlearn.compose import ComposedUnlearner
from sklunlearn.discovery import all_unlearners
from sklunlearn.inspection import UnlearningReport, compare_unlearners, unlearning_report
from sklunlearn.requests import ForgetRequest, forget_mask
from sklunlearn.unlearners import *  # noqa: F403 - a method is named in one place

__all__ = [
    "ComposedUnlearner",
    "ForgetRequest",
    "UnlearningReport",
    "__version__",
    "all_unlearners",
    "compare_unlearners",
    "forget_mask",
    "unlearning_report",
    *unlearners.__all__,
]
