"""Pairs of logits that are difficult, and derivatives: what tests of losses share."""

import numpy as np
import tensorflow as tf
from keras import ops


def sides_by_kind(shape):
    """Teacher and student logits, by what makes them difficult."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, *shape))
    sign_a, sign_b = rng.choice([-1.0, 1.0], size=(2, *shape))
    margin = np.where(np.arange(shape[-1]) == 1, 500.0, 0.0)
    return {
        "unit": (a, b),
        "sharp": (30 * a, 30 * b),
        "one side sharp": (a, 30 * b),
        "margins of 500": (a + margin, b + margin),
        "a margin of 500 lost": (a + margin, b - margin),
        "+-1e4": (1e4 * sign_a, 1e4 * sign_b),
        "around 1e4": (1e4 * a, 1e4 * b),
        "far from 0": (1e4 + a, b - 1e4),
        "near": (a, a + 1e-3 * b),
        "very near": (a, a + 1e-6 * b),
        "large and near": (1e4 * a, 1e4 * a + b),
        "equal": (a, a),
        "uniform student": (a, np.zeros_like(a)),
    }


def stacked_sides(shape):
    """Names of the kinds, and both sides of all: `(kinds, *shape)`."""
    sides = sides_by_kind(shape)
    return list(sides), *np.stack(list(sides.values()), axis=1)


def rounded(dtype, *sides):
    """What the loss sees in `dtype`, and the same numbers in float64."""
    given = [ops.cast(side, dtype) for side in sides]
    return given, [ops.convert_to_numpy(ops.cast(side, "float64")) for side in given]


def gradients(function, teacher, student):
    """Of the sum of the values, with respect to both sides."""
    teacher, student = tf.constant(teacher), tf.constant(student)
    with tf.GradientTape() as tape:
        tape.watch([teacher, student])
        value = tf.reduce_sum(function(teacher, student))
    return [np.asarray(side) for side in tape.gradient(value, [teacher, student])]


def central_differences(function, teacher, student, step=1e-5):
    """The same in float64, from values alone."""
    found = []
    for side in (0, 1):
        gradient = np.zeros(np.shape(student))
        for index in np.ndindex(gradient.shape):
            totals = []
            for sign in (1, -1):
                sides = [np.array(teacher), np.array(student)]
                sides[side][index] += sign * step
                totals.append(np.sum(np.asarray(function(*sides))))
            gradient[index] = (totals[0] - totals[1]) / (2 * step)
        found.append(gradient)
    return found
