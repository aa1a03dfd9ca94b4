"""The scores of a classifier and of its fidelity: the one list that all readers use.

First what each score is of one example, then the list. Functions and classes of the
families, `keras_kd.metrics.predictive_kl` say, are means of the same values.
"""

import dataclasses
from collections.abc import Callable

from keras import ops

from keras_kd._common.examples import Values, weigh
from keras_kd._common.numerics import kl_divergence, largest
from keras_kd._common.row_chunks import in_chunks
from keras_kd._common.streaming import StreamingMean


def hits(classes, logits):
    """1 where the largest logit is that of the class, 0 elsewhere."""
    predicted = ops.cast(ops.argmax(logits, axis=-1), "int32")
    return ops.cast(ops.equal(predicted, classes), logits.dtype)


def confidence_of(logits):
    """The largest probability of each row."""
    return ops.squeeze(largest(ops.softmax(logits, axis=-1)), axis=-1)


def bin_of(confidence, num_bins):
    """Number of the bin: bin b holds confidences in (b / B, (b + 1) / B]."""
    index = ops.cast(ops.ceil(confidence * num_bins), "int32") - 1
    return ops.clip(index, 0, num_bins - 1)


def calibration_gaps(classes, logits, num_bins):
    """`(..., bins)`: hit less confidence, in the bin of the confidence, 0 elsewhere."""
    confidence = confidence_of(logits)
    bins = ops.one_hot(bin_of(confidence, num_bins), num_bins, dtype=confidence.dtype)
    return bins * (hits(classes, logits) - confidence)[..., None]


def nll_values(classes, logits):
    """-log softmax(logits)[class] of each row."""
    log_probs = ops.log_softmax(logits, axis=-1)
    of_class = ops.equal(
        ops.arange(logits.shape[-1], dtype=classes.dtype), ops.expand_dims(classes, -1)
    )
    return -ops.sum(ops.where(of_class, log_probs, 0.0), axis=-1)


def brier_values(classes, logits):
    """Squared distance of the probabilities from the one-hot class, of each row."""
    probs = ops.softmax(logits, axis=-1)
    one_hot = ops.one_hot(classes, logits.shape[-1], dtype=probs.dtype)
    return ops.sum(ops.square(probs - one_hot), axis=-1)


def agreement_values(teacher, student, k=1):
    """Of each example: 1 where the student's top k holds the teacher's prediction."""
    predicted = ops.argmax(teacher, axis=-1)
    if k == 1:
        same = ops.equal(predicted, ops.argmax(student, axis=-1))
        return ops.cast(same, student.dtype)
    # Rank of the teacher's class for the student; ties count as argmax counts them.
    predicted = ops.expand_dims(predicted, -1)
    classes = ops.arange(student.shape[-1], dtype=predicted.dtype)
    its = ops.where(ops.equal(classes, predicted), student, 0.0)
    score = ops.sum(its, axis=-1, keepdims=True)
    earlier = classes < predicted
    ahead = ops.logical_or(
        student > score, ops.logical_and(ops.equal(student, score), earlier)
    )
    rank = ops.sum(ops.cast(ahead, "int32"), axis=-1)
    return ops.cast(rank < k, student.dtype)


def predictive_kl_values(teacher, student):
    """KL(teacher || student) of each example or position."""
    return _of_positions(kl_divergence, teacher, student)


def reverse_kl_values(teacher, student):
    """KL(student || teacher) of each example or position."""
    return _of_positions(kl_divergence, student, teacher)


def jensen_shannon_values(teacher, student):
    """Mean KL of both sides from their mean, of each example or position."""
    return _of_positions(_jensen_shannon, teacher, student)


def _jensen_shannon(teacher, student):
    # The logits of the mean: those of the sum, as log 2 shifts all classes alike.
    mean = ops.logaddexp(ops.log_softmax(teacher), ops.log_softmax(student))
    return 0.5 * (kl_divergence(teacher, mean) + kl_divergence(student, mean))


def total_variation_values(teacher, student):
    """Half the distance of the probabilities, of each example or position."""
    return _of_positions(_total_variation, teacher, student)


def _total_variation(teacher, student):
    gap = ops.softmax(teacher, axis=-1) - ops.softmax(student, axis=-1)
    return 0.5 * ops.sum(ops.abs(gap), axis=-1)


def _of_positions(function, teacher, student):
    """Of rows at once; of sequences some positions at a time, which saves memory."""
    if len(student.shape) == 2:
        return function(teacher, student)
    return in_chunks(function, teacher, student)


@dataclasses.dataclass(frozen=True)
class Score:
    """A number that says how good a classifier is, or how close to its teacher.

    Attributes:
        name: Key in results and logs.
        label: In tables.
        direction: `"up"` where higher is closer or better, `"down"` where lower is.
        needs_labels: Whether it says how well one model, the `student` of `Examples`,
            predicts labels; else it compares both sides.
        values: `Examples` to `(batch, ...)` values, whose weighted mean is the score;
            with `summary` to `(batch, ..., columns)`.
        summary: From the weighted means of the columns, on the last axis of a tensor or
            of a NumPy array, to the score. Defaults to None.
        columns: How many columns there are. Defaults to None: just a value an example.
        least_classes: It means something from so many classes on. Defaults to 2.
        is_share: Whether it is a share of the examples: each value is 0 or 1. Defaults
            to False.
    """

    name: str
    label: str
    direction: str
    needs_labels: bool
    values: Callable
    summary: Callable | None = None
    columns: int | None = None
    least_classes: int = 2
    is_share: bool = False

    def applies(self, num_classes, labelled):
        """Whether it means something of so many classes, with labels or without."""
        return num_classes >= self.least_classes and (labelled or not self.needs_labels)


def calibration_score(num_bins=15):
    """Expected calibration error as a `Score`: a column for each bin.

    Column b holds hit less confidence of the examples in bin b, so the error is the sum
    of the columns' absolute means.
    """
    return Score(
        "ece",
        f"Calibration error ({num_bins} bins)",
        "down",
        needs_labels=True,
        values=lambda e: calibration_gaps(e.classes, e.student, num_bins),
        summary=lambda means: sum(abs(means[..., b]) for b in range(num_bins)),
        columns=num_bins,
    )


SCORES = (
    Score(
        "accuracy",
        "Accuracy",
        "up",
        needs_labels=True,
        values=lambda e: hits(e.classes, e.student),
        is_share=True,
    ),
    Score(
        "nll",
        "NLL (nats)",
        "down",
        needs_labels=True,
        values=lambda e: nll_values(e.classes, e.student),
    ),
    Score(
        "brier",
        "Brier score",
        "down",
        needs_labels=True,
        values=lambda e: brier_values(e.classes, e.student),
    ),
    calibration_score(),
    Score(
        "agreement",
        "Agreement",
        "up",
        needs_labels=False,
        values=lambda e: agreement_values(e.teacher, e.student),
        is_share=True,
    ),
    Score(
        "agreement_top5",
        "Teacher's class in top 5",
        "up",
        needs_labels=False,
        values=lambda e: agreement_values(e.teacher, e.student, k=5),
        least_classes=6,
        is_share=True,
    ),
    Score(
        "kl",
        "KL(teacher ‖ model), nats",
        "down",
        needs_labels=False,
        values=lambda e: predictive_kl_values(e.teacher, e.student),
    ),
    Score(
        "reverse_kl",
        "KL(model ‖ teacher), nats",
        "down",
        needs_labels=False,
        values=lambda e: reverse_kl_values(e.teacher, e.student),
    ),
    Score(
        "jensen_shannon",
        "Jensen-Shannon, nats",
        "down",
        needs_labels=False,
        values=lambda e: jensen_shannon_values(e.teacher, e.student),
    ),
    Score(
        "total_variation",
        "Total variation",
        "down",
        needs_labels=False,
        values=lambda e: total_variation_values(e.teacher, e.student),
    ),
)


def scores_for(num_classes, *, labelled):
    """Those of `SCORES` that mean something, as they are now.

    Args:
        num_classes: Of the models.
        labelled: Whether there are labels.
    """
    return tuple(score for score in SCORES if score.applies(num_classes, labelled))


def score_values(score, examples):
    """`Values` of a score; examples without a label leave scores of labels out.

    Of a score with columns, values and weight are `(batch, ..., columns)`.
    """
    if score.needs_labels and examples.classes is None:
        raise ValueError(
            f"{score.label} ({score.name!r}) needs class labels, and these examples "
            "have none. Give a set with labels, or leave this score out."
        )
    found = _columns((score,), examples)
    if score.columns is not None:
        return found
    return found._replace(values=found.values[..., 0], weight=found.weight[..., 0])


def _columns(scores, examples):
    """`Values` of scores side by side: a column each, or as many as the score has."""
    values = [score.values(examples) for score in scores]
    each = ops.ones_like(examples.student[..., 0])
    weighed = {  # once for all scores
        of_labels: weigh(each, examples, of_labels=of_labels)
        for of_labels in {score.needs_labels for score in scores}
    }
    pairs = list(zip(scores, values, strict=True))
    values = [ops.expand_dims(v, -1) if s.columns is None else v for s, v in pairs]
    values = ops.concatenate(values, axis=-1) if len(values) > 1 else values[0]
    of_column = [weighed[s.needs_labels] for s in scores for _ in range(s.columns or 1)]
    weight = ops.stack([found.weight for found in of_column], axis=-1)
    values = ops.where(weight == 0, ops.zeros_like(values), values)
    return Values(values, weight, of_column[0].size)


def _padded(values, columns):
    """The same `Values` with so many columns, the last of them 0."""
    missing = columns - values.values.shape[-1]
    if not missing:
        return values
    widths = [(0, 0)] * (len(values.values.shape) - 1) + [(0, missing)]
    return values._replace(
        values=ops.pad(values.values, widths), weight=ops.pad(values.weight, widths)
    )


class ScoreMeans(StreamingMean):
    """Streaming values of `Score`s: exact on any batching; NaN before any example.

    Scores that mean nothing of the examples, of labels where there are none, are left
    out of the result. Sums are in float64: the gaps of a calibration error cancel.

    Args:
        scores: `Score`s, all of one pair of sides.
        name: Defaults to `"scores"`.

    Example:

    >>> from keras_kd._common.examples import examples_of
    >>> from keras_kd.metrics.scores import SCORES, ScoreMeans
    >>> means = ScoreMeans(SCORES)
    >>> means.update(examples_of(np.eye(3)[[0, 1]], np.eye(3)[[0, 2]]))
    >>> float(means.result()["agreement"]), "accuracy" in means.result()
    (0.5, False)
    """

    def __init__(self, scores, name="scores"):
        self.scores = tuple(scores)
        self._applying = self.scores
        columns = sum(score.columns or 1 for score in self.scores)
        super().__init__(name, "float64", columns=columns)

    def update(self, examples):
        """Take in the `Examples` of a batch."""
        classes, labelled = examples.student.shape[-1], examples.classes is not None
        self._applying = [s for s in self.scores if s.applies(classes, labelled)]
        if self._applying:
            found = _columns(self._applying, examples)
            self.add_values(_padded(found, self._shape[0]))

    def update_state(self, examples):
        """Take in the `Examples` of a batch."""
        self.update(examples)

    def result(self):
        """`{name: value}` of the scores that apply."""
        means, found, start = super().result(), {}, 0
        for score in self._applying:
            end = start + (score.columns or 1)
            of_score = means[start] if score.columns is None else means[start:end]
            found[score.name] = score.summary(of_score) if score.summary else of_score
            start = end
        return found
