"""RKD: published values, invariances, float32 where differences cancel, memory."""

import numpy as np
import pytest
import tensorflow as tf
from logit_sides import sides
from numpy.testing import assert_allclose
from oracles import reference
from oracles import relational as oracles

from keras_kd import losses

BOTH = {
    "distances": (losses.rkd_distance, oracles.rkd_distance),
    "angles": (losses.rkd_angle, oracles.rkd_angle),
}
PUBLISHED = {"distances": reference.RKD_DISTANCE, "angles": reference.RKD_ANGLE}
each_part = pytest.mark.parametrize("part", BOTH)


@each_part
def test_equals_the_value_of_released_code(part):
    embeddings = reference.TEACHER_EMBEDDINGS, reference.STUDENT_EMBEDDINGS
    for form in BOTH[part]:
        assert_allclose(np.mean(form(*embeddings)), PUBLISHED[part], atol=5e-9)


@each_part
@pytest.mark.parametrize("side", [0, 1], ids=["teacher", "student"])
def test_rotating_shifting_and_scaling_a_side_changes_nothing(part, side):
    function, _ = BOTH[part]
    given, rng = list(sides((10, 6))), np.random.default_rng(3)
    want = function(*given)
    rotation = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    given[side] = 7.3 * given[side] @ rotation + 50 * rng.normal(size=6)
    assert_allclose(function(*given), want, rtol=1e-9)


@each_part
@pytest.mark.parametrize("offset", [1e2, 1e4, 1e6])
def test_a_large_common_offset_costs_no_digits_in_float32(part, offset):
    function, oracle = BOTH[part]
    # Multiples of 1/4: float32 holds them exactly on top of 1e6 too.
    given = [np.round(4 * side) / 4 + offset for side in sides((12, 40))]
    found = function(*(side.astype("float32") for side in given))
    assert_allclose(found, oracle(*given), rtol=1e-5, atol=1e-6)


@each_part
@pytest.mark.parametrize("spread", [1e-1, 1e-2, 1e-3])
def test_tight_clusters_keep_their_digits_in_float32(part, spread):
    """Within one, distances are the small differences of large squares."""
    function, oracle = BOTH[part]
    centres = np.random.default_rng(5).normal(size=(3, 40))[np.arange(12) % 3]
    given = [(centres + spread * x).astype("float32") for x in sides((12, 40))]
    tolerance = {"distances": 1e-5, "angles": 5e-4}[part]
    assert_allclose(function(*given), oracle(*given), rtol=tolerance)


@each_part
def test_coincident_examples_count_as_distance_zero(part):
    function, oracle = BOTH[part]
    teacher, student = sides((5, 3))
    for given in [
        (teacher, student[[0, 0, 1, 2, 2]]),
        (teacher[[0, 0, 1, 2, 2]], student),
        (teacher, student[[0, 0, 0, 0, 0]]),
    ]:
        with np.errstate(divide="ignore", invalid="ignore"):
            want = np.nan_to_num(oracle(*given))
        if np.any(want):
            assert_allclose(function(*given), want, rtol=1e-10)


def test_equal_embeddings_have_all_distances_zero():
    teacher, student = sides((5, 3))
    collapsed = np.tile(student[:1], (5, 1))
    want = oracles.huber(oracles.relative_distances(teacher)).mean(axis=1)
    assert_allclose(losses.rkd_distance(teacher, collapsed), want, rtol=1e-10)


def test_angles_hold_no_array_of_all_differences():
    """Only products of both sides' rows, and batch x batch x batch."""
    teacher, student = tf.random.stateless_normal((2, 32, 20_000), [0, 1])
    with tf.GradientTape() as tape:
        tape.watch(student)
        values = losses.rkd_angle(teacher, student)
    assert np.isfinite(tape.gradient(values, student)).all()
    graph = tf.function(losses.rkd_angle).get_concrete_function(teacher, student).graph
    sizes = [
        out.shape.num_elements() for op in graph.get_operations() for out in op.outputs
    ]
    assert max(size or 0 for size in sizes) <= 32 * 20_000
