"""Fidelity and generalisation: functions on arrays, and exact streaming metrics."""

from keras_kd.metrics.agreement import Agreement, agreement
from keras_kd.metrics.calibration import (
    ExpectedCalibrationError,
    NegativeLogLikelihood,
    expected_calibration_error,
    negative_log_likelihood,
)
from keras_kd.metrics.divergence import PredictiveKL, predictive_kl
from keras_kd.metrics.generative import frechet_distance, inception_score

__all__ = [
    "Agreement",
    "ExpectedCalibrationError",
    "NegativeLogLikelihood",
    "PredictiveKL",
    "agreement",
    "expected_calibration_error",
    "frechet_distance",
    "inception_score",
    "negative_log_likelihood",
    "predictive_kl",
]
