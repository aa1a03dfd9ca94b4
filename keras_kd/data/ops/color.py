"""Brightness, contrast, saturation and hue, as torchvision defines them.

Every function takes float32 images in [0, 1] and keeps to that range. Images of one
channel have no saturation and no hue: those two leave them as they are.
"""

import dataclasses
import itertools

import keras
import tensorflow as tf

from keras_kd._common import checks
from keras_kd.data.ops._branches import choose
from keras_kd.data.ops.base import ImageOp, clip, uniform, whole

LUMA = [0.2989, 0.5870, 0.1140]  # ITU-R 601-2, the digits of torchvision


def adjust_brightness(image, factor):
    """Every pixel times `factor` >= 0."""
    return clip(image * factor)


def adjust_contrast(image, factor):
    """Blend with the mean of the grey image: 0 is flat grey, 1 the image."""
    # One axis at a time: the sum of a whole image is split over as many threads as
    # there are, and would have other last bits on another machine.
    mean = tf.reduce_mean(tf.reduce_mean(image, axis=0), axis=0)
    if check_channels(image) == 3:
        mean = tf.reduce_sum(mean * LUMA)
    return clip(image * factor + mean * (1 - factor))


def adjust_saturation(image, factor):
    """Blend with the grey image: 0 is grey, 1 the image."""
    if check_channels(image) == 1:
        return image
    return clip(image * factor + _luma(image) * (1 - factor))


def adjust_hue(image, shift):
    """Turn the hue by `shift` of a full circle."""
    if check_channels(image) == 1:
        return image
    return tf.image.adjust_hue(image, shift)  # stays between the least and the greatest


def grayscale(image):
    """The grey image, with as many channels as before."""
    if check_channels(image) == 1:
        return image
    return tf.broadcast_to(clip(_luma(image)), tf.shape(image))


# In the order in which ColorJitter names them.
ADJUSTMENTS = (adjust_brightness, adjust_contrast, adjust_saturation, adjust_hue)
ORDERS = tuple(itertools.permutations(range(len(ADJUSTMENTS))))


@keras.saving.register_keras_serializable(package="keras_kd")
@dataclasses.dataclass(frozen=True)
class ColorJitter(ImageOp):
    """Change brightness, contrast, saturation and hue, in an order drawn at random.

    Args:
        brightness: b for a factor of U(max(0, 1 - b), 1 + b). Defaults to 0.2.
        contrast: As `brightness`.
        saturation: As `brightness`.
        hue: h <= 0.5 for a shift of U(-h, h), in full circles. Defaults to 0.2.

    Example:

    >>> jitter = keras_kd.data.ops.ColorJitter(brightness=0.5)
    >>> drawn = jitter.draw(seed=[0, 0])
    >>> sorted(drawn["order"].numpy().tolist())
    [0, 1, 2, 3]

    Reference: torchvision's ColorJitter; 0.2 of each in Stanton et al. 2021, A.1.
    """

    brightness: float = 0.2
    contrast: float = 0.2
    saturation: float = 0.2
    hue: float = 0.2

    def __post_init__(self):
        for name in ("brightness", "contrast", "saturation"):
            value = checks.check_number(name, getattr(self, name), at_least=0)
            self._set(name, value)
        hue = checks.check_number("hue", self.hue, at_least=0, at_most=0.5)
        self._set("hue", hue)

    def draw(self, seed, size=None):
        numbers = uniform(seed, 5)
        spreads = [self.brightness, self.contrast, self.saturation]
        low = [*(max(0.0, 1 - s) for s in spreads), -self.hue]
        high = [*(1 + s for s in spreads), self.hue]
        span = [b - a for a, b in zip(low, high, strict=True)]
        order = tf.gather(ORDERS, whole(numbers[4], len(ORDERS)))
        return {"amounts": low + numbers[:4] * span, "order": order}

    def transform(self, image, amounts, order):
        check_channels(image)
        amounts = tf.unstack(tf.gather(amounts, order))
        for adjustment, amount in zip(tf.unstack(order), amounts, strict=True):
            image = choose(adjustment, ADJUSTMENTS, image, amount)
        return image


@keras.saving.register_keras_serializable(package="keras_kd")
@dataclasses.dataclass(frozen=True)
class RandomGrayscale(ImageOp):
    """Make the image grey with probability `p`, with as many channels as before.

    Args:
        p: Probability in [0, 1]. Defaults to 0.1.

    Example:

    >>> gray = keras_kd.data.ops.RandomGrayscale(p=1.0)
    >>> red = np.array([[[1.0, 0.0, 0.0]]], "float32")
    >>> gray(red, seed=[0, 0]).numpy().round(4).tolist()
    [[[0.2989..., 0.2989..., 0.2989...]]]
    """

    p: float = 0.1

    def __post_init__(self):
        self._set("p", checks.check_number("p", self.p, at_least=0, at_most=1))

    def draw(self, seed, size=None):
        return {"gray": uniform(seed) < self.p}

    def transform(self, image, gray):
        return tf.where(gray, grayscale(image), image)


def check_channels(image):
    """1 or 3, the channels of the image, or an error."""
    channels = image.shape[-1]
    if channels not in (1, 3):
        raise ValueError(
            "Colours can be changed in images of 1 (grey) or 3 (red, green, blue) "
            f"channels. Received: an image of shape {tuple(image.shape)}. Channels "
            "come last; leave the colour ops out of the policy for other images."
        )
    return channels


def _luma(image):
    # Channel by channel: quicker than a product with LUMA and a sum over channels.
    # Minus a negative, which is the same: see `filters` on a chain of `+`.
    red, green, blue = tf.split(image, 3, axis=-1)
    return red * LUMA[0] - green * -LUMA[1] - blue * -LUMA[2]
