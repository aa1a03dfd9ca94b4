"""Bootstrap intervals against closed forms and scipy.stats.bootstrap."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from keras_kd._common import resampling
from keras_kd.report.bootstrap import percentile_interval, resampled_means

GENERATOR = np.random.default_rng(0)
SKEWED = GENERATOR.exponential(size=120)
WEIGHTS = GENERATOR.uniform(0, 2, size=120)


def test_means_of_two_values_have_their_binomial_law():
    draws = resampled_means(np.array([[0.0], [1.0]]), num_resamples=20_000)[:, 0]
    for value, probability in ((0.0, 0.25), (0.5, 0.5), (1.0, 0.25)):
        error = np.sqrt(probability * (1 - probability) / len(draws))
        assert abs(np.mean(draws == value) - probability) < 3 * error


def test_spread_is_that_of_a_mean():
    draws = resampled_means(SKEWED[:, None], num_resamples=20_000)[:, 0]
    error = SKEWED.std() / np.sqrt(len(SKEWED))
    assert_allclose(draws.std(), error, rtol=3 / np.sqrt(2 * 20_000))
    assert abs(draws.mean() - SKEWED.mean()) < 3 * error / np.sqrt(20_000)


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["equal", "weighted"])
def test_interval_is_that_of_scipy(weights):
    from scipy import stats

    def mean(values, weights):
        return np.average(values, weights=weights)

    used = np.ones(120) if weights is None else weights
    theirs = stats.bootstrap(
        (SKEWED, used),
        mean,
        n_resamples=4000,
        paired=True,
        vectorized=False,
        method="percentile",
        rng=np.random.default_rng(1),
    ).confidence_interval
    draws = resampled_means(SKEWED[:, None], weights, num_resamples=20_000)
    ours = np.ravel(percentile_interval(draws))
    assert_allclose(ours, theirs, atol=0.05 * (theirs.high - theirs.low))


def test_columns_share_their_draws():
    draws = resampled_means(np.stack([SKEWED, SKEWED + 1], axis=-1), WEIGHTS)
    assert_allclose(draws[:, 1] - draws[:, 0], 1.0)


def test_weight_zero_is_absence():
    values = np.append(SKEWED, np.nan)[:, None]
    draws = resampled_means(values, np.append(WEIGHTS, 0.0))
    assert np.isfinite(draws).all()


def test_columns_may_count_different_rows():
    values = np.array([[1.0, 5.0], [1.0, 7.0]])
    draws = resampled_means(values, np.array([[1.0, 1.0], [0.0, 0.0]]))
    known = draws[~np.isnan(draws[:, 0])]
    assert_array_equal(known, np.tile([1.0, 5.0], (len(known), 1)))
    assert abs(len(known) / 1000 - 0.75) < 3 * np.sqrt(0.75 * 0.25 / 1000)


def test_draws_are_of_the_seed_whatever_is_drawn_at_a_time(monkeypatch):
    whole = resampled_means(SKEWED[:, None], seed=3, num_resamples=50)
    monkeypatch.setattr(resampling, "_AT_ONCE", 700)
    assert_allclose(
        resampled_means(SKEWED[:, None], seed=3, num_resamples=50), whole, rtol=1e-12
    )
    other = resampled_means(SKEWED[:, None], seed=4, num_resamples=50)
    assert not np.allclose(other, whole)


def test_quantiles_leave_out_draws_without_a_value():
    draws = np.array([[np.nan, np.nan], *([i, np.nan] for i in range(101))])
    low, high = percentile_interval(draws, level=0.9)
    assert_allclose((low[0], high[0]), (5.0, 95.0))
    assert np.isnan([low[1], high[1]]).all()
