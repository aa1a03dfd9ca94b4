"""The batch contract: labels that may be absent, and stored teacher logits."""

from typing import Any, NamedTuple

import keras

UNLABELED = -1
"""Integer label of an example that counts in distillation only."""

_KEYS = {"labels", "teacher_logits"}


class Batch(NamedTuple):
    x: Any
    labels: Any
    teacher_logits: Any
    sample_weight: Any


def unpack_batch(data):
    """Read `x`, `(x, y)` or `(x, y, sample_weight)`; `y` may carry teacher logits."""
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    labels, teacher_logits = split_targets(y)
    if labels is not y and isinstance(sample_weight, dict):
        # Keras hands one array of weights to each entry of `y`.
        sample_weight = sample_weight.get("labels", sample_weight.get("teacher_logits"))
    return Batch(x, labels, teacher_logits, sample_weight)


def split_targets(y):
    """`(labels, teacher_logits)` of a target; either may be None.

    A dict of only these two keys is the contract of a label store; any other target,
    dicts of one label per output included, is labels.
    """
    if isinstance(y, dict) and y and set(y) <= _KEYS:
        return y.get("labels"), y.get("teacher_logits")
    return y, None
