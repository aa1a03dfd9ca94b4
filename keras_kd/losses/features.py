"""Losses on intermediate features."""

import keras
from keras import ops

from keras_kd._common.numerics import at_least_float32
from keras_kd.losses.feature_loss import (
    FeatureLoss,
    TrainedFeatureLoss,
    at_one_size,
    axes_of_an_example,
    check_same_width,
    pointwise,
    static_widths,
)


def feature_matching(teacher_features, student_features):
    """Mean squared difference of two feature tensors, for each example.

    Along each spatial axis the larger of two maps is pooled to the size of the smaller
    (adaptive average pooling).

    Args:
        teacher_features: `(batch, features)`, `(batch, length, features)` or
            `(batch, height, width, features)` (more spatial axes are fine).
        student_features: As many features; a map may have another height and width.

    Returns:
        `(batch,)`; for sequences `(batch, length)`, so that a mask can apply. >= 0.

    Example:

    >>> t, s = np.array([[1.0, 2.0]]), np.array([[1.0, 0.0]])
    >>> keras_kd.losses.feature_matching(t, s).numpy().tolist()
    [2.0]

    Reference: Romero et al. 2015 (FitNets), equation 3, as a mean over elements.
    """
    teacher, student = at_least_float32(teacher_features, student_features)
    teacher, student = at_one_size(teacher, student)
    check_same_width(teacher, student, "Project one side, as FeatureMatching does.")
    difference = ops.square(teacher - student)
    return ops.mean(difference, axis=axes_of_an_example(student))


@keras.saving.register_keras_serializable(package="keras_kd")
class FeatureMatching(TrainedFeatureLoss):
    """Mean squared difference between a teacher's and a student's layer (FitNets).

    Where the layers differ in width, a linear projector (a bias-free dense layer; on
    maps a 1x1 convolution) takes the student's features to the teacher's width. It
    trains with the student, is in training checkpoints, and is no part of the saved
    student. Where maps differ in height or width, the larger one is average-pooled to
    the smaller.

    When to use: To help a deep, thin student early in training, or to carry over what
    an inner layer represents. It says nothing about the predictions: combine it with a
    logit loss.

    Usual weight: 100 (released code of benchmarks, through a regressor with batch
    normalisation and ReLU).

    Args:
        teacher_layer_name: Layer of the teacher; a dot reaches into nested models
            (`"backbone.stage_2"`), and the member's name or index comes first in an
            ensemble of several (`"0.conv1"`). None takes the teacher's output.
        student_layer_name: Layer of the student, likewise.
        name: Name in the logs. Defaults to `"feature_matching"`.
        reduction: See `DistillationLoss`.
        dtype: See `DistillationLoss`.

    Raises:
        ValueError: If a layer does not exist (with those that do), if one is a map and
            the other a vector, or if two sequences differ in length.

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

    @property
    def projector(self):
        """The layer that `build` made, None where the widths agree."""
        return self._one_layer(None)

    def make_layers(self, teacher_shape, student_shape):
        """A projector where the widths differ; see `DistillationLoss`."""
        self._check_axes(teacher_shape, student_shape)
        if teacher_shape[-1] == student_shape[-1]:
            return []
        projector = pointwise(
            teacher_shape[-1], use_bias=False, name=self._layer_name("projector")
        )
        projector.build((None, *student_shape[1:]))
        return [projector]

    def call(self, teacher_features, student_features, layers=None):
        teacher, student = at_least_float32(teacher_features, student_features)
        projector = self._one_layer(layers)
        self._check_axes(teacher.shape, student.shape)
        self._check_widths(teacher, student, projector, "projector")
        teacher, student = at_one_size(teacher, student)
        if projector is not None:
            student = projector(student)
        return feature_matching(teacher, student)

    def validate_model_compatibility(self, teacher, student):
        """Refuse, in `keras.distillation.Distiller`, what that class would do wrong."""
        FeatureLoss.validate_model_compatibility(self, teacher, student)
        ours = static_widths(student, self.student_layer_name)
        theirs = static_widths(teacher, self.teacher_layer_name)
        if None not in (theirs, ours) and theirs != ours:
            raise ValueError(
                f"Features of {theirs} (teacher) and {ours} (student) channels need a "
                "projector, which keras.distillation.Distiller does not train. Use "
                "keras_kd.Distiller."
            )
