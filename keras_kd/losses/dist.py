"""DIST: match correlations, of classes within rows and of rows within classes."""

import keras
from keras import ops

from keras_kd._common.examples import combined_mask
from keras_kd._common.hyperparameter import HyperparameterAttribute
from keras_kd.losses._probability_rows import (
    as_rows,
    log_relative_probs,
    real_positions,
)
from keras_kd.losses._term_weight import as_factor
from keras_kd.losses.batch_coupled import BatchCoupled, check_several
from keras_kd.losses.tempered import TemperedLoss, tempered

# Probabilities that differ by less, relative to the largest, are equal in float32.
_CONSTANT = 1e-7


def dist(
    teacher_logits,
    student_logits,
    *,
    beta=1.0,
    gamma=1.0,
    temperature=1.0,
    mask=None,
):
    """T^2 (beta inter + gamma intra) of each row, see `DIST`.

    inter of a row is 1 - Pearson's correlation, over classes, of the student's and the
    teacher's softmax(z / T). intra, the same number for all rows, is the mean over
    classes of 1 - the correlation over rows. A constant side has correlation 0.

    Args:
        teacher_logits: `(batch, ..., classes)`; every position is a row.
        student_logits: Same shape.
        beta: Weight >= 0 of inter, or one an example, `(batch,)`. Defaults to 1.0.
        gamma: Weight >= 0 of intra, likewise. Defaults to 1.0.
        temperature: T > 0, or one an example, `(batch,)`. Defaults to 1.0.
        mask: bool `(batch, ...)`, False where a position is no data and is no row.
            Defaults to None: all are.

    Returns:
        `(batch, ...)`, from 0 to 2 T^2 (beta + gamma), whose mean over the rows is the
        loss; float32, or float64 for float64 logits.

    Raises:
        ValueError: For a batch of one row: no correlation over rows.

    Example:

    >>> t = np.array([[2.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
    >>> s = np.array([[1.0, 0.5, 0.0], [0.0, 2.0, 1.0]])
    >>> keras_kd.losses.dist(t, s).numpy().round(4).tolist()
    [0.0452, 0.0344]

    Reference: Huang et al. 2022, equations 6 to 9.
    """
    teacher, student, real = real_positions(teacher_logits, student_logits, mask)
    check_several("`dist`", as_rows(teacher))
    teacher, student, factor = tempered(teacher, student, temperature)
    # Correlation does not change with scale and shift of a row: exp(z - max) - 1 will
    # do in place of softmax, and keeps its digits where rows are near uniform.
    rows = [ops.expm1(side) for side in (teacher, student)]
    inter = _pearson_distance(*rows, axis=-1)
    real = ops.expand_dims(ops.reshape(real, (-1,)), axis=-1)
    columns = [_scaled_columns(side, real) for side in (teacher, student)]
    intra = ops.mean(_pearson_distance(*columns, axis=0, real=real))
    several = ops.sum(ops.cast(real, "int32")) > 1
    intra = ops.where(several, intra, ops.zeros_like(intra))
    beta, gamma = as_factor("beta", beta, inter), as_factor("gamma", gamma, inter)
    return factor * (beta * inter + gamma * intra)


@keras.saving.register_keras_serializable(package="keras_kd")
class DIST(BatchCoupled, TemperedLoss):
    """T^2 (beta inter + gamma intra): match how probabilities vary, not their values.

    inter is 1 - Pearson's correlation between the student's and the teacher's
    probabilities of an example; it asks for the teacher's ranking of classes, up to
    scale and shift. intra is the mean over classes of 1 - the correlation, over the
    examples of the batch, between both sides' probabilities of that class; it asks
    which examples are more of a class than others. Where a side is constant, over
    classes or over the batch, to within 1e-7 of its largest probability, correlation
    counts as 0: a distance of 1, without a gradient. With two classes inter only says
    whether both sides prefer the same one.

    intra compares the examples of a batch, so it depends on the batch size and on
    which classes a batch holds. Under tf.distribute it sees the examples of all
    replicas (`batch="global"`), or those of its own replica alone
    (`batch="replica"`), as in the released code. In a batch with one example intra is
    0.

    When to use: for a student much weaker than its teacher, or a teacher trained with
    strong augmentation, where matching probabilities exactly asks too much.

    Usual weight: 2 (released code, with beta = gamma = 1), beside a label loss of
    weight 1.

    The released code adds 1e-8 to the product of norms in a correlation. That pulls
    the correlation of classes whose probability is near 0 in the whole batch, and of
    rows near uniform (many classes at a high temperature), towards 0; here they count
    in full, as in the paper.

    Args:
        beta: Weight >= 0 of inter, or a schedule (`keras_kd.schedules`). Defaults to
            1.0.
        gamma: Weight >= 0 of intra, or a schedule. Defaults to 1.0.
        temperature: T > 0, or a schedule. Released code: 4 on CIFAR-100, 1 on
            ImageNet. Defaults to 1.0.
        batch: `"global"` or `"replica"`: the examples that intra sees. Defaults to
            `"global"`.
        name: Name in the logs. Defaults to `"dist"`.
        reduction: See `DistillationLoss`.
        dtype: See `DistillationLoss`.

    Raises:
        ValueError: If called on a batch of one example.

    Example:

    >>> loss = keras_kd.losses.DIST(temperature=4.0)
    >>> t = np.array([[2.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
    >>> s = np.array([[1.0, 0.5, 0.0], [0.0, 2.0, 1.0]])
    >>> round(float(loss(t, s)), 4)
    1.0333

    Reference: Huang et al. 2022, equations 6 to 9, and released code.
    """

    takes = frozenset({"mask", "temperature"})
    beta = HyperparameterAttribute("A weight >= 0, or its schedule.", at_least=0)
    gamma = HyperparameterAttribute("A weight >= 0, or its schedule.", at_least=0)

    def __init__(
        self,
        beta=1.0,
        gamma=1.0,
        temperature=1.0,
        batch="global",
        name="dist",
        reduction="sum_over_batch_size",
        dtype=None,
    ):
        super().__init__(temperature, name, reduction, dtype, batch=batch)
        self.beta = beta
        self.gamma = gamma

    def call(self, teacher_logits, student_logits, mask=None, temperature=None):
        if mask is None:  # Keras, unlike our Distiller, leaves it on the logits
            mask = combined_mask(teacher_logits, student_logits)
        return dist(
            teacher_logits,
            student_logits,
            beta=self._beta.tensor,
            gamma=self._gamma.tensor,
            temperature=self._of_each(temperature),
            mask=mask,
        )

    def get_config(self):
        config = super().get_config()
        return {**config, "beta": self._beta.config, "gamma": self._gamma.config}


def _scaled_columns(logits, real):
    """p / (largest p of the class) - 1, `(rows, classes)`.

    A class has a correlation whatever the size of its probabilities: these neither
    vanish where all are small nor lose digits where all are near 1 / classes.
    """
    log_probs = as_rows(log_relative_probs(logits))
    top = ops.where(real, log_probs, -float("inf"))
    top = ops.max(top, axis=0, keepdims=True, initial=-float("inf"))
    top = ops.stop_gradient(ops.where(ops.isfinite(top), top, 0.0))
    return ops.expm1(ops.where(real, log_probs - top, 0.0))


def _pearson_distance(a, b, axis, real=None):
    """1 - Pearson's correlation along an axis, where `real`; 1 of a constant side.

    Half the squared distance of both centred and scaled sides: the same number, without
    the cancellation in 1 - correlation where that is near 1.
    """
    (a, a_varies), (b, b_varies) = (_standardized(x, axis, real) for x in (a, b))
    distance = 0.5 * ops.sum(ops.square(a - b), axis=axis)
    return ops.where(ops.logical_and(a_varies, b_varies), distance, 1.0)


def _standardized(x, axis, real):
    """x less its mean, of norm 1, and whether it varies at all."""
    weight = ops.ones_like(x) if real is None else ops.cast(real, x.dtype)
    count = ops.maximum(ops.sum(weight, axis=axis, keepdims=True), 1.0)
    x = weight * (x - ops.sum(weight * x, axis=axis, keepdims=True) / count)
    squared_norm = ops.sum(ops.square(x), axis=axis, keepdims=True)
    varies = squared_norm > _CONSTANT**2
    x = x * ops.rsqrt(ops.where(varies, squared_norm, 1.0))
    return x, ops.squeeze(varies, axis=axis)
