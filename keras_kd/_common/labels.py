"""Labels in the forms that Keras takes, some of them missing."""

import keras
from keras import ops

from keras_kd._common.batch import UNLABELED


def are_class_indices(labels, logits):
    """Whether `labels` are one class index a row of logits (not one-hot rows)."""
    rank, classes = len(logits.shape), logits.shape[-1]
    return len(labels.shape) < rank or (labels.shape[-1] == 1 and classes > 1)


def drop_index_axis(labels, logits):
    """(batch, 1) class indices as (batch,)."""
    same_rank = len(labels.shape) == len(logits.shape)
    return ops.squeeze(labels, axis=-1) if same_rank else labels


def labelled_rows(labels, logits):
    """`(labels, labelled)`: 1.0 where a row has a label, 0.0 where it is missing.

    A missing class index becomes 0, so that no kernel reads out of range.
    """
    labels = ops.convert_to_tensor(labels)
    if are_class_indices(labels, logits):
        labels = drop_index_axis(labels, logits)
        if not _holds_negatives(labels):  # there -1 would be 255, or True
            labels = ops.cast(labels, "int32")
        labelled = ops.not_equal(labels, ops.cast(UNLABELED, labels.dtype))
        labels = ops.where(labelled, labels, ops.zeros_like(labels))
    else:
        labelled = ops.any(ops.not_equal(labels, 0), axis=-1)
    return labels, ops.cast(labelled, keras.config.floatx())


def in_range(labels, num_classes):
    """The labels, or an error with the first class index that the models lack."""
    if keras.backend.backend() != "tensorflow":
        return labels
    import tensorflow as tf  # only here: the rest of this module is keras.ops

    rule = (
        f"Integer labels must lie in [0, {num_classes}), the classes of the models, or "
        "be keras_kd.UNLABELED (-1). Fix the labels, or give the models more classes. "
        "Smallest and largest label received:"
    )
    inside = tf.reduce_all((labels >= 0) & (labels < num_classes))
    extremes = [tf.reduce_min(labels), tf.reduce_max(labels)]
    # Before any kernel reads the labels and fails with a message of its own.
    with tf.control_dependencies([tf.debugging.Assert(inside, [rule, *extremes])]):
        return tf.identity(labels)


def _holds_negatives(labels):
    return not keras.backend.standardize_dtype(labels.dtype).startswith(("u", "b"))


def sparse_labels(labels, logits):
    """Class indices (int32) of labels in either form, and which rows have one."""
    labels, labelled = labelled_rows(labels, logits)
    if len(labels.shape) == len(logits.shape):
        labels = ops.argmax(labels, axis=-1)
    else:  # -100 would be read as the hundredth class from the end
        labels = in_range(labels, logits.shape[-1])
    return ops.cast(labels, "int32"), labelled
