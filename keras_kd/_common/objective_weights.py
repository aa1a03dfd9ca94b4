"""The weights of the Distiller's objective, as properties of it."""

from keras_kd._common import distiller_checks as checks
from keras_kd._common.hyperparameter import Hyperparameter, at_step


class ObjectiveWeights:
    """Mix-in before `keras.Model`, which holds the numbers or schedules in `_held`."""

    @property
    def student_loss_weight(self):
        """w, or its schedule.

        A number takes the place of a number at the next step, without a new trace; a
        schedule comes or goes with the next `fit`.
        """
        return self._held.student_loss_weight.value

    @student_loss_weight.setter
    def student_loss_weight(self, value):
        self._held.student_loss_weight.assign(checks.check_student_loss_weight(value))

    @property
    def distillation_loss_weights(self):
        """A factor, or its schedule, for each loss; set them as a list."""
        return tuple(weight.value for weight in self._held.loss_weights)

    @distillation_loss_weights.setter
    def distillation_loss_weights(self, values):
        values = checks.check_loss_weights(values, self._held.loss_outputs)
        for weight, value in zip(self._held.loss_weights, values, strict=True):
            weight.assign(value)

    def _at_this_step(self):
        """Scope in which schedules stand at the step of the training."""
        return at_step(self.optimizer.iterations if self.compiled else 0)


def make_weights(student_loss_weight, loss_weights, outputs):
    """`(hyperparameter, [hyperparameters])` from the arguments of the Distiller."""
    weight = checks.check_student_loss_weight(student_loss_weight)
    weights = checks.check_loss_weights(loss_weights, outputs)
    return Hyperparameter(weight, "student_loss_weight"), [
        Hyperparameter(w, "loss_weight") for w in weights
    ]
