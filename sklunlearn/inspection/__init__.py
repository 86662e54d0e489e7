"""Pictures of what was forgotten and what it cost, and a report on it.

Each Display keeps the numbers that it draws: make one with a ``from_...`` method, draw it again
with ``plot``, and get the numbers with ``frame``.
"""

from sklunlearn.inspection._boundary import BoundaryDisplay
from sklunlearn.inspection._compare import compare_unlearners
from sklunlearn.inspection._embedding import EmbeddingDisplay
from sklunlearn.inspection._forgetting_curve import ForgettingCurveDisplay
from sklunlearn.inspection._loss_histogram import LossHistogramDisplay
from sklunlearn.inspection._perturbation import PerturbationDisplay
from sklunlearn.inspection._report import UnlearningReport, unlearning_report
from sklunlearn.inspection._search import SearchDisplay
from sklunlearn.inspection._tradeoff import TradeoffDisplay

__all__ = [
    "BoundaryDisplay",
    "EmbeddingDisplay",
    "ForgettingCurveDisplay",
    "LossHistogramDisplay",
    "PerturbationDisplay",
    "SearchDisplay",
    "TradeoffDisplay",
    "UnlearningReport",
    "compare_unlearners",
    "unlearning_report",
]
