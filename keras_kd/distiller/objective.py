"""From loss terms to the number that is differentiated: a pure function."""

from typing import Any, NamedTuple

import tensorflow as tf
from keras import ops

from keras_kd._common.distribution import global_sum
from keras_kd._common.examples import weighted_sum


class Term(NamedTuple):
    """One loss of a batch before any reduction, and its factor in the objective."""

    parts: tuple  # of `Values`: one, or one an output that the loss compares
    coefficient: Any


class Objective(NamedTuple):
    """What a batch gives: the loss, and what it is made of."""

    loss: Any  # this replica's share; the shares add up to the objective
    num_examples: Any  # of this replica
    all_examples: Any  # of the global batch
    label_terms: dict  # {output: Term}
    distillation_terms: dict | None  # {loss name: Term}; None without a teacher


def objective(
    label_terms, distillation_terms, student_loss_weight, extra_losses, num_examples
):
    """w * labels + (1 - w) * distillation + extra losses, over the global batch.

    Each part of a term is its weighted sum here over its size on all replicas, so the
    shares add up to the objective however unevenly a batch is cut.
    """
    groups = [label_terms or {}, distillation_terms or {}]
    terms = [term for group in groups for term in group.values()]
    parts = [part for term in terms for part in term.parts]
    sizes = [ops.cast(n, "float32") for n in (*(p.size for p in parts), num_examples)]
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    if replicas > 1:
        sizes = ops.unstack(global_sum(ops.stack(sizes)), num=len(sizes))
    *sizes, all_examples = sizes
    shares = iter(
        [
            ops.divide_no_nan(ops.cast(weighted_sum(part), "float32"), size)
            for part, size in zip(parts, sizes, strict=True)
        ]
    )
    of_labels, of_teacher = (
        sum(
            term.coefficient * sum(next(shares) for _ in term.parts)
            for term in group.values()
        )
        for group in groups
    )
    extra = sum(ops.cast(loss, "float32") for loss in extra_losses)
    loss = (
        student_loss_weight * of_labels
        + (1.0 - student_loss_weight) * of_teacher
        + extra / replicas  # regularisation is of weights, not of examples
    )
    return Objective(
        loss, num_examples, all_examples, label_terms or {}, distillation_terms
    )
