"""Moving pixels, against SciPy and Pillow."""

import numpy as np
import pytest
import tensorflow as tf
from image_views import noise, unit
from oracles import images as oracle
from PIL import Image

from keras_kd.data.ops import warp

SHAPES = [(12, 12, 3), (9, 16, 1)]
ORDER = {"nearest": 0, "bilinear": 1}


def assert_equals_oracle(view, image, matrix, interpolation, fill=0.0):
    expected = oracle.warp(image, matrix, order=ORDER[interpolation], fill=fill)
    known = np.ones(image.shape[:2], bool)
    if interpolation == "nearest":
        known = oracle.decided(image.shape, matrix)
    assert known.mean() > 0.8
    np.testing.assert_allclose(np.asarray(view)[known], expected[known], atol=3e-5)


@pytest.mark.parametrize("interpolation", ORDER)
@pytest.mark.parametrize("degrees", [-19.3, 7.0, 100.0])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_rotation_equals_scipy(shape, degrees, interpolation):
    image = unit(*shape)
    view = warp.rotate(image, degrees, interpolation=interpolation, fill=0.25)
    matrix = oracle.rotation(shape, degrees)
    assert_equals_oracle(view, image, matrix, interpolation, fill=0.25)


@pytest.mark.parametrize("shape", [(12, 12, 3), (9, 16, 3)], ids=str)
def test_nearest_rotation_equals_pillow(shape):
    """Whose middle is half the size, of pixels read at their own middles."""
    image = noise(*shape)
    known = oracle.decided(shape, oracle.rotation(shape, 19.3))
    expected = np.asarray(Image.fromarray(image).rotate(19.3))
    view = warp.rotate(image, 19.3).numpy()
    np.testing.assert_array_equal(view[known], expected[known])


def test_a_quarter_turn_equals_numpy():
    image = noise(6, 6, 3)
    np.testing.assert_array_equal(warp.rotate(image, 90.0), np.rot90(image))
    np.testing.assert_array_equal(warp.rotate(image, 0.0), image)


def moved_corners(shape):
    bottom, right = shape[0] - 1, shape[1] - 1
    return [[1, 2], [right - 2, 0], [right, bottom - 3], [2, bottom - 1]]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_bilinear_perspective_equals_torchvision(shape):
    image, corners = unit(*shape), moved_corners(shape)
    view = warp.perspective(image, corners, fill=0.25)
    expected = oracle.torchvision_perspective(image, corners, fill=0.25)
    np.testing.assert_allclose(view, expected, atol=3e-5)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_nearest_perspective_equals_pillow(shape):
    image, corners = noise(*shape), moved_corners(shape)
    view = warp.perspective(image, corners, interpolation="nearest").numpy()
    matrix = oracle.homography(corners, shape)
    expected = oracle.pillow_perspective(np.squeeze(image), matrix)
    assert np.mean(view == expected.reshape(shape)) > 0.99  # but for ties


def test_perspective_that_moves_no_corner_is_the_identity():
    image = unit(8, 11, 3)
    view = warp.perspective(image, [[0, 0], [10, 0], [10, 7], [0, 7]])
    np.testing.assert_array_equal(view, image)


@pytest.mark.parametrize("amount", [0.3, -0.17])
def test_shear_equals_pillow(amount):
    image = noise(13, 11, 3)
    shape = image.shape
    rows = [1, amount, amount / 2, 0, 1, 0, 0, 0]
    columns = [1, 0, 0, amount, 1, amount / 2, 0, 0]
    for view, matrix, six in (
        (warp.shear_x(image, amount), rows, (1, amount, 0, 0, 1, 0)),
        (warp.shear_y(image, amount), columns, (1, 0, 0, amount, 1, 0)),
    ):
        known = oracle.decided(shape, matrix)
        expected = oracle.pillow_affine(image, six)
        np.testing.assert_array_equal(view.numpy()[known], expected[known])


def test_translation_equals_numpy():
    image = noise(7, 9, 3)
    moved = np.zeros_like(image)
    moved[2:, :-3] = image[:-2, 3:]
    np.testing.assert_array_equal(warp.translate(image, -3.0, 2.0), moved)


def test_sizes_that_only_the_data_tells_give_the_same_pixels():
    image = unit(9, 16, 3)
    unknown = tf.TensorSpec([None, None, 3])
    traced = tf.function(lambda x: warp.rotate(x, 33.0), input_signature=[unknown])
    np.testing.assert_array_equal(traced(image), warp.rotate(image, 33.0))
