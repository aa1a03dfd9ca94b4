"""Convolutional networks on which every loss can train, and the loss for them."""

import keras
from test_contracts import LAYERS, arguments_of

from keras_kd import losses


def networks(teacher_width=6, student_width=6, dtype=None):
    return convolutional("teacher", teacher_width, seed=1), convolutional(
        "student", student_width, seed=2, dtype=dtype
    )


def convolutional(name, width, seed, dtype=None):
    keras.utils.set_random_seed(seed)
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(
                width, 3, strides=2, activation="relu", name="maps", dtype=dtype
            ),
            layers.Flatten(dtype=dtype),
            layers.Dense(2 * width, activation="relu", name="features", dtype=dtype),
            layers.Dense(10, name="logits", dtype=dtype),
        ],
        name=name,
    )


def make(cls, **arguments):
    """Losses of features compare maps."""
    maps = dict.fromkeys(LAYERS, "maps") if issubclass(cls, losses.FeatureLoss) else {}
    return cls(**(arguments_of(cls) | maps | arguments))
