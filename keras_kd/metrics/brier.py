"""Squared distance of predicted probabilities from the labels."""

import keras
from keras import ops

from keras_kd._common.labels import sparse_labels
from keras_kd._common.numerics import at_least_float32
from keras_kd._common.streaming import StreamingMean
from keras_kd._common.weights import unmasked_weight
from keras_kd.metrics._confidence import label_weight


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
    metric = BrierScore()
    metric.update_state(labels, logits, sample_weight)
    return metric.result()


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

    _direction = "down"

    def __init__(self, name="brier", dtype=None):
        super().__init__(name, dtype)

    def update_state(self, labels, logits, sample_weight=None):
        """Take in labels and logits `(batch, ..., classes)`."""
        sample_weight = unmasked_weight(sample_weight, logits)
        (logits,) = at_least_float32(logits)
        labels, labelled = sparse_labels(labels, logits)
        probs = ops.softmax(logits, axis=-1)
        one_hot = ops.one_hot(labels, logits.shape[-1], dtype=probs.dtype)
        distance = ops.sum(ops.square(probs - one_hot), axis=-1)
        self.add(distance, label_weight(labelled, sample_weight))
