"""Examples drawn with replacement, for bootstrap intervals."""

import numpy as np

_AT_ONCE = 1_000_000  # numbers drawn at a time: 8 MB


def resampled_sums(rows, num_resamples, seed):
    """Column sums over as many draws of the rows: `(num_resamples, columns)`.

    Args:
        rows: `(n, columns)` float64, a row an example.
        num_resamples: Draws, each of n rows.
        seed: Of the draws.
    """
    generator = np.random.default_rng(seed)
    size = len(rows)
    if not size:
        return np.zeros((num_resamples, rows.shape[1]))
    step = max(1, _AT_ONCE // size)
    sums = []
    for start in range(0, num_resamples, step):
        draws = min(step, num_resamples - start)
        picked = generator.integers(0, size, (draws, size))
        picked += size * np.arange(draws)[:, None]
        counts = np.bincount(picked.ravel(), minlength=draws * size)
        sums.append(counts.reshape(draws, size) @ rows)
    return np.concatenate(sums)
