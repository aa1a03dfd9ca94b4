"""Fidelity and generalisation: functions on arrays, and exact streaming metrics."""

from keras_kd.metrics.agreement import Agreement, agreement
from keras_kd.metrics.attention import AttentionIoU, attention_iou
from keras_kd.metrics.augmentation import (
    augmentation_affinity,
    augmentation_diversity,
    disagreement_by_view,
    self_agreement,
)
from keras_kd.metrics.calibration import (
    ExpectedCalibrationError,
    NegativeLogLikelihood,
    expected_calibration_error,
    negative_log_likelihood,
)
from keras_kd.metrics.divergence import PredictiveKL, predictive_kl
from keras_kd.metrics.generative import frechet_distance, inception_score
from keras_kd.metrics.kernel_similarity import rbf_cka, released_cka
from keras_kd.metrics.representation import (
    CKAMatrix,
    LinearCKA,
    cka_matrix,
    linear_cka,
)

__all__ = [
    "Agreement",
    "AttentionIoU",
    "CKAMatrix",
    "ExpectedCalibrationError",
    "LinearCKA",
    "NegativeLogLikelihood",
    "PredictiveKL",
    "agreement",
    "attention_iou",
    "augmentation_affinity",
    "augmentation_diversity",
    "cka_matrix",
    "disagreement_by_view",
    "expected_calibration_error",
    "frechet_distance",
    "inception_score",
    "linear_cka",
    "negative_log_likelihood",
    "predictive_kl",
    "rbf_cka",
    "released_cka",
    "self_agreement",
]
