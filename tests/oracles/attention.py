"""Attention maps and their overlap, pixel by pixel (float64 NumPy)."""

import numpy as np


def stressed(a_map, threshold):
    a_map = np.asarray(a_map, "float64")
    low, high = a_map.min(), a_map.max()
    if low == high:
        return np.zeros(a_map.shape, bool)
    return (a_map - low) / (high - low) > threshold


def overlaps(maps, threshold=0.4):
    """Pixels that all models stress, and that any does, of each image."""
    shared, union = [], []
    for image in zip(*maps, strict=True):
        sets = [set(np.flatnonzero(stressed(one, threshold))) for one in image]
        shared.append(len(set.intersection(*sets)))
        union.append(len(set.union(*sets)))
    return np.array(shared), np.array(union)


def enlarge(a_map, height, width):
    """Bilinear, by the distance of pixel centres, edges repeated."""
    rows, columns = a_map.shape

    def weights(length, size):
        centres = np.clip((np.arange(length) + 0.5) * size / length - 0.5, 0, size - 1)
        return np.maximum(1 - abs(centres[:, None] - np.arange(size)), 0)

    return weights(height, rows) @ a_map @ weights(width, columns).T


def stretch(a_map):
    return (a_map - a_map.min()) / (a_map.max() - a_map.min())


def class_activation(features, kernel, classes, size):
    """Zhou et al. 2016, equation 2, added up over `classes`, at the images' size."""
    maps = []
    for one, chosen in zip(np.asarray(features, "float64"), classes, strict=True):
        small = sum(
            kernel[c, k] * one[:, :, c] for c in range(one.shape[-1]) for k in chosen
        )
        maps.append(stretch(enlarge(small, *size)))
    return np.array(maps)


def rollout(scores):
    """Abnar and Zuidema 2020, equation 1: class token to patches, `(n, patches)`."""
    reached = []
    for i in range(len(scores[0])):
        product = np.eye(scores[0].shape[-1])
        for block in scores:
            mean = np.asarray(block[i], "float64").mean(axis=0)
            product = (0.5 * mean + 0.5 * np.eye(len(mean))) @ product
        reached.append(product[0, 1:])
    return np.array(reached)
