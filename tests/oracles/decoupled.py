"""Zhao et al. 2022 (Decoupled Knowledge Distillation), section 3.1 and equation 7."""

import numpy as np

from oracles.logits import kl_divergence, softmax


def target_class_kd(teacher_logits, student_logits, targets, temperature):
    """T^2 KL between [p_y, 1 - p_y] of both sides, each example by itself."""

    def of_one(teacher, student, target):
        others = np.arange(len(teacher)) != target
        sides = []
        for logits in (teacher, student):
            top = logits[others].max()
            sure = np.log(np.sum(np.exp(logits[others] - top))) + top
            sides.append([logits[target], sure])
        return kl_divergence(*sides)

    return _each(of_one, teacher_logits, student_logits, targets, temperature)


def nontarget_class_kd(teacher_logits, student_logits, targets, temperature):
    """T^2 KL between the distributions over all classes but the target."""

    def of_one(teacher, student, target):
        return kl_divergence(np.delete(teacher, target), np.delete(student, target))

    return _each(of_one, teacher_logits, student_logits, targets, temperature)


def decoupled_kd(teacher, student, targets, alpha, beta, temperature):
    target = target_class_kd(teacher, student, targets, temperature)
    others = nontarget_class_kd(teacher, student, targets, temperature)
    return alpha * target + beta * others


def target_probability(logits, targets, temperature):
    probs = softmax(np.asarray(logits, "float64") / temperature)
    return np.take_along_axis(probs, np.asarray(targets)[..., None], axis=-1)[..., 0]


def _each(of_one, teacher_logits, student_logits, targets, temperature):
    targets = np.asarray(targets)
    values = np.empty(targets.shape)
    for index in np.ndindex(targets.shape):
        sides = [
            np.asarray(side[index], "float64") / temperature
            for side in (teacher_logits, student_logits)
        ]
        values[index] = temperature**2 * of_one(*sides, targets[index])
    return values
