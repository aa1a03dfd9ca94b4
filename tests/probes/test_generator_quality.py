"""Quality of a generator, as a classifier sees it."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose

from keras_kd import metrics
from keras_kd.models import SNGAN, sngan_generator
from keras_kd.probes import generator_quality

SHAPE = (8, 8, 1)


@pytest.fixture(scope="module")
def classifier():
    keras.utils.set_random_seed(1)
    return keras.Sequential(
        [
            keras.Input(SHAPE),
            keras.layers.Conv2D(5, 3, activation="relu", name="map"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(3, kernel_initializer="he_normal"),
        ],
        name="small",
    )


def images(count=50):
    return np.random.default_rng(0).uniform(-1, 1, (count, *SHAPE)).astype("float32")


def test_numbers_are_those_of_the_metrics(classifier):
    gan = SNGAN(SHAPE, latent_dim=4, generator_width=4, discriminator_width=4)
    real, made = images(), gan.generate(50, seed=7, batch_size=16)
    found = generator_quality(
        gan, real, classifier, num_images=50, batch_size=16, seed=7, verbose=0
    )
    features = [
        np.asarray(classifier.layers[0](x)).mean(axis=(1, 2)) for x in (real, made)
    ]
    logits = [np.asarray(classifier(x)) for x in (real, made)]
    distance = metrics.frechet_distance(*features)
    mean, deviation = metrics.inception_score(logits[1])
    assert_allclose(found.frechet_distance, distance, rtol=1e-4)
    assert_allclose(found.inception_score, mean, rtol=1e-5)
    assert_allclose(found.inception_score_std, deviation, rtol=1e-3, atol=1e-7)
    real_score = metrics.inception_score(logits[0])[0]
    assert_allclose(found.real_inception_score, real_score, rtol=1e-5)
    assert (found.num_images, found.classifier) == (50, "small")


def test_a_layer_with_positions_is_averaged_over_them(classifier):
    generator = sngan_generator(SHAPE, latent_dim=4, width=4)
    arguments = {"num_images": 40, "verbose": 0}
    by_name = generator_quality(
        generator, images(), classifier, feature_layer="map", **arguments
    )
    by_default = generator_quality(generator, images(), classifier, **arguments)
    assert_allclose(by_name.frechet_distance, by_default.frechet_distance, rtol=1e-5)


def test_real_images_may_come_in_batches(classifier):
    generator = sngan_generator(SHAPE, latent_dim=4, width=4)
    arguments = {"classifier": classifier, "num_images": 40, "verbose": 0}
    wanted = generator_quality(generator, images(), **arguments)
    for rows in (images(), (images(), range(50)), {"image": images()}):
        dataset = tf.data.Dataset.from_tensor_slices(rows).batch(7)
        assert generator_quality(generator, dataset, **arguments) == wanted
    made_elsewhere = ((part, None) for part in np.split(images(), 5))
    for data in (made_elsewhere, dataset.repeat(), [*images()]):
        assert generator_quality(generator, data, **arguments) == wanted


def test_images_that_generate_themselves_are_at_distance_zero(classifier):
    real = images()

    class Copy:
        def generate(self, count, *, seed, batch_size):
            return real[:count]

    found = generator_quality(Copy(), real, classifier, num_images=50, verbose=0)
    assert found.frechet_distance < 1e-6
    assert found.inception_score == found.real_inception_score


def test_too_few_images_are_refused(classifier):
    generator = sngan_generator(SHAPE, latent_dim=4, width=4)
    with pytest.raises(ValueError, match="num_images=50"):
        generator_quality(generator, images(), classifier, num_images=60, verbose=0)
    with pytest.raises(ValueError, match="only 0 came"):
        generator_quality(generator, images(0), classifier, num_images=60, verbose=0)


def test_an_unknown_layer_is_refused(classifier):
    generator = sngan_generator(SHAPE, latent_dim=4, width=4)
    with pytest.raises(ValueError, match="'map'"):
        generator_quality(generator, images(), classifier, feature_layer="nap")


def test_without_inceptions_weights_a_classifier_is_needed(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    generator = sngan_generator((32, 32, 3), latent_dim=4, width=4)
    with pytest.raises(ValueError, match=r"Download it once|classifier of your own"):
        generator_quality(generator, np.zeros((10, 32, 32, 3)))
