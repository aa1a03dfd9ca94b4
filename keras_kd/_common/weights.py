"""Weights of examples: sample weights, masks and missing labels as one factor."""

import math
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from keras_kd._common.checks import check_number
from keras_kd._common.numerics import at_least_float32


class Term(NamedTuple):
    """One loss term of a batch, before any reduction."""

    values: Any  # (batch, ...): one value an example, or a position
    weight: Any  # same shape: 0 where it does not count
    size: Any  # scalar: how many values are not masked
    coefficient: Any  # scalar factor of the term in the objective


def make_term(values, coefficient, sample_weight=None, mask=None, labelled=None):
    """Bring weights to the shape of `values`; masked values leave the size too."""
    weight = ops.ones_like(values)
    if mask is not None and len(mask.shape) <= len(values.shape):
        weight = broadcast_weight(mask, values)
    size = ops.sum(weight)
    for factor in (sample_weight, labelled):
        if factor is not None:
            weight = weight * broadcast_weight(factor, values)
    return Term(values, weight, size, coefficient)


def weighted_sum(term):
    return ops.sum(weighted(term.values, term.weight))


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


def broadcast_weight(sample_weight, values):
    """Weights of shape (batch,), (batch, 1) or more, one for each of the values."""
    weight = ops.cast(sample_weight, values.dtype)
    while len(weight.shape) > len(values.shape) and weight.shape[-1] == 1:
        weight = ops.squeeze(weight, axis=-1)
    if len(weight.shape) > len(values.shape):
        raise ValueError(
            "`sample_weight` has more axes than there are values to weight. Received: "
            f"weights of shape {tuple(weight.shape)} for values of shape "
            f"{tuple(values.shape)}. Give one weight an example: shape (batch,)."
        )
    while len(weight.shape) < len(values.shape):
        weight = ops.expand_dims(weight, axis=-1)
    return ops.broadcast_to(weight, ops.shape(values))


def mean_over_positions(values):
    """(batch, ...) -> (batch,)."""
    axes = tuple(range(1, len(values.shape)))
    return ops.mean(values, axis=axes) if axes else values


def combined_mask(*tensors):
    """The AND of the Keras masks that these tensors carry, or None."""
    masks = [getattr(t, "_keras_mask", None) for t in tensors]
    masks = [ops.cast(m, "bool") for m in masks if m is not None]
    if not masks:
        return None
    mask = masks[0]
    for other in masks[1:]:
        mask = ops.logical_and(mask, other)
    return mask


def unmasked_weight(sample_weight, *logits):
    """Weight of each position: 0 where a Keras mask that the logits carry says so."""
    mask = combined_mask(*logits)
    if mask is None or len(mask.shape) >= len(logits[0].shape):
        return sample_weight
    return position_weight(sample_weight, mask, *at_least_float32(logits[0]))


def shares(weights, count, of):
    """One number >= 0 for each `of` something, divided by their sum; None is equal."""
    if weights is None:
        return [1.0 / count] * count
    if np.ndim(weights) != 1 or len(weights) != count:
        raise ValueError(
            f"`weights` must hold one number a {of} ({count}). Received: "
            f"weights={weights!r}."
        )
    weights = [check_number("weights", w, at_least=0) for w in weights]
    total = math.fsum(weights)
    if total == 0:
        raise ValueError(f"`weights` must not all be 0. Received: weights={weights!r}.")
    return [w / total for w in weights]


def position_weight(sample_weight, mask, logits):
    """Weight of each position of `logits`, None where all count alike."""
    if mask is None:
        return sample_weight
    mask = broadcast_weight(mask, logits[..., 0])
    if sample_weight is None:
        return mask
    return mask * broadcast_weight(sample_weight, mask)
