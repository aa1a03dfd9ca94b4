"""The last steps of a pipeline: missing labels, temperatures, and what `fit` takes."""

import tensorflow as tf

from keras_kd._common.batch import UNLABELED
from keras_kd._common.checks import check_number
from keras_kd.data import _examples

_FEATURES = ("image", "tokens", "text")
_WITH_LABELS = ("teacher_logits", "temperature")


def unlabelled():
    """Take the labels of all examples away: they count in distillation only.

    Returns:
        A function for `Dataset.apply`, on examples or batches. Labels become
        `keras_kd.UNLABELED`, one-hot labels rows of zeros.

    Example:

    >>> import tensorflow as tf
    >>> rows = {"index": [0], "view": [0], "image": [[[[0.5]]]], "label": [3]}
    >>> dataset = tf.data.Dataset.from_tensor_slices(rows)
    >>> for example in dataset.apply(keras_kd.data.unlabelled()):
    ...     int(example["label"])
    -1

    Reference: Stanton et al. 2021, section 4 (students trained without labels).
    """

    def apply(dataset):
        _examples.check_examples(dataset, "unlabelled")

        def remove(example):
            everywhere = tf.ones_like(example["index"], tf.bool)
            label = _labels(example)
            return {**example, "label": _examples.without_labels(label, everywhere)}

        return _examples.mapped(dataset, remove)

    return apply


def with_temperature(temperature):
    """Give all examples so far a temperature of their own in distillation losses.

    It takes the place of the temperature of the loss for these examples, in the softmax
    and in the factor T^2. So each source of a pipeline can have its own; examples that
    are added later keep that of the loss unless they are given one too.

    Args:
        temperature: T > 0.

    Returns:
        A function for `Dataset.apply`, on examples or batches: adds the key
        "temperature", float32.

    Example:

    >>> import tensorflow as tf
    >>> rows = {"index": [0], "view": [0], "image": [[[[0.5]]]], "label": [3]}
    >>> dataset = tf.data.Dataset.from_tensor_slices(rows)
    >>> for example in dataset.apply(keras_kd.data.with_temperature(4.0)):
    ...     float(example["temperature"])
    4.0

    Reference: Stanton et al. 2021, released code (a temperature an example).
    """
    temperature = check_number("temperature", temperature, above=0)

    def apply(dataset):
        _examples.check_examples(dataset, "with_temperature")

        def add(example):
            column = tf.fill(tf.shape(example["index"]), temperature)
            return {**example, "temperature": column}

        return _examples.mapped(dataset, add)

    return apply


def inputs_and_labels(batch):
    """What `fit` takes of a batch of examples: the last step of every pipeline.

    Args:
        batch: Dict with "image" (or "tokens", or "text") and perhaps "label",
            "temperature", "teacher_logits" and "sample_weight".

    Returns:
        `(x, labels)`, or `(x, labels, sample_weight)` where the batch has weights.
        Without labels in the batch all are `keras_kd.UNLABELED`; with temperatures or
        stored answers, the second part is a dict with "labels", "temperature" and
        "teacher_logits", which `keras_kd.Distiller` takes.

    Example:

    >>> import tensorflow as tf
    >>> rows = {"index": [0], "view": [0], "image": [[[[0.5]]]], "label": [3]}
    >>> dataset = tf.data.Dataset.from_tensor_slices(rows).batch(1)
    >>> for x, labels in dataset.map(keras_kd.data.inputs_and_labels):
    ...     x.shape, labels.numpy().tolist()
    (TensorShape([1, 1, 1, 1]), [3])
    """
    features = [batch[key] for key in _FEATURES if key in batch]
    if not features:
        raise ValueError(
            f"A batch needs one of the keys {list(_FEATURES)} as the input of models. "
            f"Received: {sorted(batch)}."
        )
    labels = _labels(batch)
    carried = {key: batch[key] for key in _WITH_LABELS if key in batch}
    if carried:
        labels = {"labels": labels, **carried}
    if "sample_weight" in batch:
        return features[0], labels, batch["sample_weight"]
    return features[0], labels


def _labels(example):
    """Labels of an example or a batch, missing ones where it has none at all."""
    if "label" in example:
        return example["label"]
    return tf.fill(tf.shape(example["index"]), UNLABELED)
