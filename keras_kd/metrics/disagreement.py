"""Where teacher and student part: who is right then, and how sure the teacher was."""

from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from keras_kd._common.checks import check_whole_number
from keras_kd._common.examples import examples_of, weigh
from keras_kd._common.table import InTable, bin_table
from keras_kd.metrics._confidence import (
    ConfidenceSums,
    confidence_sums,
    equal_width_edges,
)
from keras_kd.metrics._segment_sums import SegmentSums, segment_means, segment_sums
from keras_kd.metrics.agreement import agreement_values
from keras_kd.metrics.scores import confidence_of

_KINDS = (
    "both_right",
    "only_teacher_right",
    "only_student_right",
    "both_wrong_same",
    "both_wrong_different",
)


def disagreement_kinds(labels, teacher, student, *, sample_weight=None):
    """Shares of examples by who is right, and whether both make the same mistake.

    Agreement is `both_right + both_wrong_same`; the teacher's accuracy is
    `both_right + only_teacher_right`. A student that disagrees more and more by
    `only_student_right` follows its teacher less and is better for it.

    Args:
        labels: Class indices `(n, ...)`, or one-hot rows `(n, ..., classes)`. Rows
            labelled `keras_kd.UNLABELED` (-1) and all-zero rows do not count.
        teacher: Logits or probabilities, `(n, ..., classes)`.
        student: Same shape.
        sample_weight: `(n,)`, weights >= 0. Defaults to equal weights.

    Returns:
        `{kind: share}` of the five kinds `both_right`, `only_teacher_right`,
        `only_student_right`, `both_wrong_same` and `both_wrong_different`; they add up
        to 1. NaN for an empty set.

    Example:

    >>> teacher, student = np.eye(3)[[0, 1, 2, 2]], np.eye(3)[[0, 0, 2, 1]]
    >>> kinds = keras_kd.metrics.disagreement_kinds([0, 0, 0, 0], teacher, student)
    >>> float(kinds["only_student_right"]), float(kinds["both_wrong_same"])
    (0.25, 0.25)
    """
    found = _kind_sums(labels, teacher, student, sample_weight)
    return _by_name(_shares(found))


def disagreement_kind_values(classes, teacher, student):
    """Which of the five kinds each example is, a whole number."""
    said = [ops.cast(ops.argmax(s, axis=-1), "int32") for s in (teacher, student)]
    teacher_right, student_right = (ops.equal(s, classes) for s in said)
    return ops.where(
        teacher_right,
        ops.where(student_right, 0, 1),
        ops.where(student_right, 2, ops.where(ops.equal(*said), 3, 4)),
    )


def _kind_sums(labels, teacher, student, sample_weight):
    examples = examples_of(teacher, student, labels, sample_weight)
    kinds = disagreement_kind_values(
        examples.classes, examples.teacher, examples.student
    )
    of_each = weigh(ops.ones_like(examples.student[..., 0]), examples, of_labels=True)
    return segment_sums(len(_KINDS), kinds, of_each.weight)


def _shares(kind_sums):
    weights = kind_sums[:, 0]
    total = ops.sum(weights)
    return weights / ops.where(total == 0, float("nan"), total)


def _by_name(shares):
    return {kind: shares[i] for i, kind in enumerate(_KINDS)}


@keras.saving.register_keras_serializable(package="keras_kd")
class DisagreementKinds(SegmentSums):
    """Streaming `disagreement_kinds`: exact on any batching. Has no one direction.

    Args:
        name: Defaults to `"disagreement_kinds"`.
        dtype: Of the result. Defaults to `keras.config.floatx()`.

    Example:

    >>> metric = keras_kd.metrics.DisagreementKinds()
    >>> metric.update_state([0, 0], np.eye(3)[[0, 1]], np.eye(3)[[0, 0]])
    >>> metric.update_state([0, 0], np.eye(3)[[2, 2]], np.eye(3)[[2, 1]])
    >>> float(metric.result()["only_student_right"])
    0.25
    """

    takes = ("labels", "teacher", "student")

    def __init__(self, name="disagreement_kinds", dtype=None):
        super().__init__(len(_KINDS), name=name, dtype=dtype)

    def update_state(self, labels, teacher, student, sample_weight=None):
        """Take in labels, then logits `(batch, ..., classes)`, teacher first."""
        self.add_table(_kind_sums(labels, teacher, student, sample_weight))

    def result(self):
        """`{kind: share}`."""
        return _by_name(*self.in_dtype(_shares(self.totals())))


class AgreementBins(NamedTuple):
    """Agreement in bins of the teacher's confidence.

    Attributes:
        edges: `(num_bins + 1,)`; bin b holds confidences in (edges[b], edges[b + 1]].
        weights: `(num_bins,)`, examples in each bin (the sum of their weights).
        agreement: `(num_bins,)`, share on which both predict the same class; NaN for an
            empty bin.
        confidence: `(num_bins,)`, mean confidence of the teacher; NaN for an empty bin.
    """

    edges: Any
    weights: Any
    agreement: Any
    confidence: Any

    def plot(self, ax=None, *, shares=True, little=0.02, **line):
        """Draw agreement against the teacher's confidence, and shares in gray.

        Args:
            ax: Matplotlib axes, e.g. those of another student. Defaults to new ones.
            shares: Whether to draw how many of the examples each bin holds. Defaults to
                True.
            little: Share below which a bin says little: its point is hollow, and not on
                the line. Defaults to 0.02.
            line: Passed on to `ax.plot`, e.g. `label="student"`.

        Returns:
            The axes.
        """
        import matplotlib.pyplot as plt

        ax = plt.subplots()[1] if ax is None else ax
        bins = AgreementBins(*map(ops.convert_to_numpy, self))
        look = {"color": "C0", "marker": "o", "markersize": 5, **line}
        share = bins.weights / max(bins.weights.sum(), 1e-12)
        if shares:
            middles = (bins.edges[1:] + bins.edges[:-1]) / 2
            gray = {"color": plt.rcParams["axes.edgecolor"], "alpha": 0.35}
            ax.bar(middles, share, np.diff(bins.edges) * 0.92, **gray)
        known = np.isfinite(bins.agreement)
        enough, few = known & (share >= little), known & (share < little)
        ax.plot(bins.confidence[enough], bins.agreement[enough], **look)
        look |= {"linestyle": "", "fillstyle": "none", "label": "_"}
        ax.plot(bins.confidence[few], bins.agreement[few], **look)
        ax.set(xlim=(0, 1.02), ylim=(0, 1.04), xlabel="confidence of the teacher")
        ax.set_ylabel("agreement, share (gray)")
        return ax

    def _table(self):
        edges, *columns = map(ops.convert_to_numpy, self)
        return bin_table(edges, columns, self._fields[1:])

    def __repr__(self):
        try:
            return InTable.__repr__(self)
        except (NotImplementedError, TypeError):  # within a graph there are no numbers
            return tuple.__repr__(self)

    _repr_html_ = InTable._repr_html_


def agreement_by_confidence(
    teacher_logits, student_logits, num_bins=10, *, sample_weight=None
):
    """Agreement as a function of how sure the teacher is. Higher is closer.

    The teacher's confidence is its largest probability; bins are of equal width.

    Args:
        teacher_logits: `(n, ..., classes)`.
        student_logits: Same shape.
        num_bins: At least 1. Defaults to 10.
        sample_weight: `(n,)`, weights >= 0. Defaults to equal weights.

    Returns:
        Named tuple of arrays `edges`, `weights` (how many examples), `agreement` and
        `confidence` (mean of the teacher's); the last two are NaN for empty bins.

    Example:

    >>> teacher = np.array([[9.0, -9.0], [9.0, -9.0], [0.1, 0.0]])
    >>> student = np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 0.1]])
    >>> bins = keras_kd.metrics.agreement_by_confidence(teacher, student, num_bins=2)
    >>> bins.edges.tolist(), bins.weights.tolist(), bins.agreement.round(4).tolist()
    ([0.0, 0.5, 1.0], [0.0, 3.0], [nan, 0.6667])
    """
    num_bins = check_whole_number("num_bins", num_bins, at_least=1)
    found = _bin_sums(teacher_logits, student_logits, num_bins, sample_weight)
    bins = map(ops.convert_to_numpy, segment_means(found))
    return AgreementBins(equal_width_edges(num_bins), *bins)


def _bin_sums(teacher_logits, student_logits, num_bins, sample_weight):
    examples = examples_of(teacher_logits, student_logits, sample_weight=sample_weight)
    same = weigh(agreement_values(examples.teacher, examples.student), examples)
    confidence = confidence_of(examples.teacher)
    return confidence_sums(num_bins, confidence, same.values, same.weight)


@keras.saving.register_keras_serializable(package="keras_kd")
class AgreementByConfidence(ConfidenceSums):
    """Streaming `agreement_by_confidence`: exact on any batching. Higher is closer.

    Args:
        num_bins: At least 1. Defaults to 10.
        name: Defaults to `"agreement_by_confidence"`.
        dtype: Of the result. Defaults to `keras.config.floatx()`.

    Example:

    >>> metric = keras_kd.metrics.AgreementByConfidence(num_bins=2)
    >>> metric.update_state(np.array([[9.0, -9.0]]), np.array([[1.0, 0.0]]))
    >>> float(metric.result().agreement[1])
    1.0
    """

    takes = ("teacher", "student")
    _direction = "up"

    def __init__(self, num_bins=10, name="agreement_by_confidence", dtype=None):
        super().__init__(num_bins, name, dtype)

    def update_state(self, teacher_logits, student_logits, sample_weight=None):
        """Take in a batch of logits `(batch, ..., classes)`, teacher first."""
        sides = teacher_logits, student_logits
        self.add_table(_bin_sums(*sides, self.num_bins, sample_weight))

    def result(self):
        """Named tuple of arrays: `edges`, `weights`, `agreement`, `confidence`."""
        edges = ops.convert_to_tensor(equal_width_edges(self.num_bins))
        return AgreementBins(*self.in_dtype(edges, *segment_means(self.totals())))
