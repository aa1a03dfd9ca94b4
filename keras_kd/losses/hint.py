"""Hints (FitNets): half the squared distance of a regressor to a teacher's layer."""

import keras
from keras import ops

from keras_kd._common.numerics import at_least_float32
from keras_kd.losses.feature_loss import (
    TrainedFeatureLoss,
    at_one_size,
    axes_of_an_example,
    check_same_width,
    pointwise,
)

_CONVOLUTIONS = {4: keras.layers.Conv2D, 5: keras.layers.Conv3D}
# Beyond, a convolution without padding needs a kernel of over half the teacher's map.
_LARGEST_RATIO = 1.5


def hint_loss(teacher_features, regressed_features):
    """Half the squared Euclidean distance of two feature tensors, for each example.

    Along each spatial axis the larger of two maps is pooled to the size of the smaller
    (adaptive average pooling).

    Args:
        teacher_features: The hint: `(batch, features)`, `(batch, length, features)` or
            `(batch, height, width, features)` (more spatial axes are fine).
        regressed_features: What the regressor makes of the student's features: as many
            features; a map may have another height and width.

    Returns:
        `(batch,)`: of a map, the sum over all elements; for sequences
        `(batch, length)`, so that a mask can apply. >= 0.

    Example:

    >>> t, s = np.array([[1.0, 2.0]]), np.array([[1.0, 0.0]])
    >>> keras_kd.losses.hint_loss(t, s).numpy().tolist()
    [2.0]

    Reference: Romero et al. 2015 (FitNets), equation 3.
    """
    teacher, student = at_least_float32(teacher_features, regressed_features)
    teacher, student = at_one_size(teacher, student)
    check_same_width(teacher, student, "Give the regressor as many as the teacher has.")
    difference = ops.square(teacher - student)
    return 0.5 * ops.sum(difference, axis=axes_of_an_example(student))


@keras.saving.register_keras_serializable(package="keras_kd")
class HintLoss(TrainedFeatureLoss):
    """0.5 ||u - r(v)||^2 of a teacher's layer u and a student's v (FitNets).

    The regressor r trains with the student, is in training checkpoints, and is no part
    of the saved student. `keras_kd.Distiller` makes a linear one with bias: a dense
    layer for vectors and tokens, a convolution for maps. Along a spatial axis of n
    cells in the student and m in the teacher:

    - m <= n <= 1.5 m: a kernel of n - m + 1 without padding, as in the paper, which
      shrinks the student's map to the teacher's; 1 where the sizes agree;
    - n > 1.5 m: a kernel of 1 on the student's map, average-pooled to m;
    - n < m: a kernel of 1; the teacher's map is average-pooled to n.

    Elsewhere `build` makes it; before, there is no regressor, and features of one width
    are compared as they are. `keras.distillation.Distiller` is refused: it would not
    train the regressor.

    The paper trains the layers up to the guided one with this loss alone, then all of
    them with a distillation loss, and gives r the non-linearity of the teacher's layer.
    The released code of later benchmarks (RepDistiller, mdistiller) trains once on all
    losses, takes the mean over all elements in place of half the sum, and regresses
    with convolution, batch normalisation and ReLU: of stride 2 where the student's map
    is twice as large, transposed where it is half as large.

    When to use: To start a thin, deep student from the inner representation of a wider
    teacher; `FeatureMatching` is the plain form with one weight for any size.

    Usual weight: 200 / (height * width * channels of the map that is compared), which
    makes it the released code's 100 times the mean over elements.

    Args:
        teacher_layer_name: Layer of the teacher (the hint); a dot reaches into nested
            models (`"backbone.stage_2"`), and the member's name or index comes first in
            an ensemble of several (`"0.conv1"`). None takes the teacher's output.
        student_layer_name: Layer of the student (the guided one), likewise.
        regressor: A `keras.layers.Layer` (or model) of your own, from the student's
            features to as many channels as the teacher's has; where its map has another
            size than the teacher's, the larger is pooled. Each `keras_kd.Distiller`
            trains a copy of it (from its config, with its weights where it is built).
            It is called as in inference: BatchNormalization in it keeps the statistics
            that it came with. Defaults to the regressor above.
        name: Name in the logs. Defaults to `"hint_loss"`.
        reduction: See `DistillationLoss`.
        dtype: See `DistillationLoss`.

    Raises:
        ValueError: If a layer does not exist (with those that do), if one is a map and
            the other a vector, if two sequences differ in length, or if the regressor
            gives other channels than the teacher.
        TypeError: If `regressor` is no layer.

    Example:

    >>> loss = keras_kd.losses.HintLoss("stage2", "stage1")
    >>> loss.build((None, 8, 8, 64), (None, 10, 8, 16))
    >>> tuple(loss.regressor.kernel.shape)
    (3, 1, 16, 64)
    >>> t, s = np.ones((2, 8, 8, 64)), np.zeros((2, 10, 8, 16))
    >>> float(loss(t, s))  # 8 * 8 * 64 / 2
    2048.0

    Reference: Romero et al. 2015 (FitNets: Hints for Thin Deep Nets), equation 3 and
    section 2.2.
    """

    def __init__(
        self,
        teacher_layer_name,
        student_layer_name,
        regressor=None,
        name="hint_loss",
        reduction="sum_over_batch_size",
        dtype=None,
    ):
        super().__init__(teacher_layer_name, student_layer_name, name, reduction, dtype)
        if regressor is not None and not isinstance(regressor, keras.layers.Layer):
            raise TypeError(
                "`regressor` must be a keras.layers.Layer, e.g. keras.layers.Conv2D("
                f"64, 1), or None for a linear one. Received: {regressor!r} of type "
                f"{type(regressor).__name__}."
            )
        self._given = regressor
        self._own_layers = None if regressor is None else [regressor]

    @property
    def regressor(self):
        """Yours, or the layer that `build` made; None before."""
        return self._one_layer(None)

    def make_layers(self, teacher_shape, student_shape):
        """A new regressor, or a copy of yours with the weights that it has by now."""
        self._check_axes(teacher_shape, student_shape)
        if self._given is None:
            return [self._linear(teacher_shape, student_shape)]
        regressor = type(self._given).from_config(self._given.get_config())
        self._build_given(regressor, teacher_shape, student_shape)
        if self._given.built:
            self._copy_weights(regressor)
        return [regressor]

    def build(self, teacher_shape, student_shape):
        """Make a regressor of its own, or build yours; once there, it stays."""
        super().build(teacher_shape, student_shape)
        (own,) = self._own_layers
        if own is self._given and not own.built:  # not the copy of a distiller
            self._check_axes(teacher_shape, student_shape)
            self._build_given(self._given, teacher_shape, student_shape)

    def call(self, teacher_features, student_features, layers=None):
        teacher, student = at_least_float32(teacher_features, student_features)
        regressor = self._one_layer(layers)
        self._check_axes(teacher.shape, student.shape)
        self._check_widths(teacher, student, regressor, "regressor")
        if regressor is None:
            return hint_loss(teacher, student)
        if self._given is None and isinstance(regressor, keras.layers.Dense):
            teacher, student = at_one_size(teacher, student)  # same value, less work
        return hint_loss(teacher, regressor(student))

    def get_config(self):
        regressor = keras.saving.serialize_keras_object(self._given)
        return {**super().get_config(), "regressor": regressor}

    def _build_given(self, regressor, teacher_shape, student_shape):
        """Build yours, or its copy, and check what it gives."""
        # A symbolic call: `build` alone would miss layers that only `call` builds.
        features = keras.KerasTensor((None, *student_shape[1:]), dtype="float32")
        regressed = regressor(features).shape
        if len(regressed) != len(teacher_shape) or regressed[-1] != teacher_shape[-1]:
            raise ValueError(
                f"`regressor` of {self.name!r} must give the teacher's axes, with as "
                f"many channels. Received: teacher {tuple(teacher_shape)}, from the "
                f"regressor {tuple(regressed)}. Give its last layer "
                f"{teacher_shape[-1]} units or filters."
            )

    def _copy_weights(self, regressor):
        ours = [tuple(weight.shape) for weight in regressor.weights]
        theirs = [tuple(weight.shape) for weight in self._given.weights]
        if ours != theirs:
            raise ValueError(
                f"`regressor` of {self.name!r} is built for other features: its "
                f"weights have the shapes {theirs}; these layers need {ours}. Give one "
                "that is not built yet."
            )
        regressor.set_weights(self._given.get_weights())

    def _linear(self, teacher_shape, student_shape):
        width, name = teacher_shape[-1], self._layer_name("regressor")
        kernel = _kernel_size(teacher_shape[1:-1], student_shape[1:-1])
        convolution = _CONVOLUTIONS.get(len(student_shape))
        if convolution and max(kernel) > 1:
            regressor = convolution(width, kernel, name=name, dtype="float32")
        else:
            regressor = pointwise(width, name=name)
        regressor.build((None, *student_shape[1:]))
        return regressor


def _kernel_size(teacher_size, student_size):
    return tuple(
        s - t + 1 if None not in (t, s) and t <= s <= _LARGEST_RATIO * t else 1
        for t, s in zip(teacher_size, student_size, strict=True)
    )
