"""Divergences other than the usual KL between both predictive distributions."""

import keras
from keras import ops

from keras_kd._common.checks import check_number
from keras_kd._common.hyperparameter import HyperparameterAttribute
from keras_kd._common.numerics import kl_divergence
from keras_kd.losses.tempered import TemperedLoss, tempered

NEAREST_TO_AN_END = 1e-6  # of beta: float32 tells the mixture from a side so far
_BOUNDS_OF_BETA = {
    "at_least": NEAREST_TO_AN_END,
    "at_most": 1 - NEAREST_TO_AN_END,
    "fix": "The divergence is 0 at both ends: take KnowledgeDistillation in place of "
    "0, ReverseKLDivergence in place of 1.",
}


def reverse_kl_divergence(teacher_logits, student_logits, *, temperature=4.0):
    """T^2 KL(softmax(z_s / T) || softmax(z_t / T)) of each example.

    Args:
        teacher_logits: `(batch, ..., classes)`.
        student_logits: Same shape.
        temperature: T > 0, or one an example, `(batch,)`. Defaults to 4.0.

    Returns:
        `(batch, ...)`, >= 0, in nats times T^2; float32, or float64 for float64 logits.

    Example:

    >>> t, s = np.array([[2.0, 0.0, -1.0]]), np.array([[1.0, 0.5, 0.0]])
    >>> values = keras_kd.losses.reverse_kl_divergence(t, s, temperature=4.0)
    >>> round(float(values[0]), 4)
    0.3791

    Reference: Gu et al. 2024 (MiniLLM), section 2.1.
    """
    teacher, student, factor = tempered(teacher_logits, student_logits, temperature)
    return factor * kl_divergence(student, teacher)


def symmetric_kl_divergence(teacher_logits, student_logits, *, temperature=4.0):
    """T^2 times the mean of both KL divergences of each example.

    Args:
        teacher_logits: `(batch, ..., classes)`.
        student_logits: Same shape.
        temperature: T > 0, or one an example, `(batch,)`. Defaults to 4.0.

    Returns:
        `(batch, ...)`, >= 0, in nats times T^2; float32, or float64 for float64 logits.

    Example:

    >>> t, s = np.array([[2.0, 0.0, -1.0]]), np.array([[1.0, 0.5, 0.0]])
    >>> values = keras_kd.losses.symmetric_kl_divergence(t, s, temperature=4.0)
    >>> round(float(values[0]), 4)
    0.3812

    Reference: Stanton et al. 2021, released code (where it is the sum).
    """
    teacher, student, factor = tempered(teacher_logits, student_logits, temperature)
    both = kl_divergence(teacher, student) + kl_divergence(student, teacher)
    return factor * 0.5 * both


def jensen_shannon_divergence(
    teacher_logits, student_logits, *, temperature=4.0, beta=0.5
):
    """T^2 times the generalised Jensen-Shannon divergence of each example.

    beta KL(p || m) + (1 - beta) KL(q || m) with the teacher's p = softmax(z_t / T), the
    student's q = softmax(z_s / T) and their mixture m = beta p + (1 - beta) q.

    Args:
        teacher_logits: `(batch, ..., classes)`.
        student_logits: Same shape.
        temperature: T > 0, or one an example, `(batch,)`. Defaults to 4.0.
        beta: Share of the teacher in the mixture, in (0, 1). Defaults to 0.5.

    Returns:
        `(batch, ...)`, in nats times T^2, >= 0 and at most T^2 times the entropy of a
        coin that shows heads with probability beta (log 2 at 0.5); float32, or float64
        for float64 logits.

    Raises:
        ValueError: If `beta` is outside (0, 1), or within 1e-6 of 0 or 1.

    Example:

    >>> t, s = np.array([[2.0, 0.0, -1.0]]), np.array([[1.0, 0.5, 0.0]])
    >>> values = keras_kd.losses.jensen_shannon_divergence(t, s, temperature=1.0)
    >>> round(float(values[0]), 4)
    0.0689

    Reference: Agarwal et al. 2024 (GKD), equation 1.
    """
    if not ops.is_tensor(beta):
        check_number("beta", beta, **_BOUNDS_OF_BETA)
    teacher, student, factor = tempered(teacher_logits, student_logits, temperature)
    beta = ops.convert_to_tensor(beta, dtype=teacher.dtype)
    mixture = _log_mixture(ops.log_softmax(teacher), ops.log_softmax(student), beta)
    of_teacher, of_student = (kl_divergence(z, mixture) for z in (teacher, student))
    return factor * (beta * of_teacher + (1.0 - beta) * of_student)


@keras.saving.register_keras_serializable(package="keras_kd")
class ReverseKLDivergence(TemperedLoss):
    """T^2 KL(softmax(z_s / T) || softmax(z_t / T)): the student's side leads.

    It costs most where the student gives probability to what the teacher rules out, so
    a student too small for all of the teacher keeps to its main classes
    (mode-seeking), where `KnowledgeDistillation` spreads over all of them. Infinite
    where the teacher excludes a class (logit -inf) that the student does not: there
    take `JensenShannonDivergence`.

    When to use: for a student with far less capacity than the teacher, above all of
    text, where spread-out predictions make poor samples.

    Args:
        temperature: T > 0, or a schedule (`keras_kd.schedules`). Defaults to 4.0.
        name: Name in the logs. Defaults to `"reverse_kl_divergence"`.
        reduction: See `DistillationLoss`.
        dtype: See `DistillationLoss`.

    Example:

    >>> loss = keras_kd.losses.ReverseKLDivergence(temperature=1.0)
    >>> t, s = np.array([[2.0, 0.0, -1.0]]), np.array([[1.0, 0.5, 0.0]])
    >>> round(float(loss(t, s)), 4)
    0.323

    Reference: Gu et al. 2024 (MiniLLM), section 2.1; TRL's code has no factor T^2.
    """

    def __init__(
        self,
        temperature=4.0,
        name="reverse_kl_divergence",
        reduction="sum_over_batch_size",
        dtype=None,
    ):
        super().__init__(temperature, name, reduction, dtype)

    def call(self, teacher_logits, student_logits, temperature=None):
        return reverse_kl_divergence(
            teacher_logits, student_logits, temperature=self._of_each(temperature)
        )


@keras.saving.register_keras_serializable(package="keras_kd")
class SymmetricKLDivergence(TemperedLoss):
    """T^2 times the mean of KL(p || q) and KL(q || p), with p of the teacher.

    Half of Jeffreys' divergence: large where either side rules out what the other
    allows, and infinite where one excludes a class alone (logit -inf).

    When to use: to compare with Stanton et al.'s ablations, or where neither direction
    is to be preferred; `JensenShannonDivergence` is symmetric and bounded.

    Args:
        temperature: T > 0, or a schedule (`keras_kd.schedules`). Defaults to 4.0.
        name: Name in the logs. Defaults to `"symmetric_kl_divergence"`.
        reduction: See `DistillationLoss`.
        dtype: See `DistillationLoss`.

    Example:

    >>> loss = keras_kd.losses.SymmetricKLDivergence(temperature=1.0)
    >>> t, s = np.array([[2.0, 0.0, -1.0]]), np.array([[1.0, 0.5, 0.0]])
    >>> round(float(loss(t, s)), 4)
    0.2891

    Reference: Stanton et al. 2021, released code, which adds both directions up (twice
    this) and has no factor T^2; its last version divides both sides by T, as here,
    earlier ones the teacher's alone.
    """

    def __init__(
        self,
        temperature=4.0,
        name="symmetric_kl_divergence",
        reduction="sum_over_batch_size",
        dtype=None,
    ):
        super().__init__(temperature, name, reduction, dtype)

    def call(self, teacher_logits, student_logits, temperature=None):
        return symmetric_kl_divergence(
            teacher_logits, student_logits, temperature=self._of_each(temperature)
        )


@keras.saving.register_keras_serializable(package="keras_kd")
class JensenShannonDivergence(TemperedLoss):
    """T^2 times the generalised Jensen-Shannon divergence, bounded by T^2 log 2.

    beta KL(p || m) + (1 - beta) KL(q || m) with the teacher's p, the student's q, both
    at temperature T, and m = beta p + (1 - beta) q. At beta = 0.5 both sides count
    alike; a smaller beta makes it more like KL(p || q), a larger one like KL(q || p).

    It is not rescaled, as in the paper: it tends to 0 as beta tends to 0, where its
    ratio to beta tends to KL(p || q), and as beta tends to 1, where its ratio to
    1 - beta tends to KL(q || p). So give a loss with a beta near an end a weight of
    1 / beta or 1 / (1 - beta), and for an end itself take `KnowledgeDistillation` or
    `ReverseKLDivergence`.

    When to use: where one side rules out what the other allows, so that either KL would
    be very large (stored top-k logits, noisy or very sharp teachers), and for text.

    Args:
        temperature: T > 0, or a schedule (`keras_kd.schedules`). Defaults to 4.0.
        beta: Share of the teacher in the mixture, in (0, 1), or a schedule. Defaults
            to 0.5.
        name: Name in the logs. Defaults to `"jensen_shannon_divergence"`.
        reduction: See `DistillationLoss`.
        dtype: See `DistillationLoss`.

    Raises:
        ValueError: If `beta` is outside (0, 1), or within 1e-6 of 0 or 1.

    Example:

    >>> loss = keras_kd.losses.JensenShannonDivergence(temperature=1.0, beta=0.5)
    >>> t, s = np.array([[2.0, 0.0, -1.0]]), np.array([[1.0, 0.5, 0.0]])
    >>> round(float(loss(t, s)), 4)
    0.0689

    Reference: Agarwal et al. 2024 (GKD), equation 1. TRL's code takes the KL itself at
    beta 0 and 1, a jump from almost 0, and has no factor T^2.
    """

    beta = HyperparameterAttribute("In (0, 1), or its schedule.", **_BOUNDS_OF_BETA)

    def __init__(
        self,
        temperature=4.0,
        beta=0.5,
        name="jensen_shannon_divergence",
        reduction="sum_over_batch_size",
        dtype=None,
    ):
        super().__init__(temperature, name, reduction, dtype)
        self.beta = beta

    def call(self, teacher_logits, student_logits, temperature=None):
        return jensen_shannon_divergence(
            teacher_logits,
            student_logits,
            temperature=self._of_each(temperature),
            beta=self._beta.tensor,
        )

    def get_config(self):
        return {**super().get_config(), "beta": self._beta.config}


def _log_mixture(log_p, log_q, beta):
    """log(beta p + (1 - beta) q), with derivatives also where one or both are 0."""
    log_p, log_q = log_p + ops.log(beta), log_q + ops.log1p(-beta)
    gap = log_q - log_p  # NaN where both are -inf: neither branch below sees it
    below = ops.where(gap <= 0, gap, ops.zeros_like(gap))
    above = ops.where(gap > 0, gap, ops.zeros_like(gap))
    return ops.where(
        gap <= 0,
        log_p + ops.log1p(ops.exp(below)),
        log_q + ops.log1p(ops.exp(-above)),
    )
