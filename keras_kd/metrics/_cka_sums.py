"""Sums over examples that linear CKA is made of, in float64."""

import numpy as np
from keras import ops

from keras_kd._common.checks import check_choice
from keras_kd._common.weights import broadcast_weight

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


def extended(x):
    """Rows [1, x, |x|^2]: sums of their products hold all moments that CKA takes."""
    norms = ops.sum(x * x, axis=-1, keepdims=True)
    return ops.concatenate([ops.ones_like(norms), x, norms], axis=-1)


def moved(sums, of_rows, of_columns):
    """Sums of products of extended rows, about centres that lie elsewhere.

    Args:
        sums: `(sum of all d + 2, sum of all d + 2)`, of the layers of two sides.
        of_rows: How far the centre moves of each layer along the rows, `(d,)` each.
        of_columns: The same of each layer along the columns.
    """
    sums = ops.transpose(_moved_rows(sums, of_rows))
    return ops.transpose(_moved_rows(sums, of_columns))


def _moved_rows(sums, steps):
    parts, start = [], 0
    for step in steps:
        end = start + 1 + step.shape[0]
        one, x, norm = sums[start : start + 1], sums[start + 1 : end], sums[end]
        # |x - s|^2 = |x|^2 - 2 s.x + |s|^2.
        norm = norm[None] - 2 * ops.matmul(step[None], x) + ops.sum(step * step) * one
        parts += [one, x - step[:, None] * one, norm]
        start = end + 1
    return ops.concatenate(parts, axis=0)


def mean_of(total):
    """The mean, from `[weight, weighted sums]`; 0 before any weight."""
    return total[1:] / ops.where(total[0] == 0, 1.0, total[0])


def sums_of_moments(block, centres):
    """What `_hsic` takes, from sums of products of two layers' extended rows.

    Args:
        block: `(d_a + 2, d_b + 2)`.
        centres: Of both layers: what the rows are less of.
    """
    size = ops.where(block[0, 0] == 0, 1.0, block[0, 0])
    steps = block[1:-1, 0] / size, block[0, 1:-1] / size
    block = moved(block, steps[:1], steps[1:])
    norms = block[-1, 0], block[0, -1]
    return (
        ops.sum(ops.square(block[1:-1, 1:-1])),
        block[-1, -1],
        *(
            _variance(left, size * ops.sum(ops.square(centre + step)))
            for left, centre, step in zip(norms, centres, steps, strict=True)
        ),
    )


def _variance(left, of_mean):
    """Sum of squared distances from the mean; 0 where it is nothing but rounding."""
    return ops.where(left > _ROUNDING * (left + of_mean), left, 0.0)


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
    """One weight an example, float64."""
    if sample_weight is None:
        return ops.ones_like(x[:, 0])
    weight = ops.cast(ops.convert_to_tensor(sample_weight), "float64")
    if len(weight.shape) and None not in (weight.shape[0], x.shape[0]):
        if weight.shape[0] != x.shape[0]:
            raise ValueError(
                "`sample_weight` must hold one weight an example. Received: shape "
                f"{tuple(weight.shape)} for {x.shape[0]} examples."
            )
    return broadcast_weight(weight, x[:, 0])


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
