"""Jensen-Shannon divergence and total variation."""

import numpy as np

from oracles.logits import log_softmax, softmax


def jensen_shannon(teacher_logits, student_logits):
    """sum p log(p / m) of each side, halved, with m the mean of both."""
    log_probs = log_softmax(teacher_logits), log_softmax(student_logits)
    log_mean = np.logaddexp(*log_probs) - np.log(2)
    halves = [np.sum(np.exp(p) * (p - log_mean), axis=-1) / 2 for p in log_probs]
    return sum(halves)


def total_variation(teacher_logits, student_logits):
    gap = softmax(teacher_logits) - softmax(student_logits)
    return np.abs(gap).sum(axis=-1) / 2
