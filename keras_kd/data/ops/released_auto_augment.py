"""AutoAugment as the code of Guo et al. 2024 has it."""

import dataclasses

import keras
import tensorflow as tf

from keras_kd.data.ops import tone, warp
from keras_kd.data.ops._branches import choose
from keras_kd.data.ops.auto_augment import NAMES, AutoAugment, with_fill
from keras_kd.data.ops.base import clip, size_of

ROTATE = NAMES.index("rotate")


def bicubic_shear_y(image, amount, *, fill=0.0):
    """Read each column `amount` pixels further down than the one left of it.

    Pillow's bicubic: a cubic of slope 1 (a = -1), edges repeated, and `fill` where the
    place itself lies outside.

    Args:
        image: `(height, width, channels)`, in [0, 1].
        amount: Pixels down per pixel across.
        fill: What lies outside the image.
    """
    height, width = size_of(image)
    y, x = (tf.cast(tf.range(n), tf.float32) + 0.5 for n in (height, width))
    place = y[:, tf.newaxis] + amount * x
    inside = (place >= 0) & (place < tf.cast(height, tf.float32))
    first = tf.floor(place - 0.5)
    rows = tf.cast(first, tf.int32)[..., tf.newaxis] + tf.range(-1, 3)
    rows = tf.clip_by_value(rows, 0, height - 1)
    pixels = tf.reshape(image, [height * width, image.shape[-1]])
    taps = tf.gather(pixels, rows * width + tf.range(width)[:, tf.newaxis])
    weights = _cubic_weights(place - 0.5 - first)[..., tf.newaxis]
    sheared = clip(tf.reduce_sum(taps * weights, axis=2))
    return tf.ensure_shape(tf.where(inside[..., None], sheared, fill), image.shape)


def _cubic_weights(d):
    """Of four pixels in a row, read `d` of the way from the second to the third."""
    rest = 1 - d
    near, far = (1 + t * t * (t - 2) for t in (d, rest))
    return tf.stack([-d * rest * rest, near, far, -rest * d * d], axis=-1)


def bicubic_shear_x(image, amount, *, fill=0.0):
    """Read each row `amount` pixels further right than the row above it."""
    turned = bicubic_shear_y(tf.transpose(image, [1, 0, 2]), amount, fill=fill)
    return tf.transpose(turned, [1, 0, 2])


@keras.saving.register_keras_serializable(package="keras_kd")
@dataclasses.dataclass(frozen=True)
class ReleasedAutoAugment(AutoAugment):
    """`AutoAugment` as the code of Guo et al. 2024 computes it, by Pillow.

    The 25 pairs, their probabilities and the greatest magnitudes are the same. Their
    code turns counter-clockwise only, shears with bicubic interpolation, rounds a
    translation to whole pixels where torchvision cuts, and puts the thresholds of
    solarize on 0 to 256.

    Args:
        fill: What lies outside of a moved image, in [0, 1]. Defaults to 128 / 255.

    Example:

    >>> op = keras_kd.data.ops.ReleasedAutoAugment()
    >>> sorted(op.draw(seed=[0, 0]))
    ['magnitudes', 'ops', 'sub_policy']

    References: Guo et al. 2024, released code; Cubuk et al. 2019, appendix.
    """

    def draw(self, seed, size=None):
        drawn = super().draw(seed, size)
        numbers, sizes = drawn["ops"], drawn["magnitudes"]
        turned = tf.where(numbers == ROTATE, tf.abs(sizes), sizes)
        return {**drawn, "magnitudes": turned}

    def _apply(self, image, op, magnitude):
        branches = [_with_fill(name, self.fill) for name in NAMES]
        return choose(op, branches, image, tf.cast(magnitude, tf.float32))


def _with_fill(name, fill):
    """What their code does at that name; else what torchvision does."""
    by_name = {
        "shear_x": lambda image, size: bicubic_shear_x(image, size, fill=fill),
        "shear_y": lambda image, size: bicubic_shear_y(image, size, fill=fill),
        "translate_x": lambda image, size: warp.translate(
            image, _rounded(size, size_of(image)[1]), 0, fill=fill
        ),
        "translate_y": lambda image, size: warp.translate(
            image, 0, _rounded(size, size_of(image)[0]), fill=fill
        ),
        "solarize": lambda image, size: tone.solarize(image, (1 - size) * (256 / 255)),
    }
    return by_name.get(name) or with_fill(name, fill)


def _rounded(share, length):
    return tf.round(share * tf.cast(length, tf.float32))
