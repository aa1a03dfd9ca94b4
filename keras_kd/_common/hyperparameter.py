"""A number of the user's, or a schedule of it, that a compiled step reads."""

import contextlib
import threading

import keras
from keras import ops

from keras_kd._common.checks import check_number

_thread = threading.local()  # replicas of one step are traced in threads of their own
_Schedule = keras.optimizers.schedules.LearningRateSchedule


class Hyperparameter:
    """A float that can change between or within steps without a new trace.

    A number is read as a variable. A schedule is a function of the step that
    `at_step` states; outside of it, of step 0. It is no `KerasSaveable` and no tracked
    attribute: checkpoints of weights do not hold it, configurations do.
    """

    def __init__(self, value, name):
        self._schedule = None
        self._variable = keras.Variable(
            0.0, dtype="float32", trainable=False, name=name
        )
        self._set(value)

    @property
    def tensor(self):
        """Its value where the graph reads it."""
        if self._schedule is None:
            return ops.convert_to_tensor(self._variable)
        step = getattr(_thread, "step", None)
        return ops.cast(self._schedule(0 if step is None else step), "float32")

    @property
    def value(self):
        """The number or the schedule, as given."""
        return float(self) if self._schedule is None else self._schedule

    @property
    def config(self):
        """`value` in a form for `get_config`."""
        if self._schedule is None:
            return float(self)
        return keras.saving.serialize_keras_object(self._schedule)

    @property
    def schedule(self):
        """The schedule, or None of a number."""
        return self._schedule

    def assign(self, value):
        self._set(value)

    def _set(self, value):
        self._schedule = value if is_schedule(value) else None
        self.number = None  # as given, of a schedule None
        if self._schedule is None:
            self.number = float(value)
            self._variable.assign(self.number)

    def __float__(self):
        """The number as given, unless the variable itself was assigned since.

        Of a schedule, its value at the step at hand.
        """
        if self._schedule is not None:
            return float(ops.convert_to_numpy(self.tensor))
        current = ops.convert_to_numpy(self._variable)
        return (
            self.number
            if current.dtype.type(self.number) == current
            else (float(current))
        )


class HyperparameterAttribute:
    """An attribute that takes a number within bounds, or its schedule, and gives it.

    Setting a number takes effect at the next step, without a new trace. `_<name>` is
    the `Hyperparameter` that `call` and `get_config` read.
    """

    def __init__(self, doc=None, **bounds):
        self.__doc__ = doc
        self._bounds = bounds  # of check_hyperparameter

    def __set_name__(self, owner, name):
        self._name = name

    def __get__(self, owner, cls=None):
        if owner is None:
            return self
        held = vars(owner).get(f"_{self._name}")
        if held is None:  # Keras asks before it sets
            raise AttributeError(self._name)
        return held.value

    def __set__(self, owner, value):
        value = check_hyperparameter(self._name, value, **self._bounds)
        if f"_{self._name}" in vars(owner):
            vars(owner)[f"_{self._name}"].assign(value)
        else:
            vars(owner)[f"_{self._name}"] = Hyperparameter(value, self._name)


@contextlib.contextmanager
def at_step(step):
    """Let schedules inside stand at `step`, a number or a tensor."""
    before = getattr(_thread, "step", None)
    _thread.step = step
    try:
        yield
    finally:
        _thread.step = before


def is_schedule(value):
    return isinstance(value, _Schedule)


def check_hyperparameter(name, value, **bounds):
    """Return a number within the bounds, or a schedule that starts and ends there."""
    if not is_schedule(value):
        return check_number(name, value, **bounds)
    known = {"at step 0": value(0)}
    if hasattr(value, "end"):
        known["in the end"] = value.end
    for when, number in known.items():
        check_number(f"{name} {when}", float(ops.convert_to_numpy(number)), **bounds)
    return value


def schedules_of(holders):
    """Schedules that these objects read now: a step that is traced knows these alone.

    Args:
        holders: `Hyperparameter`s, and losses that hold some, one within the other.
    """
    found = []
    for holder in holders:
        if isinstance(holder, Hyperparameter):
            found.append(holder.schedule)
        elif isinstance(holder, keras.losses.Loss):
            held = vars(holder).values()
            found += schedules_of(
                [x for x in held if isinstance(x, (Hyperparameter, keras.losses.Loss))]
            )
    return found
