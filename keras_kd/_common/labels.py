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


def _holds_negatives(labels):
    return not keras.backend.standardize_dtype(labels.dtype).startswith(("u", "b"))


def sparse_labels(labels, logits):
    """Class indices (int32) of labels in either form, and which rows have one."""
    labels, labelled = labelled_rows(labels, logits)
    if len(labels.shape) == len(logits.shape):
        labels = ops.argmax(labels, axis=-1)
    return ops.cast(labels, "int32"), labelled
