"""Losses that match the student's predictive distribution to the teacher's."""

import keras
import numpy as np
from keras import ops

from keras_kd._common.checks import check_number, check_same_classes
from keras_kd._common.hyperparameter import Hyperparameter, check_hyperparameter
from keras_kd._common.numerics import (
    at_least_float32,
    below_largest,
    cross_entropy,
    kl_divergence,
)
from keras_kd.losses.distillation_loss import DistillationLoss


def knowledge_distillation(teacher_logits, student_logits, *, temperature=4.0):
    """T^2 KL(softmax(z_t / T) || softmax(z_s / T)) of each example.

    Args:
        teacher_logits: `(batch, ..., classes)`.
        student_logits: Same shape.
        temperature: T > 0, or one an example, `(batch,)`. Defaults to 4.0.

    Returns:
        `(batch, ...)`, >= 0, in nats times T^2; float32, or float64 for float64 logits.

    Example:

    >>> t, s = np.array([[2.0, 0.0, -1.0]]), np.array([[1.0, 0.5, 0.0]])
    >>> values = keras_kd.losses.knowledge_distillation(t, s, temperature=4.0)
    >>> round(float(values[0]), 4)
    0.3833

    Reference: Hinton et al. 2015, section 2; Stanton et al. 2021, equation 2.
    """
    teacher, student, factor = _tempered(teacher_logits, student_logits, temperature)
    return factor * kl_divergence(teacher, student)


def soft_cross_entropy(teacher_logits, student_logits, *, temperature=4.0):
    """T^2 times the cross-entropy of softmax(z_s / T) under softmax(z_t / T).

    The form in which Stanton et al. write and run their objective. It exceeds
    `knowledge_distillation` by T^2 times the teacher's entropy: another value, the
    same gradient for the student.

    Args:
        teacher_logits: `(batch, ..., classes)`.
        student_logits: Same shape.
        temperature: T > 0, or one an example, `(batch,)`. Defaults to 4.0.

    Returns:
        `(batch, ...)`, float32, or float64 for float64 logits.

    Example:

    >>> z = np.array([[0.0, 0.0]])
    >>> values = keras_kd.losses.soft_cross_entropy(z, z, temperature=1.0)
    >>> round(float(values[0]), 4)  # log 2
    0.6931

    Reference: Stanton et al. 2021, equation 2 and released code.
    """
    teacher, student, factor = _tempered(teacher_logits, student_logits, temperature)
    return factor * cross_entropy(teacher, student)


class _TemperedLoss(DistillationLoss):
    """A logit loss with a temperature that may change while it trains.

    A batch may bring one an example, which takes its place where it is not 0.
    """

    takes_temperature = True

    def __init__(self, temperature, name, reduction, dtype):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        temperature = _check_temperature(temperature, check_hyperparameter)
        self._temperature = Hyperparameter(temperature, "temperature")

    @property
    def temperature(self):
        """T > 0, or its schedule. A number takes effect at once, without a new trace."""
        return self._temperature.value

    @temperature.setter
    def temperature(self, value):
        self._temperature.assign(_check_temperature(value, check_hyperparameter))

    def _of_each(self, temperature):
        """Its own temperature, or that of each example with its own in place of 0."""
        own = self._temperature.tensor
        if temperature is None:
            return own
        return ops.where(temperature == 0, own, ops.cast(temperature, own.dtype))

    def get_config(self):
        return {**super().get_config(), "temperature": self._temperature.config}


@keras.saving.register_keras_serializable(package="keras_kd")
class KnowledgeDistillation(_TemperedLoss):
    """T^2 KL(softmax(z_t / T) || softmax(z_s / T)), the usual distillation loss.

    The gradient with respect to the student's logits is
    T (softmax(z_s / T) - softmax(z_t / T)) / batch: T^2 keeps its size comparable with
    the label loss at any temperature. It is 0 exactly where both distributions agree,
    so its value reads as a distance; start here. For text with sharp teachers, T of 1
    or 2; for images, 4 (Stanton et al., figure 9: 4 gives the best accuracy for every
    ensemble size, 1 loses over 5 points of agreement).

    Args:
        temperature: T > 0, or a schedule (`keras_kd.schedules`). Defaults to 4.0.
        name: Name in the logs. Defaults to `"knowledge_distillation"`.
        reduction: See `DistillationLoss`.
        dtype: See `DistillationLoss`.

    Example:

    >>> loss = keras_kd.losses.KnowledgeDistillation(temperature=4.0)
    >>> t, s = np.array([[2.0, 0.0, -1.0]]), np.array([[1.0, 0.5, 0.0]])
    >>> round(float(loss(t, s)), 4)
    0.3833
    >>> loss.temperature = 1.0
    >>> round(float(loss(t, s)), 4)
    0.2551

    Reference: Hinton et al. 2015, section 2; Stanton et al. 2021, equation 2.
    """

    def __init__(
        self,
        temperature=4.0,
        name="knowledge_distillation",
        reduction="sum_over_batch_size",
        dtype=None,
    ):
        super().__init__(temperature, name, reduction, dtype)

    def call(self, teacher_logits, student_logits, temperature=None):
        return knowledge_distillation(
            teacher_logits, student_logits, temperature=self._of_each(temperature)
        )


@keras.saving.register_keras_serializable(package="keras_kd")
class SoftCrossEntropy(_TemperedLoss):
    """T^2 times the cross-entropy of the student under the teacher's distribution.

    Same gradient as `KnowledgeDistillation`; its value has the teacher's entropy as a
    floor. Take it to compare logged losses with Stanton et al., who report this form.

    Args:
        temperature: T > 0, or a schedule (`keras_kd.schedules`). Defaults to 4.0.
        name: Name in the logs. Defaults to `"soft_cross_entropy"`.
        reduction: See `DistillationLoss`.
        dtype: See `DistillationLoss`.

    Example:

    >>> loss = keras_kd.losses.SoftCrossEntropy(temperature=2.0)
    >>> z = np.array([[0.0, 0.0]])
    >>> round(float(loss(z, z)), 4)  # 4 log 2
    2.7726

    Reference: Stanton et al. 2021, equation 2 and released code.
    """

    def __init__(
        self,
        temperature=4.0,
        name="soft_cross_entropy",
        reduction="sum_over_batch_size",
        dtype=None,
    ):
        super().__init__(temperature, name, reduction, dtype)

    def call(self, teacher_logits, student_logits, temperature=None):
        return soft_cross_entropy(
            teacher_logits, student_logits, temperature=self._of_each(temperature)
        )


def _tempered(teacher_logits, student_logits, temperature):
    teacher, student = at_least_float32(teacher_logits, student_logits)
    check_same_classes(teacher, student)
    if not ops.is_tensor(temperature):
        for number in np.ravel(temperature).tolist():  # one, or one an example
            _check_temperature(number)
    temperature = ops.cast(temperature, teacher.dtype)
    factor = temperature**2
    if len(temperature.shape) > 0:
        positions = len(teacher.shape) - 2
        factor = ops.reshape(factor, [-1] + [1] * positions)
        temperature = ops.reshape(temperature, [-1] + [1] * (positions + 1))
    # A logit of 1e4 over T is off by 1e-4 in float32: small differences would drown.
    teacher, student = below_largest(teacher), below_largest(student)
    return teacher / temperature, student / temperature, factor


def _check_temperature(temperature, check=check_number):
    return check(
        "temperature", temperature, above=0, fix="Common choices lie between 1 and 20."
    )
