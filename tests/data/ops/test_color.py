"""Colours, against torchvision's definitions in NumPy and against colorsys."""

import numpy as np
import pytest
import tensorflow as tf
from image_views import draws, equal_chances_p, uniform_p, unit
from oracles import images as oracle
from scipy import stats

from keras_kd.data import ops
from keras_kd.data.ops import color

IMAGE = unit(9, 11, 3)
GRAY = unit(9, 11, 1)
NAMES = ("brightness", "contrast", "saturation", "hue")


@pytest.mark.parametrize("factor", [0.0, 0.8, 1.0, 1.2, 1.9])
@pytest.mark.parametrize("name", NAMES[:3])
def test_adjustment_equals_oracle(name, factor):
    ours = getattr(color, f"adjust_{name}")(IMAGE, factor)
    np.testing.assert_allclose(ours, getattr(oracle, name)(IMAGE, factor), atol=2e-6)


@pytest.mark.parametrize("shift", [-0.5, -0.13, 0.0, 0.2, 0.5])
def test_hue_equals_colorsys(shift):
    ours = color.adjust_hue(IMAGE, shift)
    np.testing.assert_allclose(ours, oracle.hue(IMAGE, shift), atol=5e-6)


def test_hue_of_extreme_pixels_equals_colorsys():
    corners = np.array(np.meshgrid(*[[0, 0.5, 1]] * 3), "float32").T.reshape(3, 9, 3)
    for shift in (-0.4, 0.1, 1 / 3):
        ours = color.adjust_hue(corners, shift)
        np.testing.assert_allclose(ours, oracle.hue(corners, shift), atol=5e-6)


def test_grayscale_equals_oracle():
    expected = np.repeat(oracle.luma(IMAGE), 3, axis=-1)
    np.testing.assert_allclose(color.grayscale(IMAGE), expected, atol=1e-6)


def test_grey_images_have_brightness_and_contrast_only():
    np.testing.assert_allclose(
        color.adjust_contrast(GRAY, 0.7), oracle.contrast(GRAY, 0.7), atol=2e-6
    )
    np.testing.assert_array_equal(color.adjust_saturation(GRAY, 0.3), GRAY)
    np.testing.assert_array_equal(color.adjust_hue(GRAY, 0.3), GRAY)
    np.testing.assert_array_equal(color.grayscale(GRAY), GRAY)


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 1, 0, 2), (2, 3, 1, 0)], ids=str)
def test_jitter_is_the_four_in_the_drawn_order(order):
    amounts = [1.2, 0.8, 1.15, -0.2]
    expected = IMAGE
    for i in order:
        expected = getattr(oracle, NAMES[i])(expected, amounts[i])
    ours = ops.ColorJitter().transform(
        IMAGE, amounts=tf.constant(amounts), order=tf.constant(order)
    )
    np.testing.assert_allclose(ours, expected, atol=1e-5)


def test_amounts_of_jitter_are_uniform_and_unrelated():
    drawn = draws(ops.ColorJitter(0.2, 0.3, 1.5, 0.1))
    bounds = [(0.8, 1.2), (0.7, 1.3), (0.0, 2.5), (-0.1, 0.1)]
    for amounts, (low, high) in zip(drawn["amounts"].T, bounds, strict=True):
        assert uniform_p(amounts, low, high) > 1e-3
    correlations = np.corrcoef(drawn["amounts"].T) - np.eye(4)
    assert np.abs(correlations).max() < 4 / np.sqrt(len(drawn["amounts"]))


def test_all_24_orders_have_equal_chances():
    orders = draws(ops.ColorJitter())["order"]
    numbers = [color.ORDERS.index(tuple(order)) for order in orders]
    assert equal_chances_p(numbers, 24) > 1e-3


def test_share_of_grey_views_is_p():
    gray = draws(ops.RandomGrayscale(0.1))["gray"]
    assert stats.binomtest(int(gray.sum()), len(gray), 0.1).pvalue > 1e-3


def test_a_colour_op_refuses_images_of_other_channels():
    four = unit(4, 4, 4)
    for op in (ops.ColorJitter(), ops.RandomGrayscale(), ops.AutoAugment()):
        with pytest.raises(ValueError, match=r"1 \(grey\) or 3 .* \(4, 4, 4\)"):
            op(four, seed=[0, 0])


@pytest.mark.parametrize("arguments", [{"hue": 0.6}, {"brightness": -0.1}])
def test_settings_that_make_no_sense_are_refused(arguments):
    with pytest.raises(ValueError, match="must be a finite number >= 0"):
        ops.ColorJitter(**arguments)
