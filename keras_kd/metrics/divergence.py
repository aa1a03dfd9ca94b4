"""How far the student's predictive distribution is from the teacher's."""

import keras

from keras_kd._common.checks import check_same_classes
from keras_kd._common.numerics import at_least_float32, kl_divergence
from keras_kd._common.streaming import StreamingMean


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
    metric = PredictiveKL()
    metric.update_state(teacher_logits, student_logits, sample_weight)
    return metric.result()


@keras.saving.register_keras_serializable(package="keras_kd")
class PredictiveKL(StreamingMean):
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

    _direction = "down"

    def __init__(self, name="predictive_kl", dtype=None):
        super().__init__(name, dtype)

    def update_state(self, teacher_logits, student_logits, sample_weight=None):
        """Take in a batch of logits `(batch, ..., classes)`, teacher first."""
        teacher, student = at_least_float32(teacher_logits, student_logits)
        check_same_classes(teacher, student)
        self.add(kl_divergence(teacher, student), sample_weight)
