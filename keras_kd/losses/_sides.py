"""Both sides of a comparison: one dtype, and one shape, before anything can broadcast.

What static shapes leave open, such as a length, is compared in the run.
"""

from keras import ops

from keras_kd._common.backend import asserted_equal
from keras_kd._common.checks import check_same_shape
from keras_kd._common.numerics import at_least_float32


def check_outputs(teacher, student, *, classes=2):
    """Raise unless both are `(batch, ..., classes)` of one shape, as far as known."""
    check_same_shape(teacher, student, classes=classes)
    if len(student.shape) < 2:
        raise ValueError(
            "Outputs to compare need an axis of classes or units behind that of the "
            f"batch: (batch, ..., classes). Received: shape {tuple(student.shape)}. "
            "Add one, for example by keras.layers.Reshape((1,)) as the last layer."
        )


def of_one_shape(teacher, student, *, classes=2):
    """Both in float32 at least, with one shape, of at least so many `classes`."""
    teacher, student = at_least_float32(teacher, student)
    shape = tuple(student.shape)
    if len(shape) > 1 and shape[-1] is not None and shape[-1] >= classes:
        if None not in shape and tuple(teacher.shape) == shape:
            return teacher, student  # all is known, and fits
    check_outputs(teacher, student, classes=classes)
    return of_sizes_of(student, teacher, range(len(student.shape))), student


def of_sizes_of(student, teacher, axes):
    """`teacher`, which fails in the run unless it has the sizes of `student` there."""
    pairs = list(zip(teacher.shape, student.shape, strict=True))
    # Of a batch that neither side knows, both have the examples of one batch.
    unknown = [i for i in axes if None in pairs[i] and (i or pairs[0] != (None, None))]
    return _held_to_sizes(teacher, ops.shape(student), unknown) if unknown else teacher


def _held_to_sizes(teacher, sizes, axes):
    """`teacher`, or an error in the run if its sizes along `axes` are not `sizes`."""
    own = ops.shape(teacher)
    teacher = asserted_equal(
        teacher,
        [own[i] for i in axes],
        [sizes[i] for i in axes],
        "Teacher and student must have as many examples and positions (tokens, "
        "pixels): they are compared position by position and none is repeated to fit. "
        "Give both models the same inputs, or compare layers behind a pooling. Sizes "
        "received (teacher, student):",
    )
    # XLA leaves assertions out: a reshape fails there, where a sum would broadcast.
    target = [sizes[i] if i in axes else own[i] for i in range(len(own))]
    return ops.reshape(teacher, target)
