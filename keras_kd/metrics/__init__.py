"""Fidelity and generalisation: functions on arrays, and exact streaming metrics."""

from keras_kd.metrics.agreement import Agreement, agreement
from keras_kd.metrics.calibration import (
    ExpectedCalibrationError,
    NegativeLogLikelihood,
    expected_calibration_error,
    negative_log_likelihood,
)
from keras_kd.metrics.divergence import PredictiveKL, predictive_kl

__all__ = [
    "Agreement",
    "ExpectedCalibrationError",
    "NegativeLogLikelihood",
    "PredictiveKL",
    "agreement",
    "expected_calibration_error",
    "negative_log_likelihood",
    "predictive_kl",
]
