"""Knowledge distillation from the last hidden states and the two heads, in chunks."""

import keras
from keras import ops

from keras_kd._common.backend import with_rows
from keras_kd._common.checks import check_whole_number
from keras_kd._common.row_chunks import over_chunks
from keras_kd.losses._sides import of_sizes_of
from keras_kd.losses.chunked import gap_of_probabilities, of_each_row, refuse_second
from keras_kd.losses.logits import knowledge_distillation
from keras_kd.losses.tempered import temperature_tensor


def fused_linear_knowledge_distillation(
    teacher_states,
    student_states,
    teacher_kernel,
    student_kernel,
    teacher_bias=None,
    student_bias=None,
    *,
    temperature=4.0,
    chunk_size=256,
):
    """`knowledge_distillation` of two linear heads, without an array of their logits.

    Values and gradients are those of `knowledge_distillation` on the logits `states @
    kernel + bias` of each side. They are computed `chunk_size` positions at a time, and
    once more in the backward pass, so that no array of positions times classes exists
    of either side: with a vocabulary of 50,000, logits are what fills the memory.

    The student's states, kernel and bias get gradients; the teacher's side and the
    temperature get none. There are no higher derivatives and no forward mode. Call it
    in the `compute_loss` or training step of a model that gives its last hidden states.

    Args:
        teacher_states: `(batch, ..., teacher_units)`.
        student_states: `(batch, ..., student_units)`, as many positions.
        teacher_kernel: `(teacher_units, classes)`.
        student_kernel: `(student_units, classes)`.
        teacher_bias, student_bias: `(classes,)`. Default to none.
        temperature: T > 0, or one an example, `(batch,)`. Defaults to 4.0.
        chunk_size: How many positions at a time. Each takes about 8 arrays of
            `classes` float32 numbers. Defaults to 256.

    Returns:
        `(batch, ...)`, >= 0, in nats times T^2; float32, or float64 for float64 states.

    Raises:
        ValueError: For shapes that do not fit, or `chunk_size` below 1.
        NotImplementedError: When a second derivative is asked for.

    Example:

    >>> rng = np.random.default_rng(0)
    >>> states = [rng.normal(size=(2, 4, units)).astype("float32") for units in (8, 3)]
    >>> kernels = [rng.normal(size=(units, 50)).astype("float32") for units in (8, 3)]
    >>> values = keras_kd.losses.fused_linear_knowledge_distillation(*states, *kernels)
    >>> logits = [x @ kernel for x, kernel in zip(states, kernels)]
    >>> whole = keras_kd.losses.knowledge_distillation(*logits)
    >>> values.shape == (2, 4) and np.allclose(values, whole, rtol=1e-4)
    True

    Reference: Hinton et al. 2015, section 2; Hsu et al. 2024, *Liger Kernel* (linear
    layer and loss in one, chunk by chunk).
    """
    chunk_size = check_whole_number("chunk_size", chunk_size, at_least=1)
    teacher = _head("teacher", teacher_states, teacher_kernel, teacher_bias)
    student = _head("student", student_states, student_kernel, student_bias)
    _check_both(teacher, student)
    axes = range(len(student[0].shape) - 1)
    teacher[0] = of_sizes_of(student[0], teacher[0], axes)
    *positions, _ = ops.shape(student[0])
    temperature = temperature_tensor(temperature, student[0], _dtype(teacher, student))
    temperature = of_each_row(temperature, positions)
    rows = [(_in_rows(states), *head) for states, *head in (teacher, student)]
    values_of = _values_of_head(rows[0], temperature, chunk_size)
    return ops.reshape(values_of(*rows[1]), positions)


def _values_of_head(teacher, temperature, chunk_size):
    """A function of the student's rows, kernel and bias: values, with gradients."""
    teacher = [ops.stop_gradient(part) for part in teacher]
    temperature = ops.stop_gradient(temperature)

    def compared(student, cut):
        own = cut(temperature) if len(temperature.shape) > 0 else temperature
        return _logits_of(teacher, cut), _logits_of(student, cut), own

    @ops.custom_gradient
    def values_of(*head):
        student = [ops.stop_gradient(part) for part in head]

        def values(cut, start, result):
            of_teacher, of_student, own = compared(student, cut)
            found = knowledge_distillation(of_teacher, of_student, temperature=own)
            return with_rows(result, start, found)

        def gradient(*args, upstream=None):
            return gradients_of(*head, args[0] if upstream is None else upstream)

        rows = ops.shape(student[0])[0]
        empty = ops.zeros_like(student[0][:, 0], dtype=temperature.dtype)
        return over_chunks(rows, chunk_size, values, empty), gradient

    @ops.custom_gradient
    def gradients_of(*head_and_upstream):
        *student, upstream = map(ops.stop_gradient, head_and_upstream)

        def gradients(cut, start, result):
            *sides, own = compared(student, cut)
            scale = ops.expand_dims(own * ops.cast(cut(upstream), own.dtype), -1)
            gap = ops.where(scale == 0, 0.0, scale * gap_of_probabilities(*sides, own))
            return _with_chunk(result, start, gap, cut(student[0]), student[1])

        # Sums over many chunks in float32 at least.
        sums = [ops.zeros_like(part, dtype=temperature.dtype) for part in student[1:]]
        empty = ops.zeros_like(student[0]), *sums, ops.convert_to_tensor(0, "int32")
        rows = ops.shape(student[0])[0]
        found = over_chunks(rows, chunk_size, gradients, empty)[:3]
        pairs = zip(found, student, strict=True)
        found = tuple(ops.cast(part, like.dtype) for part, like in pairs)
        return found, refuse_second

    return values_of


def _logits_of(side, cut):
    states, kernel, bias = side
    return ops.matmul(cut(states), kernel) + bias


def _with_chunk(result, start, gap, states, kernel):
    """Gradients `(states, kernel, bias, rows done)` with those of one chunk added.

    Args:
        result: Of the chunks before.
        start: Its first row.
        gap: Gradient of its logits.
        states: Its rows of the student's states.
        kernel: The student's.
    """
    of_states, of_kernel, of_bias, done = result
    gap = ops.cast(gap, states.dtype)
    size = ops.shape(gap)[0]
    # The last chunk reaches back: rows that were summed do not count again.
    new = ops.cast(start + ops.arange(size) >= done, states.dtype)[None]
    of_kernel += ops.cast(ops.matmul(ops.transpose(states) * new, gap), of_kernel.dtype)
    of_bias += ops.cast(ops.matmul(new, gap)[0], of_bias.dtype)
    rows = ops.matmul(gap, ops.transpose(kernel))
    return with_rows(of_states, start, rows), of_kernel, of_bias, start + size


def _head(side, states, kernel, bias):
    """`[states, kernel, bias]` as tensors of one dtype, or an error."""
    states, kernel = map(ops.convert_to_tensor, (states, kernel))
    if len(states.shape) < 2 or len(kernel.shape) != 2:
        raise ValueError(
            f"The {side}'s states must be (batch, ..., units) and its kernel (units, "
            f"classes). Received: {tuple(states.shape)} and {tuple(kernel.shape)}."
        )
    units = states.shape[-1], kernel.shape[0]
    if None not in units and units[0] != units[1]:
        raise ValueError(
            f"The {side}'s states have {units[0]} units, and its kernel takes "
            f"{units[1]}. A kernel is (units, classes), as that of a Dense layer; "
            "transpose that of tied embeddings."
        )
    kernel = ops.cast(kernel, states.dtype)
    if bias is None:
        bias = ops.zeros_like(kernel[0])
    bias = ops.cast(ops.convert_to_tensor(bias), states.dtype)
    if tuple(bias.shape) != tuple(kernel.shape[1:]):
        raise ValueError(
            f"The {side}'s bias must have one number a class, {kernel.shape[1]}. "
            f"Received: shape {tuple(bias.shape)}."
        )
    return [states, kernel, bias]


def _check_both(teacher, student):
    classes = teacher[1].shape[-1], student[1].shape[-1]
    if classes[0] != classes[1] or classes[0] < 2:
        raise ValueError(
            "Both heads must have the same classes, at least two. Received: kernels "
            f"for {classes[0]} (teacher) and {classes[1]} (student)."
        )
    sides = [tuple(side[0].shape[:-1]) for side in (teacher, student)]
    fits = len(sides[0]) == len(sides[1]) and all(
        None in pair or pair[0] == pair[1] for pair in zip(*sides, strict=True)
    )
    if not fits:
        raise ValueError(
            "Teacher and student must have as many examples and positions. Received: "
            f"states of {sides[0]} (teacher) and {sides[1]} (student)."
        )


def _in_rows(states):
    return ops.reshape(states, (-1, ops.shape(states)[-1]))


def _dtype(*sides):
    names = [keras.backend.standardize_dtype(side[0].dtype) for side in sides]
    return "float64" if "float64" in names else "float32"
