"""The factors of the distillation losses, numbers or schedules."""

from keras_kd._common.hyperparameter import Hyperparameter
from keras_kd.distiller.arguments import check_loss_weights


class LossWeights:
    """The factor of each distillation loss in the objective, or its schedule."""

    def __init__(self, given, outputs):
        """`outputs`: of `check_losses`."""
        self._outputs = outputs
        self.hyperparameters = [
            Hyperparameter(weight, "loss_weight")
            for weight in check_loss_weights(given, outputs)
        ]

    def assign(self, values):
        values = check_loss_weights(values, self._outputs)
        for weight, value in zip(self.hyperparameters, values, strict=True):
            weight.assign(value)

    def as_list(self):
        """A list as it was given; an entry that is set takes effect."""
        return _AssignedList(self)


class _AssignedList(list):
    def __init__(self, weights):
        super().__init__(weight.value for weight in weights.hyperparameters)
        self._weights = weights

    def __setitem__(self, index, value):
        super().__setitem__(index, value)
        self._weights.assign(list(self))
