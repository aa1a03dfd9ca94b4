"""Bootstrap intervals of weighted means, examples drawn with replacement."""

import numpy as np

from keras_kd._common.resampling import bounded_means, resampled_sums

SHARES = (0.0, 1.0)
DIFFERENCES = (-1.0, 1.0)  # of shares
_ROUNDING = 1e-6  # of float32: a mean of positions of one example may be 1 + 1e-7


def resampled_means(values, weights=None, *, bounds=SHARES, num_resamples=1000, seed=0):
    """Weighted means of columns over as many draws of the rows.

    One draw counts the same rows of all columns, so that differences between columns
    are paired: of two models on the same examples, say.

    A column of known bounds has draws of a mean even where all its values are equal
    (`bounded_means`): 50 of 50 do not make a share certain. The difference of two
    shares can be certain no more than that: give it as a column of its own, with the
    bounds `DIFFERENCES`. Columns without bounds are drawn with replacement.

    Args:
        values: `(n, k)`, a row an example, n >= 1.
        weights: `(n,)`, or `(n, k)` where columns count different rows; >= 0. A value
            of weight 0 may be NaN. Defaults to 1.
        bounds: The least and the largest value that an example can have, as a pair for
            all columns or a list of one a column; None for values without bounds, such
            as divergences. What values are is never read from them. Defaults to (0, 1):
            shares.
        num_resamples: Draws. Defaults to 1000.
        seed: Of the draws. Defaults to 0.

    Returns:
        `(num_resamples, k)`; NaN where a draw has no weight.

    Raises:
        ValueError: Where a value that counts lies outside its bounds.
    """
    values = np.asarray(values, "float64")
    weights = np.ones(len(values)) if weights is None else np.asarray(weights)
    weights = weights.reshape(len(values), -1).astype("float64")
    weights = np.broadcast_to(weights, values.shape)
    of_column = _bounds_by_column(bounds, values.shape[1])
    bounded = np.array([pair is not None for pair in of_column], bool)
    draws = np.empty((num_resamples, values.shape[1]))
    if not bounded.all():
        free = values[:, ~bounded], weights[:, ~bounded]
        draws[:, ~bounded] = _means_of_drawn(*free, num_resamples, seed)
    if bounded.any():
        pairs = np.array([pair for pair in of_column if pair is not None], "float64")
        held = values[:, bounded], weights[:, bounded], pairs
        _check_within(*held)
        draws[:, bounded] = bounded_means(*held, num_resamples, seed)
    return draws


def _means_of_drawn(values, weights, num_resamples, seed):
    weighted = np.where(weights == 0, 0.0, values) * weights
    rows = np.concatenate([weighted, weights], axis=1)
    sums = resampled_sums(rows, num_resamples, seed)
    totals = sums[:, values.shape[1] :]
    with np.errstate(invalid="ignore"):
        return sums[:, : values.shape[1]] / np.where(totals == 0, np.nan, totals)


def _bounds_by_column(bounds, count):
    if bounds is None or np.ndim(bounds[0]) == 0 and bounds[0] is not None:
        return [bounds] * count
    if len(bounds) != count:
        raise ValueError(
            f"`bounds` must be a pair, None, or one of these for each of the {count} "
            f"columns. Received: {len(bounds)} for them."
        )
    return list(bounds)


def _check_within(values, weights, bounds):
    low, high = bounds.T
    slack = _ROUNDING * (high - low)
    inside = (values >= low - slack) & (values <= high + slack)
    outside = (weights != 0) & ~inside
    if outside.any():
        row, column = np.argwhere(outside)[0]
        raise ValueError(
            f"Values of column {column} must lie within its bounds [{low[column]:g}, "
            f"{high[column]:g}]. Received: {values[row, column]:g} in row {row}. Pass "
            "`bounds=None` for values without bounds."
        )


def percentile_interval(draws, level=0.95):
    """`(low, high)` of the draws, `(num_resamples, ...)`, NaN ones left out.

    Args:
        draws: Values of a statistic, a row a draw.
        level: Share of the draws within. Defaults to 0.95.

    Returns:
        Two arrays `(...)`; NaN where no draw has a value.
    """
    draws = np.asarray(draws, "float64")
    shape = draws.shape[1:]
    draws = draws.reshape(len(draws), -1)
    tail = (1.0 - level) / 2
    ends = np.full((2, draws.shape[1]), np.nan)
    known = ~np.isnan(draws).all(axis=0)
    shares = (tail, 1.0 - tail)
    ends[:, known] = np.nanquantile(draws[:, known], shares, axis=0)
    return tuple(ends.reshape(2, *shape))
