"""Seeds of stateless random numbers, one stream for each random thing of a pipeline.

A seed holds four numbers side by side, so no two streams share one: which run (`seed`),
which operation (`name`), which example (`index`), which pass over the data (`view`).
TensorFlow scrambles a seed before use, so neighbours give unrelated numbers.
"""

import zlib

import tensorflow as tf

from keras_kd._common import checks

MAX_SEED = 2**31  # of a run
VIEW_BITS = 24  # 16 million passes


def stateless_seed(seed, name, index, view):
    """The seed for `tf.random.stateless_*`: int64 of shape `(2,)`, or `(batch, 2)`.

    Args:
        seed: Python integer, 0 <= seed < 2**31.
        name: String that names the operation, with its place where it may stand twice.
        index: Integer tensor, the number of the example in its source, or one a row.
        view: Integer tensor like `index`: the number of the pass over the data.
    """
    run = (zlib.crc32(name.encode()) << 31) | seed
    place = tf.bitwise.left_shift(
        tf.cast(index, tf.int64), tf.constant(VIEW_BITS, tf.int64)
    ) + tf.cast(view, tf.int64)
    return tf.stack([tf.fill(tf.shape(place), tf.constant(run, tf.int64)), place], -1)


def check_seed(seed):
    """`seed` as a Python int, or an error."""
    number = checks.check_whole_number("seed", seed, at_least=0)
    if number >= MAX_SEED:
        raise ValueError(f"`seed` must be below 2**31. Received: seed={seed!r}.")
    return number
