"""Generator and discriminator of the papers' SN-GAN."""

import keras
import numpy as np
import pytest

from keras_kd.models import sngan_discriminator, sngan_generator


def trainable(model):
    return sum(int(np.prod(v.shape)) for v in model.trainable_variables)


def test_sizes_are_those_of_the_paper():
    """papers.md 1.4, from the released code."""
    assert trainable(sngan_generator()) == 4_079_363
    assert trainable(sngan_discriminator()) == 1_037_313


@pytest.mark.parametrize("classes", [None, 3])
@pytest.mark.parametrize("size", [4, 8, 12, 28, 32, 48, 64])
def test_images_of_any_multiple_of_four(size, classes):
    shape = (size, size, 2)
    generator = sngan_generator(shape, latent_dim=5, width=4, num_classes=classes)
    discriminator = sngan_discriminator(shape, width=4, num_classes=classes)
    label = np.array([0, 2])
    latent = np.random.default_rng(0).normal(size=(2, 5))
    inputs = latent if classes is None else [latent, label]
    images = np.asarray(generator(inputs))
    scores = discriminator(images if classes is None else [images, label])
    assert images.shape == (2, *shape)
    assert np.abs(images).max() <= 1
    assert scores.shape == (2, 1)


@pytest.mark.parametrize(
    ("size", "start"), [(32, 4), (64, 4), (28, 7), (8, 4), (48, 6), (20, 5), (4, 4)]
)
def test_the_generator_starts_from_four_to_seven_pixels(size, start):
    model = sngan_generator((size, size, 1), latent_dim=3, width=2)
    assert model.get_layer("start_map").output.shape == (None, start, start, 2)


def test_a_label_changes_image_and_score():
    generator = sngan_generator((8, 8, 1), latent_dim=5, width=4, num_classes=3)
    discriminator = sngan_discriminator((8, 8, 1), width=4, num_classes=3)
    latent = np.ones((2, 5), "float32")
    images = np.asarray(generator([latent, np.array([0, 1])]))
    assert np.abs(images[0] - images[1]).max() > 1e-3
    same = np.repeat(images[:1], 2, axis=0)
    scores = discriminator([same, np.array([0, 1])])
    assert abs(float(scores[0, 0] - scores[1, 0])) > 1e-4


def test_the_projection_is_the_inner_product_with_the_labels_vector():
    model = sngan_discriminator((8, 8, 1), width=4, num_classes=3)
    images = np.random.default_rng(0).uniform(-1, 1, (5, 8, 8, 1)).astype("float32")
    label = np.array([0, 1, 2, 1, 0])
    parts = [model.get_layer(name) for name in ("features", "score", "class")]
    features, score = keras.Model(model.inputs, [parts[0].output, parts[1].output])(
        [images, label]
    )
    vectors = np.asarray(parts[2].normalized_kernel())[label]
    expected = np.asarray(score)[:, 0] + np.sum(vectors * np.asarray(features), axis=1)
    np.testing.assert_allclose(model([images, label])[:, 0], expected, atol=1e-5)


def test_initial_weights_follow_xavier():
    model = sngan_generator()
    kernel = np.asarray(model.get_layer("block2_conv1").kernel)
    bound = np.sqrt(6 / (9 * 256 + 9 * 256))
    assert np.abs(kernel).max() <= bound
    assert abs(kernel.std() - bound / np.sqrt(3)) < 0.01 * bound
    skip = np.asarray(sngan_discriminator().get_layer("down1_skip").kernel)
    assert np.abs(skip).max() <= np.sqrt(2) * np.sqrt(6 / (3 + 128))
    assert np.abs(skip).max() > np.sqrt(6 / (3 + 128))


def test_a_saved_generator_needs_no_custom_objects(tmp_path):
    model = sngan_generator((8, 8, 1), latent_dim=3, width=4)
    model.save(tmp_path / "generator.keras")
    config = model.get_config()
    assert not any("keras_kd" in str(layer) for layer in config["layers"])
    loaded = keras.models.load_model(tmp_path / "generator.keras")
    latent = np.ones((2, 3), "float32")
    np.testing.assert_array_equal(model(latent), loaded(latent))


@pytest.mark.parametrize("network", [sngan_generator, sngan_discriminator])
@pytest.mark.parametrize("shape", [(30, 30, 3), (32, 28, 3), (32, 32), (2, 2, 1)])
def test_a_size_that_cannot_be_made_is_refused(network, shape):
    with pytest.raises(ValueError, match="multiple of 4"):
        network(shape)
