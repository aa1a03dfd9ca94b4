"""The scores of a classifier and of its fidelity: the one list that all readers use."""

import dataclasses
from collections.abc import Callable

from keras import ops

from keras_kd._common.examples import Values, weigh
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

    Example:

    >>> from keras_kd._common.examples import examples_of
    >>> from keras_kd.metrics.scores import SCORES, ScoreMean
    >>> mean = ScoreMean(next(score for score in SCORES if score.name == "agreement"))
    >>> mean.update(examples_of(np.eye(3)[[0, 1]], np.eye(3)[[0, 2]]))
    >>> float(mean.result())
    0.5
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
