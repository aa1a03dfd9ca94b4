"""The Brier loss against float64 NumPy, its limit and published values."""

from functools import partial
from itertools import product

import numpy as np
import pytest
import tensorflow as tf
from logit_sides import (
    DTYPES,
    all_sides,
    differences,
    gradient,
    rounded,
    sides_by_kind,
    values_of_unknown_batch,
)
from numpy.testing import assert_allclose
from oracles import logit_matching as oracles
from oracles import reference
from oracles.logits import softmax

from keras_kd.losses import BrierLoss, brier_loss, logit_mse


@pytest.mark.parametrize("dtype", DTYPES)
def test_equals_oracle(dtype):
    tolerance = 1e-10 if dtype == "float64" else 1e-5
    shapes = (8, 2), (8, 1000), (3, 4, 10)
    for shape, temperature in product(shapes, (1.0, 2.7, 16.0)):
        given, exact = rounded(dtype, *all_sides(shape))
        values = brier_loss(*given, temperature=temperature)
        assert values.dtype == ("float64" if dtype == "float64" else "float32")
        want = oracles.brier(*exact, temperature)
        assert_allclose(values, want, rtol=tolerance, atol=tolerance)


def test_equals_published_value():
    values = brier_loss(reference.TEACHER_LOGITS, reference.STUDENT_LOGITS)
    assert_allclose(np.mean(values), reference.BRIER, atol=5e-9)


def test_each_example_may_have_its_own_temperature():
    teacher, student = sides_by_kind((3, 4, 5))["unit"]
    own = np.array([1.0, 4.0, 0.5])
    want = [oracles.brier(*row) for row in zip(teacher, student, own, strict=True)]
    given = tf.constant(np.where(own == 4, 0, own))  # 0: that of the loss
    loss = BrierLoss(temperature=4.0)
    found = loss.call(*map(tf.constant, (teacher, student)), temperature=given)
    assert_allclose(found, want, rtol=1e-6)


def test_student_gradient_equals_finite_differences_and_closed_form():
    teacher, student = sides_by_kind((6, 5))["unit"]
    for temperature in (1.0, 4.0):
        at_this = partial(brier_loss, temperature=temperature)
        found = gradient(at_this, *map(tf.constant, (teacher, student)), of="student")
        assert_allclose(found, differences(at_this, teacher, student), atol=1e-8)
        p, q = softmax(teacher / temperature), softmax(student / temperature)
        mean = np.sum(q * (q - p), axis=-1, keepdims=True)
        assert_allclose(found, 2 * temperature * q * (q - p - mean), atol=1e-12)


def test_at_most_2_and_flat_where_the_student_is_sure_and_wrong():
    given, _ = rounded("float32", [[1e4, -1e4, 0.0]], [[-1e4, 1e4, 0.0]])
    assert_allclose(brier_loss(*given), 2.0)
    assert_allclose(gradient(brier_loss, *given, of="student"), 0.0)


def test_at_high_temperature_it_is_centred_logit_mse_over_the_classes():
    teacher, student = sides_by_kind((6, 5))["unit"]
    values = brier_loss(teacher, student, temperature=1e4)
    assert_allclose(values, logit_mse(teacher, student, center=True) / 5, rtol=1e-3)


def test_value_and_gradient_vanish_at_equality():
    teacher, _ = all_sides((8, 10))
    given, _ = rounded("float32", teacher, teacher)
    at_16 = partial(brier_loss, temperature=16.0)
    assert_allclose(at_16(*given), 0.0)
    assert_allclose(gradient(at_16, *given, of="student"), 0.0)


def test_values_and_gradients_of_extreme_logits_are_finite():
    teacher, student = all_sides((8, 10))
    teacher[::3, 4], student[1::3, 2] = -np.inf, -np.inf
    given, exact = rounded("float32", teacher, student)
    assert_allclose(brier_loss(*given), oracles.brier(*exact), rtol=1e-5, atol=1e-6)
    for side in ("teacher", "student"):
        assert np.isfinite(gradient(brier_loss, *given, of=side)).all()


@pytest.mark.parametrize("rows", [0, 1])
def test_a_batch_of_unknown_size_may_be_tiny(rows):
    values, gradients = values_of_unknown_batch(BrierLoss().call, (5,), rows)
    assert values.shape == (rows,)
    assert np.isfinite(values).all()
    assert np.isfinite(gradients).all()
