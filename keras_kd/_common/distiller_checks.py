"""Checks of the Distiller's arguments and of the batches that reach it."""

import keras
import numpy as np

from keras_kd._common.hyperparameter import check_hyperparameter, is_schedule
from keras_kd._common.output_kind import output_kind


def check_backend():
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            "keras_kd.Distiller trains on Keras's TensorFlow backend; this is "
            f"{keras.backend.backend()!r}. Set KERAS_BACKEND=tensorflow before Python "
            "starts. (The losses and metrics run on any backend.)"
        )


def check_student(student, members):
    if not isinstance(student, keras.Model):
        raise TypeError(
            "`student` must be a keras.Model. Received: "
            f"{student!r} of type {type(student).__name__}."
        )
    if any(member is student for member in members):
        raise ValueError(
            f"Teacher and student are the same model, {student.name!r}: it would chase "
            "itself. For self-distillation pass a copy as the teacher: "
            "`keras.models.clone_model(student)` with `set_weights`."
        )
    if output_kind(student) == "probabilities":
        raise ValueError(
            f"Student {student.name!r} ends in probabilities (a softmax or sigmoid), "
            "but distillation compares logits. Build it without its last activation; "
            "apply `keras.ops.softmax` to its predictions where you need probabilities."
        )


def check_class_counts(members, student):
    """Compare static output shapes where both models have them."""
    ours = getattr(student, "outputs", None) or []
    for member in members:
        theirs = getattr(member, "outputs", None) or []
        if not ours or not theirs:
            continue
        classes = [[t.shape[-1] for t in side] for side in (theirs, ours)]
        if classes[0] != classes[1]:
            raise ValueError(
                "Teacher and student must have the same outputs and classes. Received: "
                f"teacher {member.name!r} with {classes[0]} classes, student "
                f"{student.name!r} with {classes[1]}. Give the student's last layer as "
                "many units as the teacher's."
            )


def check_losses(losses):
    """`(losses, outputs)`, two lists: for each loss the name of its output, or None."""
    if losses is None:
        raise ValueError(
            "`distillation_losses` is None. Pass a loss or a list of them, e.g. "
            "keras_kd.losses.KnowledgeDistillation(temperature=4.0)."
        )
    by_output = losses if isinstance(losses, dict) else {None: losses}
    pairs = [(x, name) for name, given in by_output.items() for x in _as_list(given)]
    if not pairs:
        raise ValueError(
            "`distillation_losses` is empty. Pass at least one loss, e.g. "
            "keras_kd.losses.KnowledgeDistillation(temperature=4.0)."
        )
    return [loss for loss, _ in pairs], [name for _, name in pairs]


def losses_by_output(losses, outputs):
    """The argument of `check_losses` that gave these."""
    if set(outputs) == {None}:
        return list(losses)
    pairs = list(zip(losses, outputs, strict=True))
    return {name: [x for x, of in pairs if of == name] for name in outputs}


def check_loss_weights(weights, outputs):
    """One number or schedule for each loss, in the order of `check_losses`."""
    if weights is None:
        return [1.0] * len(outputs)
    if isinstance(weights, dict):
        weights = _weights_in_order(weights, outputs)
    weights = _as_list(weights)
    if len(weights) != len(outputs):
        raise ValueError(
            "`distillation_loss_weights` must hold one number for each of the "
            f"{len(outputs)} distillation losses. Received: {list(weights)!r}."
        )
    name = "distillation_loss_weights"
    return [check_hyperparameter(name, w, at_least=0) for w in weights]


def _weights_in_order(weights, outputs):
    """A dict by output as a list; outputs that it does not name have weight 1."""
    names = list(dict.fromkeys(outputs))
    unknown = [name for name in weights if name not in names]
    if unknown or None in names:
        raise ValueError(
            "`distillation_loss_weights` is a dict, so `distillation_losses` must be "
            f"one with the same names. Received: weights for {list(weights)}, losses "
            f"for {names if None not in names else 'no output by name'}."
        )
    ordered = []
    for name in names:
        given = _as_list(weights.get(name, [1.0] * outputs.count(name)))
        if len(given) != outputs.count(name):
            raise ValueError(
                f"`distillation_loss_weights[{name!r}]` must hold one number for each "
                f"of its {outputs.count(name)} losses. Received: {given!r}."
            )
        ordered += given
    return ordered


def _as_list(value):
    return list(value) if isinstance(value, (list, tuple, np.ndarray)) else [value]


def check_student_loss_weight(weight):
    return check_hyperparameter(
        "student_loss_weight",
        weight,
        at_least=0,
        at_most=1,
        fix="loss = w * label loss + (1 - w) * distillation loss.",
    )


def check_compile(loss, metrics, student_loss_weight):
    if loss is None and (is_schedule(student_loss_weight) or student_loss_weight > 0):
        raise ValueError(
            f"`student_loss_weight` is {student_loss_weight}, but `compile` got no "
            "`loss` for the labels. Pass e.g. "
            "`loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True)`, or "
            "build the Distiller with `student_loss_weight=0` to use no labels."
        )
    if not isinstance(metrics, (list, tuple, type(None))):
        raise TypeError(
            "`fidelity_metrics` must be a list of metric objects, e.g. "
            f"[keras_kd.metrics.Agreement(k=5)]. Received: {metrics!r} of type "
            f"{type(metrics).__name__}."
        )
    for metric in metrics or []:
        if not isinstance(metric, keras.metrics.Metric):
            raise TypeError(
                "`fidelity_metrics` must hold metric objects that are updated with "
                "(teacher, student), e.g. keras_kd.metrics.Agreement(k=5). Received: "
                f"{metric!r} of type {type(metric).__name__}."
            )


def check_trainable(student, weights):
    if not weights:
        raise ValueError(
            f"Student {student.name!r} has no trainable weights. Set "
            "`student.trainable = True` and compile again."
        )


def check_batch(batch, has_teacher, needs_labels, needs_features, needs_members):
    """Trace-time checks of what a batch brings."""
    if batch.teacher_logits is not None and needs_members:
        raise ValueError(
            "A loss compares each teacher by itself, but batches bring stored logits, "
            "those of the whole ensemble. Leave `teacher_logits` out of the batches, "
            "or drop the loss of each teacher."
        )
    if batch.teacher_logits is not None and needs_features:
        raise ValueError(
            "A loss compares a layer of the teacher, but batches bring stored teacher "
            "logits, with which the teacher is not called. Leave `teacher_logits` out "
            "of the batches, or drop the feature loss."
        )
    if batch.teacher_logits is None and not has_teacher:
        raise ValueError(
            "The Distiller has `teacher=None`, but the batch brings no stored teacher "
            "logits. Let the dataset give `(x, {'labels': y, 'teacher_logits': z})`, "
            "or pass the teacher to the Distiller."
        )
    if batch.labels is None and needs_labels:
        raise ValueError(
            "`compile` got a label loss or label metrics, but the batch brings no "
            "labels. Let the dataset give `(x, y)` (label single examples "
            "keras_kd.UNLABELED where some are missing), or compile without `loss` and "
            "`metrics` and with `student_loss_weight=0`."
        )
