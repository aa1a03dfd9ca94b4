"""Sharper and softer: every pixel from its neighbours.

Written as sums of shifted images, not as convolutions: those may use other kernels,
with other last bits, in a graph than outside of one. And never as a chain of `+`,
which TensorFlow's graph optimiser makes one `AddN` and sorts by the names of its terms.
"""

import dataclasses

import keras
import tensorflow as tf

from keras_kd._common import checks
from keras_kd.data.ops.base import ImageOp, clip, uniform, with_shape
from keras_kd.data.ops.crops import check_range


def adjust_sharpness(image, factor):
    """Blend with a smoothed image: 0 is smooth, 1 the image, 2 sharper.

    The border pixels stay as they are, as in Pillow.
    """
    inside = image[1:-1, 1:-1]
    rows = tf.reduce_sum(tf.stack([image[:-2], image[1:-1], image[2:]]), axis=0)
    parts = [rows[:, :-2], rows[:, 1:-1], rows[:, 2:], inside * 4]
    sums = tf.reduce_sum(tf.stack(parts), axis=0)
    smooth = sums * (1 / 13)
    blended = clip(inside * factor + smooth * (1 - factor))
    middle = tf.concat([image[1:-1, :1], blended, image[1:-1, -1:]], axis=1)
    return tf.concat([image[:1], middle, image[-1:]], axis=0)


def gaussian_blur(image, sigma, *, kernel_size=3):
    """Smooth with a Gaussian of standard deviation `sigma` pixels, mirrored edges."""
    radius = kernel_size // 2
    if None not in image.shape[:2] and min(image.shape[:2]) <= radius:
        raise ValueError(
            f"`kernel_size` must be at most 2 * side - 1 of the image. Received: "
            f"kernel_size={kernel_size} for an image of shape {tuple(image.shape)}."
        )
    distance = tf.range(-radius, radius + 1, dtype=tf.float32)
    weights = tf.exp(tf.square(distance / sigma) * -0.5)
    weights = weights / tf.reduce_sum(weights)
    edge = [[radius, radius], [radius, radius], [0, 0]]
    wide = tf.pad(image, edge, mode="REFLECT")
    height, width = tf.unstack(tf.shape(image)[:2])
    soft = _weighted(weights, [wide[i : i + height] for i in range(kernel_size)])
    soft = _weighted(weights, [soft[:, i : i + width] for i in range(kernel_size)])
    return with_shape(clip(soft), image.shape)


@keras.saving.register_keras_serializable(package="keras_kd")
@dataclasses.dataclass(frozen=True)
class GaussianBlur(ImageOp):
    """Smooth with a Gaussian of random width. Put it in `RandomApply` for a share.

    Args:
        kernel_size: Odd number of pixels to each side and between. Defaults to 3.
        sigma: Least and greatest standard deviation, in pixels. Defaults to (0.1, 2).

    Example:

    >>> blur = keras_kd.data.ops.GaussianBlur(kernel_size=3, sigma=(1.0, 1.0))
    >>> dot = np.zeros((3, 3, 1), "float32")
    >>> dot[1, 1] = 1
    >>> blur(dot, seed=[0, 0])[:, 1].numpy().round(3)
    array([[0.248],
           [0.204],
           [0.248]], dtype=float32)
    """

    kernel_size: int = 3
    sigma: tuple = (0.1, 2.0)

    def __post_init__(self):
        size = checks.check_whole_number("kernel_size", self.kernel_size, at_least=1)
        if size % 2 == 0:
            raise ValueError(
                "`kernel_size` must be odd, to have a middle. Received: "
                f"kernel_size={size}. Try {size + 1}."
            )
        self._set("sigma", check_range("sigma", self.sigma, above=0))

    def draw(self, seed, size=None):
        low, high = self.sigma
        return {"sigma": low + (high - low) * uniform(seed)}

    def transform(self, image, sigma):
        return gaussian_blur(image, sigma, kernel_size=self.kernel_size)


def _weighted(weights, images):
    """The sum of the images, each times its weight; minus a negative, see above."""
    first, *others = images
    negative = tf.unstack(-weights)
    total = weights[0] * first
    for weight, image in zip(negative[1:], others, strict=True):
        total = total - weight * image
    return total
