"""Reliability bins for a diagram, and the calibration error of bins of equal mass."""

from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from keras_kd._common.checks import check_choice, check_whole_number
from keras_kd._common.table import InTable, bin_table
from keras_kd.metrics._confidence import (
    confidence_and_hits,
    confidence_sums,
    equal_width_edges,
)
from keras_kd.metrics._kept_examples import KeptExamples, in_order, kept_rows, on_host
from keras_kd.metrics._segment_sums import segment_means

_BINNINGS = ("equal_width", "equal_mass")


class ReliabilityBins(NamedTuple):
    """What a reliability diagram draws, arrays.

    Attributes:
        edges: `(num_bins + 1,)` confidences between the bins.
        weights: `(num_bins,)`, examples in each bin (the sum of their weights).
        accuracy: `(num_bins,)`; NaN for an empty bin.
        confidence: `(num_bins,)`, the mean; NaN for an empty bin.
    """

    edges: Any
    weights: Any
    accuracy: Any
    confidence: Any

    def plot(self, ax=None, **points):
        """Draw a reliability diagram: accuracy against confidence, and shares in gray.

        Args:
            ax: Matplotlib axes. Defaults to new ones.
            points: Passed on to `ax.plot` for the points, e.g. `color="C1"`, which the
                bars of the accuracy take too.

        Returns:
            The axes.
        """
        import matplotlib.pyplot as plt

        ax = plt.subplots()[1] if ax is None else ax
        style = plt.rcParams
        look = {"color": "C0", "marker": "o", "markersize": 5, "linestyle": ""} | points
        share = self.weights / max(np.sum(self.weights), 1e-12)
        bars = {"width": np.diff(self.edges) * 0.92}
        middles = (self.edges[1:] + self.edges[:-1]) / 2
        heights = np.nan_to_num(self.accuracy)
        ax.bar(middles, heights, color=look["color"], alpha=0.3, **bars)
        ax.bar(middles, share, color=style["axes.facecolor"], **bars)
        ax.bar(middles, share, color=style["axes.edgecolor"], alpha=0.7, **bars)
        ax.plot([0, 1], [0, 1], "--", color=style["text.color"], linewidth=1)
        ax.plot(self.confidence, self.accuracy, **look)
        ax.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="confidence")
        ax.set_ylabel("accuracy, share (gray)")
        return ax

    def _table(self):
        columns = (self.weights, self.accuracy, self.confidence)
        return bin_table(self.edges, columns, self._fields[1:])

    __repr__ = InTable.__repr__
    _repr_html_ = InTable._repr_html_


def reliability_bins(
    labels, logits, num_bins=15, binning="equal_width", *, sample_weight=None
):
    """Accuracy against confidence in bins: the data of a reliability diagram.

    Args:
        labels: Class indices `(n, ...)`, or one-hot rows `(n, ..., classes)`. Rows
            labelled `keras_kd.UNLABELED` (-1) and all-zero rows do not count.
        logits: `(n, ..., classes)`.
        num_bins: At least 1. Defaults to 15.
        binning: `"equal_width"`: bins of the same span of confidence, what
            `expected_calibration_error` sums over. `"equal_mass"`: bins of as many
            examples each (of equal weight), of `equal_mass_calibration_error`. Defaults
            to `"equal_width"`.
        sample_weight: `(n,)`, weights >= 0. Defaults to equal weights.

    Returns:
        Named tuple of float arrays `edges`, `weights`, `accuracy` and `confidence`.

    Example:

    >>> logits = np.array([[9.0, -9.0], [9.0, -9.0], [0.1, 0.0], [0.2, 0.0]])
    >>> bins = keras_kd.metrics.reliability_bins([0, 0, 0, 1], logits, num_bins=2)
    >>> bins.edges.tolist(), bins.weights.tolist(), bins.accuracy.tolist()
    ([0.0, 0.5, 1.0], [0.0, 4.0], [nan, 0.75])
    """
    check_choice("binning", binning, _BINNINGS)
    num_bins = check_whole_number("num_bins", num_bins, at_least=1)
    columns = confidence_and_hits(labels, logits, sample_weight)
    if binning == "equal_mass":
        return _equal_mass_bins(in_order(_rows(*columns)), num_bins)
    bins = segment_means(confidence_sums(num_bins, *columns))
    return ReliabilityBins(
        equal_width_edges(num_bins), *map(ops.convert_to_numpy, bins)
    )


def equal_mass_calibration_error(labels, logits, num_bins=15, *, sample_weight=None):
    """Expected calibration error over bins of as many examples each. Lower is better.

    sum_b |accuracy_b - confidence_b| / B, where bin b holds the b-th part of the
    examples by confidence. Where a bin ends within an example, or within examples of
    equal confidence, both bins get their part of it, so that order never matters.

    Args:
        labels: Class indices `(n, ...)`, or one-hot rows `(n, ..., classes)`.
        logits: `(n, ..., classes)`.
        num_bins: B >= 1. Defaults to 15.
        sample_weight: `(n,)`, weights >= 0; bins have equal weight then. Defaults to
            equal weights.

    Returns:
        Scalar in [0, 1]; NaN for an empty set.

    Example:

    >>> logits = np.array([[9.0, -9.0], [9.0, -9.0], [0.1, 0.0], [0.2, 0.0]])
    >>> error = keras_kd.metrics.equal_mass_calibration_error([0, 0, 0, 1], logits, 2)
    >>> round(float(error), 4)
    0.0187

    Reference: Nixon et al. 2019, Measuring Calibration in Deep Learning.
    """
    bins = reliability_bins(
        labels, logits, num_bins, "equal_mass", sample_weight=sample_weight
    )
    return ops.cast(_mean_gap(bins), keras.config.floatx())


@keras.saving.register_keras_serializable(package="keras_kd")
class EqualMassCalibrationError(KeptExamples):
    """Streaming `equal_mass_calibration_error`: exact on any batching. Lower is better.

    Where the bins lie is known at the end only: it keeps three numbers of each example,
    so `update_state` works eagerly, not in a compiled step.

    Args:
        num_bins: At least 1. Defaults to 15.
        name: Defaults to `"equal_mass_calibration_error"`.
        dtype: Of the result. Defaults to `keras.config.floatx()`.

    Example:

    >>> metric = keras_kd.metrics.EqualMassCalibrationError(num_bins=2)
    >>> metric.update_state([0, 0], np.array([[9.0, -9.0], [9.0, -9.0]]))
    >>> metric.update_state([0, 1], np.array([[0.1, 0.0], [0.2, 0.0]]))
    >>> round(float(metric.result()), 4)
    0.0187

    Reference: Nixon et al. 2019, Measuring Calibration in Deep Learning.
    """

    takes = ("labels", "logits")
    _direction = "down"

    def __init__(self, num_bins=15, name="equal_mass_calibration_error", dtype=None):
        self.num_bins = check_whole_number("num_bins", num_bins, at_least=1)
        super().__init__(num_columns=3, name=name, dtype=dtype)

    def update_state(self, labels, logits, sample_weight=None):
        """Take in labels and logits `(batch, ..., classes)`."""
        self.keep(_rows(*confidence_and_hits(labels, logits, sample_weight)))

    def bins(self):
        """`ReliabilityBins` of float64 arrays, each bin of the same weight."""
        return _equal_mass_bins(self.columns(), self.num_bins)

    def result(self):
        return ops.cast(_mean_gap(self.bins()), self.dtype)

    def get_config(self):
        return {**super().get_config(), "num_bins": self.num_bins}


def _rows(confidence, right, weight):
    columns = on_host("EqualMassCalibrationError", confidence, right, weight)
    return kept_rows(*columns[:2], weight=columns[2])


def _equal_mass_bins(columns, num_bins):
    """`ReliabilityBins` of examples in the order of their confidence."""
    confidence, right, weight = columns
    if not weight.size:
        nothing = np.full(num_bins, np.nan)
        edges = np.full(num_bins + 1, np.nan)
        return ReliabilityBins(edges, np.zeros(num_bins), nothing, nothing)
    # Examples of one confidence as one, so that their order cannot matter.
    values, group = np.unique(confidence, return_inverse=True)
    weights, right = (
        np.bincount(group, weights=w, minlength=len(values))
        for w in (weight, weight * right)
    )
    ends = np.cumsum(weights)
    cuts = np.linspace(0.0, ends[-1], num_bins + 1)
    inside = np.diff(cuts)
    accuracy, mean = (
        np.diff(np.interp(cuts, [0.0, *ends], [0.0, *np.cumsum(v)])) / inside
        for v in (right, weights * values)
    )
    edges = values[np.minimum(np.searchsorted(ends, cuts), len(values) - 1)]
    return ReliabilityBins(edges, inside, accuracy, mean)


def _mean_gap(bins):
    return np.mean(np.abs(bins.accuracy - bins.confidence))
