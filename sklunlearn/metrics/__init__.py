"""Metrics of unlearning: arrays in, numbers out."""

from sklunlearn.metrics._accuracy import forget_accuracy, per_class_accuracy, retain_accuracy
from sklunlearn.metrics._calibration import confidence_gap, entropy_gap, expected_calibration_error
from sklunlearn.metrics._composite import (
    adaptive_unlearning_score,
    average_gap,
    h_mean,
    tug_of_war,
)
from sklunlearn.metrics._confusion import (
    InterclassConfusion,
    interclass_confusion,
    make_confusion,
)
from sklunlearn.metrics._distance import (
    activation_distance,
    js_divergence,
    kl_divergence,
    prediction_agreement,
    total_variation,
)
from sklunlearn.metrics._learned_attacks import (
    MIAEfficacy,
    class_membership_accuracy,
    logistic_membership_accuracy,
    mia_efficacy,
)
from sklunlearn.metrics._membership import (
    auc_noise_floor,
    ks_distance,
    membership_advantage,
    membership_auc,
    tpr_at_fpr,
)
from sklunlearn.metrics._relearning import RelearnTime, anamnesis_index, relearn_time
from sklunlearn.metrics._residual import (
    EmbeddingProbe,
    embedding_probe,
    zero_retrain_forgetting,
)
from sklunlearn.metrics._scores import (
    cross_entropy_per_row,
    logit_scaled_confidence,
    modified_entropy,
)
from sklunlearn.metrics._seeds import ForgettingQuality, forgetting_quality, klom
from sklunlearn.metrics._shadow import ULiRA, rmia, u_lira, u_lira_score
from sklunlearn.metrics._tradeoff import hypervolume, knee_point, pareto_front, speed_up

__all__ = [
    "EmbeddingProbe",
    "ForgettingQuality",
    "InterclassConfusion",
    "MIAEfficacy",
    "RelearnTime",
    "ULiRA",
    "activation_distance",
    "adaptive_unlearning_score",
    "anamnesis_index",
    "auc_noise_floor",
    "average_gap",
    "class_membership_accuracy",
    "confidence_gap",
    "cross_entropy_per_row",
    "embedding_probe",
    "entropy_gap",
    "expected_calibration_error",
    "forget_accuracy",
    "forgetting_quality",
    "h_mean",
    "hypervolume",
    "interclass_confusion",
    "js_divergence",
    "kl_divergence",
    "klom",
    "knee_point",
    "ks_distance",
    "logistic_membership_accuracy",
    "logit_scaled_confidence",
    "make_confusion",
    "membership_advantage",
    "membership_auc",
    "mia_efficacy",
    "modified_entropy",
    "pareto_front",
    "per_class_accuracy",
    "prediction_agreement",
    "relearn_time",
    "retain_accuracy",
    "rmia",
    "speed_up",
    "total_variation",
    "tpr_at_fpr",
    "tug_of_war",
    "u_lira",
    "u_lira_score",
    "zero_retrain_forgetting",
]
