"""How near generated images are to real ones, by the features of a network."""

import numpy as np
from keras import ops


def frechet_distance(real_features, generated_features):
    """Fréchet distance between Gaussians fitted to two sets of features.

    `|m_r - m_g|^2 + tr(C_r + C_g - 2 (C_r C_g)^(1/2))`, in float64. With the pooled
    features of Inception-v3 it is the Fréchet inception distance (FID). Lower is
    closer; 0 for equal means and covariances. It falls with the number of examples, so
    compare only values from equal numbers.

    Args:
        real_features: `(n, d)` array, one row an image; n of at least 2.
        generated_features: `(m, d)` array.

    Returns:
        A float, at least 0.

    Example:

    >>> real = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0], [2.0, 2.0]])
    >>> keras_kd.metrics.frechet_distance(real, real + [3.0, 4.0])
    25.0

    Reference: Heusel et al. 2017, equation 6.
    """
    real = _rows("real_features", real_features)
    generated = _rows("generated_features", generated_features)
    if real.shape[1] != generated.shape[1]:
        raise ValueError(
            "Both sets must have features of one length. Received: real "
            f"{real.shape}, generated {generated.shape}. Take both from one layer."
        )
    gap = real.mean(axis=0) - generated.mean(axis=0)
    real, generated = _scatter(real), _scatter(generated)
    # tr((AᵀA BᵀB)^(1/2)) is the sum of the singular values of A Bᵀ: no matrix root, and
    # nothing negative where a covariance is singular.
    cross = np.linalg.svd(real @ generated.T, compute_uv=False).sum()
    total = np.sum(real**2) + np.sum(generated**2) - 2 * cross
    return float(gap @ gap + max(total, 0.0))


def inception_score(logits, num_splits=10):
    """exp of the mean KL from each image's class distribution to the mean one.

    High when each image is clearly of one class and the classes are even: between 1 and
    the number of classes. With Inception-v3 as classifier it is the published score.

    Args:
        logits: `(n, classes)` array, what a classifier says of the generated images.
        num_splits: Parts that are scored by themselves, cut as by the released code:
            part i holds rows `i n // num_splits` up to `(i + 1) n // num_splits`, so
            that the longer ones are spread evenly. Defaults to 10.

    Returns:
        `(mean, standard deviation)` over the parts, floats.

    Example:

    >>> logits = 100.0 * np.eye(4)[np.arange(40) % 4]
    >>> mean, deviation = keras_kd.metrics.inception_score(logits)
    >>> round(mean, 6), round(deviation, 6)
    (4.0, 0.0)

    Reference: Salimans et al. 2016, section 4 and released code.
    """
    rows = _rows("logits", logits)
    if not 1 <= num_splits <= len(rows):
        raise ValueError(
            f"`num_splits` must be from 1 to the number of images, {len(rows)}. "
            f"Received: num_splits={num_splits}."
        )
    shifted = rows - rows.max(axis=1, keepdims=True)
    log_probs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    scores = []
    for i in range(num_splits):
        start, end = (k * len(rows) // num_splits for k in (i, i + 1))
        part = log_probs[start:end]
        probs = np.exp(part)
        mean = probs.mean(axis=0)
        log_mean = np.log(np.where(mean > 0, mean, 1.0))
        scores.append(np.exp((probs * (part - log_mean)).sum(axis=1).mean()))
    return float(np.mean(scores)), float(np.std(scores))


def _rows(name, array):
    rows = np.asarray(ops.convert_to_numpy(array), dtype="float64")
    if rows.ndim != 2 or len(rows) < 2:
        raise ValueError(
            f"`{name}` must be an array of at least 2 rows, one an image: (images, "
            f"values). Received: shape {rows.shape}."
        )
    if not np.isfinite(rows).all():
        raise ValueError(f"`{name}` holds numbers that are not finite.")
    return rows


def _scatter(rows):
    """A matrix A with AᵀA the covariance, as small as the rows allow."""
    centred = (rows - rows.mean(axis=0)) / np.sqrt(len(rows) - 1)
    return np.linalg.qr(centred, mode="r")
