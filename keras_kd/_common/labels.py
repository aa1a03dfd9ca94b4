"""Labels in the forms that Keras takes, some of them missing.

What labels mean is the label loss's to say: `meaning_of` reads it off the loss, and
nothing here looks at shapes, values or names of losses to find out.
"""

from typing import NamedTuple

import keras
import numpy as np
from keras import ops

from keras_kd._common.batch import UNLABELED

CLASS_INDICES, ONE_HOT, AS_GIVEN = "class_indices", "one_hot", "as_given"


class Meaning(NamedTuple):
    """What the labels of an output are, and which class index stands for none."""

    kind: str = AS_GIVEN
    ignore_class: int | None = None  # besides UNLABELED, of class indices


def meaning_of(loss):
    """`Meaning` of the labels that a loss takes.

    Keras's sparse categorical cross-entropy takes class indices, its categorical one
    rows over the classes. A loss of the user's own may say so by an attribute
    `labels = "class_indices"` (and `ignore_class`) or `labels = "one_hot"`.
    """
    stated = getattr(loss, "labels", None)
    stated_one = isinstance(stated, str) and stated in (CLASS_INDICES, ONE_HOT)
    kind = stated if stated_one else AS_GIVEN
    if isinstance(loss, keras.losses.SparseCategoricalCrossentropy) or (
        loss is keras.losses.sparse_categorical_crossentropy
    ):
        kind = CLASS_INDICES
    elif isinstance(loss, keras.losses.CategoricalCrossentropy) or (
        loss is keras.losses.categorical_crossentropy
    ):
        kind = ONE_HOT
    ignored = _ignore_class(loss) if kind == CLASS_INDICES else None
    return Meaning(kind, ignored)


def _ignore_class(loss):
    ignored = getattr(loss, "ignore_class", None)
    if ignored is None and isinstance(loss, keras.losses.Loss):
        ignored = getattr(loss, "_fn_kwargs", {}).get("ignore_class")
    return ignored


def labelled_by(meaning, labels):
    """1.0 where a row has a label, 0.0 where it is missing; None where all have one.

    Shape of class indices as given, of one-hot rows without their last axis.
    """
    if meaning.kind == AS_GIVEN:
        return None
    if meaning.kind == ONE_HOT:
        labelled = ops.any(ops.not_equal(labels, 0), axis=-1)
        return ops.cast(labelled, keras.config.floatx())
    labelled = ops.ones_like(labels, dtype="bool")
    dtype = keras.backend.standardize_dtype(labels.dtype)
    for missing in (UNLABELED, meaning.ignore_class):
        # -1 as uint8 would be 255, which may be a class; as bool, True.
        if missing is None or not _holds(dtype, missing):
            continue
        present = ops.not_equal(labels, ops.cast(missing, dtype))
        labelled = ops.logical_and(labelled, present)
    return ops.cast(labelled, keras.config.floatx())


def readable(labels, *counts):
    """Class indices with 0 where one of the counts is 0: those that nothing reads.

    `counts`: None, or numbers or bools over the leading axes of the labels.
    """
    for count in counts:
        if count is None:
            continue
        count = ops.convert_to_tensor(count)
        while len(count.shape) > len(labels.shape) and count.shape[-1] == 1:
            count = ops.squeeze(count, axis=-1)
        while len(count.shape) < len(labels.shape):
            count = ops.expand_dims(count, axis=-1)
        if len(count.shape) == len(labels.shape):
            labels = ops.where(ops.equal(count, 0), ops.zeros_like(labels), labels)
    return labels


def are_class_indices(labels, logits):
    """Whether `labels` are one class index a row of logits (not one-hot rows)."""
    rank, classes = len(logits.shape), logits.shape[-1]
    return len(labels.shape) < rank or (labels.shape[-1] == 1 and classes > 1)


def drop_index_axis(labels, logits):
    """(batch, 1) class indices as (batch,)."""
    same_rank = len(labels.shape) == len(logits.shape)
    return ops.squeeze(labels, axis=-1) if same_rank else labels


def labelled_rows(labels, logits, ignore_class=None):
    """`(labels, labelled)` of a classifier: 1.0 where a row has a label, else 0.0.

    A missing class index becomes 0, so that no kernel reads out of range.
    """
    labels = ops.convert_to_tensor(labels)
    if not are_class_indices(labels, logits):
        return labels, labelled_by(Meaning(ONE_HOT), labels)
    labels = drop_index_axis(labels, logits)
    labelled = labelled_by(Meaning(CLASS_INDICES, ignore_class), labels)
    # Small integer types cannot hold every class index, nor unsigned ones a -1.
    return ops.cast(readable(labels, labelled), "int32"), labelled


def sparse_labels(labels, logits, ignore_class=None):
    """Class indices (int32) of labels in either form, and which rows have one.

    For classifiers, whose labels are classes: indices `(batch, ...)`, with or without a
    last axis of 1, or rows over the classes.
    """
    labels, labelled = labelled_rows(labels, logits, ignore_class)
    if len(labels.shape) == len(logits.shape):
        labels = ops.argmax(labels, axis=-1)
    else:  # -100 would be read as the hundredth class from the end
        labels = in_range(labels, logits.shape[-1])
    return ops.cast(labels, "int32"), labelled


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
    indices = tf.cast(labels, "int64")  # int8 cannot hold 200 classes to compare with
    inside = tf.reduce_all((indices >= 0) & (indices < num_classes))
    extremes = [tf.reduce_min(indices), tf.reduce_max(indices)]
    # Before any kernel reads the labels and fails with a message of its own.
    with tf.control_dependencies(
        [tf.raw_ops.Assert(condition=inside, data=[rule, *extremes])]
    ):
        return tf.identity(labels)


def _holds(dtype, index):
    """Whether an integer type has this number; floats have all that occur."""
    if dtype == "bool":
        return False
    if "int" not in dtype:
        return True
    limits = np.iinfo(dtype)
    return limits.min <= index <= limits.max
