"""Average pooling to any smaller size, whether or not it divides that of the map."""

from keras import ops

from keras_kd._common.numerics import at_least_float32


def adaptive_average_pool(x, size):
    """Means over m windows along each spatial axis, which cover its n cells.

    Window i runs from floor(i n / m) up to, without, ceil((i + 1) n / m): blocks of
    one length where m divides n; where it does not, neighbours may share a cell.

    Args:
        x: `(batch, *spatial, channels)`.
        size: Cells along each spatial axis, at most those of `x`; or one number.

    Returns:
        `(batch, *size, channels)`, float32, or float64 for float64 maps.
    """
    (x,) = at_least_float32(x)
    spatial = tuple(x.shape[1:-1])
    size = (size,) * len(spatial) if isinstance(size, int) else tuple(size)
    fits = len(size) == len(spatial) and all(
        m >= 1 and (n is None or m <= n) for n, m in zip(spatial, size, strict=True)
    )
    if not fits:
        raise ValueError(
            "`size` must hold one number for each spatial axis, from 1 to the cells of "
            f"the map. Received: size={size} for a map of shape {tuple(x.shape)}."
        )
    return _pooled(x, size)


def to_common_size(teacher, student):
    """Both maps, along each spatial axis the larger one pooled to the smaller.

    Sizes that only the run tells are compared there.
    """
    teacher, student = at_least_float32(teacher, student)
    size = [
        min(t, s) if isinstance(t, int) and isinstance(s, int) else ops.minimum(t, s)
        for t, s in zip(_spatial(teacher), _spatial(student), strict=True)
    ]
    return _pooled(teacher, size), _pooled(student, size)


def _spatial(x):
    """Cells along each spatial axis: numbers, and tensors where only the run tells."""
    return ops.shape(x)[1:-1]


def _pooled(x, size):
    blocks = [
        n // m if isinstance(n, int) and isinstance(m, int) and n % m == 0 else 1
        for n, m in zip(x.shape[1:-1], size, strict=True)
    ]
    # The backend's kernel is over ten times faster than the product below (in 3D it
    # takes no float64).
    if any(block > 1 for block in blocks) and len(blocks) <= 2:
        x = ops.average_pool(x, tuple(blocks), data_format="channels_last")
    for axis, cells in enumerate(size, start=1):
        if not (isinstance(cells, int) and x.shape[axis] == cells):
            x = _averaged(x, axis, cells)
    return x


def _averaged(x, axis, cells):
    """Product with the matrix of the windows, for any two sizes."""
    axes = "abcdefghijk"[: len(x.shape)]
    pooled = axes.replace(axes[axis], "z")
    windows = _windows(ops.shape(x)[axis], cells, x.dtype)
    return ops.einsum(f"{axes},{axes[axis]}z->{pooled}", x, windows)


def _windows(n, m, dtype):
    """`(n, m)`: column i has the weights of the n cells in mean i."""
    cell = ops.expand_dims(ops.arange(n, dtype="int32"), axis=1)
    i = ops.arange(m, dtype="int32")
    start, stop = i * n // m, ((i + 1) * n + m - 1) // m
    inside = ops.logical_and(cell >= start, cell < stop)
    return ops.cast(inside, dtype) / ops.cast(stop - start, dtype)
