"""Does the student say what the teacher says?"""

import keras

from keras_kd._common.checks import check_whole_number
from keras_kd._common.examples import weighted_mean
from keras_kd._common.streaming import StreamingMean
from keras_kd.metrics._weighed import of_both
from keras_kd.metrics.scores import agreement_values


def agreement(teacher, student, k=1, *, sample_weight=None):
    """Share of examples on which the student's top k holds the teacher's prediction.

    With k = 1 both predict the same class. Higher is closer.

    Args:
        teacher: Logits or probabilities, `(n, ..., classes)`.
        student: Same shape.
        k: How many of the student's classes may hold the teacher's. Defaults to 1.
        sample_weight: `(n,)`, weights >= 0. Defaults to equal weights.

    Returns:
        Scalar in [0, 1]; NaN for an empty set. Of tied classes, the first one wins.

    Example:

    >>> t, s = np.array([[3.0, 1, 0], [0, 2, 1]]), np.array([[2.0, 0, 1], [1, 0, 2]])
    >>> float(keras_kd.metrics.agreement(t, s))
    0.5

    Reference: Stanton et al. 2021, equation 3.
    """
    values = _values_of(check_whole_number("k", k, at_least=1))
    return weighted_mean(of_both(values, teacher, student, sample_weight))


@keras.saving.register_keras_serializable(package="keras_kd")
class Agreement(StreamingMean):
    """Streaming `agreement`: exact on any batching. Higher is closer.

    Args:
        k: How many of the student's classes may hold the teacher's. Defaults to 1.
        name: Defaults to `"agreement"` (`"agreement_top5"` for k = 5).
        dtype: Of the result. Defaults to `keras.config.floatx()`.

    Example:

    >>> metric = keras_kd.metrics.Agreement()
    >>> metric.update_state(np.array([[3.0, 1, 0]]), np.array([[2.0, 0, 1]]))
    >>> metric.update_state(np.array([[0.0, 2, 1]]), np.array([[1.0, 0, 2]]))
    >>> float(metric.result())
    0.5

    Reference: Stanton et al. 2021, equation 3.
    """

    takes = ("teacher", "student")
    _direction = "up"

    def __init__(self, k=1, name=None, dtype=None):
        self.k = check_whole_number("k", k, at_least=1)
        default = "agreement" if k == 1 else f"agreement_top{k}"
        super().__init__(name or default, dtype)

    def update_state(self, teacher, student, sample_weight=None):
        """Take in a batch of `(batch, ..., classes)`, teacher first."""
        values = _values_of(self.k)
        self.add_values(of_both(values, teacher, student, sample_weight))

    def get_config(self):
        return {**super().get_config(), "k": self.k}


def _values_of(k):
    return lambda teacher, student: agreement_values(teacher, student, k)
