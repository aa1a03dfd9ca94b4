"""Moving pixels by a matrix: every output pixel names the place it is read from."""

import math

import tensorflow as tf

from keras_kd._common import checks
from keras_kd.data.ops.base import size_of, with_shape

INTERPOLATIONS = ("nearest", "bilinear")


def warp(image, matrix, *, interpolation="nearest", fill=0.0):
    """Read output pixel (x, y) at the place that the matrix gives.

    Args:
        image: `(height, width, channels)`.
        matrix: Eight numbers a..h, a tensor or a list: the place is
            `((a x + b y + c) / k, (d x + e y + f) / k)` with `k = g x + h y + 1`.
            (0, 0) is the middle of the upper left pixel.
        interpolation: `"nearest"` or `"bilinear"`.
        fill: What lies outside the image.
    """
    warped = tf.raw_ops.ImageProjectiveTransformV3(
        images=tf.expand_dims(image, 0),
        transforms=tf.reshape(tf.cast(tf.stack(matrix), tf.float32), [1, 8]),
        output_shape=tf.shape(image)[:2],
        fill_value=fill,
        interpolation=interpolation.upper(),
        fill_mode="CONSTANT",
    )
    return with_shape(tf.squeeze(warped, 0), image.shape)


def rotate(image, degrees, *, interpolation="nearest", fill=0.0):
    """Rotate about the middle, counter-clockwise, without changing the size."""
    y, x = (tf.cast(n - 1, tf.float32) * 0.5 for n in size_of(image))
    angle = tf.cast(degrees, tf.float32) * (math.pi / 180)
    turn = tf.cos(angle) * tf.stack([1, 0, -x, 0, 1, -y, 0, 0]) - tf.sin(
        angle
    ) * tf.stack([0, 1, -y, -1, 0, x, 0, 0])
    # A check of the shape keeps graph optimisers from moving the constant about.
    matrix = tf.ensure_shape(turn, [8]) + tf.stack([0, 0, x, 0, 0, y, 0, 0])
    return warp(image, matrix, interpolation=interpolation, fill=fill)


def shear_x(image, amount, *, fill=0.0):
    """Read each row `amount` pixels further right than the row above it."""
    amount = tf.cast(amount, tf.float32)
    # Rows are half a pixel further from the corner that stays than their number says.
    return warp(image, _rows([1.0, amount, amount * 0.5], [0.0, 1.0, 0.0]), fill=fill)


def shear_y(image, amount, *, fill=0.0):
    """Read each column `amount` pixels further down than the one left of it."""
    amount = tf.cast(amount, tf.float32)
    return warp(image, _rows([1.0, 0.0, 0.0], [amount, 1.0, amount * 0.5]), fill=fill)


def translate(image, x, y, *, fill=0.0):
    """Move right by `x` and down by `y` pixels."""
    x, y = tf.cast(x, tf.float32), tf.cast(y, tf.float32)
    return warp(image, _rows([1.0, 0.0, -x], [0.0, 1.0, -y]), fill=fill)


def perspective(image, corners, *, interpolation="bilinear", fill=0.0):
    """Move the four corners to new places, and straight lines to straight lines.

    As in torchvision and Pillow, the corners of an image are the points (0, 0) to
    (width - 1, height - 1), and pixel (x, y) is read at (x + 1/2, y + 1/2).

    Args:
        image: `(height, width, channels)`.
        corners: `(4, 2)`, x and y where the upper left, upper right, lower right and
            lower left corner go.
        interpolation: `"nearest"` or `"bilinear"`.
        fill: What lies outside the image.
    """
    size = tf.unstack(tf.cast(tf.shape(image)[:2], tf.float64))
    bottom, right = (n - 1 for n in size)
    zero = tf.zeros([], tf.float64)
    source = tf.stack([zero, zero, right, zero, right, bottom, zero, bottom])
    x, y = tf.unstack(tf.cast(corners, tf.float64), axis=-1)
    none, one = tf.zeros_like(x), tf.ones_like(x)
    source_x, source_y = source[0::2], source[1::2]
    # Two equations a corner: its source, times the denominator, is the numerator.
    for_x = tf.stack([x, y, one, none, none, none, -x * source_x, -y * source_x], -1)
    for_y = tf.stack([none, none, none, x, y, one, -x * source_y, -y * source_y], -1)
    equations = tf.concat([for_x, for_y], 0)
    values = tf.concat([source_x, source_y], 0)
    matrix = tf.linalg.solve(equations, values[:, tf.newaxis])[:, 0]
    matrix = _from_corners_of_pixels(matrix)
    return warp(image, matrix, interpolation=interpolation, fill=fill)


def _from_corners_of_pixels(matrix):
    """Of `warp`'s eight numbers, those for places counted from pixels' middles.

    Moves half a pixel to their corners, applies the matrix, and moves back.
    """
    matrix = tf.reshape(tf.concat([matrix, tf.ones([1], matrix.dtype)], 0), [3, 3])
    to_corners = tf.constant([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]], matrix.dtype)
    back = tf.constant([[1, 0, -0.5], [0, 1, -0.5], [0, 0, 1]], matrix.dtype)
    matrix = tf.reshape(tf.matmul(back, tf.matmul(matrix, to_corners)), [9])
    return matrix[:8] / matrix[8]


def check_interpolation(value):
    """`value` when it is an interpolation of `warp`, or an error."""
    return checks.check_choice("interpolation", value, INTERPOLATIONS)


def _rows(x_row, y_row):
    return [*map(tf.convert_to_tensor, [*x_row, *y_row, 0.0, 0.0])]
