"""The base of all losses on intermediate features."""

import keras

from keras_kd.losses.distillation_loss import DistillationLoss


class FeatureLoss(DistillationLoss):
    """Base class: a loss on a layer of the teacher and a layer of the student.

    A subclass implements `call(teacher_features, student_features)` and, if it trains
    layers of its own, `build(teacher_shape, student_shape)` and `trainable_layers`.

    Args:
        teacher_layer_name: Layer of the teacher; a dot reaches into nested models
            (`"backbone.stage_2"`), and the member's name or index comes first in an
            ensemble of several (`"0.conv1"`). None takes the teacher's output.
        student_layer_name: Layer of the student, likewise.
        name: Name in the logs.
        reduction: See `DistillationLoss`.
        dtype: See `DistillationLoss`.
    """

    def __init__(self, teacher_layer_name, student_layer_name, name, reduction, dtype):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.teacher_layer_name = _check_layer_name("teacher", teacher_layer_name)
        self.student_layer_name = _check_layer_name("student", student_layer_name)

    def validate_model_compatibility(self, teacher, student):
        """Refuse, in `keras.distillation.Distiller`, what that class would do wrong."""
        if (self.teacher_layer_name is None) != (self.student_layer_name is None):
            raise ValueError(
                "keras.distillation.Distiller ignores a student layer without a "
                "teacher layer and fails on the reverse. Name both layers, or use "
                "keras_kd.Distiller."
            )

    def get_config(self):
        return {
            **super().get_config(),
            "teacher_layer_name": self.teacher_layer_name,
            "student_layer_name": self.student_layer_name,
        }


def static_widths(model, layer_name):
    """Channels of a layer's or the model's outputs; None for a subclassed model."""
    if layer_name is None:
        outputs = getattr(model, "outputs", None)
    else:
        outputs = getattr(model.get_layer(layer_name), "output", None)
    if outputs is None:
        return None
    return [tensor.shape[-1] for tensor in keras.tree.flatten(outputs)]


def _check_layer_name(side, name):
    if name is not None and (not isinstance(name, str) or not name):
        raise TypeError(
            f"`{side}_layer_name` must be the name of a layer, or None for the model's "
            f"output. Received: {name!r} of type {type(name).__name__}."
        )
    return name
