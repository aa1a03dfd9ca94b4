"""What storing costs: KL from the exact answers, and the calibration of both."""

import numpy as np

from keras_kd.data.label_store.formats import divergences

BINS = 15  # of equal width, as Guo et al. 2017


class Statistics:
    """Sums over the rows of a shard; JSON.

    Args:
        temperature: Of the softmaxes whose KL is measured.

    Attributes:
        sums: `kl` (sum) and `max_kl`, in nats; for `exact` and `stored` answers three
            lists of each bin of confidence: rows with a label, sums of confidence, and
            how many are right.
    """

    def __init__(self, temperature):
        self._temperature = temperature
        empty = [[0.0] * BINS for _ in range(3)]
        self.sums = {"kl": 0.0, "max_kl": 0.0, "exact": empty, "stored": empty}

    def add(self, exact, stored, labels):
        kl = np.maximum(divergences(exact, stored, self._temperature), 0.0)
        self.sums["kl"] += float(kl.sum())
        self.sums["max_kl"] = max(self.sums["max_kl"], float(kl.max()))
        for side, logits in (("exact", exact), ("stored", stored)):
            bins = np.add(self.sums[side], _bins(logits, labels))
            self.sums[side] = bins.tolist()


def total(shards):
    """Mean KL, largest KL, and the calibration error of both sides, of all shards."""
    shards = list(shards)
    rows = sum(shard["rows"] for shard in shards)
    errors = {
        side: _calibration_error(np.sum([shard[side] for shard in shards], axis=0))
        for side in ("exact", "stored")
    }
    return {
        "mean_kl": sum(shard["kl"] for shard in shards) / rows,
        "max_kl_of_a_row": max(shard["max_kl"] for shard in shards),
        "calibration_error": errors,
    }


def _bins(logits, labels):
    labelled = labels >= 0
    logits, labels = logits[labelled].astype("float64"), labels[labelled]
    shifted = logits - logits.max(-1, keepdims=True)
    confidence = 1.0 / np.exp(shifted).sum(-1)
    right = logits.argmax(-1) == labels
    at = np.clip(np.ceil(confidence * BINS) - 1, 0, BINS - 1).astype(int)
    each = (np.ones(len(at)), confidence, right)
    return [np.bincount(at, values, BINS).tolist() for values in each]


def _calibration_error(bins):
    count, confidence, right = bins
    if not count.sum():
        return None  # no labels
    return float(np.abs(confidence - right).sum() / count.sum())
