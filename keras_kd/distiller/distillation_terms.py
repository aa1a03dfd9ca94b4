"""Distillation losses on the outputs and features of one forward pass of each model."""

from typing import Any, NamedTuple

import keras
from keras import ops

from keras_kd._common.calls import as_float32, input_spec, trace
from keras_kd._common.examples import (
    Examples,
    Values,
    combined_mask,
    counted_only,
    weigh,
)
from keras_kd._common.taps import find_layer, outputs_of, record_outputs
from keras_kd.distiller.distribution import gather_rows, own_rows
from keras_kd.distiller.new_variables import made_outside
from keras_kd.distiller.objective import Term
from keras_kd.losses.keras_distillation import KerasLoss


class Forward(NamedTuple):
    """What one forward pass of a side gave."""

    outputs: dict  # {name: tensor}, float32 at least
    structure: Any  # the same as the model gives them
    features: dict  # id(layer) -> outputs of a tapped layer, one a call
    members: Any = None  # of an ensemble, where a loss takes them: one dict each
    member_weights: Any = None
    is_stored: bool = False  # answers of the batch, in place of a live teacher's


class DistillationTerms:
    """Evaluates each loss on what it compares: predictive logits or tapped layers.

    What is trained with the student is made here, for this distiller alone, so that a
    loss object can serve several.
    """

    def __init__(self, losses, outputs, members, student):
        """`outputs`: for each loss the name of the one it compares, None for all."""
        self.losses = losses
        self.outputs = outputs
        self.names = unique_names(losses, outputs)
        self.layers = [None] * len(losses)  # lists, once the shapes are known
        self.num_layers = 0
        self.taken = frozenset().union(*(loss.takes for loss in losses))
        self.take_labels = "labels" in self.taken
        teacher = [
            _find_in_members(members, loss.teacher_layer_name) for loss in losses
        ]
        ours = [
            loss.student_layer_name
            and (student, find_layer(student, loss.student_layer_name, "student"))
            for loss in losses
        ]
        self._taps = list(zip(teacher, ours, strict=True))
        self.teacher_layers = [tap[1] for tap in teacher if tap]
        self.student_layers = [tap[1] for tap in ours if tap]

    @property
    def built(self):
        """Whether all layers are there that train with the student."""
        rows = zip(self.losses, self.layers, strict=True)
        needed = [made for loss, made in rows if "layers" in loss.takes]
        return None not in needed

    @property
    def layers_by_loss(self):
        """`{loss name: layers}` of the losses that train some."""
        rows = zip(self.names, self.layers, strict=True)
        return {name: list(layers) for name, layers in rows if layers}

    @property
    def trained_layers(self):
        """Those made so far: projectors, regressors."""
        return [layer for layers in self.layers for layer in layers or ()]

    def num_parts(self, names):
        """`{loss: number of outputs that it compares}` of a student's outputs."""
        counts = {}
        for name, loss, output, taps in zip(
            self.names, self.losses, self.outputs, self._taps, strict=True
        ):
            whole = isinstance(loss, KerasLoss) or any(taps) or output is not None
            counts[name] = 1 if whole else len(names)
        return counts

    def compared(self, names):
        """`[(loss name, output, what it compares)]` of losses on predictions."""
        return [row for row in self.on_outputs(names) if row[-1] != "features"]

    def on_outputs(self, names):
        """The same of all losses that compare outputs with outputs."""
        rows = zip(self.names, self.losses, self.outputs, self._taps, strict=True)
        return [
            (name, output, loss.compares)
            for name, loss, given, taps in rows
            if not any(taps)
            for output in (names if given is None else [given])
        ]

    def build(self):
        """Make the layers from the specifications of built models.

        Where a model does not say what inputs it takes, the first batch tells.
        """
        for i, (loss, taps) in enumerate(zip(self.losses, self._taps, strict=True)):
            if self.layers[i] is None and any(taps):
                paths = loss.teacher_layer_name, loss.student_layer_name
                shapes = list(map(_tap_shape, taps, paths))
                if any(shape == "unknown" for shape in shapes):
                    return
                if None not in shapes:
                    self._make_layers(i, *shapes)

    def _make_layers(self, i, teacher_shape, student_shape):
        """What a loss trains with the student; checks the shapes too."""
        loss, shapes = self.losses[i], (tuple(teacher_shape), tuple(student_shape))
        with made_outside():  # a layer that is copied is read outside of the graph
            if "layers" in loss.takes:
                loss.build(*shapes)  # a copy of this distiller's own
                layers = loss.trainable_layers
            else:
                layers = loss.make_layers(*shapes)
        self.layers[i] = layers
        self.num_layers += len(layers)

    def __call__(self, step, coefficients):
        """`{loss name: Term}` from the examples and forward passes of a step."""
        terms, examples = {}, step.examples
        rows = zip(self.losses, self.outputs, self._taps, strict=True)
        for i, (loss, output, taps) in enumerate(rows):
            if isinstance(loss, KerasLoss):
                parts = [_of_structures(loss, taps, step)]
            elif taps[0] or taps[1]:
                sides = _calls(loss, taps, _lone(examples, output), step)
                parts = [self._of_features(i, loss, sides, examples)]
            else:
                compared = examples.values() if output is None else [examples[output]]
                parts = [self._of_examples(i, loss, one) for one in compared]
            terms[self.names[i]] = Term(parts, coefficients[i])
        return terms

    def _of_examples(self, i, loss, examples):
        """`Values` of a loss on what both sides say of one output or layer."""
        counts = examples.sample_weight, examples.mask
        if loss.keeps_rows_apart:
            counts = ()
        ours = examples.members if "members" in loss.takes else examples.teacher
        ours = keras.tree.map_structure(lambda t: counted_only(t, *counts), ours)
        student = counted_only(examples.student, *counts)
        first = keras.tree.flatten(ours)[0]
        if self.layers[i] is None:
            self._make_layers(i, first.shape, student.shape)
        options = {
            "labels": examples.class_labels if "labels" in loss.takes else None,
            "mask": examples.mask,
            "temperature": examples.temperature,
        }
        rows = {k: v for k, v in options.items() if v is not None and k in loss.takes}
        fixed = {"weights": examples.member_weights} if "members" in loss.takes else {}
        if "layers" in loss.takes:
            fixed["layers"] = self.layers[i]
        if loss.couples_batch and loss.batch == "global":
            values = _among_all(loss, ours, student, rows, fixed)
        else:
            values = loss.call(ours, student, **rows, **fixed)
        if len(values.shape) == 0:
            values = _of_a_scalar(values, self.names[i], student, examples)
        return weigh(ops.cast(values, "float32"), examples)

    def _of_features(self, i, loss, calls, examples):
        """Of all calls of the layers that a loss names, as of so many more examples."""
        if len(calls[0]) != len(calls[1]):
            raise ValueError(
                f"Loss {self.names[i]!r} compares layers call by call: the teacher's "
                f"{loss.teacher_layer_name!r} is called {len(calls[0])} times in a "
                f"forward pass, the student's {loss.student_layer_name!r} "
                f"{len(calls[1])} times. Tap layers that are called alike."
            )
        whole = _whole_examples(examples)
        found = [
            self._of_examples(
                i, loss, whole._replace(teacher=t, student=s, mask=combined_mask(t, s))
            )
            for t, s in zip(*calls, strict=True)
        ]
        return found[0] if len(found) == 1 else _together(found)


def _together(found):
    """`Values` of all of these, each with its own weights."""
    return Values(
        values=ops.concatenate([ops.reshape(one.values, [-1]) for one in found]),
        weight=ops.concatenate([ops.reshape(one.weight, [-1]) for one in found]),
        size=sum(one.size for one in found),
    )


def _of_structures(loss, taps, step):
    """`Values` of a loss of keras.distillation, which takes whole outputs."""
    structures = step.teacher.structure, step.student.structure
    whole, mask = _whole_examples(step.examples), None
    if any(taps):
        outputs = whole._replace(teacher=structures[0], student=structures[1])
        sides = [calls[-1] for calls in _calls(loss, taps, outputs, step)]
    else:
        sides = [_in_place(step.examples, structures[1]), structures[1]]
        mask = whole.mask
    counts = whole.sample_weight, mask
    sides = keras.tree.map_structure(lambda t: counted_only(t, *counts), sides)
    values = loss.call(*sides)
    if len(values.shape) == 0:
        first = keras.tree.flatten(sides[1])[0]
        values = _of_a_scalar(values, loss.name, first, whole)
    return weigh(ops.cast(values, "float32"), whole._replace(mask=None))


def _among_all(loss, teacher, student, rows, fixed):
    """Values of a loss that compares the examples of all replicas with one another."""
    own = ops.shape(student)[0]
    teacher, student, rows = gather_rows((teacher, student, rows))
    return own_rows(loss.call(teacher, student, **rows, **fixed), own)


def _of_a_scalar(value, name, student, examples):
    if examples.sample_weight is not None:
        raise ValueError(
            f"Loss {name!r} gives one scalar a batch, so sample weights cannot reach "
            "it. Return one value an example, shape (batch,)."
        )
    return ops.broadcast_to(value, ops.shape(student)[:1])


def _whole_examples(examples):
    """`Examples` of what spans all outputs: labels where there is one, one weight."""
    first = next(iter(examples.values()))
    weight = first.sample_weight
    if len(examples) == 1:
        return first._replace(members=None)
    weight = _one_weight_an_example([one.sample_weight for one in examples.values()])
    return Examples(None, None, sample_weight=weight, temperature=first.temperature)


def _one_weight_an_example(sample_weight):
    """The weights that all distillation losses share: their mean over the outputs.

    Keras hands one array of weights to each output of a model.
    """
    given = [w for w in keras.tree.flatten(sample_weight) if w is not None]
    if len({len(weight.shape) for weight in given}) > 1:
        raise ValueError(
            "Distillation losses weight examples, so the weights of all outputs must "
            f"have one shape. Received: {[tuple(w.shape) for w in given]}. Give one "
            "`sample_weight` of shape (batch,)."
        )
    if len(given) < 2:
        return given[0] if given else None
    return sum(ops.cast(weight, "float32") for weight in given) / len(given)


def _in_place(examples, structure):
    """The teacher's outputs in the structure of the student's."""
    if not keras.tree.is_nested(structure):
        (only,) = examples.values()
        return only.teacher
    if isinstance(structure, dict):
        return {name: examples[name].teacher for name in structure}
    return type(structure)(one.teacher for one in examples.values())


def _lone(examples, output):
    """`Examples` of the output that a loss compares with a layer."""
    if output is None and len(examples) > 1:
        return None
    return examples[output] if output is not None else next(iter(examples.values()))


def _calls(loss, taps, output, step):
    """For each side, what a loss compares of each call; an output is called once."""
    rows = (
        ("teacher", step.teacher, taps[0], loss.teacher_layer_name),
        ("student", step.student, taps[1], loss.student_layer_name),
    )
    calls = []
    for side, forward, tap, path in rows:
        if tap:
            calls.append(as_float32(outputs_of(forward.features, tap[1], path)))
        elif output is None:
            raise ValueError(
                f"Loss {loss.name!r} compares a layer with the {side}'s output, of "
                f"which there are {list(forward.outputs)}. Say which one: "
                "`distillation_losses={output: loss}`."
            )
        else:
            calls.append([getattr(output, side)])
    return calls


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


def _tap_shape(tap, path):
    """Static shape of a tapped layer; None for a model's output, or 'unknown'."""
    if not tap:
        return None
    model, layer = tap
    spec = input_spec(model) if model.built else None
    if spec is None:
        return "unknown"

    def tapped(inputs):
        with record_outputs([layer]) as record:
            model(inputs, training=False)
        return outputs_of(record, layer, path)[0]

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
