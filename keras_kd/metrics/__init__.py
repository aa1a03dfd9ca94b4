"""Fidelity and generalisation: functions on arrays, and exact streaming metrics.

Positions that a Keras mask of the logits leaves out weigh 0.
"""

from keras_kd.metrics.agreement import Agreement, agreement
from keras_kd.metrics.attention import AttentionIoU, attention_iou
from keras_kd.metrics.augmentation import (
    augmentation_affinity,
    augmentation_diversity,
    disagreement_by_view,
    self_agreement,
)
from keras_kd.metrics.brier import BrierScore, brier_score
from keras_kd.metrics.calibration import (
    ExpectedCalibrationError,
    MaximumCalibrationError,
    NegativeLogLikelihood,
    UnweightedCalibrationError,
    expected_calibration_error,
    maximum_calibration_error,
    negative_log_likelihood,
    unweighted_calibration_error,
)
from keras_kd.metrics.deviation import (
    ConfidenceExaggeration,
    confidence_exaggeration,
)
from keras_kd.metrics.disagreement import (
    AgreementByConfidence,
    DisagreementKinds,
    agreement_by_confidence,
    disagreement_kinds,
)
from keras_kd.metrics.divergence import (
    JensenShannon,
    PredictiveKL,
    ReverseKL,
    TotalVariation,
    jensen_shannon,
    predictive_kl,
    reverse_kl,
    total_variation,
)
from keras_kd.metrics.diversity import EnsembleDiversity, ensemble_diversity
from keras_kd.metrics.generative import frechet_distance, inception_score
from keras_kd.metrics.kernel_similarity import rbf_cka, released_cka
from keras_kd.metrics.mutual_information import (
    MutualInformation,
    NormalizedMutualInformation,
    mutual_information,
    normalized_mutual_information,
)
from keras_kd.metrics.reliability import (
    EqualMassCalibrationError,
    equal_mass_calibration_error,
    reliability_bins,
)
from keras_kd.metrics.representation import (
    CKAMatrix,
    LinearCKA,
    cka_matrix,
    linear_cka,
)
from keras_kd.metrics.temperature_scaling import fit_temperature

__all__ = [
    "Agreement",
    "AgreementByConfidence",
    "AttentionIoU",
    "BrierScore",
    "CKAMatrix",
    "ConfidenceExaggeration",
    "DisagreementKinds",
    "EnsembleDiversity",
    "EqualMassCalibrationError",
    "ExpectedCalibrationError",
    "JensenShannon",
    "LinearCKA",
    "MaximumCalibrationError",
    "MutualInformation",
    "NegativeLogLikelihood",
    "NormalizedMutualInformation",
    "PredictiveKL",
    "ReverseKL",
    "TotalVariation",
    "UnweightedCalibrationError",
    "agreement",
    "agreement_by_confidence",
    "attention_iou",
    "augmentation_affinity",
    "augmentation_diversity",
    "brier_score",
    "cka_matrix",
    "confidence_exaggeration",
    "disagreement_by_view",
    "disagreement_kinds",
    "ensemble_diversity",
    "equal_mass_calibration_error",
    "expected_calibration_error",
    "fit_temperature",
    "frechet_distance",
    "inception_score",
    "jensen_shannon",
    "linear_cka",
    "maximum_calibration_error",
    "mutual_information",
    "negative_log_likelihood",
    "normalized_mutual_information",
    "predictive_kl",
    "rbf_cka",
    "released_cka",
    "reliability_bins",
    "reverse_kl",
    "self_agreement",
    "total_variation",
    "unweighted_calibration_error",
]
