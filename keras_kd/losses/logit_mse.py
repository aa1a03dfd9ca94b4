"""Squared differences of logits."""

import keras
from keras import ops

from keras_kd.losses._sides import of_one_shape
from keras_kd.losses.distillation_loss import DistillationLoss


def logit_mse(teacher_logits, student_logits, *, center=False):
    """mean_k (z_s - z_t)_k^2 of each example, a mean over its classes.

    Args:
        teacher_logits: `(batch, ..., classes)`, finite.
        student_logits: Same shape.
        center: Whether to take the mean over its classes from each row first. Defaults
            to False.

    Returns:
        `(batch, ...)`, >= 0; float32, or float64 for float64 logits.

    Example:

    >>> t, s = np.array([[2.0, 0.0]]), np.array([[1.0, -3.0]])
    >>> round(float(keras_kd.losses.logit_mse(t, s)[0]), 4)
    5.0
    >>> round(float(keras_kd.losses.logit_mse(t, s, center=True)[0]), 4)
    1.0

    Reference: Ba and Caruana 2014; Kim et al. 2021.
    """
    teacher, student = of_one_shape(
        teacher_logits, student_logits, classes=2 if center else 1
    )
    gap = student - teacher
    if center:
        # Where the sides are far apart, `gap` has lost digits: shift one of them first.
        shift = ops.stop_gradient(gap[..., :1])
        far = ops.abs(shift) > ops.abs(teacher)
        gap = ops.where(far, (student - shift) - teacher, gap - shift)
        gap = gap - ops.mean(gap, axis=-1, keepdims=True)
    return ops.mean(ops.square(gap), axis=-1)


@keras.saving.register_keras_serializable(package="keras_kd")
class LogitMSE(DistillationLoss):
    """mean_k (z_s - z_t)_k^2: the student's logits are to be the teacher's.

    No softmax, hence no temperature. A constant on all logits of a row changes no
    prediction but does change this loss, unless `center=True` takes each row's mean
    off. Centred, it is twice what `KnowledgeDistillation` tends to as its temperature
    grows. Logits must be finite: a class excluded by -inf makes it infinite.

    When to use: where the label loss does not compete with it (clean labels, a student
    of enough capacity): it often beats a KL there; with noisy labels take a KL at a low
    temperature.

    Args:
        center: Whether to take the mean over its classes from each row first. Defaults
            to False, as in the paper.
        name: Name in the logs. Defaults to `"logit_mse"`.
        reduction: See `DistillationLoss`.
        dtype: See `DistillationLoss`.

    Raises:
        TypeError: If `center` is no bool.

    Example:

    >>> t, s = np.array([[2.0, 0.0]]), np.array([[1.0, -3.0]])
    >>> float(keras_kd.losses.LogitMSE()(t, s))
    5.0
    >>> float(keras_kd.losses.LogitMSE(center=True)(t, s))
    1.0

    Reference: Ba and Caruana 2014 (Do Deep Nets Really Need to be Deep?), whose squared
    norm sums over the classes; Kim et al. 2021 (Comparing KL Divergence and MSE in KD),
    whose released code takes the mean, as here.
    """

    compares = "logits"  # of any number of units, one too

    def __init__(
        self,
        center=False,
        name="logit_mse",
        reduction="sum_over_batch_size",
        dtype=None,
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        if not isinstance(center, bool):
            raise TypeError(
                "`center` must be True (take each row's mean off first) or False. "
                f"Received: center={center!r} of type {type(center).__name__}."
            )
        self.center = center
        if center:  # means nothing but over classes; of one unit nothing is left
            self.compares = "class_logits"

    def call(self, teacher_logits, student_logits):
        return logit_mse(teacher_logits, student_logits, center=self.center)

    def get_config(self):
        return {**super().get_config(), "center": self.center}
