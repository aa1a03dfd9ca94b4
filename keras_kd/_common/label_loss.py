"""The label loss of each output, one value an example, as the objective needs it."""

import keras
from keras import ops

from keras_kd._common.labels import are_class_indices, in_range, labelled_rows
from keras_kd._common.outputs import match_to_outputs
from keras_kd._common.weights import combined_mask, make_term

_MEANS = ("sum_over_batch_size", "mean", "none", None)


class LabelLoss:
    """Losses of `compile(loss=...)` taken as per-example functions.

    Keras's own container reduces each of them at once, by a rule that depends on the
    type of the loss; here the step reduces, over the global batch.
    """

    def __init__(self, loss, loss_weights=None):
        self._loss = keras.tree.map_structure(_resolve, loss)
        self._loss_weights = loss_weights

    def terms(self, labels, outputs, sample_weight):
        """`{output name: Term}` for the outputs that have a loss."""
        names = list(outputs)
        losses = self.by_output(names)
        factors = match_to_outputs(
            "loss_weights", self._loss_weights, names, shared=len(names) == 1
        )
        labels = match_to_outputs("y", labels, names, shared=False)
        weights = match_to_outputs("sample_weight", sample_weight, names, shared=True)
        with_loss = self.outputs_with_loss(names)
        absent = [name for name in with_loss if labels[name] is None]
        if absent:
            raise ValueError(f"`y` has no labels for the outputs {absent}.")
        return {
            name: _term(
                losses[name], labels[name], outputs[name], weights[name], factors[name]
            )
            for name in with_loss
        }

    def by_output(self, names):
        """`{output name: loss}`; None where an output has no loss."""
        return match_to_outputs("loss", self._loss, names, shared=True)

    def outputs_with_loss(self, names):
        return [name for name, loss in self.by_output(names).items() if loss]


def labels_of_output(loss, labels, logits):
    """`(labels, labelled)` with missing labels found where the loss is over classes."""
    labels = ops.convert_to_tensor(labels)
    if logits.shape[-1] == 1 or not (
        are_class_indices(labels, logits) or _is_categorical(loss)
    ):
        return labels, None
    return labelled_rows(labels, logits)


def _term(loss, labels, logits, sample_weight, factor):
    labels, labelled = labels_of_output(loss, labels, logits)
    if labelled is not None and are_class_indices(labels, logits):
        labels = in_range(labels, logits.shape[-1])
    function = loss.call if isinstance(loss, keras.losses.Loss) else loss
    values = ops.cast(function(labels, logits), "float32")
    mask = combined_mask(logits, values)
    factor = 1.0 if factor is None else factor
    return make_term(values, factor, sample_weight, mask, labelled)


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


def _is_categorical(loss):
    name = getattr(loss, "__name__", None) or type(loss).__name__
    return loss is None or "categorical" in name.lower() or "kl" in name.lower()


_CROSS_ENTROPIES = {
    "binary_crossentropy": "BinaryCrossentropy",
    "categorical_crossentropy": "CategoricalCrossentropy",
    "sparse_categorical_crossentropy": "SparseCategoricalCrossentropy",
    "binary_focal_crossentropy": "BinaryFocalCrossentropy",
    "categorical_focal_crossentropy": "CategoricalFocalCrossentropy",
}


def check_takes_logits(loss):
    """Raise for a cross-entropy that would take logits as probabilities."""
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
