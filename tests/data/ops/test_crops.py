"""Cutting and scaling, against NumPy, Pillow and torchvision's way to draw."""

import numpy as np
import pytest
import tensorflow as tf
from image_views import draws, equal_chances_p, noise, uniform_p, unit
from oracles import images as oracle
from scipy import stats

from keras_kd.data import ops
from keras_kd.data.ops import crops


@pytest.mark.parametrize("top_left", [(0, 0), (8, 3), (4, 4)])
def test_padded_crop_equals_numpy(top_left):
    image = noise(10, 12, 3)
    padded = np.pad(image, [(4, 4), (4, 4), (0, 0)])
    top, left = top_left
    np.testing.assert_array_equal(
        ops.RandomCrop().transform(image, top_left=top_left),
        padded[top : top + 10, left : left + 12],
    )


def test_crop_of_another_size_equals_numpy():
    image = noise(10, 12, 3)
    part = ops.RandomCrop((6, 5), padding=0).transform(image, top_left=[4, 7])
    np.testing.assert_array_equal(part, image[4:10, 7:12])


def test_all_places_of_a_padded_crop_have_equal_chances():
    places = draws(ops.RandomCrop(padding=4))["top_left"]
    assert equal_chances_p(places[:, 0] * 9 + places[:, 1], 81) > 1e-3


def test_all_places_of_a_smaller_crop_have_equal_chances():
    places = draws(ops.RandomCrop((6, 5), padding=1), size=(10, 12))["top_left"]
    assert equal_chances_p(places[:, 0], 10 + 2 - 6 + 1) > 1e-3
    assert equal_chances_p(places[:, 1], 12 + 2 - 5 + 1) > 1e-3


def test_a_crop_larger_than_the_image_is_refused():
    with pytest.raises(ValueError, match="must fit into the padded image"):
        ops.RandomCrop(20, padding=4)(noise(10, 12, 3), seed=[0, 0])


@pytest.mark.parametrize("method", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(23, 31), (5, 4), (23, 4)], ids=str)
def test_resize_equals_pillow(size, method):
    image = unit(11, 9, 3)
    resized = crops.resize(tf.constant(image), size, interpolation=method)
    np.testing.assert_allclose(resized, oracle.resized(image, size, method), atol=2e-6)


def test_nearest_resize_repeats_pixels():
    image = noise(3, 2, 1)
    resized = crops.resize(tf.constant(image), (6, 4), interpolation="nearest")
    np.testing.assert_array_equal(resized, image.repeat(2, 0).repeat(2, 1))


def test_resized_crop_is_crop_then_resize():
    image = unit(16, 20, 3)
    op = ops.RandomResizedCrop((12, 10), interpolation="bicubic")
    view = op.transform(
        tf.constant(image), top_left=tf.constant([3, 5]), part=tf.constant([7, 9])
    )
    expected = oracle.resized(image[3:10, 5:14], (12, 10), "bicubic")
    np.testing.assert_allclose(view, expected, atol=2e-6)


def test_area_and_shape_of_a_crop_that_always_fits_are_as_stated():
    op = ops.RandomResizedCrop(scale=(0.1, 0.5), ratio=(0.8, 1.25))
    side = 4000  # so that whole pixels do not show
    parts = draws(op, size=(side, side))["part"].astype("float64")
    assert uniform_p(parts.prod(1) / side**2, 0.1, 0.5) > 1e-3
    ratio = np.log(parts[:, 1] / parts[:, 0])
    assert uniform_p(ratio, np.log(0.8), np.log(1.25)) > 1e-3


@pytest.mark.parametrize(
    ("size", "scale", "ratio"),
    [
        ((32, 32), (0.2, 1.0), (3 / 4, 4 / 3)),
        ((20, 50), (0.5, 1.0), (3 / 4, 4 / 3)),
        ((10, 40), (1.0, 1.0), (1.0, 1.0)),  # never fits: the middle
        ((40, 10), (1.0, 1.0), (1.0, 1.0)),
    ],
    ids=str,
)
def test_resized_crops_are_distributed_as_torchvision_draws_them(size, scale, ratio):
    ours = draws(ops.RandomResizedCrop(scale=scale, ratio=ratio), size=size)
    ours = np.concatenate([ours["top_left"], ours["part"]], 1)
    rng = np.random.default_rng(0)
    theirs = np.array(
        [oracle.resized_crop(rng, *size, scale, ratio) for _ in range(len(ours))]
    )
    for a, b in zip(ours.T, theirs.T, strict=True):
        assert stats.ks_2samp(a, b).pvalue > 1e-3


def test_a_crop_lies_inside_the_image():
    drawn = draws(ops.RandomResizedCrop(), size=(7, 13))
    assert np.all(drawn["top_left"] >= 0)
    assert np.all(drawn["part"] >= 1)
    assert np.all(drawn["top_left"] + drawn["part"] <= [7, 13])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"size": (1, 2, 3)}, "one number or two"),
        ({"size": 0}, "at least 1"),
        ({"scale": (0.5, 0.2)}, "the lower one first"),
        ({"scale": (0.5, 2.0)}, "<= 1"),
        ({"interpolation": "cubic"}, "Did you mean 'bicubic'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(arguments, says):
    with pytest.raises(ValueError, match=says):
        ops.RandomResizedCrop(**arguments)
