"""Huang et al. 2022 (Knowledge Distillation from A Stronger Teacher), equations 6-9."""

import numpy as np

from oracles.logits import log_softmax


def correlation(a, b, epsilon=0.0):
    """Pearson's; 0 where one side is constant, to the seven digits of float32.

    The released code's epsilon is 1e-8.
    """
    if any(np.ptp(side) <= 1e-7 * np.max(np.abs(side)) for side in (a, b)):
        return 0.0
    a, b = a - np.mean(a), b - np.mean(b)
    return np.sum(a * b) / (np.linalg.norm(a) * np.linalg.norm(b) + epsilon)


def inter_distances(p, q, epsilon=0.0):
    """1 - correlation over classes of each row of two (rows, classes) arrays."""
    return np.array([1 - correlation(*row, epsilon) for row in zip(p, q, strict=True)])


def intra_distance(p, q, epsilon=0.0):
    """1 - correlation over rows, mean over classes."""
    return np.mean(inter_distances(p.T, q.T, epsilon))


def dist(teacher, student, beta, gamma, temperature):
    """Of each row of (..., classes) logits, all of them compared."""
    shape = np.shape(teacher)
    log_p, log_q = (
        log_softmax(np.asarray(side, "float64").reshape(-1, shape[-1]) / temperature)
        for side in (teacher, student)
    )
    values = beta * inter_distances(np.exp(log_p), np.exp(log_q))
    # A scale of a class changes no correlation; without it exp(-1000) would be 0.
    p, q = (np.exp(side - side.max(axis=0)) for side in (log_p, log_q))
    values = temperature**2 * (values + gamma * intra_distance(p, q))
    return values.reshape(shape[:-1])
