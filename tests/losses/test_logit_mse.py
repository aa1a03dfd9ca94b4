"""Logit MSE against float64 NumPy, the limit of KL and published values."""

from functools import partial

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

from keras_kd.losses import LogitMSE, knowledge_distillation, logit_mse

each_center = pytest.mark.parametrize("center", [False, True], ids=["raw", "centred"])


@each_center
@pytest.mark.parametrize("dtype", DTYPES)
def test_equals_oracle(center, dtype):
    tolerance = 1e-10 if dtype == "float64" else 1e-5
    for shape in (8, 2), (8, 1000), (3, 4, 10):
        given, exact = rounded(dtype, *all_sides(shape))
        want = oracles.logit_mse(*exact, center)
        for function in (logit_mse, tf.function(logit_mse)):
            values = function(*given, center=center)
            assert values.dtype == ("float64" if dtype == "float64" else "float32")
            assert_allclose(values, want, rtol=tolerance, atol=tolerance)


def test_equals_published_values():
    sides = reference.TEACHER_LOGITS, reference.STUDENT_LOGITS
    assert_allclose(np.mean(logit_mse(*sides)), reference.LOGIT_MSE, atol=5e-9)
    centred = np.mean(logit_mse(*sides, center=True))
    want = 2 * reference.HALF_CENTRED_SQUARED_DISTANCE
    assert_allclose(centred, want, atol=1e-8)


def test_centred_gradient_is_twice_that_of_kl_at_high_temperature():
    teacher, student = map(tf.constant, sides_by_kind((6, 5))["unit"])
    kl = partial(knowledge_distillation, temperature=1e5)
    centred = partial(logit_mse, center=True)
    want = 2 * gradient(kl, teacher, student, of="student")
    found = gradient(centred, teacher, student, of="student")
    assert_allclose(found, want, rtol=1e-3, atol=1e-5)
    shift = tf.reduce_mean(teacher - student, axis=-1, keepdims=True)
    raw = gradient(logit_mse, teacher, student + shift, of="student")
    assert_allclose(raw, want, rtol=1e-3, atol=1e-5)  # of centred logits, no option


@each_center
def test_student_gradient_equals_finite_differences(center):
    teacher, student = sides_by_kind((6, 5))["unit"]
    function = partial(logit_mse, center=center)
    found = gradient(function, *map(tf.constant, (teacher, student)), of="student")
    assert_allclose(found, differences(function, teacher, student), atol=1e-8)


def test_only_centred_it_is_blind_to_constants():
    rng = np.random.default_rng(0)
    # Multiples of 1/64: float32 holds them exactly on top of 16384 too.
    teacher, student = np.round(64 * rng.normal(size=(2, 8, 10))) / 64
    for dtype in ("float32", "float64"):
        (a, b, shifted), _ = rounded(dtype, teacher, student, student + 16384)
        near = logit_mse(a, b, center=True)
        assert_allclose(logit_mse(a, shifted, center=True), near, rtol=1e-5)
        far = gradient(partial(logit_mse, center=True), a, shifted, of="student")
        want = gradient(partial(logit_mse, center=True), a, b, of="student")
        assert_allclose(far, want, atol=1e-6)
        assert np.min(logit_mse(a, shifted)) > 1e8


@each_center
def test_value_and_gradient_vanish_at_equality_and_are_finite_elsewhere(center):
    function = partial(logit_mse, center=center)
    (teacher, student), _ = rounded("float32", *all_sides((8, 10)))
    assert_allclose(function(teacher, teacher), 0.0)
    assert_allclose(gradient(function, teacher, teacher, of="student"), 0.0)
    for side in ("teacher", "student"):
        assert np.isfinite(gradient(function, teacher, student, of=side)).all()


@each_center
@pytest.mark.parametrize("rows", [0, 1])
def test_a_batch_of_unknown_size_may_be_tiny(center, rows):
    values, gradients = values_of_unknown_batch(LogitMSE(center).call, (5,), rows)
    assert values.shape == (rows,)
    assert np.isfinite(values).all()
    assert np.isfinite(gradients).all()


def test_config_holds_the_option():
    teacher, student = sides_by_kind((6, 5))["unit"]
    copy = LogitMSE.from_config(LogitMSE(center=True).get_config())
    want = oracles.logit_mse(teacher, student, center=True)
    assert_allclose(copy.call(teacher, student), want, rtol=1e-12)
