"""Divergences in both directions, and mixtures: Agarwal et al. 2024, equation 1."""

import numpy as np

from oracles.logits import kl_divergence, log_softmax, tempered


def reverse_kl(teacher_logits, student_logits, temperature):
    teacher, student = tempered(temperature, teacher_logits, student_logits)
    return temperature**2 * kl_divergence(student, teacher)


def symmetric_kl(teacher_logits, student_logits, temperature):
    """Half of sum_k (p - q) (log p - log q); a class with p = q = 0 adds nothing."""
    log_p, log_q = map(
        log_softmax, tempered(temperature, teacher_logits, student_logits)
    )
    gap = np.exp(log_p) - np.exp(log_q)
    with np.errstate(invalid="ignore"):
        terms = np.where(gap == 0, 0.0, gap * (log_p - log_q))
    return temperature**2 * terms.sum(axis=-1) / 2


def jensen_shannon(teacher_logits, student_logits, temperature, beta=0.5):
    """b KL(p || m) + (1 - b) KL(q || m), m = b p + (1 - b) q."""
    log_p, log_q = map(
        log_softmax, tempered(temperature, teacher_logits, student_logits)
    )
    mixture = np.logaddexp(log_p + np.log(beta), log_q + np.log1p(-beta))
    of_p, of_q = kl_divergence(log_p, mixture), kl_divergence(log_q, mixture)
    return temperature**2 * (beta * of_p + (1 - beta) * of_q)
