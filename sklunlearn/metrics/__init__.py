"""Metrics of unlearning: arrays in, numbers out."""

from sklunlearn.metrics._confusion import (
    InterclassConfusion,
    interclass_confusion,
    make_confusion,
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

__all__ = [
    "EmbeddingProbe",
    "ForgettingQuality",
    "InterclassConfusion",
    "MIAEfficacy",
    "RelearnTime",
    "ULiRA",
    "anamnesis_index",
    "auc_noise_floor",
    "class_membership_accuracy",
    "cross_entropy_per_row",
    "embedding_probe",
    "forgetting_quality",
    "interclass_confusion",
    "klom",
    "ks_distance",
    "logistic_membership_accuracy",
    "logit_scaled_confidence",
    "make_confusion",
    "membership_advantage",
    "membership_auc",
    "mia_efficacy",
    "modified_entropy",
    "relearn_time",
    "rmia",
    "tpr_at_fpr",
    "u_lira",
    "u_lira_score",
    "zero_retrain_forgetting",
]
