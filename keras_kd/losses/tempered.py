"""What losses share that divide logits by a temperature."""

import numpy as np
from keras import ops

from keras_kd._common.checks import check_leading_axes, check_number
from keras_kd._common.hyperparameter import HyperparameterAttribute
from keras_kd._common.numerics import below_largest
from keras_kd.losses._sides import of_one_shape
from keras_kd.losses.distillation_loss import DistillationLoss

_BOUNDS = {"above": 0, "fix": "Common choices lie between 1 and 20."}


class TemperedLoss(DistillationLoss):
    """A loss on class logits with a temperature that may change while it trains.

    A batch may bring one an example, which takes its place where it is not 0.
    """

    takes = frozenset({"temperature"})
    compares = "class_logits"

    temperature = HyperparameterAttribute("T > 0, or its schedule.", **_BOUNDS)

    def __init__(self, temperature, name, reduction, dtype):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.temperature = temperature

    def _of_each(self, temperature):
        """Its own temperature, or that of each example with its own in place of 0."""
        own = self._temperature.tensor
        if temperature is None:
            return own
        return ops.where(temperature == 0, own, ops.cast(temperature, own.dtype))

    def get_config(self):
        return {**super().get_config(), "temperature": self._temperature.config}


def tempered(teacher_logits, student_logits, temperature):
    """`(z_t / T, z_s / T, T^2)` up to constants of each row, in float32 at least.

    `temperature` is one number, or one an example; T^2 fits one value a position.
    """
    teacher, student = of_one_shape(teacher_logits, student_logits)
    if not (ops.is_tensor(temperature) and temperature.dtype == student.dtype):
        temperature = temperature_tensor(temperature, student, student.dtype)
    elif len(temperature.shape) > 0:
        temperature = temperature_tensor(temperature, student, student.dtype)
    factor = temperature**2
    if len(temperature.shape) > 0:
        positions = len(student.shape) - 2
        factor = ops.reshape(factor, [-1] + [1] * positions)
        temperature = ops.reshape(temperature, [-1] + [1] * (positions + 1))
    # A logit of 1e4 over T is off by 1e-4 in float32: small differences would drown.
    teacher, student = below_largest(teacher), below_largest(student)
    return teacher / temperature, student / temperature, factor


def temperature_tensor(temperature, logits, dtype):
    """One number, or one an example of `logits`: shape `()` or `(batch,)`.

    Numbers are checked where it is not a tensor yet.
    """
    if not ops.is_tensor(temperature):
        for number in np.ravel(temperature).tolist():
            check_temperature(number)
    # `ops.cast` would round a Python number to float32 on its way to float64.
    temperature = ops.convert_to_tensor(temperature, dtype=dtype)
    if len(temperature.shape) == 0:
        return temperature
    while len(temperature.shape) > 1 and temperature.shape[-1] == 1:
        temperature = ops.squeeze(temperature, axis=-1)
    fix = "Give one number, or one an example, shape (batch,)."
    check_leading_axes("temperature", temperature, logits.shape[:1], fix)
    return temperature


def check_temperature(temperature):
    return check_number("temperature", temperature, **_BOUNDS)
