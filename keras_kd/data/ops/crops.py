"""Cutting a part out of an image, and changing its size."""

import dataclasses
import math
from typing import ClassVar

import keras
import tensorflow as tf

from keras_kd._common import checks
from keras_kd.data.ops.base import (
    ImageOp,
    clip,
    size_of,
    to_float,
    uniform,
    whole,
    with_shape,
)

ATTEMPTS = 10  # of RandomResizedCrop, as in torchvision
METHODS = ("nearest", "bilinear", "bicubic")


def pad(image, padding):
    """Add `padding` black pixels on each side."""
    if not padding:
        return image
    return tf.pad(image, [[padding, padding], [padding, padding], [0, 0]])


def crop(image, top_left, size):
    """Cut out `size` (height, width) pixels from `top_left` (row, column) on."""
    size = tuple(size)
    part = tf.slice(image, tf.concat([top_left, [0]], 0), [*size, image.shape[-1]])
    return with_shape(part, [*_static(size), image.shape[-1]])


def resize(image, size, *, interpolation="bilinear"):
    """Scale to `size` (height, width), without aliasing when it shrinks.

    The kernels and their edges are those of Pillow, which torchvision uses.
    """
    if interpolation == "nearest":
        return tf.image.resize(image, size, method="nearest")
    scaled = tf.image.resize(
        to_float(image), size, method=interpolation, antialias=True
    )
    return clip(scaled)  # bicubic overshoots beside an edge


@keras.saving.register_keras_serializable(package="keras_kd")
@dataclasses.dataclass(frozen=True)
class RandomCrop(ImageOp):
    """Pad with black and cut out a part at a uniformly random place.

    Args:
        size: Height and width of the part, one number or two. Defaults to those of
            the image.
        padding: Black pixels to add on each side first. Defaults to 4.

    Example:

    >>> crop = keras_kd.data.ops.RandomCrop(padding=1)
    >>> image = np.arange(1, 10, dtype="uint8").reshape(3, 3, 1)
    >>> crop.transform(image, top_left=[0, 2])[:, :, 0].numpy()
    array([[0, 0, 0],
           [2, 3, 0],
           [5, 6, 0]], dtype=uint8)

    Reference: Stanton et al. 2021, appendix A.1 (pad 4, for CIFAR).
    """

    size: tuple | None = None
    padding: int = 4

    needs_float: ClassVar[bool] = False

    def __post_init__(self):
        if self.size is not None:
            self._set("size", check_size("size", self.size))
        padding = checks.check_whole_number("padding", self.padding, at_least=0)
        self._set("padding", padding)

    def draw(self, seed, size=None):
        if self.size is None:  # as many places as pixels were added, and one
            return {"top_left": whole(uniform(seed, 2), 2 * self.padding + 1)}
        room = [
            n + 2 * self.padding - want for n, want in zip(size, self.size, strict=True)
        ]
        return {"top_left": whole(uniform(seed, 2), tf.stack(room) + 1)}

    def transform(self, image, top_left):
        size = size_of(image) if self.size is None else self.size
        for n, want in zip(image.shape[:2], size, strict=True):
            if n is not None and not tf.is_tensor(want) and n + 2 * self.padding < want:
                raise ValueError(
                    f"The crop must fit into the padded image. Received: size={size} "
                    f"and padding={self.padding} for an image of shape {image.shape}. "
                    "Take a smaller size, more padding, or `Resize` first."
                )
        return crop(pad(image, self.padding), top_left, size)


@keras.saving.register_keras_serializable(package="keras_kd")
@dataclasses.dataclass(frozen=True)
class RandomResizedCrop(ImageOp):
    """Cut out a part of random area and shape, and scale it to one size.

    The area is a uniform share of the image's, the ratio of width to height
    log-uniform. A part that does not fit is drawn anew, ten times; after that it is
    the largest one in the middle, as in torchvision.

    Args:
        size: Height and width to scale to, one number or two. Defaults to 224.
        scale: Least and greatest share of the area. Defaults to (0.08, 1).
        ratio: Least and greatest width / height. Defaults to (3/4, 4/3).
        interpolation: `"nearest"`, `"bilinear"` or `"bicubic"`. Defaults to bilinear.

    Example:

    >>> crop = keras_kd.data.ops.RandomResizedCrop(8, scale=(0.2, 1.0))
    >>> crop(np.ones((32, 32, 3), "float32"), seed=[0, 0]).shape
    TensorShape([8, 8, 3])

    Reference: Szegedy et al. 2015; scale (0.2, 1), bicubic, in Guo et al. 2024.
    """

    size: tuple = (224, 224)
    scale: tuple = (0.08, 1.0)
    ratio: tuple = (3 / 4, 4 / 3)
    interpolation: str = "bilinear"

    def __post_init__(self):
        self._set("size", check_size("size", self.size))
        self._set("scale", check_range("scale", self.scale, above=0, at_most=1))
        self._set("ratio", check_range("ratio", self.ratio, above=0))
        checks.check_choice("interpolation", self.interpolation, METHODS)

    def draw(self, seed, size):
        numbers = uniform(seed, 2 * ATTEMPTS + 2)
        height, width = (tf.cast(n, tf.float32) for n in size)
        low, high = self.scale
        area = height * width * (low + (high - low) * numbers[:ATTEMPTS])
        low, high = map(math.log, self.ratio)
        ratio = tf.exp(low + (high - low) * numbers[ATTEMPTS : 2 * ATTEMPTS])
        parts = tf.stack([tf.sqrt(area / ratio), tf.sqrt(area * ratio)], -1)
        parts = tf.cast(tf.round(parts), tf.int32)
        whole_size = tf.stack(size)
        fits = tf.reduce_all((parts > 0) & (parts <= whole_size), -1)
        first = tf.argmax(tf.cast(fits, tf.int32))
        part = tf.where(fits[first], parts[first], self._largest(height, width))
        room = whole_size - part
        drawn = whole(numbers[-2:], room + 1)
        return {"top_left": tf.where(fits[first], drawn, room // 2), "part": part}

    def transform(self, image, top_left, part):
        return resize(
            crop(image, top_left, tf.unstack(part)),
            self.size,
            interpolation=self.interpolation,
        )

    def _largest(self, height, width):
        least, greatest = self.ratio
        ratio = tf.clip_by_value(width / height, least, greatest)
        largest = tf.stack(
            [tf.minimum(height, width / ratio), tf.minimum(width, height * ratio)]
        )
        return tf.cast(tf.round(largest), tf.int32)


@keras.saving.register_keras_serializable(package="keras_kd")
@dataclasses.dataclass(frozen=True)
class Resize(ImageOp):
    """Scale to one size; nothing random. For the test set beside a resized crop.

    Args:
        size: Height and width, one number or two.
        interpolation: `"nearest"`, `"bilinear"` or `"bicubic"`. Defaults to bilinear.

    Example:

    >>> resize = keras_kd.data.ops.Resize(2, interpolation="nearest")
    >>> image = np.array([[[1]], [[2]]], "float32") / 2
    >>> resize(image, seed=[0, 0])[:, :, 0].numpy().tolist()
    [[0.5, 0.5], [1.0, 1.0]]
    """

    size: tuple
    interpolation: str = "bilinear"

    def __post_init__(self):
        self._set("size", check_size("size", self.size))
        checks.check_choice("interpolation", self.interpolation, METHODS)

    def transform(self, image):
        return resize(image, self.size, interpolation=self.interpolation)


def check_size(name, value):
    """`(height, width)` from one whole number or two, or an error."""
    both = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    if len(both) != 2:
        raise ValueError(
            f"`{name}` must be one number or two, (height, width). Received: "
            f"{name}={value!r}."
        )
    return tuple(checks.check_whole_number(name, n, at_least=1) for n in both)


def check_range(name, value, **bounds):
    """`(low, high)` of two numbers within the bounds and in order, or an error."""
    if not isinstance(value, (tuple, list)) or len(value) != 2 or value[0] > value[1]:
        raise ValueError(
            f"`{name}` must be two numbers, the lower one first. Received: "
            f"{name}={value!r}."
        )
    return tuple(checks.check_number(name, number, **bounds) for number in value)


def _static(size):
    return [None if tf.is_tensor(n) else n for n in size]
