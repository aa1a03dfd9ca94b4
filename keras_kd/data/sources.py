"""Sources: sets of examples, each with a number that it keeps in all that follows."""

import dataclasses
import functools
import math
import os

import numpy as np
import tensorflow as tf

from keras_kd._common import checks
from keras_kd.data import _catalog, _image_files, _tfds
from keras_kd.data._arrays import (
    check_channels,
    check_inputs,
    check_labels,
    check_shuffle,
)
from keras_kd.data._passes import dataset_of_passes
from keras_kd.data._seeds import check_seed, stateless_seed
from keras_kd.data._storage import Table, decoded, in_memory, read

MEMORY_LIMIT = 2**31  # bytes of decoded examples that are kept in memory by default


@dataclasses.dataclass(frozen=True, eq=False)
class Source:
    """A set of examples in a fixed order. `load` and `from_arrays` make one.

    Attributes:
        name: Such as `"cifar100/train"`.
        size: How many examples it has.
        num_classes: How many classes, None without labels.
        shape: `(height, width, channels)`, None for text. Height and width are None
            where images differ in size.
        feature: `"image"` or `"text"`.
        mean, std: Of each channel, of pixels in [0, 1], None where not known.
        class_names: Tuple of the classes' names, None where not known.
        dataset: `tf.data.Dataset` of the examples in their order, without view numbers.
        indices: `(size,)` int64, the number of each example. A part of a set keeps the
            numbers of the whole.
        labels: `(size,)` int64; -1 (`keras_kd.UNLABELED`) for an unknown one.

    Example:

    >>> source = keras_kd.data.load("digits")
    >>> source.name, source.size, source.num_classes, source.shape
    ('digits/train', 1257, 10, (8, 8, 1))
    >>> first = next(iter(source.examples(shuffle=False)))
    >>> sorted(first)
    ['image', 'index', 'label', 'view']
    """

    name: str
    size: int
    num_classes: int | None
    shape: tuple | None
    feature: str
    mean: tuple | None = None
    std: tuple | None = None
    class_names: tuple | None = dataclasses.field(default=None, repr=False)
    _store: object = dataclasses.field(default=None, repr=False)

    @functools.cached_property
    def dataset(self):
        known = tf.data.experimental.assert_cardinality(self.size)
        return read(self._store).apply(known)

    @property
    def indices(self):
        return self._store.indices.copy()

    @functools.cached_property
    def labels(self):
        return self._store.column("label").astype(np.int64)

    def examples(self, shuffle=True, seed=0, initial_epoch=0, initial_step=0):
        """A dataset of the examples: each iteration over it is one pass, a new view.

        An example is a dict of `"index"` (its number), `"view"` (the number of the
        pass), `"image"` or `"text"` (and `"text_pair"`, if there are two) and
        `"label"`. Order and view depend on `seed` and the number of the pass alone, so
        a run that was interrupted goes on with the views that it would have seen.

        A pass begins when the first batch is asked for, whether or not the others
        follow: to look at the data, call `examples` once more. Under a
        `tf.distribute` strategy, `fit` of a plain Keras model draws a batch before its
        first epoch, to build the model; that is a pass too, so epochs then show views
        1, 2, ... `fit` of a `keras_kd.Distiller` draws none.

        Args:
            shuffle: True shuffles a source in memory as a whole and one on disk among
                10,000 neighbours; an integer says among how many on disk. False keeps
                the order. Defaults to True.
            seed: Of the order, 0 <= seed < 2**31. Defaults to 0.
            initial_epoch: Number of the first pass: epochs done before.
            initial_step: Examples that the first pass leaves out: steps that the
                interrupted epoch had done, times their batch size. (Keras warns at the
                end of this one epoch that the data ran out, and goes on.)

        Returns:
            `tf.data.Dataset` of single examples, of cardinality `size`.

        Example:

        >>> source = keras_kd.data.from_arrays(np.zeros((4, 2, 2, 3), "uint8"))
        >>> order = source.examples(seed=0).map(lambda e: (e["view"], e["index"]))
        >>> [[(int(v), int(i)) for v, i in order] for _ in range(2)]  # a pass each
        [[(0, 1), (0, 2), (0, 0), (0, 3)], [(1, 0), (1, 2), (1, 1), (1, 3)]]
        """
        buffer = check_shuffle(shuffle)
        seed = check_seed(seed)
        first = checks.check_whole_number("initial_epoch", initial_epoch, at_least=0)
        skip = checks.check_whole_number("initial_step", initial_step, at_least=0)
        if skip >= self.size:
            raise ValueError(
                f"`initial_step` counts examples of one pass, which has {self.size}. "
                f"Received: initial_step={skip}. After a whole pass, add 1 to "
                "`initial_epoch`."
            )

        def one_pass(view, left_out):
            order = None
            if shuffle:
                zero = tf.zeros([], tf.int64)
                order = stateless_seed(seed, "source/order", zero, view)
            return self._store.rows(view, order, buffer, left_out)

        rows = dataset_of_passes(one_pass, self.size, first, skip)
        return decoded(rows, self._store.decode)

    def with_pixel_statistics(self):
        """The same source with `mean` and `std` computed from all of its pixels."""
        if self.feature != "image":
            raise ValueError(f"Source {self.name!r} has texts, and so no pixels.")
        count, total, squares = 0, 0.0, 0.0
        step = 512 if None not in self.shape else 1
        for image in self.dataset.map(lambda e: e["image"]).batch(step):
            scale = image.dtype.max if image.dtype.is_integer else 1
            pixels = image.numpy().reshape(-1, self.shape[-1]) / np.float64(scale)
            count += len(pixels)
            total, squares = total + pixels.sum(0), squares + (pixels**2).sum(0)
        mean = total / count
        std = np.sqrt(np.maximum(squares / count - mean**2, 0))
        found = {"mean": tuple(mean.tolist()), "std": tuple(std.tolist())}
        return dataclasses.replace(self, **found)

    def _part(self, indices, name):
        """The examples with these numbers, in ascending order."""
        store = self._store.only(np.sort(indices))
        return dataclasses.replace(self, name=name, size=len(indices), _store=store)


def load(name, split="train", *, data_dir=None, download=True, in_memory=None):
    """A known set as a `Source`.

    `"digits"` is embedded in scikit-learn (1,257 and 540 examples, stratified 70/30);
    `"tiny_imagenet"` is read from its unpacked archive; all others come from TensorFlow
    Datasets: mnist, emnist/byclass (turned upright like MNIST; TFDS leaves it
    transposed), fashion_mnist, cifar10, cifar100 (fine labels), svhn_cropped,
    imagenet2012, imdb_reviews, and GLUE's tasks as `"glue/sst2"`. GLUE's pairs of
    sentences are `"text"` and `"text_pair"`.

    A set that is not on disk is downloaded if its server answers within 5 seconds, and
    is an error otherwise.

    Args:
        name: Of the set.
        split: One of the set's own, such as `"train"`, `"test"`, `"validation"`. For
            parts of one see `keras_kd.data.subsample` and `held_out`. Defaults to
            `"train"`.
        data_dir: Where sets are prepared. Defaults to the environment variable
            TFDS_DATA_DIR, else `~/tensorflow_datasets`.
        download: Whether a set that is not prepared may be fetched. Defaults to True.
        in_memory: Whether to keep all decoded examples in memory. Defaults to where
            they have one size and take at most 2 GiB.

    Returns:
        `Source` with `mean` and `std` as published.

    Raises:
        ValueError: For an unknown name or split, with the nearest ones.
        FileNotFoundError: For a set that is neither at hand nor to be had, with what to
            do.
        ImportError: Without the library that the set comes from.

    Example:

    >>> test = keras_kd.data.load("digits", split="test")
    >>> test.size, np.bincount(test.labels).tolist()
    (540, [54, 55, 53, 55, 54, 55, 54, 54, 52, 54])
    """
    if name in _catalog.REFUSED:
        raise ValueError(f"{name!r} cannot be loaded. {_catalog.REFUSED[name]}")
    checks.check_choice("name", name, _catalog.NAMES)
    if name == _catalog.DIGITS:
        return _digits(split)
    if name == _catalog.TINY_IMAGENET:
        return _tiny_imagenet(split, _tfds.default_folder(data_dir), in_memory)
    store, facts, size = _tfds.open_split(name, split, data_dir, download)
    return _source(f"{name}/{split}", _kept(store, size, in_memory), **facts)


def from_arrays(
    inputs,
    labels=None,
    num_classes=None,
    *,
    mean=None,
    std=None,
    class_names=None,
    name="arrays",
):
    """Images or texts in memory as a `Source`.

    Args:
        inputs: Images `(n, height, width, channels)`, uint8 or floats in [0, 1]; or
            texts `(n,)`, strings.
        labels: Class indices, `(n,)` or `(n, 1)`, -1 for an unknown one. Defaults to
            all unknown.
        num_classes: Defaults to one more than the highest label.
        mean, std: Of each channel, of pixels in [0, 1]; one number for all of them.
            See also `Source.with_pixel_statistics`.
        class_names: Of the classes, in the order of their indices.
        name: Of the source. Defaults to `"arrays"`.

    Returns:
        `Source` with indices 0 to n - 1.

    Example:

    >>> source = keras_kd.data.from_arrays(
    ...     np.zeros((4, 32, 32, 3), "uint8"), labels=[0, 1, 1, 2])
    >>> source.size, source.num_classes, source.shape
    (4, 3, (32, 32, 3))
    >>> keras_kd.data.from_arrays(["good", "bad"], labels=[1, 0]).feature
    'text'
    """
    inputs, feature = check_inputs(inputs)
    shape = inputs.shape[1:] if feature == "image" else None
    labels, num_classes = check_labels(labels, num_classes, len(inputs))
    return _source(
        name,
        Table({feature: inputs, "label": labels}),
        num_classes=num_classes,
        shape=shape,
        feature=feature,
        mean=check_channels("mean", mean, shape),
        std=check_channels("std", std, shape),
        class_names=None if class_names is None else tuple(class_names),
    )


def from_directory(
    path, image_size=None, *, channels=3, mean=None, std=None, in_memory=None
):
    """A folder of images as a `Source`.

    Each sub-folder is a class, and may have folders in it; classes are numbered in
    alphabetical order of their names, as `keras.utils.image_dataset_from_directory`
    does. Images without sub-folders have no labels. Examples are numbered in the order
    of their paths.

    Args:
        path: The folder. Files in bmp, gif (its first frame), jpeg and png count.
        image_size: `(height, width)` to which images are resized (bilinear). Defaults
            to each image's own, with which they cannot be batched if they differ.
        channels: 1, 3 or 4. Defaults to 3.
        mean, std: Of each channel, of pixels in [0, 1].
        in_memory: As for `load`.

    Returns:
        `Source` of uint8 images.

    Example:

    >>> import os
    >>> for name in ("cat", "dog"):
    ...     os.makedirs(f"pets/{name}")
    ...     keras.utils.save_img(f"pets/{name}/1.png", np.zeros((4, 6, 3)))
    >>> source = keras_kd.data.from_directory("pets", image_size=(4, 4))
    >>> source.class_names, source.labels.tolist(), source.shape
    (('cat', 'dog'), [0, 1], (4, 4, 3))
    """
    image_size = _image_files.check_image_size(image_size)
    checks.check_choice("channels", channels, (1, 3, 4))
    files, labels, names = _image_files.list_folder(path)
    return _source_of_files(
        os.path.basename(os.path.abspath(path)),
        (files, labels, names),
        (*(image_size or (None, None)), channels),
        in_memory,
        mean=mean,
        std=std,
    )


def _source(name, store, **facts):
    return Source(name=name, size=len(store.indices), _store=store, **facts)


def _kept(store, decoded_bytes, keep):
    """The store, or its examples in memory, as the user or their size decide."""
    if keep is None:
        keep = decoded_bytes is not None and decoded_bytes <= MEMORY_LIMIT
    elif keep and decoded_bytes is None:
        raise ValueError(
            "Images of different sizes cannot be kept in memory as one array. Leave "
            "`in_memory` out."
        )
    return in_memory(store) if keep else store


def _digits(split):
    checks.check_choice("split", split, ("train", "test"))
    try:
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split
    except ImportError as error:
        raise ImportError(
            "The set 'digits' is embedded in scikit-learn, which is not installed. Run "
            '`pip install "keras-kd[demo]"`.'
        ) from error
    pixels, labels = load_digits(return_X_y=True)
    images = (pixels / 16).astype("float32").reshape(-1, 8, 8, 1)
    parts = train_test_split(
        np.arange(len(labels)), test_size=0.3, stratify=labels, random_state=0
    )
    train, test = map(np.sort, parts)
    whole = from_arrays(images, labels, 10, class_names="0123456789")
    statistics = whole._part(train, "digits/train").with_pixel_statistics()
    mean, std = statistics.mean, statistics.std  # of the training images
    whole = dataclasses.replace(whole, mean=mean, std=std)
    return whole._part(train if split == "train" else test, f"digits/{split}")


def _tiny_imagenet(split, folder, keep):
    checks.check_choice("split", split, ("train", "validation", "test"))
    listed = _image_files.list_tiny_imagenet(folder, split)
    mean, std = _catalog.TINY_IMAGENET_STATISTICS
    name = f"{_catalog.TINY_IMAGENET}/{split}"
    return _source_of_files(name, listed, (64, 64, 3), keep, mean=mean, std=std)


def _source_of_files(name, listed, shape, keep, *, mean, std):
    files, labels, class_names = listed
    size = None if None in shape else shape[:2]
    facts = {
        "num_classes": None if class_names is None else len(class_names),
        "class_names": class_names,
        "shape": shape,
        "feature": "image",
        "mean": check_channels("mean", mean, shape),
        "std": check_channels("std", std, shape),
    }
    store = _image_files.table_of_files(files, labels, size, shape[-1])
    decoded_bytes = None if size is None else len(files) * math.prod(shape)
    return _source(name, _kept(store, decoded_bytes, keep), **facts)
