"""One row for each mistake that a user can make with data."""

import numpy as np
import pytest
from bad_input import Row, check

from keras_kd import data

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
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.mistake)
def test_mistake_is_answered_at_the_call(row):
    check(row)
