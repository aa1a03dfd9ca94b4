"""What all tests share. Two logical CPU devices, set before TensorFlow starts."""

import gc
import os
from pathlib import Path
from typing import NamedTuple

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("MPLBACKEND", "Agg")
# LLVM's own passes are half of the time that XLA compiles, and change no operation.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")

import keras
import numpy as np
import pytest
import tensorflow as tf

gc.freeze()  # what the imports made is never garbage, and takes long to look through
gc.set_threshold(50_000, 20, 100)  # a traced graph is many objects that stay

NUM_CPU_DEVICES = 2  # for tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0],
    [tf.config.LogicalDeviceConfiguration()] * NUM_CPU_DEVICES,
)


class Digits(NamedTuple):
    """scikit-learn's digits: read-only arrays, 10 classes, 1257 and 540 examples."""

    x_train: np.ndarray  # (n, 8, 8, 1) float32 in [0, 1]
    y_train: np.ndarray  # (n,) int64
    x_test: np.ndarray
    y_test: np.ndarray


@pytest.fixture(scope="session")
def digits():
    """Real images that need no download, in a stratified 70/30 split."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    images, labels = load_digits(return_X_y=True)
    images = (images / 16).astype("float32").reshape(-1, 8, 8, 1)
    x_train, x_test, y_train, y_test = train_test_split(
        images, labels, test_size=0.3, stratify=labels, random_state=0
    )
    split = Digits(x_train, y_train, x_test, y_test)
    for array in split:
        array.flags.writeable = False  # one test must not change another's data
    return split


@pytest.fixture(autouse=True)
def fresh_and_seeded():
    """Each test starts alike, whichever tests ran before it."""
    keras.backend.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)
    # Every strategy numbers its collectives from here on. Where two of one process have
    # the same numbers, TensorFlow takes one's for the other's.
    tf.distribute.MirroredStrategy._collective_key_base += 10_000


@pytest.fixture(autouse=True, scope="module")
def collected_garbage():
    """Once a file: a collection takes a second where many tests ran before."""
    yield
    gc.collect()


# Files of a minute or so, because each of their tests runs a whole program.
WHOLE_PROGRAMS = ("examples", "integration")


@pytest.hookimpl(trylast=True)  # when the tests that were not asked for are out
def pytest_collection_modifyitems(items):
    """Fast files first, to hear of a fault early; then the long before the short, so
    that no process of several is left alone with a long one.
    """
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(
        key=lambda item: (
            item.path in slow,
            item.path in slow and item.path.parent.name not in WHOLE_PROGRAMS,
        )
    )


def pytest_runtest_setup(item):
    for name in [name for mark in item.iter_markers("data") for name in mark.args]:
        if not _is_prepared(name):
            pytest.skip(
                f"needs the real data set {name!r}, prepared for TFDS: "
                f"python ../shared/data/expand.py .cache/tfds --sets {name}, "
                "and TFDS_DATA_DIR=.cache/tfds"
            )


def _is_prepared(name):
    home = os.environ.get("TFDS_DATA_DIR", Path.home() / "tensorflow_datasets")
    return any(Path(home, name).glob("**/dataset_info.json"))
