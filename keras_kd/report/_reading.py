"""One pass over a set: what each model says of each example, and a few examples."""

import dataclasses

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from keras_kd._common.batch import UNLABELED, unpack_batch
from keras_kd._common.checks import check_same_shape
from keras_kd._common.datasets import batches, num_steps
from keras_kd._common.examples import broadcast_weight
from keras_kd._common.inputs import check_same_inputs
from keras_kd._common.labels import sparse_labels
from keras_kd._common.numerics import at_least_float32, kl_divergence
from keras_kd._common.outputs import as_float32
from keras_kd.metrics import ConfidenceExaggeration, NormalizedMutualInformation

SHOWN_OF_A_KIND = 6
SAMPLE_BYTES = 2**28  # of inputs kept for a second look: layers, attention


@dataclasses.dataclass(frozen=True, eq=False)
class Shown:
    """An example on which the student and its teacher part."""

    index: int  # place in the set
    x: object  # its input, arrays without batch axis
    kind: str
    score: float
    label: int  # -1 where unknown


@dataclasses.dataclass(frozen=True, eq=False)
class Seen:
    """What a pass has found, `n` examples."""

    num_classes: int
    columns: dict  # {side: {name: (n,) float64}}
    labels: np.ndarray | None  # (n,), -1 where unknown; None if all are
    weights: np.ndarray  # (n,)
    exaggeration: dict  # {side: ExaggerationResult}
    normalized_mi: dict  # {side: float}
    shown: list  # of `Shown`, the surest first
    sample: list  # batches of inputs, the first of the set

    @property
    def num_examples(self):
        return len(self.weights)


def read(models, dataset, *, steps=None, sample_limit=1000, num_resamples, seed, level):
    """`Seen` of `{side: classifier}`, "teacher" first, on batches."""
    spec = getattr(dataset, "element_spec", None)
    reader = _Reader(models, spec, sample_limit, (num_resamples, level, seed))
    done, steps = 0, num_steps(dataset, steps)
    for batch in batches(dataset):
        if done == steps:
            break
        reader.take(batch)
        done += 1
    if not reader.size:
        raise ValueError(
            "The set to compare on is empty. Give at least one batch (an exhausted "
            "generator cannot be read twice)."
        )
    seen = reader.seen()
    if not seen.weights.any():
        raise ValueError(
            "The examples to compare on have no weight: each `sample_weight` is 0. "
            "Leave the weights out, or give some that are not."
        )
    return seen


class _Reader:
    def __init__(self, models, spec, sample_limit, exaggeration):
        self._models = models
        self._students = [side for side in models if side != "teacher"]
        self._columns, self._labels, self._weights = [], [], []
        self._phi = {s: ConfidenceExaggeration(*exaggeration) for s in self._students}
        self._information, self._num_classes = {}, None
        self._shown, self._sample, self._room = {}, [], sample_limit
        # One trace for all batches, a smaller last one too, where shapes are told.
        traced = {"reduce_retracing": True} if spec is None else {}
        signature = None if spec is None else [spec]
        self._step = tf.function(
            self._answers, input_signature=signature, autograph=False, **traced
        )
        self.size = 0

    def take(self, data):
        batch = unpack_batch(data)
        logits, columns, labels = self._step(data)
        columns = keras.tree.map_structure(lambda c: c.numpy(), columns)
        predicted = columns["teacher"]["predicted"]
        self._num_classes = logits["teacher"].shape[-1]
        weight = np.ones(len(predicted))
        if batch.sample_weight is not None:
            weight = ops.convert_to_numpy(broadcast_weight(batch.sample_weight, weight))
        for side in self._students:
            said = logits["teacher"], logits[side], weight
            self._phi[side].update_state(*said)
            if side not in self._information:
                information = NormalizedMutualInformation(self._num_classes)
                self._information[side] = information
            self._information[side].update_state(*said)
        labels = np.full(len(predicted), UNLABELED) if labels is None else labels
        labels = np.asarray(labels, "int64")
        self._keep_shown(batch.x, columns, labels)
        self._keep_sample(batch.x, len(predicted))
        self._columns.append(columns)
        self._labels.append(labels)
        self._weights.append(weight)
        self.size += len(predicted)

    def _answers(self, data):
        """In the graph: logits of all sides, and numbers of each example."""
        x, labels, *_ = unpack_batch(data)
        check_same_inputs(x, {side: m.members for side, m in self._models.items()})
        logits = {side: _rows(side, model(x)) for side, model in self._models.items()}
        teacher = logits["teacher"]
        for side in self._students:
            check_same_shape(teacher, logits[side])
        if labels is not None:
            indices, labelled = sparse_labels(labels, teacher)
            labels = ops.where(labelled > 0, indices, UNLABELED)
        columns = {s: _own_columns(z, labels) for s, z in logits.items()}
        for side in self._students:
            columns[side] |= _fidelity_columns(teacher, logits[side])
        return logits, columns, labels

    def _keep_shown(self, x, columns, labels):
        """The examples of each kind on which both are surest and part."""
        teacher, student = columns["teacher"], columns["student"]
        said = teacher["predicted"], student["predicted"]
        scores = teacher["confidence"] * student["confidence"]
        (parted,) = np.nonzero(said[0] != said[1])
        for i in parted[np.argsort(-scores[parted], kind="stable")]:
            kind = _kind(said[0][i], said[1][i], labels[i])
            best = self._shown.setdefault(kind, [])
            if len(best) == SHOWN_OF_A_KIND and scores[i] <= best[-1].score:
                continue
            one = keras.tree.map_structure(lambda t, i=i: np.asarray(t[i]), x)
            where = self.size + int(i)
            best.append(Shown(where, one, kind, float(scores[i]), int(labels[i])))
            best.sort(key=lambda s: -s.score)
            del best[SHOWN_OF_A_KIND:]

    def _keep_sample(self, x, size):
        count = min(size, self._room)
        if not count:
            return
        part = keras.tree.map_structure(lambda t: t[:count], x)
        held = sum(_bytes(t) for b in [*self._sample, part] for t in _leaves(b))
        if held > SAMPLE_BYTES and self._sample:
            self._room = 0
            return
        self._sample.append(part)
        self._room -= count

    def seen(self):
        columns = {
            side: {
                name: np.concatenate([c[side][name] for c in self._columns]).astype(
                    "float64"
                )
                for name in self._columns[0][side]
            }
            for side in self._models
        }
        labels = np.concatenate(self._labels)
        return Seen(
            num_classes=self._num_classes,
            columns=columns,
            labels=labels if (labels != UNLABELED).any() else None,
            weights=np.concatenate(self._weights).astype("float64"),
            exaggeration={side: m.details() for side, m in self._phi.items()},
            normalized_mi={s: float(m.result()) for s, m in self._information.items()},
            shown=[one for kind in KINDS for one in self._shown.get(kind, [])],
            sample=self._sample,
        )


KINDS = {
    "only_teacher_right": "The teacher is right, the student is not",
    "only_student_right": "The student is right, its teacher is not",
    "both_wrong_different": "Both are wrong, each in its way",
    "unlabelled": "They part, and no label says who is right",
}


def _kind(teacher, student, label):
    if label == UNLABELED:
        return "unlabelled"
    if teacher == label:
        return "only_teacher_right"
    return "only_student_right" if student == label else "both_wrong_different"


def _rows(side, outputs):
    leaves = keras.tree.flatten(as_float32(outputs))
    if len(leaves) != 1 or len(leaves[0].shape) != 2:
        raise ValueError(
            "A report compares classifiers with one output, logits (batch, classes). "
            f"The {side} gives {[tuple(leaf.shape) for leaf in leaves]}. Make "
            "a `keras.Model(model.inputs, model.outputs[i])` for the one that you mean."
        )
    return leaves[0]


def _own_columns(logits, labels):
    (logits,) = at_least_float32(logits)
    probs = ops.softmax(logits, axis=-1)
    predicted = ops.cast(ops.argmax(logits, axis=-1), "int32")
    columns = {"predicted": predicted, "confidence": ops.max(probs, axis=-1)}
    if labels is None:
        return columns
    rows = ops.one_hot(labels, logits.shape[-1], dtype=logits.dtype)  # of -1: zeros
    log_probs = ops.log_softmax(logits, axis=-1)
    return columns | {
        "accuracy": ops.cast(predicted == labels, logits.dtype),
        "nll": -ops.sum(ops.where(rows > 0, log_probs, 0.0), axis=-1),
        "brier": ops.sum((probs - rows) ** 2, axis=-1),
    }


def _fidelity_columns(teacher, student):
    """Of each example: in what way the student differs from the teacher."""
    teacher, student = at_least_float32(teacher, student)
    p, q = (ops.softmax(z, axis=-1) for z in (teacher, student))
    middle = ops.logaddexp(
        ops.log_softmax(teacher, axis=-1), ops.log_softmax(student, axis=-1)
    )
    said = ops.argmax(teacher, axis=-1)
    same = ops.cast(said == ops.argmax(student, axis=-1), p.dtype)
    columns = {
        "agreement": same,
        "kl": kl_divergence(teacher, student),
        "reverse_kl": kl_divergence(student, teacher),
        "jensen_shannon": (
            kl_divergence(teacher, middle) + kl_divergence(student, middle)
        )
        / 2,
        "total_variation": ops.sum(ops.abs(p - q), axis=-1) / 2,
    }
    if student.shape[-1] > 5:
        columns["agreement_top5"] = ops.cast(
            ops.in_top_k(ops.cast(said, "int32"), student, 5), p.dtype
        )
    return columns


def _leaves(x):
    return keras.tree.flatten(x)


def _bytes(tensor):
    tensor = tf.convert_to_tensor(tensor)
    size = int(tf.size(tensor))
    return size * (tensor.dtype.size or 1) if tensor.dtype != tf.string else 1000 * size
