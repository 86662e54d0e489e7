"""Metrics of unlearning: arrays in, numbers out."""

from sklunlearn.metrics._accuracy import forget_accuracy, per_class_accuracy, retain_accuracy
from sklunlearn.metrics._calibration import confidence_gap, entropy_gap, expected_calibration_error
from sklunlearn.metrics._composite import (
    adaptive_unlearning_score,
    average_gap,
    h_mean,
    tug_of_war,
)
from sklunlearn.metrics._distance import (
    activation_distance,
    js_divergence,
    kl_divergence,
    prediction_agreement,
    total_variation,
)
from sklunlearn.metrics._tradeoff import hypervolume, knee_point, pareto_front, speed_up

__all__ = [
    "activation_distance",
    "adaptive_unlearning_score",
    "average_gap",
    "confidence_gap",
    "entropy_gap",
    "expected_calibration_error",
    "forget_accuracy",
    "h_mean",
    "hypervolume",
    "js_divergence",
    "kl_divergence",
    "knee_point",
    "pareto_front",
    "per_class_accuracy",
    "prediction_agreement",
    "retain_accuracy",
    "speed_up",
    "total_variation",
    "tug_of_war",
]
