"""Average pooling to any smaller size, against loops over the windows."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops
from numpy.testing import assert_allclose, assert_array_equal
from oracles import features as oracle

from keras_kd.losses._pooling import adaptive_average_pool, to_common_size


def maps(shape, seed=0, dtype="float64"):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((2, 8, 8, 3), (4, 4)),  # blocks
        ((2, 7, 5, 3), (3, 2)),  # windows that overlap
        ((2, 8, 7, 3), (2, 3)),  # one axis of each kind
        ((2, 6, 5, 3), (6, 5)),  # nothing to pool
        ((2, 6, 5, 3), (1, 1)),
        ((2, 9, 3), (4,)),
        ((2, 4, 5, 6, 3), (2, 3, 6)),
        ((2, 4, 4, 4, 4, 3), (2, 2, 3, 1)),  # more axes than a backend's kernel has
        ((2, 3), ()),
    ],
    ids=str,
)
def test_equals_loops(shape, size, dtype):
    x = ops.cast(maps(shape), dtype)
    pooled = adaptive_average_pool(x, size)
    want = oracle.adaptive_average_pool(
        ops.convert_to_numpy(ops.cast(x, "float64")), size
    )
    assert pooled.dtype == ("float64" if dtype == "float64" else "float32")
    tolerance = 1e-12 if dtype == "float64" else 1e-5
    assert_allclose(pooled, want, rtol=tolerance, atol=tolerance)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(1, 12), st.data())
def test_every_pair_of_sizes_equals_loops(n, data):
    m = data.draw(st.integers(1, n))
    x = maps((1, n, 2, 1), seed=n)
    want = oracle.adaptive_average_pool(x, (m, 2))
    assert_allclose(adaptive_average_pool(x, (m, 2)), want, atol=1e-12)


def test_one_number_is_a_size_for_every_axis():
    x = maps((2, 6, 4, 3))
    assert_array_equal(adaptive_average_pool(x, 2), adaptive_average_pool(x, (2, 2)))


@pytest.mark.parametrize("cells", [4, 3], ids=["blocks", "overlapping"])
def test_gradient_spreads_each_mean_over_its_window(cells):
    x, weights = tf.constant(maps((2, 8, 8, 3))), maps((2, cells, cells, 3), seed=1)
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = tf.reduce_sum(weights * adaptive_average_pool(x, cells))
    found = tape.gradient(value, x).numpy()
    for place in np.ndindex(1, 8, 8, 1):  # the map is linear: a column at a time
        unit = np.zeros(x.shape)
        unit[place] = 1
        want = np.sum(weights * oracle.adaptive_average_pool(unit, (cells, cells)))
        assert_allclose(found[place], want, atol=1e-12)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_sizes_may_be_unknown_until_the_graph_runs(jit_compile):
    signature = [
        tf.TensorSpec((None, None, 6, 3), "float64"),
        tf.TensorSpec((None, 5, None, 2), "float64"),
    ]
    traces = []

    @tf.function(input_signature=signature, jit_compile=jit_compile)
    def compiled(teacher, student):
        traces.append(1)
        return to_common_size(teacher, student)

    for t, s in [((4, 8, 6, 3), (4, 5, 4, 2)), ((1, 5, 6, 3), (1, 5, 12, 2))]:
        given = maps(t), maps(s, seed=1)
        for found, want in zip(
            compiled(*given), oracle.to_common_size(*given), strict=True
        ):
            assert_allclose(found, want, atol=1e-12)
    assert len(traces) == 1


def test_each_axis_is_pooled_to_the_smaller_side():
    given = maps((2, 8, 3, 5)), maps((2, 4, 6, 2), seed=1)
    for found, want in zip(
        to_common_size(*given), oracle.to_common_size(*given), strict=True
    ):
        assert_allclose(found, want, atol=1e-12)


def test_maps_of_one_size_are_left_as_they_are():
    teacher, student = maps((2, 4, 3, 5)), maps((2, 4, 3, 2))
    for found, want in zip(
        to_common_size(teacher, student), (teacher, student), strict=True
    ):
        assert_array_equal(found, want)


@pytest.mark.parametrize("rows", [0, 1])
@pytest.mark.parametrize("cells", [2, 3], ids=["blocks", "overlapping"])
def test_a_batch_may_be_empty(cells, rows):
    signature = [tf.TensorSpec((None, 4, 4, 2))]
    compiled = tf.function(
        lambda x: adaptive_average_pool(x, cells), input_signature=signature
    )
    assert compiled(maps((rows, 4, 4, 2), dtype="float32")).shape[:2] == (rows, cells)


@pytest.mark.parametrize("size", [5, 0, (2,), (2, 2, 2), (2, 5)], ids=str)
def test_a_size_that_the_map_has_not_is_refused(size):
    with pytest.raises(ValueError, match=r"`size` .* \(2, 4, 4, 3\)"):
        adaptive_average_pool(maps((2, 4, 4, 3)), size)
