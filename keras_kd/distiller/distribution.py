"""What a step must know of the replicas that run beside it."""

import keras
import tensorflow as tf


def num_replicas():
    return tf.distribute.get_strategy().num_replicas_in_sync


def global_sum(local):
    """Sum of a tensor over all replicas (inside a step: replica context)."""
    if num_replicas() == 1:
        return local
    return tf.distribute.get_replica_context().all_reduce("SUM", local)


def gather_rows(structure):
    """Rows of all replicas, in their order."""
    if _is_alone():
        return structure
    context = tf.distribute.get_replica_context()

    def gather(tensor):
        # Devices exchange no bools or small integers, which masks and labels may be.
        exchanged = tensor.dtype if tensor.dtype.size >= 4 else _wider(tensor.dtype)
        rows = context.all_gather(tf.cast(tensor, exchanged), axis=0)
        # It forgets the shape.
        rows = tf.ensure_shape(rows, [None, *tensor.shape[1:]])
        return tf.cast(rows, tensor.dtype)

    return keras.tree.map_structure(gather, structure)


def _wider(dtype):
    return tf.float32 if dtype.is_floating else tf.int32


def _is_alone():
    """Whether no replica runs beside: one device, or a model that is being built."""
    return num_replicas() == 1 or tf.distribute.in_cross_replica_context()


def own_rows(gathered, size):
    """Of rows of all replicas, the `size` ones of this replica."""
    if _is_alone():
        return gathered
    context = tf.distribute.get_replica_context()
    sizes = context.all_gather(tf.reshape(size, [1]), axis=0)
    begin = tf.reduce_sum(sizes[: context.replica_id_in_sync_group])
    return gathered[begin : begin + size]
