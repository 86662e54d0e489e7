"""Choosing the parameters of an unlearner: scorers, splitters, rules and a search."""

from sklunlearn.model_selection._scorers import unlearning_scorers
from sklunlearn.model_selection._search import TradeoffSearchCV
from sklunlearn.model_selection._selection import select_constrained, select_knee
from sklunlearn.model_selection._split import ForgetSplit, ForgetStratifiedKFold

__all__ = [
    "ForgetSplit",
    "ForgetStratifiedKFold",
    "TradeoffSearchCV",
    "select_constrained",
    "select_knee",
    "unlearning_scorers",
]
