"""CKA from its definition, with all Gram matrices in memory (float64 NumPy)."""

import numpy as np


def linear_kernel(x):
    x = np.asarray(x, "float64")
    return x @ x.T


def gaussian_kernel(x, bandwidth=1.0):
    """s^2 is NumPy's median of squared distances > 0, times the bandwidth squared."""
    x = np.asarray(x, "float64")
    squares = np.sum((x[:, None] - x[None]) ** 2, axis=-1)
    among = squares[np.triu_indices(len(x), 1)]
    return np.exp(-squares / (2 * bandwidth**2 * np.median(among[among > 0])))


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
