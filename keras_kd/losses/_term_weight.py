"""The factor of one of several terms of a loss."""

import numpy as np
from keras import ops

from keras_kd._common.checks import check_leading_axes, check_number


def as_factor(name, weight, values):
    """A weight for each of the values `(batch, ...)`: one in all, or one an example."""
    if not ops.is_tensor(weight):
        for number in np.ravel(weight).tolist():
            check_number(name, number, at_least=0)
        weight = np.asarray(weight, "float64")  # a cast of 0.1 would make it float32
    weight = ops.cast(weight, values.dtype)
    if len(weight.shape) > len(values.shape):
        raise ValueError(
            f"`{name}` must be one number, or one an example, shape (batch,). "
            f"Received: {name} of shape {tuple(weight.shape)} for values of shape "
            f"{tuple(values.shape)}."
        )
    fix = "Give one number, or one an example, shape (batch,)."
    check_leading_axes(name, weight, values.shape, fix)
    missing = len(values.shape) - len(weight.shape)
    if len(weight.shape) > 0 and missing:
        return ops.reshape(weight, (*ops.shape(weight), *[1] * missing))
    return weight
