"""Contrastive losses: an example's embeddings on both sides against other examples'."""

import math

import keras
from keras import ops

from keras_kd._common.checks import check_number, check_whole_number
from keras_kd._common.hyperparameter import HyperparameterAttribute
from keras_kd._common.labels import labelled_rows
from keras_kd.losses._example_vectors import (
    example_vectors,
    pairs_of_distinct,
    unit_rows,
)
from keras_kd.losses.batch_coupled import BatchCoupled
from keras_kd.losses.feature_loss import FeatureLoss, TrainedFeatureLoss

_BOUNDS = {"above": 0, "fix": "Common choices lie between 0.05 and 0.2."}
_EXCLUDED = -1e30  # a score whose exponential is 0 without a NaN in any gradient


def crd(teacher_embeddings, student_embeddings, labels=None, *, temperature=0.07):
    """InfoNCE of each example's embeddings, in both directions.

    The scores of an example are the cosines of its student embedding with the teacher
    embeddings of the whole batch, over the temperature; its value is the cross-entropy
    of picking its own, averaged with that of its teacher embedding picking among the
    student embeddings. Others of its own class are left out of both.

    Args:
        teacher_embeddings: `(batch, size)`.
        student_embeddings: Same shape.
        labels: Classes, `(batch,)`, or one-hot or soft rows, `(batch, classes)`, of
            which the largest entry is the class. An example of class -1 (or an
            all-zero row) is a class of its own; None: all are. Defaults to None.
        temperature: > 0. Defaults to 0.07.

    Returns:
        `(batch,)`, >= 0, in nats; float32, or float64 for float64 embeddings. 0 where
        the batch has no example of another class.

    Raises:
        ValueError: If the embeddings differ in size, or the batch is known to hold one
            example.

    Example:

    >>> t, s = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[2.0, 0.0], [3.0, 3.0]])
    >>> np.round(keras_kd.losses.crd(t, s, temperature=1.0), 4).tolist()
    [0.4353, 0.547]

    Reference: van den Oord et al. 2018 (InfoNCE), between the two networks and with
    the negatives of Tian et al. 2020; see `CRD`.
    """
    teacher, student = example_vectors("CRD", teacher_embeddings, student_embeddings)
    _check_same_size(teacher, student)
    if ops.is_tensor(temperature):
        temperature = ops.cast(temperature, teacher.dtype)
    else:
        temperature = check_number("temperature", temperature, **_BOUNDS)
    scores = ops.matmul(unit_rows(student), ops.transpose(unit_rows(teacher)))
    scores = scores / temperature
    own = ops.diagonal(scores)
    negatives = pairs_of_distinct(scores)
    if labels is not None:
        negatives = ops.logical_and(negatives, _of_other_classes(labels, teacher))
    scores = ops.where(negatives, scores, _EXCLUDED)
    # -log softmax of its own score: log(1 + the others' share over its own).
    students = ops.softplus(ops.logsumexp(scores, axis=1) - own)
    teachers = ops.softplus(ops.logsumexp(scores, axis=0) - own)
    return (students + teachers) / 2.0


@keras.saving.register_keras_serializable(package="keras_kd")
class CRD(BatchCoupled, TrainedFeatureLoss):
    """Contrastive representation distillation, with the batch as negatives (CRD).

    Both layers are flattened, mapped linearly to embeddings of one size and divided by
    their L2 norm. The two embeddings of an example shall be closer to each other than
    to those of examples of other classes: see `crd`. Both projectors train with the
    student, are in training checkpoints, and are no part of the saved student.

    The paper keeps a memory bank of an embedding for every training example, and draws
    16384 negatives from it for each. That ties the loss to a data set of fixed size
    that tells the index of each example. This form takes the rest of the batch: it
    works with shuffling, augmentation, generated samples, streams and replicas, and
    has fewer negatives, so it needs batches of at least 64 to be useful.

    log(B) minus the value, for a batch of B, is a lower bound (in expectation) on the
    mutual information of the two embeddings, in nats, where no labels leave out any
    negatives; it can report no more than log(B).

    When to use: where the student's representation matters (transfer, retrieval, unlike
    families of networks), in batches of at least 64. Compare pooled features, the last
    layers before the classifier.

    Usual weight: 0.8, besides cross-entropy with weight 1, is that of the memory form,
    whose value starts near 21; this one starts near log(batch size), some 4.

    Under `tf.distribute`, the negatives are the examples of all replicas with
    `batch="global"`: any number of replicas gives the numbers of one. With `"replica"`
    they are those of its own replica. A sequence is flattened whole, padding included.

    Args:
        teacher_layer_name: Layer of the teacher; see `FeatureMatching`.
        student_layer_name: Layer of the student, likewise.
        embedding_size: Units of each projector. None compares the layers as they are,
            which then must have one size. Defaults to 128.
        temperature: > 0, or a schedule (`keras_kd.schedules`). Defaults to 0.07.
        batch: `"global"` or `"replica"`. Defaults to `"global"`.
        name: Name in the logs. Defaults to `"crd"`.
        reduction: See `DistillationLoss`.
        dtype: See `DistillationLoss`.

    Raises:
        ValueError: If the batch is known to hold one example.

    Example:

    >>> loss = keras_kd.losses.CRD("pool", "pool", embedding_size=None, temperature=1.0)
    >>> t, s = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[2.0, 0.0], [3.0, 3.0]])
    >>> round(float(loss(t, s)), 4)
    0.4912

    Reference: Tian et al. 2020, embeddings, temperature and choice of negatives of the
    released code; InfoNCE (van den Oord et al. 2018) in both directions in place of its
    noise-contrastive estimate over a memory bank.
    """

    takes = frozenset({"labels", "layers"})
    temperature = HyperparameterAttribute("> 0, or its schedule.", **_BOUNDS)

    def __init__(
        self,
        teacher_layer_name,
        student_layer_name,
        embedding_size=128,
        temperature=0.07,
        batch="global",
        name="crd",
        reduction="sum_over_batch_size",
        dtype=None,
    ):
        super().__init__(
            teacher_layer_name, student_layer_name, name, reduction, dtype, batch=batch
        )
        if embedding_size is not None:
            check_whole_number("embedding_size", embedding_size, at_least=2)
        self.embedding_size = embedding_size
        self.temperature = temperature

    @property
    def teacher_projector(self):
        """The layer that `build` made for the teacher's side; None before."""
        return self.trainable_layers[0] if self.trainable_layers else None

    @property
    def student_projector(self):
        """The layer that `build` made for the student's side; None before."""
        return self.trainable_layers[1] if self.trainable_layers else None

    def make_layers(self, teacher_shape, student_shape):
        """Both projectors, the teacher's first; see `DistillationLoss`."""
        if self.embedding_size is None:
            return []
        sides = {"teacher": teacher_shape, "student": student_shape}
        return [self._projector(side, shape) for side, shape in sides.items()]

    def call(self, teacher_features, student_features, labels=None, layers=None):
        sides = example_vectors("CRD", teacher_features, student_features)
        if self.embedding_size is not None:
            projectors = self.trainable_layers if layers is None else layers
            if not projectors:
                raise ValueError(
                    f"Loss {self.name!r} has no projectors yet. `keras_kd.Distiller` "
                    "makes them; elsewhere call `build(teacher_shape, student_shape)` "
                    "and train its `trainable_layers`. Or set embedding_size=None, to "
                    "compare layers of one size as they are."
                )
            sides = [f(side) for f, side in zip(projectors, sides, strict=True)]
        return crd(*sides, labels, temperature=self._temperature.tensor)

    def validate_model_compatibility(self, teacher, student):
        """Refuse, in `keras.distillation.Distiller`, what that class would do wrong."""
        FeatureLoss.validate_model_compatibility(self, teacher, student)
        if self.embedding_size is not None:
            raise ValueError(
                f"Loss {self.name!r} has projectors, which keras.distillation.Distiller"
                " does not train. Use keras_kd.Distiller, or set embedding_size=None."
            )

    def get_config(self):
        return {
            **super().get_config(),
            "embedding_size": self.embedding_size,
            "temperature": self._temperature.config,
        }

    def _projector(self, side, shape):
        if None in shape[1:]:
            raise ValueError(
                f"Loss {self.name!r} maps the {side}'s features to an embedding, so "
                f"their size must be known. Received: shape {tuple(shape)}. Choose a "
                "layer after the pooling, or build the model for one input size."
            )
        name = self._layer_name(f"{side}_projector")
        # float32 whatever the models' policies: it feeds a float32 loss.
        layer = keras.layers.Dense(self.embedding_size, dtype="float32", name=name)
        layer.build((None, math.prod(shape[1:])))
        return layer


def _of_other_classes(labels, embeddings):
    """`(batch, batch)` bool: False for two examples that are known to share a class."""
    labels = ops.convert_to_tensor(labels)
    sizes = {x.shape[0] for x in (labels, embeddings) if len(x.shape)} - {None}
    if len(labels.shape) not in (1, 2) or len(sizes) > 1:
        raise ValueError(
            "CRD takes one class an example, `(batch,)`, or one row of probabilities, "
            f"`(batch, classes)`. Received: labels {tuple(labels.shape)} for "
            f"embeddings {tuple(embeddings.shape)}."
        )
    if len(labels.shape) == 2 and labels.shape[-1] == 1:
        labels = ops.squeeze(labels, axis=-1)
    labels, labelled = labelled_rows(labels, embeddings)
    if len(labels.shape) == 2:
        labels = ops.argmax(labels, axis=-1)
    both_labelled = labelled[:, None] * labelled[None, :] > 0
    alike = ops.equal(labels[:, None], labels[None, :])
    return ops.logical_not(ops.logical_and(alike, both_labelled))


def _check_same_size(teacher, student):
    if None not in (teacher.shape[1], student.shape[1]) and (
        teacher.shape[1] != student.shape[1]
    ):
        raise ValueError(
            "Embeddings of teacher and student must have one size. Received: "
            f"{teacher.shape[1]} (teacher) and {student.shape[1]} (student). Map both "
            "to one first; `CRD` does, with its `embedding_size`."
        )
