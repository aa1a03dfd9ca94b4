"""Losses on intermediate features."""

import keras
from keras import ops

from keras_kd._common.numerics import at_least_float32
from keras_kd.losses.feature_loss import FeatureLoss, static_widths


def feature_matching(teacher_features, student_features):
    """Mean squared difference of two feature tensors, for each example.

    Args:
        teacher_features: `(batch, features)`, `(batch, length, features)` or
            `(batch, height, width, features)` (more spatial axes are fine).
        student_features: Same shape.

    Returns:
        `(batch,)`; for sequences `(batch, length)`, so that a mask can apply. >= 0.

    Example:

    >>> t, s = np.array([[1.0, 2.0]]), np.array([[1.0, 0.0]])
    >>> keras_kd.losses.feature_matching(t, s).numpy().tolist()
    [2.0]

    Reference: Romero et al. 2015 (FitNets), equation 3, as a mean over elements.
    """
    teacher, student = at_least_float32(teacher_features, student_features)
    if _differ(teacher.shape, student.shape):
        raise ValueError(
            "Features to match must have the same shape. Received: teacher "
            f"{tuple(teacher.shape)}, student {tuple(student.shape)}."
        )
    axes = (-1,) if len(teacher.shape) <= 3 else tuple(range(1, len(teacher.shape)))
    return ops.mean(ops.square(teacher - student), axis=axes)


@keras.saving.register_keras_serializable(package="keras_kd")
class FeatureMatching(FeatureLoss):
    """Mean squared difference between a teacher's and a student's layer (FitNets).

    Where the layers differ in width, a linear projector (a bias-free 1x1 convolution
    or dense layer) maps the student's features to the teacher's. It trains with the
    student, is in training checkpoints, and is no part of the saved student.

    Use it to help a deep, thin student early in training; it says nothing about the
    predictions, so combine it with a logit loss.

    Args:
        teacher_layer_name: Layer of the teacher; a dot reaches into nested models
            (`"backbone.stage_2"`), and the member's name or index comes first in an
            ensemble of several (`"0.conv1"`). None takes the teacher's output.
        student_layer_name: Layer of the student, likewise.
        name: Name in the logs. Defaults to `"feature_matching"`.
        reduction: See `DistillationLoss`.
        dtype: See `DistillationLoss`.

    Raises:
        ValueError: If a layer does not exist (with those that do), or if the spatial
            axes of both differ.

    Example:

    >>> loss = keras_kd.losses.FeatureMatching("conv4", "conv2")
    >>> round(float(loss(np.array([[1.0, 2.0]]), np.array([[1.0, 0.0]]))), 4)
    2.0

    Reference: Romero et al. 2015, equation 3 (one stage, with the other losses).
    """

    def __init__(
        self,
        teacher_layer_name,
        student_layer_name,
        name="feature_matching",
        reduction="sum_over_batch_size",
        dtype=None,
    ):
        super().__init__(teacher_layer_name, student_layer_name, name, reduction, dtype)
        self.projector = None

    @property
    def trainable_layers(self):
        return [] if self.projector is None else [self.projector]

    def build(self, teacher_shape, student_shape):
        """Make the projector if the widths differ; a second call changes nothing."""
        self._check_shapes(teacher_shape, student_shape)
        if self.projector is not None or teacher_shape[-1] == student_shape[-1]:
            return
        name, width = f"{self.name}_projector", teacher_shape[-1]
        # float32 whatever the models' policies: it feeds a float32 loss.
        options = {"use_bias": False, "name": name, "dtype": "float32"}
        if len(student_shape) == 4:
            self.projector = keras.layers.Conv2D(width, 1, **options)
        else:
            self.projector = keras.layers.Dense(width, **options)
        self.projector.build((None, *student_shape[1:]))

    def call(self, teacher_features, student_features):
        teacher, student = at_least_float32(teacher_features, student_features)
        self._check_shapes(tuple(teacher.shape), tuple(student.shape))
        if teacher.shape[-1] != student.shape[-1] and self.projector is None:
            raise ValueError(
                f"Teacher features are {teacher.shape[-1]} wide, student features "
                f"{student.shape[-1]}, and {self.name!r} has no projector yet. "
                "`keras_kd.Distiller` makes one; elsewhere call "
                "`build(teacher_shape, student_shape)` and train its `projector`."
            )
        if self.projector is not None:
            student = self.projector(student)
        return feature_matching(teacher, student)

    def validate_model_compatibility(self, teacher, student):
        """Refuse, in `keras.distillation.Distiller`, what that class would do wrong."""
        super().validate_model_compatibility(teacher, student)
        ours = static_widths(student, self.student_layer_name)
        theirs = static_widths(teacher, self.teacher_layer_name)
        if None not in (theirs, ours) and theirs != ours:
            raise ValueError(
                f"Features of {theirs} (teacher) and {ours} (student) channels need a "
                "projector, which keras.distillation.Distiller does not train. Use "
                "keras_kd.Distiller."
            )

    def _check_shapes(self, teacher_shape, student_shape):
        if _differ(teacher_shape[:-1], student_shape[:-1]):
            raise ValueError(
                f"Loss {self.name!r} compares layer {self.teacher_layer_name!r} of the "
                f"teacher, shape {tuple(teacher_shape)}, with layer "
                f"{self.student_layer_name!r} of the student, shape "
                f"{tuple(student_shape)}: all axes but the last must agree. Choose "
                "layers of equal resolution, or pool one of them."
            )


def _differ(teacher_shape, student_shape):
    """Whether two shapes disagree where both are known."""
    if len(teacher_shape) != len(student_shape):
        return True
    axes = zip(teacher_shape, student_shape, strict=True)
    return any(None not in (t, s) and t != s for t, s in axes)
