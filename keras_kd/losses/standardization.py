"""Logits standardised over the classes, before any logit loss."""

import keras
from keras import ops

from keras_kd._common.numerics import at_least_float32, below_largest, largest
from keras_kd.losses._sides import check_outputs
from keras_kd.losses.loss_wrapper import LossWrapper

CONSTANT = 1e-7  # largest deviation from its mean of a row that counts as constant


def standardize(logits):
    """Logits less their mean over the classes, divided by their standard deviation.

    The standard deviation is that of the population, sqrt(mean_k (z_k - mean z)^2). A
    row of equal logits (deviations below 1e-7) gives zeros, with the derivatives of a
    row of standard deviation 1, so that a head that starts at zero can leave it.

    Args:
        logits: `(batch, ..., classes)`, finite.

    Returns:
        Same shape, each row of mean 0 and mean square 1, hence between
        -sqrt(classes - 1) and sqrt(classes - 1); float32, or float64 for float64
        logits.

    Example:

    >>> keras_kd.losses.standardize(np.array([[1.0, 3.0]])).numpy().tolist()
    [[-1.0, 1.0]]

    Reference: Sun et al. 2024, algorithm 1, at tau = 1.
    """
    (logits,) = at_least_float32(logits)
    # From the largest: exact for large logits close to one another, 0 for equal ones.
    gap = below_largest(logits)
    gap = gap - ops.mean(gap, axis=-1, keepdims=True)
    scale = ops.stop_gradient(largest(ops.abs(gap)))
    varies = scale > CONSTANT
    # Any constant factor cancels; this one keeps squares within range.
    gap = gap / ops.where(varies, scale, ops.ones_like(scale))
    variance = ops.mean(ops.square(gap), axis=-1, keepdims=True)
    return gap / ops.sqrt(ops.where(varies, variance, ops.ones_like(variance)))


@keras.saving.register_keras_serializable(package="keras_kd")
class LogitStandardization(LossWrapper):
    """Any logit loss on logits that are standardised, both sides row by row.

    Each row of logits, of the teacher and of the student, loses its mean over the
    classes and is divided by its standard deviation before the inner loss sees it, so
    the student need not match the range of the teacher's logits, only their pattern:
    positive factors and shifts of any row change nothing. The inner loss's temperature
    is the paper's tau and divides the standardised logits; as their standard deviation
    is 1, usual values are lower than on raw ones. With K = 2 classes a standardised row
    is (-1, 1) or (1, -1) and carries only the sign. Logits must be finite.

    The label loss, the metrics and the saved student see raw logits.

    When to use: for a student with far less capacity than its teacher, whose logits
    cannot reach the teacher's range, and where a large weight on distillation would
    otherwise drown the labels.

    Usual weight: 10 with `student_loss_weight=0.1` and tau = 2 (the paper's 0.1 for the
    labels, 9 for `KnowledgeDistillation`).

    Args:
        loss: Logit loss of keras_kd, such as `KnowledgeDistillation(temperature=2.0)`.
        name: Name in the logs. Defaults to `"logit_standardization"`.
        reduction: See `DistillationLoss`; that of the inner loss has no effect.
        dtype: Of the computation. Defaults to that of the inner loss.

    Raises:
        TypeError: If `loss` compares features, or is no loss of keras_kd.

    Example:

    >>> kd = keras_kd.losses.KnowledgeDistillation(temperature=2.0)
    >>> loss = keras_kd.losses.LogitStandardization(kd)
    >>> t, s = np.array([[2.0, 0.0, -1.0]]), np.array([[1.0, 0.5, 0.0]])
    >>> value = float(loss(t, s))
    >>> bool(np.isclose(float(loss(t, 5 * s + 1)), value))
    True
    >>> loss.temperature = 4.0  # of the inner loss
    >>> kd.temperature
    4.0

    Reference: Sun et al. 2024 (Logit Standardization in KD), algorithms 1 and 2. The
    released code divides by the standard deviation of a sample, over K - 1 in place of
    K classes, and adds 1e-7 to it: logits smaller by the factor sqrt(1 - 1 / K), as if
    tau were larger by its inverse.
    """

    def __init__(
        self,
        loss,
        name="logit_standardization",
        reduction="sum_over_batch_size",
        dtype=None,
    ):
        super().__init__(loss, name, reduction, dtype)
        self.compares = "class_logits"  # whatever the inner one does with the rows

    def call(self, teacher_logits, student_logits, **options):
        teacher = keras.tree.map_structure(standardize, teacher_logits)  # or members
        student = standardize(student_logits)
        for side in keras.tree.flatten(teacher):
            check_outputs(side, student)
        return self.loss.call(teacher, student, **options)
