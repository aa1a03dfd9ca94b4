"""Weights of examples: sample weights, masks and missing labels as one factor."""

import keras
from keras import ops

from keras_kd._common.examples import broadcast_weight, combined_mask
from keras_kd._common.numerics import at_least_float32


def weighted(values, weight):
    """values * weight, where a weight of 0 removes even an infinite or NaN value."""
    return ops.where(weight == 0, ops.zeros_like(values), values) * weight


def one_weight_an_example(sample_weight):
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


def mean_over_positions(values):
    """(batch, ...) -> (batch,)."""
    axes = tuple(range(1, len(values.shape)))
    return ops.mean(values, axis=axes) if axes else values


def unmasked_weight(sample_weight, *logits):
    """Weight of each position: 0 where a Keras mask that the logits carry says so."""
    mask = combined_mask(*logits)
    if mask is None or len(mask.shape) >= len(logits[0].shape):
        return sample_weight
    return position_weight(sample_weight, mask, *at_least_float32(logits[0]))


def position_weight(sample_weight, mask, logits):
    """Weight of each position of `logits`, None where all count alike."""
    if mask is None:
        return sample_weight
    mask = broadcast_weight(mask, logits[..., 0])
    if sample_weight is None:
        return mask
    return mask * broadcast_weight(sample_weight, mask)
