"""Curves of pixel values, against Pillow's 8 bits and closed forms."""

import numpy as np
import pytest
from image_views import noise, unit
from oracles import images as oracle

from keras_kd.data.ops import tone
from keras_kd.data.ops.base import to_float

GRADIENT = np.arange(256, dtype="uint8").reshape(16, 16, 1).repeat(3, -1)


def as_levels(image):
    return np.rint(np.asarray(image) * 255).astype("uint8")


@pytest.mark.parametrize("bits", range(9))
def test_posterize_equals_pillow(bits):
    ours = as_levels(tone.posterize(to_float(GRADIENT), bits))
    if bits:
        np.testing.assert_array_equal(ours, oracle.pillow(GRADIENT, "posterize", bits))
    else:
        assert not ours.any()


@pytest.mark.parametrize("level", range(10))
def test_solarize_equals_pillow_at_all_thresholds_of_autoaugment(level):
    ours = as_levels(tone.solarize(to_float(GRADIENT), 1 - np.float32(level / 9)))
    # torchvision's threshold, above which Pillow inverts too.
    threshold = float(np.linspace(255, 0, 10)[level])
    np.testing.assert_array_equal(ours, oracle.pillow(GRADIENT, "solarize", threshold))


def test_invert_equals_pillow():
    ours = as_levels(tone.invert(to_float(GRADIENT)))
    np.testing.assert_array_equal(ours, oracle.pillow(GRADIENT, "invert"))


def images():
    rng = np.random.default_rng(3)
    dark = (rng.beta(1, 5, (20, 30, 3)) * 255).astype("uint8")
    few = rng.choice(
        np.array([3, 90, 91, 200], "uint8"), (9, 8, 3), p=[0.1, 0.2, 0.3, 0.4]
    )
    one_flat_channel = noise(12, 12, 3)
    one_flat_channel[..., 1] = 77
    return {
        "noise": noise(16, 17, 3),
        "dark": dark,
        "few levels": few,
        "flat": np.full((8, 8, 3), 130, "uint8"),
        "one flat channel": one_flat_channel,
        "tiny": noise(4, 4, 3),
    }


@pytest.mark.parametrize("image", images().values(), ids=images())
def test_equalize_equals_pillow(image):
    ours = as_levels(tone.equalize(to_float(image)))
    np.testing.assert_array_equal(ours, oracle.pillow(image, "equalize"))


@pytest.mark.parametrize("image", images().values(), ids=images())
def test_autocontrast_equals_pillow_to_one_level(image):
    ours = tone.autocontrast(to_float(image)).numpy()
    expected = oracle.pillow(image, "autocontrast") / 255  # whole levels, cut off
    np.testing.assert_allclose(ours, expected, atol=1.01 / 255)


def test_autocontrast_reaches_from_0_to_1():
    stretched = tone.autocontrast(unit(9, 9, 3) * np.float32(0.3) + np.float32(0.2))
    np.testing.assert_array_equal(np.min(stretched, axis=(0, 1)), [0, 0, 0])
    np.testing.assert_array_equal(np.max(stretched, axis=(0, 1)), [1, 1, 1])
