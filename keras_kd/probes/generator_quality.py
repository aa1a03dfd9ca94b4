"""Quality of generated images: Fréchet distance and inception score."""

import dataclasses
import os

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from keras_kd._common.checks import check_whole_number
from keras_kd._common.table import InTable
from keras_kd.metrics import frechet_distance, inception_score
from keras_kd.probes._image_sets import first_images

_INCEPTION_FILE = "inception_v3_weights_tf_dim_ordering_tf_kernels.h5"


@dataclasses.dataclass(frozen=True, repr=False)
class GeneratorQuality(InTable):
    """What `generator_quality` found.

    Attributes:
        frechet_distance: Between features of real and generated images; lower is
            closer.
        inception_score: Between 1 and the number of classes; higher is clearer and more
            varied.
        inception_score_std: Over its ten parts.
        real_inception_score: The same number for the real images: what to hope for.
        num_images: Images on each side.
        classifier: Name of the network that looked at them.

    Example:

    >>> quality = keras_kd.probes.GeneratorQuality(
    ...     frechet_distance=3.2, inception_score=3.4, inception_score_std=0.1,
    ...     real_inception_score=6.1, num_images=2000, classifier="small")
    >>> quality.inception_score < quality.real_inception_score
    True
    """

    frechet_distance: float
    inception_score: float
    inception_score_std: float
    real_inception_score: float
    num_images: int
    classifier: str


def generator_quality(
    generator,
    images,
    classifier=None,
    *,
    feature_layer=None,
    num_images=5000,
    batch_size=128,
    seed=0,
    verbose=1,
):
    """Compare generated images with real ones, as a classifier sees them.

    Args:
        generator: A `keras.Model` from latent vectors `(batch, latent_dim)` to images
            in [-1, 1], or a model with `generate(count, seed=)` such as `SNGAN`.
        images: Real images in [-1, 1]: an array `(n, height, width, channels)`, or a
            `tf.data.Dataset`, `keras.utils.PyDataset` or generator of batches: images,
            `(images, ...)`, or dicts with "image" as `keras_kd.data` gives. The first
            `num_images` are taken.
        classifier: A `keras.Model` from such images to logits. Defaults to Inception-v3
            (images resized to 299), whose ImageNet weights must be in Keras's cache.
        feature_layer: Name of the layer of `classifier` whose output, averaged over
            positions, gives the features. Defaults to the input of the last layer.
        num_images: Images on each side; the published FID uses 10,000 or more. Defaults
            to 5,000.
        batch_size: Images at a time. Defaults to 128.
        seed: Of the latent vectors. Defaults to 0.
        verbose: 0 hides the progress bar. Defaults to 1.

    Returns:
        A `GeneratorQuality`. With another classifier than Inception-v3 its numbers can
        be compared among themselves only.

    Raises:
        ValueError: For too few images, an unknown layer, or missing weights.

    Example:

    >>> latent = keras.Input((4,))
    >>> generator = keras.Model(latent, keras.layers.Reshape((8, 8, 1))(
    ...     keras.layers.Dense(64, "tanh")(latent)))
    >>> classifier = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(),
    ...     keras.layers.Dense(5, "relu"), keras.layers.Dense(3)])
    >>> images = np.random.uniform(-1, 1, (40, 8, 8, 1))
    >>> quality = keras_kd.probes.generator_quality(
    ...     generator, images, classifier, num_images=40, verbose=0)
    >>> 1 <= quality.inception_score <= 3
    True

    References: Heusel et al. 2017; Salimans et al. 2016. The figures that Stanton et
    al. 2021 quote take the class logits for features, with 5,000 generated images.
    """
    num_images = check_whole_number("num_images", num_images, at_least=2)
    look = _observer(classifier, feature_layer)
    real = look(first_images(images, num_images, batch_size), num_images, verbose)
    made = look(
        _generated_batches(generator, num_images, batch_size, seed), num_images, verbose
    )
    splits = min(10, num_images)
    mean, deviation = inception_score(made[1], splits)
    return GeneratorQuality(
        frechet_distance=frechet_distance(real[0], made[0]),
        inception_score=mean,
        inception_score_std=deviation,
        real_inception_score=inception_score(real[1], splits)[0],
        num_images=num_images,
        classifier="inception_v3" if classifier is None else classifier.name,
    )


def _observer(classifier, feature_layer):
    """A function from batches of images to `(features, logits)` of all of them."""
    resize = None
    if classifier is None:
        classifier, resize = _inception(), 299
    both = keras.Model(
        classifier.inputs, [_features(classifier, feature_layer), classifier.outputs[0]]
    )

    @tf.function(reduce_retracing=True)
    def outputs(batch):
        batch = tf.cast(batch, tf.float32)
        if resize is not None:
            batch = tf.image.resize(batch, (resize, resize))
            batch = tf.repeat(batch, 3, -1) if batch.shape[-1] == 1 else batch
        return both(batch, training=False)

    def look(batches, total, verbose):
        found = []
        with tqdm(total=total, unit="image", disable=not verbose) as bar:
            for batch in batches:
                found.append([x.numpy().reshape(len(x), -1) for x in outputs(batch)])
                bar.update(len(batch))
        came = sum(len(features) for features, _ in found)
        if came < total:
            raise ValueError(
                f"{total} images are to be compared but only {came} came. Set "
                f"num_images={came} or give more images."
            )
        return [np.concatenate(parts) for parts in zip(*found, strict=True)]

    return look


def _features(classifier, name):
    if name is None:
        output = classifier.layers[-1].input
    else:
        names = [layer.name for layer in classifier.layers]
        if name not in names:
            raise ValueError(
                f"`feature_layer` must name a layer of {classifier.name!r}: {names}. "
                f"Received: {name!r}."
            )
        output = classifier.get_layer(name).output
    if len(output.shape) == 4:
        return keras.ops.mean(output, axis=(1, 2))
    return output


def _inception():
    home = os.environ.get("KERAS_HOME", os.path.join(os.path.expanduser("~"), ".keras"))
    path = os.path.join(home, "models", _INCEPTION_FILE)
    if not os.path.exists(path):
        raise ValueError(
            "Without `classifier`, Inception-v3 with its ImageNet weights is needed. "
            f"Its file is not there: {path}. Download it once with "
            "keras.applications.InceptionV3(), or give a classifier of your own."
        )
    return keras.applications.InceptionV3(weights=path, classifier_activation=None)


def _generated_batches(generator, total, batch_size, seed):
    if callable(getattr(generator, "generate", None)):
        made = generator.generate(total, seed=seed, batch_size=batch_size)
        return (made[i : i + batch_size] for i in range(0, total, batch_size))
    seeds = keras.random.SeedGenerator(seed)
    width = generator.inputs[0].shape[-1]
    return (
        generator(
            keras.random.normal((min(batch_size, total - i), width), seed=seeds),
            training=False,
        )
        for i in range(0, total, batch_size)
    )
