"""Batches whose images are mixed with one another, or replaced by noise."""

import tensorflow as tf

from keras_kd._common.checks import check_number, check_whole_number
from keras_kd.data import _examples
from keras_kd.data._seeds import check_seed, stateless_seed


def mixup(seed=0):
    """Mix each batch with a permutation of itself; the teacher says what it shows.

    x' = l x + (1 - l) x[permutation], with one l ~ U[0, 1] a batch. A mixed image has
    no label of its own (no two labels are mixed): all become `keras_kd.UNLABELED`, so
    train with distillation losses. Teacher and student see the same mixed pixels.

    Args:
        seed: Of l and of the permutation, which depend on it and on the first example
            of a batch alone. Two of one pipeline need two seeds. Defaults to 0.

    Returns:
        A function for `Dataset.apply`, on batches of float images.

    Example:

    >>> import tensorflow as tf
    >>> images = np.arange(4.0, dtype="float32").reshape(4, 1, 1, 1)
    >>> rows = {"index": range(4), "view": [0] * 4, "image": images, "label": range(4)}
    >>> batches = tf.data.Dataset.from_tensor_slices(rows).batch(4)
    >>> for batch in batches.apply(keras_kd.data.mixup(seed=0)):
    ...     float(tf.reduce_mean(batch["image"])), batch["label"].numpy().tolist()
    (1.5, [-1, -1, -1, -1])

    Reference: Stanton et al. 2021, section 4 and released code.
    """
    seed = check_seed(seed)

    def function(batch):
        lam = uniform_lambda(_seed(batch, "mixup/lambda", seed))
        permutation = _permutation(batch, "mixup", seed)
        everywhere = tf.ones_like(batch["index"], tf.bool)
        mixed = {**batch, "image": mix(batch["image"], permutation, lam)}
        if "label" in batch:
            mixed["label"] = _examples.without_labels(batch["label"], everywhere)
        return mixed

    return _on_float_batches("mixup", function)


def classic_mixup(alpha, num_classes, seed=0):
    """Mix each batch with a permutation of itself, labels alike.

    x' = l x + (1 - l) x[permutation] and y' likewise, with one l ~ Beta(alpha, alpha) a
    batch. Where one of two labels is missing, the mixed one is (a row of zeros).

    Args:
        alpha: > 0; 1 draws l uniformly, less draws it near 0 and 1. The authors take
            0.2 for ImageNet and 1 for CIFAR.
        num_classes: Labels become float32 rows of this length: compile the distiller
            with `keras.losses.CategoricalCrossentropy(from_logits=True)`.
        seed: See `mixup`. Defaults to 0.

    Returns:
        A function for `Dataset.apply`, on batches of float images.

    Example:

    >>> import tensorflow as tf
    >>> images = np.arange(4.0, dtype="float32").reshape(4, 1, 1, 1)
    >>> rows = {"index": range(4), "view": [0] * 4, "image": images, "label": range(4)}
    >>> batches = tf.data.Dataset.from_tensor_slices(rows).batch(4)
    >>> for batch in batches.apply(keras_kd.data.classic_mixup(1.0, num_classes=4)):
    ...     batch["label"].shape, bool(np.allclose(tf.reduce_sum(batch["label"], 1), 1))
    (TensorShape([4, 4]), True)

    Reference: Zhang et al. 2018, mixup: Beyond Empirical Risk Minimization.
    """
    alpha = check_number("alpha", alpha, above=0)
    num_classes = check_whole_number("num_classes", num_classes, at_least=2)
    seed = check_seed(seed)

    def function(batch):
        lam = beta_lambda(alpha, _seed(batch, "classic_mixup/lambda", seed))
        permutation = _permutation(batch, "classic_mixup", seed)
        return {
            **batch,
            "image": mix(batch["image"], permutation, lam),
            "label": mix_labels(_one_hot(batch, num_classes), permutation, lam),
        }

    return _on_float_batches("classic_mixup", function, labelled=True)


def cutmix(alpha, num_classes, seed=0):
    """Paste a box of another image of the batch into each image, labels in proportion.

    One box a batch, at the same place in all images: of a share 1 - l of their area, l
    ~ Beta(alpha, alpha), around a uniform centre, less what lies outside the image.
    Labels are mixed by the areas that are seen. Where one of two labels is missing, the
    mixed one is (a row of zeros).

    Args:
        alpha: > 0. The authors take 1.
        num_classes: See `classic_mixup`.
        seed: See `mixup`. Defaults to 0.

    Returns:
        A function for `Dataset.apply`, on batches of float images.

    Example:

    >>> import tensorflow as tf
    >>> images = np.arange(4.0, dtype="float32").reshape(4, 1, 1, 1)
    >>> rows = {"index": range(4), "view": [0] * 4, "image": images, "label": range(4)}
    >>> batches = tf.data.Dataset.from_tensor_slices(rows).batch(4)
    >>> for batch in batches.apply(keras_kd.data.cutmix(1.0, num_classes=4)):
    ...     batch["image"].shape, batch["label"].shape
    (TensorShape([4, 1, 1, 1]), TensorShape([4, 4]))

    Reference: Yun et al. 2019, CutMix, algorithm 1.
    """
    alpha = check_number("alpha", alpha, above=0)
    num_classes = check_whole_number("num_classes", num_classes, at_least=2)
    seed = check_seed(seed)

    def function(batch):
        images = batch["image"]
        height, width = tf.shape(images)[1], tf.shape(images)[2]
        lam = beta_lambda(alpha, _seed(batch, "cutmix/lambda", seed))
        centre = tf.random.stateless_uniform([2], _seed(batch, "cutmix/centre", seed))
        centre = tf.cast(centre * tf.cast([height, width], tf.float32), tf.int32)
        box = cut_box(lam, centre[0], centre[1], height, width)
        permutation = _permutation(batch, "cutmix", seed)
        kept = seen_share(box, height, width)
        return {
            **batch,
            "image": paste(images, permutation, box),
            "label": mix_labels(_one_hot(batch, num_classes), permutation, kept),
        }

    return _on_float_batches("cutmix", function, labelled=True)


def uniform_noise(probability=0.2, low=-1.0, high=1.0, seed=0):
    """Replace images by noise: every pixel uniform over the range of the data.

    It replaces, it does not add: the student sees that much less of the real images.
    Noise has no label.

    Args:
        probability: Of an image to be replaced, in [0, 1]. Defaults to 0.2.
        low, high: Range of the pixels. Default to -1 and 1, those of
            `normalize("unit_cube")`.
        seed: Draws depend on it and on the example (in a batch, on its first example)
            alone. Defaults to 0.

    Returns:
        A function for `Dataset.apply`, on float images, one by one or in batches.

    Example:

    >>> import tensorflow as tf
    >>> images = np.full((4, 2, 2, 1), 7.0, "float32")
    >>> rows = {"index": range(4), "view": [0] * 4, "image": images, "label": range(4)}
    >>> dataset = tf.data.Dataset.from_tensor_slices(rows)
    >>> noisy = dataset.apply(keras_kd.data.uniform_noise(probability=1.0))
    >>> [bool(tf.reduce_max(example["image"]) < 1) for example in noisy]
    [True, True, True, True]

    Reference: Stanton et al. 2021, section 4 and figure 3 ("Noise").
    """
    probability = check_number("probability", probability, at_least=0, at_most=1)
    low = check_number("low", low)
    high = check_number("high", high, above=low)
    seed = check_seed(seed)

    def function(example):
        image, index = example["image"], example["index"]
        at = {"index": index, "view": example["view"]}
        if index.shape.rank == 1:
            at = _examples.place(example)
        drawn, noise = (
            tf.random.stateless_uniform(
                tf.shape(like), stateless_seed(seed, f"uniform_noise/{what}", **at)
            )
            for what, like in (("replace", index), ("pixels", image))
        )
        noise = tf.cast(low + (high - low) * noise, image.dtype)
        chosen = drawn < probability
        image = tf.where(chosen[..., None, None, None], noise, image)
        noisy = {**example, "image": image}
        if "label" in example:
            noisy["label"] = _examples.without_labels(example["label"], chosen)
        return noisy

    def apply(dataset):
        image = _examples.check_images(dataset, "uniform_noise")
        _examples.check_float(image, "uniform_noise")
        return _examples.mapped(dataset, function)

    return apply


def mix(images, permutation, lam):
    """l x + (1 - l) x[permutation] of images `(batch, ...)`."""
    lam = tf.cast(lam, images.dtype)
    return lam * images + (1 - lam) * tf.gather(images, permutation)


def mix_labels(one_hot, permutation, lam):
    """As `mix`, of rows `(batch, classes)`; zeros where either row is all zeros."""
    labelled = tf.reduce_any(one_hot != 0, axis=-1, keepdims=True)
    both = labelled & tf.gather(labelled, permutation)
    return tf.where(both, mix(one_hot, permutation, lam), 0.0)


def cut_box(lam, centre_row, centre_column, height, width):
    """Rows `[top, bottom)` and columns `[left, right)` of a box of share 1 - l.

    It is `(top, bottom, left, right)`, cut off at the edges of the image.
    """
    side = tf.sqrt(1.0 - lam)
    box = []
    for centre, length in ((centre_row, height), (centre_column, width)):
        half = tf.cast(side * tf.cast(length, tf.float32), tf.int32) // 2
        box += [tf.clip_by_value(centre + d, 0, length) for d in (-half, half)]
    return tuple(box)


def paste(images, permutation, box):
    """Images `(batch, h, w, c)` with a box of `images[permutation]` in each."""
    top, bottom, left, right = box
    row, column = tf.range(tf.shape(images)[1]), tf.range(tf.shape(images)[2])
    in_row, in_column = (
        (row >= top) & (row < bottom),
        (column >= left) & (column < right),
    )
    inside = (in_row[:, None] & in_column[None, :])[None, :, :, None]
    return tf.where(inside, tf.gather(images, permutation), images)


def seen_share(box, height, width):
    """The share of an image that lies outside a box: l less what was cut off."""
    top, bottom, left, right = box
    return 1.0 - tf.cast((bottom - top) * (right - left), tf.float32) / tf.cast(
        height * width, tf.float32
    )


def uniform_lambda(seed):
    """l ~ U[0, 1) for a stateless seed."""
    return tf.random.stateless_uniform([], seed)


def beta_lambda(alpha, seed):
    """l ~ Beta(alpha, alpha) for a stateless seed, exact for small alpha too.

    A ratio of Gamma(alpha) numbers, taken by their logarithms: for a small alpha both
    of them are 0 in float32. log Gamma(alpha) = log Gamma(alpha + 1) + log(U) / alpha.
    """
    seeds = tf.random.experimental.stateless_split(seed, 2)
    gamma = tf.random.stateless_gamma([2], seeds[0], alpha + 1.0)
    uniform = tf.random.stateless_uniform([2], seeds[1], minval=1e-37)
    logs = tf.math.log(gamma) + tf.math.log(uniform) / alpha
    return tf.sigmoid(logs[0] - logs[1])


def _on_float_batches(name, function, labelled=False):
    def apply(dataset):
        image = _examples.check_images(dataset, name, batched=True)
        _examples.check_float(image, name)
        if labelled and "label" not in dataset.element_spec:
            raise ValueError(
                f"`{name}` mixes labels, but the examples have none. Use "
                "`keras_kd.data.mixup`, for which the teacher labels the mixed image."
            )
        return _examples.mapped(dataset, function)

    return apply


def _seed(batch, name, seed):
    return stateless_seed(seed, name, **_examples.place(batch))


def _permutation(batch, name, seed):
    rows = tf.range(tf.shape(batch["index"])[0])
    place = _seed(batch, f"{name}/permutation", seed)
    return tf.random.experimental.stateless_shuffle(rows, place)


def _one_hot(batch, num_classes):
    """Float32 rows of the labels of a batch; those that are rows already, as such."""
    labels = batch["label"]
    if labels.shape.rank == 2:
        if labels.shape[-1] != num_classes:
            raise ValueError(
                f"The labels are rows of {labels.shape[-1]} numbers, but "
                f"num_classes={num_classes}."
            )
        return tf.cast(labels, tf.float32)
    labels = _examples.signed(labels)
    largest = tf.reduce_max(labels)
    message = f"A label is not below num_classes={num_classes}; the largest is:"
    check = tf.raw_ops.Assert(condition=largest < num_classes, data=[message, largest])
    with tf.control_dependencies([check]):
        return tf.one_hot(labels, num_classes)
