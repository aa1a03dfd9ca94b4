"""Hiding squares."""

import numpy as np
import pytest
import tensorflow as tf
from image_views import draws, equal_chances_p, noise

from keras_kd.data import ops
from keras_kd.data.ops.cutout import cut_out


@pytest.mark.parametrize("length", [1, 4, 5])
def test_holes_equal_numpy(length):
    image = noise(9, 11, 3) | 1  # nothing black yet
    centers = [[0, 0], [4, 5], [8, 10]]
    expected = image.copy()
    for row, column in centers:
        top, left = max(row - length // 2, 0), max(column - length // 2, 0)
        expected[top : row + length // 2, left : column + length // 2] = 0
    ours = cut_out(tf.constant(image), tf.constant(centers), length)
    np.testing.assert_array_equal(ours, expected)


def test_a_hole_inside_has_its_full_size():
    view = ops.Cutout(length=16).transform(np.ones((224, 224, 1)), [[100, 50]])
    assert np.sum(np.asarray(view) == 0) == 16 * 16


def test_centres_are_any_pixel_with_equal_chances():
    centers = draws(ops.Cutout(holes=2), size=(6, 9))["centers"]
    for hole in range(2):
        assert equal_chances_p(centers[:, hole, 0] * 9 + centers[:, hole, 1], 54) > 1e-3
    assert np.any(centers[:, 0] != centers[:, 1])


@pytest.mark.parametrize("arguments", [{"holes": 0}, {"length": 0}])
def test_settings_that_make_no_sense_are_refused(arguments):
    with pytest.raises(ValueError, match="at least 1"):
        ops.Cutout(**arguments)
