"""Sharpness and blur, against SciPy and Pillow."""

import numpy as np
import pytest
from image_views import draws, noise, uniform_p, unit
from oracles import images as oracle

from keras_kd.data import ops
from keras_kd.data.ops import filters
from keras_kd.data.ops.base import to_float


@pytest.mark.parametrize("kernel_size", [3, 5, 7])
@pytest.mark.parametrize("sigma", [0.1, 0.7, 2.0])
def test_blur_equals_scipy(sigma, kernel_size):
    image = unit(9, 12, 3)
    ours = filters.gaussian_blur(image, sigma, kernel_size=kernel_size)
    expected = oracle.gaussian(image, sigma, kernel_size)
    np.testing.assert_allclose(ours, expected, atol=2e-6)


def test_blur_leaves_flat_images_flat():
    flat = np.full((6, 6, 3), 0.4, "float32")
    blurred = filters.gaussian_blur(flat, 1.0, kernel_size=5)
    np.testing.assert_allclose(blurred, flat, rtol=1e-6)


def test_sigma_is_uniform():
    assert uniform_p(draws(ops.GaussianBlur())["sigma"], 0.1, 2.0) > 1e-3


@pytest.mark.parametrize("factor", [0.0, 0.5, 1.0, 1.9])
def test_sharpness_equals_scipy_and_pillow(factor):
    levels = noise(9, 12, 3)
    ours = filters.adjust_sharpness(to_float(levels), factor).numpy()
    expected = oracle.sharpness(levels / 255, factor)
    np.testing.assert_allclose(ours, expected, atol=2e-6)
    # Pillow rounds the smooth image and the result to whole levels.
    pillow = oracle.pillow_sharpness(levels, factor) / 255
    np.testing.assert_allclose(ours, pillow, atol=2.01 / 255)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: ops.GaussianBlur(4), "must be odd.*Try 5"),
        (lambda: ops.GaussianBlur(sigma=(0.0, 1.0)), "`sigma` must be"),
        (lambda: ops.GaussianBlur(9)(unit(4, 4, 3), seed=[0, 0]), "2 \\* side - 1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(make, says):
    with pytest.raises(ValueError, match=says):
        make()
