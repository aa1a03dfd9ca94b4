"""Losses on one class that the teacher names: its first choice, or one drawn."""

import keras
from keras import ops

from keras_kd._common.checks import check_whole_number
from keras_kd._common.numerics import at_least_float32, cross_entropy
from keras_kd.losses._sides import of_one_shape
from keras_kd.losses.distillation_loss import DistillationLoss
from keras_kd.losses.tempered import TemperedLoss, tempered


def hard_label(teacher_logits, student_logits):
    """-log softmax(z_s)_c of each example, with c = argmax z_t the teacher's choice.

    Args:
        teacher_logits: `(batch, ..., classes)`; of equal largest ones the first counts.
        student_logits: Same shape.

    Returns:
        `(batch, ...)`, >= 0, in nats; float32, or float64 for float64 logits.

    Example:

    >>> t, s = np.array([[2.0, 0.0, -1.0]]), np.array([[0.0, 0.0, 0.0]])
    >>> values = keras_kd.losses.hard_label(t, s)
    >>> round(float(values[0]), 4)  # log 3
    1.0986

    Reference: Touvron et al. 2021 (DeiT), equation 3, without the label loss.
    """
    teacher, student = of_one_shape(teacher_logits, student_logits)
    return _cross_entropy_to(ops.argmax(teacher, axis=-1), student)


def sampled_label(teacher_logits, student_logits, *, seed, temperature=1.0):
    """-log softmax(z_s)_c of each example, with c drawn from softmax(z_t / T).

    Args:
        teacher_logits: `(batch, ..., classes)`.
        student_logits: Same shape.
        seed: Python integer (equal draws at each call), or a
            `keras.random.SeedGenerator` (new ones at each).
        temperature: T > 0 of the teacher, or one an example, `(batch,)`. Defaults
            to 1.0.

    Returns:
        `(batch, ...)`, >= 0, in nats; float32, or float64 for float64 logits.

    Example:

    >>> t, s = np.array([[2.0, 2.0, -90.0]]), np.array([[0.0, 0.0, 5.0]])
    >>> values = keras_kd.losses.sampled_label(t, s, seed=0)  # never the last class
    >>> round(float(values[0]), 4)
    5.0134

    Reference: Stanton et al. 2021, released code; see `SampledLabel`.
    """
    _, student = at_least_float32(teacher_logits, student_logits)
    teacher, _, _ = tempered(teacher_logits, student_logits, temperature)
    shape, classes = ops.shape(teacher)[:-1], teacher.shape[-1]
    # Two axes: what `categorical` takes.
    flat = ops.reshape(ops.log_softmax(teacher, axis=-1), [-1, classes])
    drawn = keras.random.categorical(flat, 1, dtype="int32", seed=seed)
    return _cross_entropy_to(ops.reshape(drawn, shape), student)


@keras.saving.register_keras_serializable(package="keras_kd")
class HardLabel(DistillationLoss):
    """Cross-entropy of the student to the class that the teacher predicts.

    What a KL gives as the teacher's temperature goes to 0: nothing of how sure the
    teacher is, or of its second choice. It has no temperature. At equal logits it is
    -log of the largest probability: 0 only where the student is sure. Of equal largest
    logits the first counts. Infinite where the student excludes that class (logit
    -inf).

    When to use: for an over-confident teacher or one of which only predictions are at
    hand, and for vision transformers, where DeiT found it better than a KL.

    Usual weight: 1 with `student_loss_weight=0.5` (DeiT).

    Args:
        name: Name in the logs. Defaults to `"hard_label"`.
        reduction: See `DistillationLoss`.
        dtype: See `DistillationLoss`.

    Example:

    >>> loss = keras_kd.losses.HardLabel()
    >>> t, s = np.array([[2.0, 0.0, -1.0]]), np.array([[0.0, 0.0, 0.0]])
    >>> round(float(loss(t, s)), 4)  # log 3
    1.0986

    Reference: Touvron et al. 2021 (DeiT), equation 3; its 0.5 for each part is
    `student_loss_weight`.
    """

    compares = "class_logits"

    def __init__(self, name="hard_label", reduction="sum_over_batch_size", dtype=None):
        super().__init__(name=name, reduction=reduction, dtype=dtype)

    def call(self, teacher_logits, student_logits):
        return hard_label(teacher_logits, student_logits)


@keras.saving.register_keras_serializable(package="keras_kd")
class SampledLabel(TemperedLoss):
    """Cross-entropy of the student to a class drawn from softmax(z_t / T).

    Each evaluation draws anew, once for each example or position. On average over the
    draws it is the cross-entropy of softmax(z_s) under softmax(z_t / T), as is its
    gradient: that of `SoftCrossEntropy` where T = 1, with noise. The student itself is
    not tempered, so at another T it learns the tempered predictions. Its floor is the
    entropy of softmax(z_t / T), never 0 unless the teacher is sure.

    Under tf.distribute replicas take their draws in turn from one sequence, so these
    change with the number of replicas. Of a loss made inside the strategy's scope each
    replica has a sequence of its own, all equal: make it outside.

    When to use: to study how much of distillation is the soft labels' information and
    how much their low variance; for training alone, `SoftCrossEntropy` has less noise.

    Args:
        temperature: T > 0 of the teacher, or a schedule (`keras_kd.schedules`).
            Defaults to 1.0.
        seed: Integer >= 0 from which the draws follow, in the order of evaluations;
            None takes one from Python's `random`, which
            `keras.utils.set_random_seed` sets. Defaults to None. The place in the
            sequence is in no checkpoint: a resumed run starts it again.
        name: Name in the logs. Defaults to `"sampled_label"`.
        reduction: See `DistillationLoss`.
        dtype: See `DistillationLoss`.

    Example:

    >>> loss = keras_kd.losses.SampledLabel(seed=0)
    >>> t, s = np.array([[2.0, 2.0, -90.0]]), np.array([[0.0, 0.0, 5.0]])
    >>> round(float(loss(t, s)), 4)  # the last class is never drawn
    5.0134

    Reference: Stanton et al. 2021, released code, whose last version also divides the
    student's logits by T and multiplies by T^2 of each example.
    """

    def __init__(
        self,
        temperature=1.0,
        seed=None,
        name="sampled_label",
        reduction="sum_over_batch_size",
        dtype=None,
    ):
        super().__init__(temperature, name, reduction, dtype)
        if seed is not None:
            seed = check_whole_number("seed", seed, at_least=0)
        self.seed = seed
        self._seeds = keras.random.SeedGenerator(seed)

    def call(self, teacher_logits, student_logits, temperature=None):
        return sampled_label(
            teacher_logits,
            student_logits,
            seed=self._seeds,
            temperature=self._of_each(temperature),
        )

    def get_config(self):
        return {**super().get_config(), "seed": self.seed}


def _cross_entropy_to(classes, student):
    """-log softmax(z_s)_c, by the exact form of `cross_entropy`."""
    of_class = ops.one_hot(classes, student.shape[-1], dtype="bool")
    zeros = ops.zeros_like(student)
    return cross_entropy(ops.where(of_class, zeros, zeros - float("inf")), student)
