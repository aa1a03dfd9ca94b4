"""The label loss of each output, one value an example, as the objective needs it.

Keras's own container reduces each loss at once, by a rule that depends on the type of
the loss; here the step reduces, over the global batch. What a loss gets, and what it
takes for missing, is what plain Keras gives it and says.
"""

import keras
import tensorflow as tf
from keras import ops

from keras_kd._common.examples import Examples, combined_mask, counted_only, weigh
from keras_kd._common.labels import (
    CLASS_INDICES,
    in_range,
    labelled_by,
    meaning_of,
    readable,
)
from keras_kd._common.outputs import match_to_outputs
from keras_kd.distiller.objective import Term

_MEANS = ("sum_over_batch_size", "mean", "none", None)


class LabelLoss:
    """Losses and their factors as `compile` got them, matched to outputs by name."""

    def __init__(self, loss, loss_weights=None):
        self._loss = keras.tree.map_structure(_resolve, loss)
        self._loss_weights = loss_weights
        self._matched = {}

    @property
    def ignore_class(self):
        """That of the loss, where there is one loss; else None."""
        losses = keras.tree.flatten(self._loss)
        return meaning_of(losses[0]).ignore_class if len(losses) == 1 else None

    def by_output(self, names):
        """`{output name: loss}`; None where an output has no loss."""
        return self._match(tuple(names))[0]

    def meanings(self, names):
        """`{output name: Meaning}` of the labels."""
        names = tuple(names)
        return (self._matched.get(names) or self._match(names))[1]

    def outputs_with_loss(self, names):
        return [name for name, loss in self.by_output(names).items() if loss]

    def terms(self, examples):
        """`{output name: Term}` for the outputs that have a loss, from `Examples`."""
        names = tuple(examples)
        losses, meanings, factors = self._matched.get(names) or self._match(names)
        absent = [n for n, x in examples.items() if losses[n] and x.labels is None]
        if absent:
            raise ValueError(f"`y` has no labels for the outputs {absent}.")
        terms = {}
        for name, one in examples.items():
            if losses[name]:
                values = label_values(losses[name], meanings[name], one)
                terms[name] = Term([values], factors[name])
        return terms

    def values(self, labels, outputs):
        """`Values` of one output on its labels."""
        labels = ops.convert_to_tensor(labels)
        meaning = self.meanings(["output"])["output"]
        labelled = labelled_by(meaning, labels)
        examples = Examples(None, outputs, labels, labelled=labelled)
        return label_values(self.by_output(["output"])["output"], meaning, examples)

    def _match(self, names):
        if names not in self._matched:
            losses = match_to_outputs("loss", self._loss, names, shared=True)
            factors = match_to_outputs(
                "loss_weights", self._loss_weights, names, shared=len(names) == 1
            )
            factors = {n: 1.0 if f is None else f for n, f in factors.items()}
            meanings = {n: meaning_of(loss) for n, loss in losses.items()}
            self._matched[names] = losses, meanings, factors
        return self._matched[names]


def label_values(loss, meaning, examples):
    """`Values` of a label loss, one an example or position that has a label."""
    mask = combined_mask(examples.student)
    counts = examples.sample_weight, examples.labelled, mask
    labels, outputs = examples.labels, counted_only(examples.student, *counts)
    if meaning.kind == CLASS_INDICES:
        labels = readable(labels, examples.labelled, examples.sample_weight, mask)
        labels = in_range(labels, outputs.shape[-1])
    else:
        labels = counted_only(labels, *counts)
    values = _values(loss, labels, outputs, examples.sample_weight)
    if getattr(values, "_keras_mask", None) is not None:
        mask = combined_mask(examples.student, values)
    values = ops.cast(values, "float32")
    if len(values.shape) == 0:
        return _of_a_scalar(values, loss, examples)
    return weigh(values, examples._replace(mask=mask), of_labels=True)


_SMALL = ("int8", "uint8", "int16", "uint16")  # 2 * y - 1 of such is no such number


def _values(loss, labels, outputs, sample_weight):
    """What a loss says of each example; a scalar where it says no more."""
    if keras.backend.standardize_dtype(labels.dtype) in _SMALL:
        labels = ops.cast(labels, "int32")
    function = loss
    if not isinstance(loss, keras.losses.Loss):
        labels, outputs = _at_one_rank(labels, outputs)
    elif type(loss).__call__ is keras.losses.Loss.__call__:
        function = loss.call
    elif sample_weight is not None:  # a `__call__` of its own, which weighs itself
        return loss(labels, outputs, sample_weight)
    try:
        return function(labels, outputs)
    except (TypeError, ValueError, tf.errors.InvalidArgumentError):
        if "float" in keras.backend.standardize_dtype(labels.dtype):
            raise
        # Keras itself hands labels on as floats; a loss of one's own may count on it.
        return function(ops.cast(labels, outputs.dtype), outputs)


def _at_one_rank(labels, outputs):
    """What Keras gives a plain function: a last axis of 1 comes or goes."""
    of_labels, of_outputs = len(labels.shape), len(outputs.shape)
    if of_labels == of_outputs + 1 and labels.shape[-1] == 1:
        if of_outputs == 1:
            return labels, outputs[:, None]
        return labels[..., 0], outputs
    if of_outputs == of_labels + 1 and outputs.shape[-1] == 1:
        if of_labels == 1:
            return labels[:, None], outputs
        return labels, outputs[..., 0]
    return labels, outputs


def _of_a_scalar(value, loss, examples):
    """`Values` of a loss that has reduced its batch already."""
    own_call = isinstance(loss, keras.losses.Loss) and (
        type(loss).__call__ is not keras.losses.Loss.__call__
    )
    if examples.sample_weight is not None and not own_call:
        raise ValueError(
            f"The label loss {_name(loss)!r} gives one scalar a batch, so sample "
            "weights cannot reach it. Return one value an example, shape (batch,)."
        )
    first = (
        examples.student[..., 0]
        if len(examples.student.shape) > 1
        else (examples.student)
    )
    values = ops.broadcast_to(value, ops.shape(first)[:1])
    return weigh(values, examples._replace(sample_weight=None, mask=None))


def _name(loss):
    return getattr(loss, "name", None) or getattr(loss, "__name__", str(loss))


def _resolve(loss):
    if loss is None:
        return None
    if isinstance(loss, str) and loss.lower() in ("crossentropy", "ce"):
        loss = keras.losses.CategoricalCrossentropy()  # refused below: probabilities
    loss = keras.losses.get(loss)
    if getattr(loss, "reduction", None) not in _MEANS:
        raise ValueError(
            f"`loss` has reduction={loss.reduction!r}; the distiller divides by the "
            "examples of the global batch itself. Use the default reduction, "
            "'sum_over_batch_size'."
        )
    return loss


_CROSS_ENTROPIES = {
    "binary_crossentropy": "BinaryCrossentropy",
    "categorical_crossentropy": "CategoricalCrossentropy",
    "sparse_categorical_crossentropy": "SparseCategoricalCrossentropy",
    "binary_focal_crossentropy": "BinaryFocalCrossentropy",
    "categorical_focal_crossentropy": "CategoricalFocalCrossentropy",
}


def check_takes_logits(loss, gives_probabilities=False):
    """Raise for a cross-entropy that would take logits as probabilities.

    `gives_probabilities`: of the outputs together, or `{output: bool}`.
    """
    if isinstance(loss, dict) and isinstance(gives_probabilities, dict):
        for name, one in loss.items():
            check_takes_logits(one, gives_probabilities.get(name, False))
        return
    if gives_probabilities is True:
        return
    for leaf in keras.tree.flatten(loss):
        name = _takes_probabilities(leaf)
        if name is not None:
            raise ValueError(
                f"The label loss {name} expects probabilities, but the student gives "
                "logits: it would train on clipped numbers. Pass "
                f"`loss=keras.losses.{name}(from_logits=True)`."
            )


def _takes_probabilities(loss):
    """Class name of a cross-entropy with `from_logits=False`, else None."""
    if isinstance(loss, str):
        loss = "categorical_crossentropy" if loss in ("crossentropy", "ce") else loss
        loss = keras.losses.get(loss)
    if isinstance(loss, keras.losses.Loss):
        name = type(loss).__name__
        known = name in _CROSS_ENTROPIES.values()
        return name if known and not loss.get_config()["from_logits"] else None
    return _CROSS_ENTROPIES.get(getattr(loss, "__name__", None))
