"""Schedules of the training step, for temperatures and the weights of losses.

Wherever keras_kd takes a temperature or a weight, a schedule may stand in its place:
one of these, or any `keras.optimizers.schedules.LearningRateSchedule`, whose step is
the optimizer's `iterations`. So a schedule goes on where a checkpoint of the training
was taken, and the step is traced once. Outside of `keras_kd.Distiller`, which counts
the steps, a schedule stands at step 0.
"""

import keras
from keras import ops

from keras_kd._common.checks import check_number, check_whole_number


@keras.saving.register_keras_serializable(package="keras_kd")
class LinearRamp(keras.optimizers.schedules.LearningRateSchedule):
    """From one number to another along a line, then constant.

    The value is `start` up to step `begin`, and `end` from step `begin + steps` on.

    Args:
        start: Value at first.
        end: Value at last.
        steps: Length of the ramp, in steps; 0 switches at `begin`.
        begin: Step at which it starts. Defaults to 0.
        every: The value changes once in so many steps; the number of steps of an epoch
            makes stairs of epochs. Defaults to 1.

    Returns:
        Called on a step: the value, float32.

    Raises:
        ValueError: For numbers that are not finite, or steps below 0.

    Example:

    >>> warm_up = keras_kd.schedules.LinearRamp(0.0, 1.0, steps=100, begin=50)
    >>> [round(float(warm_up(step)), 2) for step in (0, 50, 75, 150, 1000)]
    [0.0, 0.0, 0.25, 1.0, 1.0]
    >>> distiller = keras_kd.Distiller(
    ...     keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)]),
    ...     keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)]),
    ...     keras_kd.losses.KnowledgeDistillation(temperature=4.0),
    ...     distillation_loss_weights=[warm_up])

    Reference: Zhao et al. 2022 (Decoupled KD) warm up over 20 epochs; Nagarajan et al.
    2023, section 3.2, switch losses.
    """

    def __init__(self, start, end, steps, begin=0, every=1):
        self.start = check_number("start", start)
        self.end = check_number("end", end)
        self.steps = check_whole_number("steps", steps, at_least=0)
        self.begin = check_whole_number("begin", begin, at_least=0)
        self.every = check_whole_number("every", every, at_least=1)

    def __call__(self, step):
        # Whole numbers until the division: float32 counts to 2^24 steps only.
        done = ops.maximum(ops.cast(step, "int32") - self.begin, -1)
        if self.steps == 0:
            return ops.where(done >= 0, self.end, self.start)
        done = ops.clip(done - ops.mod(done, self.every), 0, self.steps)
        share = ops.cast(done, "float32") / float(self.steps)
        return (1.0 - share) * self.start + share * self.end

    def get_config(self):
        names = ("start", "end", "steps", "begin", "every")
        return {name: getattr(self, name) for name in names}


def hard_to_soft(epochs, steps_per_epoch, initial_weight=1.0):
    """Weights of a hard and a soft loss that go from the first to the second.

    Their sum is 1. That of the hard loss starts at `initial_weight` and falls by
    `initial_weight / epochs` after each epoch; in the last epoch it is not yet 0.

    Args:
        epochs: Epochs of the training.
        steps_per_epoch: Batches of an epoch.
        initial_weight: Of the hard loss, in [0, 1]. Defaults to 1.0.

    Returns:
        `[of the hard loss, of the soft loss]`, two `LinearRamp`s.

    Raises:
        ValueError: For a weight outside [0, 1], or less than one epoch or step.

    Example:

    >>> hard, soft = keras_kd.schedules.hard_to_soft(epochs=4, steps_per_epoch=10)
    >>> [round(float(hard(step)), 2) for step in (0, 9, 10, 39, 40)]
    [1.0, 1.0, 0.75, 0.25, 0.0]
    >>> losses = [keras_kd.losses.SoftCrossEntropy(temperature=1.0),
    ...           keras_kd.losses.KnowledgeDistillation(temperature=4.0)]
    >>> distiller = keras_kd.Distiller(
    ...     keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)]),
    ...     keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)]),
    ...     losses, distillation_loss_weights=[hard, soft])

    Reference: Stanton et al. 2021, released code (not reported in the paper).
    """
    epochs = check_whole_number("epochs", epochs, at_least=1)
    every = check_whole_number("steps_per_epoch", steps_per_epoch, at_least=1)
    weight = check_number("initial_weight", initial_weight, at_least=0, at_most=1)
    steps = epochs * every
    return [
        LinearRamp(weight, 0.0, steps, every=every),
        LinearRamp(1.0 - weight, 1.0, steps, every=every),
    ]
