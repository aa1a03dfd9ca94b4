"""SN-GAN, the papers' source of synthetic images, with its training."""

import dataclasses

import keras
import numpy as np
from keras import ops

from keras_kd._common.backend import value_and_gradients
from keras_kd._common.checks import check_choice, check_number, check_whole_number
from keras_kd.models.sngan_networks import sngan_discriminator, sngan_generator


@dataclasses.dataclass(frozen=True)
class SNGANTraining:
    """How an SN-GAN is trained: one recorded recipe, or your own.

    Args:
        generator_steps: Updates of the generator in a whole run.
        batch_size: Real images in each update of the discriminator.
        discriminator_steps: Updates of the discriminator in a step, each after that of
            the generator.
        minibatches: Different real minibatches in a step: as many as
            `discriminator_steps`, or 1, which all of them then share.
        learning_rate: Of Adam, for both networks.
        final_learning_rate: Reached linearly at the end of the run. None: constant.
        beta_1, beta_2: Of Adam.

    Example:

    >>> training = keras_kd.models.SNGANTraining(generator_steps=1000, batch_size=64)
    >>> training.images_per_step  # five minibatches
    320
    """

    generator_steps: int
    batch_size: int
    discriminator_steps: int = 5
    minibatches: int = 5
    learning_rate: float = 2e-4
    final_learning_rate: float | None = None
    beta_1: float = 0.0
    beta_2: float = 0.9

    @property
    def images_per_step(self):
        """Real images that one step of `fit` takes: the batch size to give it."""
        return self.batch_size * self.minibatches

    def optimizer(self, updates_per_step=1):
        """Adam for a network that is updated so many times in each step."""
        rate = self.learning_rate
        if self.final_learning_rate is not None:
            rate = keras.optimizers.schedules.PolynomialDecay(
                rate,
                decay_steps=self.generator_steps * updates_per_step,
                end_learning_rate=self.final_learning_rate,
            )
        return keras.optimizers.Adam(rate, beta_1=self.beta_1, beta_2=self.beta_2)


TRAININGS = {
    "appendix": SNGANTraining(
        generator_steps=100_000, batch_size=128, final_learning_rate=1e-6
    ),
    "released": SNGANTraining(
        generator_steps=391_000,
        batch_size=64,
        minibatches=1,
        beta_1=0.5,
        beta_2=0.999,
    ),
}


@keras.saving.register_keras_serializable(package="keras_kd")
class SNGAN(keras.Model):
    """Spectrally normalised GAN whose samples a teacher may label for its student.

    `fit` takes batches of real images in [-1, 1], or `(images, labels)` when
    `num_classes` is given. Each step updates the generator once and the discriminator
    `discriminator_steps` times, with the hinge loss. A running mean of the generator's
    weights is kept in `averaged_generator`, whose samples are cleaner.

    Give `fit` batches of `sngan.training.images_per_step` images: the step cuts them
    into its minibatches. Under `tf.distribute` each replica takes its part of every
    minibatch, with batch statistics of its own, as Keras's layers do.

    Args:
        image_shape: `(size, size, channels)`, size a multiple of 4. Defaults to
            `(32, 32, 3)`.
        latent_dim: Length of the latent vector. Defaults to 128.
        generator_width: Channels in the generator. Defaults to 256.
        discriminator_width: Channels in the discriminator. Defaults to 128.
        num_classes: Makes both networks conditional on labels. Defaults to None.
        training: `"appendix"` (Stanton et al. 2021, appendix A.3: 100,000 steps),
            `"released"` (the run whose generator the paper used: 391,000 steps), or an
            `SNGANTraining`. Defaults to `"appendix"`.
        ema_decay: Share of the old value in the running mean of the generator's
            weights, at each step; at step t of the first ones no more than
            `(1 + t) / (10 + t)`, so that a short run does not sample its own start.
            Defaults to 0.999. The paper samples from the generator itself (0 makes both
            the same).
        seed: Of latent vectors and labels. Defaults to 0.
        name: Name of the model.

    Example:

    >>> training = keras_kd.models.SNGANTraining(
    ...     generator_steps=2, batch_size=10, discriminator_steps=1, minibatches=1)
    >>> gan = keras_kd.models.SNGAN((8, 8, 1), latent_dim=4, generator_width=8,
    ...                             discriminator_width=8, training=training)
    >>> gan.compile()
    >>> images = np.random.uniform(-1, 1, (20, 8, 8, 1)).astype("float32")
    >>> history = gan.fit(images, batch_size=training.images_per_step, verbose=0)
    >>> gan.generate(3, seed=1).shape
    (3, 8, 8, 1)

    References: Miyato et al. 2018; Stanton et al. 2021, appendix A.2 and A.3.
    """

    def __init__(
        self,
        image_shape=(32, 32, 3),
        *,
        latent_dim=128,
        generator_width=256,
        discriminator_width=128,
        num_classes=None,
        training="appendix",
        ema_decay=0.999,
        seed=0,
        name="sngan",
    ):
        super().__init__(name=name)
        if isinstance(training, str):
            training = TRAININGS[check_choice("training", training, list(TRAININGS))]
        if num_classes is not None:
            num_classes = check_whole_number("num_classes", num_classes, at_least=2)
        self.training = training
        self.image_shape = tuple(image_shape)
        self.latent_dim = check_whole_number("latent_dim", latent_dim, at_least=1)
        self.num_classes = num_classes
        self.ema_decay = check_number("ema_decay", ema_decay, at_least=0, at_most=1)
        self._arguments = {
            "generator_width": generator_width,
            "discriminator_width": discriminator_width,
            "seed": seed,
        }
        shape = {"image_shape": self.image_shape, "num_classes": num_classes}
        wide = {**shape, "latent_dim": latent_dim, "width": generator_width}
        self.generator = sngan_generator(**wide)
        self.averaged_generator = sngan_generator(**wide, name="averaged_generator")
        self.averaged_generator.set_weights(self.generator.get_weights())
        self.discriminator = sngan_discriminator(**shape, width=discriminator_width)
        self._seeds = keras.random.SeedGenerator(seed)
        self._trackers = [
            keras.metrics.Mean(name=f"{side}_loss")
            for side in ("generator", "discriminator")
        ]
        self.built = True

    @property
    def metrics(self):
        return self._trackers

    def call(self, inputs, training=False):
        return self.generator(inputs, training=training)

    def compile(self, generator_optimizer=None, discriminator_optimizer=None, **kwargs):
        """Set the optimizers; those of the recorded training by default.

        Args:
            generator_optimizer: A Keras optimizer. Defaults to that of `training`.
            discriminator_optimizer: Another one. Defaults to that of `training`.
            **kwargs: As in `keras.Model.compile`.
        """
        super().compile(optimizer=None, **kwargs)
        updates = self.training.discriminator_steps
        self.generator_optimizer = generator_optimizer or self.training.optimizer()
        self.discriminator_optimizer = (
            discriminator_optimizer or self.training.optimizer(updates)
        )
        self.generator_optimizer.build(self.generator.trainable_variables)
        self.discriminator_optimizer.build(self.discriminator.trainable_variables)

    def train_step(self, data):
        """One update of the generator, then those of the discriminator."""
        images, labels = self._real(data)
        parts = self.training.minibatches
        size = ops.shape(images)[0]
        bounds = [size * i // parts for i in range(parts + 1)]
        scale = 1.0 / self.distribute_strategy.num_replicas_in_sync

        count = bounds[1] - bounds[0]
        generator_loss = self._update_generator(count, scale)
        for i in range(self.training.discriminator_steps):
            rows = slice(bounds[i % parts], bounds[i % parts + 1])
            part = None if labels is None else labels[rows]
            loss = self._update_discriminator(images[rows], part, scale)
            self._trackers[1].update_state(loss)
        self._average()
        self._trackers[0].update_state(generator_loss)
        return {tracker.name: tracker.result() for tracker in self._trackers}

    def _update_generator(self, count, scale):
        fixed = self._generator_inputs(count)

        def loss():
            images = self.generator(fixed, training=True)
            scores = self._score(images, self._labels_of(fixed), training=True)
            return -ops.mean(scores) * scale

        variables = self.generator.trainable_variables
        value, gradients = value_and_gradients(loss, variables)
        self.generator_optimizer.apply(gradients, variables)
        return value / scale

    def _average(self):
        step = ops.cast(self.generator_optimizer.iterations, "float32")
        decay = ops.minimum(self.ema_decay, (1 + step) / (10 + step))
        pairs = zip(
            self.averaged_generator.weights, self.generator.weights, strict=True
        )
        for mean, new in pairs:
            mean.assign(decay * mean + (1 - decay) * new)

    def _update_discriminator(self, real, labels, scale):
        inputs = self._generator_inputs(ops.shape(real)[0])
        fake = ops.stop_gradient(self.generator(inputs, training=True))

        def loss():
            on_real = self._score(real, labels, training=True)
            on_fake = self._score(fake, self._labels_of(inputs), training=True)
            hinge = ops.mean(ops.relu(1 - on_real)) + ops.mean(ops.relu(1 + on_fake))
            return hinge * scale

        variables = self.discriminator.trainable_variables
        value, gradients = value_and_gradients(loss, variables)
        self.discriminator_optimizer.apply(gradients, variables)
        return value / scale

    def _score(self, images, labels, training):
        inputs = images if labels is None else [images, labels]
        return self.discriminator(inputs, training=training)

    def _generator_inputs(self, count, labels=None, seed=None):
        seed = self._seeds if seed is None else seed
        latent = keras.random.normal((count, self.latent_dim), seed=seed)
        if self.num_classes is None:
            return latent
        if labels is None:
            labels = keras.random.randint((count,), 0, self.num_classes, seed=seed)
        return [latent, ops.cast(labels, "int32")]

    def _labels_of(self, generator_inputs):
        return None if self.num_classes is None else generator_inputs[1]

    def _real(self, data):
        images, labels, _ = keras.utils.unpack_x_y_sample_weight(data)
        if tuple(images.shape[1:]) != self.image_shape:
            raise ValueError(
                f"This SNGAN makes images of shape {self.image_shape}; the data has "
                f"{tuple(images.shape[1:])}. Set image_shape={tuple(images.shape[1:])}"
                " (a multiple of 4), or resize the images."
            )
        if self.num_classes is None:
            return images, None
        if labels is None:
            raise ValueError(
                "A conditional SNGAN needs batches (images, labels). Received images "
                "alone. Give labels, or set num_classes=None."
            )
        return images, labels

    def generate(self, count, labels=None, *, seed=0, averaged=True, batch_size=256):
        """Images from the generator in inference mode.

        Args:
            count: How many.
            labels: `(count,)` integers, for a conditional model. Defaults to random.
            seed: The same seed gives the same images. Defaults to 0.
            averaged: From the running mean of the weights. Defaults to True.
            batch_size: Images at a time. Defaults to 256.

        Returns:
            float32 array `(count, height, width, channels)` in [-1, 1].
        """
        model = self.averaged_generator if averaged else self.generator
        seeds = keras.random.SeedGenerator(seed)
        inputs = self._generator_inputs(count, labels, seeds)
        parts = range(0, count, batch_size)
        cut = keras.tree.map_structure
        return np.concatenate(
            [
                ops.convert_to_numpy(
                    model(
                        cut(lambda x, i=i: x[i : i + batch_size], inputs),
                        training=False,
                    )
                )
                for i in parts
            ]
        )

    # Keras saves no state of random numbers; with it a resumed run draws what the
    # uninterrupted one would have drawn.

    def save_own_variables(self, store):
        super().save_own_variables(store)
        store["seeds"] = ops.convert_to_numpy(self._seeds.state)

    def load_own_variables(self, store):
        self._seeds.state.assign(store["seeds"])

    def get_config(self):
        config = {
            "image_shape": self.image_shape,
            "latent_dim": self.latent_dim,
            "num_classes": self.num_classes,
            "training": dataclasses.asdict(self.training),
            "ema_decay": self.ema_decay,
            "name": self.name,
        }
        return {**config, **self._arguments}

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "training": SNGANTraining(**config["training"])})

    def get_compile_config(self):
        return keras.saving.serialize_keras_object(
            {
                "generator_optimizer": self.generator_optimizer,
                "discriminator_optimizer": self.discriminator_optimizer,
            }
        )

    def compile_from_config(self, config):
        self.compile(**keras.saving.deserialize_keras_object(config))
