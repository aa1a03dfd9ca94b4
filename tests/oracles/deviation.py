"""Nagarajan et al. 2023: log-odds of the class that the teacher predicts."""

import numpy as np


def log_odds(logits, classes):
    """log(p / (1 - p)), in extended precision from probabilities."""
    logits = np.asarray(logits, "longdouble")
    exps = np.exp(logits - logits.max(axis=-1, keepdims=True))
    own = exps[np.arange(len(exps)), classes]
    rows = zip(exps, classes, strict=True)
    others = np.array([np.delete(row, k).sum() for row, k in rows])
    return (np.log(own) - np.log(others)).astype("float64")


def points(teacher_logits, student_logits):
    classes = np.argmax(teacher_logits, axis=-1)
    return log_odds(teacher_logits, classes), log_odds(student_logits, classes)


def low_half(x):
    """Which examples are not above the lower median."""
    return x <= np.sort(x)[(len(x) - 1) // 2]
