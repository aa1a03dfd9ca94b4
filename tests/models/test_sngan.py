"""SN-GAN's training."""

import keras
import numpy as np
import pytest
from keras import ops
from numpy.testing import assert_allclose, assert_array_equal
from two_devices import on_two_devices

from keras_kd.models import SNGAN, SNGANTraining
from keras_kd.models.sngan import TRAININGS

SHAPE = (4, 4, 1)


def training(**changes):
    settings = {
        "generator_steps": 20,
        "batch_size": 8,
        "discriminator_steps": 2,
        "minibatches": 2,
    }
    return SNGANTraining(**{**settings, **changes})


def small(shape=SHAPE, **changes):
    arguments = {
        "latent_dim": 4,
        "generator_width": 8,
        "discriminator_width": 8,
        "training": training(),
        **changes,
    }
    gan = SNGAN(shape, **arguments)
    gan.compile(run_eagerly=True)  # a graph of this size takes longer than a few steps
    return gan


def noise(count=32, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (count, *SHAPE)).astype("float32")


def test_the_recorded_trainings():
    """papers.md 1.4: appendix A.3, and the run whose generator the paper used."""
    appendix, released = TRAININGS["appendix"], TRAININGS["released"]
    assert appendix.generator_steps == 100_000
    assert (appendix.batch_size, appendix.minibatches) == (128, 5)
    assert released.generator_steps == 500 * 782
    assert (released.batch_size, released.minibatches) == (64, 1)
    for recipe, betas in ((appendix, (0, 0.9)), (released, (0.5, 0.999))):
        adam = recipe.optimizer()
        assert recipe.discriminator_steps == 5
        assert (adam.beta_1, adam.beta_2) == betas
    assert_allclose(released.optimizer().learning_rate, 2e-4)
    for updates in (1, 5):
        rate = appendix.optimizer(updates)._learning_rate
        steps = [0, 50_000 * updates, 100_000 * updates]
        rates = [float(rate(step)) for step in steps]
        assert_allclose(rates, [2e-4, (2e-4 + 1e-6) / 2, 1e-6], rtol=1e-5)


@pytest.mark.parametrize("minibatches", [1, 2])
def test_each_step_updates_the_generator_once(minibatches):
    gan = small(training=training(minibatches=minibatches))
    gan.fit(noise(), batch_size=gan.training.images_per_step, verbose=0)
    steps = 32 // gan.training.images_per_step
    assert int(gan.generator_optimizer.iterations) == steps
    assert int(gan.discriminator_optimizer.iterations) == 2 * steps


@pytest.mark.parametrize("minibatches", [1, 2])
def test_the_discriminator_sees_the_minibatches_in_turn(minibatches, monkeypatch):
    gan = small(training=training(minibatches=minibatches))
    seen = []
    score = gan._score

    def record(images, labels, training):
        seen.append(np.asarray(images))
        return score(images, labels, training)

    monkeypatch.setattr(gan, "_score", record)
    images = noise(16)
    gan.train_step(images)
    real = seen[1::2]  # of the generator's update first, then real, fake, real, fake
    halves = [images, images] if minibatches == 1 else [images[:8], images[8:]]
    for came, expected in zip(real, halves, strict=True):
        assert_array_equal(came, expected)


def test_losses_are_the_hinge_of_the_scores():
    gan = small()
    images, inputs = noise(8), np.ones((8, 4), "float32")
    gan._generator_inputs = lambda count, labels=None, seed=None: inputs
    fake = gan.generator(inputs, training=True)
    clone = keras.models.clone_model(gan.discriminator)
    clone.set_weights(gan.discriminator.get_weights())
    real_scores = np.asarray(clone(images, training=True), "float64")
    fake_scores = np.asarray(clone(fake, training=True), "float64")
    expected = np.maximum(0, 1 - real_scores).mean()
    expected += np.maximum(0, 1 + fake_scores).mean()
    assert_allclose(gan._update_discriminator(images, None, 1.0), expected, rtol=1e-5)

    clone.set_weights(gan.discriminator.get_weights())
    expected = -np.asarray(clone(gan.generator(inputs, training=True), training=True))
    assert_allclose(gan._update_generator(8, 1.0), expected.mean(), rtol=1e-4)


def test_the_average_follows_its_recursion():
    gan = small(ema_decay=0.3)
    mean = [np.asarray(w, "float64") for w in gan.averaged_generator.weights]
    for step in range(1, 4):
        gan.train_on_batch(noise(16, step))
        decay = min(0.3, (1 + step) / (10 + step))
        pairs = zip(mean, gan.generator.weights, strict=True)
        mean = [decay * m + (1 - decay) * np.asarray(w) for m, w in pairs]
    for expected, found in zip(mean, gan.averaged_generator.weights, strict=True):
        assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("classes", [None, 3])
def test_generation_is_a_function_of_the_seed(classes):
    gan = small(num_classes=classes)
    first = gan.generate(10, seed=1, batch_size=4)
    assert first.shape == (10, *SHAPE)
    assert np.abs(first).max() <= 1
    assert_array_equal(first, gan.generate(10, seed=1, batch_size=4))
    assert np.abs(first - gan.generate(10, seed=2)).max() > 1e-3
    before = [np.asarray(v) for v in gan.variables]
    gan.generate(3)
    for old, new in zip(before, gan.variables, strict=True):
        assert_array_equal(old, new)


def test_labels_reach_a_conditional_generator():
    gan = small(num_classes=3)
    gan.fit(noise(), np.arange(32) % 3, batch_size=16, verbose=0)
    zeros, ones = (gan.generate(4, np.full(4, label), seed=5) for label in (0, 1))
    assert np.abs(zeros - ones).max() > 1e-4


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path):
    images = noise(16)

    def fit(gan, epochs, initial_epoch=0):
        gan.fit(
            images,
            batch_size=16,
            shuffle=False,
            epochs=epochs,
            initial_epoch=initial_epoch,
            verbose=0,
        )

    whole = small()
    start = whole.get_weights()
    fit(whole, 2)

    first = small()
    first.set_weights(start)
    fit(first, 1)
    first.save(tmp_path / "gan.keras")
    second = keras.models.load_model(tmp_path / "gan.keras")
    second.run_eagerly = True  # as above; files do not say it
    assert int(second.discriminator_optimizer.iterations) == 2
    fit(second, 2, initial_epoch=1)
    for a, b in zip(whole.weights, second.weights, strict=True):
        assert_allclose(a, b, atol=1e-6)
    assert second.get_config() == whole.get_config()


def test_backup_and_restore_goes_on_after_an_interrupt(tmp_path):
    class Interrupt(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                raise KeyboardInterrupt

    def fit(gan, *callbacks):
        backup = keras.callbacks.BackupAndRestore(tmp_path)
        gan.fit(
            noise(16),
            batch_size=16,
            epochs=2,
            verbose=0,
            callbacks=[backup, *callbacks],
        )

    whole = small()
    start = whole.get_weights()
    whole.fit(noise(16), batch_size=16, epochs=2, verbose=0)
    broken = small()
    broken.set_weights(start)
    with pytest.raises(KeyboardInterrupt):
        fit(broken, Interrupt())
    resumed = small()
    fit(resumed)
    for a, b in zip(whole.weights, resumed.weights, strict=True):
        assert_allclose(a, b, atol=1e-6)


@pytest.mark.slow
@pytest.mark.distributed
def test_trains_under_a_strategy():
    with on_two_devices().scope():
        gan = small(training=training(discriminator_steps=1))  # a shorter graph
        gan.compile()
    history = gan.fit(noise(), batch_size=16, verbose=0).history
    assert np.isfinite(history["generator_loss"]).all()
    assert gan.generator_optimizer.iterations.numpy() == 2


@pytest.mark.slow
def test_learns_the_digits(digits):
    """Samples come nearer to the real images in mean and covariance of the pixels."""
    from keras_kd.metrics import frechet_distance

    images = (digits.x_train * 2 - 1).astype("float32")
    gan = small(
        (8, 8, 1),
        latent_dim=16,
        generator_width=16,
        discriminator_width=16,
        training=training(batch_size=64, beta_1=0.5, learning_rate=1e-3),
    )

    def distance():
        made = gan.generate(1000, seed=3)
        return frechet_distance(images.reshape(-1, 64), made.reshape(-1, 64))

    before = distance()
    gan.compile()
    gan.fit(images, batch_size=128, epochs=18, verbose=0)
    assert distance() < before / 3


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"training": "apendix"}, "Did you mean 'appendix'"),
        ({"num_classes": 1}, "num_classes"),
        ({"ema_decay": 1.5}, "ema_decay"),
    ],
)
def test_bad_arguments_are_refused(arguments, match):
    with pytest.raises(ValueError, match=match):
        SNGAN(SHAPE, **arguments)


def test_images_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"makes images of shape \(4, 4, 1\)"):
        small().fit(np.zeros((8, 12, 12, 1), "float32"), verbose=0)


def test_a_conditional_model_needs_labels():
    with pytest.raises(ValueError, match="needs batches"):
        small(num_classes=2).fit(noise(8), verbose=0)


def test_calling_it_generates():
    gan = small()
    latent = np.ones((2, 4), "float32")
    assert_array_equal(gan(latent), gan.generator(latent))
    assert ops.shape(gan(latent)) == (2, *SHAPE)
