"""Squared distance of predicted probabilities from the labels."""

import keras

from keras_kd._common.examples import weighted_mean
from keras_kd._common.streaming import StreamingMean
from keras_kd.metrics._weighed import of_labels
from keras_kd.metrics.scores import brier_values


def brier_score(labels, logits, *, sample_weight=None):
    """Mean squared distance of the probabilities from the one-hot label.

    sum_k (p_k - y_k)^2 over all classes, so between 0 and 2; some halve it for two
    classes. It rewards being right as well as being calibrated. Lower is better.

    Args:
        labels: Class indices `(n, ...)`, or one-hot rows `(n, ..., classes)`. Rows
            labelled `keras_kd.UNLABELED` (-1) and all-zero rows do not count.
        logits: `(n, ..., classes)`.
        sample_weight: `(n,)`, weights >= 0. Defaults to equal weights.

    Returns:
        Scalar in [0, 2]; NaN for an empty set.

    Example:

    >>> score = keras_kd.metrics.brier_score([0], np.array([[0.0, 0.0]]))
    >>> float(score)
    0.5

    Reference: Brier 1950, Verification of forecasts expressed in terms of probability.
    """
    return weighted_mean(of_labels(brier_values, labels, logits, sample_weight))


@keras.saving.register_keras_serializable(package="keras_kd")
class BrierScore(StreamingMean):
    """Streaming `brier_score`: exact on any batching. Lower is better.

    Args:
        name: Defaults to `"brier"`.
        dtype: Of the result. Defaults to `keras.config.floatx()`.

    Example:

    >>> metric = keras_kd.metrics.BrierScore()
    >>> metric.update_state([0, 1], np.array([[0.0, 0.0], [0.0, 0.0]]))
    >>> float(metric.result())
    0.5
    """

    takes = ("labels", "logits")
    _direction = "down"

    def __init__(self, name="brier", dtype=None):
        super().__init__(name, dtype)

    def update_state(self, labels, logits, sample_weight=None):
        """Take in labels and logits `(batch, ..., classes)`."""
        self.add_values(of_labels(brier_values, labels, logits, sample_weight))
