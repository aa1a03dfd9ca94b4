"""How far the student's predictive distribution is from the teacher's, four ways."""

import keras

from keras_kd._common.examples import weighted_mean
from keras_kd._common.streaming import StreamingMean
from keras_kd.metrics._weighed import of_both
from keras_kd.metrics.scores import (
    jensen_shannon_values,
    predictive_kl_values,
    reverse_kl_values,
    total_variation_values,
)


class _Divergence(StreamingMean):
    """Mean of the values that a function gives of each example."""

    takes = ("teacher", "student")
    _direction = "down"

    def __init__(self, values, name, dtype):
        self._values = values
        super().__init__(name, dtype)

    def update_state(self, teacher_logits, student_logits, sample_weight=None):
        """Take in a batch of logits `(batch, ..., classes)`, teacher first."""
        sides = teacher_logits, student_logits
        self.add_values(of_both(self._values, *sides, sample_weight))


def predictive_kl(teacher_logits, student_logits, *, sample_weight=None):
    """Mean KL(softmax(z_t) || softmax(z_s)) over a set, in nats. Lower is closer.

    No temperature: this compares what both models really predict.

    Args:
        teacher_logits: `(n, ..., classes)`.
        student_logits: Same shape.
        sample_weight: `(n,)`, weights >= 0. Defaults to equal weights.

    Returns:
        Scalar >= 0; NaN for an empty set.

    Example:

    >>> t, s = np.array([[2.0, 0.0, -1.0]]), np.array([[1.0, 0.5, 0.0]])
    >>> round(float(keras_kd.metrics.predictive_kl(t, s)), 4)
    0.2551

    Reference: Stanton et al. 2021, equation 4 (whose printed sign is reversed).
    """
    sides = teacher_logits, student_logits
    return weighted_mean(of_both(predictive_kl_values, *sides, sample_weight))


@keras.saving.register_keras_serializable(package="keras_kd")
class PredictiveKL(_Divergence):
    """Streaming `predictive_kl`: exact on any batching. Lower is closer.

    Args:
        name: Defaults to `"predictive_kl"`.
        dtype: Of the result. Defaults to `keras.config.floatx()`.

    Example:

    >>> metric = keras_kd.metrics.PredictiveKL()
    >>> metric.update_state(np.array([[2.0, 0, -1]]), np.array([[1.0, 0.5, 0]]))
    >>> round(float(metric.result()), 4)
    0.2551

    Reference: Stanton et al. 2021, equation 4 (whose printed sign is reversed).
    """

    def __init__(self, name="predictive_kl", dtype=None):
        super().__init__(predictive_kl_values, name, dtype)


def reverse_kl(teacher_logits, student_logits, *, sample_weight=None):
    """Mean KL(softmax(z_s) || softmax(z_t)) over a set, in nats. Lower is closer.

    High where the student gives probability to what the teacher rules out;
    `predictive_kl` is high where the student leaves out what the teacher allows.

    Args:
        teacher_logits: `(n, ..., classes)`.
        student_logits: Same shape.
        sample_weight: `(n,)`, weights >= 0. Defaults to equal weights.

    Returns:
        Scalar >= 0; NaN for an empty set.

    Example:

    >>> t, s = np.array([[2.0, 0.0, -1.0]]), np.array([[1.0, 0.5, 0.0]])
    >>> round(float(keras_kd.metrics.reverse_kl(t, s)), 4)
    0.323
    """
    sides = teacher_logits, student_logits
    return weighted_mean(of_both(reverse_kl_values, *sides, sample_weight))


@keras.saving.register_keras_serializable(package="keras_kd")
class ReverseKL(_Divergence):
    """Streaming `reverse_kl`: exact on any batching. Lower is closer.

    Args:
        name: Defaults to `"reverse_kl"`.
        dtype: Of the result. Defaults to `keras.config.floatx()`.

    Example:

    >>> metric = keras_kd.metrics.ReverseKL()
    >>> metric.update_state(np.array([[2.0, 0, -1]]), np.array([[1.0, 0.5, 0]]))
    >>> round(float(metric.result()), 4)
    0.323
    """

    def __init__(self, name="reverse_kl", dtype=None):
        super().__init__(reverse_kl_values, name, dtype)


def jensen_shannon(teacher_logits, student_logits, *, sample_weight=None):
    """Mean Jensen-Shannon divergence over a set, in nats. Lower is closer.

    KL(p_t || m) / 2 + KL(p_s || m) / 2 with m = (p_t + p_s) / 2. Symmetric, and never
    infinite: at most log 2.

    Args:
        teacher_logits: `(n, ..., classes)`.
        student_logits: Same shape.
        sample_weight: `(n,)`, weights >= 0. Defaults to equal weights.

    Returns:
        Scalar in [0, log 2]; NaN for an empty set.

    Example:

    >>> t, s = np.array([[2.0, 0.0, -1.0]]), np.array([[1.0, 0.5, 0.0]])
    >>> round(float(keras_kd.metrics.jensen_shannon(t, s)), 4)
    0.0689

    Reference: Lin 1991, Divergence Measures Based on the Shannon Entropy.
    """
    sides = teacher_logits, student_logits
    return weighted_mean(of_both(jensen_shannon_values, *sides, sample_weight))


@keras.saving.register_keras_serializable(package="keras_kd")
class JensenShannon(_Divergence):
    """Streaming `jensen_shannon`: exact on any batching. Lower is closer.

    Args:
        name: Defaults to `"jensen_shannon"`.
        dtype: Of the result. Defaults to `keras.config.floatx()`.

    Example:

    >>> metric = keras_kd.metrics.JensenShannon()
    >>> metric.update_state(np.array([[2.0, 0, -1]]), np.array([[1.0, 0.5, 0]]))
    >>> round(float(metric.result()), 4)
    0.0689

    Reference: Lin 1991, Divergence Measures Based on the Shannon Entropy.
    """

    def __init__(self, name="jensen_shannon", dtype=None):
        super().__init__(jensen_shannon_values, name, dtype)


def total_variation(teacher_logits, student_logits, *, sample_weight=None):
    """Mean total variation distance over a set. Lower is closer.

    sum_k |p_t - p_s| / 2: the most by which the two can differ on any set of classes.

    Args:
        teacher_logits: `(n, ..., classes)`.
        student_logits: Same shape.
        sample_weight: `(n,)`, weights >= 0. Defaults to equal weights.

    Returns:
        Scalar in [0, 1]; NaN for an empty set.

    Example:

    >>> t, s = np.array([[9.0, -9.0]]), np.array([[0.0, 0.0]])
    >>> round(float(keras_kd.metrics.total_variation(t, s)), 4)
    0.5
    """
    sides = teacher_logits, student_logits
    return weighted_mean(of_both(total_variation_values, *sides, sample_weight))


@keras.saving.register_keras_serializable(package="keras_kd")
class TotalVariation(_Divergence):
    """Streaming `total_variation`: exact on any batching. Lower is closer.

    Args:
        name: Defaults to `"total_variation"`.
        dtype: Of the result. Defaults to `keras.config.floatx()`.

    Example:

    >>> metric = keras_kd.metrics.TotalVariation()
    >>> metric.update_state(np.array([[9.0, -9.0]]), np.array([[0.0, 0.0]]))
    >>> round(float(metric.result()), 4)
    0.5
    """

    def __init__(self, name="total_variation", dtype=None):
        super().__init__(total_variation_values, name, dtype)
