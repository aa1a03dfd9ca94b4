"""Distillation losses on the outputs and features of one forward pass of each model."""

from typing import Any, NamedTuple

import keras
from keras import ops

from keras_kd._common.inputs import input_spec, trace
from keras_kd._common.loss_call import call_loss, takes
from keras_kd._common.outputs import (
    as_float32,
    match_to_outputs,
    named_outputs,
    symbolic_outputs,
)
from keras_kd._common.taps import find_layer, output_of, record_outputs
from keras_kd._common.weights import (
    make_term,
    mean_over_positions,
    one_weight_an_example,
)


class Forward(NamedTuple):
    """What one forward pass of a side gave."""

    outputs: Any  # structure of logits, float32 at least
    features: dict  # id(layer) -> output of a tapped layer
    members: Any = None  # of an ensemble, where a loss takes them: one structure each
    member_weights: Any = None


class DistillationTerms:
    """Evaluates each loss on what it compares: predictive logits or tapped layers."""

    def __init__(self, losses, outputs, members, student):
        """`outputs`: for each loss the name of the one it compares, None for all."""
        self.losses = losses
        self.names = unique_names(losses, outputs)
        self.built = False  # whether all projectors are there
        self._outputs = outputs
        self._student = student
        self._teacher_taps = [
            _find_in_members(members, loss.teacher_layer_name) for loss in losses
        ]
        self._student_taps = [
            loss.student_layer_name
            and (student, find_layer(student, loss.student_layer_name, "student"))
            for loss in losses
        ]
        known = symbolic_outputs(student)
        if known is not None:
            self._check_outputs(named_outputs(student, known))

    @property
    def takes_members(self):
        return any(takes(loss, "members") for loss in self.losses)

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
        labels = self._labels_by_output(batch.labels, student.outputs)
        rows = zip(self._taps(), self._outputs, self.names, coefficients, strict=True)
        for (loss, *taps), output, name, coefficient in rows:
            sides = self._compared(loss, taps, output, teacher, student)
            values, mask = _values(
                loss,
                *sides,
                labels=labels if output is None else {output: labels.get(output)},
                temperature=batch.temperature,
                member_weights=teacher.member_weights,
            )
            is_scalar = len(values.shape) == 0
            if is_scalar:
                first = keras.tree.flatten(student.outputs)[0]
                values = ops.broadcast_to(values, ops.shape(first)[:1])
            if sample_weight is not None and is_scalar:
                raise ValueError(
                    f"Loss {name!r} gives one scalar a batch, so sample weights cannot "
                    "reach it. Return one value an example, shape (batch,), from its "
                    "`compute_loss`."
                )
            terms[name] = make_term(values, coefficient, sample_weight, mask)
        return terms

    def _compared(self, loss, taps, output, teacher, student):
        """What the loss compares of each side: tapped features, or outputs."""
        teacher_tap, student_tap = taps
        if teacher_tap:
            ours = _feature(teacher, teacher_tap, loss.teacher_layer_name)
        elif takes(loss, "members"):
            ours = [self._output(outputs, output) for outputs in teacher.members]
        else:
            ours = self._output(teacher.outputs, output)
        if student_tap:
            return ours, _feature(student, student_tap, loss.student_layer_name)
        return ours, self._output(student.outputs, output)

    def _output(self, outputs, name):
        """One output by name, or all of them."""
        if name is None:
            return outputs
        outputs = named_outputs(self._student, outputs)
        self._check_outputs(outputs)
        return outputs[name]

    def _check_outputs(self, known):
        wanted = dict.fromkeys(name for name in self._outputs if name is not None)
        match_to_outputs("distillation_losses", wanted, list(known), shared=False)

    def _labels_by_output(self, labels, outputs):
        names = list(named_outputs(self._student, outputs))
        if labels is None or not any(takes(loss, "labels") for loss in self.losses):
            return dict.fromkeys(names)
        return match_to_outputs("y", labels, names, shared=False)

    def _check_some_take_temperatures(self):
        if not any(takes(loss, "temperature") for loss in self.losses):
            raise ValueError(
                "The batch brings a temperature for each example, but none of the "
                f"losses {self.names} takes one. Add a loss such as keras_kd.losses."
                "KnowledgeDistillation, or leave 'temperature' out of the batches."
            )

    def _taps(self):
        rows = zip(self.losses, self._teacher_taps, self._student_taps, strict=True)
        return list(rows)


def _values(loss, teacher, student, *, labels, **options):
    """Values of a loss and the mask that goes with them; `labels` by output."""
    if getattr(loss, "takes_structures", False):
        return ops.cast(loss.call(teacher, student), "float32"), None
    columns = _leaves(teacher, student, of_members=takes(loss, "members"))
    if not keras.tree.is_nested(student):
        (label,) = labels.values() if len(labels) == 1 else (None,)
        return call_loss(loss, columns[0], student, labels=label, **options)
    # Several outputs: their values are summed, example by example.
    if isinstance(student, dict):
        labels = {name: labels.get(name) for name in sorted(student)}  # as flattened
    students = keras.tree.flatten(student)
    known = labels.values() if len(labels) == len(students) else [None] * len(students)
    rows = zip(columns, students, known, strict=True)
    values = [call_loss(loss, t, s, labels=y, **options)[0] for t, s, y in rows]
    return sum(map(mean_over_positions, values)), None


def _leaves(teacher, student, *, of_members):
    """The teacher's tensor for each output; a list of them where members are apart."""
    sides = teacher if of_members else [teacher]
    if keras.tree.is_nested(student):
        for side in sides:
            keras.tree.assert_same_structure(side, student)
    columns = zip(*map(keras.tree.flatten, sides), strict=True)
    return [list(column) if of_members else column[0] for column in columns]


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


def unique_names(losses, outputs):
    """Names for the logs, with that of the output; a repeated one gets a number."""
    names = []
    for loss, output in zip(losses, outputs, strict=True):
        first = loss.name if output is None else f"{output}_{loss.name}"
        name, i = first, 2
        while name in names:
            name, i = f"{first}_{i}", i + 1
        names.append(name)
    return names
