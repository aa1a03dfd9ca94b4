"""Images and draws that the tests of augmentation share."""

import numpy as np
import tensorflow as tf

from keras_kd.data._seeds import stateless_seed

DRAWS = 5000


def noise(*shape, seed=0):
    """uint8 noise."""
    return np.random.default_rng(seed).integers(0, 256, shape, dtype="uint8")


def unit(*shape, seed=0):
    """The same noise as float32 in [0, 1]."""
    return noise(*shape, seed=seed).astype("float32") * np.float32(1 / 255)


def draws(op, size=None, count=DRAWS, stream="here/0"):
    """Parameters of `count` views as one dict of arrays, drawn in one graph."""
    seeds = stateless_seed(11, stream, tf.range(count, dtype=tf.int64), 0)
    drawn = tf.data.Dataset.from_tensor_slices(seeds).map(lambda s: op.draw(s, size))
    return {k: v.numpy() for k, v in next(iter(drawn.batch(count))).items()}


def uniform_p(numbers, low, high):
    """p-value of Kolmogorov-Smirnov against U(low, high)."""
    from scipy import stats

    return stats.kstest(numbers, "uniform", args=(low, high - low)).pvalue


def equal_chances_p(numbers, choices):
    """p-value of chi-square against equal chances of 0 .. choices - 1."""
    from scipy import stats

    counts = np.bincount(numbers, minlength=choices)
    assert len(counts) == choices, "a number outside of the range was drawn"
    return stats.chisquare(counts).pvalue


def examples(images, view=0):
    """A dataset of examples with labels."""
    numbers = np.arange(len(images))
    return tf.data.Dataset.from_tensor_slices(
        {
            "index": numbers,
            "view": np.full(len(images), view),
            "image": images,
            "label": numbers % 10,
        }
    )
