"""The lines that only TensorFlow has: a trainer for another backend replaces them.

TensorFlow is imported where it is needed, so that what is of keras.ops alone (losses,
metrics, models) may import this module under any backend.
"""

import keras
from keras import ops


def value_and_gradients(function, variables):
    """`(function(), gradients)` of a scalar function of Keras variables."""
    import tensorflow as tf

    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch([variable.value for variable in variables])
        value = function()
    return value, tape.gradient(value, [variable.value for variable in variables])


def asserted_equal(tensor, first, second, rule):
    """`tensor`, or an error in the run that says `rule` where two lists differ.

    Other backends have no assertion that is part of a graph, and XLA leaves it out.

    Args:
        tensor: What must not be read where the lists differ.
        first: Whole numbers that only the run may tell.
        second: As many.
        rule: Text of the error; both lists follow it.
    """
    if keras.backend.backend() != "tensorflow":
        return tensor
    import tensorflow as tf

    first, second = tf.stack(first), tf.stack(second)
    holds = tf.reduce_all(tf.equal(first, second))
    with tf.control_dependencies(
        [tf.raw_ops.Assert(condition=holds, data=[rule, first, second])]
    ):
        return tf.identity(tensor)


def one_after_another(count, body, result):
    """`result` after `result = body(i, result)` for each `i` below `count`."""
    if keras.backend.backend() != "tensorflow":
        return ops.fori_loop(0, count, body, result)
    import tensorflow as tf

    # By default ten iterations run at once, each with intermediates of its own.
    return tf.while_loop(
        lambda i, _: i < count,
        lambda i, result: (i + 1, body(i, result)),
        (0, result),
        parallel_iterations=1,
    )[1]


def with_rows(array, start, rows):
    """`array` with the rows from `start` on replaced, in place where that is seen.

    TensorFlow's scatter copies the whole array on a CPU, each time. Its assignment to a
    slice does not, but XLA (where scatters are in place) takes none at a place that is
    not constant.
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf
        from tensorflow.python.ops import control_flow_util as control_flow

        graph = tf.compat.v1.get_default_graph()
        if not tf.executing_eagerly() and not control_flow.GraphOrParentsInXlaContext(
            graph
        ):
            return tf.raw_ops.TensorStridedSliceUpdate(
                input=array,
                begin=[start],
                end=[start + tf.shape(rows)[0]],
                strides=[1],
                value=rows,
            )
    indices = ops.expand_dims(start + ops.arange(ops.shape(rows)[0]), axis=-1)
    return ops.scatter_update(array, indices, rows)
