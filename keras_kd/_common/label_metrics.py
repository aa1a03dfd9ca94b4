"""Compiled label metrics, over the rows that have a label."""

from keras_kd._common.label_loss import labels_of_output
from keras_kd._common.weights import broadcast_weight


def update_label_metrics(
    compiled, labels, outputs, sample_weight, outputs_by_name, label_loss
):
    """Feed Keras's container of compiled metrics.

    Its own `update_state` gives unweighted metrics no weights, so an example without a
    label would count as an error. Hence its two lists are read here: building them
    (names, "accuracy" by shape, nesting) stays Keras's.
    """
    losses = label_loss.by_output(list(outputs_by_name)) if label_loss else {}
    losses = {id(outputs_by_name[name]): loss for name, loss in losses.items()}
    if not compiled.built:
        compiled.build(labels, outputs)
    y_trues, y_preds = compiled._flatten_y(labels), compiled._flatten_y(outputs)
    weights = [None] if sample_weight is None else compiled._flatten_y(sample_weight)
    if len(weights) < len(y_preds):
        weights = weights[:1] * len(y_preds)
    for i, (y_true, y_pred) in enumerate(zip(y_trues, y_preds, strict=True)):
        y_true, labelled = labels_of_output(losses.get(id(y_pred)), y_true, y_pred)
        metrics = _of_output(compiled._flat_metrics, i)
        if metrics:
            metrics.update_state(y_true, y_pred, labelled)
        weighted_metrics = _of_output(compiled._flat_weighted_metrics, i)
        if weighted_metrics:
            weight = _labelled_weight(weights[i], labelled)
            weighted_metrics.update_state(y_true, y_pred, weight)


def _of_output(metrics, index):
    """Metrics of an output; Keras 3.12 leaves the list short where it got none."""
    return metrics[index] if index < len(metrics) else None


def _labelled_weight(weight, labelled):
    if weight is None or labelled is None:
        return labelled if weight is None else weight
    return broadcast_weight(weight, labelled) * labelled
