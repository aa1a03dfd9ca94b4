"""The batch contract: labels that may be absent, stored logits, temperatures."""

from typing import Any, NamedTuple

import keras

UNLABELED = -1
"""Integer label of an example that counts in distillation only."""

_KEYS = {"labels", "teacher_logits"}
_TEMPERATURE = "temperature"  # beside one of them


class Batch(NamedTuple):
    x: Any
    labels: Any
    teacher_logits: Any
    sample_weight: Any
    temperature: Any = None  # (batch,): of each example; 0 where the loss's holds


def unpack_batch(data):
    """Read `x`, `(x, y)` or `(x, y, sample_weight)`; `y` may carry more than labels."""
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    labels, teacher_logits = split_targets(y)
    temperature = y.get(_TEMPERATURE) if labels is not y else None
    if labels is not y and isinstance(sample_weight, dict):
        # Keras hands one array of weights to each entry of `y`.
        sample_weight = sample_weight.get("labels", sample_weight.get("teacher_logits"))
    return Batch(x, labels, teacher_logits, sample_weight, temperature)


def split_targets(y):
    """`(labels, teacher_logits)` of a target; either may be None.

    A dict of only these two keys, and perhaps "temperature", is the contract of a
    pipeline; any other target, dicts of one label per output included, is labels.
    """
    if isinstance(y, dict) and set(y) & _KEYS and set(y) <= _KEYS | {_TEMPERATURE}:
        return y.get("labels"), y.get("teacher_logits")
    return y, None
