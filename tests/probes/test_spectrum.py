"""Lanczos and Hutchinson on plain matrices, against numpy.linalg.eigh."""

import warnings

import matplotlib
import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.sparse.linalg import LinearOperator, eigsh

from keras_kd.probes import hessian_trace, top_eigenvalues

KEYS = {
    "largest": lambda v: -v,
    "smallest": lambda v: v,
    "magnitude": lambda v: -np.abs(v),
}


def symmetric(eigenvalues, seed=0):
    size = len(eigenvalues)
    square = np.random.default_rng(seed).normal(size=(size, size))
    vectors = np.linalg.qr(square)[0]
    return vectors @ np.diag(eigenvalues) @ vectors.T


def random(size, seed=0):
    square = np.random.default_rng(seed).normal(size=(size, size))
    return square + square.T


@pytest.mark.parametrize("which", KEYS)
@pytest.mark.parametrize("size", [6, 150])
def test_eigenvalues_are_numpys(which, size):
    matrix = random(size)
    found = top_eigenvalues(
        lambda v: matrix @ v, 4, size=size, which=which, tolerance=1e-8, verbose=0
    )
    want = np.linalg.eigvalsh(matrix)
    want = sorted(want, key=KEYS[which])[:4]
    assert_allclose(found.values, want, rtol=1e-6)


def test_vectors_and_residuals_belong_to_the_values():
    matrix = random(80)
    found = top_eigenvalues(lambda v: matrix @ v, 3, size=80, tolerance=1e-3, verbose=0)
    gaps = matrix @ found.vectors - found.vectors * found.values
    assert_allclose(np.linalg.norm(gaps, axis=0), found.residuals, rtol=1e-4, atol=1e-9)
    assert_allclose(found.vectors.T @ found.vectors, np.eye(3), atol=1e-10)


def test_no_eigenvalue_comes_up_again_as_a_ghost():
    """One that stands far out converges early, and rounding would bring it back."""
    spectrum = np.concatenate([[1e6], np.linspace(0, 1, 79)])
    matrix = symmetric(spectrum)
    found = top_eigenvalues(
        lambda v: matrix @ v, 5, size=80, tolerance=1e-13, verbose=0
    )
    assert_allclose(found.values, np.sort(spectrum)[::-1][:5], atol=1e-6)


def test_eigenvalues_of_a_larger_matrix_come_as_often_as_it_has_them():
    spectrum = np.concatenate([[9.0, 9, 9, 7, 5, 5], np.linspace(-3, 3, 94)])
    matrix = symmetric(spectrum)
    found = top_eigenvalues(
        lambda v: matrix @ v, 6, size=100, tolerance=1e-8, verbose=0
    )
    assert_allclose(found.values, spectrum[:6], rtol=1e-8)
    assert_allclose(found.vectors.T @ found.vectors, np.eye(6), atol=1e-8)
    assert found.iterations < 200


def test_repeated_eigenvalues_are_found_that_scipy_misses():
    """Where the second half fails, SciPy's routine may take the place of ours."""
    spectrum = np.concatenate([[9.0, 9, 9, 9, 9, 7, 5, 5], np.linspace(-0.5, 0.5, 22)])
    found = top_eigenvalues(lambda v: spectrum * v, 3, size=30, verbose=0)
    assert_allclose(found.values, 9, rtol=1e-5)
    missed = 0
    for seed in range(10):
        matrix = LinearOperator((30, 30), lambda v: spectrum * v.ravel(), dtype=float)
        start = np.random.default_rng(seed).normal(size=30)
        values = eigsh(matrix, 3, which="LA", tol=1e-5, v0=start)[0]
        missed += not np.allclose(values, 9, rtol=1e-5)
    assert missed > 0


@pytest.mark.parametrize(
    "spectrum",
    [[3, 3, 1, 0], [2, 2, 2, 2], [0, 0, 0, 0], [5, 0, 0, 0]],
    ids=["double", "identity", "zero", "rank one"],
)
def test_of_small_matrices_multiple_eigenvalues_are_found(spectrum):
    matrix = symmetric(np.array(spectrum, "float64"))
    found = top_eigenvalues(lambda v: matrix @ v, 2, size=4, verbose=0)
    assert_allclose(found.values, spectrum[:2], atol=1e-10)


def test_a_matrix_of_low_rank_takes_few_products():
    matrix = symmetric(np.concatenate([[4.0, 3.0, 2.0], np.zeros(297)]))
    found = top_eigenvalues(lambda v: matrix @ v, 3, size=300, verbose=0)
    assert_allclose(found.values, [4, 3, 2], rtol=1e-6)
    assert found.iterations < 10


def test_too_few_products_are_said():
    matrix = random(150)
    with pytest.warns(UserWarning, match="did not suffice"):
        top_eigenvalues(lambda v: matrix @ v, 4, size=150, max_iterations=5, verbose=0)


def test_the_trace_is_within_three_standard_errors():
    matrix = random(60)
    found = hessian_trace(lambda v: matrix @ v, 50, size=60, verbose=0)
    assert abs(found.value - np.trace(matrix)) < 3 * found.standard_error
    assert_allclose(found.value, found.samples.mean())


def test_the_standard_error_is_that_of_hutchinsons_estimate():
    """Variance of v'Av for signs v: twice the squares off the diagonal."""
    matrix = random(40)
    found = hessian_trace(lambda v: matrix @ v, 39, size=40, verbose=0)
    off = matrix - np.diag(np.diag(matrix))
    assert_allclose(found.standard_error, np.sqrt(2 * np.sum(off**2) / 39), rtol=0.4)


def test_with_as_many_samples_as_rows_the_trace_is_exact():
    matrix = random(30)
    found = hessian_trace(lambda v: matrix @ v, 30, size=30, verbose=0)
    assert_allclose(found.value, np.trace(matrix), rtol=1e-12)
    assert found.standard_error == 0


def test_results_draw_themselves():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        matrix = random(6)
        values = top_eigenvalues(lambda v: matrix @ v, 2, size=6, verbose=0).plot()
        trace = hessian_trace(lambda v: matrix @ v, 4, size=6, verbose=0).plot()
    for ax in (values, trace):
        assert ax.has_data()
    matplotlib.pyplot.close("all")
