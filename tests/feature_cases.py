"""Features, and a pair of networks: what tests of feature losses share."""

import keras
import numpy as np


def features(shape, seed=0, dtype="float64"):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def network(name, filters, strides, seed):
    """Two stages, of `(8 / strides)^2` and `(8 / strides / 2)^2` cells, and a head."""
    layers = keras.layers
    init = [keras.initializers.HeNormal(seed=10 * seed + i) for i in range(3)]
    options = {"padding": "same", "activation": "relu"}
    x = inputs = keras.Input((8, 8, 1), name="x")
    for stage, stride in ((1, strides), (2, 2)):
        x = layers.Conv2D(
            stage * filters,
            3,
            stride,
            name=f"stage{stage}",
            kernel_initializer=init[stage - 1],
            **options,
        )(x)
    x = layers.GlobalAveragePooling2D(name="features")(x)
    x = layers.Dense(3, name="logits", kernel_initializer=init[2])(x)
    return keras.Model(inputs, x, name=name)


def teacher_and_student():
    """Maps of 8x8x6 and 4x4x12 in the teacher, 4x4x4 and 2x2x8 in the student."""
    return network("teacher", 6, 1, seed=1), network("student", 4, 2, seed=2)


def images(size=16, seed=3):
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(size, 8, 8, 1)).astype("float32")
    return x, generator.integers(0, 3, size).astype("int32")
