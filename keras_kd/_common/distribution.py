"""What a step must know of the replicas that run beside it."""

import tensorflow as tf


def num_replicas():
    return tf.distribute.get_strategy().num_replicas_in_sync


def global_sum(local):
    """Sum of a tensor over all replicas (inside a step: replica context)."""
    if num_replicas() == 1:
        return local
    return tf.distribute.get_replica_context().all_reduce("SUM", local)
