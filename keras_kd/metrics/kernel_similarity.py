"""CKA with a Gaussian kernel, and what the code of Stanton et al. 2021 computes.

Both need all examples at once, and memory for their n x n similarities.
"""

import numpy as np
from keras import ops

from keras_kd._common.checks import check_number, check_whole_number
from keras_kd.metrics._cka_sums import rows_of


def rbf_cka(
    teacher_features,
    student_features,
    debiased=True,
    *,
    bandwidth=1.0,
    spatial="mean",
):
    """CKA of two layers with the kernel exp(-|x - x'|^2 / 2 s^2). Higher is closer.

    Args:
        teacher_features: Outputs of a layer, `(n, ..., d_t)`, of all examples at once.
        student_features: `(n, ..., d_s)`, of the same examples.
        debiased: Estimate each HSIC without bias (HSIC_1). Defaults to True.
        bandwidth: s of each layer, in roots of the median (NumPy's) of its squared
            distances between two examples that differ. Defaults to 1. Large ones lead
            to `linear_cka`.
        spatial: What becomes of axes between first and last: `"mean"` (default) over
            positions, or `"flatten"` into features.

    Returns:
        A float, about 1 at most; NaN where a layer does not vary, or (debiased) for
        fewer than 4 examples.

    Memory: about `40 n^2` bytes, 4 GB for 10,000 examples.

    Example:

    >>> x = np.random.default_rng(0).normal(size=(128, 8))
    >>> round(keras_kd.metrics.rbf_cka(x, 3 * x[:, ::-1]), 6)
    1.0
    >>> noise = np.random.default_rng(1).normal(size=(128, 8))
    >>> abs(keras_kd.metrics.rbf_cka(x, noise)) < 0.1
    True

    References: Kornblith et al. 2019, section 3; Song et al. 2012, theorem 2 (HSIC_1).
    """
    bandwidth = check_number("bandwidth", bandwidth, above=0)
    sides = [
        np.asarray(ops.convert_to_numpy(rows_of(x, spatial)))
        for x in (teacher_features, student_features)
    ]
    if len(sides[0]) != len(sides[1]):
        raise ValueError(
            "Both layers must give features of the same examples, in one order. "
            f"Received {len(sides[0])} and {len(sides[1])} examples."
        )
    return _cka(*(_gaussian_kernel(x, bandwidth) for x in sides), debiased)


def released_cka(teacher_maps, student_maps, batch_size=128):
    """What the code of Stanton et al. 2021 reports as CKA. For comparison only.

    It takes the wrong axes: features are averaged over channels and rows, and then the
    columns of the image stand for examples and the images for features. With as few
    "examples" as columns (32, 16 or 8) and a biased estimate, unrelated maps give 0.87,
    0.93 or 0.96; so it says next to nothing about the two networks. Batches are then
    averaged, a last short one as much as the others. Use `linear_cka` or `rbf_cka`.

    Args:
        teacher_maps: `(n, height, width, channels)`, raw outputs of a stage.
        student_maps: The same of the student, of equal width.
        batch_size: Images at a time. Defaults to 128.

    Returns:
        A float in [0, 1].

    Example:

    >>> rng = np.random.default_rng(0)
    >>> unrelated = rng.normal(size=(2, 128, 8, 8, 4))
    >>> round(keras_kd.metrics.released_cka(*unrelated), 2)
    0.96

    Reference: Stanton et al. 2021, table 1, released code.
    """
    sides = [
        np.asarray(ops.convert_to_numpy(x), "float64")
        for x in (teacher_maps, student_maps)
    ]
    check_whole_number("batch_size", batch_size, at_least=1)
    shapes = [x.shape for x in sides]
    same = len({(s[0], s[2]) for s in shapes if len(s) == 4}) == 1
    if not same or any(len(s) != 4 for s in shapes):
        raise ValueError(
            "`released_cka` takes maps (n, height, width, channels) of the same images "
            f"and of equal width. Received: {shapes[0]} and {shapes[1]}."
        )
    columns = [x.mean(axis=(1, 3)) for x in sides]
    values = [
        _cka(*(_gaussian_kernel(x[i : i + batch_size].T, 1.0) for x in columns), False)
        for i in range(0, len(columns[0]), batch_size)
    ]
    return float(np.mean(values)) if values else float("nan")


def _gaussian_kernel(x, bandwidth):
    x = x - x.mean(axis=0) if len(x) else x
    norms = np.sum(x * x, axis=1)
    squares = np.maximum(norms[:, None] + norms - 2 * x @ x.T, 0.0)
    np.fill_diagonal(squares, 0.0)
    # Rows that are equal differ by rounding.
    distinct = squares[squares > 1e-12 * norms.max(initial=0.0)]
    if not distinct.size:
        return np.full_like(squares, np.nan)  # a layer that does not vary
    median = np.median(distinct)
    # Less 1, which no HSIC sees: wide kernels keep their digits, diagonals are 0.
    return np.expm1(squares / (-2 * bandwidth**2 * median))


def _cka(first, second, debiased):
    if len(first) < (4 if debiased else 2):
        return float("nan")
    hsic = _hsic_1 if debiased else _biased_hsic
    scale = hsic(first, first) * hsic(second, second)
    return float(hsic(first, second) / np.sqrt(scale)) if scale > 0 else float("nan")


def _biased_hsic(first, second):
    """(n - 1)^2 HSIC."""
    n = len(first)
    rows = first.sum(axis=1), second.sum(axis=1)
    total = rows[0].sum() * rows[1].sum()
    return np.vdot(first, second) - 2 * rows[0] @ rows[1] / n + total / n**2


def _hsic_1(first, second):
    """n (n - 3) HSIC_1 of kernels whose diagonals are 0."""
    n = len(first)
    rows = first.sum(axis=1), second.sum(axis=1)
    total = rows[0].sum() * rows[1].sum() / ((n - 1) * (n - 2))
    return np.vdot(first, second) + total - 2 * rows[0] @ rows[1] / (n - 2)
