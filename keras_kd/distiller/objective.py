"""From loss terms to the number that is differentiated: a pure function."""

from typing import Any, NamedTuple

import keras
import tensorflow as tf
from keras import ops

from keras_kd._common.examples import weighted_sum
from keras_kd.distiller.distribution import global_sum


class Term(NamedTuple):
    """One loss of a batch before any reduction, and its factor in the objective."""

    parts: list  # of `Values`: one, or one an output that the loss compares
    coefficient: Any


class Objective(NamedTuple):
    """What a batch gives: the loss, and what it is made of."""

    loss: Any  # this replica's share; the shares add up to the objective
    num_examples: Any  # of this replica
    all_examples: Any  # of the global batch
    label_terms: dict  # {output: Term}
    distillation_terms: dict | None  # {loss name: Term}; None without a teacher
    parts: Any  # [(weighted sum, size, factor)] of this replica, label terms first
    of_parts: Any  # what they make of the loss


def objective(
    label_terms, distillation_terms, student_loss_weight, extra_losses, batch
):
    """w * labels + (1 - w) * distillation + extra losses, over the global batch.

    Each part of a term is its weighted sum here over its size on all replicas, so the
    shares add up to the objective however unevenly a batch is cut.
    """
    num_examples = ops.shape(keras.tree.flatten(batch.x)[0])[0]
    weights = [student_loss_weight, 1.0 - student_loss_weight]
    groups = [label_terms.values(), (distillation_terms or {}).values()]
    parts = [
        (
            ops.cast(weighted_sum(part), "float32"),
            ops.cast(part.size, "float32"),
            weight * term.coefficient,
        )
        for weight, terms in zip(weights, groups, strict=True)
        for term in terms
        for part in term.parts
    ]
    sizes = [size for _, size, _ in parts] + [ops.cast(num_examples, "float32")]
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    if replicas > 1:
        sizes = ops.unstack(global_sum(ops.stack(sizes)), num=len(sizes))
    of_parts = sum(
        factor * ops.divide_no_nan(total, size)
        for (total, _, factor), size in zip(parts, sizes[:-1], strict=True)
    )
    # Regularisation is of weights, not of examples.
    extra = sum(ops.cast(loss, "float32") for loss in extra_losses) / replicas
    return Objective(
        loss=of_parts + extra,
        num_examples=num_examples,
        all_examples=sizes[-1],
        label_terms=label_terms,
        distillation_terms=distillation_terms,
        parts=parts,
        of_parts=of_parts,
    )
