"""CKA from its definition, with all Gram matrices in memory (float64 NumPy)."""

import numpy as np


def linear_kernel(x):
    x = np.asarray(x, "float64")
    return x @ x.T


def gaussian_kernel(x, bandwidth=1.0):
    """s is a median of the distances between different examples, times bandwidth."""
    x = np.asarray(x, "float64")
    distances = np.linalg.norm(x[:, None] - x[None], axis=-1)
    among = np.sort(distances[np.triu_indices(len(x), 1)])
    scale = bandwidth * among[(len(among) - 1) // 2]
    return np.exp(-(distances**2) / (2 * scale**2))


def biased_hsic(k, l):  # noqa: E741
    """Gretton et al. 2005: tr(K H L H) / (n - 1)^2."""
    n = len(k)
    h = np.eye(n) - np.ones((n, n)) / n
    return np.trace(k @ h @ l @ h) / (n - 1) ** 2


def hsic_1(k, l):  # noqa: E741
    """Song et al. 2012, equation 5."""
    n, one = len(k), np.ones(len(k))
    k, l = (m - np.diag(np.diag(m)) for m in (k, l))  # noqa: E741
    total = (one @ k @ one) * (one @ l @ one) / ((n - 1) * (n - 2))
    middle = 2 / (n - 2) * (one @ k @ l @ one)
    return (np.trace(k @ l) + total - middle) / (n * (n - 3))


def cka(k, l, debiased=True):  # noqa: E741
    hsic = hsic_1 if debiased else biased_hsic
    return hsic(k, l) / np.sqrt(hsic(k, k) * hsic(l, l))
