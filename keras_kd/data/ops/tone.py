"""Curves of single pixel values: invert, solarise, posterise, stretch, equalise.

Every function takes float32 images in [0, 1]. Those that are defined on 8 bits round
to the nearest of 256 levels first.
"""

import tensorflow as tf

LEVELS = 256


def invert(image):
    """One minus each pixel."""
    return 1 - image


def solarize(image, threshold):
    """Invert the pixels of at least `threshold`, in [0, 1]."""
    return tf.where(image >= threshold, 1 - image, image)


def posterize(image, bits):
    """Keep the highest `bits` (0 to 8) of each pixel's 8 bits."""
    step = tf.bitwise.left_shift(1, 8 - tf.cast(bits, tf.int32))
    levels = to_levels(image)
    return from_levels(levels - levels % step)


def autocontrast(image):
    """Stretch each channel so that it reaches from 0 to 1; flat ones stay."""
    low = tf.reduce_min(image, axis=[0, 1])
    span = tf.reduce_max(image, axis=[0, 1]) - low
    flat = tf.equal(span, 0)
    stretched = (image - low) / tf.where(flat, 1.0, span)
    return tf.where(flat, image, stretched)


def equalize(image):
    """Spread each channel's 256 levels so that all are about as frequent.

    As in Pillow: the last level that occurs counts for nothing in the width of a step,
    and a channel too flat to have one stays.
    """
    levels = to_levels(image)
    channels = tf.transpose(tf.reshape(levels, [-1, image.shape[-1]]))
    counts = tf.math.bincount(channels, minlength=LEVELS, maxlength=LEVELS, axis=-1)
    below = tf.cumsum(counts, axis=-1, exclusive=True)
    pixels = tf.reduce_sum(counts, axis=-1, keepdims=True)
    last = tf.reduce_max(channels, axis=-1, keepdims=True)
    step = (pixels - tf.gather(counts, last, batch_dims=1)) // (LEVELS - 1)
    table = (below + step // 2) // tf.maximum(step, 1)
    table = tf.where(step > 0, tf.minimum(table, LEVELS - 1), tf.range(LEVELS))
    spread = tf.gather(table, channels, batch_dims=1)
    return from_levels(tf.reshape(tf.transpose(spread), tf.shape(image)))


def to_levels(image):
    """The nearest of the 256 levels, int32."""
    return tf.cast(tf.round(image * (LEVELS - 1)), tf.int32)


def from_levels(levels):
    """Levels 0 .. 255 as float32 in [0, 1]."""
    return tf.cast(levels, tf.float32) * (1 / (LEVELS - 1))
