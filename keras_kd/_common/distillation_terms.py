"""Distillation losses on the outputs and features of one forward pass of each model."""

from typing import Any, NamedTuple

import keras
from keras import ops

from keras_kd._common.inputs import input_spec, trace
from keras_kd._common.outputs import as_float32
from keras_kd._common.taps import find_layer, output_of, record_outputs
from keras_kd._common.weights import (
    combined_mask,
    make_term,
    mean_over_positions,
    one_weight_an_example,
)


class Forward(NamedTuple):
    """What one forward pass of a side gave."""

    outputs: Any  # structure of logits, float32 at least
    features: dict  # id(layer) -> output of a tapped layer


class DistillationTerms:
    """Evaluates each loss on what it compares: predictive logits or tapped layers."""

    def __init__(self, losses, names, members, student):
        self.losses = losses
        self.names = names
        self.built = False  # whether all projectors are there
        self._teacher_taps = [
            _find_in_members(members, loss.teacher_layer_name) for loss in losses
        ]
        self._student_taps = [
            loss.student_layer_name
            and (student, find_layer(student, loss.student_layer_name, "student"))
            for loss in losses
        ]

    @property
    def teacher_layers(self):
        return [tap[1] for tap in self._teacher_taps if tap]

    @property
    def student_layers(self):
        return [tap[1] for tap in self._student_taps if tap]

    @property
    def trainable_layers(self):
        """Projectors made so far."""
        return [layer for loss in self.losses for layer in loss.trainable_layers]

    def build(self):
        """Make the projectors from the specifications of built models.

        Where a model does not say what inputs it takes, the first batch tells.
        """
        for loss, teacher, student in self._taps():
            if teacher or student:
                shapes = [_tap_shape(tap) for tap in (teacher, student)]
                if any(shape == "unknown" for shape in shapes):
                    return
                if None not in shapes:
                    loss.build(*shapes)
        self.built = True

    def __call__(self, teacher, student, batch, coefficients):
        """`{loss name: Term}` from the `Forward` of both sides."""
        terms, sample_weight = {}, one_weight_an_example(batch.sample_weight)
        if batch.temperature is not None:
            self._check_some_take_temperatures()
        rows = zip(self._taps(), self.names, coefficients, strict=True)
        for (loss, teacher_tap, student_tap), name, coefficient in rows:
            sides = [
                forward.outputs if tap is None else _feature(forward, tap, path)
                for forward, tap, path in (
                    (teacher, teacher_tap, loss.teacher_layer_name),
                    (student, student_tap, loss.student_layer_name),
                )
            ]
            values, mask = _values(loss, *sides, batch.temperature)
            if sample_weight is not None and getattr(loss, "is_scalar", False):
                raise ValueError(
                    f"Loss {name!r} gives one scalar a batch, so sample weights cannot "
                    "reach it. Return one value an example, shape (batch,), from its "
                    "`compute_loss`."
                )
            terms[name] = make_term(values, coefficient, sample_weight, mask)
        return terms

    def _check_some_take_temperatures(self):
        if not any(_takes_temperature(loss) for loss in self.losses):
            raise ValueError(
                "The batch brings a temperature for each example, but none of the "
                f"losses {self.names} takes one. Add a loss such as keras_kd.losses."
                "KnowledgeDistillation, or leave 'temperature' out of the batches."
            )

    def _taps(self):
        rows = zip(self.losses, self._teacher_taps, self._student_taps, strict=True)
        return list(rows)


def _takes_temperature(loss):
    return getattr(loss, "takes_temperature", False)


def _values(loss, teacher, student, temperature=None):
    """Values of a loss and the mask that goes with them."""
    if getattr(loss, "takes_structures", False):
        return ops.cast(loss.call(teacher, student), "float32"), None
    if not keras.tree.is_nested(student):
        teacher = keras.tree.flatten(teacher)[0]
        values = _call(loss, teacher, student, temperature)
        return values, combined_mask(teacher, student)
    # Several outputs: their values are summed, example by example.
    keras.tree.assert_same_structure(teacher, student)
    pairs = zip(keras.tree.flatten(teacher), keras.tree.flatten(student), strict=True)
    values = [mean_over_positions(_call(loss, t, s, temperature)) for t, s in pairs]
    return sum(values), None


def _call(loss, teacher, student, temperature):
    loss.build(tuple(teacher.shape), tuple(student.shape))  # once: then it is there
    if temperature is None or not _takes_temperature(loss):
        return ops.cast(loss.call(teacher, student), "float32")
    values = loss.call(teacher, student, temperature=temperature)
    return ops.cast(values, "float32")


def _feature(forward, tap, path):
    return as_float32(output_of(forward.features, tap[1], path))


def _find_in_members(members, path):
    """`(member, layer)` of a path; with several members the first part names one."""
    if not path:
        return None
    if not members:
        raise ValueError(
            f"Layer {path!r} of the teacher cannot be compared: `teacher=None` brings "
            "stored logits, which have no features. Pass the teacher itself."
        )
    if len(members) == 1:
        return members[0], find_layer(members[0], path, "teacher")
    head, _, rest = path.partition(".")
    named = [m for i, m in enumerate(members) if head in (str(i), m.name)]
    if len(named) != 1 or not rest:
        raise ValueError(
            f"The teacher has {len(members)} members: say which one's layer is meant, "
            f"as '0.{path}' or 'NAME.{path}', with NAME one of "
            f"{[m.name for m in members]}. Received: {path!r}."
        )
    return named[0], find_layer(named[0], rest, "teacher")


def _tap_shape(tap):
    """Static shape of a tapped layer; None for a model's output, or 'unknown'."""
    if tap is None:
        return None
    model, layer = tap
    spec = input_spec(model) if model.built else None
    if spec is None:
        return "unknown"

    def tapped(inputs):
        with record_outputs([layer]) as record:
            model(inputs, training=False)
        return output_of(record, layer, layer.name)

    return tuple(trace(model, tapped, spec).shape)
