"""Compiled label metrics, over the rows that have a label."""

import keras
import tensorflow as tf
from keras import ops

from keras_kd._common.calls import as_float32
from keras_kd._common.examples import broadcast_weight, counted_only
from keras_kd._common.labels import (
    AS_GIVEN,
    CLASS_INDICES,
    Meaning,
    labelled_by,
    readable,
)
from keras_kd._common.outputs import match_to_outputs, named_outputs
from keras_kd.distiller.arguments import raise_unlabelled
from keras_kd.distiller.new_variables import made_outside

# Metrics that are over class indices whatever the loss, or without one.
_OVER_CLASS_INDICES = (
    keras.metrics.SparseCategoricalAccuracy,
    keras.metrics.SparseCategoricalCrossentropy,
    keras.metrics.SparseTopKCategoricalAccuracy,
)


def update_label_metrics(
    compiled, batch, student, structure, label_loss, *, filters_rows
):
    """Feed Keras's container of compiled metrics with labels as they were given.

    Its own `update_state` would count an example without a label as an error. Hence its
    two lists are read here: building them (names, "accuracy" by shape, nesting) stays
    Keras's. Rows without a label are left out, so that metrics without weights get
    none; where shapes must be static (XLA), such rows weigh 0 instead.

    Args:
        compiled: Keras's container.
        batch: Its labels and weights.
        student: The model.
        structure: What it gave.
        label_loss: `LabelLoss`, or None.
        filters_rows: Whether the step may leave out rows.
    """
    if batch.labels is None:
        raise_unlabelled()
    outputs = as_float32(structure)
    names = {id(t): name for name, t in named_outputs(student, outputs).items()}
    meanings = label_loss.meanings(list(names.values())) if label_loss else {}
    labels, unlabelled = _of_all_outputs(batch.labels, outputs, names)
    if not compiled.built:
        with made_outside():
            compiled.build(labels, outputs)
    y_trues, y_preds = compiled._flatten_y(labels), compiled._flatten_y(outputs)
    weights = match_to_outputs(
        "sample_weight", batch.sample_weight, list(names.values()), shared=True
    )
    update = _update_filtered if filters_rows else _update_weighed
    for i, (y_true, y_pred) in enumerate(zip(y_trues, y_preds, strict=True)):
        name = names[id(y_pred)]
        meaning, weight_of_output = meanings.get(name), weights[name]
        y_true = ops.convert_to_tensor(y_true)
        for metrics, weight in (
            (_of_output(compiled._flat_metrics, i), None),
            (_of_output(compiled._flat_weighted_metrics, i), weight_of_output),
        ):
            if metrics and name in unlabelled:
                raise ValueError(
                    f"`metrics` has some of the output {name!r}, of which "
                    "`y` brings no labels. Give them, or leave these metrics out."
                )
            sides = [counted_only(side, weight) for side in (y_true, y_pred)]
            for metric in metrics:
                of_metric = meaning or _meaning_for(metric)
                update(metric, of_metric, *sides, weight)


def _of_all_outputs(labels, outputs, names):
    """`(labels, outputs without any)`; Keras looks for each, also where none counts."""
    if not isinstance(labels, dict):
        return labels, ()
    tensors = {names[id(tensor)]: tensor for tensor in keras.tree.flatten(outputs)}
    unlabelled = [name for name in tensors if labels.get(name) is None]
    return {**labels, **{name: tensors[name] for name in unlabelled}}, unlabelled


def _of_output(metrics, index):
    """Metrics of an output; Keras 3.12 leaves the list short where it got none."""
    found = metrics[index] if index < len(metrics) else None
    return () if found is None else found.metrics


def _meaning_for(metric):
    """What labels mean where no loss says so: a metric over class indices does."""
    is_sparse = isinstance(metric, _OVER_CLASS_INDICES)
    return Meaning(CLASS_INDICES if is_sparse else AS_GIVEN)


def _update_filtered(metric, meaning, y_true, y_pred, weight):
    """Update a metric with the rows that have a label, as they were given."""
    labelled = labelled_by(meaning, y_true)
    if labelled is None:
        return metric.update_state(y_true, y_pred, sample_weight=weight)
    if len(labelled.shape) == len(y_pred.shape) and labelled.shape[-1] == 1:
        labelled = labelled[..., 0]
    if len(labelled.shape) != len(y_pred.shape) - 1:
        return _update_weighed(metric, meaning, y_true, y_pred, weight)
    by_example = len(labelled.shape) > 1 and not _reads_each_position(metric)
    if by_example:
        labelled = ops.max(labelled, axis=tuple(range(1, len(labelled.shape))))
    has_label = labelled > 0

    sides = [y_true, y_pred]
    if weight is not None:
        sides.append(weight if by_example else broadcast_weight(weight, labelled))

    # No branch for the case where all rows stay: it would hide the shapes.
    # `tf.boolean_mask` does the same by 25 operations a side.
    kept = tf.where(has_label)
    rows = [tf.gather_nd(side, kept) for side in sides]
    weight = None if weight is None else rows.pop()
    metric.update_state(*rows, sample_weight=weight)


def _reads_each_position(metric):
    """Whether a metric looks at positions one by one, as those of Keras do.

    One of the user's own may look at whole sequences: it gets them whole.
    """
    if type(metric) is keras.metrics.MeanMetricWrapper:
        return _is_known(metric._fn)
    generic = keras.metrics.Metric.__mro__ + (
        keras.metrics.Mean,
        keras.metrics.Sum,
        keras.metrics.MeanMetricWrapper,
    )
    return any(_is_known(c) for c in type(metric).__mro__ if c not in generic)


def _is_known(thing):
    return thing.__module__.partition(".")[0] in ("keras", "keras_kd")


def _update_weighed(metric, meaning, y_true, y_pred, weight):
    """The same in static shapes: a row without a label has weight 0."""
    labelled = labelled_by(meaning, y_true)
    if labelled is not None:
        if meaning.kind == CLASS_INDICES:
            y_true = readable(y_true, labelled)
        if weight is not None:
            labelled = labelled * broadcast_weight(weight, labelled)
        weight = labelled
    metric.update_state(y_true, y_pred, sample_weight=weight)
