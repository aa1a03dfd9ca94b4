"""One pass over a set: what each model says of each example, and a few examples."""

import dataclasses

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from keras_kd._common.batch import UNLABELED
from keras_kd._common.examples import Examples, weigh
from keras_kd._common.metric_update import update_of
from keras_kd.answers import Answers
from keras_kd.metrics import (
    AgreementByConfidence,
    ConfidenceExaggeration,
    ExpectedCalibrationError,
    NormalizedMutualInformation,
    scores,
)
from keras_kd.metrics._confidence import equal_width_edges
from keras_kd.metrics.reliability import ReliabilityBins

NUM_BINS = 15
NUM_CONFIDENCE_BINS = 10
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

    num_examples: int  # that no mask leaves out
    num_classes: int
    scores: tuple  # of `Score`: those that the set and the models allow
    values: dict  # {side: {score: (values, weight)}}, float64 (n,) or (n, columns)
    predicted: dict  # {side: (n,) int}
    confidence: dict  # {side: (n,)}
    labels: np.ndarray | None  # (n,), -1 where unknown; None if all are
    weights: np.ndarray  # (n,)
    reliability: dict  # {side: `ReliabilityBins`}; empty without labels
    by_confidence: dict  # {side: `AgreementBins`}
    exaggeration: dict  # {side: ExaggerationResult}
    normalized_mi: dict  # {side: float}
    shown: list  # of `Shown`, the surest first
    sample: list  # batches of inputs, the first of the set

    @property
    def sides(self):
        return tuple(self.predicted)

    @property
    def students(self):
        return tuple(side for side in self.sides if side != "teacher")


def read(
    models,
    dataset,
    *,
    steps=None,
    ignore_class=None,
    sample_limit=1000,
    num_resamples,
    seed,
    level,
):
    """`Seen` of `{side: classifier}`, "teacher" first, on batches."""
    reader = _Reader(sample_limit, (num_resamples, level, seed))
    answers = Answers(models, reader.read, ignore_class=ignore_class)
    for x, found in answers.over(dataset, steps=steps):
        reader.take(x, found)
    seen = reader.seen()
    if not seen.weights.any():
        raise ValueError(
            "The examples to compare on have no weight: each `sample_weight` is 0. "
            "Leave the weights out, or give some that are not."
        )
    return seen


class _Reader:
    def __init__(self, sample_limit, exaggeration):
        self._exaggeration = exaggeration
        self._scores, self._metrics, self._parts = (), None, []
        self._shown, self._sample, self._room = {}, [], sample_limit
        self._size, self._num_classes = 0, None

    def read(self, sides):
        """In the graph: numbers of each example, and what metrics are updated with."""
        teacher = sides["teacher"]
        _check_rows(sides)
        self._scores = scores.scores_for(
            teacher.student.shape[-1], labelled=teacher.classes is not None
        )
        ones = ops.ones_like(teacher.student[:, 0])
        return {
            "values": {s: self._values(s, examples) for s, examples in sides.items()},
            "predicted": {s: _predicted(e.student) for s, e in sides.items()},
            "confidence": {
                s: scores.confidence_of(e.student) for s, e in sides.items()
            },
            "counts": weigh(ones, teacher._replace(sample_weight=None)).weight,
            "weights": weigh(ones, teacher).weight,
            "labels": _labels(teacher),
            "examples": {s: _without_nones(e) for s, e in sides.items()},
        }

    def _values(self, side, examples):
        """`{score: (values, weight)}`: the teacher is not compared with itself."""
        return {
            score.name: scores.score_values(score, examples)[:2]
            for score in self._scores
            if side != "teacher" or score.needs_labels
        }

    def take(self, x, found):
        sides = {s: Examples(**fields) for s, fields in found.pop("examples").items()}
        self._num_classes = sides["teacher"].student.shape[-1]
        self._metrics = self._metrics or _metrics_of(sides, self._exaggeration)
        for side, metrics in self._metrics.items():
            for metric in metrics.values():
                update_of(metric)(sides[side])
        part = keras.tree.map_structure(lambda t: t.numpy(), found)
        self._keep_shown(x, part)
        self._keep_sample(x, len(part["weights"]))
        self._parts.append(part)
        self._size += len(part["weights"])

    def _keep_shown(self, x, part):
        """The examples of each kind on which both are surest and part."""
        said = part["predicted"]["teacher"], part["predicted"]["student"]
        sure = part["confidence"]["teacher"] * part["confidence"]["student"]
        labels = part["labels"]
        (parted,) = np.nonzero((said[0] != said[1]) & (part["counts"] > 0))
        for i in parted[np.argsort(-sure[parted], kind="stable")]:
            kind = _kind(said[0][i], said[1][i], labels[i])
            best = self._shown.setdefault(kind, [])
            if len(best) == SHOWN_OF_A_KIND and sure[i] <= best[-1].score:
                continue
            one = keras.tree.map_structure(lambda t, i=i: np.asarray(t[i]), x)
            where = self._size + int(i)
            best.append(Shown(where, one, kind, float(sure[i]), int(labels[i])))
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
        found = keras.tree.map_structure(
            lambda *parts: np.concatenate(parts), *self._parts
        )
        labels = found["labels"].astype("int64")
        labelled = (labels != UNLABELED).any()
        metrics = self._metrics
        students = [side for side in metrics if side != "teacher"]
        return Seen(
            num_examples=int(found["counts"].sum()),
            num_classes=self._num_classes,
            scores=tuple(s for s in self._scores if labelled or not s.needs_labels),
            values=keras.tree.map_structure(
                lambda v: v.astype("float64"), found["values"]
            ),
            predicted=found["predicted"],
            confidence=found["confidence"],
            labels=labels if labelled else None,
            weights=found["weights"].astype("float64"),
            reliability={
                side: _reliability(of["reliability"])
                for side, of in metrics.items()
                if labelled
            },
            by_confidence={s: metrics[s]["by_confidence"].result() for s in students},
            exaggeration={s: metrics[s]["exaggeration"].details() for s in students},
            normalized_mi={
                s: float(metrics[s]["information"].result()) for s in students
            },
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


def _check_rows(sides):
    shapes = {side: tuple(examples.student.shape) for side, examples in sides.items()}
    if len(shapes["teacher"]) != 2:
        raise ValueError(
            "A report compares classifiers with one output, logits (batch, classes). "
            f"Received: outputs of shapes {shapes}. Make a `keras.Model(model.inputs, "
            "...)` that gives one row of logits an example."
        )


def _predicted(logits):
    return ops.cast(ops.argmax(logits, axis=-1), "int32")


def _labels(examples):
    """Class of each row, `UNLABELED` where none counts."""
    if examples.classes is None:
        return ops.full_like(_predicted(examples.student), UNLABELED)
    ones = ops.ones_like(examples.student[:, 0])
    counts = weigh(ones, examples._replace(sample_weight=None), of_labels=True).weight
    return ops.where(counts > 0, examples.classes, UNLABELED)


def _without_nones(examples):
    return {k: v for k, v in examples._asdict().items() if v is not None}


def _metrics_of(sides, exaggeration):
    """`{side: metrics}` of the whole set that are no means of one value an example."""
    classes = sides["teacher"].student.shape[-1]
    found = {}
    for side in sides:
        found[side] = {
            "reliability": ExpectedCalibrationError(NUM_BINS, dtype="float64")
        }
        if side != "teacher":
            by_confidence = AgreementByConfidence(NUM_CONFIDENCE_BINS, dtype="float64")
            found[side] |= {
                "by_confidence": by_confidence,
                "exaggeration": ConfidenceExaggeration(*exaggeration),
                "information": NormalizedMutualInformation(classes),
            }
    return found


def _reliability(metric):
    return ReliabilityBins(equal_width_edges(NUM_BINS), *metric.bins())


def _leaves(x):
    return keras.tree.flatten(x)


def _bytes(tensor):
    tensor = tf.convert_to_tensor(tensor)
    size = int(tf.size(tensor))
    return size * (tensor.dtype.size or 1) if tensor.dtype != tf.string else 1000 * size
