"""The strategies between which tests compare: one device, and two replicas."""

import functools

import tensorflow as tf


def on_one_device():
    return tf.distribute.get_strategy()


@functools.cache
def on_two_devices():
    """One strategy for all tests: TensorFlow numbers the collectives of each alike."""
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


def on_each():
    """Both, to run the same twice."""
    return on_one_device(), on_two_devices()
