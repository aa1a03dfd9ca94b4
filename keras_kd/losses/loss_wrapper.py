"""The base of losses that change what another loss compares."""

import keras

from keras_kd.losses.distillation_loss import DistillationLoss
from keras_kd.losses.feature_loss import FeatureLoss


class LossWrapper(DistillationLoss):
    """Base class: a logit loss around another one, the inner loss.

    A subclass implements `call(teacher_logits, student_logits, **options)` and hands
    the options on. What the inner loss takes, couples, trains and sets holds for the
    wrapper too. How values are reduced is the wrapper's; the inner loss's `reduction`
    has no effect.

    Args:
        loss: The inner loss, a logit loss of keras_kd.
        name: Name under which it is logged.
        reduction: See `DistillationLoss`.
        dtype: Of the computation. Defaults to that of the inner loss.
    """

    def __init__(self, loss, name, reduction, dtype):
        _check_is_logit_loss(loss, type(self).__name__)
        super().__init__(name=name, reduction=reduction, dtype=dtype or loss.dtype)
        self.loss = loss
        self.takes_temperature = loss.takes_temperature
        self.takes_labels = loss.takes_labels
        self.takes_mask = loss.takes_mask
        self.takes_members = loss.takes_members
        self.couples_batch = loss.couples_batch

    @property
    def temperature(self):
        """That of the inner loss, where it has one."""
        return self.loss.temperature

    @temperature.setter
    def temperature(self, value):
        if not hasattr(self.loss, "temperature"):
            raise AttributeError(
                f"{type(self.loss).__name__}, the inner loss of {self.name!r}, has no "
                "temperature to be set."
            )
        self.loss.temperature = value

    @property
    def batch(self):
        """Which examples the inner loss compares, where it couples a batch."""
        return self.loss.batch

    def build(self, teacher_shape, student_shape):
        self.loss.build(teacher_shape, student_shape)

    @property
    def trainable_layers(self):
        return self.loss.trainable_layers

    def get_config(self):
        inner = keras.saving.serialize_keras_object(self.loss)
        return {**super().get_config(), "loss": inner}


def _check_is_logit_loss(loss, wrapper):
    fix = "for example keras_kd.losses.KnowledgeDistillation()."
    if not isinstance(loss, DistillationLoss):
        raise TypeError(
            f"{wrapper} takes a logit loss of keras_kd, {fix} Received: {loss!r} of "
            f"type {type(loss).__name__}."
        )
    names_a_layer = loss.teacher_layer_name or loss.student_layer_name
    if isinstance(loss, FeatureLoss) or names_a_layer:
        raise TypeError(
            f"{wrapper} takes a loss on logits, {fix} Received: "
            f"{type(loss).__name__}, which compares features. List it beside the "
            f"{wrapper} in `distillation_losses` instead."
        )
