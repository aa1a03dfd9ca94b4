"""Features, derivatives and a pair of networks: what tests of feature losses share."""

import keras
import numpy as np
import tensorflow as tf
from keras import ops


def features(shape, seed=0, dtype="float64"):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def rounded(dtype, *sides):
    """What the loss sees in `dtype`, and the same numbers in float64."""
    given = [ops.cast(side, dtype) for side in sides]
    return given, [ops.convert_to_numpy(ops.cast(side, "float64")) for side in given]


def gradients(function, teacher, student):
    """Of the sum of the values, with respect to both sides."""
    sides = [tf.constant(teacher), tf.constant(student)]
    with tf.GradientTape() as tape:
        tape.watch(sides)
        value = tf.reduce_sum(function(*sides))
    return [side.numpy() for side in tape.gradient(value, sides)]


def central_differences(function, teacher, student, step=1e-6):
    """The same, from values of a float64 function alone."""
    found = []
    for side in (0, 1):
        sides = [np.array(teacher), np.array(student)]
        gradient = np.zeros(sides[side].shape)
        for index in np.ndindex(gradient.shape):
            ends = []
            for sign in (1, -1):
                moved = [array.copy() for array in sides]
                moved[side][index] += sign * step
                ends.append(np.sum(function(*moved)))
            gradient[index] = (ends[0] - ends[1]) / (2 * step)
        found.append(gradient)
    return found


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
