"""Jin et al. 2023 (Multi-Level Logit Distillation), section 3, as intended there."""

import numpy as np

from oracles.logits import knowledge_distillation, softmax


def instance_term(teacher, student, temperature):
    return np.mean(knowledge_distillation(teacher, student, temperature))


def batch_term(teacher, student, temperature):
    """||P P^T - Q Q^T||_F^2 / B, entry by entry."""
    p, q = _probs(teacher, student, temperature)
    return sum((a @ b - c @ d) ** 2 for (a, c), (b, d) in _pairs(p, q)) / len(p)


def class_term(teacher, student, temperature):
    """||P^T P - Q^T Q||_F^2 / K, entry by entry."""
    p, q = (side.T for side in _probs(teacher, student, temperature))
    return sum((a @ b - c @ d) ** 2 for (a, c), (b, d) in _pairs(p, q)) / len(p)


def multi_level_logit(teacher, student, temperatures, weights=(1.0, 1.0, 1.0)):
    """The loss of a batch: one number."""
    terms = instance_term, batch_term, class_term
    return sum(
        weight * term(teacher, student, temperature)
        for weight, term in zip(weights, terms, strict=True)
        for temperature in temperatures
    )


def _probs(teacher, student, temperature):
    sides = np.asarray(teacher, "float64"), np.asarray(student, "float64")
    return [softmax(z.reshape(-1, z.shape[-1]) / temperature) for z in sides]


def _pairs(p, q):
    rows = list(zip(p, q, strict=True))
    return [(first, second) for first in rows for second in rows]
