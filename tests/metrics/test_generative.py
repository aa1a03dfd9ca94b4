"""Fréchet distance and inception score, against SciPy and closed forms."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import linalg, special

from keras_kd.metrics import frechet_distance, inception_score


def textbook_frechet(real, made):
    """Heusel et al. 2017, equation 6, with SciPy's matrix root."""
    covariances = np.cov(real, rowvar=False), np.cov(made, rowvar=False)
    gap = real.mean(0) - made.mean(0)
    root = linalg.sqrtm(covariances[0] @ covariances[1])
    return gap @ gap + np.trace(sum(covariances) - 2 * np.real(root))


@pytest.mark.parametrize(("n", "m", "d"), [(50, 60, 4), (400, 100, 17), (900, 900, 30)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_distance_equals_the_textbook_form(n, m, d, dtype):
    rng = np.random.default_rng(n + d)
    real = (rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) + 1).astype(dtype)
    made = (rng.normal(size=(m, d)) @ rng.normal(size=(d, d))).astype(dtype)
    expected = textbook_frechet(real.astype("float64"), made.astype("float64"))
    assert_allclose(frechet_distance(real, made), expected, rtol=1e-6)


def test_distance_of_fewer_rows_than_features_is_right():
    """Covariances are singular then, where the textbook's root is unstable.

    Rows within a subspace have the distance that they have in its coordinates.
    """
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.normal(size=(40, 6)))[0].T
    real, made = rng.normal(size=(20, 6)), rng.normal(size=(25, 6)) * 2
    expected = textbook_frechet(real, made)
    assert_allclose(frechet_distance(real @ basis, made @ basis), expected, rtol=1e-8)


def test_distance_of_a_set_to_itself_is_zero():
    real = np.random.default_rng(0).normal(size=(100, 12))
    assert frechet_distance(real, real[::-1]) < 1e-9


def test_distance_of_diagonal_gaussians():
    """Closed form: squared gaps of means and of standard deviations, added up."""
    rng = np.random.default_rng(0)
    raw = rng.normal(size=(500, 3))
    white = (raw - raw.mean(0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(raw.T))).T
    shift, scale = np.array([1.0, 0.0, -2.0]), np.array([2.0, 0.5, 1.0])
    expected = np.sum(shift**2) + np.sum((scale - 1) ** 2)
    assert_allclose(frechet_distance(white, white * scale + shift), expected, rtol=1e-8)


@pytest.mark.parametrize("splits", [1, 3, 10])
def test_score_equals_the_definition(splits):
    logits = 3 * np.random.default_rng(splits).normal(size=(95, 7))
    probs = special.softmax(logits, axis=1)
    scores = []
    for i in range(splits):  # as the code of Salimans et al. cuts: 95 is 9, 10, 9, ...
        part = probs[i * 95 // splits : (i + 1) * 95 // splits]
        divergences = special.rel_entr(part, part.mean(0)).sum(axis=1)
        scores.append(np.exp(divergences.mean()))
    found = inception_score(logits, splits)
    assert_allclose(found, (np.mean(scores), np.std(scores)), rtol=1e-10, atol=1e-12)


def test_score_is_one_where_images_say_nothing():
    assert_allclose(inception_score(np.zeros((50, 4))), (1.0, 0.0), atol=1e-12)


def test_score_is_the_number_of_classes_at_its_best_and_finite_at_extremes():
    logits = 1e4 * np.eye(5)[np.arange(50) % 5]
    assert_allclose(inception_score(logits), (5.0, 0.0), atol=1e-9)


@pytest.mark.parametrize(
    "bad", [np.zeros((1, 3)), np.zeros(4), np.full((5, 2), np.nan)]
)
def test_what_is_no_table_of_numbers_is_refused(bad):
    with pytest.raises(ValueError, match="real_features"):
        frechet_distance(bad, np.zeros((5, 2)))
    with pytest.raises(ValueError, match="logits"):
        inception_score(bad)


def test_unlike_features_are_refused():
    with pytest.raises(ValueError, match="one length"):
        frechet_distance(np.zeros((5, 2)), np.zeros((5, 3)))


@pytest.mark.parametrize("splits", [0, 6])
def test_a_number_of_splits_that_does_not_fit_is_refused(splits):
    with pytest.raises(ValueError, match="num_splits"):
        inception_score(np.zeros((5, 2)), splits)
