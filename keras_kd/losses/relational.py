"""Losses on the geometry of a batch: distances between examples, and angles."""

import keras
from keras import ops

from keras_kd.losses._example_vectors import (
    count_rows,
    example_vectors,
    pairs_of_distinct,
)
from keras_kd.losses.batch_coupled import BatchCoupled
from keras_kd.losses.feature_loss import FeatureLoss

# Of a squared distance, where the largest coordinate is 1: closer ones coincide.
_COINCIDENT = 1e-12


def rkd_distance(teacher_features, student_features):
    """Huber loss between both sides' distances from each example to all others.

    The distances of a side are divided by their mean over all pairs of distinct
    examples. Example i has the value (1 / B) sum_j huber(psi_t(i, j) - psi_s(i, j))
    with psi the divided distances, and huber(x) = x^2 / 2 up to 1, |x| - 1/2 beyond.

    Args:
        teacher_features: `(batch, ...)` of any rank.
        student_features: `(batch, ...)`; all but the first axis may differ.

    Returns:
        `(batch,)`, >= 0; float32, or float64 for float64 features. 0 for a batch of 1.

    Raises:
        ValueError: If the batch is known to hold one example.

    Example:

    >>> t, s = np.array([[0.0], [1.0], [3.0]]), np.array([[0.0], [1.0], [2.0]])
    >>> np.round(keras_kd.losses.rkd_distance(t, s), 4).tolist()
    [0.0104, 0.0208, 0.0104]

    Reference: Park et al. 2019, section 3.2.1. The paper sums over pairs; this and the
    released code take the mean over all B^2, which does not grow with the batch.
    """
    teacher, student = example_vectors(
        "RKD by distances", teacher_features, student_features
    )
    gap = _relative_distances(teacher) - _relative_distances(student)
    values = ops.sum(_huber(gap), axis=-1) / count_rows(gap)
    return ops.cast(values, teacher.dtype)


def rkd_angle(teacher_features, student_features):
    """Huber loss between both sides' angles at each example.

    For any two other examples j and k, the cosine of the angle j-i-k. Example i, the
    vertex, has the value (1 / B^2) sum_jk huber(cos_t(j, i, k) - cos_s(j, i, k)). An
    angle with a side of length 0 has the cosine 0.

    Args:
        teacher_features: `(batch, ...)` of any rank.
        student_features: `(batch, ...)`; all but the first axis may differ.

    Returns:
        `(batch,)`, >= 0; float32, or float64 for float64 features. 0 for a batch of 1
        or 2. Memory grows with the cube of the batch, and not with the features: 8 MiB
        a float32 array of all angles for 128 examples, 64 MiB for 256.

    Raises:
        ValueError: If the batch is known to hold one example.

    Example:

    >>> t = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])  # a right angle
    >>> s = np.array([[0.0], [1.0], [2.0]])  # on a line
    >>> np.round(keras_kd.losses.rkd_angle(t, s), 4).tolist()
    [0.1111, 0.2682, 0.0095]

    Reference: Park et al. 2019, section 3.2.2. The paper sums over triplets; this and
    the released code take the mean over all B^3, which does not grow with the batch.
    """
    teacher, student = example_vectors(
        "RKD by angles", teacher_features, student_features
    )
    gap = _cosines(teacher) - _cosines(student)
    others = ops.cast(pairs_of_distinct(teacher), gap.dtype)
    values = ops.sum(_huber(gap) * others, axis=(1, 2))
    return values / ops.square(count_rows(gap))


@keras.saving.register_keras_serializable(package="keras_kd")
class RKDDistance(BatchCoupled, FeatureLoss):
    """Huber loss between the distances among the examples of a batch (RKD-D).

    Relational knowledge distillation: the student's embedding shall have the teacher's
    shape, whatever its dimension. Rotations, shifts and the scale of either side do not
    matter. Gradients also flow through the mean that the distances are divided by.
    Examples that coincide get no gradient from their distance.

    When to use: for metric learning, where distances are the result, or for layers of
    unlike widths; usually with `RKDAngle`. Compare embeddings that are not
    L2-normalised.

    Usual weight: 25, with 50 for `RKDAngle`, in classification (released benchmark
    code, besides cross-entropy with weight 1); 1 and 2 in metric learning without
    another loss (the authors' scripts).

    Under `tf.distribute`, distances among the examples of all replicas, and their mean,
    are compared with `batch="global"`: any number of replicas gives the numbers of one.
    With `"replica"`, those among each replica's own examples are. A sequence is
    flattened whole, padding included; compare pooled features where lengths differ.

    Args:
        teacher_layer_name: Layer of the teacher; see `FeatureMatching`.
        student_layer_name: Layer of the student, likewise.
        batch: `"global"` or `"replica"`. Defaults to `"global"`.
        name: Name in the logs. Defaults to `"rkd_distance"`.
        reduction: See `DistillationLoss`.
        dtype: See `DistillationLoss`.

    Raises:
        ValueError: If the batch is known to hold one example.

    Example:

    >>> loss = keras_kd.losses.RKDDistance("embedding", "embedding")
    >>> t, s = np.array([[0.0], [1.0], [3.0]]), np.array([[0.0], [1.0], [2.0]])
    >>> round(float(loss(t, s)), 4)
    0.0139

    Reference: Park et al. 2019, section 3.2.1; mean over all B^2 pairs, as in the
    released code, in place of the paper's sum.
    """

    def __init__(
        self,
        teacher_layer_name,
        student_layer_name,
        batch="global",
        name="rkd_distance",
        reduction="sum_over_batch_size",
        dtype=None,
    ):
        super().__init__(
            teacher_layer_name, student_layer_name, name, reduction, dtype, batch=batch
        )

    def call(self, teacher_features, student_features):
        return rkd_distance(teacher_features, student_features)


@keras.saving.register_keras_serializable(package="keras_kd")
class RKDAngle(BatchCoupled, FeatureLoss):
    """Huber loss between the angles among the examples of a batch (RKD-A).

    Relational knowledge distillation by the angles of all triangles of examples: a
    relation of higher order than `RKDDistance`. Rotations, shifts and the scale of
    either side do not matter. Memory grows with the cube of the batch.

    When to use: With `RKDDistance`, for embeddings, or layers of unlike widths, in
    batches of up to some 256 examples (over all replicas).

    Usual weight: 50, with 25 for `RKDDistance`, in classification (released benchmark
    code, besides cross-entropy with weight 1); 2 and 1 in metric learning without
    another loss (the authors' scripts).

    Under `tf.distribute`, angles among the examples of all replicas are compared with
    `batch="global"`: any number of replicas gives the numbers of one, and each replica
    computes, and holds, all of them. With `"replica"`, those among each replica's own
    examples are. A sequence is flattened whole, padding included; compare pooled
    features where lengths differ.

    Args:
        teacher_layer_name: Layer of the teacher; see `FeatureMatching`.
        student_layer_name: Layer of the student, likewise.
        batch: `"global"` or `"replica"`. Defaults to `"global"`.
        name: Name in the logs. Defaults to `"rkd_angle"`.
        reduction: See `DistillationLoss`.
        dtype: See `DistillationLoss`.

    Raises:
        ValueError: If the batch is known to hold one example.

    Example:

    >>> loss = keras_kd.losses.RKDAngle("embedding", "embedding")
    >>> t = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    >>> s = np.array([[0.0], [1.0], [2.0]])
    >>> round(float(loss(t, s)), 4)
    0.1296

    Reference: Park et al. 2019, section 3.2.2; mean over all B^3 triplets, as in the
    released code, in place of the paper's sum.
    """

    def __init__(
        self,
        teacher_layer_name,
        student_layer_name,
        batch="global",
        name="rkd_angle",
        reduction="sum_over_batch_size",
        dtype=None,
    ):
        super().__init__(
            teacher_layer_name, student_layer_name, name, reduction, dtype, batch=batch
        )

    def call(self, teacher_features, student_features):
        return rkd_angle(teacher_features, student_features)


def _relative_distances(rows):
    """Distances over their mean, float64; 0 between examples that coincide."""
    squares, apart = _squared_distances(rows)
    distances = ops.where(apart, ops.sqrt(ops.where(apart, squares, 1.0)), 0.0)
    size = count_rows(distances)
    mean = ops.sum(distances) / ops.maximum(size * (size - 1.0), 1.0)
    return distances / ops.where(mean > 0, mean, 1.0)


def _cosines(rows):
    """`(batch, batch, batch)`: entry i, j, k is of the angle at i, between j and k."""
    squares, apart = _squared_distances(rows)
    inverse = ops.where(apart, ops.rsqrt(ops.where(apart, squares, 1.0)), 0.0)
    squares, inverse = (ops.cast(x, rows.dtype) for x in (squares, inverse))
    # The law of cosines, so that no difference of two examples is ever held.
    twice = squares[:, :, None] + squares[:, None, :] - squares[None, :, :]
    return 0.5 * twice * inverse[:, :, None] * inverse[:, None, :]


def _squared_distances(rows):
    """Squared distances up to a common factor, and which pairs do not coincide.

    From scalar products, as all differences would take batch x batch x features. What
    cancels then would leave float32 few digits, and a GPU's TF32 none.
    """
    rows = ops.cast(rows, "float64")
    # Not the mean, as of equal rows nothing must remain.
    rows = rows - ops.stop_gradient(rows[:1])
    largest = ops.stop_gradient(ops.max(ops.abs(rows), initial=0.0))
    rows = rows / ops.where(largest > 0, largest, 1.0)
    norms = ops.sum(ops.square(rows), axis=-1)
    products = ops.matmul(rows, ops.transpose(rows))
    squares = norms[:, None] + norms[None, :] - 2.0 * products
    apart = ops.logical_and(squares > _COINCIDENT, pairs_of_distinct(rows))
    return ops.where(apart, squares, 0.0), apart


def _huber(gap):
    size = ops.abs(gap)
    inner = ops.minimum(size, 1.0)
    return inner * (size - 0.5 * inner)
