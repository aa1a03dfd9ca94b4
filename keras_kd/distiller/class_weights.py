"""`class_weight` of `fit`: a weight for each label, whatever its rank."""

import tensorflow as tf

from keras_kd._common.checks import check_number, check_whole_number
from keras_kd._common.labels import CLASS_INDICES, ONE_HOT, labelled_by


def checked_class_weight(class_weight):
    """The pairs `(class, weight)`, sorted; None for None."""
    if class_weight is None:
        return None
    if not isinstance(class_weight, dict):
        raise TypeError(
            "`class_weight` must be a dict `{class index: weight}`. Received: "
            f"{class_weight!r} of type {type(class_weight).__name__}."
        )
    return tuple(
        sorted(
            (
                check_whole_number("class_weight", index, at_least=0),
                check_number("class_weight", weight, at_least=0),
            )
            for index, weight in class_weight.items()
        )
    )


def weights_by_class(class_weight, labels, meaning):
    """Weight of each label: that of its class, 1 for others and for no label.

    Args:
        class_weight: Pairs `(class, weight)`.
        labels: Of one output: class indices of any shape, or rows over the classes.
        meaning: `Meaning` of the labels, what their loss says. Of another loss than
            Keras's categorical ones, labels `(batch,)` or `(batch, 1)` are class
            indices and rows are one-hot, as plain Keras takes them.

    Returns:
        One weight a label; a last axis of length 1 is gone.
    """
    labels = tf.convert_to_tensor(labels)
    rank, last = labels.shape.rank, labels.shape[-1] if labels.shape.rank else None
    is_rows = meaning.kind == ONE_HOT or (
        meaning.kind != CLASS_INDICES and rank == 2 and last != 1
    )
    if meaning.kind not in (CLASS_INDICES, ONE_HOT) and (rank is None or rank > 2):
        raise ValueError(
            "`class_weight` needs labels that are classes: indices `(batch,)`, one-hot "
            "rows, or a label loss over classes such as keras.losses."
            f"SparseCategoricalCrossentropy. Received labels of shape {labels.shape}. "
            "Give `sample_weight` instead."
        )
    if is_rows:
        if meaning.kind != ONE_HOT:
            labels = _each_of_one_class(labels)
        classes = tf.argmax(labels, axis=-1, output_type="int32")
        labelled = labelled_by(meaning, labels)
        if labelled is not None:
            classes = tf.where(labelled > 0, classes, -1)
    else:
        classes = labels[..., 0] if rank > 1 and last == 1 else labels
        if classes.dtype.is_floating:
            classes = tf.round(classes)
        classes = tf.cast(classes, "int32")
    weight = tf.ones_like(classes, "float32")
    for index, factor in class_weight:
        weight = tf.where(classes == index, tf.cast(factor, "float32"), weight)
    return weight


def _each_of_one_class(rows):
    """The rows, or an error where they may be anything but one class each."""
    sums = tf.reduce_sum(tf.cast(rows, "float32"), axis=-1)
    rule = (
        "`class_weight` needs one class an example: indices `(batch,)` or rows that "
        "add up to 1. For labels of each position, or of several classes at once, give "
        "`sample_weight`, or a label loss that says `labels = 'class_indices'`. Sums "
        "of rows received:"
    )
    with tf.control_dependencies(
        [
            tf.raw_ops.Assert(
                condition=tf.reduce_all(tf.abs(sums - 1) < 1e-2), data=[rule, sums]
            )
        ]
    ):
        return tf.identity(rows)
