"""Sums over examples that linear CKA is made of, in float64."""

import numpy as np
from keras import ops

from keras_kd._common.checks import check_choice
from keras_kd._common.examples import broadcast_weight

SPATIAL = ("mean", "flatten")
MAX_SUMS = 2**28  # entries of the sums of products: 2 GiB in float64
_ROUNDING = 1e-12  # a share of variance in the squares that is nothing but rounding
_BLOCK = 1024  # rows of the n x n similarities that are in memory at a time


def cka_of_pairs(teachers, students, sums_of, size, debiased):
    """CKA of each pair, from `sums_of(a, b)`: see `_hsic`."""

    def with_itself(layer):
        _, _, variance, _ = sums = sums_of(layer, layer)
        return ops.where(variance > 0, _hsic(*sums, size, debiased), 0.0)

    own = [ops.stack([with_itself(a) for a in side]) for side in (teachers, students)]
    hsic = [[_hsic(*sums_of(a, b), size, debiased) for b in students] for a in teachers]
    hsic = ops.stack([ops.stack(row) for row in hsic])
    scale = own[0][:, None] * own[1]
    matrix = hsic / ops.sqrt(ops.where(scale > 0, scale, 1.0))
    enough = size > (3 if debiased else 1)
    return ops.where(ops.logical_and(enough, scale > 0), matrix, float("nan"))


def _hsic(products, norm_products, norms_a, norms_b, size, debiased):
    """n^2 times the biased HSIC, or n (n - 3) times HSIC_1, of centred features a, b.

    Arguments are sums over examples i, j: of K_ij L_ij = (a_i.a_j)(b_i.b_j), and of the
    diagonals |a_i|^2 |b_i|^2, |a_i|^2 and |b_i|^2. HSIC_1 sets the diagonals to 0;
    as it ignores what is added to all features alike, centred ones may stand for any,
    and all rows of their K and L sum to 0.
    """
    if not debiased:
        return products
    n = ops.where(size > 3, size, 4.0)
    rest = norms_a * norms_b / ((n - 1) * (n - 2))
    return products - norm_products * n / (n - 2) + rest


def sums_of_rows(a, b, weight):
    """What `_hsic` takes, from centred features of all examples."""
    norms_a, norms_b = ops.sum(a * a, axis=-1), ops.sum(b * b, axis=-1)
    count, wide_a, wide_b = a.shape[0], a.shape[-1], b.shape[-1]
    if count is None or wide_a * wide_b <= count * (wide_a + wide_b):
        products = ops.sum(ops.square(product(a * weight[:, None], b)))
    else:
        products = 0.0
        for start in range(0, count, _BLOCK):
            rows = slice(start, start + _BLOCK)
            similar = ops.matmul(a[rows], ops.transpose(a))
            similar = similar * ops.matmul(b[rows], ops.transpose(b))
            products += ops.sum(weight[rows] * ops.matmul(similar, weight))
    return (
        products,
        ops.sum(weight * norms_a * norms_b),
        ops.sum(weight * norms_a),
        ops.sum(weight * norms_b),
    )


def sums_of_moments(sums, widths, i, j):
    """What `_hsic` takes, of layers i and j, from the sums that `CKAMatrix` keeps."""
    size = ops.where(sums["size"] == 0, 1.0, sums["size"])
    ends = np.cumsum([0, *widths[0], *widths[1]])
    part_i, part_j = (slice(int(ends[k]), int(ends[k + 1])) for k in (i, j))
    mean_i, mean_j = (sums["features"][part] / size for part in (part_i, part_j))
    square_i, square_j = (ops.sum(mean * mean) for mean in (mean_i, mean_j))
    if i == j:
        products = sums[f"products_{i}"]
    else:
        shift = int(ends[len(widths[0])])
        products = sums["products"][
            part_i, int(ends[j]) - shift : int(ends[j + 1]) - shift
        ]
    # |x - m|^2 = |x|^2 - 2 x.m + |m|^2, multiplied out for both layers.
    norm_products = (
        sums["norm_products"][i, j]
        - 2 * ops.sum(sums["norms_by_features"][i, part_j] * mean_j)
        - 2 * ops.sum(sums["norms_by_features"][j, part_i] * mean_i)
        + 4 * ops.sum(mean_i * ops.matmul(products, mean_j))
        + square_j * sums["norms"][i]
        + square_i * sums["norms"][j]
        - 3 * size * square_i * square_j
    )
    centred = products - size * mean_i[:, None] * mean_j
    return (
        ops.sum(centred * centred),
        norm_products,
        _variance(sums["norms"][i], size * square_i),
        _variance(sums["norms"][j], size * square_j),
    )


def _variance(norms, of_mean):
    """Sum of squared distances from the mean; 0 where it is nothing but rounding."""
    left = norms - of_mean
    return ops.where(left > _ROUNDING * norms, left, 0.0)


def centred(x, weight, size):
    x = without(x, weight)
    mean = ops.matmul(weight, x) / ops.where(size == 0, 1.0, size)
    centred = x - mean
    squares = ops.matmul(weight, ops.sum(x * x, axis=-1))
    left = ops.matmul(weight, ops.sum(centred * centred, axis=-1))
    return ops.where(left > _ROUNDING * squares, centred, 0.0)


def product(a, b):
    return ops.matmul(ops.transpose(a), b)


def without(x, weight):
    """The rows that count; 0 in place of the others, which may be NaN."""
    return ops.where(weight[:, None] == 0, 0.0, x)


def weight_of(sample_weight, x):
    if sample_weight is None:
        return ops.ones_like(x[:, 0])
    return broadcast_weight(sample_weight, x[:, 0])


def layer_rows(name, layers, spatial):
    """Features of each layer as float64 rows, `(n, d)`."""
    if isinstance(layers, dict):
        layers = list(layers.values())
    if not isinstance(layers, (list, tuple)):
        layers = [layers]
    if not layers:
        raise ValueError(f"`{name}` must hold at least one layer. Received none.")
    return [rows_of(x, spatial) for x in layers]


def rows_of(features, spatial):
    """Features `(n, ..., d)` as float64 rows `(n, d)`."""
    check_choice("spatial", spatial, SPATIAL)
    x = ops.cast(ops.convert_to_tensor(features), "float64")
    if len(x.shape) < 2:
        raise ValueError(
            "Features must have an axis of examples and one of features: (n, ..., d). "
            f"Received: shape {tuple(x.shape)}."
        )
    if len(x.shape) > 2 and spatial == "mean":
        x = ops.mean(x, axis=tuple(range(1, len(x.shape) - 1)))
    width = int(np.prod([d or 0 for d in x.shape[1:]]))
    if not width:
        raise ValueError(
            "All axes of features but the first must have a known length. Received: "
            f"shape {tuple(features.shape)}."
        )
    return ops.reshape(x, (-1, width))


def check_same_examples(layers):
    counts = {x.shape[0] for x in layers} - {None}
    if len(counts) > 1:
        raise ValueError(
            "All layers must give features of the same examples, in one order. "
            f"Received layers of {sorted(counts)} examples."
        )


def check_memory(teacher_widths, student_widths):
    entries = sum(teacher_widths) * sum(student_widths)
    entries += sum(d * d for d in (*teacher_widths, *student_widths))
    if entries > MAX_SUMS:
        raise ValueError(
            f"Layers of {teacher_widths} and {student_widths} features need "
            f"{8 * entries / 2**30:.1f} GiB of sums. Take the mean over positions "
            "(spatial='mean'), fewer layers at once, or give all features to "
            "`linear_cka` at once, which needs no more than they take themselves."
        )
