"""Sums over examples that linear CKA is made of, in float64."""

from typing import Any, NamedTuple

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


class Moments(NamedTuple):
    """Sums over examples of the products of one side's numbers with the other's.

    A side has one or more layers. Of each example it gives features z, those of all its
    layers in a row, and a head: 1, and |z|^2 of each layer.
    """

    features: Any  # (d_a, d_b): z with z
    head: Any  # (1 + layers_a, d_b): head with z
    features_head: Any  # (d_a, 1 + layers_b): z with head
    heads: Any  # (1 + layers_a, 1 + layers_b): head with head


def moment_shapes(widths_a, widths_b):
    """Shapes of the `Moments` of two sides, from the widths of their layers."""
    d_a, d_b = sum(widths_a), sum(widths_b)
    h_a, h_b = 1 + len(widths_a), 1 + len(widths_b)
    return Moments((d_a, d_b), (h_a, d_b), (d_a, h_b), (h_a, h_b))


def moments(layers_a, layers_b, weight):
    """`Moments` of a batch, of each side's layers, `(n, d)` each."""
    (z_a, head_a), (z_b, head_b) = map(_with_heads, (layers_a, layers_b))
    z_a, head_a = z_a * weight[:, None], head_a * weight[:, None]
    pairs = (z_a, z_b), (head_a, z_b), (z_a, head_b), (head_a, head_b)
    return Moments(*(product(*pair) for pair in pairs))


def moved(sums, steps_a, steps_b):
    """`Moments` about centres that lie elsewhere.

    A step s makes z to z - s, and |z|^2 to |z|^2 - 2 s.z + |s|^2: in a head, what it
    was plus squares times its first number, 1, less twice `across` z.

    Args:
        sums: `Moments`.
        steps_a: How far the centre moves of each of the first side's layers, `(d,)`.
        steps_b: The same of the second side's.
    """
    (step_a, across_a, change_a), (step_b, across_b, change_b) = map(
        _change_of_head, (steps_a, steps_b)
    )
    back_b, change_b = ops.transpose(across_b), ops.transpose(change_b)
    # Of the head with what is not moved yet on the other side, and of z likewise.
    head_z = change_a @ sums.head - 2 * across_a @ sums.features
    heads = change_a @ sums.heads - 2 * across_a @ sums.features_head
    z_head = sums.features_head @ change_b - 2 * sums.features @ back_b
    one_z = sums.head[:1]
    one_head = sums.heads[:1] @ change_b - 2 * one_z @ back_b
    z_one = sums.features_head[:, 0] - step_a * sums.heads[0, 0]
    # One product of two rows: fewer passes over what is by far the largest.
    away = product(ops.stack([step_a, z_one]), ops.stack([one_z[0], step_b]))
    return Moments(
        sums.features - away,
        head_z - heads[:, :1] * step_b,
        z_head - step_a[:, None] * one_head,
        heads @ change_b - 2 * head_z @ back_b,
    )


def _change_of_head(steps):
    widths = [step.shape[0] for step in steps]
    step = ops.concatenate(steps)
    layers = np.arange(len(widths) + 1)[:, None]  # 0 is the head's first number
    is_own = (layers == np.repeat(layers[1:], widths)).astype("float64")
    across = step * is_own
    squares = ops.sum(across * across, axis=1, keepdims=True)
    size = len(layers)
    return step, across, np.eye(size) + squares * np.eye(1, size)


def _with_heads(layers):
    norms = [ops.sum(z * z, axis=-1) for z in layers]
    head = ops.stack([ops.ones_like(norms[0]), *norms], axis=-1)
    return ops.concatenate(layers, axis=-1), head


def mean_of(total):
    """The mean, from `[weight, weighted sums]`; 0 before any weight."""
    return total[1:] / ops.where(total[0] == 0, 1.0, total[0])


def of_two_layers(sums, widths_a, widths_b, a, b):
    """Of the `Moments` of two sides, those of layer a of one and b of the other."""
    ends_a, ends_b = np.cumsum([0, *widths_a]), np.cumsum([0, *widths_b])
    rows, columns = slice(*ends_a[a : a + 2]), slice(*ends_b[b : b + 2])
    head_a, head_b = slice(0, 2 + a, 1 + a), slice(0, 2 + b, 1 + b)
    return Moments(
        sums.features[rows, columns],
        sums.head[head_a, columns],
        sums.features_head[rows, head_b],
        sums.heads[head_a, head_b],
    )


def sums_of_moments(sums, centres):
    """What `_hsic` takes, from `Moments` of two layers about these centres."""
    size = ops.where(sums.heads[0, 0] == 0, 1.0, sums.heads[0, 0])
    steps = sums.features_head[:, 0] / size, sums.head[0] / size
    sums = moved(sums, steps[:1], steps[1:])
    norms = sums.heads[1, 0], sums.heads[0, 1]
    return (
        ops.sum(ops.square(sums.features)),
        sums.heads[1, 1],
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
