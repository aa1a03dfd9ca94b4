"""AutoAugment of Guo et al.'s code, against Pillow, which that code calls."""

import numpy as np
import pytest
import tensorflow as tf
from image_views import draws, noise
from oracles import images as oracle
from PIL import Image
from scipy import stats

from keras_kd.data import ops
from keras_kd.data.ops.auto_augment import NAMES
from keras_kd.data.ops.released_auto_augment import bicubic_shear_x, bicubic_shear_y

LEVELS = noise(20, 30, 3)
GRAY = (128, 128, 128)
OP = ops.ReleasedAutoAugment()


def view(name, magnitude, levels=LEVELS):
    """The op alone, in levels of 0 to 255."""
    image = tf.constant(levels / np.float32(255))
    still = NAMES.index("identity")
    return 255 * OP.transform(
        image, ops=[NAMES.index(name), still], magnitudes=[magnitude, 0.0]
    )


def pillow(six, levels=LEVELS, method=Image.NEAREST):
    image = Image.fromarray(levels)
    return np.asarray(
        image.transform(image.size, Image.AFFINE, six, method, fillcolor=GRAY)
    )


@pytest.mark.parametrize("amount", [0.3 * 8 / 9, -0.3 * 7 / 9])
def test_shear_is_pillows_bicubic(amount):
    for name, six in (
        ("shear_x", (1, amount, 0, 0, 1, 0)),
        ("shear_y", (1, 0, 0, amount, 1, 0)),
    ):
        expected = pillow(six, method=Image.BICUBIC)
        # Pillow cuts to whole levels.
        np.testing.assert_allclose(view(name, amount), expected + 0.5, atol=0.51)


def test_shear_takes_any_size():
    unknown = tf.TensorSpec([None, None, 3])
    image = tf.constant(LEVELS / np.float32(255))
    for shear in (bicubic_shear_x, bicubic_shear_y):
        traced = tf.function(lambda x, f=shear: f(x, 0.2), input_signature=[unknown])
        np.testing.assert_allclose(traced(image), shear(image, 0.2), atol=1e-6)


@pytest.mark.parametrize("side", [32, 224])
@pytest.mark.parametrize("level", [3, 7, 8, 9])
def test_translations_are_pillows(level, side):
    levels, share = noise(side, side, 3), 150 / 331 * level / 9
    for sign in (-1, 1):
        six = (1, 0, -sign * share * side, 0, 1, 0)
        moved = np.rint(view("translate_x", sign * share, levels))
        np.testing.assert_array_equal(moved, pillow(six, levels))
        six = (1, 0, 0, 0, 1, -sign * share * side)
        moved = np.rint(view("translate_y", sign * share, levels))
        np.testing.assert_array_equal(moved, pillow(six, levels))


def test_rotation_is_pillows_and_counter_clockwise_only():
    drawn = draws(OP, count=20000)
    degrees = drawn["magnitudes"][drawn["ops"] == NAMES.index("rotate")]
    np.testing.assert_allclose(degrees, 30 * 2 / 9, rtol=1e-6)
    shears = drawn["magnitudes"][drawn["ops"] == NAMES.index("shear_y")]
    assert stats.binomtest(int((shears < 0).sum()), len(shears)).pvalue > 1e-5
    known = oracle.decided(LEVELS.shape, oracle.rotation(LEVELS.shape, degrees[0]))
    turned = Image.fromarray(LEVELS).rotate(degrees[0], fillcolor=GRAY)
    rotated = np.rint(view("rotate", degrees[0]))
    np.testing.assert_array_equal(rotated[known], np.asarray(turned)[known])


@pytest.mark.parametrize("level", [2, 3, 5, 8])
def test_solarize_is_pillows_from_256_down(level):
    expected = oracle.pillow(LEVELS, "solarize", 256 - 256 * level / 9)
    np.testing.assert_array_equal(np.rint(view("solarize", level / 9)), expected)
