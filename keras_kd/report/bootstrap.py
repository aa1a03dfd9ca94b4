"""Bootstrap intervals of weighted means, examples drawn with replacement."""

import numpy as np

from keras_kd._common.resampling import resampled_sums


def resampled_means(values, weights=None, *, num_resamples=1000, seed=0):
    """Weighted means of columns over as many draws of the rows.

    One draw takes the same rows of all columns, so that differences between columns
    are paired: of two models on the same examples, say.

    Args:
        values: `(n, k)`, a row an example, n >= 1.
        weights: `(n,)`, or `(n, k)` where columns count different rows; >= 0. A value
            of weight 0 may be NaN. Defaults to 1.
        num_resamples: Draws. Defaults to 1000.
        seed: Of the draws. Defaults to 0.

    Returns:
        `(num_resamples, k)`; NaN where a draw has no weight.
    """
    values = np.asarray(values, "float64")
    weights = np.ones(len(values)) if weights is None else np.asarray(weights)
    weights = weights.reshape(len(values), -1).astype("float64")
    weighted = np.where(weights == 0, 0.0, values) * weights
    rows = np.concatenate([weighted, weights], axis=1)
    sums = resampled_sums(rows, num_resamples, seed)
    totals = sums[:, values.shape[1] :]
    with np.errstate(invalid="ignore"):
        return sums[:, : values.shape[1]] / np.where(totals == 0, np.nan, totals)


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
