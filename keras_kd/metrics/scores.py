"""The scores of a classifier and of its fidelity: the one list that all readers use."""

import dataclasses
from collections.abc import Callable

from keras import ops

from keras_kd._common.examples import Values, examples_of, weigh
from keras_kd._common.streaming import StreamingMean
from keras_kd.metrics._confidence import calibration_gaps, hits
from keras_kd.metrics.agreement import agreement_values
from keras_kd.metrics.brier import brier_values
from keras_kd.metrics.calibration import nll_values
from keras_kd.metrics.divergence import (
    jensen_shannon_values,
    predictive_kl_values,
    reverse_kl_values,
    total_variation_values,
)

__all__ = [
    "SCORES",
    "Score",
    "ScoreMean",
    "calibration_score",
    "examples_of",
    "score_values",
    "scores_for",
]


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
    """

    name: str
    label: str
    direction: str
    needs_labels: bool
    values: Callable
    summary: Callable | None = None
    columns: int | None = None
    least_classes: int = 2


def calibration_score(num_bins=15):
    """Expected calibration error as a `Score`: a column for each bin.

    Column b holds hit less confidence of the examples in bin b, so the error is the sum
    of the columns' absolute means.
    """
    return Score(
        "ece",
        f"Calibration error ({num_bins} bins)",
        "down",
        True,
        lambda e: calibration_gaps(e.classes, e.student, num_bins),
        summary=lambda means: sum(abs(means[..., b]) for b in range(num_bins)),
        columns=num_bins,
    )


def _of_labels(name, label, direction, values):
    return Score(name, label, direction, True, lambda e: values(e.classes, e.student))


def _of_both(name, label, direction, values, **rest):
    of_examples = lambda e: values(e.teacher, e.student)  # noqa: E731
    return Score(name, label, direction, False, of_examples, **rest)


SCORES = (
    _of_labels("accuracy", "Accuracy", "up", hits),
    _of_labels("nll", "NLL (nats)", "down", nll_values),
    _of_labels("brier", "Brier score", "down", brier_values),
    calibration_score(),
    _of_both("agreement", "Agreement", "up", agreement_values),
    _of_both(
        "agreement_top5",
        "Teacher's class in top 5",
        "up",
        lambda teacher, student: agreement_values(teacher, student, 5),
        least_classes=6,
    ),
    _of_both("kl", "KL(teacher ‖ model), nats", "down", predictive_kl_values),
    _of_both("reverse_kl", "KL(model ‖ teacher), nats", "down", reverse_kl_values),
    _of_both("jensen_shannon", "Jensen-Shannon, nats", "down", jensen_shannon_values),
    _of_both("total_variation", "Total variation", "down", total_variation_values),
)


def scores_for(num_classes, *, labelled):
    """Those of `SCORES` that mean something, as they are now.

    Args:
        num_classes: Of the models.
        labelled: Whether there are labels.
    """
    return tuple(
        score
        for score in SCORES
        if num_classes >= score.least_classes and (labelled or not score.needs_labels)
    )


def score_values(score, examples):
    """`Values` of a score; examples without a label leave scores of labels out.

    Of a score with columns, values and weight are `(batch, ..., columns)`.
    """
    if score.needs_labels and examples.classes is None:
        raise ValueError(
            f"{score.label} ({score.name!r}) needs class labels, and these examples "
            "have none. Give a set with labels, or leave this score out."
        )
    values = score.values(examples)
    if score.summary is None:
        return weigh(values, examples, of_labels=score.needs_labels)
    of_one = weigh(values[..., 0], examples, of_labels=score.needs_labels)
    weight = ops.broadcast_to(of_one.weight[..., None], ops.shape(values))
    values = ops.where(weight == 0, ops.zeros_like(values), values)
    return Values(values, weight, of_one.size)


class ScoreMean(StreamingMean):
    """Streaming value of a `Score`: exact on any batching; NaN before any example.

    Args:
        score: `Score`.
        name: Defaults to the name of the score.
        dtype: Of the result. Defaults to `"float64"`, in which it then is summed: the
            gaps of a calibration error cancel.
    """

    def __init__(self, score, name=None, dtype="float64"):
        self.score = score
        self._direction = score.direction
        super().__init__(name or score.name, dtype, columns=score.columns)

    def update(self, examples):
        """Take in the `Examples` of a batch."""
        self.add_values(score_values(self.score, examples))

    def update_state(self, examples):
        """Take in the `Examples` of a batch."""
        self.update(examples)

    def result(self):
        means = super().result()
        return means if self.score.summary is None else self.score.summary(means)
