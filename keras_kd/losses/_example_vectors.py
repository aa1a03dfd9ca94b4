"""One vector an example: what losses on relations within a batch start from."""

import math

from keras import ops

from keras_kd._common.numerics import at_least_float32
from keras_kd.losses.batch_coupled import check_several

_SMALLEST = 1e-30  # where a square and its reciprocal still exist in float32


def example_vectors(what, teacher_features, student_features):
    """Features of both sides as `(batch, size)`, at least float32; sizes may differ."""
    sides = at_least_float32(teacher_features, student_features)
    rows = {side.shape[0] for side in sides} - {None}
    if len(rows) > 1:
        raise ValueError(
            f"{what} compares the relations among the same examples on both sides. "
            f"Received: teacher features {tuple(sides[0].shape)}, student features "
            f"{tuple(sides[1].shape)}: their first axes, the batch, must agree."
        )
    for side in sides:
        check_several(what, side)
    return tuple(_flattened(side) for side in sides)


def unit_rows(rows):
    """Rows divided by their L2 norm; a row of zeros stays, with a finite gradient."""
    largest = ops.max(ops.abs(rows), axis=-1, keepdims=True, initial=0.0)
    nonzero = largest > _SMALLEST
    # First to a largest entry of 1, or squares of 1e-20 or 1e20 would leave float32.
    rows = rows / ops.stop_gradient(ops.where(nonzero, largest, 1.0))
    squares = ops.sum(ops.square(rows), axis=-1, keepdims=True)
    return rows / ops.sqrt(ops.where(nonzero, squares, 1.0))


def pairs_of_distinct(rows):
    """`(batch, batch)` bool: False on the diagonal, where an example meets itself."""
    index = ops.arange(ops.shape(rows)[0])
    return ops.not_equal(index[:, None], index[None, :])


def count_rows(array):
    """The number of rows in the array's dtype; 1 where there are none, to divide by."""
    return ops.maximum(ops.cast(ops.shape(array)[0], array.dtype), 1.0)


def _flattened(side):
    # The size is given, as reshape cannot tell it from a batch without examples.
    return ops.reshape(side, (-1, math.prod(ops.shape(side)[1:])))
