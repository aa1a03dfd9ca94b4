"""Mirroring."""

import numpy as np
import pytest
from image_views import draws, noise
from scipy import stats

from keras_kd.data import ops
from keras_kd.data.ops.flips import flip

IMAGE = noise(5, 7, 3)


def test_flips_equal_numpy():
    np.testing.assert_array_equal(flip(IMAGE, left_right=True), IMAGE[:, ::-1])
    np.testing.assert_array_equal(flip(IMAGE, upside_down=True), IMAGE[::-1])
    both = flip(IMAGE, upside_down=True, left_right=True)
    np.testing.assert_array_equal(both, IMAGE[::-1, ::-1])
    np.testing.assert_array_equal(flip(IMAGE), IMAGE)


@pytest.mark.parametrize("op", [ops.RandomHorizontalFlip, ops.RandomVerticalFlip])
def test_twice_is_the_identity(op):
    twice = op(1.0)(op(1.0)(IMAGE, seed=[0, 0]), seed=[0, 0])
    np.testing.assert_array_equal(twice, IMAGE)
    np.testing.assert_array_equal(op(0.0)(IMAGE, seed=[0, 0]), IMAGE)


def test_the_two_flip_their_own_axis():
    np.testing.assert_array_equal(
        ops.RandomHorizontalFlip(1.0)(IMAGE, seed=[0, 0]), IMAGE[:, ::-1]
    )
    np.testing.assert_array_equal(
        ops.RandomVerticalFlip(1.0)(IMAGE, seed=[0, 0]), IMAGE[::-1]
    )


@pytest.mark.parametrize("p", [0.5, 0.1])
def test_share_of_flips_is_p(p):
    flips = draws(ops.RandomHorizontalFlip(p))["flip"]
    assert stats.binomtest(int(flips.sum()), len(flips), p).pvalue > 1e-3


@pytest.mark.parametrize("p", [-0.1, 1.1, float("nan")])
def test_a_p_that_is_no_probability_is_refused(p):
    with pytest.raises(ValueError, match="`p` must be a finite number >= 0 and <= 1"):
        ops.RandomVerticalFlip(p)
