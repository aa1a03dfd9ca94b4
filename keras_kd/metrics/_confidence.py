"""How sure a classifier is of its prediction, whether it is right, in bins."""

import numpy as np

from keras_kd._common.checks import check_whole_number
from keras_kd._common.examples import examples_of, weigh
from keras_kd.metrics._segment_sums import SegmentSums, segment_sums
from keras_kd.metrics.scores import bin_of, confidence_of, hits


def confidence_and_hits(labels, logits, sample_weight=None):
    """Confidence, whether the prediction is right, and weight of each row."""
    examples = examples_of(None, logits, labels, sample_weight)
    right = weigh(hits(examples.classes, examples.student), examples, of_labels=True)
    return confidence_of(examples.student), right.values, right.weight


def confidence_sums(num_bins, confidence, right, weight):
    """`(num_bins, 3)`: sums of weight, of `right` and of confidence in each bin."""
    bins = bin_of(confidence, num_bins)
    return segment_sums(num_bins, bins, weight, right, confidence)


class ConfidenceSums(SegmentSums):
    """Adds up `confidence_sums` of `num_bins` equal-width bins of confidence."""

    def __init__(self, num_bins, name, dtype=None):
        self.num_bins = check_whole_number("num_bins", num_bins, at_least=1)
        super().__init__(num_bins, num_values=2, name=name, dtype=dtype)

    def get_config(self):
        return {**super().get_config(), "num_bins": self.num_bins}


def equal_width_edges(num_bins):
    return np.linspace(0.0, 1.0, num_bins + 1)
