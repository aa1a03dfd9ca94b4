"""How well predicted probabilities match what happens: NLL and calibration error."""

import keras
from keras import ops

from keras_kd._common.checks import check_whole_number
from keras_kd._common.labels import sparse_labels
from keras_kd._common.numerics import at_least_float32, largest
from keras_kd._common.streaming import StreamingMean, add_to
from keras_kd._common.weights import broadcast_weight, weighted


def negative_log_likelihood(labels, logits, *, sample_weight=None):
    """Mean -log softmax(logits)[label] over a set, in nats. Lower is better.

    Args:
        labels: Class indices `(n, ...)`, or one-hot rows `(n, ..., classes)`. Rows
            labelled `keras_kd.UNLABELED` (-1) and all-zero rows do not count.
        logits: `(n, ..., classes)`.
        sample_weight: `(n,)`, weights >= 0. Defaults to equal weights.

    Returns:
        Scalar >= 0; NaN for an empty set.

    Example:

    >>> nll = keras_kd.metrics.negative_log_likelihood([0], np.array([[0.0, 0.0]]))
    >>> round(float(nll), 4)  # log 2
    0.6931
    """
    metric = NegativeLogLikelihood()
    metric.update_state(labels, logits, sample_weight)
    return metric.result()


@keras.saving.register_keras_serializable(package="keras_kd")
class NegativeLogLikelihood(StreamingMean):
    """Streaming `negative_log_likelihood`: exact on any batching. Lower is better.

    Args:
        name: Defaults to `"nll"`.
        dtype: Of the result. Defaults to `keras.config.floatx()`.

    Example:

    >>> metric = keras_kd.metrics.NegativeLogLikelihood()
    >>> metric.update_state([0, 1], np.array([[0.0, 0.0], [0.0, 0.0]]))
    >>> round(float(metric.result()), 4)
    0.6931
    """

    _direction = "down"

    def __init__(self, name="nll", dtype=None):
        super().__init__(name, dtype)

    def update_state(self, labels, logits, sample_weight=None):
        """Take in labels and logits `(batch, ..., classes)`."""
        (logits,) = at_least_float32(logits)
        labels, labelled = sparse_labels(labels, logits)
        log_probs = ops.log_softmax(logits, axis=-1)
        values = -ops.take_along_axis(log_probs, labels[..., None], axis=-1)[..., 0]
        self.add(values, _weight(labelled, sample_weight))


def expected_calibration_error(labels, logits, num_bins=15, *, sample_weight=None):
    """Expected calibration error over equal-width confidence bins. Lower is better.

    sum_b (n_b / n) |accuracy_b - confidence_b|, where an example's confidence is its
    largest probability and bin b holds confidences in ((b - 1) / B, b / B].

    Args:
        labels: Class indices `(n, ...)`, or one-hot rows `(n, ..., classes)`.
        logits: `(n, ..., classes)`.
        num_bins: B >= 1. Defaults to 15 (Guo et al. 2017); Stanton et al. use 10.
        sample_weight: `(n,)`, weights >= 0. Defaults to equal weights.

    Returns:
        Scalar in [0, 1]; NaN for an empty set.

    Example:

    >>> sure_and_half_right = np.array([[9.0, -9.0], [9.0, -9.0]])
    >>> ece = keras_kd.metrics.expected_calibration_error([0, 1], sure_and_half_right)
    >>> round(float(ece), 4)
    0.5

    Reference: Guo et al. 2017, On Calibration of Modern Neural Networks, equation 3.
    """
    metric = ExpectedCalibrationError(num_bins)
    metric.update_state(labels, logits, sample_weight)
    return metric.result()


@keras.saving.register_keras_serializable(package="keras_kd")
class ExpectedCalibrationError(keras.metrics.Metric):
    """Streaming `expected_calibration_error`: exact on any batching. Lower is better.

    Args:
        num_bins: B >= 1 equal-width bins. Defaults to 15.
        name: Defaults to `"ece"`.
        dtype: Of the result. Defaults to `keras.config.floatx()`.

    Example:

    >>> metric = keras_kd.metrics.ExpectedCalibrationError(num_bins=10)
    >>> metric.update_state([0], np.array([[9.0, -9.0]]))
    >>> metric.update_state([1], np.array([[9.0, -9.0]]))
    >>> round(float(metric.result()), 4)
    0.5

    Reference: Guo et al. 2017, On Calibration of Modern Neural Networks, equation 3.
    """

    _direction = "down"

    def __init__(self, num_bins=15, name="ece", dtype=None):
        super().__init__(name=name, dtype=dtype)
        self.num_bins = check_whole_number("num_bins", num_bins, at_least=1)
        names = ["weights", "hits", "confidences"]
        self._sums = {n: self.add_variable((num_bins,), "zeros", name=n) for n in names}
        self._errors = {
            n: self.add_variable((num_bins,), "zeros", name=f"{n}_error") for n in names
        }

    def update_state(self, labels, logits, sample_weight=None):
        """Take in labels and logits `(batch, ..., classes)`."""
        (logits,) = at_least_float32(logits)
        labels, labelled = sparse_labels(labels, logits)
        confidence = largest(ops.softmax(logits, axis=-1))[..., 0]
        hits = ops.equal(ops.argmax(logits, axis=-1), ops.cast(labels, "int64"))
        weight = broadcast_weight(_weight(labelled, sample_weight), confidence)
        index = ops.cast(ops.ceil(confidence * self.num_bins), "int32") - 1
        index = ops.reshape(ops.clip(index, 0, self.num_bins - 1), [-1])
        values = {
            "weights": weight,
            "hits": weighted(ops.cast(hits, weight.dtype), weight),
            "confidences": weighted(confidence, weight),
        }
        for name, value in values.items():
            in_bins = ops.segment_sum(
                ops.reshape(value, [-1]), index, num_segments=self.num_bins
            )
            add_to(self._sums[name], self._errors[name], in_bins)

    def bins(self):
        """Weight, accuracy and mean confidence of each bin, arrays of `(num_bins,)`.

        Empty bins have weight 0 and NaN for the other two: what a reliability diagram
        draws.
        """
        weights, hits, confidences = (self._total(n) for n in self._sums)
        divisor = ops.where(weights == 0, float("nan"), weights)
        return weights, hits / divisor, confidences / divisor

    def result(self):
        weights, hits, confidences = (self._total(n) for n in self._sums)
        total = ops.sum(weights)
        error = ops.sum(ops.abs(hits - confidences)) / ops.where(total == 0, 1.0, total)
        return ops.where(total == 0, float("nan"), error)

    def get_config(self):
        return {**super().get_config(), "num_bins": self.num_bins}

    def _total(self, name):
        return ops.convert_to_tensor(self._sums[name]) + self._errors[name]


def _weight(labelled, sample_weight):
    if sample_weight is None:
        return labelled
    return labelled * broadcast_weight(sample_weight, labelled)
