"""The base of losses that change what another loss compares."""

import keras

from keras_kd.losses.distillation_loss import DistillationLoss
from keras_kd.losses.feature_loss import FeatureLoss


class LossWrapper(DistillationLoss):
    """Base class: a logit loss around another one, the inner loss.

    A subclass implements `call(teacher_logits, student_logits, **options)` and hands
    the options on to `self.loss.call`. What the inner loss takes, compares, couples,
    trains and sets holds for the wrapper too; what the wrapper takes besides it
    declares in `takes`, and removes it from the options. How values are reduced is the
    wrapper's; the inner loss's `reduction` has no effect.

    Args:
        loss: The inner loss, a logit loss of keras_kd.
        name: Name under which it is logged.
        reduction: See `DistillationLoss`.
        dtype: Of the computation. Defaults to that of the inner loss.

    Raises:
        TypeError: If `loss` compares features, or is no loss of keras_kd.

    Example:

    >>> class WhereTeacherIsRight(keras_kd.losses.LossWrapper):
    ...     takes = {"labels"}
    ...     def call(self, teacher_logits, student_logits, labels=None, **options):
    ...         values = self.loss.call(teacher_logits, student_logits, **options)
    ...         if labels is None:
    ...             return values
    ...         right = keras.ops.argmax(teacher_logits, axis=-1) == labels
    ...         return keras.ops.where(right, values, 0.0)
    >>> loss = WhereTeacherIsRight(keras_kd.losses.LogitMSE(), name="where_right")
    >>> sorted(loss.takes), loss.compares
    (['labels'], 'logits')
    >>> teacher, student = np.array([[2.0, 0.0], [2.0, 0.0]]), np.zeros((2, 2))
    >>> loss.call(teacher, student, labels=np.array([0, 1])).numpy().tolist()
    [2.0, 0.0]
    """

    def __init__(self, loss, name=None, reduction="sum_over_batch_size", dtype=None):
        _check_is_logit_loss(loss, type(self).__name__)
        super().__init__(name=name, reduction=reduction, dtype=dtype or loss.dtype)
        self.loss = loss
        self.takes = type(self).takes | loss.takes
        self.compares = loss.compares
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

    def make_layers(self, teacher_shape, student_shape):
        """Those of the inner loss, to which `call` hands them on."""
        return self.loss.make_layers(teacher_shape, student_shape)

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
