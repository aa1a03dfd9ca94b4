"""Stanton et al. 2021, equation 3, and its extension to the student's top k."""

import numpy as np


def agrees(teacher, student, k=1):
    """Whether the student's k best classes hold the teacher's best; first one wins."""
    predicted = np.argmax(teacher, axis=-1)[..., None]
    best_first = np.argsort(-np.asarray(student), axis=-1, kind="stable")
    return (best_first[..., :k] == predicted).any(axis=-1)
