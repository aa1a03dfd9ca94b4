"""Bootstrap intervals against closed forms, SciPy, and what simulations cover."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from keras_kd._common import resampling
from keras_kd.report.bootstrap import (
    DIFFERENCES,
    SHARES,
    percentile_interval,
    resampled_means,
)

GENERATOR = np.random.default_rng(0)
SKEWED = GENERATOR.exponential(size=120)
WEIGHTS = GENERATOR.uniform(0, 2, size=120)


def test_means_of_two_values_have_their_binomial_law():
    draws = resampled_means(
        np.array([[0.0], [1.0]]), bounds=None, num_resamples=20_000
    )[:, 0]
    for value, probability in ((0.0, 0.25), (0.5, 0.5), (1.0, 0.25)):
        error = np.sqrt(probability * (1 - probability) / len(draws))
        assert abs(np.mean(draws == value) - probability) < 3 * error


def test_spread_is_that_of_a_mean():
    draws = resampled_means(SKEWED[:, None], bounds=None, num_resamples=20_000)[:, 0]
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
    draws = resampled_means(SKEWED[:, None], weights, bounds=None, num_resamples=20_000)
    ours = np.ravel(percentile_interval(draws))
    assert_allclose(ours, theirs, atol=0.05 * (theirs.high - theirs.low))


def test_columns_share_their_draws():
    draws = resampled_means(
        np.stack([SKEWED, SKEWED + 1], axis=-1), WEIGHTS, bounds=None
    )
    assert_allclose(draws[:, 1] - draws[:, 0], 1.0)


def test_weight_zero_is_absence():
    values = np.append(SKEWED, np.nan)[:, None]
    draws = resampled_means(values, np.append(WEIGHTS, 0.0), bounds=None)
    assert np.isfinite(draws).all()


def test_columns_may_count_different_rows():
    values = np.array([[1.0, 5.0], [1.0, 7.0]])
    draws = resampled_means(values, np.array([[1.0, 1.0], [0.0, 0.0]]), bounds=None)
    known = draws[~np.isnan(draws[:, 0])]
    assert_array_equal(known, np.tile([1.0, 5.0], (len(known), 1)))
    assert abs(len(known) / 1000 - 0.75) < 3 * np.sqrt(0.75 * 0.25 / 1000)


def test_draws_are_of_the_seed_whatever_is_drawn_at_a_time(monkeypatch):
    whole = resampled_means(SKEWED[:, None], bounds=None, seed=3, num_resamples=50)
    monkeypatch.setattr(resampling, "_AT_ONCE", 700)
    assert_allclose(
        resampled_means(SKEWED[:, None], bounds=None, seed=3, num_resamples=50),
        whole,
        rtol=1e-12,
    )
    other = resampled_means(SKEWED[:, None], bounds=None, seed=4, num_resamples=50)
    assert not np.allclose(other, whole)


def test_quantiles_leave_out_draws_without_a_value():
    draws = np.array([[np.nan, np.nan], *([i, np.nan] for i in range(101))])
    low, high = percentile_interval(draws, level=0.9)
    assert_allclose((low[0], high[0]), (5.0, 95.0))
    assert np.isnan([low[1], high[1]]).all()


def shares(ones, zeros):
    return np.repeat([1.0, 0.0], [ones, zeros])[:, None]


@pytest.mark.parametrize("level", [0.5, 0.95])
@pytest.mark.parametrize("ones", [1, 13, 29])
def test_the_interval_of_a_share_is_that_of_jeffreys(ones, level):
    from scipy import stats

    law = stats.beta(ones + 0.5, 30 - ones + 0.5)
    draws = resampled_means(shares(ones, 30 - ones), num_resamples=20_000)
    ends = np.ravel(percentile_interval(draws, level))
    for end, share in zip(ends, ((1 - level) / 2, (1 + level) / 2), strict=True):
        error = np.sqrt(share * (1 - share) / 20_000)  # of the share below
        assert abs(law.cdf(end) - share) < 3 * error


@pytest.mark.parametrize("bounds", [SHARES, DIFFERENCES, (-3.0, 5.0)])
@pytest.mark.parametrize("place", [0.0, 1.0])
def test_the_interval_of_values_at_a_bound_reaches_it_and_no_further(place, bounds):
    from scipy import stats

    low, high = bounds
    values = np.full((50, 1), low + place * (high - low))
    draws = resampled_means(values, bounds=bounds, num_resamples=20_000)
    ends = (np.ravel(percentile_interval(draws)) - low) / (high - low)
    near, far = (ends if place else 1 - ends[::-1])[::-1]
    assert near == 1.0
    assert_allclose(far, stats.beta.ppf(0.025, 50.5, 0.5), atol=2e-3)


def test_equal_shares_may_differ_by_what_was_not_seen():
    """Of 50 pairs none differs: three in a hundred may, either way."""
    draws = resampled_means(np.zeros((50, 1)), bounds=DIFFERENCES, num_resamples=20_000)
    low, high = np.ravel(percentile_interval(draws))
    assert_allclose(-low, high, atol=4e-3)
    assert 0.02 < high < 0.08


def covered(law, truth, size, weights=None, bounds=SHARES):
    """Share of 400 simulated sets whose 95 % interval holds the true mean."""
    values = law(np.random.default_rng(2), (size, 400))
    draws = resampled_means(values, weights, bounds=bounds, num_resamples=300)
    low, high = percentile_interval(draws)
    return np.mean((low <= truth) & (truth <= high))


@pytest.mark.parametrize("weights", ["equal", "unequal"])
@pytest.mark.parametrize(
    ("share", "size"),
    [(0.5, 20), (0.9, 20), (0.99, 20), (0.9, 200), (0.99, 200), (1.0, 200)],
)
def test_intervals_of_shares_cover(share, size, weights):
    weight = np.linspace(0.2, 1.8, size) if weights == "unequal" else None
    found = covered(lambda g, s: (g.random(s) < share) * 1.0, share, size, weight)
    assert found > 0.95 - 3 * np.sqrt(0.95 * 0.05 / 400)


@pytest.mark.parametrize(
    ("up", "down", "size"),
    [(0.0, 0.0, 20), (0.01, 0.0, 50), (0.02, 0.02, 50), (0.2, 0.1, 200)],
)
def test_intervals_of_differences_of_shares_cover(up, down, size):
    def law(generator, shape):
        drawn = generator.random(shape)
        return (drawn < up) * 1.0 - ((drawn >= up) & (drawn < up + down))

    found = covered(law, up - down, size, bounds=DIFFERENCES)
    assert found > 0.95 - 3 * np.sqrt(0.95 * 0.05 / 400)


def test_weights_count_by_their_effective_number():
    from scipy import stats

    weights = np.repeat([3.0, 0.0], [40, 100])  # as 40 of weight 1
    draws = resampled_means(np.ones((140, 1)), weights, num_resamples=20_000)
    want = stats.beta.ppf(0.025, 40.5, 0.5)
    assert_allclose(percentile_interval(draws)[0], want, atol=3e-3)


def test_columns_of_their_own_bounds_are_drawn_as_alone():
    values = np.stack([SKEWED, SKEWED < 1, np.sign(SKEWED - 1)], axis=-1)
    bounds = [None, SHARES, DIFFERENCES]
    draws = resampled_means(values, WEIGHTS, bounds=bounds)
    for i, bound in enumerate(bounds):
        alone = resampled_means(values[:, i : i + 1], WEIGHTS, bounds=bound)
        assert_allclose(draws[:, i], alone[:, 0], rtol=1e-12)


def test_shares_that_count_nothing_are_nan():
    values = np.array([[np.nan, 1.0], [1.0, 0.0]])
    draws = resampled_means(values, np.array([[0.0, 1.0], [0.0, 1.0]]))
    assert np.isnan(draws[:, 0]).all()
    assert np.isfinite(draws[:, 1]).all()


def test_values_outside_their_bounds_are_refused():
    values = np.array([[1.0, 0.0], [0.5, 1.5]])
    with pytest.raises(ValueError, match=r"column 1.*\[0, 1\].* 1\.5 in row 1.*None"):
        resampled_means(values)
    rounded = values / np.array([1.0, 1.5]) * (1 + 1e-7)
    assert resampled_means(rounded).max() <= 1.0
    with pytest.raises(ValueError, match="each of the 2 columns.* 3"):
        resampled_means(values, bounds=[None] * 3)
