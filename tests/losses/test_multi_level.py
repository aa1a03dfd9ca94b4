"""Multi-level logit distillation against float64 NumPy and published values."""

import numpy as np
import pytest
import tensorflow as tf
from logit_sides import central_differences, gradients, rounded, wider_sides_by_kind
from numpy.testing import assert_allclose
from oracles import multi_level as oracles
from oracles import reference

from keras_kd import losses

NO_TERM = dict.fromkeys(("instance_weight", "batch_weight", "class_weight"), 0.0)
TERMS = {
    "instance": oracles.instance_term,
    "batch": oracles.batch_term,
    "class": oracles.class_term,
}
EXACT = [  # shape, dtype
    *[((16, 10), dtype) for dtype in ("float16", "bfloat16")],
    *[
        (shape, dtype)
        for shape in [(16, 2), (16, 10), (2, 4, 10)]
        for dtype in ("float32", "float64")
    ],
]
each_term = pytest.mark.parametrize(("name", "oracle"), TERMS.items(), ids=TERMS)


def alone(name, *sides, temperatures, **options):
    """The values of one of the three terms."""
    weights = {**NO_TERM, f"{name}_weight": 1.0}
    return losses.multi_level_logit(
        *sides, temperatures=temperatures, **weights, **options
    )


@pytest.mark.parametrize(("shape", "dtype"), EXACT, ids=str)
def test_equals_oracle(shape, dtype):
    tolerance = 1e-12 if dtype == "float64" else 1e-5
    for temperature in (1.0, 6.0):

        @tf.function
        def each_term(*sides, temperature=temperature):
            return [alone(name, *sides, temperatures=(temperature,)) for name in TERMS]

        for kind, sides in wider_sides_by_kind(shape).items():
            given, exact = rounded(dtype, *sides)
            found = each_term(*given)
            for value, (name, oracle) in zip(found, TERMS.items(), strict=True):
                assert value.shape == shape[:-1]
                assert value.dtype == ("float64" if dtype == "float64" else "float32")
                assert_allclose(
                    np.mean(value, dtype="float64"),
                    oracle(*exact, temperature),
                    rtol=tolerance,
                    atol=tolerance,
                    err_msg=f"{name}, {kind}, temperature {temperature}",
                )


@each_term
@pytest.mark.parametrize("shape", [(16, 10), (4, 300)], ids=str)
def test_small_terms_keep_their_digits_in_float32(name, oracle, shape):
    """At temperature 16 the matrices differ by parts in 1e6 of 1 / classes."""
    given, exact = rounded("float32", *wider_sides_by_kind(shape)["unit"])
    values = alone(name, *given, temperatures=(16.0,))
    assert_allclose(np.mean(values), oracle(*exact, 16.0), rtol=1e-5)


def test_equals_published_values():
    data = reference.TEACHER_LOGITS, reference.STUDENT_LOGITS
    for name, want in reference.MULTI_LEVEL.items():
        assert_allclose(TERMS[name](*data, 4.0), want, atol=5e-9)
        values = alone(name, *data, temperatures=(4.0,))
        assert_allclose(np.mean(values), want, atol=5e-9)


def test_sums_terms_and_temperatures():
    sides, weights = wider_sides_by_kind((16, 10))["unit"], (0.9, 5.0, 0.45)
    options = dict(zip(NO_TERM, weights, strict=True))
    want = oracles.multi_level_logit(*sides, (2.0, 3.0, 4.0, 5.0, 6.0), weights)
    values = losses.multi_level_logit(*sides, **options)
    assert_allclose(np.mean(values), want, rtol=1e-12)
    loss = losses.MultiLevelLogit((1.0, 3.0), **options, dtype="float64")
    want = oracles.multi_level_logit(*sides, (1.0, 3.0), weights)
    assert_allclose(loss(*sides), want, rtol=1e-6)  # weights are float32 variables


def test_a_row_has_its_own_pairs_and_all_share_the_classes():
    teacher, student = wider_sides_by_kind((6, 5))["unit"]
    p, q = (np.asarray(tf.nn.softmax(side / 4)) for side in (teacher, student))
    values = alone("batch", teacher, student, temperatures=(4.0,))
    assert_allclose(values, ((p @ p.T - q @ q.T) ** 2).sum(axis=1), rtol=1e-10)
    values = alone("class", teacher, student, temperatures=(4.0,))
    assert_allclose(values, np.sum((p.T @ p - q.T @ q) ** 2) / 5, rtol=1e-10)
    values = alone("instance", teacher, student, temperatures=(4.0,))
    want = losses.knowledge_distillation(teacher, student, temperature=4.0)
    assert_allclose(values, want, rtol=1e-12)


@each_term
@pytest.mark.parametrize("shape", [(4, 3), (2, 2, 4)], ids=str)
def test_gradient_equals_finite_differences(name, oracle, shape):
    sides = wider_sides_by_kind(shape)["unit"]
    rows = np.prod(shape[:-1])
    found = gradients(
        lambda t, s: alone(name, t, s, temperatures=(1.0,)) / rows, *sides
    )
    want = central_differences(lambda t, s: oracle(t, s, 1.0), *sides)
    assert_allclose(found, want, atol=1e-9)


def test_equality_costs_nothing():
    for kind in ("unit", "sharp", "around 1e4"):
        (given,), _ = rounded("float32", wider_sides_by_kind((8, 10))[kind][0])
        assert not np.any(losses.multi_level_logit(given, given)), kind
        _, found = gradients(losses.multi_level_logit, given, given)
        assert_allclose(found, 0.0, atol=1e-5, err_msg=kind)


@pytest.mark.parametrize("shape", [(8, 2), (2, 4, 10)], ids=str)
def test_values_and_gradients_are_finite(shape):
    @tf.function
    def value_and_gradients(teacher, student):
        values = losses.multi_level_logit(teacher, student, temperatures=(1.0, 4.0))
        return values, *tf.gradients(values, [teacher, student])

    for kind, sides in wider_sides_by_kind(shape).items():
        given, _ = rounded("float32", *sides)
        for tensor in value_and_gradients(*given):
            assert np.isfinite(tensor).all(), kind
    teacher, student = (np.array(side) for side in given)
    teacher[..., 1], student[..., 1] = -np.inf, -1e4  # a class of probability 0
    values, _, found = value_and_gradients(*map(tf.constant, (teacher, student)))
    assert np.isfinite(values).all()
    assert np.isfinite(found).all()


@pytest.mark.parametrize("bad", [0.0, 1e4, np.nan, -np.inf])
def test_masked_positions_are_no_rows(bad):
    teacher, student = wider_sides_by_kind((4, 7, 10))["unit"]
    real = np.arange(7) < np.array([[7], [3], [1], [5]])
    options = {"temperatures": (1.0, 4.0)}
    want = losses.multi_level_logit(teacher[real], student[real], **options)
    sides = [np.where(real[..., None], side, bad) for side in (teacher, student)]

    def masked(teacher, student):
        return losses.multi_level_logit(teacher, student, mask=real, **options)

    assert_allclose(masked(*sides)[real], want, rtol=1e-10)
    assert np.isfinite(masked(*sides)).all()
    found = gradients(masked, *sides)
    assert np.isfinite(found).all()
    assert not np.any(np.stack(found)[:, ~real])
    loss = losses.MultiLevelLogit(**options, dtype="float64")
    assert_allclose(loss.call(*sides, mask=real)[real], want, rtol=1e-6)
    exact = oracles.multi_level_logit(teacher[real], student[real], (1.0, 4.0))
    assert_allclose(np.mean(masked(*sides)[real]), exact, rtol=1e-10)


@pytest.mark.parametrize(
    ("jit_compile", "sizes"), [(False, (0, 1, 5)), (True, (1,))], ids=["graph", "XLA"]
)
def test_the_batch_size_may_be_unknown(jit_compile, sizes):
    loss = losses.MultiLevelLogit((4.0,), dtype="float64")

    @tf.function(
        input_signature=[tf.TensorSpec([None, 5], "float64")] * 2,
        jit_compile=jit_compile,
    )
    def compiled(teacher, student):
        values = loss.call(teacher, student)
        return values, tf.gradients(values, student)[0]

    for rows in sizes:
        teacher, student = np.random.default_rng(0).normal(size=(2, rows, 5))
        values, found = compiled(teacher, student)
        assert values.shape == (rows,)
        assert np.isfinite(found).all()
        if rows:
            want = oracles.multi_level_logit(teacher, student, (4.0,))
            assert_allclose(np.mean(values), want, rtol=1e-10)


def test_new_weights_take_effect_without_a_new_trace():
    sides = wider_sides_by_kind((16, 10))["unit"]
    loss, traces = losses.MultiLevelLogit((4.0,), dtype="float64"), []

    @tf.function
    def compiled(teacher, student):
        traces.append(1)
        return loss(teacher, student)

    for weights in [(1.0, 1.0, 1.0), (0.5, 2.0, 4.0)]:
        loss.instance_weight, loss.batch_weight, loss.class_weight = weights
        want = oracles.multi_level_logit(*sides, (4.0,), weights)
        assert_allclose(compiled(*sides), want, rtol=1e-10)
    assert len(traces) == 1


def test_config_holds_what_was_given():
    weights = {"instance_weight": 0.1, "batch_weight": 0.2, "class_weight": 0.3}
    loss = losses.MultiLevelLogit([1, 2.5], **weights, batch="replica")
    copy = losses.MultiLevelLogit.from_config(loss.get_config())
    assert copy.temperatures == (1.0, 2.5)
    assert {name: getattr(copy, name) for name in weights} == weights
    assert copy.batch == "replica"
    assert losses.MultiLevelLogit.couples_batch
    assert losses.MultiLevelLogit.takes == {"mask"}
