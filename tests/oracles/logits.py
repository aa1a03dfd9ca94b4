"""Hinton et al. 2015, section 2; Stanton et al. 2021, equations 2 and 4."""

import numpy as np


def log_softmax(logits):
    logits = np.asarray(logits, "float64")
    logits = logits - logits.max(axis=-1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


def softmax(logits):
    return np.exp(log_softmax(logits))


def kl_divergence(teacher_logits, student_logits):
    """sum p (log p - log q); a class with p = 0 adds nothing."""
    log_p, log_q = log_softmax(teacher_logits), log_softmax(student_logits)
    p = np.exp(log_p)
    with np.errstate(invalid="ignore"):
        return np.sum(np.where(p > 0, p * (log_p - log_q), 0.0), axis=-1)


def cross_entropy(teacher_logits, student_logits):
    """-sum p log q."""
    p, log_q = softmax(teacher_logits), log_softmax(student_logits)
    with np.errstate(invalid="ignore"):
        return -np.sum(np.where(p > 0, p * log_q, 0.0), axis=-1)


def knowledge_distillation(teacher_logits, student_logits, temperature):
    return temperature**2 * kl_divergence(
        *tempered(temperature, teacher_logits, student_logits)
    )


def soft_cross_entropy(teacher_logits, student_logits, temperature):
    return temperature**2 * cross_entropy(
        *tempered(temperature, teacher_logits, student_logits)
    )


def student_gradient(teacher_logits, student_logits, temperature):
    """Of either loss, for each example: T (softmax(z_s / T) - softmax(z_t / T))."""
    teacher, student = tempered(temperature, teacher_logits, student_logits)
    return temperature * (softmax(student) - softmax(teacher))


def tempered(temperature, *sides):
    return [np.asarray(side, "float64") / temperature for side in sides]
