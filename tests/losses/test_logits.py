"""Logit losses against float64 NumPy, closed forms and published values."""

from itertools import product

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from keras import ops
from logit_sides import DTYPES, gradient, rounded, sides_by_kind
from numpy.testing import assert_allclose
from oracles import logits as oracles
from oracles import reference

from keras_kd import losses

KD, CE = losses.KnowledgeDistillation, losses.SoftCrossEntropy
FORMS = {  # class, function, oracle
    "KD": (KD, losses.knowledge_distillation, oracles.knowledge_distillation),
    "CE": (CE, losses.soft_cross_entropy, oracles.soft_cross_entropy),
}
each_form = pytest.mark.parametrize(
    ("make", "function", "oracle"), FORMS.values(), ids=FORMS
)
each_class = pytest.mark.parametrize("make", [KD, CE], ids=["KD", "CE"])


@each_form
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(16, 2), (16, 10), (16, 1000), (4, 7, 10)], ids=str)
def test_equals_oracle(make, function, oracle, shape, dtype):
    del make
    tolerance = 1e-12 if dtype == "float64" else 1e-5
    sides = sides_by_kind(shape)
    given, exact = rounded(dtype, *np.stack(list(sides.values()), axis=1))
    for temperature in (1.0, 3.0, 4.0, 16.0):
        values = function(*given, temperature=temperature)
        assert values.dtype == ("float64" if dtype == "float64" else "float32")
        wanted = oracle(*exact, temperature)
        for kind, value, want in zip(sides, values, wanted, strict=True):
            message = f"{kind}, temperature {temperature}"
            assert_allclose(
                value, want, rtol=tolerance, atol=tolerance, err_msg=message
            )


@each_form
@pytest.mark.parametrize("shape", [(6, 10), (6, 7, 10)], ids=str)
def test_each_example_may_have_its_own_temperature(make, function, oracle, shape):
    teacher, student = sides_by_kind(shape)["unit"]
    own = np.array([1.0, 4.0, 0.5, 16.0, 4.0, 2.5])
    rows = zip(teacher, student, own, strict=True)
    want = [oracle(*row) for row in rows]
    assert_allclose(function(teacher, student, temperature=own), want, rtol=1e-12)
    given = tf.constant(np.where(own == 4, 0, own))  # 0: that of the loss
    loss = make(temperature=4.0, dtype="float64")
    found = loss.call(*map(tf.constant, (teacher, student)), temperature=given)
    assert_allclose(found, want, rtol=1e-12)


@pytest.mark.parametrize(("temperature", "want"), reference.KL.items())
def test_kl_equals_published_value(temperature, want):
    sides = reference.TEACHER_LOGITS, reference.STUDENT_LOGITS
    for form in (losses.knowledge_distillation, oracles.knowledge_distillation):
        values = form(*sides, temperature=temperature)
        assert_allclose(np.mean(values), want, atol=5e-9)


def test_kl_at_high_temperature_is_half_the_centred_squared_distance():
    values = losses.knowledge_distillation(
        reference.TEACHER_LOGITS, reference.STUDENT_LOGITS, temperature=1e5
    )
    want = reference.HALF_CENTRED_SQUARED_DISTANCE
    assert_allclose(np.mean(values), want, rtol=1e-5)


def test_cross_entropy_exceeds_kl_by_the_entropy_of_the_teacher():
    teacher, student = sides_by_kind((16, 10))["unit"]
    kl, cross_entropy, entropy = (
        ops.convert_to_numpy(function(teacher, other, temperature=4.0))
        for function, other in [
            (losses.knowledge_distillation, student),
            (losses.soft_cross_entropy, student),
            (losses.soft_cross_entropy, teacher),
        ]
    )
    assert_allclose(cross_entropy - kl, entropy, rtol=1e-12)


@each_form
@pytest.mark.parametrize("side", ["teacher", "student"])
@pytest.mark.parametrize(
    ("dtype", "constant", "tolerance"),
    [("float64", 7.3, 1e-11), ("float32", 4096.0, 1e-5)],
)
def test_adding_a_constant_to_logits_changes_nothing(
    make, function, oracle, side, dtype, constant, tolerance
):
    del make, oracle
    rng = np.random.default_rng(0)
    # Multiples of 1/64: float32 holds them exactly on top of 4096 too.
    teacher, student = np.round(64 * rng.normal(size=(2, 16, 10))).astype(dtype) / 64
    shifted = {"teacher": teacher, "student": student}
    shifted[side] = shifted[side] + np.asarray(constant, dtype)
    assert_allclose(
        function(*shifted.values(), temperature=3.0),
        function(teacher, student, temperature=3.0),
        rtol=tolerance,
    )


@each_class
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [("float32", 1e-5), ("float64", 1e-12)]
)
@pytest.mark.parametrize("shape", [(16, 2), (16, 1000), (4, 7, 10)], ids=str)
def test_student_gradient_is_temperature_times_probability_gap(
    make, shape, dtype, tolerance
):
    for temperature, (kind, sides) in product(
        [1.0, 4.0, 16.0], sides_by_kind(shape).items()
    ):
        given, exact = rounded(dtype, *sides)
        found = gradient(make(temperature, dtype=dtype), *given, of="student")
        want = oracles.student_gradient(*exact, temperature) / np.prod(shape[:-1])
        message = f"{kind}, temperature {temperature}"
        assert_allclose(found, want, atol=tolerance, err_msg=message)


@each_form
def test_teacher_gradient_equals_closed_form(make, function, oracle):
    del make
    temperature, (teacher, student) = 4.0, sides_by_kind((16, 10))["unit"]
    p = oracles.softmax(teacher / temperature)
    surprise = -oracles.log_softmax(student / temperature)
    if function is losses.knowledge_distillation:
        surprise = surprise + oracles.log_softmax(teacher / temperature)
    mean = oracle(teacher, student, temperature)[:, None] / temperature**2
    assert_allclose(
        gradient(
            lambda t, s: ops.sum(function(t, s, temperature=temperature)),
            *map(tf.constant, (teacher, student)),
            of="teacher",
        ),
        temperature * p * (surprise - mean),
        atol=1e-12,
    )


@each_form
def test_hessian_is_the_covariance_of_the_student(make, function, oracle):
    del make, oracle
    temperature, (teacher, student) = 4.0, sides_by_kind((1, 5))["unit"]
    teacher, student = tf.constant(teacher), tf.constant(student)
    with tf.GradientTape() as outer:
        outer.watch(student)
        with tf.GradientTape() as inner:
            inner.watch(student)
            value = function(teacher, student, temperature=temperature)
        first = inner.gradient(value, student)
    (q,) = oracles.softmax(student / temperature)
    hessian = np.reshape(outer.jacobian(first, student), (5, 5))
    assert_allclose(hessian, np.diag(q) - np.outer(q, q), atol=1e-12)


@each_form
def test_excluded_classes_have_no_value_and_no_gradient(make, function, oracle):
    rng = np.random.default_rng(0)
    teacher, student = rng.normal(size=(2, 16, 10)).astype("float32")
    teacher[:, 3] = -np.inf
    student[::2, 3] = -np.inf  # both sides may exclude a class
    given, exact = rounded("float32", teacher, student)
    assert_allclose(function(*given), oracle(*exact, 4.0), rtol=1e-5)
    found = gradient(make(4.0), *given, of="student")
    assert_allclose(found, oracles.student_gradient(*exact, 4.0) / 16, atol=1e-6)


@each_form
def test_a_class_that_only_the_student_excludes_costs_infinity(make, function, oracle):
    del make, oracle
    teacher, student = np.zeros((1, 3)), np.array([[0.0, 0.0, -np.inf]])
    assert np.isposinf(function(teacher, student)).all()


@each_class
def test_gradient_vanishes_at_equality(make):
    for kind, (teacher, _) in sides_by_kind((16, 10)).items():
        given, _ = rounded("float32", teacher, teacher)
        found = gradient(make(16.0), *given, of="student")
        assert_allclose(found, 0.0, atol=1e-6, err_msg=kind)


def test_kl_at_equality_is_exactly_zero():
    for kind, (teacher, _) in sides_by_kind((16, 1000)).items():
        given, _ = rounded("float32", teacher, teacher)
        values = losses.knowledge_distillation(*given, temperature=16.0)
        assert not np.any(values), kind


finite_logits = arrays("float32", (5, 4), elements=st.floats(-1e4, 1e4, width=32))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(finite_logits, finite_logits, st.floats(0, 1, width=32))
def test_kl_is_never_negative(teacher, other, distance):
    student = teacher + np.float32(distance * 1e-4) * other
    for temperature in (1.0, 16.0):
        values = losses.knowledge_distillation(
            teacher, student, temperature=temperature
        )
        assert (ops.convert_to_numpy(values) >= 0).all()


@each_form
@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_new_temperature_takes_effect_without_a_new_trace(
    make, function, oracle, jit_compile
):
    del function
    teacher, student = sides_by_kind((16, 10))["unit"]
    loss, traces = make(4.0), []

    @tf.function(jit_compile=jit_compile)
    def compiled(teacher, student):
        traces.append(1)
        return loss(teacher, student)

    for temperature in (4.0, 1.0, 9.5):
        loss.temperature = temperature
        want = oracle(teacher, student, temperature).mean()
        assert_allclose(compiled(teacher, student), want, rtol=1e-5)
    assert len(traces) == 1


@each_form
def test_reduces_as_a_keras_loss(make, function, oracle):
    del function
    teacher, student = sides_by_kind((16, 10))["unit"]
    values, weights = oracle(teacher, student, 4.0), np.arange(16) % 3
    for reduction, want in [
        ("sum_over_batch_size", np.sum(weights * values) / 16),
        ("mean_with_sample_weight", np.sum(weights * values) / np.sum(weights)),
        ("sum", np.sum(weights * values)),
        ("none", weights * values),
    ]:
        loss = make(4.0, reduction=reduction)
        assert_allclose(loss(teacher, student, weights), want, rtol=1e-5, atol=1e-6)


@each_form
def test_masked_tokens_do_not_count(make, function, oracle):
    del function
    teacher, student = sides_by_kind((4, 7, 10))["unit"]
    real = np.arange(7) < np.array([[7], [3], [1], [5]])
    masked = keras.layers.Masking()(np.where(real[..., None], student, 0.0))
    want = oracle(teacher, student, 4.0)[real].mean()
    assert_allclose(make(4.0)(teacher, masked), want, rtol=1e-5)


@each_class
def test_config_holds_the_temperature_as_given(make):
    loss = make(temperature=0.1, name="kd", reduction="sum", dtype="float64")
    copy = make.from_config(loss.get_config())
    assert copy.temperature == 0.1  # not the nearest float32
    assert (copy.name, copy.reduction, copy.dtype) == ("kd", "sum", "float64")


@each_class
@pytest.mark.parametrize("bad", [0, -1.0, np.nan, np.inf, True, "4", None])
def test_a_bad_temperature_is_refused_and_leaves_the_old_one(make, bad):
    with pytest.raises((TypeError, ValueError), match="`temperature` must be a"):
        make(temperature=bad)
    loss = make(temperature=2.0)
    with pytest.raises((TypeError, ValueError), match="`temperature` must be a"):
        loss.temperature = bad
    assert loss.temperature == 2.0


@each_form
@pytest.mark.parametrize("bad", [[1.0, 0.0], [1.0, np.nan]])
def test_a_bad_temperature_among_several_is_refused(make, function, oracle, bad):
    del make, oracle
    with pytest.raises(ValueError, match="`temperature` must be a"):
        function(np.zeros((2, 3)), np.zeros((2, 3)), temperature=bad)


@each_form
def test_different_class_counts_are_refused(make, function, oracle):
    del oracle
    for refusing in (function, make()):
        with pytest.raises(ValueError, match="same rank and number of classes"):
            refusing(np.zeros((2, 3)), np.zeros((2, 4)))
