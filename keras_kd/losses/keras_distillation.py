"""Losses of `keras.distillation`, taken apart so that weights and replicas count.

Keras reduces these to one scalar a batch, by a rule that depends on the type of the
inner loss. Here the same inner losses give one value an example.
"""

import keras
from keras import ops

from keras_kd._common.checks import check_same_shape
from keras_kd.losses.distillation_loss import DistillationLoss


def as_distillation_loss(loss):
    """Any accepted loss object as a `keras_kd.losses.DistillationLoss`."""
    if isinstance(loss, DistillationLoss):
        return loss
    for kind, adapter in (
        (keras.distillation.LogitsDistillation, _KerasLogits),
        (keras.distillation.FeatureDistillation, _KerasFeatures),
    ):
        # A subclass with a formula of its own is no longer of this kind.
        if getattr(type(loss), "compute_loss", None) is kind.compute_loss:
            return adapter(loss)
    if isinstance(loss, keras.distillation.DistillationLoss):
        return ScalarDistillation(loss)
    raise TypeError(
        "`distillation_losses` must hold keras_kd.losses.DistillationLoss objects, "
        "e.g. keras_kd.losses.KnowledgeDistillation(temperature=4.0) (objects of "
        f"keras.distillation are accepted too). Received: {loss!r} of type "
        f"{type(loss).__name__}."
    )


class KerasLoss(DistillationLoss):
    """Base class: a loss of `keras.distillation`, called on whole output structures."""

    takes_structures = True

    def __init__(self, wrapped):
        super().__init__(name=_snake_case(type(wrapped).__name__))
        self.wrapped = wrapped
        self.teacher_layer_name = getattr(wrapped, "teacher_layer_name", None)
        self.student_layer_name = getattr(wrapped, "student_layer_name", None)

    def get_config(self):
        raise NotImplementedError("The wrapped object is what a config holds.")


class _OneLossAnOutput(KerasLoss):
    """The two classes of Keras itself, which hold a structure of inner losses."""

    def __init__(self, wrapped):
        super().__init__(wrapped)
        for loss in keras.tree.flatten(wrapped.loss):
            if getattr(loss, "reduction", None) == "sum":
                raise ValueError(
                    f"{type(wrapped).__name__} holds a loss with reduction='sum', but "
                    "the distiller divides by the examples of the global batch. Use "
                    "the default reduction, 'sum_over_batch_size'."
                )


class _KerasLogits(_OneLossAnOutput):
    def __init__(self, wrapped):
        super().__init__(wrapped)
        given = [x for x in keras.tree.flatten(wrapped.loss) if x is not None]
        if given and all(isinstance(loss, keras.losses.KLDivergence) for loss in given):
            self.compares = "class_logits"  # Keras takes a softmax for these alone

    def call(self, teacher_outputs, student_outputs):
        temperature = self.wrapped.temperature

        def one_output(loss, teacher, student):
            if loss is None:
                return None
            is_kl = isinstance(loss, keras.losses.KLDivergence)
            check_same_shape(teacher, student, classes=2 if is_kl else 1)
            teacher, student = teacher / temperature, student / temperature
            if is_kl:
                teacher, student = ops.softmax(teacher), ops.softmax(student)
                return temperature**2 * _values(loss, teacher, student)
            return _values(loss, teacher, student)

        return _sum_of_outputs(
            one_output, self.wrapped.loss, teacher_outputs, student_outputs
        )


class _KerasFeatures(_OneLossAnOutput):
    compares = "features"

    def call(self, teacher_outputs, student_outputs):
        def one_output(loss, teacher, student):
            if loss is None:
                return None
            check_same_shape(teacher, student, classes=1)
            return _values(loss, teacher, student)

        return _sum_of_outputs(
            one_output, self.wrapped.loss, teacher_outputs, student_outputs
        )


class ScalarDistillation(KerasLoss):
    """A loss of the user's own, written for `keras.distillation`.

    `call` gives what it gives: one value an example, to be weighted as any other, or a
    scalar, shape `()`, the mean of its batch.
    """

    def call(self, teacher_outputs, student_outputs):
        self.wrapped.validate_outputs(teacher_outputs, student_outputs)
        return ops.convert_to_tensor(
            self.wrapped.compute_loss(teacher_outputs, student_outputs)
        )


def _values(loss, teacher, student):
    """Values per example of a Keras loss object or function."""
    function = loss.call if isinstance(loss, keras.losses.Loss) else loss
    values = function(teacher, student)
    positions = tuple(range(1, len(values.shape)))
    return ops.mean(values, axis=positions) if positions else values


def _sum_of_outputs(one_output, losses, teacher_outputs, student_outputs):
    keras.tree.assert_same_structure(teacher_outputs, student_outputs)
    columns = (losses, teacher_outputs, student_outputs)
    losses, *sides = map(keras.tree.flatten, columns)
    if len(losses) != len(sides[0]):
        raise ValueError(
            "A loss of keras.distillation needs one inner loss (or None) for each "
            f"output. Received: {len(losses)} for {len(sides[0])} outputs."
        )
    values = map(one_output, losses, *sides)
    return sum(value for value in values if value is not None)


def _snake_case(name):
    return "".join("_" + c.lower() if c.isupper() else c for c in name).lstrip("_")
