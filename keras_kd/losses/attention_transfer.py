"""Attention transfer: where in a map a layer is active, summed over its channels."""

import keras
from keras import ops

from keras_kd._common.checks import check_leading_axes, check_number
from keras_kd._common.numerics import at_least_float32
from keras_kd.losses.feature_loss import FeatureLoss, at_one_size

# Maps whose largest activation is below this fade to 0 in place of being scaled up;
# with p = 2 that is a norm of 1e-12 of their squares.
_DEAD = 1e-6


def attention_map(features, *, p=2):
    """Sum over channels of |a|^p, divided by its Euclidean norm over the positions.

    Args:
        features: `(batch, height, width, channels)`, or with one or more spatial axes.
        p: >= 1; the larger, the more the strongest activation of a position counts.
            Defaults to 2.

    Returns:
        `(batch, height, width)`, of norm 1 for each example; 0 everywhere for a map
        that is 0 everywhere. float32, or float64 for float64 features.

    Raises:
        ValueError: If there is no spatial axis, or p < 1.

    Example:

    >>> features = np.array([[[[3.0, 0.0], [2.0, 2.0], [0.0, 0.0]]]])
    >>> keras_kd.losses.attention_map(features).numpy().round(4).tolist()
    [[[0.7474, 0.6644, 0.0]]]

    Reference: Zagoruyko and Komodakis 2017, section 3.1 (F_sum^p).
    """
    p = _check_power(p)
    (features,) = at_least_float32(features)
    _check_has_positions(features.shape)
    size = ops.abs(features)
    # |a|^p and its square can leave float32; normalised maps have no scale to lose.
    axes = tuple(range(1, len(features.shape)))
    # With an initial value it takes a batch of no examples as well.
    largest = ops.max(ops.stop_gradient(size), axis=axes, keepdims=True, initial=_DEAD)
    scaled = size / largest
    energy = ops.sum(ops.square(scaled) if p == 2 else scaled**p, axis=-1)
    squared_norm = ops.sum(ops.square(energy), axis=axes[:-1], keepdims=True)
    # At least 1 by the scaling (but for rounding): less of dead maps alone.
    squared_norm = ops.where(squared_norm > 0.99, squared_norm, 1.0)
    return energy / ops.sqrt(squared_norm)


def attention_transfer(teacher_features, student_features, *, p=2):
    """Euclidean distance of the attention maps of both sides, for each example.

    Along each spatial axis the larger of two maps is first pooled to the size of the
    smaller (adaptive average pooling). Channels need not agree.

    Args:
        teacher_features: `(batch, height, width, channels)`, or with one or more
            spatial axes; a sequence `(batch, length, features)` is one of length cells.
        student_features: Likewise; sequences must have one length.
        p: See `attention_map`. Defaults to 2.

    Returns:
        `(batch,)`, in [0, sqrt 2]: 0 where the maps agree, sqrt 2 where no position is
        active on both sides.

    Example:

    >>> t = np.array([[[[1.0, 2.0], [0.0, 0.0]]]])
    >>> s = np.array([[[[0.0], [3.0]]]])
    >>> round(float(keras_kd.losses.attention_transfer(t, s)[0]), 4)
    1.4142

    Reference: Zagoruyko and Komodakis 2017, equation 2.
    """
    difference = _difference(teacher_features, student_features, p)
    squared = ops.sum(ops.square(difference), axis=_positions(difference))
    positive = squared > 0  # the slope of the root at 0 is infinite
    root = ops.sqrt(ops.where(positive, squared, 1.0))
    return ops.where(positive, root, 0.0)


def squared_attention_transfer(teacher_features, student_features, *, p=2):
    """Mean over positions of the squared difference of both sides' attention maps.

    `attention_transfer` squared and divided by the number of positions: the form that
    the released code computes.

    Args:
        teacher_features: See `attention_transfer`.
        student_features: See `attention_transfer`.
        p: See `attention_map`. Defaults to 2.

    Returns:
        `(batch,)`, in [0, 2 / positions].

    Example:

    >>> t = np.array([[[[1.0, 2.0], [0.0, 0.0]]]])
    >>> s = np.array([[[[0.0], [3.0]]]])
    >>> round(float(keras_kd.losses.squared_attention_transfer(t, s)[0]), 4)
    1.0

    Reference: Zagoruyko and Komodakis 2017, released code.
    """
    difference = _difference(teacher_features, student_features, p)
    return ops.mean(ops.square(difference), axis=_positions(difference))


class _AttentionLoss(FeatureLoss):
    """A loss on the attention maps of two layers.

    Padded tokens have no attention: they neither count nor enter a norm.
    """

    takes = frozenset({"mask"})

    def __init__(
        self, teacher_layer_name, student_layer_name, p, name, reduction, dtype
    ):
        super().__init__(teacher_layer_name, student_layer_name, name, reduction, dtype)
        self.p = _check_power(p)

    def make_layers(self, teacher_shape, student_shape):
        """Check both shapes; there is nothing to train."""
        self._check_axes(teacher_shape, student_shape)
        _check_has_positions(student_shape)
        return []

    def get_config(self):
        return {**super().get_config(), "p": self.p}

    def _compared(self, teacher, student, mask):
        teacher, student = at_least_float32(teacher, student)
        self._check_axes(teacher.shape, student.shape)
        if not _is_of_tokens(mask, student):
            return teacher, student
        fix = "Give one entry a token, shape (batch, length)."
        check_leading_axes("mask", mask, student.shape[:-1], fix)
        mask = ops.expand_dims(mask, axis=-1)
        return ops.where(mask, teacher, 0.0), ops.where(mask, student, 0.0)


@keras.saving.register_keras_serializable(package="keras_kd")
class AttentionTransfer(_AttentionLoss):
    """Distance between the attention maps of a teacher's and a student's layer.

    A layer's attention map is the sum over its channels of |a|^p, divided by its
    Euclidean norm over the positions; the value is the Euclidean distance of the two
    maps, for each example. Channels need not agree and nothing is trained beside the
    student; of maps of unlike size the larger is average-pooled to the smaller.

    The gradient has about the same size however near the maps are, as that of any
    distance. The authors' own code (and RepDistiller, mdistiller) takes the mean of the
    squared differences instead: that is `SquaredAttentionTransfer`.

    When to use: For convolutional networks of unlike width, one loss for the last layer
    of each stage, along with a logit loss.

    Usual weight: 500 / (height * width of the map), which is beta / 2 with the paper's
    beta of 1000 over the elements of the map, for the mean over the batch.

    Args:
        teacher_layer_name: Layer of the teacher, a map or a sequence; a dot reaches
            into nested models (`"backbone.stage_2"`), and the member's name or index
            comes first in an ensemble of several (`"0.conv1"`).
        student_layer_name: Layer of the student, likewise.
        p: >= 1, the power of the activations. Defaults to 2.
        name: Name in the logs. Defaults to `"attention_transfer"`.
        reduction: See `DistillationLoss`.
        dtype: See `DistillationLoss`.

    Raises:
        ValueError: If a layer has no spatial axis, or two sequences differ in length.

    Example:

    >>> loss = keras_kd.losses.AttentionTransfer("stage2", "stage2")
    >>> t = np.array([[[[1.0, 2.0], [0.0, 0.0]]]])
    >>> s = np.array([[[[0.0], [3.0]]]])
    >>> round(float(loss(t, s)), 4)
    1.4142

    Reference: Zagoruyko and Komodakis 2017 (Paying More Attention to Attention),
    equation 2.
    """

    def __init__(
        self,
        teacher_layer_name,
        student_layer_name,
        p=2,
        name="attention_transfer",
        reduction="sum_over_batch_size",
        dtype=None,
    ):
        super().__init__(
            teacher_layer_name, student_layer_name, p, name, reduction, dtype
        )

    def call(self, teacher_features, student_features, mask=None):
        sides = self._compared(teacher_features, student_features, mask)
        return attention_transfer(*sides, p=self.p)


@keras.saving.register_keras_serializable(package="keras_kd")
class SquaredAttentionTransfer(_AttentionLoss):
    """Mean squared difference between the attention maps of two layers.

    `AttentionTransfer` as the authors' code (and RepDistiller, mdistiller) computes it:
    the mean over positions of the squared difference, for each example. Unlike the
    paper's distance its gradient vanishes as the maps come near, and its value is that
    distance squared over the number of positions.

    When to use: To repeat published results of attention transfer, which come from this
    form; otherwise as `AttentionTransfer`.

    Usual weight: 1000 (released code, each stage).

    Args:
        teacher_layer_name: See `AttentionTransfer`.
        student_layer_name: See `AttentionTransfer`.
        p: >= 1, the power of the activations. Defaults to 2.
        name: Name in the logs. Defaults to `"squared_attention_transfer"`.
        reduction: See `DistillationLoss`.
        dtype: See `DistillationLoss`.

    Raises:
        ValueError: If a layer has no spatial axis, or two sequences differ in length.

    Example:

    >>> loss = keras_kd.losses.SquaredAttentionTransfer("stage2", "stage2")
    >>> t = np.array([[[[1.0, 2.0], [0.0, 0.0]]]])
    >>> s = np.array([[[[0.0], [3.0]]]])
    >>> round(float(loss(t, s)), 4)
    1.0

    Reference: Zagoruyko and Komodakis 2017, released code.
    """

    def __init__(
        self,
        teacher_layer_name,
        student_layer_name,
        p=2,
        name="squared_attention_transfer",
        reduction="sum_over_batch_size",
        dtype=None,
    ):
        super().__init__(
            teacher_layer_name, student_layer_name, p, name, reduction, dtype
        )

    def call(self, teacher_features, student_features, mask=None):
        sides = self._compared(teacher_features, student_features, mask)
        values = squared_attention_transfer(*sides, p=self.p)
        if not _is_of_tokens(mask, student_features):
            return values
        share = ops.mean(ops.cast(mask, values.dtype), axis=1)  # of real tokens
        return ops.divide_no_nan(values, share)


def _difference(teacher_features, student_features, p):
    teacher, student = at_least_float32(teacher_features, student_features)
    teacher, student = at_one_size(teacher, student)
    return attention_map(teacher, p=p) - attention_map(student, p=p)


def _positions(maps):
    return tuple(range(1, len(maps.shape)))


def _is_of_tokens(mask, features):
    return mask is not None and len(mask.shape) == 2 and len(features.shape) == 3


def _check_power(p):
    return check_number("p", p, at_least=1, fix="The paper takes 1, 2 or 4.")


def _check_has_positions(shape):
    if len(shape) < 3:
        raise ValueError(
            "An attention map needs positions: features of shape (batch, height, "
            "width, channels) or (batch, length, features). Received: "
            f"{tuple(shape)}. Choose a layer before the pooling over positions."
        )
