"""The base of all distillation losses."""

import keras


@keras.saving.register_keras_serializable(package="keras_kd")
class DistillationLoss(keras.losses.Loss, keras.distillation.DistillationLoss):
    """Base class: a loss of the teacher's and the student's outputs.

    A subclass implements `call(teacher_outputs, student_outputs)` and gives one value
    an example, shape `(batch,)`, or a position, `(batch, ...)`. Reduction, sample
    weights, masks and replicas are then the same for every loss. Use an instance in
    `keras_kd.Distiller`, in `keras.distillation.Distiller`, or as a plain Keras loss:
    `loss(teacher_outputs, student_outputs, sample_weight)`.

    What `call` takes by keyword besides, `keras_kd.Distiller` passes on where a class
    attribute says so: `takes_labels`, `takes_mask`, `takes_temperature` (one an
    example), `takes_members` (the teacher's side is then a list, one entry a member,
    and `weights` are theirs). With `couples_batch = True` and an attribute `batch` of
    `"global"`, `call` gets the examples of all replicas and gives a value for each.

    Args:
        name: Name under which it is logged.
        reduction: As in `keras.losses.Loss`; `keras_kd.Distiller` reduces by itself,
            over the global batch. Defaults to `"sum_over_batch_size"`.
        dtype: Of the computation. Defaults to `keras.config.floatx()`.

    Example:

    >>> class LogitGap(keras_kd.losses.DistillationLoss):
    ...     def call(self, teacher_logits, student_logits):
    ...         gap = keras.ops.abs(teacher_logits - student_logits)
    ...         return keras.ops.mean(gap, axis=-1)
    >>> loss = LogitGap(name="logit_gap")
    >>> float(loss(np.array([[1.0, 2.0]]), np.array([[0.0, 0.0]])))
    1.5
    """

    teacher_layer_name = None  # None: the model's output
    student_layer_name = None

    takes_temperature = False  # `temperature`: (batch,), 0 where the loss's own holds
    takes_labels = False  # `labels`: classes or rows of probabilities, None if unknown
    takes_mask = False  # `mask`: bool (batch, ...), False where a position is no data
    takes_members = False  # logits of each teacher, a list, in place of the ensemble's

    # Whether values depend on the other examples of the batch. Such a loss has an
    # argument `batch`: "global" has it see the examples of all replicas.
    couples_batch = False

    def call(self, teacher_outputs, student_outputs):
        """Values per example (or position). Teacher first: the gap is directed."""
        raise NotImplementedError(
            f"{type(self).__name__} must implement "
            "`call(teacher_outputs, student_outputs)` and return one value an example."
        )

    def build(self, teacher_shape, student_shape):
        """Create what is trained with the student (a projector), given both shapes."""

    @property
    def trainable_layers(self):
        """Layers of the loss that train with the student; in no saved student."""
        return []

    def compute_loss(self, teacher_outputs, student_outputs, **kwargs):
        """Scalar for `keras.distillation.Distiller`: summed over the outputs."""
        del kwargs
        pairs = zip(
            keras.tree.flatten(teacher_outputs),
            keras.tree.flatten(student_outputs),
            strict=True,
        )
        return sum(self(teacher, student) for teacher, student in pairs)

    def get_config(self):
        config = super().get_config()
        if self.dtype != keras.config.floatx():  # Keras's own losses forget it
            config["dtype"] = self.dtype
        return config

    @classmethod
    def from_config(cls, config):
        values = config.items()
        return cls(**{k: keras.saving.deserialize_keras_object(v) for k, v in values})
