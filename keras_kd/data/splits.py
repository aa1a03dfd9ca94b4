"""Parts of a source, the same whatever the shuffle, that keep the examples' numbers."""

import zlib

import numpy as np

from keras_kd._common import checks
from keras_kd._common.batch import UNLABELED
from keras_kd.data._seeds import check_seed


def halves(source, seed=0):
    """Cut a source at random into two halves, D0 and D1.

    The draw takes no account of classes, as in the paper. Of an odd number of examples
    D1 has one more.

    Args:
        source: `keras_kd.data.Source`.
        seed: Of the draw. Defaults to 0.

    Returns:
        `(D0, D1)`, sources without a common example.

    Example:

    >>> d0, d1 = keras_kd.data.halves(keras_kd.data.load("digits"), seed=0)
    >>> d0.size, d1.size, set(d0.indices) & set(d1.indices)
    (628, 629, set())

    Reference: Stanton et al. 2021, Figure 4; released code (equal random halves).
    """
    _check_fits("Two halves", 2, source)
    chosen = _random_order(source, "halves", seed)
    first = source.size // 2
    return (
        source._part(chosen[:first], f"{source.name}/D0"),
        source._part(chosen[first:], f"{source.name}/D1"),
    )


def union(a, b):
    """All examples that are in one part of a source or in another: D0 ∪ D1.

    An example that is in both counts once. Parts of different sources have no union,
    since two examples would bear one number: join their arrays before
    `keras_kd.data.from_arrays`, or show one beside the other with
    `keras_kd.data.out_of_distribution`.

    Args:
        a, b: `keras_kd.data.Source`, both cut from the same one.

    Returns:
        `Source`.

    Example:

    >>> d0, d1 = keras_kd.data.halves(keras_kd.data.load("digits"), seed=0)
    >>> keras_kd.data.union(d0, d1).size
    1257
    """
    if a._store.origin is not b._store.origin:
        raise ValueError(
            f"A union takes parts of one source. Received: {a.name!r} and {b.name!r}, "
            "which were loaded apart. Load once and cut both from that; or join two "
            "sets as arrays before `keras_kd.data.from_arrays`."
        )
    return a._part(np.union1d(a.indices, b.indices), f"{a.name} | {b.name}")


def subsample(source, n, stratify=True, seed=0):
    """Draw n examples at random, by default as many of each class as is its share.

    Args:
        source: `keras_kd.data.Source`.
        n: How many, at most `source.size`; with `stratify`, at least one a class.
        stratify: Whether each class gets its share of n, up to rounding. Needs labels.
            Defaults to True.
        seed: Of the draw. Defaults to 0.

    Returns:
        `Source` of size n.

    Example:

    >>> few = keras_kd.data.subsample(keras_kd.data.load("digits"), 20)
    >>> np.bincount(few.labels).tolist()
    [2, 2, 2, 2, 2, 2, 2, 2, 2, 2]

    Reference: Stanton et al. 2021, Figure 2 (200 images of MNIST, stratified in the
    released code).
    """
    n = checks.check_whole_number("n", n, at_least=1)
    _check_fits(f"A sample of n={n}", n, source)
    order = _random_order(source, "subsample", seed)
    if stratify:
        order = order[_first_of_each_class(source, order, n)]
    return source._part(order[:n], f"{source.name}/{n}")


def held_out(source, fraction_or_n, seed=0):
    """Set examples aside at random, for validation.

    Args:
        source: `keras_kd.data.Source`.
        fraction_or_n: Share in (0, 1), a float; or a whole number of examples.
        seed: Of the draw. Defaults to 0.

    Returns:
        `(train, validation)`, sources without a common example.

    Example:

    >>> train, validation = keras_kd.data.held_out(keras_kd.data.load("digits"), 0.2)
    >>> train.size, validation.size
    (1006, 251)
    """
    if isinstance(fraction_or_n, (float, np.floating)):
        if not 0 < fraction_or_n < 1:
            raise ValueError(
                "`fraction_or_n` must be a share between 0 and 1, or a whole number of "
                f"examples. Received: fraction_or_n={fraction_or_n!r}."
            )
        n = max(1, round(fraction_or_n * source.size))
    else:
        n = checks.check_whole_number("fraction_or_n", fraction_or_n, at_least=1)
    _check_fits(f"{n} for validation and at least 1 for training", n + 1, source)
    order = _random_order(source, "held_out", seed)
    return (
        source._part(order[n:], f"{source.name}/training"),
        source._part(order[:n], f"{source.name}/validation"),
    )


def _check_fits(what, needed, source):
    if needed > source.size:
        raise ValueError(
            f"{what} needs {needed} examples or more, but source {source.name!r} has "
            f"{source.size}. Take less, or cut a larger source."
        )


def _random_order(source, operation, seed):
    """The numbers of a source's examples in an order of operation and seed alone."""
    stream = [zlib.crc32(operation.encode()), check_seed(seed)]
    # Raw numbers, which no version of NumPy may change.
    drawn = np.random.Philox(np.random.SeedSequence(stream)).random_raw(source.size)
    return source.indices[np.argsort(drawn, kind="stable")]


def _first_of_each_class(source, order, n):
    """Places in `order` of the first examples of each class, as many as its share."""
    labels = source.labels[np.searchsorted(source.indices, order)]
    if (labels == UNLABELED).any():
        raise ValueError(
            f"Source {source.name!r} has examples without a label, which have no class "
            "to be drawn by. Pass `stratify=False`."
        )
    classes, counts = np.unique(labels, return_counts=True)
    if n < len(classes):
        raise ValueError(
            f"A stratified sample of n={n} cannot have an example of each of "
            f"{len(classes)} classes. Take more, or pass `stratify=False`."
        )
    shares = zip(classes, _shares(counts, n), strict=True)
    places = [np.flatnonzero(labels == label)[:share] for label, share in shares]
    return np.concatenate(places)


def _shares(counts, n):
    """n cut in proportion to the counts; what is left goes to the largest fractions."""
    exact = n * counts / counts.sum()
    shares = np.floor(exact).astype(int)
    largest = np.argsort(shares - exact, kind="stable")
    shares[largest[: n - shares.sum()]] += 1
    return shares
