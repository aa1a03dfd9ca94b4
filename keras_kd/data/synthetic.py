"""Images that are in no training set: a generator's samples, other data sets."""

import numpy as np
import tensorflow as tf

from keras_kd._common.checks import check_number, check_whole_number
from keras_kd.data import _appended, _examples
from keras_kd.data._generator import Generator, sample
from keras_kd.data._seeds import check_seed, stateless_seed
from keras_kd.data.sources import load

_RANGE_TOLERANCE = 1e-3
_ROWS = 2**12  # more synthetic rows than any batch has


def gan_samples(
    generator,
    ratio=0.2,
    seed=0,
    *,
    batch_size=None,
    num_classes=None,
    temperature=None,
    device=None,
):
    """Append fresh samples of a generator to each batch: none comes twice.

    The whole batch holds `int(ratio * size)` samples: behind 103 real images come 25,
    as in the paper. They have no label. The latent vectors depend on the seed, the
    first example of the batch and the pass alone, and the generator runs in inference
    mode within the pipeline, with the weights that it has at this call.

    Args:
        generator: A `keras.Model` from latent vectors `(batch, latent_dim)` to images
            in [-1, 1], or the path of a saved one. A conditional one takes
            `[latent, labels]`.
        ratio: Share of samples in the whole batch, in [0, 1). Defaults to 0.2.
        seed: Of the latent vectors. Defaults to 0.
        batch_size: Size of a whole batch, real and synthetic, where the real ones alone
            leave it open (52 real images may stand for 128 to 130 at ratio 0.6); the
            papers have 128. Defaults to the largest.
        num_classes: Of a conditional generator: labels are drawn uniformly.
        temperature: Of the samples in distillation losses. Defaults to that of the
            loss. See `with_temperature`.
        device: Where the generator runs, such as `"GPU:0"`. Defaults to the CPU, on
            which 25 samples of the papers' generator cost more than a training step
            of their ResNets (80 GFLOP); `fixed_gan_samples` costs nothing.

    Returns:
        A function for `Dataset.apply`, on batches of images in [-1, 1]
        (`normalize("unit_cube")`). Added rows have negative "index" numbers.

    Example:

    >>> import tensorflow as tf
    >>> generator = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4, "tanh"),
    ...                               keras.layers.Reshape((2, 2, 1))])
    >>> images = np.zeros((206, 2, 2, 1), "float32")
    >>> rows = {"index": range(206), "view": [0] * 206, "image": images,
    ...         "label": [3] * 206}
    >>> batches = tf.data.Dataset.from_tensor_slices(rows).batch(103)
    >>> for batch in batches.apply(keras_kd.data.gan_samples(generator, ratio=0.2)):
    ...     batch["image"].shape[0], int(tf.reduce_sum(batch["label"]))
    (128, 284)
    (128, 284)

    Reference: Stanton et al. 2021, section 4 and appendix A.3 (25 of 128).
    """
    ratio = check_number("ratio", ratio, at_least=0)
    if ratio >= 1:
        raise ValueError(
            "`ratio` is the share of synthetic images in a batch and must be below 1. "
            f"Received: ratio={ratio!r}. One synthetic for four real ones is 0.2."
        )
    seed, count = check_seed(seed), _counts(ratio, batch_size)
    temperature = _check_temperature(temperature)
    model = Generator(generator, _check_classes(num_classes), device)

    def function(batch):
        at = _examples.place(batch)
        rows = count(tf.shape(batch["index"])[0])
        image = model(
            rows,
            stateless_seed(seed, "gan_samples/latent", **at),
            stateless_seed(seed, "gan_samples/label", **at),
        )
        index = -1 - at["index"] * _ROWS - tf.range(rows, dtype=at["index"].dtype)
        real = _within_unit_cube(batch["image"])
        return _examples.with_rows({**batch, "image": real}, image, index, temperature)

    def apply(dataset):
        spec = _examples.check_images(dataset, "gan_samples", batched=True)
        _examples.check_can_grow(dataset.element_spec, "gan_samples")
        _check_same_images(spec, model.image_shape)
        return _examples.mapped(dataset, function)

    return apply


def fixed_gan_samples(
    generator, size=12_500, seed=0, *, num_classes=None, temperature=None
):
    """Put a fixed set of a generator's samples among the examples of each pass.

    The set is sampled once, at this call. Each of its images comes once a pass, in
    another order each time, at even distances: batches of 128 out of 50,000 real images
    hold 25 or 26 of 12,500 samples. They have no label. For runs
    that were interrupted see `out_of_distribution`.

    Args:
        generator: See `gan_samples`. Or the images: an array `(size, h, w, c)` of
            float32 in [-1, 1], as from `sample_images`.
        size: How many samples. The papers have 12,500, 25,000, 37,500 and 50,000.
        seed: Of the latent vectors and of the order. Defaults to 0.
        num_classes: See `gan_samples`.
        temperature: See `gan_samples`.

    Returns:
        A function for `Dataset.apply`, on single examples (before `.batch`) with images
        in [-1, 1] (after `normalize("unit_cube")`), and a known number of them.

    Example:

    >>> import tensorflow as tf
    >>> samples = np.ones((2, 2, 2, 1), "float32")
    >>> rows = {"index": range(8), "view": [0] * 8, "label": [3] * 8,
    ...         "image": np.zeros((8, 2, 2, 1), "float32")}
    >>> dataset = tf.data.Dataset.from_tensor_slices(rows)
    >>> dataset = dataset.apply(keras_kd.data.fixed_gan_samples(samples, size=2))
    >>> [int(example["label"]) for example in dataset]
    [3, 3, 3, 3, -1, 3, 3, 3, 3, -1]

    Reference: Stanton et al. 2021, figures 1 and 5 (left). Their batches hold the same
    numbers all along (103 and 25), and leave some hundreds of samples out of each pass.
    """
    size, seed = check_whole_number("size", size, at_least=1), check_seed(seed)
    temperature = _check_temperature(temperature)
    if isinstance(generator, np.ndarray):
        images = generator
        if len(images) != size:
            raise ValueError(
                f"`size` is {size}, but there are {len(images)} images. Pass "
                f"`size={len(images)}`, or fewer images."
            )
    else:
        images = sample_images(generator, size, seed, num_classes=num_classes)

    def apply(dataset):
        return _appended.append(
            dataset,
            images,
            "fixed_gan_samples",
            seed,
            temperature=temperature,
            evenly=True,
        )

    return apply


def sample_images(generator, size, seed=0, *, num_classes=None, batch_size=250):
    """A fixed set of samples of a generator, as an array.

    Args:
        generator: See `gan_samples`.
        size: How many images. A larger set begins with the images of a smaller one.
        seed: Of the latent vectors. Defaults to 0.
        num_classes: See `gan_samples`.
        batch_size: Images made at once; another one gives other images. Defaults to
            250.

    Returns:
        `(size, height, width, channels)` float32 in [-1, 1].

    Example:

    >>> generator = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4, "tanh"),
    ...                               keras.layers.Reshape((2, 2, 1))])
    >>> keras_kd.data.sample_images(generator, size=5).shape
    (5, 2, 2, 1)
    """
    size = check_whole_number("size", size, at_least=1)
    batch_size = check_whole_number("batch_size", batch_size, at_least=1)
    seed = check_seed(seed)
    model = Generator(generator, _check_classes(num_classes))

    def seeds(index):
        return [
            stateless_seed(seed, f"sample_images/{what}", index, 0)
            for what in ("latent", "label")
        ]

    return sample(model, size, seeds, batch_size)


def out_of_distribution(
    source="svhn_cropped", size=10_000, seed=0, *, temperature=None
):
    """Put images of another data set among the examples of each pass.

    A subset drawn once by the seed; each of its images comes once a pass, as if all
    had been shuffled together. They have no label, and are augmented like the others.
    Which of them come where depends on the seed and the pass; in a first pass that
    `initial_step` of `source.examples` cuts short, others come than in the run before.

    Args:
        source: Name of a set for `keras_kd.data.load` (its training split), a
            `keras_kd.data.Source`, or an array `(n, h, w, c)`. Defaults to
            `"svhn_cropped"`, the papers' choice for CIFAR.
        size: How many images to take. Defaults to 10,000.
        seed: Of the choice and of the places. Defaults to 0.
        temperature: See `gan_samples`.

    Returns:
        A function for `Dataset.apply`, on single examples (before `.batch`), and a
        known number of them: right behind `source.examples(...)`, so that the images
        have the same range.

    Example:

    >>> import tensorflow as tf
    >>> others = np.full((20, 2, 2, 1), 255, "uint8")
    >>> rows = {"index": range(8), "view": [0] * 8, "label": [3] * 8,
    ...         "image": np.zeros((8, 2, 2, 1), "uint8")}
    >>> dataset = tf.data.Dataset.from_tensor_slices(rows)
    >>> dataset = dataset.apply(keras_kd.data.out_of_distribution(others, size=4))
    >>> sum(int(example["label"]) == -1 for example in dataset), len(dataset)
    (4, 12)

    Reference: Stanton et al. 2021, section 4 and figure 3 ("OOD"); 10,000 and seed 0
    from the released code.
    """
    size, seed = check_whole_number("size", size, at_least=1), check_seed(seed)
    temperature = _check_temperature(temperature)
    images = _subset(source, size, seed)

    def apply(dataset):
        return _appended.append(
            dataset,
            images,
            "out_of_distribution",
            seed,
            temperature=temperature,
            evenly=False,
        )

    return apply


def _counts(ratio, batch_size):
    """A function from the real rows of a batch to its synthetic ones."""
    if batch_size is None:
        # s = floor(ratio (real + s)), solved for s; 1e-9 because 0.2 / 0.8 is no float.
        odds = ratio / (1 - ratio)
        return lambda real: tf.cast(tf.cast(real, tf.float64) * odds + 1e-9, tf.int32)
    batch_size = check_whole_number("batch_size", batch_size, at_least=2)
    synthetic = int(ratio * batch_size + 1e-9)
    return lambda real: real * synthetic // (batch_size - synthetic)


def _within_unit_cube(images):
    """The images, or an error where they have not the range of a generator's."""
    largest = tf.reduce_max(tf.abs(images))
    message = (
        "`gan_samples` adds images in [-1, 1] to images of another range. Put "
        "`.apply(keras_kd.data.normalize('unit_cube'))` before. Largest pixel:"
    )
    check = tf.raw_ops.Assert(
        condition=largest <= 1 + _RANGE_TOLERANCE, data=[message, largest]
    )
    with tf.control_dependencies([check]):
        return tf.identity(images)


def _check_same_images(spec, shape):
    if spec.dtype != tf.float32 or not spec.shape[1:].is_compatible_with(shape):
        raise ValueError(
            f"The generator makes float32 images of shape {shape}, but the batches "
            f"hold {spec.dtype.name} images of shape {tuple(spec.shape[1:])}. Take a "
            "generator trained on images of that size, and put "
            "`.apply(keras_kd.data.normalize('unit_cube'))` before."
        )


def _check_temperature(temperature):
    if temperature is None:
        return None
    return check_number("temperature", temperature, above=0)


def _check_classes(num_classes):
    if num_classes is None:
        return None
    return check_whole_number("num_classes", num_classes, at_least=1)


def _subset(source, size, seed):
    """`size` images of a source, chosen by the seed, as an array."""
    if isinstance(source, str):
        source = load(source, split="train")
    is_array = isinstance(source, np.ndarray)
    if not is_array and getattr(source, "feature", None) != "image":
        raise TypeError(
            "`source` must be the name of a set of images, a keras_kd.data.Source of "
            f"images, or an array (n, h, w, c). Received: {source!r}."
        )
    available = len(source) if is_array else source.size
    if size > available:
        raise ValueError(
            f"`size` is {size}, but the source has only {available} images. Pass a "
            "smaller `size`."
        )
    chosen = np.random.default_rng(seed).permutation(available)[:size]
    if is_array:
        return source[np.sort(chosen)]
    wanted = np.isin(np.arange(available), chosen)
    images = source.dataset.map(lambda example: example["image"])
    taken = tf.data.Dataset.zip(images, tf.data.Dataset.from_tensor_slices(wanted))
    taken = taken.filter(lambda image, wanted: wanted).map(lambda image, wanted: image)
    return np.concatenate(list(taken.batch(1024).as_numpy_iterator()))
