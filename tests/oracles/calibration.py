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


def gaps(labels, logits, num_bins, weights=None):
    """|accuracy - confidence| of each bin, 0 for the empty ones."""
    _, accuracy, confidence = bins(labels, logits, num_bins, weights)
    return np.nan_to_num(np.abs(accuracy - confidence), nan=0.0)


def equal_mass_parts(labels, logits, num_bins):
    """Examples in order of confidence, in as many parts: rows of (hits, sure)."""
    confidence = np.exp(log_softmax(logits)).max(axis=-1)
    hit = np.argmax(logits, axis=-1) == labels
    parts = np.array_split(np.argsort(confidence, kind="stable"), num_bins)
    return [(hit[part], confidence[part]) for part in parts]


def equal_mass_error(labels, logits, num_bins):
    parts = equal_mass_parts(labels, logits, num_bins)
    return sum(
        len(hit) / len(labels) * abs(hit.mean() - sure.mean()) for hit, sure in parts
    )


def brier_score(labels, logits, weights=None):
    one_hot = np.eye(np.shape(logits)[-1])[labels]
    distance = np.sum((np.exp(log_softmax(logits)) - one_hot) ** 2, axis=-1)
    return np.average(distance, weights=weights)
