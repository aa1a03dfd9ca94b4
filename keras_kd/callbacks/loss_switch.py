"""From labels to distillation, or back, in the middle of a training."""

import keras

from keras_kd._common.checks import check_choice, check_number, check_whole_number
from keras_kd._common.hyperparameter import is_schedule
from keras_kd.distiller import Distiller
from keras_kd.schedules import LinearRamp

_ENDS = {"distillation": 0.0, "labels": 1.0}  # student_loss_weight


class LossSwitch(keras.callbacks.Callback):
    """Moves a `keras_kd.Distiller` from one loss to another at a step.

    Before `step` it trains on one loss and from `step + window` on with the other; in
    between, the objective is a blend whose shares change linearly. Its
    `student_loss_weight` becomes a schedule (`keras_kd.schedules.LinearRamp`) of the
    optimizer's step: the training step is traced once, and a run that is resumed from
    a checkpoint, or from a saved distiller, goes on where it was, also without the
    callback. The logs of each epoch have the `student_loss_weight` at its end.

    Nagarajan et al. find that a late switch from labels to distillation recovers much
    of the gain, so that what happens early is not what matters; and that leaving
    distillation helps or hurts depending on whether the teacher fits its own labels.

    Args:
        step: Number of training steps before the switch (of the whole training, not of
            one `fit`): the first step with number `step`, counted from 0, has the
            other loss.
        to: `"distillation"` trains on labels alone first and on the distillation
            losses alone afterwards, `"labels"` the reverse. A number in [0, 1] is the
            `student_loss_weight` afterwards; that of the distiller is the one before.
        window: Steps that the change takes. Defaults to 0, at once.

    Raises:
        ValueError: For a step or window below 0, an unknown `to`; when training starts,
            if the distiller was compiled without a label loss or already has another
            schedule.

    Example:

    >>> teacher, student = (
    ...     keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    ...     for _ in range(2))
    >>> distiller = keras_kd.Distiller(
    ...     teacher, student, keras_kd.losses.KnowledgeDistillation(temperature=4.0))
    >>> distiller.compile(
    ...     "sgd", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    >>> x, y = np.random.rand(32, 4).astype("float32"), np.arange(32) % 3
    >>> switch = keras_kd.callbacks.LossSwitch(step=2, to="distillation", window=2)
    >>> history = distiller.fit(x, y, batch_size=8, callbacks=[switch], verbose=0)
    >>> [float(distiller.student_loss_weight(step)) for step in range(5)]
    [1.0, 1.0, 1.0, 0.5, 0.0]

    Reference: Nagarajan et al. 2023, section 3.2.
    """

    def __init__(self, step, to="distillation", window=0):
        super().__init__()
        self.step = check_whole_number("step", step, at_least=0)
        self.window = check_whole_number("window", window, at_least=0)
        if isinstance(to, str):
            self.to = check_choice("to", to, list(_ENDS))
        else:
            self.to = check_number("to", to, at_least=0, at_most=1)

    def set_model(self, model):
        """Set the schedule; `fit` calls this before it asks for the training step."""
        super().set_model(model)
        if not isinstance(model, Distiller):
            raise TypeError(
                "LossSwitch changes the `student_loss_weight` of a keras_kd.Distiller. "
                f"Received: {model!r} of type {type(model).__name__}."
            )
        self._set_schedule(model)

    def on_epoch_end(self, epoch, logs=None):
        if logs is not None:  # callbacks that come later see it, TensorBoard too
            step = self.model.optimizer.iterations
            logs["student_loss_weight"] = float(self.model.student_loss_weight(step))

    def _set_schedule(self, distiller):
        if distiller.get_compile_config().get("loss") is None:
            raise ValueError(
                "LossSwitch trains on labels before or after the switch, but `compile` "
                "got no `loss` for them. Pass e.g. "
                "`loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True)`."
            )
        present = distiller.student_loss_weight
        schedule = self._schedule(present)
        if not is_schedule(present):
            distiller.student_loss_weight = schedule
        elif present.get_config() != schedule.get_config():
            raise ValueError(
                "LossSwitch would replace the schedule that `student_loss_weight` "
                f"already is: {present!r}. Set `distiller.student_loss_weight` to a "
                "number first, or leave the callback out."
            )

    def _schedule(self, present):
        if isinstance(self.to, str):
            end = _ENDS[self.to]
            start = 1.0 - end
        else:
            end = self.to
            start = present.start if isinstance(present, LinearRamp) else present
        if is_schedule(start):
            raise ValueError(
                "`to` is a number, so LossSwitch starts from the `student_loss_weight` "
                f"of the distiller, which is a schedule: {start!r}. Set it to a number "
                "first."
            )
        return LinearRamp(start, end, steps=self.window, begin=self.step)
