"""Functions of single rows, computed some rows at a time to save memory."""

from keras import ops

from keras_kd._common.backend import one_after_another, with_rows


def over_chunks(rows, chunk_size, body, result):
    """`result` after `result = body(cut, start, result)` for each chunk of the rows.

    `cut(array)` takes the rows of an array that are in the chunk, from `start` on. The
    last chunk reaches back where too few rows are left, so that all have one size: a
    row may come twice.
    """
    size = min(chunk_size, rows) if isinstance(rows, int) else _least(chunk_size, rows)
    count = (rows + chunk_size - 1) // chunk_size

    def with_chunk(i, result):
        start = ops.minimum(i * chunk_size, rows - size)

        def cut(array):
            rest = ops.shape(array)[1:]
            return ops.slice(array, [start, *[0] * len(rest)], [size, *rest])

        return body(cut, start, result)

    return one_after_another(count, with_chunk, result)


def fill_by_chunks(result, chunk_size, function):
    """`result` with its rows replaced, `chunk_size` of them at a time.

    `function(cut)` gives the rows of one chunk; see `over_chunks`.
    """

    def fill(cut, start, result):
        return with_rows(result, start, function(cut))

    return over_chunks(ops.shape(result)[0], chunk_size, fill, result)


def in_chunks(function, *sides, chunk_size=1024):
    """`function(*sides)`, one value a position `(batch, ...)`, of sides of one shape.

    Sequences are taken some positions at a time: of a vocabulary, what a function holds
    in between is larger than all else in a step. No gradient passes.
    """
    *positions, classes = ops.shape(sides[-1])
    if len(positions) < 2:
        return function(*sides)
    rows = [ops.reshape(ops.stop_gradient(side), (-1, classes)) for side in sides]
    empty = ops.zeros_like(rows[-1][:, 0])
    values = fill_by_chunks(empty, chunk_size, lambda cut: function(*map(cut, rows)))
    return ops.reshape(values, positions)


def _least(chunk_size, rows):
    return ops.minimum(ops.cast(chunk_size, rows.dtype), rows)
