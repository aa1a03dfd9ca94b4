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


def labelled_rows(labels, logits, *, ignore_class=None):
    """`(labels, labelled)`: 1.0 where a row has a label, 0.0 where it is missing.

    A missing class index becomes 0, so that no kernel reads out of range. Rows of the
    class index `ignore_class` count as missing too.
    """
    labels = ops.convert_to_tensor(labels)
    if are_class_indices(labels, logits):
        labels = _wide(drop_index_axis(labels, logits))
        labelled = ops.not_equal(labels, ops.cast(UNLABELED, labels.dtype))
        if ignore_class is not None:
            ignored = ops.equal(labels, ops.cast(ignore_class, labels.dtype))
            labelled = ops.logical_and(labelled, ops.logical_not(ignored))
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
        "be keras_kd.UNLABELED (-1). Fix the labels, name one to leave out by "
        "`ignore_class`, or give the models more classes. Smallest and largest label "
        "received:"
    )
    inside = tf.reduce_all((labels >= 0) & (labels < num_classes))
    extremes = [tf.reduce_min(labels), tf.reduce_max(labels)]
    # Before any kernel reads the labels and fails with a message of its own.
    with tf.control_dependencies([tf.debugging.Assert(inside, [rule, *extremes])]):
        return tf.identity(labels)


def _wide(labels):
    """Labels in a dtype that holds -1, 255 and the number of classes.

    There -1 is not 255 or True, and 200 classes are not -56.
    """
    dtype = keras.backend.standardize_dtype(labels.dtype)
    if dtype.startswith(("float", "bfloat")) or dtype in ("int32", "int64"):
        return labels
    return ops.cast(labels, "int64" if dtype in ("uint32", "uint64") else "int32")


def sparse_labels(labels, logits, *, ignore_class=None):
    """Class indices (int32) of labels in either form, and which rows have one."""
    labels, labelled = labelled_rows(labels, logits, ignore_class=ignore_class)
    if len(labels.shape) == len(logits.shape):
        labels = ops.argmax(labels, axis=-1)
    else:  # -100 would be read as the hundredth class from the end
        labels = in_range(labels, logits.shape[-1])
    return ops.cast(labels, "int32"), labelled
