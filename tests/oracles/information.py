"""Entropies from counts: plug-in, and with the correction of Miller 1955."""

from collections import Counter

import numpy as np


def entropy(values):
    shares = np.array(list(Counter(values).values())) / len(values)
    return -np.sum(shares * np.log(shares))


def miller_madow_entropy(values):
    """Plug-in plus (cells that are not empty - 1) / 2n."""
    return entropy(values) + (len(set(values)) - 1) / (2 * len(values))


def mutual_information(first, second, entropy=entropy):
    """H(first) + H(second) - H(both)."""
    first, second = list(map(int, first)), list(map(int, second))
    both = list(zip(first, second, strict=True))
    return entropy(first) + entropy(second) - entropy(both)
