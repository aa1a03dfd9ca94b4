"""Keras's preprocessing layers as ops."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from image_views import examples, noise, unit

from keras_kd import data
from keras_kd.data import ops

layers = keras.layers
RANDOM = {
    "RandomFlip": lambda: layers.RandomFlip(),
    "RandomRotation": lambda: layers.RandomRotation(0.2),
    "RandomTranslation": lambda: layers.RandomTranslation(0.2, 0.2),
    "RandomBrightness": lambda: layers.RandomBrightness(0.4),
    "RandomCrop": lambda: layers.RandomCrop(10, 10),
    "RandomErasing": lambda: layers.RandomErasing(),
    "RandomColorJitter": lambda: layers.RandomColorJitter(
        brightness_factor=0.3, contrast_factor=0.3, hue_factor=0.2
    ),
    "Sequential": lambda: keras.Sequential(
        [layers.RandomFlip(), layers.RandomRotation(0.2)]
    ),
    "Pipeline": lambda: layers.Pipeline(
        [layers.RandomFlip(), layers.RandomRotation(0.2)]
    ),
}


@pytest.mark.parametrize("make", RANDOM.values(), ids=RANDOM)
def test_views_in_a_parallel_pipeline_equal_those_outside(make):
    policy = data.AugmentationPolicy([ops.LayerOp(make())])
    images = np.stack([noise(16, 16, 3)] * 12)
    outside = policy(images, seed=3, index=np.arange(12), view=1).numpy()

    def pipeline(dataset, **parallel):
        (batch,) = dataset.apply(data.augment(policy, seed=3, **parallel)).batch(12)
        return batch["image"].numpy()[np.argsort(batch["index"])]

    views = pipeline(examples(images, view=1), num_parallel_calls=None)
    shuffled = examples(images, view=1).shuffle(12, seed=0)
    np.testing.assert_array_equal(pipeline(shuffled, num_parallel_calls=4), views)
    # Eagerly, layers round in other places.
    np.testing.assert_allclose(views, outside, atol=3e-6)
    assert len({view.tobytes() for view in views}) > 1


def test_a_layer_keeps_its_own_state():
    layer, twin = layers.RandomFlip(seed=5), layers.RandomFlip(seed=5)
    op, image = ops.LayerOp(layer), unit(8, 8, 3)
    op(image, seed=[1, 2])
    assert "next" not in vars(layer.generator)
    np.testing.assert_array_equal(layer.generator.state, twin.generator.state)
    np.testing.assert_array_equal(
        layer(image, training=True), twin(image, training=True)
    )


def test_a_layer_is_left_alone_after_an_error():
    layer = layers.RandomFlip()
    op = ops.LayerOp(layer)
    with pytest.raises(ValueError, match="rank"):
        op.transform(tf.zeros([3]), seed=tf.constant([0, 0], tf.int64))
    assert "next" not in vars(layer.generator)


def test_pixels_are_scaled_to_the_range_of_the_layer():
    image = unit(4, 4, 3)
    for value_range in ((0, 255), (0, 1), (-1, 1)):
        layer = layers.Solarization(
            threshold_factor=(0.5, 0.5), value_range=value_range
        )
        view = ops.LayerOp(layer)(image, seed=[0, 7])
        assert np.min(view) >= 0
        assert np.max(view) <= 1
        # Each pixel is kept or inverted, whatever the range.
        kept = np.isclose(view, image, atol=1e-5)
        inverted = np.isclose(view, 1 - image, atol=1e-5)
        assert np.all(kept | inverted)
        assert np.any(kept)
        assert np.any(inverted)


def test_a_layer_without_randomness_is_a_plain_function():
    op = ops.LayerOp(layers.Rescaling(0.5))
    image = unit(4, 4, 3)
    np.testing.assert_allclose(op(image, seed=[0, 0]), image / 2, rtol=1e-6)


class Careless(layers.Layer):
    """Draws from TensorFlow's own state."""

    def call(self, images, training=False):
        return images * tf.random.uniform([])


@pytest.mark.parametrize(
    "make", [Careless, layers.AugMix], ids=["stateful layer", "AugMix"]
)
def test_a_layer_that_ignores_the_seed_is_refused(make):
    with pytest.raises(ValueError, match="no seed decides: the same seed gave two"):
        ops.LayerOp(make())


@pytest.mark.slow
def test_randaugment_of_keras_takes_the_seed_too():
    policy = data.AugmentationPolicy([ops.LayerOp(layers.RandAugment())])
    images = np.stack([noise(16, 16, 3)] * 6)
    outside = policy(images, seed=3, index=np.arange(6), view=1)
    views = examples(images, view=1).apply(data.augment(policy, seed=3)).batch(6)
    np.testing.assert_allclose(next(iter(views))["image"], outside, atol=3e-6)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # keras-cv imports what is deprecated
@pytest.mark.parametrize(
    "make",
    [
        lambda cv: cv.RandomFlip(),
        lambda cv: cv.RandomCrop(10, 10),
        lambda cv: cv.RandomSaturation((0.2, 0.8)),
        lambda cv: cv.RandomCutout(0.4, 0.4),
        lambda cv: cv.RandomHue(0.3, value_range=(0, 255)),
    ],
    ids=["flip", "crop", "saturation", "cutout", "hue"],
)
def test_layers_of_keras_cv_take_the_seed(make):
    keras_cv = pytest.importorskip("keras_cv")
    policy = data.AugmentationPolicy([ops.LayerOp(make(keras_cv.layers))])
    images = np.stack([noise(16, 16, 3)] * 8)
    outside = policy(images, seed=3, index=np.arange(8), view=1).numpy()
    views = examples(images, view=1).apply(data.augment(policy, seed=3)).batch(8)
    np.testing.assert_allclose(next(iter(views))["image"], outside, atol=1e-6)
    assert len({view.tobytes() for view in outside}) > 1


def test_a_layer_that_mixes_a_batch_is_refused():
    with pytest.raises(ValueError, match=r"mixes.*Use `keras_kd.data.mixup`"):
        ops.LayerOp(layers.MixUp())


def test_what_is_no_layer_is_refused():
    with pytest.raises(TypeError, match="must be a keras.layers.Layer"):
        ops.LayerOp("RandomFlip")
