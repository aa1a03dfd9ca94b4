"""How well predicted probabilities match what happens: NLL and calibration errors."""

import keras
from keras import ops

from keras_kd._common.checks import check_whole_number
from keras_kd._common.examples import weighted_mean
from keras_kd._common.streaming import StreamingMean
from keras_kd.metrics._confidence import (
    ConfidenceSums,
    confidence_and_hits,
    confidence_sums,
)
from keras_kd.metrics._segment_sums import segment_means
from keras_kd.metrics._weighed import of_labels
from keras_kd.metrics.scores import nll_values


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
    return weighted_mean(of_labels(nll_values, labels, logits, sample_weight))


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

    takes = ("labels", "logits")
    _direction = "down"

    def __init__(self, name="nll", dtype=None):
        super().__init__(name, dtype)

    def update_state(self, labels, logits, sample_weight=None):
        """Take in labels and logits `(batch, ..., classes)`."""
        self.add_values(of_labels(nll_values, labels, logits, sample_weight))


class _CalibrationError(ConfidenceSums):
    """What a function makes of gaps between accuracy and confidence in bins."""

    takes = ("labels", "logits")
    _direction = "down"

    def __init__(self, of_bins, num_bins, name, dtype):
        self._of_bins = of_bins
        super().__init__(num_bins, name, dtype)

    def update_state(self, labels, logits, sample_weight=None):
        """Take in labels and logits `(batch, ..., classes)`."""
        columns = confidence_and_hits(labels, logits, sample_weight)
        self.add_table(confidence_sums(self.num_bins, *columns))

    def bins(self):
        """Weight, accuracy and mean confidence of each bin, arrays of `(num_bins,)`.

        Empty bins have weight 0 and NaN for the other two: what a reliability diagram
        draws.
        """
        return self.in_dtype(*segment_means(self.totals()))

    def result(self):
        return self.in_dtype(_error(self.totals(), self._of_bins))[0]


def _error(bins, of_bins):
    """`of_bins(gaps, shares)` of the bins; NaN where none holds an example."""
    weights, accuracy, confidence = segment_means(bins)
    gaps = ops.where(weights == 0, 0.0, ops.abs(accuracy - confidence))
    total = ops.sum(weights)
    shares = weights / ops.where(total == 0, 1.0, total)
    return ops.where(total == 0, float("nan"), of_bins(gaps, shares))


def _of_set(of_bins, labels, logits, num_bins, sample_weight):
    num_bins = check_whole_number("num_bins", num_bins, at_least=1)
    confidence, right, weight = confidence_and_hits(labels, logits, sample_weight)
    bins = confidence_sums(num_bins, confidence, right, weight)
    return ops.cast(_error(bins, of_bins), confidence.dtype)


def _mean_gap(gaps, shares):
    return ops.sum(shares * gaps)


def _largest_gap(gaps, shares):
    del shares
    return ops.max(gaps)


def _unweighted_gap(gaps, shares):
    del shares
    return ops.mean(gaps)


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
    return _of_set(_mean_gap, labels, logits, num_bins, sample_weight)


@keras.saving.register_keras_serializable(package="keras_kd")
class ExpectedCalibrationError(_CalibrationError):
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

    def __init__(self, num_bins=15, name="ece", dtype=None):
        super().__init__(_mean_gap, num_bins, name, dtype)


def maximum_calibration_error(labels, logits, num_bins=15, *, sample_weight=None):
    """Largest gap of any equal-width confidence bin. Lower is better.

    max_b |accuracy_b - confidence_b| over the bins that hold examples; one example
    alone in its bin can make it large.

    Args:
        labels: Class indices `(n, ...)`, or one-hot rows `(n, ..., classes)`.
        logits: `(n, ..., classes)`.
        num_bins: At least 1. Defaults to 15.
        sample_weight: `(n,)`, weights >= 0. Defaults to equal weights.

    Returns:
        Scalar in [0, 1]; NaN for an empty set.

    Example:

    >>> sure_and_half_right = np.array([[9.0, -9.0], [9.0, -9.0]])
    >>> mce = keras_kd.metrics.maximum_calibration_error([0, 1], sure_and_half_right)
    >>> round(float(mce), 4)
    0.5

    Reference: Guo et al. 2017, On Calibration of Modern Neural Networks, equation 5.
    """
    return _of_set(_largest_gap, labels, logits, num_bins, sample_weight)


@keras.saving.register_keras_serializable(package="keras_kd")
class MaximumCalibrationError(_CalibrationError):
    """Streaming `maximum_calibration_error`: exact on any batching. Lower is better.

    Args:
        num_bins: At least 1 equal-width bin. Defaults to 15.
        name: Defaults to `"mce"`.
        dtype: Of the result. Defaults to `keras.config.floatx()`.

    Example:

    >>> metric = keras_kd.metrics.MaximumCalibrationError(num_bins=10)
    >>> metric.update_state([0], np.array([[9.0, -9.0]]))
    >>> metric.update_state([1], np.array([[9.0, -9.0]]))
    >>> round(float(metric.result()), 4)
    0.5

    Reference: Guo et al. 2017, On Calibration of Modern Neural Networks, equation 5.
    """

    def __init__(self, num_bins=15, name="mce", dtype=None):
        super().__init__(_largest_gap, num_bins, name, dtype)


def unweighted_calibration_error(labels, logits, num_bins=10, *, sample_weight=None):
    """Calibration error that counts all bins alike. Lower is better.

    sum_b |accuracy_b - confidence_b| / B over equal-width bins, empty ones counting as
    0: the form of Guo et al. 2024. It falls when predictions crowd into few bins, so it
    is here for comparison with that paper; `expected_calibration_error` is the usual
    one.

    Args:
        labels: Class indices `(n, ...)`, or one-hot rows `(n, ..., classes)`.
        logits: `(n, ..., classes)`.
        num_bins: B >= 1. Defaults to 10.
        sample_weight: `(n,)`, weights >= 0, within the bins. Defaults to equal weights.

    Returns:
        Scalar in [0, 1]; NaN for an empty set.

    Example:

    >>> sure_and_half_right = np.array([[9.0, -9.0], [9.0, -9.0]])
    >>> error = keras_kd.metrics.unweighted_calibration_error(
    ...     [0, 1], sure_and_half_right)
    >>> round(float(error), 4)  # one bin of ten
    0.05

    Reference: Guo et al. 2024, arXiv 2405.00739, released code.
    """
    return _of_set(_unweighted_gap, labels, logits, num_bins, sample_weight)


@keras.saving.register_keras_serializable(package="keras_kd")
class UnweightedCalibrationError(_CalibrationError):
    """Streaming `unweighted_calibration_error`: exact on any batching.

    Lower is better.

    Args:
        num_bins: B >= 1 equal-width bins. Defaults to 10.
        name: Defaults to `"unweighted_calibration_error"`.
        dtype: Of the result. Defaults to `keras.config.floatx()`.

    Example:

    >>> metric = keras_kd.metrics.UnweightedCalibrationError()
    >>> metric.update_state([0], np.array([[9.0, -9.0]]))
    >>> metric.update_state([1], np.array([[9.0, -9.0]]))
    >>> round(float(metric.result()), 4)
    0.05

    Reference: Guo et al. 2024, arXiv 2405.00739, released code.
    """

    def __init__(self, num_bins=10, name="unweighted_calibration_error", dtype=None):
        super().__init__(_unweighted_gap, num_bins, name, dtype)
