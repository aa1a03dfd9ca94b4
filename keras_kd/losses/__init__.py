"""Distillation losses: pure functions of teacher and student, and thin classes."""

from keras_kd.losses.distillation_loss import DistillationLoss
from keras_kd.losses.features import FeatureMatching, feature_matching
from keras_kd.losses.logits import (
    KnowledgeDistillation,
    SoftCrossEntropy,
    knowledge_distillation,
    soft_cross_entropy,
)

__all__ = [
    "DistillationLoss",
    "FeatureMatching",
    "KnowledgeDistillation",
    "SoftCrossEntropy",
    "feature_matching",
    "knowledge_distillation",
    "soft_cross_entropy",
]
