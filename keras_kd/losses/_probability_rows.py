"""Rows of logits of a batch, those that are data, and their probabilities."""

from keras import ops

from keras_kd._common.checks import check_leading_axes
from keras_kd._common.examples import broadcast_weight
from keras_kd._common.numerics import below_largest
from keras_kd.losses._sides import of_one_shape


def real_positions(teacher_logits, student_logits, mask):
    """`(teacher, student, real)`: logits are 0 where a position is no data.

    `real` is bool, `(batch, ...)`. Not even a NaN of another position gets further.
    """
    teacher, student = of_one_shape(teacher_logits, student_logits)
    real = ops.ones_like(teacher[..., 0], dtype="bool")
    if mask is None:
        return teacher, student, real
    mask = ops.convert_to_tensor(mask)
    if len(mask.shape) >= len(teacher.shape):
        raise ValueError(
            "`mask` says which positions are data: shape (batch, ...), without the "
            f"axis of classes. Received: shape {tuple(mask.shape)} for logits of shape "
            f"{tuple(teacher.shape)}."
        )
    fix = "Give one entry a position, or one an example, shape (batch,)."
    check_leading_axes("mask", mask, student.shape[:-1], fix)
    real = broadcast_weight(mask, teacher[..., 0]) > 0
    column = ops.expand_dims(real, axis=-1)
    return *(ops.where(column, side, 0.0) for side in (teacher, student)), real


def as_rows(tensor):
    """(batch, ..., classes) -> (rows, classes)."""
    return ops.reshape(tensor, (-1, tensor.shape[-1]))


def log_relative_probs(logits):
    """log(classes * softmax), of each row: log-probabilities relative to uniform ones.

    Of rows near uniform, as at a high temperature, it keeps the digits that
    `log_softmax` loses beside log(classes).
    """
    logits = below_largest(logits)
    mean = ops.mean(ops.expm1(logits), axis=-1, keepdims=True)
    is_near = mean > -0.5
    near = ops.log1p(ops.where(is_near, mean, 0.0))
    far = ops.log(ops.mean(ops.exp(logits), axis=-1, keepdims=True))
    return logits - ops.where(is_near, near, far)
