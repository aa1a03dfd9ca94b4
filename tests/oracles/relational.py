"""Park et al. 2019, sections 3.2.1 and 3.2.2, by loops over pairs and triplets."""

from itertools import permutations

import numpy as np


def rkd_distance(teacher, student):
    """Of each i: sum over j, over the number of examples."""
    gaps = relative_distances(teacher) - relative_distances(student)
    return huber(gaps).sum(axis=1) / len(gaps)


def rkd_angle(teacher, student):
    """Of each vertex: sum over ordered pairs of others, over B^2."""
    t, s = (np.asarray(x, "float64").reshape(len(x), -1) for x in (teacher, student))
    values = np.zeros(len(t))
    for i, j, k in permutations(range(len(t)), 3):
        values[i] += huber(cosine(t[i], t[j], t[k]) - cosine(s[i], s[j], s[k]))
    return values / len(t) ** 2


def relative_distances(features):
    x = np.asarray(features, "float64").reshape(len(features), -1)
    distances = np.array([[np.linalg.norm(a - b) for b in x] for a in x])
    return distances / (distances.sum() / (len(x) * (len(x) - 1)))


def cosine(vertex, one, other):
    """Of the angle at `vertex`; 0 where a side has length 0."""
    a, b = one - vertex, other - vertex
    lengths = np.linalg.norm(a) * np.linalg.norm(b)
    return a @ b / lengths if lengths > 0 else 0.0


def huber(x):
    return np.where(np.abs(x) <= 1, x**2 / 2, np.abs(x) - 0.5)
