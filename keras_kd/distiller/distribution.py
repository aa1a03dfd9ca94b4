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


class BuildBeforeReplicas:
    """Mix-in before `keras.Model`: what the first batch sizes is made outside replicas.

    Under a strategy Keras builds a model on a symbolic batch before it starts the
    replicas, in which no variable can be made any more. `_make_variables(data)` takes
    part in that where `_has_all_variables()` is false.
    """

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        # Keras takes the mean of the replicas' parts of a first batch. That fails on
        # unequal ones, and the batch is gone: sources count it as a pass.
        strategy = self._distribute_strategy
        if strategy is not None and iterator is not None:
            data_batch = _first_batch(iterator, strategy)
            iterator = None
        super()._maybe_symbolic_build(iterator=iterator, data_batch=data_batch)

    def _symbolic_build(self, iterator=None, data_batch=None):
        if data_batch is not None and not self._has_all_variables():
            spec = keras.tree.map_structure(_spec, data_batch)
            trace = tf.function(self._make_variables, autograph=False)
            with keras.StatelessScope():  # on leaving it, Keras initialises variables
                trace.get_concrete_function(spec)
        super()._symbolic_build(iterator=iterator, data_batch=data_batch)


def _first_batch(iterator, strategy):
    """What says the shapes of a batch: specs, or a part of one where there are none."""
    dataset = iterator.data_adapter.get_tf_dataset()
    if isinstance(dataset, tf.data.Dataset):
        return dataset.element_spec
    for _, _, parts in iterator:
        return keras.tree.map_structure(
            lambda part: strategy.experimental_local_results(part)[0], next(parts)
        )


def _spec(tensor):
    return None if tensor is None else tf.TensorSpec(tensor.shape, tensor.dtype)
