"""The Brier loss: squared differences of probabilities."""

import keras
from keras import ops

from keras_kd.losses.tempered import TemperedLoss, tempered


def brier_loss(teacher_logits, student_logits, *, temperature=1.0):
    """T^2 sum_k (softmax(z_s / T)_k - softmax(z_t / T)_k)^2 of each example.

    Args:
        teacher_logits: `(batch, ..., classes)`.
        student_logits: Same shape.
        temperature: T > 0, or one an example, `(batch,)`. Defaults to 1.0.

    Returns:
        `(batch, ...)`, in [0, 2 T^2]; float32, or float64 for float64 logits.

    Example:

    >>> t, s = np.array([[30.0, 0.0]]), np.array([[0.0, 0.0]])
    >>> values = keras_kd.losses.brier_loss(t, s)
    >>> round(float(values[0]), 4)
    0.5

    Reference: Stanton et al. 2021, released code (where it is the mean over classes).
    """
    teacher, student, factor = tempered(teacher_logits, student_logits, temperature)
    gap = ops.softmax(student, axis=-1) - ops.softmax(teacher, axis=-1)
    return factor * ops.sum(ops.square(gap), axis=-1)


@keras.saving.register_keras_serializable(package="keras_kd")
class BrierLoss(TemperedLoss):
    """T^2 sum_k (softmax(z_s / T)_k - softmax(z_t / T)_k)^2, summed over classes.

    At most 2 T^2, whatever the logits, so no example dominates a batch. The price is
    its gradient, which vanishes where the student is sure and wrong as well as where it
    is right: an untrained student with large logits learns nothing from it. As T grows
    it tends to 2 / K times what `KnowledgeDistillation` tends to, with K classes.

    When to use: late in training, or where a few examples with wild teacher predictions
    would dominate a KL; else a KL gives the better signal.

    Args:
        temperature: T > 0, or a schedule (`keras_kd.schedules`). Defaults to 1.0.
        name: Name in the logs. Defaults to `"brier_loss"`.
        reduction: See `DistillationLoss`.
        dtype: See `DistillationLoss`.

    Example:

    >>> loss = keras_kd.losses.BrierLoss()
    >>> t, s = np.array([[30.0, 0.0]]), np.array([[0.0, 0.0]])
    >>> round(float(loss(t, s)), 4)
    0.5

    Reference: Stanton et al. 2021, released code, which averages over the classes (this
    divided by K) and has no factor T^2; its last version divides both sides by T, as
    here, earlier ones the teacher's alone.
    """

    def __init__(
        self,
        temperature=1.0,
        name="brier_loss",
        reduction="sum_over_batch_size",
        dtype=None,
    ):
        super().__init__(temperature, name, reduction, dtype)

    def call(self, teacher_logits, student_logits, temperature=None):
        return brier_loss(
            teacher_logits, student_logits, temperature=self._of_each(temperature)
        )
