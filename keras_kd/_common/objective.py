"""From loss terms to the number that is differentiated."""

from keras import ops

from keras_kd._common.distribution import global_sum, num_replicas
from keras_kd._common.weights import weighted_sum


def local_objective(
    label_terms, distillation_terms, student_loss_weight, extra_losses, num_examples
):
    """This replica's share of the objective, and the examples of the global batch.

    Each term is its weighted sum here over its size on all replicas, so the shares add
    up to the objective of the global batch however unevenly it is cut.
    """
    terms = [*label_terms, *distillation_terms]
    sizes = ops.stack(
        [ops.cast(size, "float32") for size in [*(t.size for t in terms), num_examples]]
    )
    sizes = ops.unstack(global_sum(sizes), num=len(terms) + 1)
    shares = [
        ops.cast(term.coefficient, "float32")
        * ops.divide_no_nan(ops.cast(weighted_sum(term), "float32"), size)
        for term, size in zip(terms, sizes[:-1], strict=True)
    ]
    extra = sum(ops.cast(loss, "float32") for loss in extra_losses)
    label_loss = sum(shares[: len(label_terms)])
    distillation_loss = sum(shares[len(label_terms) :])
    objective = (
        student_loss_weight * label_loss
        + (1.0 - student_loss_weight) * distillation_loss
        + extra / num_replicas()  # regularisation is of weights, not of examples
    )
    return objective, sizes[-1]
