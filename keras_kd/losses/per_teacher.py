"""A loss to each teacher of an ensemble, in place of one to their mean."""

import keras
from keras import ops

from keras_kd._common.checks import shares
from keras_kd._common.examples import weighted
from keras_kd.losses.loss_wrapper import LossWrapper


@keras.saving.register_keras_serializable(package="keras_kd")
class PerTeacher(LossWrapper):
    """The weighted mean, over the teachers, of a logit loss to each of them.

    Without it a loss sees one teacher, the mean predictive distribution of the
    ensemble. For a KL at temperature 1 both have the same gradient: the values differ
    by how far the teachers are from their mean, which the student cannot change. At any
    other temperature, and for any other divergence, they differ: here each teacher is
    tempered before the mean, there the mean is.

    The weights are those of the `keras_kd.TeacherEnsemble` (its `combine` has no
    effect). Members are not in stored teacher logits, so they need the teacher itself.
    `keras.distillation.Distiller` knows one teacher only.

    When to use: to keep what each teacher says of the similarity of classes, which the
    mean blurs where teachers disagree, or to reproduce work that averages losses.

    Args:
        loss: Logit loss of keras_kd, such as `KnowledgeDistillation()`.
        name: Name in the logs. Defaults to `"per_teacher"`.
        reduction: See `DistillationLoss`; that of the inner loss has no effect.
        dtype: Of the computation. Defaults to that of the inner loss.

    Raises:
        TypeError: If `loss` compares features, or is no loss of keras_kd.
        ValueError: If `loss` takes each teacher already.

    Example:

    >>> loss = keras_kd.losses.PerTeacher(keras_kd.losses.LogitMSE())
    >>> teachers = [np.array([[1.0, 0.0]]), np.array([[3.0, 0.0]])]
    >>> student = np.array([[1.0, 0.0]])
    >>> loss.call(teachers, student).numpy().tolist()  # mean of 0 and 2
    [1.0]
    >>> loss.call(teachers, student, weights=[3.0, 1.0]).numpy().tolist()
    [0.5]

    Reference: Guo et al. 2024 average losses; Stanton et al. 2021 average probabilities
    (equation 2), save for one loss of their released code.
    """

    takes = frozenset({"members"})

    def __init__(
        self,
        loss,
        name="per_teacher",
        reduction="sum_over_batch_size",
        dtype=None,
    ):
        super().__init__(loss, name, reduction, dtype)
        if "members" in loss.takes:
            raise ValueError(
                f"PerTeacher gives its inner loss one teacher at a time. Received: "
                f"{type(loss).__name__}, which takes each teacher itself. Use that "
                "loss as it is."
            )

    def call(self, member_logits, student_logits, weights=None, **options):
        """Values from a list of logits, one a teacher, or those of a single teacher.

        `weights`: one >= 0 a teacher; they are divided by their sum. Defaults to equal
        ones.
        """
        if not isinstance(member_logits, (list, tuple)):
            member_logits = [member_logits]
        weights = _shares(weights, len(member_logits))
        values = [self.loss.call(z, student_logits, **options) for z in member_logits]
        rows = zip(values, weights, strict=True)
        return sum(
            weighted(value, ops.convert_to_tensor(weight, dtype=value.dtype))
            for value, weight in rows
        )


def _shares(weights, num_members):
    """Weights that sum to 1."""
    if num_members == 0:
        raise ValueError(
            "PerTeacher needs the logits of at least one teacher. Received: an empty "
            "list."
        )
    if ops.is_tensor(weights):
        weights = weights / ops.sum(weights)
        return [weights[i] for i in range(num_members)]
    return shares(weights, num_members, "teacher")
