"""Functions of rows in chunks give what they give of all rows at once."""

import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from numpy.testing import assert_array_equal

from keras_kd._common.row_chunks import in_chunks


def gap(teacher, student):
    return ops.sum(ops.abs(teacher - student), axis=-1)


def arrays(*shape):
    return np.random.default_rng(0).integers(0, 9, (2, *shape)).astype("float32")


@pytest.mark.parametrize("shape", [(5, 3), (4, 6, 3), (2, 3, 5, 3), (0, 4, 3)], ids=str)
@pytest.mark.parametrize("size", [1, 4, 7, 1000])
def test_chunks_of_any_size_give_the_whole(shape, size):
    sides = arrays(*shape)
    found = in_chunks(gap, *sides, chunk_size=size)
    assert_array_equal(found, gap(*sides))
    assert found.shape == shape[:-1]


@pytest.mark.parametrize("jit_compile", [False, True])
def test_lengths_that_only_the_run_tells(jit_compile):
    spec = tf.TensorSpec([None, None, 3])

    @tf.function(input_signature=[spec, spec], jit_compile=jit_compile)
    def chunked(*sides):
        return in_chunks(gap, *sides, chunk_size=4)

    for shape in [(3, 7, 3), (1, 1, 3), (0, 7, 3)]:
        sides = arrays(*shape)
        assert_array_equal(chunked(*sides), gap(*sides))


def test_rows_are_seen_in_chunks():
    seen = []

    def record(teacher, student):
        seen.append(tuple(student.shape))
        return gap(teacher, student)

    in_chunks(record, *arrays(4, 6, 3), chunk_size=10)
    assert seen == [(10, 3)] * 3
    seen.clear()
    in_chunks(record, *arrays(24, 3), chunk_size=10)  # no positions: as they are
    assert seen == [(24, 3)]
