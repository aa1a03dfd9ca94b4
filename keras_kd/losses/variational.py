"""Variational information distillation: the teacher's features as a Gaussian."""

import math

import keras
import numpy as np
from keras import ops

from keras_kd._common.checks import check_number
from keras_kd._common.numerics import at_least_float32
from keras_kd.losses.feature_loss import (
    TrainedFeatureLoss,
    at_one_size,
    axes_of_an_example,
    check_same_width,
    pointwise,
)

_SMALLEST_VARIANCE = 1e-5
_INITIAL_VARIANCE = 5.0


def vid(teacher_features, predicted_mean, *, variance=_INITIAL_VARIANCE):
    """Mean over elements of ((t - mean)^2 / variance + log variance) / 2.

    That is the negative log-likelihood, less log(2 pi) / 2, of the teacher's features
    under a Gaussian that the student predicts. Along each spatial axis the larger of
    two maps is pooled to the size of the smaller (adaptive average pooling).

    Args:
        teacher_features: `(batch, features)`, `(batch, length, features)` or
            `(batch, height, width, features)` (more spatial axes are fine).
        predicted_mean: What the student predicts of them: as many features; a map may
            have another height and width.
        variance: > 0, one number or one a feature, `(features,)`. Defaults to 5.0.

    Returns:
        `(batch,)`; for sequences `(batch, length)`, so that a mask can apply. Negative
        where the variance is below 1 and the prediction good.

    Raises:
        ValueError: If a variance is not > 0, or the shapes do not fit.

    Example:

    >>> t, mean = np.array([[1.0, 2.0]]), np.array([[1.0, 0.0]])
    >>> keras_kd.losses.vid(t, mean, variance=1.0).numpy().tolist()
    [1.0]

    Reference: Ahn et al. 2019, equations 4 to 6, as a mean over elements.
    """
    teacher, mean = at_least_float32(teacher_features, predicted_mean)
    teacher, mean = at_one_size(teacher, mean)
    check_same_width(teacher, mean, "Predict as many as the teacher has.")
    variance = ops.cast(_check_variance(variance, teacher.shape[-1]), teacher.dtype)
    terms = ops.square(teacher - mean) / variance + ops.log(variance)
    return 0.5 * ops.mean(terms, axis=axes_of_an_example(mean))


@keras.saving.register_keras_serializable(package="keras_kd")
class VID(TrainedFeatureLoss):
    """Negative log-likelihood of a teacher's layer, predicted from a student's.

    It bounds the mutual information of both layers from below: a network mu of the
    student's features predicts the teacher's, with a variance for each channel that
    says how well it can. mu is three dense layers (on maps 1x1 convolutions), as wide
    as the teacher's layer, without bias, with ReLU between them; the variance is
    softplus(a) + 1e-5. Both train with the student, are in training checkpoints, and
    are no part of the saved student. Of maps of unlike size the larger is
    average-pooled to the smaller.

    The value is negative once the teacher's features are predicted to within a variance
    below 1; only its course says something. The paper sums over the elements of a map;
    the mean here, as in the released code, needs no weight for the size of the layer.
    mdistiller keeps the variances where its optimiser does not find them: there they
    stay at 5, and the loss is a tenth of the mean squared difference plus a constant.

    `keras_kd.Distiller` makes both. Elsewhere `build` does; before it mu is the
    identity and the variance the initial one. `keras.distillation.Distiller` is
    refused: it would train neither.

    When to use: Where only some channels of the teacher can be told from the student:
    the others get a large variance, hence little weight.

    Usual weight: 1 (released code, each stage).

    Args:
        teacher_layer_name: Layer of the teacher; a dot reaches into nested models
            (`"backbone.stage_2"`), and the member's name or index comes first in an
            ensemble of several (`"0.conv1"`). None takes the teacher's output.
        student_layer_name: Layer of the student, likewise.
        initial_variance: > 1e-5, of each channel at the start. Defaults to 5.0.
        name: Name in the logs. Defaults to `"vid"`.
        reduction: See `DistillationLoss`.
        dtype: See `DistillationLoss`.

    Raises:
        ValueError: If a layer does not exist (with those that do), if one is a map and
            the other a vector, or if two sequences differ in length.

    Example:

    >>> loss = keras_kd.losses.VID("stage2", "stage1")
    >>> loss.build((None, 8, 8, 64), (None, 16, 16, 32))
    >>> [tuple(weight.shape) for weight in loss.regressor.weights]
    [(64,), (32, 64), (64, 64), (64, 64)]
    >>> t, s = np.ones((2, 8, 8, 64)), np.zeros((2, 16, 16, 32))
    >>> round(float(loss(t, s)), 4)  # (1 / 5 + log 5) / 2
    0.9047

    Reference: Ahn et al. 2019 (Variational Information Distillation for Knowledge
    Transfer), section 3.
    """

    def __init__(
        self,
        teacher_layer_name,
        student_layer_name,
        initial_variance=_INITIAL_VARIANCE,
        name="vid",
        reduction="sum_over_batch_size",
        dtype=None,
    ):
        super().__init__(teacher_layer_name, student_layer_name, name, reduction, dtype)
        self.initial_variance = check_number(
            "initial_variance", initial_variance, above=_SMALLEST_VARIANCE
        )

    @property
    def regressor(self):
        """mu and the variances that `build` made; None before."""
        return self._one_layer(None)

    def make_layers(self, teacher_shape, student_shape):
        """The regressor; see `DistillationLoss`."""
        self._check_axes(teacher_shape, student_shape)
        regressor = _GaussianRegressor(
            teacher_shape[-1],
            self.initial_variance,
            name=self._layer_name("regressor"),
            dtype="float32",
        )
        regressor.build((None, *student_shape[1:]))
        return [regressor]

    def call(self, teacher_features, student_features, layers=None):
        teacher, student = at_least_float32(teacher_features, student_features)
        regressor = self._one_layer(layers)
        self._check_axes(teacher.shape, student.shape)
        self._check_widths(teacher, student, regressor, "regressor")
        teacher, student = at_one_size(teacher, student)
        if regressor is None:
            return vid(teacher, student, variance=self.initial_variance)
        mean, variance = regressor(student)
        return vid(teacher, mean, variance=variance)

    def get_config(self):
        return {**super().get_config(), "initial_variance": self.initial_variance}


class _GaussianRegressor(keras.layers.Layer):
    """Mean and variance of features, predicted from others at the same position."""

    def __init__(self, width, initial_variance, **kwargs):
        super().__init__(**kwargs)
        self.width = width
        self.initial_variance = initial_variance

    def build(self, input_shape):
        self.steps = []
        for i, activation in enumerate(("relu", "relu", None), start=1):
            step = pointwise(
                self.width,
                activation=activation,
                use_bias=False,
                kernel_initializer="he_normal",
                name=f"mean_{i}",
            )
            step.build(input_shape)
            input_shape = (*input_shape[:-1], self.width)
            self.steps.append(step)
        # softplus of it, plus the smallest, is the initial variance.
        above = self.initial_variance - _SMALLEST_VARIANCE
        self.scale = self.add_weight(
            (self.width,),
            keras.initializers.Constant(above + math.log(-math.expm1(-above))),
            name="scale",
        )

    def call(self, features):
        for step in self.steps:
            features = step(features)
        return features, ops.softplus(self.scale) + _SMALLEST_VARIANCE


def _check_variance(variance, width):
    shape = tuple(variance.shape if ops.is_tensor(variance) else np.shape(variance))
    if shape not in [(), (width,)]:
        raise ValueError(
            f"`variance` must be one number, or one for each of the {width} features. "
            f"Received: shape {shape}. Average it over the other axes."
        )
    if not ops.is_tensor(variance):
        for number in np.ravel(variance).tolist():
            check_number("variance", number, above=0)
    return variance
