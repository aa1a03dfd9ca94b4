"""What all ops share: draws, streams, configs, dtypes and ranges."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from image_views import draws, noise, uniform_p, unit
from scipy import stats

from keras_kd.data import ops
from keras_kd.data.ops import base

OPS = {
    "AutoAugment": ops.AutoAugment(),
    "ColorJitter": ops.ColorJitter(0.9, 0.9, 0.9, 0.5),
    "Cutout": ops.Cutout(holes=2, length=5),
    "GaussianBlur": ops.GaussianBlur(5),
    "LayerOp": ops.LayerOp(keras.layers.RandomTranslation(0.2, 0.2)),
    "RandAugment": ops.RandAugment(magnitude=30),
    "RandomApply": ops.RandomApply([ops.GaussianBlur(), ops.RandomHorizontalFlip()]),
    "RandomCrop": ops.RandomCrop(padding=3),
    "RandomGrayscale": ops.RandomGrayscale(p=0.5),
    "RandomHorizontalFlip": ops.RandomHorizontalFlip(),
    "RandomPerspective": ops.RandomPerspective(),
    "RandomResizedCrop": ops.RandomResizedCrop(9, interpolation="bicubic"),
    "RandomRotation": ops.RandomRotation(fill=0.3),
    "RandomVerticalFlip": ops.RandomVerticalFlip(),
    "ReleasedAutoAugment": ops.ReleasedAutoAugment(),
    "Resize": ops.Resize((7, 9), interpolation="bicubic"),
}


def test_every_public_op_is_here():
    assert {*OPS, "ImageOp"} == set(ops.__all__)


@pytest.mark.parametrize("op", OPS.values(), ids=OPS)
def test_config_round_trip_through_json(op):
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(op)))
    assert keras.saving.deserialize_keras_object(config) == op


@pytest.mark.parametrize("op", OPS.values(), ids=OPS)
def test_float_pixels_stay_between_0_and_1(op):
    black_and_white = (unit(12, 12, 3) > 0.5).astype("float32")
    for i in range(30):
        view = op(black_and_white, seed=[0, i])
        assert view.dtype == tf.float32
        assert np.min(view) >= 0, i
        assert np.max(view) <= 1, i


@pytest.mark.parametrize("op", OPS.values(), ids=OPS)
def test_uint8_stays_only_where_no_pixel_is_computed(op):
    if not op.needs_float:
        assert op(noise(12, 12, 3), seed=[0, 0]).dtype == tf.uint8


def test_numbers_are_those_of_tensorflow():
    seed = tf.constant([5, 7], tf.int64)
    expected = tf.random.stateless_uniform([9], seed, alg="philox")
    np.testing.assert_array_equal(base.uniform(seed, 9), expected)


@pytest.mark.parametrize("count", [1, 3, 9, 256])
def test_whole_numbers_stay_below_their_count(count):
    largest = np.nextafter(np.float32(1), np.float32(0))
    assert int(base.whole(largest, count)) == count - 1
    assert int(base.whole(np.float32(0), count)) == 0


def test_255_is_exactly_1():
    floats = base.to_float(tf.cast(tf.range(256), tf.uint8)).numpy()
    assert floats[255] == 1
    np.testing.assert_allclose(floats, np.arange(256) / 255, rtol=1e-7)


def test_streams_of_different_name_share_no_draw():
    op = ops.RandomRotation()
    first = draws(op, stream="random_rotation/0")["degrees"]
    second = draws(op, stream="random_rotation/1")["degrees"]
    assert uniform_p(second, -20, 20) > 1e-3
    # |correlation| of independent numbers stays below 4 / sqrt(5000).
    assert abs(np.corrcoef(first, second)[0, 1]) < 4 / np.sqrt(len(first))
    assert stats.ks_2samp(first, second).pvalue > 1e-3


def test_an_op_without_transform_says_so():
    with pytest.raises(NotImplementedError, match="must implement `transform"):
        ops.ImageOp()(unit(2, 2, 3), seed=[0, 0])
