"""Losses to each teacher: weighted means, and when they equal one to the mean."""

from functools import partial

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from logit_sides import differences, gradient
from numpy.testing import assert_allclose
from oracles import logits as oracles
from small_models import mlp, toy_data

import keras_kd
from keras_kd import losses
from keras_kd.losses import PerTeacher

KD = losses.KnowledgeDistillation
*TEACHERS, STUDENT = 2 * np.random.default_rng(0).normal(size=(4, 6, 5))
WEIGHTS = [0.5, 0.2, 0.3]


def log_mean(weights=(1 / 3, 1 / 3, 1 / 3)):
    """Logits of the ensemble: of the mean of the untempered probabilities."""
    rows = zip(weights, TEACHERS, strict=True)
    return np.log(sum(w * oracles.softmax(z) for w, z in rows))


def student_gradient(function, teachers):
    teachers = keras.tree.map_structure(tf.constant, teachers)
    return gradient(function, teachers, tf.constant(STUDENT), of="student")


@pytest.mark.parametrize(
    "inner",
    [KD(3.0), losses.JensenShannonDivergence(), losses.LogitMSE(), losses.HardLabel()],
    ids=["KD", "JS", "MSE", "hard"],
)
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["equal", "weighted"])
def test_equals_the_weighted_mean_of_the_values(inner, weights):
    shares = [1 / 3] * 3 if weights is None else weights
    rows = zip(shares, TEACHERS, strict=True)
    want = sum(w * ops.convert_to_numpy(inner.call(z, STUDENT)) for w, z in rows)
    found = PerTeacher(inner).call(TEACHERS, STUDENT, weights=weights)
    assert_allclose(found, want, rtol=1e-12)


@pytest.mark.parametrize("kind", [list, np.array, tf.constant])
def test_weights_are_divided_by_their_sum(kind):
    call, weights = PerTeacher(KD()).call, [5.0, 2.0, 3.0]
    weights = weights if kind is list else kind(weights)
    want = call(TEACHERS, STUDENT, weights=WEIGHTS)
    assert_allclose(call(TEACHERS, STUDENT, weights=weights), want, rtol=1e-7)


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["equal", "weighted"])
def test_at_temperature_1_kl_to_each_is_kl_to_the_mean_and_a_constant(weights):
    """The constant is the generalised Jensen-Shannon divergence of the teachers."""
    shares = [1 / 3] * 3 if weights is None else weights
    each, to_mean = PerTeacher(KD(1.0)), KD(1.0)
    ensemble = log_mean(shares)
    gap = np.subtract(
        each.call(TEACHERS, STUDENT, weights=weights), to_mean.call(ensemble, STUDENT)
    )
    rows = zip(shares, TEACHERS, strict=True)
    spread = sum(w * oracles.kl_divergence(z, ensemble) for w, z in rows)
    assert_allclose(gap, spread, rtol=1e-10)
    assert_allclose(
        student_gradient(partial(each.call, weights=weights), TEACHERS),
        student_gradient(to_mean.call, ensemble),
        atol=1e-12,
    )


def test_at_another_temperature_the_mean_is_of_tempered_probabilities():
    temperature = 4.0
    found = student_gradient(PerTeacher(KD(temperature)).call, TEACHERS)
    tempered = [oracles.softmax(z / temperature) for z in TEACHERS]
    q = oracles.softmax(STUDENT / temperature)
    assert_allclose(found, temperature * (q - np.mean(tempered, axis=0)), atol=1e-12)
    to_mean = student_gradient(KD(temperature).call, log_mean())
    assert np.abs(found - to_mean).max() > 0.05


def test_student_gradient_equals_finite_differences():
    call = PerTeacher(losses.ReverseKLDivergence(2.0)).call
    found = student_gradient(call, TEACHERS)
    assert_allclose(found, differences(call, TEACHERS, STUDENT), atol=1e-8)


def test_one_teacher_is_the_inner_loss():
    want = KD().call(TEACHERS[0], STUDENT)
    loss = PerTeacher(KD())
    for teachers in (TEACHERS[0], [TEACHERS[0]], (TEACHERS[0],)):
        assert_allclose(loss.call(teachers, STUDENT), want, rtol=1e-12)
    assert_allclose(loss(TEACHERS[0], STUDENT), KD()(TEACHERS[0], STUDENT))


def test_the_order_of_teachers_does_not_matter():
    call = PerTeacher(KD()).call
    want = call(TEACHERS, STUDENT, weights=WEIGHTS)
    found = call(TEACHERS[::-1], STUDENT, weights=WEIGHTS[::-1])
    assert_allclose(found, want, rtol=1e-12)


def test_at_equality_with_all_teachers_it_is_0():
    loss = PerTeacher(KD())
    assert_allclose(loss.call([STUDENT, STUDENT + 3.0], STUDENT), 0.0, atol=1e-12)


def test_a_teacher_of_weight_0_does_not_count_even_where_it_is_infinite():
    without = np.where(np.arange(5) == 2, -np.inf, TEACHERS[0])
    teachers = [without, *TEACHERS[1:]]
    call = PerTeacher(losses.ReverseKLDivergence()).call
    assert np.isinf(call(teachers, STUDENT)).all()
    want = call(TEACHERS[1:], STUDENT)
    for weights in ([0.0, 1.0, 1.0], tf.constant([0.0, 1.0, 1.0])):
        assert_allclose(call(teachers, STUDENT, weights=weights), want, rtol=1e-7)


def test_options_are_the_same_for_all_teachers():
    own = tf.constant([1.0, 4.0, 0.5, 16.0, 4.0, 2.5], "float64")
    rows = zip(*TEACHERS, STUDENT, np.asarray(own), strict=True)
    want = [
        np.mean([oracles.knowledge_distillation(z, row[3], row[4]) for z in row[:3]])
        for row in rows
    ]
    found = PerTeacher(KD()).call(TEACHERS, STUDENT, temperature=own)
    assert_allclose(found, want, rtol=1e-6)


def test_half_precision_is_computed_in_float32_by_xla_too():
    *teachers, student = [ops.cast(z, "bfloat16") for z in (*TEACHERS, STUDENT)]
    wide = [ops.convert_to_numpy(ops.cast(z, "float64")) for z in (*teachers, student)]
    call = tf.function(PerTeacher(KD()).call, jit_compile=True)
    values = call(teachers, student)
    assert values.dtype == "float32"
    each = [oracles.knowledge_distillation(z, wide[-1], 4.0) for z in wide[:-1]]
    assert_allclose(values, np.mean(each, axis=0), rtol=1e-5)


@pytest.mark.parametrize("rows", [0, 1])
def test_a_batch_of_unknown_size_may_be_tiny(rows):
    spec = tf.TensorSpec([None, 5], "float32")
    call = tf.function(PerTeacher(KD()).call, input_signature=[[spec, spec], spec])
    teachers = [z[:rows].astype("float32") for z in TEACHERS[:2]]
    values = call(teachers, STUDENT[:rows].astype("float32"))
    assert values.shape == (rows,)
    assert np.isfinite(values).all()


def test_the_distiller_gives_each_member_and_its_weight():
    x, _ = toy_data(24)
    members = [mlp(f"teacher_{i}", seed=i) for i in range(2)]
    loss = PerTeacher(KD(2.0))
    model = keras_kd.Distiller(
        keras_kd.TeacherEnsemble(members, weights=[3.0, 1.0]),
        mlp("student", seed=5),
        loss,
        student_loss_weight=0.0,
    )
    model.compile(keras.optimizers.SGD(0.05))
    logits = [member(x) for member in members]
    want = np.mean(loss.call(logits, mlp("student", seed=5)(x), weights=[0.75, 0.25]))
    history = model.fit(x, batch_size=24, epochs=5, verbose=0).history
    assert_allclose(history["distillation_loss"][0], want, rtol=1e-5)
    assert history["distillation_loss"][-1] < history["distillation_loss"][0]
