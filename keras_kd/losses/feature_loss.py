"""The base of all losses on intermediate features."""

import keras

from keras_kd._common.checks import may_equal
from keras_kd._common.numerics import at_least_float32
from keras_kd.losses._pooling import to_common_size
from keras_kd.losses._sides import of_sizes_of
from keras_kd.losses.distillation_loss import DistillationLoss


class FeatureLoss(DistillationLoss):
    """Base class: a loss on a layer of the teacher and a layer of the student.

    A subclass implements `call(teacher_features, student_features)`. One that trains
    layers with the student derives from `TrainedFeatureLoss`.

    Args:
        teacher_layer_name: Layer of the teacher; a dot reaches into nested models
            (`"backbone.stage_2"`), and the member's name or index comes first in an
            ensemble of several (`"0.conv1"`). None takes the teacher's output.
        student_layer_name: Layer of the student, likewise.
        name: Name in the logs.
        reduction: See `DistillationLoss`.
        dtype: See `DistillationLoss`.

    Example:

    >>> class NormGap(keras_kd.losses.FeatureLoss):
    ...     def call(self, teacher_features, student_features):
    ...         ours = keras.ops.norm(student_features, axis=-1)
    ...         return keras.ops.abs(ours - keras.ops.norm(teacher_features, axis=-1))
    >>> loss = NormGap("features", "features", name="norm_gap")
    >>> float(loss(np.array([[3.0, 4.0]]), np.array([[0.0, 2.0, 0.0]])))
    3.0
    """

    compares = "features"

    def __init__(
        self,
        teacher_layer_name,
        student_layer_name,
        name=None,
        reduction="sum_over_batch_size",
        dtype=None,
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.teacher_layer_name = _check_layer_name("teacher", teacher_layer_name)
        self.student_layer_name = _check_layer_name("student", student_layer_name)

    def validate_model_compatibility(self, teacher, student):
        """Refuse, in `keras.distillation.Distiller`, what that class would do wrong."""
        if (self.teacher_layer_name is None) != (self.student_layer_name is None):
            raise ValueError(
                "keras.distillation.Distiller ignores a student layer without a "
                "teacher layer and fails on the reverse. Name both layers, or use "
                "keras_kd.Distiller."
            )

    def get_config(self):
        return {
            **super().get_config(),
            "teacher_layer_name": self.teacher_layer_name,
            "student_layer_name": self.student_layer_name,
        }

    def _layer_name(self, kind):
        """A name of its own for each pair of layers, the same in each process."""
        teacher = self.teacher_layer_name or "output"
        student = self.student_layer_name or "output"
        return f"{self.name}_{student}_to_{teacher}_{kind}"

    def _check_axes(self, teacher_shape, student_shape):
        """Raise unless the two layers have the same kind of axes."""
        layers = self.teacher_layer_name, self.student_layer_name
        teacher, student = ("output" if n is None else f"layer {n!r}" for n in layers)
        what = f"the teacher's {teacher} and the student's {student} ({self.name})"
        check_axes(teacher_shape, student_shape, what)


class TrainedFeatureLoss(FeatureLoss):
    """Base class: a feature loss with layers that train with the student.

    A subclass implements `make_layers(teacher_shape, student_shape)`, which returns new
    layers, built, in float32 whatever the models' policies, or `[]` where there is
    nothing to train; and `call(teacher_features, student_features, layers=None)`, which
    uses the layers that it gets, or for None its own `trainable_layers`.
    `keras_kd.Distiller` makes layers for itself, trains them with the student and keeps
    them in its checkpoints, so one loss object may serve several distillers. For use
    outside of it, `build(teacher_shape, student_shape)` makes the loss's own.

    Where other entries of `takes` are declared, `"layers"` has to be one of them.

    Args:
        teacher_layer_name: See `FeatureLoss`.
        student_layer_name: See `FeatureLoss`.
        name: Name in the logs.
        reduction: See `DistillationLoss`.
        dtype: See `DistillationLoss`.

    Raises:
        ValueError: In `keras.distillation.Distiller`, which would not train the layers.

    Example:

    >>> class Scaled(keras_kd.losses.TrainedFeatureLoss):
    ...     def make_layers(self, teacher_shape, student_shape):
    ...         layer = keras.layers.Dense(teacher_shape[-1], dtype="float32")
    ...         layer.build((None, *student_shape[1:]))
    ...         return [layer]
    ...     def call(self, teacher_features, student_features, layers=None):
    ...         (layer,) = self.trainable_layers if layers is None else layers
    ...         gap = layer(student_features) - teacher_features
    ...         return keras.ops.mean(keras.ops.abs(gap), axis=-1)
    >>> loss = Scaled("features", "features", name="scaled")
    >>> loss.build((None, 3), (None, 2))
    >>> loss(np.ones((4, 3)), np.zeros((4, 2)))  # the bias starts at 0
    <tf.Tensor: shape=(), dtype=float32, numpy=1.0>
    """

    takes = frozenset({"layers"})

    def validate_model_compatibility(self, teacher, student):
        """Refuse `keras.distillation.Distiller`, which trains no layers of a loss."""
        raise ValueError(
            f"{type(self).__name__} trains layers with the student, which "
            "keras.distillation.Distiller does not. Use keras_kd.Distiller."
        )

    def _one_layer(self, layers):
        """The layer among `layers`, or its own for None; None where there is none."""
        layers = self.trainable_layers if layers is None else layers
        return layers[0] if layers else None

    def _check_widths(self, teacher, student, layer, kind):
        """Raise where only a layer that is not there yet could make the widths meet."""
        if layer is None and teacher.shape[-1] != student.shape[-1]:
            raise ValueError(
                f"Teacher features are {teacher.shape[-1]} wide, student features "
                f"{student.shape[-1]}, and {self.name!r} has no {kind} yet. "
                "`keras_kd.Distiller` makes one; elsewhere call "
                f"`build(teacher_shape, student_shape)` and train its `{kind}`."
            )


def pointwise(width, **options):
    """A layer that maps the channels of every position alike, computing in float32.

    A 1x1 convolution as a dense layer: on a CPU, TensorFlow's convolution of an empty
    batch, which a replica may get, has the channels of its input.
    """
    return keras.layers.Dense(width, dtype="float32", **options)


def at_one_size(teacher, student):
    """Both in float32 at least, the larger map pooled to the smaller; not sequences."""
    check_axes(teacher.shape, student.shape)
    if len(student.shape) > 3:
        return to_common_size(teacher, student)
    teacher, student = at_least_float32(teacher, student)
    return of_sizes_of(student, teacher, range(len(student.shape) - 1)), student


def axes_of_an_example(features):
    """What a value averages over: all of a map, the features of a vector or token."""
    rank = len(features.shape)
    return (-1,) if rank <= 3 else tuple(range(1, rank))


def check_axes(teacher_shape, student_shape, what="the features to compare"):
    """Raise unless both are vectors, sequences of one length, or maps of any size.

    Of as many examples, where both batches are known.
    """
    teacher, student = tuple(teacher_shape), tuple(student_shape)
    received = f"Received: teacher {teacher}, student {student}."
    if len(teacher) != len(student):
        raise ValueError(
            f"The shapes of {what} must have the same number of axes. {received} "
            "Choose two maps or two vectors: a layer behind the global pooling "
            "(keras.layers.GlobalAveragePooling2D) gives a vector."
        )
    if not may_equal(teacher[:1], student[:1]):
        raise ValueError(
            f"The batches of {what} must have as many examples, as each is compared "
            f"with itself. {received} Give both models the same inputs."
        )
    lengths = {teacher[1], student[1]} - {None} if len(teacher) == 3 else ()
    if len(lengths) > 1:
        raise ValueError(
            f"The token axes of {what} must agree: sequences (batch, length, features) "
            f"are compared token by token. {received} Give both models the same "
            "tokens, or choose layers behind a pooling over them."
        )


def check_same_width(teacher, student, mend):
    """Raise unless both have as many channels."""
    if teacher.shape[-1] != student.shape[-1]:
        raise ValueError(
            "Features to compare must have as many channels (last axis) on both sides. "
            f"Received: teacher {tuple(teacher.shape)}, student "
            f"{tuple(student.shape)}. {mend}"
        )


def static_widths(model, layer_name):
    """Channels of a layer's or the model's outputs; None for a subclassed model."""
    if layer_name is None:
        outputs = getattr(model, "outputs", None)
    else:
        outputs = getattr(model.get_layer(layer_name), "output", None)
    if outputs is None:
        return None
    return [tensor.shape[-1] for tensor in keras.tree.flatten(outputs)]


def _check_layer_name(side, name):
    if name is not None and (not isinstance(name, str) or not name):
        raise TypeError(
            f"`{side}_layer_name` must be the name of a layer, or None for the model's "
            f"output. Received: {name!r} of type {type(name).__name__}."
        )
    return name
