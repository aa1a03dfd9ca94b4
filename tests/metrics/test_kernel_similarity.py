"""CKA with a Gaussian kernel, and the released code's, against NumPy."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from oracles import representation as oracles

from keras_kd import metrics

UNRELATED = [(32, 0.870), (16, 0.933), (8, 0.964)]  # columns, what was published


def features(n=60, widths=(7, 5), seed=0):
    rng = np.random.default_rng(seed)
    common = rng.normal(size=(n, 3))
    return [common @ rng.normal(size=(3, d)) + rng.normal(size=(n, d)) for d in widths]


@pytest.mark.parametrize("bandwidth", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("debiased", [True, False])
@pytest.mark.parametrize("n", [4, 6, 61])  # 6, 15 and 1830 distances
def test_equals_the_definition(n, debiased, bandwidth):
    teacher, student = features(n)
    kernels = [oracles.gaussian_kernel(x, bandwidth) for x in (teacher, student)]
    want = oracles.cka(*kernels, debiased)
    found = metrics.rbf_cka(teacher, student, debiased, bandwidth=bandwidth)
    assert_allclose(found, want, rtol=1e-9)


@pytest.mark.parametrize("n", [5, 6, 8])
def test_equal_examples_leave_the_median_to_those_that_differ(n):
    teacher, student = (np.repeat(x, [1, 3] + [1] * (n - 2), 0) for x in features(n))
    want = oracles.cka(*map(oracles.gaussian_kernel, (teacher, student)))
    assert_allclose(metrics.rbf_cka(teacher, student), want, rtol=1e-9)


def test_a_wide_kernel_leads_to_linear_cka():
    teacher, student = features()
    for debiased in (True, False):
        found = metrics.rbf_cka(teacher, student, debiased, bandwidth=1e3)
        want = metrics.linear_cka(teacher, student, debiased)
        assert_allclose(found, want, rtol=1e-4)


def test_of_rotated_moved_and_scaled_features_is_one():
    teacher, _ = features()
    rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(7, 7)))[0]
    found = metrics.rbf_cka(teacher, 30 * teacher @ rotation + 9)
    assert_allclose(found, 1.0, rtol=1e-9)


def test_of_independent_noise_is_near_zero():
    rng = np.random.default_rng(0)
    found = [
        metrics.rbf_cka(rng.normal(size=(128, 8)), rng.normal(size=(128, 64)))
        for _ in range(6)
    ]
    assert abs(np.mean(found)) < 3 * np.std(found) / np.sqrt(6) + 1e-3
    assert np.max(np.abs(found)) < 0.1


def test_sees_what_linear_cka_cannot():
    x = np.random.default_rng(0).normal(size=(400, 1))
    assert abs(metrics.linear_cka(x, x**2)) < 0.1
    assert metrics.rbf_cka(x, x**2) > 0.2


def test_positions_are_averaged_or_become_features():
    maps = np.random.default_rng(0).normal(size=(2, 30, 4, 4, 3))
    means = maps.mean(axis=(2, 3))
    assert metrics.rbf_cka(*maps) == metrics.rbf_cka(*means)
    found = metrics.rbf_cka(*maps, spatial="flatten")
    assert found == metrics.rbf_cka(*maps.reshape(2, 30, -1))


def test_equal_examples_do_not_set_the_bandwidth():
    x = np.repeat(np.random.default_rng(0).normal(size=(12, 3)), 10, axis=0)
    assert_allclose(metrics.rbf_cka(x, 2 * x), 1.0, rtol=1e-9)


@pytest.mark.parametrize(("columns", "published"), UNRELATED)
def test_the_released_code_gives_published_values_on_unrelated_maps(columns, published):
    """Of 20 draws: the released code was run on as many."""
    rng = np.random.default_rng(0)
    draws = rng.normal(size=(20, 2, 128, 2, columns, 3))
    found = [metrics.released_cka(*maps) for maps in draws]
    assert abs(np.mean(found) - published) < 3 * np.std(found) * (2 / 20) ** 0.5


@pytest.mark.parametrize("width", [7, 8])  # 21 and 28 distances
def test_the_released_code_takes_columns_for_examples(width):
    maps = np.random.default_rng(0).normal(size=(2, 128, 3, width, 2))
    columns = maps.mean(axis=(2, 4)).swapaxes(1, 2)  # channels and rows averaged
    want = oracles.cka(*map(oracles.gaussian_kernel, columns), debiased=False)
    assert_allclose(metrics.released_cka(*maps), want, rtol=1e-9)


def test_the_released_code_averages_batches_whatever_their_size():
    maps = np.random.default_rng(0).normal(size=(2, 144, 3, 8, 2))
    parts = [metrics.released_cka(*maps[:, s]) for s in (slice(128), slice(128, 144))]
    assert_allclose(metrics.released_cka(*maps), np.mean(parts), rtol=1e-12)
