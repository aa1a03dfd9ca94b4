"""Mirroring an image left to right or top to bottom."""

import dataclasses
from typing import ClassVar

import keras
import tensorflow as tf

from keras_kd._common import checks
from keras_kd.data.ops.base import ImageOp, uniform


def flip(image, *, upside_down=False, left_right=False):
    """Mirror an image; each direction is a Python bool or a scalar bool tensor."""
    # The first version of the op, since its directions may be a tensor.
    return tf.raw_ops.Reverse(tensor=image, dims=[upside_down, left_right, False])


@dataclasses.dataclass(frozen=True)
class _RandomFlip(ImageOp):
    p: float = 0.5

    needs_float: ClassVar[bool] = False

    def __post_init__(self):
        self._set("p", checks.check_number("p", self.p, at_least=0, at_most=1))

    def draw(self, seed, size=None):
        return {"flip": uniform(seed) < self.p}


@keras.saving.register_keras_serializable(package="keras_kd")
@dataclasses.dataclass(frozen=True)
class RandomHorizontalFlip(_RandomFlip):
    """Mirror left to right with probability `p`.

    Args:
        p: Probability in [0, 1]. Defaults to 0.5.

    Example:

    >>> flip = keras_kd.data.ops.RandomHorizontalFlip(p=1.0)
    >>> image = np.array([[[1], [2], [3]]], "uint8")
    >>> flip(image, seed=[0, 0])[0, :, 0].numpy()
    array([3, 2, 1], dtype=uint8)
    """

    def transform(self, image, flip):
        return _flip(image, left_right=flip)


@keras.saving.register_keras_serializable(package="keras_kd")
@dataclasses.dataclass(frozen=True)
class RandomVerticalFlip(_RandomFlip):
    """Mirror top to bottom with probability `p`.

    Args:
        p: Probability in [0, 1]. Defaults to 0.5.

    Example:

    >>> flip = keras_kd.data.ops.RandomVerticalFlip(p=1.0)
    >>> image = np.array([[[1]], [[2]]], "uint8")
    >>> flip(image, seed=[0, 0])[:, 0, 0].numpy()
    array([2, 1], dtype=uint8)
    """

    def transform(self, image, flip):
        return _flip(image, upside_down=flip)


_flip = flip  # the parameter of the ops has the same name
