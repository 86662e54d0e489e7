"""Unlearning methods, one a file."""

from sklunlearn.unlearners.amun import AMUNUnlearner
from sklunlearn.unlearners.bad_teacher import BadTeacherUnlearner
from sklunlearn.unlearners.boundary import BoundaryUnlearner
from sklunlearn.unlearners.boundary_expand import BoundaryExpandUnlearner
from sklunlearn.unlearners.certified import CertifiedUnlearner
from sklunlearn.unlearners.delete import DELETEUnlearner
from sklunlearn.unlearners.duck import DUCKUnlearner
from sklunlearn.unlearners.finetune import FineTuneUnlearner
from sklunlearn.unlearners.icu import ICUUnlearner
from sklunlearn.unlearners.neggrad import NegGradUnlearner
from sklunlearn.unlearners.random_label import RandomLabelUnlearner
from sklunlearn.unlearners.retrain import RetrainUnlearner
from sklunlearn.unlearners.salun import SalUnUnlearner
from sklunlearn.unlearners.scrub import SCRUBUnlearner
from sklunlearn.unlearners.sisa import SISAUnlearner
from sklunlearn.unlearners.ssd import SSDUnlearner
from sklunlearn.unlearners.unsir import UNSIRUnlearner

__all__ = [
    "AMUNUnlearner",
    "BadTeacherUnlearner",
    "BoundaryExpandUnlearner",
    "BoundaryUnlearner",
    "CertifiedUnlearner",
    "DELETEUnlearner",
    "DUCKUnlearner",
    "FineTuneUnlearner",
    "ICUUnlearner",
    "NegGradUnlearner",
    "RandomLabelUnlearner",
    "RetrainUnlearner",
    "SCRUBUnlearner",
    "SISAUnlearner",
    "SSDUnlearner",
    "SalUnUnlearner",
    "UNSIRUnlearner",
]
