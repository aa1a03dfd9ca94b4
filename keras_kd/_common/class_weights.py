"""`class_weight` of `fit` on a tf.data.Dataset in which labels may be missing.

Keras looks the weight of each label up in a table, which fails on a label of -1.
"""

import functools

import keras
import tensorflow as tf

from keras_kd._common.batch import UNLABELED, split_targets


class ClassWeights:
    """Mix-in before `keras.Model`: an example without a label has weight 1."""

    @functools.wraps(keras.Model.fit)
    def fit(self, x=None, *args, **kwargs):
        if isinstance(x, tf.data.Dataset) and kwargs.get("class_weight") is not None:
            x = x.map(weigh_by_class(kwargs.pop("class_weight")))
        return super().fit(x, *args, **kwargs)


def weigh_by_class(class_weight):
    """A function for `Dataset.map` that adds the weight of each label's class."""

    def weigh(*batch):
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
        labels, _ = split_targets(y)
        if sample_weight is not None or not tf.is_tensor(labels):
            raise ValueError(
                "`class_weight` needs batches `(x, y)` with labels of one output and "
                f"no weights of their own. Received: {batch}. Multiply the factors "
                "into `sample_weight` in the pipeline instead."
            )
        classes = _class_indices(labels)
        weight = tf.ones_like(classes, "float32")
        for index, factor in class_weight.items():
            weight = tf.where(classes == int(index), tf.cast(factor, "float32"), weight)
        return x, y, weight

    return weigh


def _class_indices(labels):
    if labels.shape.rank == 1:
        return tf.cast(tf.round(labels), "int32")
    if labels.shape[-1] == 1:
        return _class_indices(tf.squeeze(labels, axis=-1))
    labelled = tf.reduce_any(labels != 0, axis=-1)
    return tf.where(
        labelled, tf.argmax(labels, axis=-1, output_type="int32"), UNLABELED
    )
