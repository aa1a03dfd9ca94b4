"""Examples drawn with replacement, or weighed at random, for bootstrap intervals."""

import numpy as np

_AT_ONCE = 1_000_000  # numbers drawn at a time: 8 MB
_PRIOR = 0.5  # Jeffreys': half an example at either bound


def resampled_sums(rows, num_resamples, seed):
    """Column sums over as many draws of the rows: `(num_resamples, columns)`.

    Args:
        rows: `(n, columns)` float64, a row an example.
        num_resamples: Draws, each of n rows.
        seed: Of the draws.
    """
    generator = np.random.default_rng(seed)
    size = len(rows)

    def counts(draws):
        picked = generator.integers(0, size, (draws, size))
        picked += size * np.arange(draws)[:, None]
        return np.bincount(picked.ravel(), minlength=draws * size).reshape(draws, size)

    return _summed(rows, num_resamples, counts)


def bounded_means(values, weights, bounds, num_resamples, seed):
    """Draws of weighted means of values between known bounds: `(num_resamples, k)`.

    The Bayesian bootstrap (every example counts for a standard exponential number) with
    half an example more at either bound. For values that are 0 or 1 the draws follow
    Beta(ones + 1/2, zeros + 1/2), so that their percentiles are Jeffreys' interval,
    also where all values are equal: as many more examples may not be. Where all are at
    one bound, draws beyond the median are the bound itself, so that the interval holds
    the mean. Of unequal weights, half an example weighs half of what each of
    (sum w)^2 / sum w^2 equal ones would.

    Args:
        values: `(n, k)` float64, a row an example.
        weights: `(n, k)`, >= 0. A value of weight 0 is not read.
        bounds: `(k, 2)`: the least and the largest value that each column can have.
        num_resamples: Draws.
        seed: Of the draws; all columns have the same.

    References: Rubin 1981, The Bayesian Bootstrap; Brown, Cai and DasGupta 2001,
    Interval Estimation for a Binomial Proportion, section 4.1.2.
    """
    generator = np.random.default_rng(seed)
    low, high = np.transpose(bounds)
    place = np.where(weights == 0, 0.0, values - low) / (high - low)
    place = np.clip(place, 0.0, 1.0)  # rounding
    total, squares = weights.sum(axis=0), (weights**2).sum(axis=0)
    with np.errstate(invalid="ignore"):
        one_example = squares / total  # NaN, as the means are, where nothing counts

    rows = np.concatenate([place * weights, weights], axis=1)
    sums = _summed(
        rows,
        num_resamples,
        lambda draws: generator.standard_exponential((draws, len(rows))),
    )
    none, all_ = generator.standard_gamma(_PRIOR, (2, num_resamples, 1)) * one_example
    draws = (sums[:, : len(low)] + all_) / (sums[:, len(low) :] + none + all_)
    counted = np.where(weights == 0, np.nan, place)
    for bound, toward in ((0.0, np.minimum), (1.0, np.maximum)):
        at_bound = (np.isnan(counted) | (counted == bound)).all(axis=0)
        beyond = draws == toward(draws, np.median(draws, axis=0))
        draws = np.where(at_bound & beyond, bound, draws)
    return low + (high - low) * draws


def _summed(rows, num_resamples, draw):
    """Sums of the rows, each times a number: `draw(m)` gives those of m sums."""
    size = len(rows)
    if not size:
        return np.zeros((num_resamples, rows.shape[1]))
    step = max(1, _AT_ONCE // size)
    return np.concatenate(
        [
            draw(min(step, num_resamples - start)) @ rows
            for start in range(0, num_resamples, step)
        ]
    )
