"""What both sides say of the same examples, resolved once, and values of them.

A loss and a metric are both functions of `Examples` that give one value an example or
position. `weigh` makes `Values` of them; training sums those over the global batch, a
metric takes their streaming mean, a report draws them with replacement.
"""

from typing import Any, NamedTuple

import keras
from keras import ops

from keras_kd._common.batch import UNLABELED
from keras_kd._common.checks import check_same_shape
from keras_kd._common.labels import are_class_indices, sparse_labels
from keras_kd._common.numerics import at_least_float32

_LARGEST = 1e18  # its square is still a float32


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

    @property
    def class_labels(self):
        """`classes` with UNLABELED where a label is missing, or None."""
        if self.classes is None or self.labelled is None:
            return self.classes
        missing = ops.full_like(self.classes, UNLABELED)
        return ops.where(ops.equal(self.labelled, 0), missing, self.classes)


class Values(NamedTuple):
    """One value an example or position, before any reduction."""

    values: Any  # (batch, ...); 0 where the weight is 0
    weight: Any  # same shape: what each counts for
    size: Any  # scalar: how many count, whatever their sample weight


def examples_of(
    teacher, student, labels=None, sample_weight=None, *, mask=None, ignore_class=None
):
    """`Examples` of two classifiers: cast, compared and with class labels.

    Args:
        teacher: Logits `(batch, ..., classes)`; None where only labels are compared.
        student: Same shape.
        labels: Class indices, `(batch, ...)` or with a last axis of 1, or one-hot rows.
            `UNLABELED` (-1) and all-zero rows are missing. Defaults to None.
        sample_weight: `(batch,)` or more axes. Defaults to None: all count alike.
        mask: `(batch, ...)`. Defaults to the Keras masks that both sides carry.
        ignore_class: Class index of rows that count as missing too. Defaults to None.
    """
    sides = [side for side in (teacher, student) if side is not None]
    mask = combined_mask(*sides) if mask is None else ops.cast(mask, "bool")
    *sides, student = at_least_float32(*sides)
    teacher = sides[0] if sides else None
    check_same_shape(student if teacher is None else teacher, student)
    if mask is not None and len(mask.shape) >= len(student.shape):
        mask = None  # of positions that the outputs no longer have
    classes = labelled = None
    if labels is not None:
        labels = labels if hasattr(labels, "shape") else ops.convert_to_tensor(labels)
        one_hot = not are_class_indices(labels, student)
        classes, labelled = sparse_labels(labels, student, ignore_class=ignore_class)
        shape = labels.shape if one_hot else (*classes.shape, student.shape[-1])
        _check_same_axes("labels", shape, "logits", student.shape)
    if sample_weight is not None:
        sample_weight = ops.convert_to_tensor(sample_weight)
        first = sample_weight.shape[:1]
        _check_same_axes("sample_weight", first, "logits", student.shape[: len(first)])
    return Examples(teacher, student, labels, classes, labelled, sample_weight, mask)


def _check_same_axes(name, shape, other_name, other_shape):
    """Raise where axes differ, before any operation can broadcast one of them."""
    shape, other_shape = tuple(shape), tuple(other_shape)
    same = len(shape) == len(other_shape) and all(
        a is None or b is None or a == b
        for a, b in zip(shape, other_shape, strict=True)
    )
    if not same:
        raise ValueError(
            f"`{name}` and `{other_name}` must be of the same examples and positions. "
            f"Received: axes {shape} of {name}, {other_shape} of {other_name}. Give "
            "both of one batch, in one order."
        )


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


def weighted(values, weight):
    """values * weight, where a weight of 0 removes even an infinite or NaN value."""
    return ops.where(weight == 0, ops.zeros_like(values), values) * weight


def counted_only(tensor, *weights):
    """A tensor without NaN, infinities or huge numbers where any weight is 0.

    A value that does not count is no reason for a gradient: 0 times the derivative of
    a NaN is a NaN. What is an ordinary number stays as it is.

    Args:
        tensor: `(batch, ..., features)` or `(batch,)`.
        *weights: Numbers or bools over its leading axes; None counts everywhere.
    """
    weights = [weight for weight in weights if weight is not None]
    is_float = keras.backend.is_float_dtype(tensor.dtype)
    if not weights or not is_float or len(tensor.shape) == 0:
        return tensor
    positions = tensor[..., 0] if len(tensor.shape) > 1 else tensor
    rank, counts = len(positions.shape), None
    for weight in weights:
        # A mask of steps says nothing of what was pooled over them.
        if len(weight.shape) - (weight.shape[-1] == 1) > rank:
            continue
        some = ops.not_equal(broadcast_weight(weight, positions), 0)
        counts = some if counts is None else ops.logical_and(counts, some)
    if counts is None:
        return tensor
    counts = counts[..., None] if len(tensor.shape) > 1 else counts
    # No `not (x < y)`: TensorFlow's graphs turn it into x >= y, false of a NaN too.
    # Bools and a scalar, as logits over a vocabulary are what fills the memory.
    ordinary = ops.logical_and(tensor < _LARGEST, tensor > -_LARGEST)
    readable = ops.where(ops.logical_or(counts, ordinary), tensor, 0.0)
    mask = getattr(tensor, "_keras_mask", None)
    if mask is not None:
        readable._keras_mask = mask
    return readable


def broadcast_weight(sample_weight, values):
    """Weights of shape (batch,), (batch, 1) or more, one for each of the values."""
    weight = ops.cast(sample_weight, values.dtype)
    while len(weight.shape) > len(values.shape) and weight.shape[-1] == 1:
        weight = ops.squeeze(weight, axis=-1)
    if len(weight.shape) > len(values.shape):
        raise ValueError(
            "`sample_weight` has more axes than there are values to weight. Received: "
            f"weights of shape {tuple(weight.shape)} for values of shape "
            f"{tuple(values.shape)}. Give one weight an example: shape (batch,)."
        )
    while len(weight.shape) < len(values.shape):
        weight = ops.expand_dims(weight, axis=-1)
    return ops.broadcast_to(weight, ops.shape(values))


def combined_mask(*tensors):
    """The AND of the Keras masks that these tensors carry, or None."""
    masks = [getattr(t, "_keras_mask", None) for t in tensors]
    masks = [ops.cast(m, "bool") for m in masks if m is not None]
    if not masks:
        return None
    mask = masks[0]
    for other in masks[1:]:
        mask = ops.logical_and(mask, other)
    return mask


def weighted_mean(values):
    """Mean of `Values` by their weight: one number, NaN where nothing weighs."""
    count = ops.sum(values.weight)
    mean = weighted_sum(values) / ops.where(count == 0, ops.ones_like(count), count)
    return ops.where(count == 0, float("nan"), mean)
