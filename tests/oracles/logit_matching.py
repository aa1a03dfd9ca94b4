"""What matches logits other than by a divergence, example by example.

Touvron et al. 2021, equation 3; Stanton et al. 2021, released code (Brier, summed over
classes here); Kim et al. 2021; Sun et al. 2024, algorithm 1.
"""

import numpy as np

from oracles.logits import log_softmax, softmax, tempered


def hard_label(teacher_logits, student_logits):
    log_q = log_softmax(student_logits)
    values = np.zeros(log_q.shape[:-1])
    for place in np.ndindex(values.shape):
        best = 0
        for k, logit in enumerate(teacher_logits[place]):
            if logit > teacher_logits[place][best]:
                best = k
        values[place] = -log_q[place][best]
    return values


def brier(teacher_logits, student_logits, temperature=1.0):
    teacher, student = tempered(temperature, teacher_logits, student_logits)
    gap = softmax(student) - softmax(teacher)
    return temperature**2 * np.sum(gap**2, axis=-1)


def logit_mse(teacher_logits, student_logits, center=False):
    gap = np.asarray(student_logits, "float64") - np.asarray(teacher_logits, "float64")
    if center:
        gap = gap - gap.mean(axis=-1, keepdims=True)
    return np.mean(gap**2, axis=-1)


def standardize(logits, ddof=0):
    """Over the classes; a row of equal logits gives zeros."""
    logits = np.asarray(logits, "float64")
    result = np.zeros_like(logits)
    for place in np.ndindex(logits.shape[:-1]):
        row = logits[place]
        if row.max() > row.min():
            result[place] = (row - row.mean()) / row.std(ddof=ddof)
    return result
