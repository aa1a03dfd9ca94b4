"""Decoupled KD against float64 NumPy, published values and the split of KL."""

import hypothesis
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from keras import ops
from logit_sides import (
    central_differences,
    gradients,
    rounded,
    stacked_sides,
    wider_sides_by_kind,
)
from numpy.testing import assert_allclose
from oracles import decoupled as oracles
from oracles import reference

from keras_kd import UNLABELED, losses

TERMS = {
    "TCKD": (losses.target_class_kd, oracles.target_class_kd),
    "NCKD": (losses.nontarget_class_kd, oracles.nontarget_class_kd),
}
PAIRS = {
    **TERMS,
    "DKD": (
        lambda *sides, **options: losses.decoupled_kd(
            *sides, alpha=0.5, beta=2.0, **options
        ),
        lambda *sides: oracles.decoupled_kd(*sides[:3], 0.5, 2.0, sides[3]),
    ),
}
each_term = pytest.mark.parametrize(("function", "oracle"), TERMS.values(), ids=TERMS)
each = pytest.mark.parametrize(("function", "oracle"), PAIRS.values(), ids=PAIRS)
SHAPES = [(8, 2), (8, 10), (2, 1000), (2, 3, 10)]
EXACT = [
    *[((8, 10), dtype) for dtype in ("float16", "bfloat16")],
    *[(shape, dtype) for shape in SHAPES for dtype in ("float32", "float64")],
]


def targets_of(shape):
    return np.random.default_rng(1).integers(0, shape[-1], shape[:-1])


def all_kinds(shape, dtype):
    """Given and exact sides of every kind, with any target, then with the second."""
    kinds, *sides = stacked_sides(shape)
    given, exact = rounded(dtype, *sides)
    any_class = np.broadcast_to(targets_of(shape), sides[0].shape[:-1])
    # Some kinds of logits set the second class apart.
    for targets in (any_class, np.ones_like(any_class)):
        yield kinds, given, exact, targets


@each
@pytest.mark.parametrize(("shape", "dtype"), EXACT, ids=str)
def test_equals_oracle(function, oracle, shape, dtype):
    tolerance = 1e-12 if dtype == "float64" else 1e-5
    for kinds, given, exact, targets in all_kinds(shape, dtype):
        for temperature in (1.0, 4.0, 16.0):
            values = function(*given, targets, temperature=temperature)
            assert values.dtype == ("float64" if dtype == "float64" else "float32")
            wanted = oracle(*exact, targets, temperature)
            for kind, value, want in zip(kinds, values, wanted, strict=True):
                message = f"{kind}, temperature {temperature}"
                assert_allclose(
                    value, want, rtol=tolerance, atol=tolerance, err_msg=message
                )


def test_equals_published_values():
    data = reference.TEACHER_LOGITS, reference.STUDENT_LOGITS, reference.LABELS
    for name, (function, oracle) in TERMS.items():
        for form in (function, oracle):
            values = form(*data, temperature=4.0)
            assert_allclose(np.mean(values), reference.DECOUPLED[name], atol=5e-9)
    for (beta, temperature), want in reference.DECOUPLED["DKD"].items():
        values = losses.decoupled_kd(*data, beta=beta, temperature=temperature)
        assert_allclose(np.mean(values), want, atol=5e-9)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_kl_is_the_target_term_plus_the_other_by_what_the_teacher_leaves(shape):
    teacher, student = wider_sides_by_kind(shape)["unit"]
    targets = targets_of(shape)
    for temperature in (1.0, 4.0):
        left = 1 - oracles.target_probability(teacher, targets, temperature)
        options = {"temperature": temperature}
        target, others = (
            np.asarray(function(teacher, student, targets, **options))
            for function, _ in TERMS.values()
        )
        kl = losses.knowledge_distillation(teacher, student, **options)
        assert_allclose(target + left * others, kl, rtol=1e-10)
        whole = losses.decoupled_kd(teacher, student, targets, beta=left, **options)
        assert_allclose(whole, kl, rtol=1e-10)


def test_each_example_may_have_its_own_weights_and_temperature():
    teacher, student = wider_sides_by_kind((4, 7, 10))["unit"]
    targets = targets_of((4, 7, 10))
    alpha, beta = np.array([0.0, 1.0, 2.0, 0.5]), np.array([8.0, 0.0, 1.0, 3.0])
    temperature = np.array([1.0, 4.0, 0.5, 16.0])
    values = losses.decoupled_kd(
        teacher, student, targets, alpha=alpha, beta=beta, temperature=temperature
    )
    rows = zip(teacher, student, targets, alpha, beta, temperature, strict=True)
    assert_allclose(values, [oracles.decoupled_kd(*r) for r in rows], rtol=1e-10)
    loss = losses.DecoupledKD(temperature=4.0, dtype="float64")
    given = tf.constant([0.0, 4.0, 0.0, 4.0])  # 0: that of the loss
    found = loss.call(teacher, student, targets, temperature=given)
    want = oracles.decoupled_kd(teacher, student, targets, 1.0, 8.0, 4.0)
    assert_allclose(found, want, rtol=1e-10)


@each_term
def test_labels_in_any_form_give_the_same_target(function, oracle):
    teacher, student = wider_sides_by_kind((6, 5))["unit"]
    targets = targets_of((6, 5))
    one_hot = np.eye(5)[targets]
    mixed = 0.6 * one_hot + 0.4 * np.roll(one_hot, 1, axis=-1)  # as mixup gives
    want = oracle(teacher, student, targets, 4.0)
    for labels in (targets, targets[:, None], targets.astype("uint8"), one_hot, mixed):
        assert_allclose(function(teacher, student, labels), want, rtol=1e-10)


@each_term
def test_the_class_of_the_teacher_stands_in_for_an_unknown_label(function, oracle):
    teacher, student = wider_sides_by_kind((6, 5))["unit"]
    targets = targets_of((6, 5))
    known = np.array([True, False, True, True, False, False])
    filled = np.where(known, targets, teacher.argmax(axis=-1))
    want = oracle(teacher, student, filled, 4.0)
    one_hot = np.eye(5)[targets] * known[:, None]
    for labels in (np.where(known, targets, UNLABELED), one_hot):
        assert_allclose(function(teacher, student, labels), want, rtol=1e-10)
    without = function(teacher, student)
    want = oracle(teacher, student, teacher.argmax(axis=-1), 4.0)
    assert_allclose(without, want, rtol=1e-10)


def test_two_classes_leave_the_target_term_alone():
    teacher, student = wider_sides_by_kind((16, 2))["unit"]
    assert not np.any(losses.nontarget_class_kd(teacher, student))
    values = losses.decoupled_kd(teacher, student, alpha=3.0)
    want = 3 * losses.knowledge_distillation(teacher, student)
    assert_allclose(values, want, rtol=1e-10)


@each
@pytest.mark.parametrize("shape", [(3, 2), (3, 5), (2, 2, 3)], ids=str)
def test_gradient_equals_finite_differences(function, oracle, shape):
    sides, targets = wider_sides_by_kind(shape)["unit"], targets_of(shape)
    found = gradients(lambda t, s: function(t, s, targets, temperature=2.0), *sides)
    want = central_differences(lambda t, s: oracle(t, s, targets, 2.0), *sides)
    assert_allclose(found, want, atol=1e-8)


@pytest.mark.parametrize("shape", [(8, 2), (8, 10)], ids=str)
@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_values_and_gradients_are_finite(shape, temperature):
    for _, given, _, targets in all_kinds(shape, "float32"):

        def loss(teacher, student, targets=targets):
            return losses.decoupled_kd(
                teacher, student, targets, temperature=temperature
            )

        assert np.isfinite(loss(*given)).all()
        assert np.isfinite(gradients(loss, *given)).all()


def test_a_class_of_probability_0_has_no_value_and_no_gradient():
    teacher, student = np.random.default_rng(0).normal(size=(2, 4, 5))
    teacher[:, 3] = -np.inf
    student[::2, 3] = -1e4
    # It is the target of the second example; the third excludes all but its target.
    targets = np.array([0, 3, 1, 2])
    teacher[2, np.arange(5) != 1] = -np.inf
    target, others = (
        ops.convert_to_numpy(function(teacher, student, targets, temperature=1.0))
        for function, _ in TERMS.values()
    )
    rest = teacher[[0, 3]], student[[0, 3]], targets[[0, 3]]
    want = oracles.nontarget_class_kd(*rest, 1.0)
    assert_allclose(others[[0, 3]], want, rtol=1e-10)
    assert others[2] == 0
    q = oracles.target_probability(student, targets, 1.0)
    assert_allclose(target[1:3], -np.log([1 - q[1], q[2]]), rtol=1e-10)
    _, found = gradients(
        lambda t, s: losses.decoupled_kd(t, s, targets), teacher, student
    )
    assert np.isfinite(found).all()


@pytest.mark.parametrize("labelled", [False, True], ids=["no labels", "labels"])
def test_equality_costs_nothing(labelled):
    for _, (given, _), _, targets in all_kinds((8, 10), "float32"):
        labels = targets if labelled else None
        assert not np.any(losses.decoupled_kd(given, given, labels, temperature=16.0))
        _, found = gradients(
            lambda t, s, labels=labels: losses.decoupled_kd(t, s, labels), given, given
        )
        assert_allclose(found, 0.0, atol=1e-5)


finite_logits = arrays("float32", (3, 4), elements=st.floats(-1e4, 1e4, width=32))


@hypothesis.settings(max_examples=30, deadline=None, derandomize=True)
@hypothesis.given(finite_logits, finite_logits)
def test_is_never_negative_and_blind_to_shifts(teacher, student):
    targets = np.array([0, 3, 1])
    for function in (losses.target_class_kd, losses.nontarget_class_kd):
        values = ops.convert_to_numpy(function(teacher, student, targets))
        assert (values >= 0).all()
        shifted = teacher.astype("float64") + 3.0, student.astype("float64") - 7.0
        assert_allclose(values, function(*shifted, targets), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_new_weights_take_effect_without_a_new_trace(jit_compile):
    teacher, student = wider_sides_by_kind((16, 10))["unit"]
    targets = targets_of((16, 10))
    loss, traces = losses.DecoupledKD(), []

    @tf.function(jit_compile=jit_compile)
    def compiled(teacher, student, targets):
        traces.append(1)
        return loss.call(teacher, student, labels=targets)

    for alpha, beta, temperature in [(1.0, 8.0, 4.0), (0.5, 2.0, 1.0)]:
        loss.alpha, loss.beta, loss.temperature = alpha, beta, temperature
        want = oracles.decoupled_kd(teacher, student, targets, alpha, beta, temperature)
        assert_allclose(compiled(teacher, student, targets), want, rtol=1e-5)
    assert len(traces) == 1


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_the_batch_size_may_be_unknown(rows):
    teacher, student = np.random.default_rng(0).normal(size=(2, rows, 5))
    targets = np.arange(rows)
    logits, classes = tf.TensorSpec([None, 5], "float64"), tf.TensorSpec([None])
    loss = losses.DecoupledKD(dtype="float64")
    compiled = tf.function(
        lambda t, s, y: loss.call(t, s, labels=tf.cast(y, "int32")),
        input_signature=[logits, logits, classes],
    )
    want = oracles.decoupled_kd(teacher, student, targets, 1.0, 8.0, 4.0)
    assert_allclose(compiled(teacher, student, targets), want, rtol=1e-10)


def test_config_holds_the_weights_as_given():
    loss = losses.DecoupledKD(alpha=0.1, beta=0.7, temperature=2.7, name="own")
    copy = losses.DecoupledKD.from_config(loss.get_config())
    assert (copy.alpha, copy.beta, copy.temperature) == (0.1, 0.7, 2.7)
    assert losses.DecoupledKD.takes == {"labels", "temperature"}
