"""Checks of the Distiller's arguments and of the batches that reach it."""

import keras
import numpy as np

from keras_kd._common.hyperparameter import (
    check_hyperparameter,
    is_schedule,
)
from keras_kd._common.metric_update import update_of
from keras_kd._common.outputs import match_to_outputs
from keras_kd.losses.distillation_loss import DistillationLoss
from keras_kd.teacher_ensemble import TeacherEnsemble

STUDENT_LOSS_WEIGHT = {
    "at_least": 0,
    "at_most": 1,
    "fix": "loss = w * label loss + (1 - w) * distillation loss.",
}


def check_backend():
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            "keras_kd.Distiller trains on Keras's TensorFlow backend; this is "
            f"{keras.backend.backend()!r}. Set KERAS_BACKEND=tensorflow before Python "
            "starts. (The losses and metrics run on any backend.)"
        )


def as_teacher(teacher):
    """A `TeacherEnsemble`, or None for stored answers."""
    if teacher is None or isinstance(teacher, TeacherEnsemble):
        return teacher
    return TeacherEnsemble(teacher)


def check_student(student, members):
    if not isinstance(student, keras.Model):
        raise ValueError(
            "`student` must be a keras.Model. Received: "
            f"{student!r} of type {type(student).__name__}."
        )
    if any(member is student for member in members):
        raise ValueError(
            f"Teacher and student are the same model, {student.name!r}: it would chase "
            "itself. For self-distillation pass a copy as the teacher: "
            "`keras.models.clone_model(student)` with `set_weights`."
        )


def raise_probabilities(student):
    raise ValueError(
        f"Student {student.name!r} ends in probabilities (a softmax or sigmoid), but "
        "distillation compares logits. Build it without its last activation; apply "
        "`keras.ops.softmax` to its predictions where you need probabilities."
    )


def student_in_doubt(student):
    return (
        f"Student {student.name!r} does not say what it gives, and each row of this "
        "batch is a distribution over the classes, but distillation compares logits. "
        "Build it without its last activation."
    )


def raise_multi_label(loss, output):
    raise ValueError(
        f"Loss {loss!r} compares distributions over classes, but the teacher's output "
        f"{output!r} is multi-label: its classes pass a sigmoid each. Take a loss that "
        "compares each logit by itself, such as keras_kd.losses.LogitMSE()."
    )


def raise_unpaired(loss, output, names):
    has = "" if names is None else f" The teacher has {names}."
    raise ValueError(
        f"Loss {loss!r} compares the student's output {output!r}, but no output of the "
        f"teacher belongs to it.{has} Outputs belong together by name where both sides "
        "have names, else by place. Name the teacher's: `keras.Model(teacher.inputs, "
        f"{{{output!r}: output}})`; or say which outputs are compared: "
        "`distillation_losses={output: loss}`."
    )


def raise_unequal_classes(teacher, student, output, theirs, ours):
    raise ValueError(
        "Teacher and student must have the same outputs and classes. Received: teacher "
        f"{teacher.name!r} with {theirs} classes, student {student.name!r} with {ours} "
        f"(output {output!r}). Give the student's last layer as many units as the "
        "teacher's."
    )


def check_output_names(wanted, known):
    """Raise where losses name outputs that the student does not have."""
    wanted = dict.fromkeys(name for name in wanted if name is not None)
    match_to_outputs("distillation_losses", wanted, list(known), shared=False)


def own_loss(loss):
    """A copy of a loss that trains layers, for one distiller; others as they are."""
    if isinstance(loss, DistillationLoss) and "layers" in loss.takes:
        return loss.without_layers()
    return loss


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
        update_of(metric)  # or an error, at this call


def raise_uncompiled():
    raise ValueError(
        "The distiller has no losses to compute before `compile`. Call "
        "`distiller.compile(optimizer, loss=...)` first."
    )


def with_loss_scaling(optimizer, model):
    """The optimizer, wrapped where a layer of the model computes in float16.

    The distiller's own policy does not tell: student and teacher have theirs.
    """
    policies = {layer.dtype_policy.name for layer in model._flatten_layers()}
    if "mixed_float16" not in policies or isinstance(
        optimizer, keras.optimizers.LossScaleOptimizer
    ):
        return optimizer
    return keras.optimizers.LossScaleOptimizer(optimizer, name="loss_scale_optimizer")


def raise_untrainable(student):
    raise ValueError(
        f"Student {student.name!r} has no trainable weights. Set "
        "`student.trainable = True` and compile again."
    )


def check_answers(batch, has_teacher, terms):
    """Trace-time checks of what a batch brings of the teacher, and for its losses."""
    if batch.has_stored_answers and "members" in terms.taken:
        raise ValueError(
            "A loss compares each teacher by itself, but batches bring stored logits, "
            "those of the whole ensemble. Leave `teacher_logits` out of the batches, "
            "or drop the loss of each teacher."
        )
    if batch.has_stored_answers and terms.teacher_layers:
        raise ValueError(
            "A loss compares a layer of the teacher, but batches bring stored teacher "
            "logits, with which the teacher is not called. Leave `teacher_logits` out "
            "of the batches, or drop the feature loss."
        )
    if not batch.has_stored_answers and not has_teacher:
        raise ValueError(
            "The Distiller has `teacher=None`, but the batch brings no stored teacher "
            "logits. Let the dataset give `(x, {'labels': y, 'teacher_logits': z})`, "
            "or pass the teacher to the Distiller; `student_loss_weight=1` alone needs "
            "none."
        )
    if batch.temperature is not None and "temperature" not in terms.taken:
        raise ValueError(
            "The batch brings a temperature for each example, but none of the losses "
            f"{terms.names} takes one. Add a loss such as keras_kd.losses."
            "KnowledgeDistillation, or leave 'temperature' out of the batches."
        )


def raise_unlabelled():
    raise ValueError(
        "`compile` got a label loss or label metrics, but the batch brings no labels. "
        "Let the dataset give `(x, y)` (label single examples keras_kd.UNLABELED where "
        "some are missing), or compile without `loss` and `metrics` and with "
        "`student_loss_weight=0`."
    )
