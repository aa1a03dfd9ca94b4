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


class BuildBeforeReplicas:
    """Mix-in before `keras.Model`: what the first batch sizes is made outside replicas.

    Under a strategy Keras builds a model on a symbolic batch before it starts the
    replicas, in which no variable can be made any more. `_make_variables(data)` takes
    part in that where `_has_all_variables()` is false.
    """

    def _symbolic_build(self, iterator=None, data_batch=None):
        if data_batch is not None and not self._has_all_variables():
            spec = keras.tree.map_structure(_spec, data_batch)
            trace = tf.function(self._make_variables, autograph=False)
            with keras.StatelessScope():  # on leaving it, Keras initialises variables
                trace.get_concrete_function(spec)
        super()._symbolic_build(iterator=iterator, data_batch=data_batch)


def _spec(tensor):
    return None if tensor is None else tf.TensorSpec(tensor.shape, tensor.dtype)
