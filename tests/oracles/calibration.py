"""Guo et al. 2017, equation 3, with bins (lo, hi]; the log-likelihood of labels."""

import numpy as np

from oracles.logits import log_softmax


def negative_log_likelihood(labels, logits, weights=None):
    labels = np.asarray(labels)
    picked = np.take_along_axis(log_softmax(logits), labels[..., None], axis=-1)
    return np.average(-picked[..., 0], weights=weights)


def expected_calibration_error(labels, logits, num_bins, weights=None):
    """sum_b (n_b / n) |accuracy_b - confidence_b|."""
    weight, accuracy, confidence = bins(labels, logits, num_bins, weights)
    gaps = [
        w * abs(a - c)
        for w, a, c in zip(weight, accuracy, confidence, strict=True)
        if w
    ]
    return sum(gaps) / sum(weight)


def bins(labels, logits, num_bins, weights=None):
    """Weight, accuracy and mean confidence of each bin; NaN for the empty ones."""
    confidence = np.exp(log_softmax(logits)).max(axis=-1).ravel()
    hit = (np.argmax(logits, axis=-1) == np.asarray(labels)).ravel()
    weights = np.ones_like(confidence) if weights is None else np.ravel(weights)
    edges = np.linspace(0, 1, num_bins + 1)
    rows = []
    for low, high in zip(edges[:-1], edges[1:], strict=True):
        inside = weights * ((confidence > low) & (confidence <= high))
        total = inside.sum()
        means = [
            np.sum(inside * v) / total if total else np.nan for v in (hit, confidence)
        ]
        rows.append((total, *means))
    return tuple(np.array(column) for column in zip(*rows, strict=True))
