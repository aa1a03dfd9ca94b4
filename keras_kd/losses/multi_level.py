"""Multi-level logit distillation: examples, pairs of examples, pairs of classes."""

import keras
from keras import ops

from keras_kd._common.examples import combined_mask
from keras_kd._common.hyperparameter import HyperparameterAttribute
from keras_kd.losses._probability_rows import (
    as_rows,
    log_relative_probs,
    real_positions,
)
from keras_kd.losses._term_weight import as_factor
from keras_kd.losses.batch_coupled import BatchCoupled, check_several
from keras_kd.losses.distillation_loss import DistillationLoss
from keras_kd.losses.logits import knowledge_distillation
from keras_kd.losses.tempered import check_temperature, tempered

_TEMPERATURES = (2.0, 3.0, 4.0, 5.0, 6.0)


def multi_level_logit(
    teacher_logits,
    student_logits,
    *,
    temperatures=_TEMPERATURES,
    instance_weight=1.0,
    batch_weight=1.0,
    class_weight=1.0,
    mask=None,
):
    """Three distances of teacher and student, summed over temperatures, of each row.

    See `MultiLevelLogit`. Of the B x B matrix of the batch term a row has its own
    squares; the class term is the same number for all rows.

    Args:
        teacher_logits: `(batch, ..., classes)`; every position is a row.
        student_logits: Same shape.
        temperatures: Each T > 0. Defaults to 2, 3, 4, 5 and 6.
        instance_weight: Of the KL of rows, >= 0. Defaults to 1.0.
        batch_weight: Of the batch term, >= 0. Defaults to 1.0.
        class_weight: Of the class term, >= 0. Defaults to 1.0.
        mask: bool `(batch, ...)`, False where a position is no data and is no row.
            Defaults to None: all are.

    Returns:
        `(batch, ...)`, >= 0, whose mean over the rows is the loss; float32, or float64
        for float64 logits.

    Raises:
        ValueError: For a batch of one row: there are no pairs.

    Example:

    >>> t = np.array([[2.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
    >>> s = np.array([[1.0, 0.5, 0.0], [0.0, 2.0, 1.0]])
    >>> values = keras_kd.losses.multi_level_logit(t, s, temperatures=(2.0, 4.0))
    >>> values.numpy().round(4).tolist()
    [0.8056, 0.2365]

    Reference: Jin et al. 2023, section 3.
    """
    temperatures = _check_temperatures(temperatures)
    teacher, student, real = real_positions(teacher_logits, student_logits, mask)
    check_several("`multi_level_logit`", as_rows(teacher))
    instances = batches = classes = 0.0
    for temperature in temperatures:
        instances += knowledge_distillation(teacher, student, temperature=temperature)
        gap, total = _gap_and_total(teacher, student, real, temperature)
        batches += _batch_term(gap, total)
        classes += _class_term(gap, total, real)
    values = as_factor("instance_weight", instance_weight, instances) * instances
    batches = ops.reshape(batches, ops.shape(instances))
    values += as_factor("batch_weight", batch_weight, instances) * batches
    return values + as_factor("class_weight", class_weight, instances) * classes


@keras.saving.register_keras_serializable(package="keras_kd")
class MultiLevelLogit(BatchCoupled, DistillationLoss):
    """Match predictions of examples, of pairs of examples and of pairs of classes.

    P and Q are the probabilities of teacher and student in a batch of B examples and K
    classes, softmax(z / T). The loss is the sum, over several temperatures, of

    - the instance term, T^2 KL(P || Q), as `KnowledgeDistillation`;
    - the batch term, ||P P^T - Q Q^T||^2 / B: which examples are predicted alike;
    - the class term, ||P^T P - Q^T Q||^2 / K: which classes are predicted together.

    The last two have no T^2 and are small beside the first. The class term grows with
    the square of the batch size. Its matrices are K x K: many classes (a vocabulary)
    do not fit into memory; nor do many positions, for the batch term.

    Under tf.distribute the batch is that of all replicas (`batch="global"`), or that of
    its own replica alone (`batch="replica"`), as in the released code.

    When to use: for classifiers of up to some thousand classes, trained long with
    strong augmentation, when plain distillation stops short of the teacher.

    Usual weight: 9 beside a label loss of weight 1 (released code: 0.9 and 0.1), so 1
    at `student_loss_weight=0.1`.

    The released code differs. Its masks by the teacher's confidence multiply terms that
    are scalars already, so that they select nothing and are a factor of 0.5: on the
    batch and class terms, and on the KL of the weakly augmented view. It adds KL of a
    second, strongly augmented view, but at the first and last temperature that of the
    weak view again, and drops that view's batch and class terms. With this loss, give
    the views as examples of the batch.

    Args:
        temperatures: Each T > 0; their terms are summed. Defaults to 2, 3, 4, 5 and 6.
        instance_weight: Of the instance term, >= 0, or a schedule
            (`keras_kd.schedules`). Defaults to 1.0.
        batch_weight: Of the batch term, likewise. Defaults to 1.0.
        class_weight: Of the class term, likewise. Defaults to 1.0.
        batch: `"global"` or `"replica"`: the examples of B. Defaults to `"global"`.
        name: Name in the logs. Defaults to `"multi_level_logit"`.
        reduction: See `DistillationLoss`.
        dtype: See `DistillationLoss`.

    Raises:
        ValueError: If called on a batch of one example.

    Example:

    >>> loss = keras_kd.losses.MultiLevelLogit(temperatures=(2.0, 4.0))
    >>> t = np.array([[2.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
    >>> s = np.array([[1.0, 0.5, 0.0], [0.0, 2.0, 1.0]])
    >>> round(float(loss(t, s)), 4)
    0.5211

    Reference: Jin et al. 2023, section 3, and released code.
    """

    takes = frozenset({"mask"})
    compares = "class_logits"
    instance_weight = HyperparameterAttribute(
        "A weight >= 0, or its schedule.", at_least=0
    )
    batch_weight = HyperparameterAttribute(
        "A weight >= 0, or its schedule.", at_least=0
    )
    class_weight = HyperparameterAttribute(
        "A weight >= 0, or its schedule.", at_least=0
    )

    def __init__(
        self,
        temperatures=_TEMPERATURES,
        instance_weight=1.0,
        batch_weight=1.0,
        class_weight=1.0,
        batch="global",
        name="multi_level_logit",
        reduction="sum_over_batch_size",
        dtype=None,
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype, batch=batch)
        self._temperatures = _check_temperatures(temperatures)
        self.instance_weight = instance_weight
        self.batch_weight = batch_weight
        self.class_weight = class_weight

    @property
    def temperatures(self):
        """Each T > 0."""
        return self._temperatures

    def call(self, teacher_logits, student_logits, mask=None):
        if mask is None:  # Keras, unlike our Distiller, leaves it on the logits
            mask = combined_mask(teacher_logits, student_logits)
        return multi_level_logit(
            teacher_logits,
            student_logits,
            temperatures=self.temperatures,
            instance_weight=self._instance_weight.tensor,
            batch_weight=self._batch_weight.tensor,
            class_weight=self._class_weight.tensor,
            mask=mask,
        )

    def get_config(self):
        return {
            **super().get_config(),
            "temperatures": list(self.temperatures),
            "instance_weight": self._instance_weight.config,
            "batch_weight": self._batch_weight.config,
            "class_weight": self._class_weight.config,
        }


def _gap_and_total(teacher, student, real, temperature):
    """P - Q and P + Q - 2 / K, `(rows, classes)`, 0 where no data; both sum to 0.

    From P - 1 / K and Q - 1 / K, which keep their digits at a high temperature.
    """
    *sides, _ = tempered(teacher, student, temperature)
    sides = [as_rows(log_relative_probs(side)) for side in sides]
    p, q = (ops.expm1(side) / side.shape[-1] for side in sides)
    is_row = ops.reshape(real, (-1, 1))
    return ops.where(is_row, p - q, 0.0), ops.where(is_row, p + q, 0.0)


def _batch_term(gap, total):
    """Squares of P P^T - Q Q^T, summed over each row's pairs: `(rows,)`.

    The matrix is (P - Q)(P + Q)^T less its antisymmetric part: no two large numbers
    are subtracted, and one product does for both sides. 1 / K drops out.
    """
    return ops.sum(ops.square(_symmetric(gap @ ops.transpose(total))), axis=-1)


def _class_term(gap, total, real):
    """Squares of P^T P - Q^T Q over K, likewise: one number."""
    classes = gap.shape[-1]
    total = total + 2.0 / classes  # rows without data have a gap of 0
    return ops.sum(ops.square(_symmetric(ops.transpose(gap) @ total))) / classes


def _symmetric(matrix):
    return 0.5 * (matrix + ops.transpose(matrix))


def _check_temperatures(temperatures):
    if isinstance(temperatures, (str, bytes)) or not hasattr(temperatures, "__len__"):
        raise TypeError(
            "`temperatures` must be a list or tuple of numbers > 0. Received: "
            f"temperatures={temperatures!r} of type {type(temperatures).__name__}. "
            "Write one temperature T as (T,)."
        )
    if len(temperatures) == 0:
        raise ValueError(
            "`temperatures` is empty: give at least one, such as (2, 3, 4, 5, 6)."
        )
    return tuple(check_temperature(temperature) for temperature in temperatures)
