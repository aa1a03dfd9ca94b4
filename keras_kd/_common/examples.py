"""What both sides say of the same examples, resolved once, and values of them.

A loss and a metric are both functions of `Examples` that give one value an example or
position. `weigh` makes `Values` of them; training sums those over the global batch, a
metric takes their streaming mean, a report draws them with replacement.
"""

from typing import Any, NamedTuple

from keras import ops

from keras_kd._common.weights import broadcast_weight


class Examples(NamedTuple):
    """One output of one batch: all that a loss or a metric may read of it."""

    teacher: Any  # (batch, ..., classes), float32 at least; None without a teacher
    student: Any  # same shape
    labels: Any = None  # as the user gave them
    classes: Any = None  # int32 (batch, ...), 0 where missing; None: no class labels
    labelled: Any = None  # same shape, 1.0 where there is a label; None: everywhere
    sample_weight: Any = None  # (batch,) or more axes, as given; None: all count alike
    mask: Any = None  # bool (batch, ...): False where a position is padding
    temperature: Any = None  # (batch,): of each example, 0 where the loss's own holds
    members: Any = None  # a list of (batch, ..., classes), one a teacher
    member_weights: Any = None


class Values(NamedTuple):
    """One value an example or position, before any reduction."""

    values: Any  # (batch, ...); 0 where the weight is 0
    weight: Any  # same shape: what each counts for
    size: Any  # scalar: how many count, whatever their sample weight


def weigh(values, examples, *, of_labels=False):
    """`Values` from one value an example or position of `examples`.

    Args:
        values: `(batch, ...)`.
        examples: What they are values of.
        of_labels: Whether examples without a label leave them out.
    """
    weight = ops.ones_like(values)
    mask, labelled = examples.mask, examples.labelled if of_labels else None
    if mask is not None and len(mask.shape) <= len(values.shape):
        weight = broadcast_weight(mask, values)
    if labelled is not None:
        weight = weight * broadcast_weight(labelled, values)
    size = ops.sum(weight)
    if examples.sample_weight is not None:
        weight = weight * broadcast_weight(examples.sample_weight, values)
    return Values(ops.where(weight == 0, ops.zeros_like(values), values), weight, size)


def weighted_sum(values):
    """Sum of `Values`, each times its weight."""
    return ops.sum(values.values * values.weight)
