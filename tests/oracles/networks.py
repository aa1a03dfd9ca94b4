"""Layers of the papers' networks in float64 NumPy, padded as PyTorch pads them.

Images are (batch, height, width, channels), kernels (height, width, in, out).
"""

import math

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view


def convolution(x, kernel, bias=0.0, *, stride=1, padding=None):
    """`padding` zeros on all four sides; half the kernel, rounded down, by default."""
    windows = _windows(x, len(kernel), stride, padding)
    return np.tensordot(windows, kernel, axes=[(4, 5, 3), (0, 1, 2)]) + bias


def depthwise_convolution(x, kernel, *, stride=1):
    """One filter a channel: kernel (height, width, channels, 1)."""
    windows = _windows(x, len(kernel), stride)
    return np.einsum("nhwcij,ijc->nhwc", windows, kernel[..., 0])


def batch_norm(x, gamma, beta, moving_mean, moving_variance):
    return gamma * (x - moving_mean) / np.sqrt(moving_variance + 1e-5) + beta


def one_group_norm(x, gamma, beta):
    """Statistics of each image over height, width and channels together."""
    return gamma * _standardised(x, (1, 2, 3), 1e-5) + beta


def layer_norm(x, gamma, beta):
    return gamma * _standardised(x, -1, 1e-6) + beta


def relu(x):
    return np.maximum(x, 0)


def gelu(x):
    return x * (1 + np.vectorize(math.erf)(x / math.sqrt(2))) / 2


def softmax(x):
    exponentials = np.exp(x - x.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def tiles(x, size, reduce):
    """`reduce` (np.max or np.mean) over tiles that do not overlap."""
    n, h, w, c = x.shape
    return reduce(x.reshape(n, h // size, size, w // size, size, c), axis=(2, 4))


def max_pooling_3x3(x):
    """Stride 2, one pixel of minus infinity on all four sides."""
    padded = np.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)], constant_values=-np.inf)
    return sliding_window_view(padded, (3, 3), axis=(1, 2))[:, ::2, ::2].max((-1, -2))


def _windows(x, size, stride, padding=None):
    p = size // 2 if padding is None else padding
    padded = np.pad(x, [(0, 0), (p, p), (p, p), (0, 0)])
    return sliding_window_view(padded, (size, size), axis=(1, 2))[:, ::stride, ::stride]


def _standardised(x, axes, epsilon):
    mean, variance = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
    return (x - mean) / np.sqrt(variance + epsilon)
