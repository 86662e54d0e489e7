"""Tools for those who write methods."""

from sklunlearn.utils._unlearner_checks import check_unlearner

__all__ = ["check_unlearner"]
