"""Losses that match the student's predictive distribution to the teacher's."""

import keras

from keras_kd._common.numerics import cross_entropy, kl_divergence
from keras_kd.losses.tempered import TemperedLoss, tempered


def knowledge_distillation(teacher_logits, student_logits, *, temperature=4.0):
    """T^2 KL(softmax(z_t / T) || softmax(z_s / T)) of each example.

    Args:
        teacher_logits: `(batch, ..., classes)`.
        student_logits: Same shape.
        temperature: T > 0, or one an example, `(batch,)`. Defaults to 4.0.

    Returns:
        `(batch, ...)`, >= 0, in nats times T^2; float32, or float64 for float64 logits.

    Example:

    >>> t, s = np.array([[2.0, 0.0, -1.0]]), np.array([[1.0, 0.5, 0.0]])
    >>> values = keras_kd.losses.knowledge_distillation(t, s, temperature=4.0)
    >>> round(float(values[0]), 4)
    0.3833

    Reference: Hinton et al. 2015, section 2; Stanton et al. 2021, equation 2.
    """
    teacher, student, factor = tempered(teacher_logits, student_logits, temperature)
    return factor * kl_divergence(teacher, student)


def soft_cross_entropy(teacher_logits, student_logits, *, temperature=4.0):
    """T^2 times the cross-entropy of softmax(z_s / T) under softmax(z_t / T).

    The form in which Stanton et al. write and run their objective. It exceeds
    `knowledge_distillation` by T^2 times the teacher's entropy: another value, the
    same gradient for the student.

    Args:
        teacher_logits: `(batch, ..., classes)`.
        student_logits: Same shape.
        temperature: T > 0, or one an example, `(batch,)`. Defaults to 4.0.

    Returns:
        `(batch, ...)`, float32, or float64 for float64 logits.

    Example:

    >>> z = np.array([[0.0, 0.0]])
    >>> values = keras_kd.losses.soft_cross_entropy(z, z, temperature=1.0)
    >>> round(float(values[0]), 4)  # log 2
    0.6931

    Reference: Stanton et al. 2021, equation 2 and released code.
    """
    teacher, student, factor = tempered(teacher_logits, student_logits, temperature)
    return factor * cross_entropy(teacher, student)


@keras.saving.register_keras_serializable(package="keras_kd")
class KnowledgeDistillation(TemperedLoss):
    """T^2 KL(softmax(z_t / T) || softmax(z_s / T)), the usual distillation loss.

    The gradient with respect to the student's logits is
    T (softmax(z_s / T) - softmax(z_t / T)) / batch: T^2 keeps its size comparable with
    the label loss at any temperature. It is 0 exactly where both distributions agree.
    For text with sharp teachers, T of 1 or 2; for images, 4 (Stanton et al., figure 9:
    4 gives the best accuracy for every ensemble size, 1 loses over 5 points of
    agreement).

    When to use: first of all, and as the yardstick of all others; its value reads as a
    distance.

    Usual weight: 1 with `student_loss_weight=0.1` (CIFAR benchmarks, T = 4), or with 0
    (Stanton et al.).

    Args:
        temperature: T > 0, or a schedule (`keras_kd.schedules`). Defaults to 4.0.
        name: Name in the logs. Defaults to `"knowledge_distillation"`.
        reduction: See `DistillationLoss`.
        dtype: See `DistillationLoss`.

    Example:

    >>> loss = keras_kd.losses.KnowledgeDistillation(temperature=4.0)
    >>> t, s = np.array([[2.0, 0.0, -1.0]]), np.array([[1.0, 0.5, 0.0]])
    >>> round(float(loss(t, s)), 4)
    0.3833
    >>> loss.temperature = 1.0
    >>> round(float(loss(t, s)), 4)
    0.2551

    Reference: Hinton et al. 2015, section 2; Stanton et al. 2021, equation 2.
    """

    def __init__(
        self,
        temperature=4.0,
        name="knowledge_distillation",
        reduction="sum_over_batch_size",
        dtype=None,
    ):
        super().__init__(temperature, name, reduction, dtype)

    def call(self, teacher_logits, student_logits, temperature=None):
        return knowledge_distillation(
            teacher_logits, student_logits, temperature=self._of_each(temperature)
        )


@keras.saving.register_keras_serializable(package="keras_kd")
class SoftCrossEntropy(TemperedLoss):
    """T^2 times the cross-entropy of the student under the teacher's distribution.

    Same gradient as `KnowledgeDistillation`; its value has the teacher's entropy as a
    floor.

    When to use: to compare logged losses with Stanton et al., who report this form;
    else take `KnowledgeDistillation`, whose value reads as a distance.

    Args:
        temperature: T > 0, or a schedule (`keras_kd.schedules`). Defaults to 4.0.
        name: Name in the logs. Defaults to `"soft_cross_entropy"`.
        reduction: See `DistillationLoss`.
        dtype: See `DistillationLoss`.

    Example:

    >>> loss = keras_kd.losses.SoftCrossEntropy(temperature=2.0)
    >>> z = np.array([[0.0, 0.0]])
    >>> round(float(loss(z, z)), 4)  # 4 log 2
    2.7726

    Reference: Stanton et al. 2021, equation 2 and released code.
    """

    def __init__(
        self,
        temperature=4.0,
        name="soft_cross_entropy",
        reduction="sum_over_batch_size",
        dtype=None,
    ):
        super().__init__(temperature, name, reduction, dtype)

    def call(self, teacher_logits, student_logits, temperature=None):
        return soft_cross_entropy(
            teacher_logits, student_logits, temperature=self._of_each(temperature)
        )
