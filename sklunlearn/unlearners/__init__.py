"""The methods, one published method a file."""

from sklunlearn.unlearners.boundary import BoundaryUnlearner
from sklunlearn.unlearners.certified import CertifiedUnlearner
from sklunlearn.unlearners.retrain import RetrainUnlearner

__all__ = ["BoundaryUnlearner", "CertifiedUnlearner", "RetrainUnlearner"]
