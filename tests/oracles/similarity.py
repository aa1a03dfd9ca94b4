"""Tung and Mori 2019, equations 1 to 4; Passalis and Tefas 2018, cosine kernel."""

import numpy as np


def flattened(features):
    features = np.asarray(features, "float64")
    return features.reshape(len(features), -1)


def similarity_preserving(teacher, student):
    """Of each row; their mean is ||G_t - G_s||_F^2 / B^2."""
    gap = row_normalised_gram(teacher) - row_normalised_gram(student)
    return np.sum(gap**2, axis=1) / len(gap)


def row_normalised_gram(features):
    features = flattened(features)
    gram = features @ features.T
    return gram / np.linalg.norm(gram, axis=1, keepdims=True)


def pkt(teacher, student):
    """sum_{j != i} p_{j|i} log(p_{j|i} / q_{j|i}) of each i."""
    similarities = [cosine_kernel(teacher), cosine_kernel(student)]
    values = []
    for i in range(len(teacher)):
        p, q = (np.delete(k[i], i) / np.delete(k[i], i).sum() for k in similarities)
        values.append(np.sum(p * np.log(p / q)))
    return np.array(values)


def pkt_as_released(teacher, student):
    """Each example is among its own neighbours; mean over all pairs."""
    p, q = (cosine_kernel(side, epsilon=1e-7) for side in (teacher, student))
    p, q = (k / k.sum(axis=1, keepdims=True) for k in (p, q))
    return np.mean(p * np.log((p + 1e-7) / (q + 1e-7)))


def cosine_kernel(features, epsilon=0.0):
    features = flattened(features)
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    features = features / (lengths + epsilon)
    return (1 + features @ features.T) / 2
