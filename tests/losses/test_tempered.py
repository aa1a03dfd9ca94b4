"""What losses with a temperature share: which one holds, and what it divides."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from numpy.testing import assert_allclose

from keras_kd.losses.tempered import TemperedLoss, tempered

RNG = np.random.default_rng(0)


class SquaredGap(TemperedLoss):
    def __init__(self, temperature=4.0, name="gap", reduction="sum", dtype=None):
        super().__init__(temperature, name, reduction, dtype)

    def call(self, teacher_logits, student_logits, temperature=None):
        of_each = self._of_each(temperature)
        teacher, student, factor = tempered(teacher_logits, student_logits, of_each)
        return factor * ops.sum((teacher - student) ** 2, axis=-1)


@pytest.mark.parametrize("shape", [(3, 5), (3, 7, 5)], ids=str)
@pytest.mark.parametrize("temperature", [2.7, np.array([1.0, 2.7, 0.5])], ids=str)
def test_logits_are_divided_up_to_a_constant_of_the_row(shape, temperature):
    sides = RNG.normal(size=(2, *shape))
    *found, factor = tempered(*sides, temperature)
    axes = (-1,) + (1,) * (len(shape) - 1)
    each = np.broadcast_to(temperature, 3).reshape(axes)
    for side, value in zip(sides, found, strict=True):
        value = ops.convert_to_numpy(value)
        assert_allclose(value.max(axis=-1), 0.0)
        assert_allclose(np.diff(value), np.diff(side / each), atol=1e-14)
    want = np.broadcast_to(each[..., 0] ** 2, shape[:-1])
    assert_allclose(np.broadcast_to(factor, shape[:-1]), want)


def test_small_differences_of_large_logits_survive():
    small = RNG.normal(size=(4, 5)).astype("float32")
    large = np.float32(1e4) + np.round(64 * small) / 64
    teacher, _, _ = tempered(large, large, 7.0)
    want = large.astype("float64") - large.max(axis=-1, keepdims=True)
    assert_allclose(teacher, want / 7, rtol=1e-6)


def test_an_example_without_a_temperature_takes_that_of_the_loss():
    sides = [tf.constant(side) for side in RNG.normal(size=(2, 3, 5))]
    loss = SquaredGap(temperature=4.0, dtype="float64")
    mixed = loss.call(*sides, temperature=tf.constant([0.0, 2.0, 0.0]))
    for temperature, rows in ((4.0, [0, 2]), (2.0, [1])):
        loss.temperature = temperature
        assert_allclose(ops.take(mixed, rows), ops.take(loss.call(*sides), rows))


def test_a_schedule_stands_in_the_config():
    schedule = keras.optimizers.schedules.PolynomialDecay(8.0, 10, 2.0)
    loss = SquaredGap(temperature=schedule)
    assert float(loss._of_each(None)) == 8.0
    copy = SquaredGap.from_config(loss.get_config())
    assert copy.temperature.get_config() == schedule.get_config()
