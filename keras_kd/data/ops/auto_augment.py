"""AutoAugment and RandAugment: policies of simple ops with a magnitude."""

import dataclasses

import keras
import tensorflow as tf

from keras_kd._common import checks
from keras_kd.data.ops import color, filters, tone, warp
from keras_kd.data.ops._branches import choose
from keras_kd.data.ops.base import ImageOp, size_of, uniform, whole

GRAY = 128 / 255  # what lies outside of a moved image, as in the paper's code
TRANSLATION = 150 / 331  # of the side: 150 pixels on the paper's 331
BINS = 10  # magnitudes of AutoAugment; RandAugment has 31

# name: (greatest magnitude, whether its sign is drawn). What it means: see _apply.
SPACE = {
    "identity": (0.0, False),
    "shear_x": (0.3, True),
    "shear_y": (0.3, True),
    "translate_x": (TRANSLATION, True),
    "translate_y": (TRANSLATION, True),
    "rotate": (30.0, True),
    "brightness": (0.9, True),
    "color": (0.9, True),
    "contrast": (0.9, True),
    "sharpness": (0.9, True),
    "posterize": (4.0, False),  # of 8 bits, to drop
    "solarize": (1.0, False),  # 1 less the threshold
    "autocontrast": (0.0, False),
    "equalize": (0.0, False),
    "invert": (0.0, False),
}
NAMES = tuple(SPACE)
SIGNED = [signed for _, signed in SPACE.values()]

# Cubuk et al. 2019, appendix: 25 pairs of (op, probability, magnitude of 0 .. 9).
CIFAR10 = (
    (("invert", 0.1, 7), ("contrast", 0.2, 6)),
    (("rotate", 0.7, 2), ("translate_x", 0.3, 9)),
    (("sharpness", 0.8, 1), ("sharpness", 0.9, 3)),
    (("shear_y", 0.5, 8), ("translate_y", 0.7, 9)),
    (("autocontrast", 0.5, 8), ("equalize", 0.9, 2)),
    (("shear_y", 0.2, 7), ("posterize", 0.3, 7)),
    (("color", 0.4, 3), ("brightness", 0.6, 7)),
    (("sharpness", 0.3, 9), ("brightness", 0.7, 9)),
    (("equalize", 0.6, 5), ("equalize", 0.5, 1)),
    (("contrast", 0.6, 7), ("sharpness", 0.6, 5)),
    (("color", 0.7, 7), ("translate_x", 0.5, 8)),
    (("equalize", 0.3, 7), ("autocontrast", 0.4, 8)),
    (("translate_y", 0.4, 3), ("sharpness", 0.2, 6)),
    (("brightness", 0.9, 6), ("color", 0.2, 8)),
    (("solarize", 0.5, 2), ("invert", 0.0, 3)),
    (("equalize", 0.2, 0), ("autocontrast", 0.6, 0)),
    (("equalize", 0.2, 8), ("equalize", 0.6, 4)),
    (("color", 0.9, 9), ("equalize", 0.6, 6)),
    (("autocontrast", 0.8, 4), ("solarize", 0.2, 8)),
    (("brightness", 0.1, 3), ("color", 0.7, 0)),
    (("solarize", 0.4, 5), ("autocontrast", 0.9, 3)),
    (("translate_y", 0.9, 9), ("translate_y", 0.7, 9)),
    (("autocontrast", 0.9, 2), ("solarize", 0.8, 3)),
    (("equalize", 0.8, 8), ("invert", 0.1, 3)),
    (("translate_y", 0.7, 9), ("autocontrast", 0.9, 1)),
)


def apply_named(image, op, magnitude, *, fill=GRAY):
    """The op of that number in `NAMES`, at a signed magnitude in its own unit.

    Magnitudes are torchvision's: pixels sideways per pixel down (shear), share of the
    side, cut to whole pixels (translate), degrees (rotate), factor less 1 (brightness,
    color, contrast, sharpness), bits to drop (posterize), 1 less the threshold.
    """
    branches = [with_fill(name, fill) for name in NAMES]
    return choose(op, branches, image, tf.cast(magnitude, tf.float32))


def with_fill(name, fill):
    """The op of that name as a function of an image and a magnitude."""
    return lambda image, magnitude: _apply(name, image, magnitude, fill)


@dataclasses.dataclass(frozen=True)
class _NamedOps(ImageOp):
    fill: float = dataclasses.field(default=GRAY, kw_only=True)

    def __post_init__(self):
        fill = checks.check_number("fill", self.fill, at_least=0, at_most=1)
        self._set("fill", fill)

    def transform(self, image, ops, magnitudes, **drawn):
        """Apply the ops of these numbers, one after the other."""
        del drawn
        color.check_channels(image)
        for op, magnitude in zip(tf.unstack(ops), tf.unstack(magnitudes), strict=True):
            image = self._apply(image, op, magnitude)
        return image

    def _apply(self, image, op, magnitude):
        return apply_named(image, op, magnitude, fill=self.fill)


@keras.saving.register_keras_serializable(package="keras_kd")
@dataclasses.dataclass(frozen=True)
class AutoAugment(_NamedOps):
    """The policy that was searched for on CIFAR-10: one of 25 pairs of ops a view.

    Magnitudes as in torchvision. Ops that are defined on 8 bits round to them.

    Args:
        fill: What lies outside of a moved image, in [0, 1]. Defaults to the grey of
            the paper's code, 128 / 255; torchvision's default is black, 0.

    Example:

    >>> op = keras_kd.data.ops.AutoAugment()
    >>> drawn = op.draw(seed=[0, 0])
    >>> sorted(drawn)
    ['magnitudes', 'ops', 'sub_policy']
    >>> int(drawn["sub_policy"]) < 25
    True

    Reference: Cubuk et al. 2019, "AutoAugment", appendix.
    """

    def draw(self, seed, size=None):
        chosen, apply, sign = tf.split(uniform(seed, 5), [1, 2, 2])
        sub_policy = whole(chosen[0], len(CIFAR10))
        ops, p, size = (
            tf.gather([[entry(*op) for op in two] for two in CIFAR10], sub_policy)
            for entry in (
                lambda name, p, level: NAMES.index(name),
                lambda name, p, level: p,
                lambda name, p, level: _magnitude(name, level, BINS),
            )
        )
        signed = tf.gather(SIGNED, ops) & (sign < 0.5)
        return {
            "sub_policy": sub_policy,
            "ops": tf.where(apply < p, ops, NAMES.index("identity")),
            "magnitudes": tf.where(signed, -size, size),
        }


@keras.saving.register_keras_serializable(package="keras_kd")
@dataclasses.dataclass(frozen=True)
class RandAugment(_NamedOps):
    """Some of 14 ops a view, drawn with equal chances, all of one magnitude.

    Args:
        num_ops: Ops one after the other, which may repeat. Defaults to 2.
        magnitude: 0 to `bins` - 1. Defaults to 9.
        bins: How finely the range of magnitudes is cut. Defaults to 31.
        fill: What lies outside of a moved image, in [0, 1]. Defaults to grey,
            128 / 255.

    Example:

    >>> op = keras_kd.data.ops.RandAugment(num_ops=3, magnitude=0)
    >>> op.draw(seed=[0, 0])["ops"].shape
    TensorShape([3])

    Reference: Cubuk et al. 2020, "RandAugment"; ops and ranges of torchvision.
    """

    num_ops: int = 2
    magnitude: int = 9
    bins: int = 31

    def __post_init__(self):
        super().__post_init__()
        checks.check_whole_number("num_ops", self.num_ops, at_least=1)
        checks.check_whole_number("bins", self.bins, at_least=2)
        checks.check_whole_number("magnitude", self.magnitude, at_least=0)
        if self.magnitude >= self.bins:
            raise ValueError(
                f"`magnitude` must be below `bins`. Received: "
                f"magnitude={self.magnitude}, bins={self.bins}."
            )

    def draw(self, seed, size=None):
        numbers = uniform(seed, 2 * self.num_ops)
        # All names but the last: torchvision leaves "invert" out.
        ops = whole(numbers[: self.num_ops], len(NAMES) - 1)
        sizes = [_magnitude(name, self.magnitude, self.bins) for name in NAMES]
        size = tf.gather(sizes, ops)
        signed = tf.gather(SIGNED, ops) & (numbers[self.num_ops :] < 0.5)
        return {"ops": ops, "magnitudes": tf.where(signed, -size, size)}


def _magnitude(name, level, bins):
    """Magnitude `level` of `bins` equal steps from 0 to the op's greatest."""
    size = SPACE[name][0] * level / (bins - 1)
    return float(round(size)) if name == "posterize" else size


def _apply(name, image, magnitude, fill):
    height, width = (tf.cast(n, tf.float32) for n in size_of(image))
    by_name = {
        "identity": lambda: image,
        "shear_x": lambda: warp.shear_x(image, magnitude, fill=fill),
        "shear_y": lambda: warp.shear_y(image, magnitude, fill=fill),
        "translate_x": lambda: _translate(image, magnitude * width, 0, fill),
        "translate_y": lambda: _translate(image, 0, magnitude * height, fill),
        "rotate": lambda: warp.rotate(image, magnitude, fill=fill),
        "brightness": lambda: color.adjust_brightness(image, 1 + magnitude),
        "color": lambda: color.adjust_saturation(image, 1 + magnitude),
        "contrast": lambda: color.adjust_contrast(image, 1 + magnitude),
        "sharpness": lambda: filters.adjust_sharpness(image, 1 + magnitude),
        "posterize": lambda: tone.posterize(image, 8 - tf.cast(magnitude, tf.int32)),
        "solarize": lambda: tone.solarize(image, 1 - magnitude),
        "autocontrast": lambda: tone.autocontrast(image),
        "equalize": lambda: tone.equalize(image),
        "invert": lambda: tone.invert(image),
    }
    return by_name[name]()


def _translate(image, x, y, fill):
    whole_x, whole_y = (tf.cast(tf.cast(n, tf.int32), tf.float32) for n in (x, y))
    return warp.translate(image, whole_x, whole_y, fill=fill)
