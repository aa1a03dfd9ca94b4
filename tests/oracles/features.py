"""Losses on a pair of layers, each example on its own; maps are channels-last.

Romero et al. 2015 (hints), Zagoruyko and Komodakis 2017 (attention transfer), Ahn et
al. 2019 (variational information distillation).
"""

import itertools

import numpy as np


def adaptive_average_pool(x, size):
    """A loop over the cells of the pooled map, and over those of each window."""
    x = np.asarray(x, "float64")
    pooled = np.zeros((x.shape[0], *size, x.shape[-1]))
    for cell in itertools.product(*map(range, size)):
        windows = [
            range(int(np.floor(i * n / m)), int(np.ceil((i + 1) * n / m)))
            for i, n, m in zip(cell, x.shape[1:-1], size, strict=True)
        ]
        inside = [x[:, *place] for place in itertools.product(*windows)]
        pooled[:, *cell] = sum(inside) / len(inside)
    return pooled


def to_common_size(teacher, student):
    axes = zip(np.shape(teacher)[1:-1], np.shape(student)[1:-1], strict=True)
    size = [min(t, s) for t, s in axes]
    return adaptive_average_pool(teacher, size), adaptive_average_pool(student, size)


def convolution(x, kernel, bias):
    """Without padding, stride 1."""
    x, kernel = np.asarray(x, "float64"), np.asarray(kernel, "float64")
    size = [n - k + 1 for n, k in zip(x.shape[1:-1], kernel.shape[:-2], strict=True)]
    out = np.zeros((x.shape[0], *size, kernel.shape[-1]))
    for cell in itertools.product(*map(range, size)):
        for tap in itertools.product(*map(range, kernel.shape[:-2])):
            place = [i + j for i, j in zip(cell, tap, strict=True)]
            out[:, *cell] += x[:, *place] @ kernel[tap]
    return out + np.asarray(bias, "float64")


def hint(teacher, regressed):
    """Half the squared Euclidean distance of two examples' whole maps."""
    pairs = zip(np.asarray(teacher), np.asarray(regressed), strict=True)
    return np.array([0.5 * np.linalg.norm((t - s).ravel()) ** 2 for t, s in pairs])


def attention_vector(features, p):
    """Of one example: sum over channels of |a|^p, flattened, divided by its norm."""
    vector = np.sum(np.abs(np.asarray(features, "float64")) ** p, axis=-1).ravel()
    norm = np.linalg.norm(vector)
    return vector / norm if norm > 0 else vector


def attention_transfer(teacher, student, p=2):
    return np.array(
        [np.linalg.norm(difference) for difference in _differences(teacher, student, p)]
    )


def squared_attention_transfer(teacher, student, p=2):
    return np.array(
        [np.mean(difference**2) for difference in _differences(teacher, student, p)]
    )


def _differences(teacher, student, p):
    for t, s in zip(teacher, student, strict=True):
        yield attention_vector(t, p) - attention_vector(s, p)


def variational(teacher, mean, variance):
    """A Gaussian's negative log-likelihood less log(2 pi) / 2, averaged over elements.

    `variance`: one a channel.
    """
    teacher, mean = np.asarray(teacher, "float64"), np.asarray(mean, "float64")
    variance = np.broadcast_to(np.asarray(variance, "float64"), teacher.shape[-1:])
    values = []
    for t, m in zip(teacher, mean, strict=True):
        elements = [
            (t[place] - m[place]) ** 2 / (2 * variance[place[-1]])
            + np.log(np.sqrt(variance[place[-1]]))
            for place in np.ndindex(t.shape)
        ]
        values.append(np.mean(elements))
    return np.array(values)


def mean_network(x, kernels):
    """1x1 convolutions with ReLU between them, without bias."""
    x = np.asarray(x, "float64")
    for kernel in kernels[:-1]:
        x = np.maximum(x @ np.asarray(kernel, "float64"), 0)
    return x @ np.asarray(kernels[-1], "float64")
