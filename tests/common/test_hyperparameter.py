"""A number that a compiled step reads as a variable."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_kd._common.hyperparameter import Hyperparameter


def test_gives_the_number_as_given():
    number = Hyperparameter(0.1, "rate")
    assert float(number) == 0.1  # a float32 would give 0.10000000149
    number.assign(0.3)
    assert float(number) == 0.3


def test_gives_what_a_graph_assigned():
    number = Hyperparameter(0.1, "rate")

    @tf.function
    def halve():
        number._variable.assign(number.tensor / 2)

    halve()
    assert float(number) == np.float32(0.1) / 2


@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_compiled_function_reads_the_present_value(jit_compile):
    number, traces = Hyperparameter(1.0, "rate"), []

    @tf.function(jit_compile=jit_compile)
    def read():
        traces.append(1)
        return 2 * number.tensor

    for value in (1.0, 5.0, 0.25):
        number.assign(value)
        assert read() == 2 * value
    assert len(traces) == 1


def test_is_no_weight_of_the_layer_that_holds_it():
    layer = keras.layers.Dense(2)
    layer.rate = Hyperparameter(1.0, "rate")
    layer.build((None, 3))
    assert [v.name for v in layer.variables] == ["kernel", "bias"]
