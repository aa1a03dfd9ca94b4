"""Checks of what only the run tells, such as a length: part of the graph."""

import keras
from keras import ops


def held_to_sizes(teacher, sizes, axes):
    """`teacher`, or an error in the run if its sizes along `axes` are not `sizes`."""
    own = ops.shape(teacher)
    if keras.backend.backend() == "tensorflow":
        teacher = _asserted(teacher, own, sizes, axes)
    # XLA leaves assertions out: a reshape fails there, where a sum would broadcast.
    target = [sizes[i] if i in axes else own[i] for i in range(len(own))]
    return ops.reshape(teacher, target)


def _asserted(teacher, own, sizes, axes):
    import tensorflow as tf  # only here: the rest of this module is keras.ops

    rule = (
        "Teacher and student must have as many examples and positions (tokens, "
        "pixels): they are compared position by position and none is repeated to fit. "
        "Give both models the same inputs, or compare layers behind a pooling. Sizes "
        "received (teacher, student):"
    )
    ours, theirs = (tf.stack([s[i] for i in axes]) for s in (sizes, own))
    holds = tf.reduce_all(tf.equal(ours, theirs))
    with tf.control_dependencies([tf.debugging.Assert(holds, [rule, theirs, ours])]):
        return tf.identity(teacher)
