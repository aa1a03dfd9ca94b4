"""Decoupled knowledge distillation: KL apart for the target class and for the others.

With y the target, b = [p_y, 1 - p_y] says "target or not", and the probabilities of the
other classes, scaled to sum to 1, say which of those. KL of teacher and student is KL
of both b plus 1 - p_y (of the teacher) times KL of the other classes. A sure teacher
makes that factor small, so plain KL hides what it knows of the other classes; here it
is a weight of the user's.
"""

import keras
from keras import ops

from keras_kd._common.checks import may_equal
from keras_kd._common.hyperparameter import HyperparameterAttribute
from keras_kd._common.labels import sparse_labels
from keras_kd._common.numerics import largest
from keras_kd.losses._sides import of_one_shape
from keras_kd.losses._term_weight import as_factor
from keras_kd.losses.logits import knowledge_distillation
from keras_kd.losses.tempered import TemperedLoss, temperature_tensor


def target_class_kd(teacher_logits, student_logits, labels=None, *, temperature=4.0):
    """T^2 KL between "target or not" of teacher and student (TCKD), for each example.

    Args:
        teacher_logits: `(batch, ..., classes)`.
        student_logits: Same shape.
        labels: As in `decoupled_kd`.
        temperature: T > 0, or one an example, `(batch,)`. Defaults to 4.0.

    Returns:
        `(batch, ...)`, >= 0, in nats times T^2; float32, or float64 for float64 logits.

    Example:

    >>> t, s = np.array([[2.0, 0.0, -1.0]]), np.array([[1.0, 0.5, 0.0]])
    >>> values = keras_kd.losses.target_class_kd(t, s, np.array([0]), temperature=1.0)
    >>> round(float(values[0]), 4)
    0.251

    Reference: Zhao et al. 2022, section 3.1.
    """
    teacher, student, is_target = _with_target(teacher_logits, student_logits, labels)
    return _target_term(teacher, student, is_target, temperature)


def nontarget_class_kd(teacher_logits, student_logits, labels=None, *, temperature=4.0):
    """T^2 KL between the softmax over all classes but the target (NCKD).

    It is 0 with two classes, which leave one other.

    Args:
        teacher_logits: `(batch, ..., classes)`.
        student_logits: Same shape.
        labels: As in `decoupled_kd`.
        temperature: T > 0, or one an example, `(batch,)`. Defaults to 4.0.

    Returns:
        `(batch, ...)`, >= 0, in nats times T^2; float32, or float64 for float64 logits.

    Example:

    >>> t, s = np.array([[2.0, 0.0, -1.0]]), np.array([[1.0, 0.5, 0.0]])
    >>> values = keras_kd.losses.nontarget_class_kd(
    ...     t, s, np.array([0]), temperature=1.0)
    >>> round(float(values[0]), 4)
    0.0263

    Reference: Zhao et al. 2022, section 3.1.
    """
    teacher, student, is_target = _with_target(teacher_logits, student_logits, labels)
    return _nontarget_term(teacher, student, is_target, temperature)


def decoupled_kd(
    teacher_logits,
    student_logits,
    labels=None,
    *,
    alpha=1.0,
    beta=8.0,
    temperature=4.0,
):
    """alpha TCKD + beta NCKD of each example, see `DecoupledKD`.

    With alpha = 1 and beta = 1 - p_y of the teacher, one an example, it is
    `knowledge_distillation`.

    Args:
        teacher_logits: `(batch, ..., classes)`.
        student_logits: Same shape.
        labels: The target of each position: classes `(batch, ...)`, -1 where unknown,
            or rows of probabilities `(batch, ..., classes)`, all 0 where unknown, whose
            largest is the target. Where it is unknown, or for None, the class that the
            teacher finds most likely takes its place. Defaults to None.
        alpha: Weight >= 0 of TCKD, or one an example, `(batch,)`. Defaults to 1.0.
        beta: Weight >= 0 of NCKD, likewise. Defaults to 8.0.
        temperature: T > 0, or one an example, `(batch,)`. Defaults to 4.0.

    Returns:
        `(batch, ...)`, >= 0, in nats times T^2; float32, or float64 for float64 logits.

    Raises:
        ValueError: For labels of a shape that fits neither form, or outside the
            classes.

    Example:

    >>> t, s = np.array([[2.0, 0.0, -1.0]]), np.array([[1.0, 0.5, 0.0]])
    >>> values = keras_kd.losses.decoupled_kd(
    ...     t, s, np.array([0]), alpha=1.0, beta=2.0, temperature=1.0)
    >>> round(float(values[0]), 4)
    0.3037

    Reference: Zhao et al. 2022, equation 7.
    """
    teacher, student, is_target = _with_target(teacher_logits, student_logits, labels)
    target = _target_term(teacher, student, is_target, temperature)
    others = _nontarget_term(teacher, student, is_target, temperature)
    alpha, beta = as_factor("alpha", alpha, target), as_factor("beta", beta, target)
    return alpha * target + beta * others


@keras.saving.register_keras_serializable(package="keras_kd")
class DecoupledKD(TemperedLoss):
    """alpha TCKD + beta NCKD: distillation with a weight of its own for dark knowledge.

    TCKD is T^2 KL of the binary distributions "target or not", NCKD is T^2 KL of the
    distributions over the other classes. Plain KL weights NCKD by 1 - p_y of the
    teacher, little where the teacher is sure; here its weight is beta everywhere. With
    two classes NCKD is 0, and this is alpha times plain KL.

    It takes the labels of the batch: soft rows (mixup, label smoothing) by their
    largest class, and where a label is unknown the class that the teacher finds most
    likely. `keras.distillation.Distiller` passes no labels on, so there the target is
    always the teacher's.

    When to use: for classifiers of many classes whose teacher is sure of its
    predictions, so that plain KL says little of the classes it did not choose.

    Usual weight: 1, warmed up over 20 epochs by
    `keras_kd.schedules.LinearRamp(0.0, 1.0, steps=20 * steps_per_epoch)`, beside a
    label loss of weight 1. Without the warm-up a large beta can diverge early.

    The released code gives the target its weight by subtracting 1000 from logits and
    takes logarithms of probabilities: its float32 loss is infinite at margins of 500
    (T = 4). This one is exact there.

    Args:
        alpha: Weight >= 0 of TCKD, or a schedule (`keras_kd.schedules`). Defaults to
            1.0.
        beta: Weight >= 0 of NCKD, or a schedule. Released code on CIFAR-100: 2 for
            ResNet-56 to 20 and 110 to 32, 6 for VGG and Wide ResNet pairs, 8 for
            ResNet 32x4 students and pairs of unlike families; on ImageNet (T = 1) 0.5
            or 2. Defaults to 8.0.
        temperature: T > 0, or a schedule. Defaults to 4.0.
        name: Name in the logs. Defaults to `"decoupled_kd"`.
        reduction: See `DistillationLoss`.
        dtype: See `DistillationLoss`.

    Example:

    >>> loss = keras_kd.losses.DecoupledKD(alpha=1.0, beta=2.0, temperature=1.0)
    >>> t, s = np.array([[2.0, 0.0, -1.0]]), np.array([[1.0, 0.5, 0.0]])
    >>> round(float(loss(t, s)), 4)  # no labels: the teacher's class, 0
    0.3037
    >>> loss.beta = 0.0
    >>> round(float(loss.call(t, s, labels=np.array([2]))[0]), 4)
    0.0938

    Reference: Zhao et al. 2022, equation 7; released code for the values of beta.
    """

    takes = frozenset({"labels", "temperature"})
    alpha = HyperparameterAttribute("A weight >= 0, or its schedule.", at_least=0)
    beta = HyperparameterAttribute("A weight >= 0, or its schedule.", at_least=0)

    def __init__(
        self,
        alpha=1.0,
        beta=8.0,
        temperature=4.0,
        name="decoupled_kd",
        reduction="sum_over_batch_size",
        dtype=None,
    ):
        super().__init__(temperature, name, reduction, dtype)
        self.alpha = alpha
        self.beta = beta

    def call(self, teacher_logits, student_logits, labels=None, temperature=None):
        return decoupled_kd(
            teacher_logits,
            student_logits,
            labels,
            alpha=self._alpha.tensor,
            beta=self._beta.tensor,
            temperature=self._of_each(temperature),
        )

    def get_config(self):
        config = super().get_config()
        return {**config, "alpha": self._alpha.config, "beta": self._beta.config}


def _target_term(teacher, student, is_target, temperature):
    temperature = temperature_tensor(temperature, student, student.dtype)
    sides = [_two_classes(z, is_target, temperature) for z in (teacher, student)]
    return knowledge_distillation(*sides, temperature=temperature)


def _nontarget_term(teacher, student, is_target, temperature):
    teacher, student = (_others(z, is_target) for z in (teacher, student))
    # A teacher that excludes all other classes says nothing of them.
    silent = largest(teacher) == -float("inf")
    sides = [ops.where(silent, 0.0, z) for z in (teacher, student)]
    return knowledge_distillation(*sides, temperature=temperature)


def _others(logits, is_target):
    """Logits without the target: -inf in its place."""
    return ops.where(is_target, -float("inf"), logits)


def _two_classes(logits, is_target, temperature):
    """`(..., 2)`: the target's logit, and that of all others taken as one class."""
    others = _others(logits, is_target)
    # Relative to the best other class: there T log sum exp loses no digits to it.
    top = ops.stop_gradient(largest(others))
    top = ops.where(ops.isfinite(top), top, 0.0)
    temperature = as_factor("temperature", temperature, logits)
    total = ops.sum(ops.exp((others - top) / temperature), axis=-1, keepdims=True)
    log_total = ops.log(ops.where(total > 0, total, 1.0))
    log_total = ops.where(total > 0, log_total, -float("inf"))
    target = ops.where(is_target, logits - top, 0.0)
    target = ops.sum(target, axis=-1, keepdims=True)
    return ops.concatenate([target, temperature * log_total], axis=-1)


def _with_target(teacher_logits, student_logits, labels):
    """`(teacher, student, is_target)`, the last bool and of the shape of logits."""
    teacher, student = of_one_shape(teacher_logits, student_logits)
    target = ops.argmax(teacher, axis=-1)
    if labels is not None:
        labels = ops.convert_to_tensor(labels)
        _check_labels(labels, teacher)
        known, labelled = sparse_labels(labels, teacher)
        target = ops.where(labelled > 0, known, ops.cast(target, known.dtype))
    classes = ops.arange(teacher.shape[-1], dtype=target.dtype)
    return teacher, student, ops.equal(ops.expand_dims(target, axis=-1), classes)


def _check_labels(labels, logits):
    given, rows = tuple(labels.shape), tuple(logits.shape)
    forms = [rows[:-1], (*rows[:-1], 1), rows]
    if not any(may_equal(given, form) for form in forms):
        raise ValueError(
            f"Labels of shape {given} fit no logits of shape {rows}. Give one class a "
            f"position, shape {rows[:-1]}, or one row of probabilities, shape {rows}."
        )
