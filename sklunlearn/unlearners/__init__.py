"""The methods, one published method a file."""

from sklunlearn.unlearners.boundary import BoundaryUnlearner
from sklunlearn.unlearners.retrain import RetrainUnlearner
from sklunlearn.unlearners.sisa import SISAUnlearner

__all__ = ["BoundaryUnlearner", "RetrainUnlearner", "SISAUnlearner"]
