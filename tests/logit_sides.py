"""Both sides of a comparison, easy and hard, and derivatives by either of them."""

import keras
import numpy as np
import tensorflow as tf
from keras import ops

DTYPES = ["float16", "bfloat16", "float32", "float64"]


def sides(shape=(8, 6), seed=0, dtype="float64"):
    """Teacher and student, unrelated: `(2, *shape)`."""
    return np.random.default_rng(seed).normal(size=(2, *shape)).astype(dtype)


def sides_by_kind(shape):
    """Teacher and student logits, by what makes them difficult."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, *shape))
    sign_a, sign_b = rng.choice([-1.0, 1.0], size=(2, *shape))
    return {
        "unit": (a, b),
        "sharp": (30 * a, 30 * b),
        "one side sharp": (a, 30 * b),
        "+-1e4": (1e4 * sign_a, 1e4 * sign_b),
        "around 1e4": (1e4 * a, 1e4 * b),
        "far from 0": (1e4 + a, b - 1e4),
        "near": (a, a + 1e-3 * b),
        "very near": (a, a + 1e-6 * b),
        "large and near": (1e4 * a, 1e4 * a + b),
        "equal": (a, a),
    }


def all_sides(shape):
    """All of these as one batch: teacher and student, `(10 * batch, ...)`."""
    return np.concatenate(list(sides_by_kind(shape).values()), axis=1).reshape(
        2, -1, *shape[1:]
    )


def wider_sides_by_kind(shape):
    """These and more: margins between classes, and a student that says nothing."""
    sides = sides_by_kind(shape)
    a, b = sides["unit"]
    margin = np.where(np.arange(shape[-1]) == 1, 500.0, 0.0)
    return sides | {
        "margins of 500": (a + margin, b + margin),
        "a margin of 500 lost": (a + margin, b - margin),
        "uniform student": (a, np.zeros_like(a)),
    }


def stacked_sides(shape):
    """Names of the wider kinds, and both sides of all: `(kinds, *shape)`."""
    sides = wider_sides_by_kind(shape)
    return list(sides), *np.stack(list(sides.values()), axis=1)


def rounded(dtype, *sides):
    """What the loss sees in `dtype`, and the same numbers in float64."""
    given = [ops.cast(side, dtype) for side in sides]
    return given, [ops.convert_to_numpy(ops.cast(side, "float64")) for side in given]


def gradient(function, teacher, student, of):
    with tf.GradientTape() as tape:
        tape.watch([teacher, student])
        value = function(teacher, student)
    return tape.gradient(value, teacher if of == "teacher" else student)


def differences(function, teacher, student, step=1e-5):
    """Central differences of values (batch, ...) by the student's logits, float64."""
    columns = []
    for k in range(student.shape[-1]):
        shift = step * np.eye(student.shape[-1])[k]
        ahead, behind = (
            ops.convert_to_numpy(function(teacher, student + sign * shift))
            for sign in (1, -1)
        )
        columns.append((ahead - behind) / (2 * step))
    return np.stack(columns, axis=-1)


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
        sides = [np.array(teacher), np.array(student)]
        gradient = np.zeros(sides[side].shape)
        for index in np.ndindex(gradient.shape):
            ends = []
            for sign in (1, -1):
                moved = [array.copy() for array in sides]
                moved[side][index] += sign * step
                ends.append(np.sum(np.asarray(function(*moved))))
            gradient[index] = (ends[0] - ends[1]) / (2 * step)
        found.append(gradient)
    return found


def values_of_unknown_batch(function, shape, rows):
    """Values and gradients of so many rows, of which the graph does not know."""
    spec = tf.TensorSpec([None, *shape], "float32")

    @tf.function(input_signature=[spec, spec], reduce_retracing=True)
    def step(teacher, student):
        with tf.GradientTape() as tape:
            tape.watch(student)
            values = function(teacher, student)
        return values, tape.gradient(values, student)

    teacher, student = np.random.default_rng(0).normal(size=(2, rows, *shape))
    found = step(teacher.astype("float32"), student.astype("float32"))
    return keras.tree.map_structure(ops.convert_to_numpy, found)
