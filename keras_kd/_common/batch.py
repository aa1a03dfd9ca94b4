"""The batch contract: labels that may be absent, stored answers, temperatures."""

from typing import Any, NamedTuple

import keras

UNLABELED = -1
"""Integer label of an example that counts in distillation only."""

_STORED = ("teacher_logits", "teacher_probs")
_KEYS = {"labels", *_STORED}
_TEMPERATURE = "temperature"  # beside one of them


class Batch(NamedTuple):
    x: Any
    labels: Any = None
    teacher_logits: Any = None
    sample_weight: Any = None
    temperature: Any = None  # (batch,): of each example; 0 where the loss's holds
    teacher_probs: Any = None
    y: Any = None  # the whole target, as it came

    @property
    def has_stored_answers(self):
        return self.teacher_logits is not None or self.teacher_probs is not None


def unpack_batch(data):
    """Read `x`, `(x, y)` or `(x, y, sample_weight)`; `y` may carry more than labels.

    A dict of only the keys `"labels"`, `"teacher_logits"` or `"teacher_probs"`, and
    perhaps `"temperature"`, is the contract of a pipeline; any other target, dicts of
    one label per output included, is labels.
    """
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    if not isinstance(y, dict) or not carries_more_than_labels(y):
        return Batch(x, labels=y, sample_weight=sample_weight, y=y)
    stored = [key for key in _STORED if y.get(key) is not None]
    if len(stored) > 1:
        raise ValueError(
            "A batch brings the teacher's stored answers once, as logits or as "
            f"probabilities. Received both: {stored}."
        )
    if isinstance(sample_weight, dict) and set(sample_weight) <= set(y):
        # Keras hands one array of weights to each entry of `y`.
        given = (sample_weight.get(key) for key in ("labels", *_STORED))
        sample_weight = next((w for w in given if w is not None), None)
    return Batch(x, sample_weight=sample_weight, y=y, **y)


def carries_more_than_labels(y):
    return isinstance(y, dict) and set(y) & _KEYS and set(y) <= _KEYS | {_TEMPERATURE}


def split_targets(y):
    """`(labels, stored teacher answers)` of a target; either may be None."""
    if not carries_more_than_labels(y):
        return y, None
    stored = (y.get(key) for key in _STORED)
    return y.get("labels"), next((z for z in stored if z is not None), None)


def without_waiting(dataset):
    """The same batches, for a dataset that is ours and needs no tuning.

    With tf.data's autotuner, the end of an iterator may wait as long again as it lived.
    """
    import tensorflow as tf  # losses read this module on other backends too

    options = tf.data.Options()
    options.autotune.enabled = False
    options.experimental_optimization.apply_default_optimizations = False
    return dataset.with_options(options)
