"""One loss on the two tensors that it compares, with what else its `call` takes."""

from keras import ops

from keras_kd._common.distribution import gather_rows, own_rows
from keras_kd._common.weights import combined_mask


def takes(loss, what):
    """Whether `call` takes "labels", "mask", "members" or "temperature" by keyword."""
    return what in loss.takes


def call_loss(loss, teacher, student, *, labels, temperature, member_weights):
    """`(values, mask)`: one value an example or position, and which positions count.

    `teacher` is a list of tensors, one a member, where the loss takes members.
    """
    sides = [*teacher, student] if takes(loss, "members") else [teacher, student]
    loss.build(tuple(sides[0].shape), tuple(student.shape))  # once: then it is there
    mask = combined_mask(*sides)
    rows = {"labels": labels, "mask": mask, "temperature": temperature}
    rows = {k: v for k, v in rows.items() if v is not None and takes(loss, k)}
    options = {"weights": member_weights} if takes(loss, "members") else {}
    if not (loss.couples_batch and loss.batch == "global"):
        values = loss.call(teacher, student, **rows, **options)
    else:
        own = ops.shape(student)[0]
        teacher, student, rows = gather_rows((teacher, student, rows))
        values = own_rows(loss.call(teacher, student, **rows, **options), own)
    return ops.cast(values, "float32"), mask
