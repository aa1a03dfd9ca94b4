"""Knowledge distillation over many classes, without whole arrays of probabilities."""

import keras
from keras import ops

from keras_kd._common.checks import check_whole_number
from keras_kd._common.row_chunks import fill_by_chunks
from keras_kd.losses._sides import check_outputs, of_sizes_of
from keras_kd.losses.logits import knowledge_distillation
from keras_kd.losses.tempered import TemperedLoss, temperature_tensor, tempered


def chunked_knowledge_distillation(
    teacher_logits, student_logits, *, temperature=4.0, chunk_size=256
):
    """`knowledge_distillation`, computed so many positions at a time.

    Values and the student's gradient are those of `knowledge_distillation`. Forward,
    and again in the backward pass, positions are compared `chunk_size` at a time, one
    chunk after the other, and the gradient T (softmax(z_s / T) - softmax(z_t / T)) is
    written chunk by chunk. Probabilities, and logits cast up from half precision,
    exist of one chunk only; logits and the student's gradient are the only whole
    arrays. In TensorFlow this holds of compiled steps; an eager call copies the
    gradient for each chunk.

    The gradient is the student's alone: neither the teacher's logits nor the
    temperature get one. There are no higher derivatives and no forward mode.

    Args:
        teacher_logits: `(batch, ..., classes)`.
        student_logits: Same shape.
        temperature: T > 0, or one an example, `(batch,)`. Defaults to 4.0.
        chunk_size: How many positions at a time. Each takes about 8 arrays of
            `classes` float32 numbers. Defaults to 256.

    Returns:
        `(batch, ...)`, >= 0, in nats times T^2; float32, or float64 for float64 logits.

    Raises:
        ValueError: For sides of unlike shapes, or `chunk_size` below 1.
        NotImplementedError: When a second derivative is asked for.

    Example:

    >>> t, s = np.random.normal(size=(2, 4, 16, 50)).astype("float32")
    >>> values = keras_kd.losses.chunked_knowledge_distillation(t, s, chunk_size=10)
    >>> whole = keras_kd.losses.knowledge_distillation(t, s)
    >>> values.shape == (4, 16) and np.allclose(values, whole, rtol=1e-5)
    True

    Reference: Hinton et al. 2015, section 2 (equation 2 is the gradient).
    """
    chunk_size = check_whole_number("chunk_size", chunk_size, at_least=1)
    teacher, student = map(ops.convert_to_tensor, (teacher_logits, student_logits))
    check_outputs(teacher, student)
    teacher = of_sizes_of(student, teacher, range(len(student.shape)))
    *positions, classes = ops.shape(student)
    dtype = _dtype_of_values(teacher, student)
    temperature = temperature_tensor(temperature, student, dtype)
    temperature = of_each_row(temperature, positions)
    student = ops.reshape(student, (-1, classes))
    teacher = ops.reshape(teacher, (ops.shape(student)[0], classes))
    values_of = _values_of_rows(teacher, temperature, chunk_size, dtype)
    return ops.reshape(values_of(student), positions)


@keras.saving.register_keras_serializable(package="keras_kd")
class ChunkedKnowledgeDistillation(TemperedLoss):
    """`KnowledgeDistillation` that never holds the probabilities of all positions.

    It has the values and the student's gradient of `KnowledgeDistillation`, and keeps
    nothing but the logits between the forward and the backward pass, where the other
    keeps several arrays of their size. For that it computes each softmax twice. It has
    first derivatives by the student's logits only. The metrics of divergence take the
    positions of sequences in chunks too, so a whole step of `keras_kd.Distiller` saves
    memory; a label loss of Keras still holds arrays of its own.

    When to use: in place of `KnowledgeDistillation` where the logits of a batch take
    much memory, as those of a language model do (positions times vocabulary).

    Usual weight: as of `KnowledgeDistillation`.

    Args:
        temperature: T > 0, or a schedule (`keras_kd.schedules`). Defaults to 4.0; for
            text with sharp teachers, 1 or 2.
        chunk_size: How many positions are compared at a time. Defaults to 256.
        name: Name in the logs. Defaults to `"chunked_knowledge_distillation"`.
        reduction: See `DistillationLoss`.
        dtype: See `DistillationLoss`.

    Example:

    >>> loss = keras_kd.losses.ChunkedKnowledgeDistillation(1.0, chunk_size=256)
    >>> t, s = np.array([[2.0, 0.0, -1.0]]), np.array([[1.0, 0.5, 0.0]])
    >>> round(float(loss(t, s)), 4)
    0.2551

    Reference: Hinton et al. 2015, section 2 (equation 2 is the gradient).
    """

    keeps_rows_apart = True

    def __init__(
        self,
        temperature=4.0,
        chunk_size=256,
        name="chunked_knowledge_distillation",
        reduction="sum_over_batch_size",
        dtype=None,
    ):
        super().__init__(temperature, name, reduction, dtype)
        self.chunk_size = check_whole_number("chunk_size", chunk_size, at_least=1)

    def call(self, teacher_logits, student_logits, temperature=None):
        return chunked_knowledge_distillation(
            teacher_logits,
            student_logits,
            temperature=self._of_each(temperature),
            chunk_size=self.chunk_size,
        )

    def get_config(self):
        return {**super().get_config(), "chunk_size": self.chunk_size}


def _values_of_rows(teacher, temperature, chunk_size, dtype):
    """A function of the student's rows: values, with a gradient chunk by chunk."""
    teacher, temperature = map(ops.stop_gradient, (teacher, temperature))

    def compared(cut, student):
        own = cut(temperature) if len(temperature.shape) > 0 else temperature
        return cut(teacher), cut(student), own

    @ops.custom_gradient
    def values_of(student):
        # On an eager tape the intermediates of each chunk would stay.
        whole = ops.stop_gradient(student)

        def values(cut):
            of_teacher, of_student, own = compared(cut, whole)
            return knowledge_distillation(of_teacher, of_student, temperature=own)

        def gradient(*args, upstream=None):
            return gradient_of(student, args[0] if upstream is None else upstream)

        empty = ops.zeros_like(student[:, 0], dtype=dtype)
        return fill_by_chunks(empty, chunk_size, values), gradient

    @ops.custom_gradient
    def gradient_of(student, upstream):
        whole, upstreams = map(ops.stop_gradient, (student, upstream))

        def gradient(cut):
            of_teacher, of_student, own = compared(cut, whole)
            gap = gap_of_probabilities(of_teacher, of_student, own)
            scale = ops.expand_dims(own * ops.cast(cut(upstreams), dtype), axis=-1)
            found = ops.where(scale == 0, 0.0, scale * gap)  # of a NaN too
            return ops.cast(found, whole.dtype)

        empty = ops.zeros_like(whole)
        return fill_by_chunks(empty, chunk_size, gradient), refuse_second

    return values_of


def gap_of_probabilities(teacher_logits, student_logits, temperature):
    teacher, student, _ = tempered(teacher_logits, student_logits, temperature)
    return ops.softmax(student, axis=-1) - ops.softmax(teacher, axis=-1)


def refuse_second(*args, upstream=None):
    del args, upstream
    raise NotImplementedError(
        "A loss that is computed in chunks has first derivatives only, by the student "
        "and in reverse mode. For Hessians take `KnowledgeDistillation`: its values "
        "are the same."
    )


def of_each_row(temperature, positions):
    """One number as it is; one an example, for each of its positions: `(rows,)`."""
    if len(temperature.shape) == 0:
        return temperature
    each = ops.reshape(temperature, [-1] + [1] * (len(positions) - 1))
    return ops.reshape(ops.broadcast_to(each, positions), [-1])


def _dtype_of_values(*sides):
    names = [keras.backend.standardize_dtype(side.dtype) for side in sides]
    return "float64" if "float64" in names else "float32"
