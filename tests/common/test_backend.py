"""What TensorFlow alone has: gradients, assertions in a graph, loops in order."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from numpy.testing import assert_array_equal

from keras_kd._common import backend


def test_the_gradient_of_a_polynomial():
    x, y = keras.Variable([1.0, 2.0]), keras.Variable(3.0)
    value, gradients = backend.value_and_gradients(lambda: ops.sum(x**2) * y, [x, y])
    assert value == 15
    assert_array_equal(gradients[0], [6, 12])
    assert gradients[1] == 5


def test_lists_of_the_run_are_compared_and_said():
    @tf.function(input_signature=[tf.TensorSpec([None, None])] * 2)
    def first_of(a, b):
        return backend.asserted_equal(a, ops.shape(a), ops.shape(b), "One shape:") + 0

    ones = np.ones((2, 3), "float32")
    assert_array_equal(first_of(ones, ones), ones)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"One shape:.*2 3.*2 2"):
        first_of(ones, ones[:, :2])


@pytest.mark.parametrize("in_graph", [False, True])
def test_a_loop_passes_its_result_on(in_graph):
    def digits(count):
        return backend.one_after_another(count, lambda i, seen: 10 * seen + i, 0)

    run = tf.function(digits, autograph=False) if in_graph else digits
    assert run(tf.constant(4)) == 123
    assert run(tf.constant(0)) == 0
