"""Turning an image, and looking at it from another side."""

import dataclasses

import keras
import tensorflow as tf

from keras_kd._common import checks
from keras_kd.data.ops.base import ImageOp, uniform, whole
from keras_kd.data.ops.warp import check_interpolation, perspective, rotate


class _FilledOp(ImageOp):
    @property
    def needs_float(self):
        # uint8 is enough when no pixel is computed and what is filled in is black.
        return self.interpolation != "nearest" or self.fill != 0

    def _check(self):
        check_interpolation(self.interpolation)
        fill = checks.check_number("fill", self.fill, at_least=0, at_most=1)
        self._set("fill", fill)


@keras.saving.register_keras_serializable(package="keras_kd")
@dataclasses.dataclass(frozen=True)
class RandomRotation(_FilledOp):
    """Turn about the middle by an angle of U(-degrees, degrees).

    Args:
        degrees: Greatest angle. Defaults to 20.
        interpolation: `"nearest"` or `"bilinear"`. Defaults to nearest.
        fill: The corners, in [0, 1]. Defaults to 0, black.

    Example:

    >>> rotation = keras_kd.data.ops.RandomRotation(degrees=180)
    >>> image = np.array([[[1], [2]], [[3], [4]]], "uint8")
    >>> rotation.transform(image, degrees=90.0)[:, :, 0].numpy()
    array([[2, 4],
           [1, 3]], dtype=uint8)

    Reference: Stanton et al. 2021, A.1 (20, nearest); Guo et al. 2024 (15).
    """

    degrees: float = 20.0
    interpolation: str = "nearest"
    fill: float = 0.0

    def __post_init__(self):
        degrees = checks.check_number("degrees", self.degrees, at_least=0, at_most=180)
        self._set("degrees", degrees)
        self._check()

    def draw(self, seed, size=None):
        return {"degrees": uniform(seed) * (2 * self.degrees) - self.degrees}

    def transform(self, image, degrees):
        return rotate(image, degrees, interpolation=self.interpolation, fill=self.fill)


@keras.saving.register_keras_serializable(package="keras_kd")
@dataclasses.dataclass(frozen=True)
class RandomPerspective(_FilledOp):
    """Move each corner towards the middle by a random amount, with probability `p`.

    Args:
        distortion: Greatest move, as a share of half the side. Defaults to 0.5.
        p: Probability in [0, 1]. Defaults to 0.5.
        interpolation: `"nearest"` or `"bilinear"`. Defaults to bilinear.
        fill: What lies outside the image, in [0, 1]. Defaults to 0, black.

    Example:

    >>> op = keras_kd.data.ops.RandomPerspective(distortion=0.5, p=1.0)
    >>> op.draw(seed=[0, 0], size=(32, 32))["corners"].shape
    TensorShape([4, 2])

    Corners and pixels lie where torchvision has them; a pixel that lies partly outside
    is blended with `fill` once, by the share outside (torchvision blends it twice).

    Reference: torchvision's RandomPerspective.
    """

    distortion: float = 0.5
    p: float = 0.5
    interpolation: str = "bilinear"
    fill: float = 0.0

    def __post_init__(self):
        for name in ("distortion", "p"):
            value = getattr(self, name)
            self._set(name, checks.check_number(name, value, at_least=0, at_most=1))
        self._check()

    def draw(self, seed, size):
        numbers = uniform(seed, 9)
        height, width = (tf.convert_to_tensor(n, tf.int32) for n in size)
        half = tf.cast(tf.stack([width // 2, height // 2]), tf.float32)
        most = tf.cast(half * self.distortion, tf.int32)
        inward = whole(tf.reshape(numbers[1:], [4, 2]), most + 1)
        inward = tf.where(numbers[0] < self.p, inward, 0)
        right, bottom = width - 1, height - 1
        corners = tf.stack([[0, 0], [right, 0], [right, bottom], [0, bottom]])
        return {"corners": corners + inward * [[1, 1], [-1, 1], [-1, -1], [1, -1]]}

    def transform(self, image, corners):
        return perspective(
            image, corners, interpolation=self.interpolation, fill=self.fill
        )
