"""Random rotation and perspective."""

import numpy as np
import pytest
import tensorflow as tf
from image_views import draws, equal_chances_p, noise, uniform_p, unit
from scipy import stats

from keras_kd.data import ops
from keras_kd.data.ops import warp


@pytest.mark.parametrize("degrees", [20.0, 15.0])
def test_angles_are_uniform(degrees):
    angles = draws(ops.RandomRotation(degrees))["degrees"]
    assert uniform_p(angles, -degrees, degrees) > 1e-3


def test_corners_move_inward_by_whole_pixels_with_equal_chances():
    # Half of 32 by 20 is 16 and 10; half of that, 8 and 5, at most.
    op = ops.RandomPerspective(distortion=0.5, p=1.0)
    corners = draws(op, size=(20, 32))["corners"]
    still = np.array([[0, 0], [31, 0], [31, 19], [0, 19]])
    inward = (corners - still) * [[1, 1], [-1, 1], [-1, -1], [1, -1]]
    for corner in range(4):
        assert equal_chances_p(inward[:, corner, 0], 9) > 1e-3
        assert equal_chances_p(inward[:, corner, 1], 6) > 1e-3


def test_share_of_perspectives_is_p():
    corners = draws(ops.RandomPerspective(p=0.3), size=(32, 32))["corners"]
    moved = np.any(corners != [[0, 0], [31, 0], [31, 31], [0, 31]], axis=(1, 2))
    # A moved view keeps all corners with a chance of 9 ** -8 only.
    assert stats.binomtest(int(moved.sum()), len(moved), 0.3).pvalue > 1e-3


def test_a_view_is_the_warp_of_what_was_drawn():
    image, seed = unit(16, 16, 3), tf.constant([3, 4], tf.int64)
    rotation = ops.RandomRotation(interpolation="bilinear", fill=0.5)
    drawn = rotation.draw(seed)
    np.testing.assert_array_equal(
        rotation(image, seed),
        warp.rotate(image, drawn["degrees"], interpolation="bilinear", fill=0.5),
    )
    perspective = ops.RandomPerspective(p=1.0)
    corners = perspective.draw(seed, (16, 16))["corners"]
    np.testing.assert_array_equal(
        perspective(image, seed), warp.perspective(image, corners)
    )


def test_corners_are_black():
    image = np.full_like(noise(16, 16, 3), 255)
    view = ops.RandomRotation().transform(tf.constant(image), degrees=20.0).numpy()
    assert not view[[0, 0, -1, -1], [0, -1, 0, -1]].any()
    assert view[8, 8].min() == 255


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: ops.RandomRotation(-5), "`degrees` must be"),
        (lambda: ops.RandomRotation(fill=255), "`fill` must be"),
        (lambda: ops.RandomRotation(interpolation="linear"), "Did you mean 'bilinear'"),
        (lambda: ops.RandomPerspective(distortion=1.5), "`distortion` must be"),
    ],
)
def test_settings_that_make_no_sense_are_refused(make, says):
    with pytest.raises(ValueError, match=says):
        make()
