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
    rows = zip(
        compiled._flat_metrics,
        compiled._flat_weighted_metrics,
        y_trues,
        y_preds,
        weights,
        strict=True,
    )
    for metrics, weighted_metrics, y_true, y_pred, weight in rows:
        y_true, labelled = labels_of_output(losses.get(id(y_pred)), y_true, y_pred)
        if metrics:
            metrics.update_state(y_true, y_pred, labelled)
        if weighted_metrics:
            if labelled is not None and weight is not None:
                weight = broadcast_weight(weight, labelled) * labelled
            elif weight is None:
                weight = labelled
            weighted_metrics.update_state(y_true, y_pred, weight)
