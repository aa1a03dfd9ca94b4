"""Losses on how similar the examples of a batch are to one another."""

import keras
from keras import ops

from keras_kd._common.numerics import kl_divergence
from keras_kd.losses._example_vectors import (
    count_rows,
    example_vectors,
    pairs_of_distinct,
    unit_rows,
)
from keras_kd.losses.batch_coupled import BatchCoupled
from keras_kd.losses.feature_loss import FeatureLoss

_SMALLEST_SIMILARITY = 1e-7  # of opposite examples; its logarithm is finite
_OWN_LOGIT = -1e4  # gives probability 0, and no NaN where nothing else is there


def similarity_preserving(teacher_features, student_features):
    """Squared difference of both sides' similarities of each example to all others.

    With F the features of the batch, one flattened example a row, and G the matrix
    F F^T with each row divided by its L2 norm: example i has the value
    (1 / B) sum_j (G_t - G_s)_ij^2. The mean over examples is ||G_t - G_s||_F^2 / B^2.

    Args:
        teacher_features: `(batch, ...)` of any rank.
        student_features: `(batch, ...)`; all but the first axis may differ.

    Returns:
        `(batch,)`, >= 0; float32, or float64 for float64 features. 0 for a batch of 1.

    Raises:
        ValueError: If the batch is known to hold one example.

    Example:

    >>> t, s = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[1.0], [1.0]])
    >>> values = keras_kd.losses.similarity_preserving(t, s)
    >>> np.round(values, 4).tolist()
    [0.2929, 0.2929]

    Reference: Tung and Mori 2019, equations 1 to 4 (one pair of layers).
    """
    teacher, student = example_vectors(
        "Similarity preserving", teacher_features, student_features
    )
    gap = _row_normalised_gram(teacher) - _row_normalised_gram(student)
    return ops.sum(ops.square(gap), axis=-1) / count_rows(gap)


def pkt(teacher_features, student_features):
    """KL divergence of both sides' distributions over each example's neighbours.

    The similarity of two examples is (1 + cosine) / 2. Divided by its sum over all
    other examples j it is the probability p_{j|i} that i picks j as its neighbour;
    example i has the value sum_{j != i} p_{j|i} log(p_{j|i} / q_{j|i}), with the
    teacher's p and the student's q.

    Args:
        teacher_features: `(batch, ...)` of any rank.
        student_features: `(batch, ...)`; all but the first axis may differ.

    Returns:
        `(batch,)`, >= 0, in nats; float32, or float64 for float64 features. 0 for a
        batch of 1 or 2.

    Raises:
        ValueError: If the batch is known to hold one example.

    Example:

    >>> t = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    >>> s = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    >>> np.round(keras_kd.losses.pkt(t, s), 3).tolist()
    [1.099, 0.0, 1.099]

    Reference: Passalis and Tefas 2018, cosine kernel. The paper sums over i; this
    takes the mean, which does not grow with the batch.
    """
    sides = example_vectors("PKT", teacher_features, student_features)
    return kl_divergence(*(_neighbour_logits(side) for side in sides))


@keras.saving.register_keras_serializable(package="keras_kd")
class SimilarityPreserving(BatchCoupled, FeatureLoss):
    """Squared difference of the similarities among the examples of a batch (SP).

    Two examples that excite the teacher alike shall excite the student alike. Only the
    batch x batch similarities are compared, never features with features, so layers of
    any two shapes go together without a projector.

    When to use: where the layers to compare differ in shape or resolution (two families
    of networks, a CNN and a transformer), and the classes of a batch have some
    structure. Compare the last layers before the classifier.

    Usual weight: 3000 (released code, one pair of layers, besides cross-entropy with
    weight 1).

    Under `tf.distribute`, similarities among the examples of all replicas are compared
    with `batch="global"`: any number of replicas gives the numbers of one. With
    `"replica"`, those among each replica's own examples are: the value, which falls as
    one over the number of examples compared, is then larger. A sequence is flattened
    whole, padding included; compare pooled features where lengths differ.

    Args:
        teacher_layer_name: Layer of the teacher; see `FeatureMatching`.
        student_layer_name: Layer of the student, likewise.
        batch: `"global"` or `"replica"`. Defaults to `"global"`.
        name: Name in the logs. Defaults to `"similarity_preserving"`.
        reduction: See `DistillationLoss`.
        dtype: See `DistillationLoss`.

    Raises:
        ValueError: If the batch is known to hold one example.

    Example:

    >>> loss = keras_kd.losses.SimilarityPreserving("conv4", "conv2")
    >>> t, s = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[1.0], [1.0]])
    >>> round(float(loss(t, s)), 4)
    0.2929

    Reference: Tung and Mori 2019, equations 1 to 4.
    """

    def __init__(
        self,
        teacher_layer_name,
        student_layer_name,
        batch="global",
        name="similarity_preserving",
        reduction="sum_over_batch_size",
        dtype=None,
    ):
        super().__init__(
            teacher_layer_name, student_layer_name, name, reduction, dtype, batch=batch
        )

    def call(self, teacher_features, student_features):
        return similarity_preserving(teacher_features, student_features)


@keras.saving.register_keras_serializable(package="keras_kd")
class PKT(BatchCoupled, FeatureLoss):
    """KL divergence between the neighbourhoods of each example (PKT).

    Probabilistic knowledge transfer: within a batch, the cosine similarities of an
    example to the others make a distribution over its neighbours, and the student's
    shall be the teacher's. Layers of any two shapes go together without a projector;
    rotations of the features, and the length of each example's, do not matter.

    When to use: for embeddings in retrieval or clustering, where only neighbourhoods
    count, or for layers whose widths differ. Compare the last layers before the
    classifier.

    Usual weight: 30000 / batch size, about 470 for batches of 64: what the 30000 of the
    released code is here (see Reference), besides cross-entropy with weight 1.

    Under `tf.distribute`, the neighbours of an example are all examples of all replicas
    with `batch="global"`: any number of replicas gives the numbers of one. With
    `"replica"` they are those of its own replica. A sequence is flattened whole,
    padding included; compare pooled features where lengths differ.

    Args:
        teacher_layer_name: Layer of the teacher; see `FeatureMatching`.
        student_layer_name: Layer of the student, likewise.
        batch: `"global"` or `"replica"`. Defaults to `"global"`.
        name: Name in the logs. Defaults to `"pkt"`.
        reduction: See `DistillationLoss`.
        dtype: See `DistillationLoss`.

    Raises:
        ValueError: If the batch is known to hold one example.

    Example:

    >>> loss = keras_kd.losses.PKT("conv4", "conv2")
    >>> t = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    >>> s = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    >>> round(float(loss(t, s)), 3)
    0.732

    Reference: Passalis and Tefas 2018, cosine kernel, neighbours j != i; mean over i in
    place of the sum. The released code also counts each example as its own neighbour,
    the most similar of all, takes the mean over all B^2 pairs, and adds 1e-7 to norms
    and probabilities.
    """

    def __init__(
        self,
        teacher_layer_name,
        student_layer_name,
        batch="global",
        name="pkt",
        reduction="sum_over_batch_size",
        dtype=None,
    ):
        super().__init__(
            teacher_layer_name, student_layer_name, name, reduction, dtype, batch=batch
        )

    def call(self, teacher_features, student_features):
        return pkt(teacher_features, student_features)


def _row_normalised_gram(rows):
    largest = ops.max(ops.abs(rows), initial=0.0)
    # A factor common to all rows cancels in G, and squares of 1e20 leave float32.
    rows = rows / ops.stop_gradient(ops.where(largest > 0, largest, 1.0))
    return unit_rows(ops.matmul(rows, ops.transpose(rows)))


def _neighbour_logits(rows):
    """Logarithms of the similarities, none of an example to itself."""
    rows = unit_rows(rows)
    similarity = (1.0 + ops.matmul(rows, ops.transpose(rows))) / 2.0
    logits = ops.log(ops.maximum(similarity, _SMALLEST_SIMILARITY))
    return ops.where(pairs_of_distinct(rows), logits, _OWN_LOGIT)
