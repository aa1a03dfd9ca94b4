"""Batch normalisation by TensorFlow's fused kernel, for the length of a forward pass.

Keras 3.15 computes it by separate operations, which take longer and keep more arrays
for the backward pass. Layers stay what they are: only which operations a graph gets
differs, and moving statistics follow Keras's own formula.
"""

import contextlib
import functools
import threading

import keras
import tensorflow as tf

_BatchNormalization = keras.layers.BatchNormalization
_keras_call = _BatchNormalization.call
_lock = threading.Lock()
_passes = 0  # under way, in any thread
_thread = threading.local()  # replicas of one step are traced in threads of their own


@contextlib.contextmanager
def fused_batch_norm():
    """A scope in which `BatchNormalization` layers traced in a graph run fused.

    Outputs, gradients and moving statistics are Keras's up to rounding. Layers that
    the kernel does not fit run as always: of other ranks than 4 or another axis than
    the last, with a mask, with `renorm` or `synchronized`, in float64, and subclasses.
    """
    global _passes
    if tf.executing_eagerly():
        yield
        return
    before = getattr(_thread, "fuses", False)
    with _lock:
        _passes += 1
        _BatchNormalization.call = _call
    _thread.fuses = True
    try:
        yield
    finally:
        _thread.fuses = before
        with _lock:
            _passes -= 1
            if not _passes:
                _BatchNormalization.call = _keras_call


@functools.wraps(_keras_call)
def _call(layer, inputs, training=None, mask=None):
    if not (getattr(_thread, "fuses", False) and _fits(layer, inputs, mask)):
        return _keras_call(layer, inputs, training=training, mask=mask)
    channels = inputs.shape[-1]
    scale = layer.gamma if layer.scale else tf.ones([channels])
    offset = layer.beta if layer.center else tf.zeros([channels])
    moving = layer.moving_mean, layer.moving_variance
    scale, offset, mean, variance = (
        tf.cast(tf.convert_to_tensor(v), tf.float32) for v in (scale, offset, *moving)
    )
    kernel = functools.partial(
        tf.raw_ops.FusedBatchNormV3,  # the function above it raises a small epsilon
        x=inputs,
        scale=scale,
        offset=offset,
        epsilon=layer.epsilon,
    )
    if not (training and layer.trainable):
        return kernel(mean=mean, variance=variance, is_training=False).y
    none = tf.zeros([0])
    found = kernel(mean=none, variance=none, is_training=True)
    # The kernel divides by N - 1, Keras by N.
    count = tf.cast(tf.size(inputs) // channels, tf.float32)
    biased = found.batch_variance * (tf.maximum(count - 1.0, 1.0) / count)
    old, new = layer.momentum, 1.0 - layer.momentum
    layer.moving_mean.assign(mean * old + found.batch_mean * new)
    layer.moving_variance.assign(variance * old + biased * new)
    return found.y


def _fits(layer, inputs, mask):
    return (
        type(layer) is _BatchNormalization
        and tf.is_tensor(inputs)
        and not tf.executing_eagerly()
        and mask is None
        and inputs.shape.rank == 4
        and inputs.shape[-1] is not None
        and layer.axis in (-1, 3)
        and not layer.renorm
        and not layer.synchronized
        and inputs.dtype in (tf.float16, tf.bfloat16, tf.float32)
        and inputs.dtype.name == layer.compute_dtype
    )
