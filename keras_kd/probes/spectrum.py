"""Eigenvalues and trace of a symmetric matrix that can only be multiplied."""

import dataclasses
import warnings
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from keras_kd._common.checks import check_choice, check_number, check_whole_number
from keras_kd._common.table import InTable, shown


class _Pairs(NamedTuple):
    values: np.ndarray  # (n,)
    vectors: np.ndarray  # (n, size)
    residuals: np.ndarray  # (n,)


_ORDERS = {
    "largest": lambda values: -values,
    "smallest": lambda values: values,
    "magnitude": lambda values: -np.abs(values),
}


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Eigenvalues(InTable):
    """What `top_eigenvalues` found.

    Attributes:
        values: `(k,)`, in the order asked for.
        vectors: `(size, k)`, of unit length.
        residuals: `(k,)`, |A v - value v|: each value is at most that far from an
            eigenvalue.
        iterations: Products that it took.

    Example:

    >>> found = keras_kd.probes.top_eigenvalues(
    ...     lambda v: np.array([3.0, 1.0]) * v, 2, size=2, verbose=0)
    >>> found.plot().get_ylabel()
    'eigenvalue'
    """

    values: np.ndarray
    vectors: np.ndarray
    residuals: np.ndarray
    iterations: int

    def plot(self, ax=None):
        """Draw the eigenvalues in their order; gives the axes."""
        if ax is None:
            import matplotlib.pyplot as plt

            ax = plt.subplots()[1]
        places = np.arange(1, len(self.values) + 1)
        ax.errorbar(places, self.values, self.residuals, fmt="o")
        ax.axhline(0, color="gray", linewidth=0.5)
        ax.set_xlabel("rank")
        ax.set_ylabel("eigenvalue")
        return ax

    def _table(self):
        pairs = zip(self.values, self.residuals, strict=True)
        rows = [[i, *map(shown, pair)] for i, pair in enumerate(pairs, start=1)]
        return ["rank", "eigenvalue", "residual"], rows


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class TraceEstimate(InTable):
    """What `hessian_trace` found.

    Attributes:
        value: The trace.
        standard_error: Of the value; 0 where it is exact.
        samples: `(num_samples,)`, estimates whose mean the value is; of an exact trace,
            the diagonal times the size.

    Example:

    >>> trace = keras_kd.probes.TraceEstimate(2.0, 0.5, np.array([1.5, 2.5]))
    >>> trace.plot().get_ylabel()
    'trace'
    """

    value: float
    standard_error: float
    samples: np.ndarray

    def plot(self, ax=None):
        """Draw the estimate as it settles; gives the axes."""
        if ax is None:
            import matplotlib.pyplot as plt

            ax = plt.subplots()[1]
        count = np.arange(1, len(self.samples) + 1)
        ax.plot(count, np.cumsum(self.samples) / count)
        low, high = (self.value + s * self.standard_error for s in (-1, 1))
        ax.axhspan(low, high, alpha=0.3)
        ax.set_xlabel("samples")
        ax.set_ylabel("trace")
        return ax


def top_eigenvalues(
    operator,
    k=5,
    *,
    size=None,
    which="largest",
    tolerance=1e-5,
    max_iterations=None,
    seed=0,
    verbose=1,
):
    """The top eigenvalues and eigenvectors of a symmetric matrix, by Lanczos' method.

    Each new vector is made orthogonal to all before it, twice, so that no eigenvalue
    comes up again as a ghost. One that the matrix has several times is found as often:
    what is orthogonal to the found ones is searched until it holds none of the top.
    (`scipy.sparse.linalg.eigsh` has one Krylov space, in which copies come up by
    rounding alone: of 9, 9, 9, 9, 9, 7 it gives 9, 9, 7 as the top three.) Up to
    `max_iterations` vectors of `size` float64 numbers are held.

    Args:
        operator: A `LossHessian`, any object with `matvec` and `size`, or a function of
            a vector (then give `size`).
        k: How many. Defaults to 5.
        size: Rows of the matrix, for a function. Defaults to `operator.size`.
        which: `"largest"` (default), `"smallest"`, or `"magnitude"`.
        tolerance: Residual to reach, as a part of the largest |eigenvalue|. Defaults to
            1e-5, which float32 networks can reach.
        max_iterations: Products to make at most. Defaults to 40 k, or 200 if that is
            more. A warning says when they did not suffice.
        seed: Of the first vector. Defaults to 0.
        verbose: 0 hides the progress bar. Defaults to 1.

    Returns:
        `Eigenvalues`.

    Example:

    >>> matrix = np.diag([5.0, 3.0, 1.0, -7.0])
    >>> found = keras_kd.probes.top_eigenvalues(
    ...     lambda v: matrix @ v, 2, size=4, verbose=0)
    >>> found.values.round(4).tolist()
    [5.0, 3.0]

    Reference: Golub and Van Loan, Matrix Computations, section 10.3.
    """
    matvec, size = _product_of(operator, size)
    k = check_whole_number("k", k, at_least=1)
    if k > size:
        raise ValueError(f"A matrix of {size} rows has no {k} eigenvalues. Lower `k`.")
    order = _ORDERS[check_choice("which", which, list(_ORDERS))]
    tolerance = check_number("tolerance", tolerance, above=0)
    limit = max(40 * k, 200) if max_iterations is None else max_iterations
    limit = check_whole_number("max_iterations", limit, at_least=k)
    generator = np.random.default_rng(seed)
    with tqdm(unit="product", disable=not verbose) as bar:
        found, spent, done = _all_runs(
            matvec, size, k, order, tolerance, limit, generator, bar
        )
    if not done:
        warnings.warn(
            f"{spent} products did not suffice for {k} eigenvalues; the largest "
            f"residual is {found.residuals.max():.2g}. Raise `max_iterations` or "
            "`tolerance`.",
            stacklevel=2,
        )
    return Eigenvalues(found.values, found.vectors.T, found.residuals, spent)


def hessian_trace(operator, num_samples=100, *, size=None, seed=0, verbose=1):
    """The trace of a symmetric matrix, by Hutchinson's estimate.

    The mean of v'Av over random vectors of +1 and -1. With `num_samples` of at least
    the size of the matrix its diagonal is read instead, which is exact.

    Args:
        operator: As in `top_eigenvalues`.
        num_samples: Products to make. Defaults to 100.
        size: Rows of the matrix, for a function. Defaults to `operator.size`.
        seed: Of the vectors. Defaults to 0.
        verbose: 0 hides the progress bar. Defaults to 1.

    Returns:
        `TraceEstimate`, with its standard error.

    Example:

    >>> trace = keras_kd.probes.hessian_trace(
    ...     lambda v: np.array([1.0, 2.0, 3.0]) * v, 2, size=3, verbose=0)
    >>> trace.value, trace.standard_error
    (6.0, 0.0)

    Reference: Hutchinson 1990; Yao et al. 2020.
    """
    matvec, size = _product_of(operator, size)
    num_samples = check_whole_number("num_samples", num_samples, at_least=2)
    exact = num_samples >= size
    generator = np.random.default_rng(seed)
    samples = []
    for i in tqdm(range(min(num_samples, size)), unit="product", disable=not verbose):
        v = np.eye(1, size, i)[0] if exact else generator.choice([-1.0, 1.0], size)
        samples.append((size if exact else 1) * float(v @ matvec(v)))
    samples = np.array(samples)
    error = 0.0 if exact else float(np.std(samples, ddof=1) / np.sqrt(len(samples)))
    return TraceEstimate(float(np.mean(samples)), error, samples)


def _product_of(operator, size):
    matvec = getattr(operator, "matvec", operator)
    size = getattr(operator, "size", None) if size is None else size
    if not callable(matvec):
        raise TypeError(
            "`operator` must be a LossHessian, an object with `matvec` and `size`, or "
            f"a function of a vector. Received: {operator!r}."
        )
    if size is None:
        raise ValueError(
            "`size` is needed for a function: how long are the vectors that it takes?"
        )
    return matvec, check_whole_number("size", size, at_least=1)


def _all_runs(matvec, size, k, order, tolerance, limit, generator, bar):
    """Top k of the pairs that Krylov spaces hold, each without what was found before.

    One such space has a single direction of an eigenvalue that comes several times. So
    the rest is searched again, until its best is none of the top k.
    """
    found = _Pairs(np.empty(0), np.empty((0, size)), np.empty(0))
    spent, wanted = 0, k
    while True:
        new, products, converged = _one_run(
            matvec, found, wanted, order, tolerance, limit - spent, generator, bar
        )
        spent += products
        worst = order(found.values)[:k].max(initial=-np.inf)
        enters = len(found.values) < k or order(new.values).min() < worst
        found = _Pairs(*map(np.concatenate, zip(found, new, strict=True)))
        best = np.argsort(order(found.values), kind="stable")
        found = _Pairs(*(part[best] for part in found))
        is_all = len(found.values) == size
        if is_all or not converged or not enters or spent >= limit:
            done = is_all or (converged and not enters)
            return _Pairs(*(part[:k] for part in found)), spent, done
        wanted = max(1, k - len(found.values))


def _one_run(matvec, found, k, order, tolerance, limit, generator, bar):
    """`(pairs, products, converged)` of one Krylov space orthogonal to `found`."""
    locked, size = found.vectors, found.vectors.shape[1]
    space, diagonal, beside = np.empty((8, size)), [], []
    vector = _orthogonal(generator.normal(size=size), locked)[0]
    while True:
        count = len(diagonal)
        if count == len(space):  # doubled: not one copy a product
            space = np.concatenate([space, np.empty_like(space)])
        space[count] = vector
        basis = space[: count + 1]
        image = np.asarray(matvec(vector), "float64")
        bar.update()
        diagonal.append(float(vector @ image))
        vector, length = _orthogonal(image, locked, basis)
        tridiagonal = np.diag(diagonal) + np.diag(beside, 1) + np.diag(beside, -1)
        values, coordinates = np.linalg.eigh(tridiagonal)
        top = np.argsort(order(values), kind="stable")[:k]
        scale = np.max(np.abs([*values, *found.values]))
        ended = len(locked) + len(basis) == size or length <= 1e-12 * scale
        residuals = np.abs((0.0 if ended else length) * coordinates[-1, top])
        small = residuals.max() <= tolerance * scale
        converged = ended or (small and len(basis) >= k)
        if converged or len(basis) >= limit:
            pairs = _Pairs(values[top], coordinates[:, top].T @ basis, residuals)
            return pairs, len(basis), converged
        beside.append(length)


def _orthogonal(vector, *bases):
    """The part of a vector outside the bases, of unit length, and its length."""
    for basis in (*bases, *bases):  # twice: once leaves what rounding left
        vector = vector - basis.T @ (basis @ vector)
    length = float(np.linalg.norm(vector))
    return vector / (length or 1.0), length
