"""One row for each mistake that a user can make with data."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from bad_input import Row, check
from keras_kd import data, models


def generator(shape=(4, 4, 1)):
    layers = [keras.Input((2,)), keras.layers.Dense(int(np.prod(shape)), "tanh")]
    return keras.Sequential([*layers, keras.layers.Reshape(shape)], name="generator")


def images(dtype="float32"):
    """Two batches of two images."""
    source = data.from_arrays(np.zeros((4, 4, 4, 1), dtype), [0, 1, 0, 1])
    return source.examples().batch(2)


ROWS = [
    Row(
        "unknown set",
        lambda: data.load("cifar-100"),
        ValueError,
        ["name='cifar-100'", "must be one of", "Did you mean 'cifar100'"],
    ),
    Row(
        "set of scores",
        lambda: data.load("glue/stsb"),
        ValueError,
        ["'glue/stsb' cannot be loaded", "not classes"],
    ),
    Row(
        "unknown split of a set",
        lambda: data.load("digits", "tests"),
        ValueError,
        ["split='tests'", "Did you mean 'test'"],
    ),
    Row(
        "set that is not at hand",
        lambda: data.load("cifar10", data_dir="/nowhere", download=False),
        FileNotFoundError,
        ["'cifar10' is not prepared in /nowhere", "tfds.load", "TFDS_DATA_DIR"],
    ),
    Row(
        "pixels up to 255 as floats",
        lambda: data.from_arrays(np.full((2, 4, 4, 3), 255.0)),
        ValueError,
        [r"must lie in \[0, 1\]", "255", "Divide by 255"],
    ),
    Row(
        "images without channels",
        lambda: data.from_arrays(np.zeros((2, 4, 4), "uint8")),
        ValueError,
        [r"\(2, 4, 4\)", r"images\[..., None\]"],
    ),
    Row(
        "one-hot labels of a source",
        lambda: data.from_arrays(np.zeros((2, 4, 4, 3), "uint8"), np.eye(2)),
        ValueError,
        ["one class index an example", "argmax"],
    ),
    Row(
        "folder that is none",
        lambda: data.from_directory("/nowhere"),
        ValueError,
        ["must be a folder of images", "/nowhere"],
    ),
    Row(
        "sample larger than its source",
        lambda: data.subsample(data.from_arrays(["a", "b"], [0, 1]), 3),
        ValueError,
        ["needs 3 examples", "has 2", "Take less"],
    ),
    Row(
        "held-out part that leaves nothing",
        lambda: data.held_out(data.from_arrays(["a", "b"]), 2),
        ValueError,
        ["2 for validation", "at least 1 for training", "has 2"],
    ),
    Row(
        "stratified sample without labels",
        lambda: data.subsample(data.from_arrays(["a", "b"]), 1),
        ValueError,
        ["without a label", "stratify=False"],
    ),
    Row(
        "union of two sources",
        lambda: data.union(data.from_arrays(["a"]), data.from_arrays(["b"])),
        ValueError,
        ["parts of one source", "Load once"],
    ),
    Row(
        "restart behind the end of a pass",
        lambda: data.from_arrays(["a", "b"]).examples(initial_step=2),
        ValueError,
        ["initial_step=2", "which has 2", "add 1 to `initial_epoch`"],
    ),
    Row(
        "batch of samples alone",
        lambda: data.gan_samples(generator(), ratio=1.0),
        ValueError,
        ["ratio=1.0", "must be below 1", "0.2"],
    ),
    Row(
        "generator of other images",
        lambda: images().apply(data.gan_samples(generator((8, 8, 1)))),
        ValueError,
        [r"shape \(8, 8, 1\)", r"shape \(4, 4, 1\)", "trained on images of that size"],
    ),
    Row(
        "samples among whole numbers",
        lambda: images("uint8").apply(data.gan_samples(generator())),
        ValueError,
        ["uint8", r"normalize\('unit_cube'\)"],
    ),
    Row(
        "generator that is not there",
        lambda: data.gan_samples("nowhere.keras"),
        ValueError,
        ["no generator at 'nowhere.keras'", "generator.save"],
    ),
    Row(
        "noise with a probability of 20",
        lambda: data.uniform_noise(probability=20),
        ValueError,
        ["probability=20", ">= 0 and <= 1"],
    ),
    Row(
        "mixup with alpha 0",
        lambda: data.classic_mixup(0.0, num_classes=10),
        ValueError,
        ["alpha=0.0", "> 0"],
    ),
    Row(
        "mixup of single images",
        lambda: images().unbatch().apply(data.mixup()),
        ValueError,
        [r"call `.batch\(size\)` before", r"\(4, 4, 1\)"],
    ),
    Row(
        "mixup behind the last step",
        lambda: images().map(data.inputs_and_labels).apply(data.mixup()),
        ValueError,
        ["dicts of examples", "comes last"],
    ),
    Row(
        "other set of another size",
        lambda: (
            images()
            .unbatch()
            .apply(data.out_of_distribution(np.zeros((3, 8, 8, 1), "float32"), size=3))
        ),
        ValueError,
        [r"\(8, 8, 1\)", r"\(4, 4, 1\)", "bring them to one size"],
    ),
    Row(
        "more images than another set has",
        lambda: data.out_of_distribution(np.zeros((3, 8, 8, 1)), size=4),
        ValueError,
        ["only 3 images", "smaller `size`"],
    ),
    Row(
        "temperature of 0 for a source",
        lambda: data.with_temperature(0),
        ValueError,
        ["temperature=0", "> 0"],
    ),
    Row(
        "policy that nobody named",
        lambda: data.policy("base-line"),
        ValueError,
        ["name='base-line'", "Did you mean 'baseline'"],
    ),
    Row(
        "pixels that no policy takes",
        lambda: data.policy("baseline")(np.zeros((4, 4, 3)), seed=0, index=0, view=0),
        TypeError,
        ["uint8", "float64", "Cast them"],
    ),
    Row(
        "pixels after normalisation",
        lambda: data.policy("baseline")(
            np.full((4, 4, 3), -1.0, "float32"), seed=0, index=0, view=0
        ),
        ValueError,
        [r"must lie in \[0, 1\]", "normalise after augmentation"],
    ),
    Row(
        "vocabulary too small for padding and unknown",
        lambda: models.BiLSTM(1),
        ValueError,
        ["`vocabulary_size` must be a whole number of at least 2", "vocabulary_size=1"],
    ),
    Row(
        "one text for a set",
        lambda: data.text_vectorization("one text"),
        TypeError,
        ["must hold many texts", "'one text'", "Give a list of strings"],
    ),
    Row(
        "numbers for texts",
        lambda: data.text_vectorization([1, 2]),
        TypeError,
        ["must hold strings", "int32"],
    ),
    Row(
        "token count that none reaches",
        lambda: data.text_vectorization(["a b"], min_count=9),
        ValueError,
        ["No token occurs 9 times", "occurs 1 times", "Lower `min_count`"],
    ),
    Row(
        "tokenize by name",
        lambda: data.tokenize("imdb"),
        TypeError,
        ["`layer` must be", "text_vectorization", "'imdb'"],
    ),
    Row(
        "tokenize without text",
        lambda: tf.data.Dataset.range(3).apply(data.tokenize(abs)),
        TypeError,
        ['dicts with "text"', "imdb_reviews"],
    ),
    Row(
        "setting that a policy has not",
        lambda: data.policy("baseline", size=224),
        TypeError,
        ["'baseline' has the settings", "padding", "size"],
    ),
    Row(
        "images of a dtype no policy takes",
        lambda: images("int32").apply(data.augment("baseline")),
        (TypeError, ValueError),
        ["int32|uint8"],
    ),
    Row(
        "examples without a view",
        lambda: tf.data.Dataset.from_tensors(
            {"image": np.zeros((4, 4, 1), "uint8"), "index": 0}
        ).apply(data.augment("baseline")),
        ValueError,
        [r"Missing: \['view'\]", "source.examples"],
    ),
    Row(
        "a layer as an op",
        lambda: data.AugmentationPolicy([keras.layers.RandomFlip()]),
        TypeError,
        ["RandomFlip", "LayerOp"],
    ),
    Row(
        "z_score without numbers",
        lambda: data.normalize("z_score"),
        ValueError,
        ["mean=None", "needs `mean` and `std`", "source.mean"],
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.mistake)
def test_mistake_is_answered_at_the_call(row):
    check(row)
