"""Distillation losses: pure functions of teacher and student, and thin classes."""

from keras_kd.losses.attention_transfer import (
    AttentionTransfer,
    SquaredAttentionTransfer,
    attention_map,
    attention_transfer,
    squared_attention_transfer,
)
from keras_kd.losses.batch_coupled import BatchCoupled
from keras_kd.losses.brier import BrierLoss, brier_loss
from keras_kd.losses.chunked import (
    ChunkedKnowledgeDistillation,
    chunked_knowledge_distillation,
)
from keras_kd.losses.contrastive import CRD, crd
from keras_kd.losses.decoupled import (
    DecoupledKD,
    decoupled_kd,
    nontarget_class_kd,
    target_class_kd,
)
from keras_kd.losses.dist import DIST, dist
from keras_kd.losses.distillation_loss import DistillationLoss
from keras_kd.losses.divergences import (
    JensenShannonDivergence,
    ReverseKLDivergence,
    SymmetricKLDivergence,
    jensen_shannon_divergence,
    reverse_kl_divergence,
    symmetric_kl_divergence,
)
from keras_kd.losses.feature_loss import FeatureLoss, TrainedFeatureLoss
from keras_kd.losses.features import FeatureMatching, feature_matching
from keras_kd.losses.fused_linear import fused_linear_knowledge_distillation
from keras_kd.losses.hard_labels import (
    HardLabel,
    SampledLabel,
    hard_label,
    sampled_label,
)
from keras_kd.losses.hint import HintLoss, hint_loss
from keras_kd.losses.logit_mse import LogitMSE, logit_mse
from keras_kd.losses.logits import (
    KnowledgeDistillation,
    SoftCrossEntropy,
    knowledge_distillation,
    soft_cross_entropy,
)
from keras_kd.losses.loss_wrapper import LossWrapper
from keras_kd.losses.multi_level import MultiLevelLogit, multi_level_logit
from keras_kd.losses.per_teacher import PerTeacher
from keras_kd.losses.relational import (
    RKDAngle,
    RKDDistance,
    rkd_angle,
    rkd_distance,
)
from keras_kd.losses.similarity import (
    PKT,
    SimilarityPreserving,
    pkt,
    similarity_preserving,
)
from keras_kd.losses.standardization import LogitStandardization, standardize
from keras_kd.losses.variational import VID, vid

__all__ = [
    "CRD",
    "DIST",
    "PKT",
    "VID",
    "AttentionTransfer",
    "BatchCoupled",
    "BrierLoss",
    "ChunkedKnowledgeDistillation",
    "DecoupledKD",
    "DistillationLoss",
    "FeatureLoss",
    "FeatureMatching",
    "HardLabel",
    "HintLoss",
    "JensenShannonDivergence",
    "KnowledgeDistillation",
    "LogitMSE",
    "LogitStandardization",
    "LossWrapper",
    "MultiLevelLogit",
    "PerTeacher",
    "RKDAngle",
    "RKDDistance",
    "ReverseKLDivergence",
    "SampledLabel",
    "SimilarityPreserving",
    "SoftCrossEntropy",
    "SquaredAttentionTransfer",
    "SymmetricKLDivergence",
    "TrainedFeatureLoss",
    "attention_map",
    "attention_transfer",
    "brier_loss",
    "chunked_knowledge_distillation",
    "crd",
    "decoupled_kd",
    "dist",
    "feature_matching",
    "fused_linear_knowledge_distillation",
    "hard_label",
    "hint_loss",
    "jensen_shannon_divergence",
    "knowledge_distillation",
    "logit_mse",
    "multi_level_logit",
    "nontarget_class_kd",
    "pkt",
    "reverse_kl_divergence",
    "rkd_angle",
    "rkd_distance",
    "sampled_label",
    "similarity_preserving",
    "soft_cross_entropy",
    "squared_attention_transfer",
    "standardize",
    "symmetric_kl_divergence",
    "target_class_kd",
    "vid",
]
