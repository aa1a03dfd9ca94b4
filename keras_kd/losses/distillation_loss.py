"""The base of all distillation losses."""

import keras

from keras_kd._common.checks import check_choice, nearest

# What `call` may get by keyword beside the two sides.
TAKES = ("labels", "mask", "temperature", "members", "layers")
COMPARES = ("class_logits", "logits", "features")
_OF_BEFORE = {
    "takes_labels": "labels",
    "takes_mask": "mask",
    "takes_temperature": "temperature",
    "takes_members": "members",
}


@keras.saving.register_keras_serializable(package="keras_kd")
class DistillationLoss(keras.losses.Loss, keras.distillation.DistillationLoss):
    """Base class: a loss of the teacher's and the student's outputs.

    A subclass implements `call(teacher_outputs, student_outputs)` and gives one value
    an example, shape `(batch,)`, or a position, `(batch, ...)`. Reduction, sample
    weights, masks and replicas are then the same for every loss. Use an instance in
    `keras_kd.Distiller`, in `keras.distillation.Distiller`, or as a plain Keras loss:
    `loss(teacher_outputs, student_outputs, sample_weight)`.

    The class attribute `takes`, a set, declares what `keras_kd.Distiller` passes to
    `call` by keyword besides:

    - `"labels"`: `labels` of the output as the user gave them, None without any;
    - `"mask"`: `mask`, bool `(batch, ...)`, False where a position is no data;
    - `"temperature"`: `temperature`, `(batch,)`, 0 where the loss's own holds;
    - `"members"`: the teacher's side is a list, one entry for each member of the
      ensemble, and `weights` are theirs;
    - `"layers"`: `layers`, those of `make_layers`, which train with the student.

    Each keyword must have the default None: other callers pass none of them.

    The class attribute `compares` declares what the two sides are: `"class_logits"`
    (a softmax over the last axis, of at least 2 classes), `"logits"` (any outputs of a
    model that are not probabilities) or `"features"` (anything). It defaults to
    `"logits"`.

    Args:
        name: Name under which it is logged.
        reduction: As in `keras.losses.Loss`; `keras_kd.Distiller` reduces by itself,
            over the global batch. Defaults to `"sum_over_batch_size"`.
        dtype: Of the computation. Defaults to `keras.config.floatx()`.

    Raises:
        ValueError: If a subclass declares an unknown entry of `takes` or `compares`.
        TypeError: If its `takes` is no set, or if it declares `takes_labels` or the
            like, or makes layers in `build`, as keras_kd had it before.

    Example:

    >>> class GapOfClass(keras_kd.losses.DistillationLoss):
    ...     takes = {"labels"}
    ...     def call(self, teacher_logits, student_logits, labels=None):
    ...         gap = keras.ops.abs(teacher_logits - student_logits)
    ...         if labels is None:
    ...             return keras.ops.mean(gap, axis=-1)
    ...         one_hot = keras.ops.one_hot(labels, gap.shape[-1], dtype=gap.dtype)
    ...         return keras.ops.sum(one_hot * gap, axis=-1)
    >>> loss = GapOfClass(name="gap_of_class")
    >>> teacher, student = np.array([[1.0, 2.0]]), np.array([[0.0, 0.0]])
    >>> float(loss(teacher, student))
    1.5
    >>> loss.call(teacher, student, labels=np.array([1])).numpy().tolist()
    [2.0]
    """

    teacher_layer_name = None  # None: the model's output
    student_layer_name = None

    takes = frozenset()
    compares = "logits"

    # Whether values depend on the other examples of the batch. Such a loss has an
    # argument `batch`: "global" has it see the examples of all replicas.
    couples_batch = False
    # Whether what a row holds that counts for nothing, a NaN even, reaches no other
    # row's value and no gradient. Of any other loss a Distiller makes such rows safe.
    keeps_rows_apart = False

    _own_layers = None  # of `build`; a Distiller has some of its own

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        _check_nothing_of_before(cls)
        cls.takes = _check_takes(cls)
        check_choice(f"{cls.__name__}.compares", cls.compares, COMPARES)

    def call(self, teacher_outputs, student_outputs):
        """Values per example (or position). Teacher first: the gap is directed."""
        raise NotImplementedError(
            f"{type(self).__name__} must implement "
            "`call(teacher_outputs, student_outputs)` and return one value an example."
        )

    def make_layers(self, teacher_shape, student_shape):
        """New layers that train with the student, built for these two shapes.

        A loss with `"layers"` in its `takes` overrides it. `keras_kd.Distiller` passes
        the list to `call` as `layers`. Here too is the place to refuse shapes that do
        not fit.

        Args:
            teacher_shape: Of what it compares, None where an axis is not known.
            student_shape: Likewise.

        Returns:
            A list of built layers, empty where there is nothing to train.
        """
        del teacher_shape, student_shape
        return []

    def build(self, teacher_shape, student_shape):
        """Make layers of its own, for `call` without `layers`; once there, they stay.

        For use as a plain Keras loss; `keras_kd.Distiller` builds a copy of its own.
        """
        if self._own_layers is None:
            self._own_layers = self.make_layers(teacher_shape, student_shape)

    def without_layers(self):
        """The same loss, sharing its numbers and schedules, with no layers yet.

        What trains with a student belongs to the `keras_kd.Distiller` that trains it,
        so each keeps such a copy; one loss may serve several.

        Example:

        >>> loss = keras_kd.losses.CRD("pool", "pool", embedding_size=8)
        >>> loss.build((None, 4), (None, 2))
        >>> len(loss.trainable_layers), len(loss.without_layers().trainable_layers)
        (2, 0)
        """
        # Not `copy.copy`, which Keras makes a save and a load.
        copy = object.__new__(type(self))
        vars(copy).update(vars(self), _own_layers=None)
        return copy

    @property
    def trainable_layers(self):
        """Layers that `build` made: train them with the student."""
        return list(self._own_layers or [])

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


def _check_takes(cls):
    """`takes` of a class as a frozenset of known entries."""
    if not isinstance(cls.takes, (set, frozenset)):
        raise TypeError(
            f"`{cls.__name__}.takes` must be a set, such as {{'labels'}}, with some of "
            f"{list(TAKES)}. Received: {cls.takes!r} of type "
            f"{type(cls.takes).__name__}."
        )
    unknown = sorted(cls.takes - set(TAKES), key=str)
    if unknown:
        raise ValueError(
            f"`{cls.__name__}.takes` may hold {list(TAKES)}. Received: {unknown}."
            f"{nearest(unknown[0], TAKES)}"
        )
    return frozenset(cls.takes)


def _check_nothing_of_before(cls):
    """Raise where a class follows the contract of before, which nobody reads now."""
    found = [name for name in _OF_BEFORE if hasattr(cls, name)]
    if found:
        takes = ", ".join(f'"{_OF_BEFORE[name]}"' for name in found)
        raise TypeError(
            f"{cls.__name__} declares {found}, which nothing reads any more. Write "
            f"`takes = {{{takes}}}` in the class instead."
        )
    own = [
        name
        for name in ("build", "trainable_layers")
        if getattr(cls, name) is not getattr(DistillationLoss, name)
    ]
    if own and cls.make_layers is DistillationLoss.make_layers:
        raise TypeError(
            f"{cls.__name__} overrides {own}, which keras_kd.Distiller does not call: "
            "layers that train belong to the distiller. Return new ones from "
            '`make_layers(teacher_shape, student_shape)`, write `takes = {"layers"}`, '
            "and use those that `call(..., layers=None)` gets."
        )
