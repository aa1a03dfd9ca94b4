"""Labels in the forms that Keras takes, some of them missing."""

import numpy as np
import pytest
import tensorflow as tf
from numpy.testing import assert_array_equal

from keras_kd import UNLABELED
from keras_kd._common import labels as module

LOGITS = tf.zeros((4, 3))
TOKENS = tf.zeros((2, 2, 3))


@pytest.mark.parametrize(
    ("labels", "indices", "labelled"),
    [
        ([2, UNLABELED, 0, 1], [2, 0, 0, 1], [1, 0, 1, 1]),
        ([[2], [UNLABELED], [0], [1]], [2, 0, 0, 1], [1, 0, 1, 1]),
        ([2.0, -1.0, 0.0, 1.0], [2, 0, 0, 1], [1, 0, 1, 1]),
        ([[0, 0, 1], [0, 0, 0], [1, 0, 0], [0, 1, 0]], [2, 0, 0, 1], [1, 0, 1, 1]),
        ([[0.1, 0, 0.9], [0, 0, 0], [1, 0, 0], [0, 1, 0]], [2, 0, 0, 1], [1, 0, 1, 1]),
    ],
    ids=["indices", "column", "floats", "one-hot", "soft"],
)
@pytest.mark.parametrize("convert", [np.array, tf.constant])
def test_class_indices_of_every_form(convert, labels, indices, labelled):
    found, counts = module.sparse_labels(convert(labels), LOGITS)
    assert_array_equal(found, indices)
    assert_array_equal(counts, labelled)
    assert (found.dtype, counts.dtype) == ("int32", "float32")


@pytest.mark.parametrize(
    ("labels", "indices", "labelled"),
    [
        ([[2, 1], [UNLABELED, 0]], [[2, 1], [0, 0]], [[1, 1], [0, 1]]),
        ([[[2], [1]], [[UNLABELED], [0]]], [[2, 1], [0, 0]], [[1, 1], [0, 1]]),
        (np.eye(4, 3)[[[2, 1], [3, 0]]], [[2, 1], [0, 0]], [[1, 1], [0, 1]]),
    ],
    ids=["indices", "column", "one-hot"],
)
def test_class_indices_of_tokens(labels, indices, labelled):
    found, counts = module.sparse_labels(np.array(labels), TOKENS)
    assert_array_equal(found, indices)
    assert_array_equal(counts, labelled)


@pytest.mark.parametrize(
    ("dtype", "classes", "largest"), [("uint8", 256, 255), ("bool", 2, 1)]
)
def test_the_last_class_of_a_type_without_negatives_is_a_label(dtype, classes, largest):
    """-1 would wrap around to it."""
    labels = np.array([0, largest]).astype(dtype)
    found, counts = module.sparse_labels(labels, tf.zeros((2, classes)))
    assert_array_equal(found, [0, largest])
    assert_array_equal(counts, [1, 1])


@pytest.mark.parametrize("label", [3, -2, -100])
@pytest.mark.parametrize("in_graph", [False, True], ids=["eager", "graph"])
def test_a_label_outside_the_classes_is_an_error(label, in_graph):
    function = tf.function(module.sparse_labels) if in_graph else module.sparse_labels
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"must lie in \[0, 3\)"):
        function(tf.constant([2, label, 0, UNLABELED]), LOGITS)


def test_labels_in_the_loss_keep_their_form():
    indices, _ = module.labelled_rows(np.array([[2], [-1], [0], [1]]), LOGITS)
    assert indices.shape == (4,)
    one_hot = np.eye(3, dtype="float32")[[2, 1, 0, 1]]
    rows, _ = module.labelled_rows(one_hot, LOGITS)
    assert_array_equal(rows, one_hot)


@pytest.mark.parametrize(
    ("labels", "logits", "indices"),
    [
        ((4,), (4, 3), True),
        ((4, 1), (4, 3), True),
        ((4, 3), (4, 3), False),
        ((4, 1), (4, 1), False),  # a binary target, as wide as its logit
        ((2, 2), (2, 2, 3), True),
        ((2, 2, 1), (2, 2, 3), True),
        ((2, 2, 3), (2, 2, 3), False),
    ],
    ids=str,
)
def test_a_shape_tells_indices_from_rows(labels, logits, indices):
    assert module.are_class_indices(np.zeros(labels), np.zeros(logits)) is indices
