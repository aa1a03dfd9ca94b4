"""Standardised logits against float64 NumPy, their invariances and published values."""

from functools import partial

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops
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
from oracles import logits as logit_oracles
from oracles import reference
from small_models import mlp, sparse_cross_entropy, toy_data

import keras_kd
from keras_kd import losses
from keras_kd.losses import LogitStandardization, standardize

KD = losses.KnowledgeDistillation
ALSO = {  # inner losses other than KD
    "JS": losses.JensenShannonDivergence(2.0, beta=0.3),
    "reverse": losses.ReverseKLDivergence(2.0),
    "MSE": losses.LogitMSE(),
    "Brier": losses.BrierLoss(),
    "hard": losses.HardLabel(),
}


def unit(shape=(6, 5)):
    return sides_by_kind(shape)["unit"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_standardize_equals_oracle(dtype):
    tolerance = 1e-10 if dtype == "float64" else 1e-5
    for shape in (8, 2), (8, 1000), (3, 4, 10):
        (logits, _), (exact, _) = rounded(dtype, *all_sides(shape))
        values = standardize(logits)
        assert values.dtype == ("float64" if dtype == "float64" else "float32")
        assert_allclose(values, oracles.standardize(exact), rtol=0, atol=tolerance)


def test_equals_published_values():
    sides = reference.TEACHER_LOGITS, reference.STUDENT_LOGITS
    loss = LogitStandardization(KD(temperature=2.0, dtype="float64"))
    assert_allclose(loss(*sides), reference.STANDARDIZED_KD_AT_2, atol=5e-9)
    # The released code: what its docstring says of tau, up to the 1e-7 in the code.
    loss.temperature = 2.0 * np.sqrt(5 / 4)
    as_released = loss(*sides) * 4 / 5  # T^2 of tau = 2
    assert_allclose(as_released, reference.STANDARDIZED_KD_AT_2_AS_RELEASED, atol=2e-7)
    by_sample = [oracles.standardize(side, ddof=1) for side in sides]
    want = logit_oracles.knowledge_distillation(*by_sample, 2.0).mean()
    assert_allclose(want, reference.STANDARDIZED_KD_AT_2_AS_RELEASED, atol=2e-7)


@pytest.mark.parametrize("kind", ["zeros", "ones", "1e4", "0.1 more than 1e4"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rows_of_equal_logits_give_zeros_and_unit_gradients(kind, dtype):
    value = {"zeros": 0.0, "ones": 1.0, "1e4": 1e4, "0.1 more than 1e4": 1e4 + 0.1}
    logits = tf.constant(np.full((2, 7), value[kind]), dtype)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        values = standardize(logits)
        of_first = values[:, 0]
    assert_allclose(values, 0.0)
    found = tape.gradient(of_first, logits)
    assert_allclose(found, [np.eye(7)[0] - 1 / 7] * 2, rtol=1e-6)


def test_a_student_that_starts_at_zero_learns():
    teacher, _ = map(tf.constant, unit())
    call, student = LogitStandardization(KD(temperature=2.0)).call, 0 * teacher
    before = call(teacher, student)
    for _ in range(10):
        student = student - 0.2 * gradient(call, teacher, student, of="student")
    assert np.max(call(teacher, student) / before) < 0.1


def test_rows_have_mean_0_and_mean_square_1_within_the_bound():
    rng = np.random.default_rng(0)
    for scale in (1e-5, 1.0, 1e4, 1e30):
        logits = (scale * rng.normal(size=(50, 10))).astype("float32")
        values = ops.convert_to_numpy(standardize(logits))
        assert_allclose(values.mean(axis=-1), 0.0, atol=1e-6)
        assert_allclose(np.square(values).mean(axis=-1), 1.0, rtol=1e-5)
        assert np.abs(values).max() <= 3.0  # sqrt(classes - 1)
    one_hot = ops.convert_to_numpy(standardize(np.eye(10)))
    assert_allclose(one_hot.max(axis=-1), 3.0)


def test_of_two_classes_only_the_sign_is_left():
    logits = np.array([[1.0, 3.0], [0.2, 0.1], [5.0, -400.0]])
    assert_allclose(standardize(logits), [[-1, 1], [1, -1], [1, -1]])


factors = st.lists(st.floats(1e-3, 1e3), min_size=6, max_size=6)
shifts = st.lists(st.floats(-100, 100), min_size=6, max_size=6)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(factors, shifts, st.sampled_from(["teacher", "student"]))
def test_positive_affine_maps_of_rows_change_nothing(factors, shifts, side):
    teacher, student = unit()
    mapped = {"teacher": teacher, "student": student}
    mapped[side] = np.array(factors)[:, None] * mapped[side] + np.array(shifts)[:, None]
    for inner in (KD(temperature=2.0), losses.LogitMSE()):
        loss = LogitStandardization(inner)
        want = loss.call(teacher, student)
        assert_allclose(loss.call(*mapped.values()), want, rtol=1e-7)


@pytest.mark.parametrize("inner", ALSO.values(), ids=ALSO)
def test_any_inner_loss_sees_standardised_logits(inner):
    teacher, student = unit((4, 3, 5))
    want = inner.call(*map(oracles.standardize, (teacher, student)))
    found = LogitStandardization(inner).call(teacher, student)
    assert_allclose(found, want, rtol=1e-9)


def test_student_gradient_equals_finite_differences():
    teacher, student = unit()
    call = LogitStandardization(KD(temperature=2.0)).call
    found = gradient(call, *map(tf.constant, (teacher, student)), of="student")
    assert_allclose(found, differences(call, teacher, student), atol=1e-8)
    # The scale and the shift of the student are free.
    assert_allclose(np.sum(found, axis=-1), 0.0, atol=1e-12)
    assert_allclose(np.sum(found * student, axis=-1), 0.0, atol=1e-12)


def test_value_and_gradient_vanish_at_equality_up_to_scale():
    (teacher, _), _ = rounded("float32", *all_sides((8, 10)))
    call = LogitStandardization(KD(temperature=2.0)).call
    assert_allclose(call(teacher, 4 * teacher), 0.0, atol=1e-9)
    near = [z for kind, (z, _) in sides_by_kind((8, 10)).items() if kind == "unit"]
    found = gradient(call, *rounded("float32", near[0], 4 * near[0])[0], of="student")
    assert_allclose(found, 0.0, atol=1e-6)


def test_values_and_gradients_of_extreme_logits_are_finite():
    teacher, student = all_sides((8, 10))
    teacher[::3, 4] = -1e4
    student[::4] = 0.0
    given, _ = rounded("float32", teacher, student)
    for inner in (KD(temperature=1.0), *ALSO.values()):
        call = LogitStandardization(inner).call
        assert np.isfinite(call(*given)).all()
        assert np.isfinite(gradient(call, *given, of="student")).all()


@pytest.mark.parametrize("rows", [0, 1])
def test_a_batch_of_unknown_size_may_be_tiny(rows):
    call = LogitStandardization(KD()).call
    values, gradients = values_of_unknown_batch(call, (5,), rows)
    assert values.shape == (rows,)
    assert np.isfinite(values).all()
    assert np.isfinite(gradients).all()


def test_each_example_may_have_its_own_temperature():
    teacher, student = unit((3, 5))
    own = np.array([1.0, 4.0, 0.5])
    standard = map(oracles.standardize, (teacher, student))
    rows = zip(*standard, own, strict=True)
    want = [logit_oracles.knowledge_distillation(*row) for row in rows]
    call = partial(LogitStandardization(KD()).call, temperature=tf.constant(own))
    assert_allclose(call(teacher, student), want, rtol=1e-6)


def test_each_of_several_teachers_is_standardised():
    first, second, student = np.random.default_rng(0).normal(size=(3, 6, 5))
    loss = LogitStandardization(losses.PerTeacher(KD(temperature=2.0)))
    of_one = LogitStandardization(KD(temperature=2.0))
    want = (of_one.call(first, student) + of_one.call(second, student)) / 2
    assert_allclose(loss.call([first, second], student), want, rtol=1e-12)


def test_the_distiller_trains_and_logs_it():
    x, y = toy_data(24)
    loss = LogitStandardization(KD(temperature=2.0))
    model = keras_kd.Distiller(
        mlp("teacher", seed=1),
        mlp("student", seed=2),
        loss,
        distillation_loss_weights=[10.0],
        student_loss_weight=0.1,
    )
    model.compile(keras.optimizers.SGD(0.05), loss=sparse_cross_entropy())
    history = model.fit(x, y, batch_size=24, epochs=5, verbose=0).history
    want = loss(mlp("teacher", seed=1)(x), mlp("student", seed=2)(x))
    assert_allclose(history["distillation_loss"][0], 10 * want, rtol=1e-5)
    assert history["distillation_loss"][-1] < history["distillation_loss"][0]
