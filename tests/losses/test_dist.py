"""DIST against float64 NumPy, published values, and its two invariances."""

from itertools import product

import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from logit_sides import central_differences, gradients, rounded, wider_sides_by_kind
from numpy.testing import assert_allclose
from oracles import dist as oracles
from oracles import reference
from oracles.logits import softmax

from keras_kd import losses
from keras_kd.losses.dist import _pearson_distance

TERMS = {"inter": {"gamma": 0.0}, "intra": {"beta": 0.0}}
each_term = pytest.mark.parametrize("only", TERMS.values(), ids=TERMS)
EXACT = [  # shape, dtype
    *[((16, 10), dtype) for dtype in ("float16", "bfloat16")],
    *[
        (shape, dtype)
        for shape in [(16, 2), (16, 10), (16, 1000), (4, 7, 10)]
        for dtype in ("float32", "float64")
    ],
]


def oracle(teacher, student, beta=1.0, gamma=1.0, temperature=1.0):
    return oracles.dist(teacher, student, beta, gamma, temperature)


@pytest.mark.parametrize(("shape", "dtype"), EXACT, ids=str)
def test_equals_oracle(shape, dtype):
    tolerance = 1e-10 if dtype == "float64" else 1e-5
    kinds = wider_sides_by_kind(shape)
    if shape[-1] == 1000:
        kinds = {kind: kinds[kind] for kind in ("unit", "sharp", "near", "around 1e4")}

    @tf.function
    def both_terms(*sides, temperature):
        return [
            losses.dist(*sides, temperature=temperature, **o) for o in TERMS.values()
        ]

    for (kind, sides), temperature in product(kinds.items(), (1.0, 4.0, 16.0)):
        given, exact = rounded(dtype, *sides)
        found = both_terms(*given, temperature=tf.constant(temperature, "float64"))
        for value, (term, only) in zip(found, TERMS.items(), strict=True):
            assert value.dtype == ("float64" if dtype == "float64" else "float32")
            assert_allclose(
                value,
                oracle(*exact, temperature=temperature, **only),
                rtol=tolerance,
                atol=tolerance,
                err_msg=f"{term}, {kind}, temperature {temperature}",
            )


def test_equals_published_values():
    data = reference.TEACHER_LOGITS, reference.STUDENT_LOGITS
    epsilon = reference.DIST_EPSILON
    for temperature, want in reference.DIST.items():
        p, q = (softmax(side / temperature) for side in data)
        inter = oracles.inter_distances(p, q, epsilon).mean()
        intra = oracles.intra_distance(p, q, epsilon)
        assert_allclose(temperature**2 * (inter + intra), want, atol=5e-9)
        values = losses.dist(*data, temperature=temperature)
        assert_allclose(np.mean(values), want, rtol=3e-7)  # without the epsilon
    terms = reference.DIST_INTER, reference.DIST_INTRA
    for only, want in zip(TERMS.values(), terms, strict=True):
        assert_allclose(np.mean(losses.dist(*data, **only)), want, atol=2e-7)


def test_each_example_may_have_its_own_weights_and_temperature():
    teacher, student = wider_sides_by_kind((4, 7, 10))["unit"]
    beta, gamma = np.array([0.0, 1.0, 2.0, 0.5]), np.array([1.0, 0.0, 1.0, 3.0])
    temperature = np.array([1.0, 4.0, 0.5, 16.0])
    values = losses.dist(
        teacher, student, beta=beta, gamma=gamma, temperature=temperature
    )
    # The same of logits divided beforehand, and T^2 of each.
    sides = [side / temperature[:, None, None] for side in (teacher, student)]
    inter, intra = (oracle(*sides, **only) for only in TERMS.values())
    want = beta[:, None] * inter + gamma[:, None] * intra
    assert_allclose(values, temperature[:, None] ** 2 * want, rtol=1e-10)
    loss = losses.DIST(temperature=4.0, dtype="float64")
    found = loss.call(teacher, student, temperature=tf.constant([0.0, 4.0, 0.0, 4.0]))
    assert_allclose(found, oracle(teacher, student, temperature=4.0), rtol=1e-10)


@each_term
@pytest.mark.parametrize("shape", [(4, 3), (3, 2, 4)], ids=str)
def test_gradient_equals_finite_differences(only, shape):
    sides = wider_sides_by_kind(shape)["unit"]
    weight = np.random.default_rng(2).uniform(
        size=shape[:-1]
    )  # else intra's are hidden
    found = gradients(
        lambda t, s: weight * losses.dist(t, s, temperature=2.0, **only), *sides
    )
    want = central_differences(
        lambda t, s: weight * oracle(t, s, temperature=2.0, **only), *sides
    )
    assert_allclose(found, want, atol=1e-7)


@pytest.mark.parametrize("side", ["teacher", "student"])
def test_inter_is_blind_to_positive_affine_maps_of_a_row_of_probabilities(side):
    teacher, student = wider_sides_by_kind((16, 10))["unit"]
    want = losses.dist(teacher, student, gamma=0.0)
    logits = {"teacher": teacher, "student": student}
    share = np.linspace(0.1, 0.9, 16)[:, None]
    # A mixture with the uniform distribution: c p + d with c > 0, and still sums to 1.
    logits[side] = np.log(share * softmax(logits[side]) + (1 - share) / 10)
    assert_allclose(losses.dist(*logits.values(), gamma=0.0), want, rtol=1e-9)
    intra = losses.dist(teacher, student, beta=0.0)  # which is not blind to these
    assert not np.allclose(losses.dist(*logits.values(), beta=0.0), intra, rtol=1e-3)


@pytest.mark.parametrize("side", ["teacher", "student"])
def test_intra_is_blind_to_positive_affine_maps_of_a_class_of_probabilities(side):
    teacher, student = wider_sides_by_kind((16, 10))["unit"]
    want = losses.dist(teacher, student, beta=0.0)
    logits = {"teacher": teacher, "student": student}
    fixed = softmax(np.arange(10.0))
    # A mixture with one distribution, the same for all rows.
    logits[side] = np.log(0.3 * softmax(logits[side]) + 0.7 * fixed)
    assert_allclose(losses.dist(*logits.values(), beta=0.0), want, rtol=1e-9)


@pytest.mark.parametrize("axis", [0, 1])
def test_distance_is_blind_to_scale_and_shift_along_its_axis(axis):
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 16, 10))
    size = (16, 1) if axis == 1 else (1, 10)
    scale, shift = rng.uniform(0.1, 9.0, size), rng.normal(size=size)
    want = _pearson_distance(a, b, axis)
    assert_allclose(_pearson_distance(scale * a + shift, b, axis), want, rtol=1e-10)
    assert_allclose(_pearson_distance(-scale * a, b, axis), 2 - want, rtol=1e-10)


def test_equality_costs_nothing():
    for kind in ("unit", "sharp", "far from 0"):  # no class is constant
        (given,), _ = rounded("float32", wider_sides_by_kind((16, 10))[kind][0])
        assert not np.any(losses.dist(given, given, temperature=16.0)), kind
        found = gradients(
            lambda t, s: losses.dist(t, s, temperature=16.0), given, given
        )
        assert_allclose(found, 0.0, atol=1e-5, err_msg=kind)


def test_a_constant_side_has_distance_1_and_no_gradient():
    rng = np.random.default_rng(0)
    varying = rng.normal(size=(6, 5)).astype("float32")
    uniform = np.full_like(varying, 3.7)
    same = np.tile(varying[:1], (6, 1))  # constant classes, though not rows
    for pair in [(varying, uniform), (uniform, varying), (uniform, uniform)]:
        assert_allclose(losses.dist(*pair), 2.0)
        assert not np.any(gradients(losses.dist, *pair))
    for pair in [(varying, same), (same, varying), (same, same)]:
        assert_allclose(losses.dist(*pair, beta=0.0), 1.0)
        assert not np.any(gradients(lambda *p: losses.dist(*p, beta=0.0), *pair))
    excluded = varying.copy()
    excluded[:, 2] = -np.inf  # a class of probability 0 in the whole batch
    values = losses.dist(excluded, varying, beta=0.0)
    kept = np.delete(softmax(excluded), 2, axis=1), np.delete(softmax(varying), 2, 1)
    assert_allclose(values, (1 + 4 * oracles.intra_distance(*kept)) / 5, rtol=1e-5)
    assert np.isfinite(gradients(losses.dist, excluded, varying)[1]).all()


@pytest.mark.parametrize("shape", [(8, 2), (2, 4, 10)], ids=str)
def test_values_and_gradients_are_finite(shape):
    @tf.function
    def value_and_gradients(teacher, student):
        values = losses.dist(teacher, student, temperature=4.0)
        return values, *tf.gradients(values, [teacher, student])

    for kind, sides in wider_sides_by_kind(shape).items():
        given, _ = rounded("float32", *sides)
        for tensor in value_and_gradients(*given):
            assert np.isfinite(tensor).all(), kind


@pytest.mark.parametrize("bad", [0.0, 1e4, np.nan, -np.inf])
def test_masked_positions_are_no_rows(bad):
    teacher, student = wider_sides_by_kind((4, 7, 10))["unit"]
    real = np.arange(7) < np.array([[7], [3], [1], [5]])
    want = oracle(teacher[real], student[real], temperature=4.0)
    sides = [np.where(real[..., None], side, bad) for side in (teacher, student)]

    def masked(teacher, student):
        return losses.dist(teacher, student, temperature=4.0, mask=real)

    assert_allclose(masked(*sides)[real], want, rtol=1e-10)
    assert np.isfinite(masked(*sides)).all()
    found = gradients(masked, *sides)
    assert np.isfinite(found).all()
    assert not np.any(np.stack(found)[:, ~real])
    loss = losses.DIST(temperature=4.0, dtype="float64")
    assert_allclose(loss.call(*sides, mask=real)[real], want, rtol=1e-10)
    rows = losses.dist(sides[0][0], sides[1][0], mask=np.arange(7) < 4)
    assert_allclose(rows[:4], oracle(teacher[0, :4], student[0, :4]), rtol=1e-10)


@pytest.mark.parametrize(
    ("jit_compile", "sizes"),
    [(False, (0, 1, 2, 5)), (True, (1,))],
    ids=["graph", "XLA"],
)
def test_the_batch_size_may_be_unknown(jit_compile, sizes):
    loss = losses.DIST(dtype="float64")

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
        only = {"gamma": 0.0} if rows < 2 else {}  # one row has no others
        want = oracle(teacher, student, **only) if rows else []
        assert_allclose(values, want, rtol=1e-10)
        assert np.isfinite(found).all()


def test_two_classes_leave_the_order_alone():
    teacher, student = wider_sides_by_kind((16, 2))["unit"]
    values = ops.convert_to_numpy(losses.dist(teacher, student, gamma=0.0))
    differ = teacher.argmax(axis=-1) != student.argmax(axis=-1)
    assert_allclose(values, 2.0 * differ, atol=1e-12)


def test_new_weights_take_effect_without_a_new_trace():
    teacher, student = wider_sides_by_kind((16, 10))["unit"]
    loss, traces = losses.DIST(dtype="float64"), []

    @tf.function
    def compiled(teacher, student):
        traces.append(1)
        return loss.call(teacher, student)

    for options in [(1.0, 1.0, 1.0), (0.5, 2.0, 4.0)]:
        loss.beta, loss.gamma, loss.temperature = options
        assert_allclose(
            compiled(teacher, student), oracle(teacher, student, *options), rtol=1e-6
        )
    assert len(traces) == 1


def test_config_holds_what_was_given():
    loss = losses.DIST(beta=0.1, gamma=0.7, temperature=2.7, batch="replica")
    copy = losses.DIST.from_config(loss.get_config())
    assert (copy.beta, copy.gamma, copy.temperature) == (0.1, 0.7, 2.7)
    assert copy.batch == "replica"
    assert losses.DIST.couples_batch
    assert losses.DIST.takes == {"mask", "temperature"}
