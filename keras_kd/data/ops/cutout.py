"""Hiding squares of an image."""

import dataclasses
from typing import ClassVar

import keras
import tensorflow as tf

from keras_kd._common import checks
from keras_kd.data.ops.base import ImageOp, size_of, uniform, whole


def cut_out(image, centers, length):
    """Make squares of `length` pixels black.

    Args:
        image: `(height, width, channels)`.
        centers: `(holes, 2)`, row and column. A hole begins `length // 2` before
            its centre and ends as far behind it, and may reach over the edge.
        length: Side of a hole, in pixels.
    """
    half = length // 2
    rows, columns = (
        (places >= center - half) & (places < center + half)
        for center, places in zip(
            tf.split(centers, 2, axis=-1), map(tf.range, size_of(image)), strict=True
        )
    )
    holes = rows[:, :, tf.newaxis] & columns[:, tf.newaxis, :]
    hidden = tf.reduce_any(holes, axis=0)[:, :, tf.newaxis]
    return tf.where(hidden, tf.zeros([], image.dtype), image)


@keras.saving.register_keras_serializable(package="keras_kd")
@dataclasses.dataclass(frozen=True)
class Cutout(ImageOp):
    """Make squares at uniformly random places black.

    Args:
        holes: How many. Defaults to 1.
        length: Side of a square, in pixels. A square is smaller at the edge, where
            its middle may lie too. Defaults to 16.

    Example:

    >>> cutout = keras_kd.data.ops.Cutout(length=2)
    >>> cutout.transform(np.ones((3, 3, 1), "float32"), [[1, 1]])[:, :, 0].numpy()
    array([[0., 0., 1.],
           [0., 0., 1.],
           [1., 1., 1.]], dtype=float32)

    Reference: DeVries and Taylor 2017; one hole of 16 pixels in Guo et al. 2024.
    """

    holes: int = 1
    length: int = 16

    needs_float: ClassVar[bool] = False

    def __post_init__(self):
        for name in ("holes", "length"):
            checks.check_whole_number(name, getattr(self, name), at_least=1)

    def draw(self, seed, size):
        numbers = tf.reshape(uniform(seed, 2 * self.holes), [self.holes, 2])
        return {"centers": whole(numbers, tf.stack(size))}

    def transform(self, image, centers):
        return cut_out(tf.convert_to_tensor(image), centers, self.length)
