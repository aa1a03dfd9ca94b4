"""Moving pixels, against SciPy and Pillow."""

import numpy as np
import pytest
import tensorflow as tf
from image_views import noise, unit
from oracles import images as oracle

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


def test_a_quarter_turn_equals_numpy():
    image = noise(6, 6, 3)
    np.testing.assert_array_equal(warp.rotate(image, 90.0), np.rot90(image))
    np.testing.assert_array_equal(warp.rotate(image, 0.0), image)


@pytest.mark.parametrize("interpolation", ORDER)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_perspective_equals_scipy(shape, interpolation):
    image = unit(*shape)
    bottom, right = shape[0] - 1, shape[1] - 1
    corners = [[1, 2], [right - 2, 0], [right, bottom - 3], [2, bottom - 1]]
    view = warp.perspective(image, corners, interpolation=interpolation)
    matrix = oracle.homography(corners, shape)
    assert_equals_oracle(view, image, matrix, interpolation)


def test_perspective_takes_corner_pixels_where_they_are_sent():
    image = unit(9, 9, 3)
    corners = [[1, 2], [7, 0], [8, 5], [2, 7]]
    view = warp.perspective(image, corners, interpolation="nearest").numpy()
    sources = [image[0, 0], image[0, 8], image[8, 8], image[8, 0]]
    for (x, y), pixel in zip(corners, sources, strict=True):
        np.testing.assert_array_equal(view[y, x], pixel)


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
