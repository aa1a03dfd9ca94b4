"""Seeds of stateless random numbers."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from keras_kd.data import _seeds as seeds


def test_no_two_streams_share_a_seed():
    places = [
        (seed, name, index, view)
        for seed in (0, 1, 2**31 - 1)
        for name in ("crop/0", "crop/1", "flip/0")
        for index in (0, 1, 2**24, 2**38)
        for view in (0, 1, 2**24 - 1)
    ]
    found = {tuple(seeds.stateless_seed(*place).numpy()) for place in places}
    assert len(found) == len(places)


def test_a_batch_of_seeds_holds_those_of_its_examples():
    index = tf.constant([5, 0, 9], tf.int64)
    view = tf.constant([2, 2, 3], tf.int64)
    batch = seeds.stateless_seed(7, "crop", index, view)
    alone = [
        seeds.stateless_seed(7, "crop", i, v) for i, v in zip(index, view, strict=True)
    ]
    np.testing.assert_array_equal(batch, alone)


@pytest.mark.parametrize("varied", ["index", "view", "seed"])
def test_neighbouring_seeds_give_unrelated_uniform_numbers(varied):
    def draw(i):
        place = {"seed": 3, "index": 4, "view": 5, varied: i}
        return tf.random.stateless_uniform([], seeds.stateless_seed(name="a", **place))

    drawn = np.array([draw(i) for i in range(2000)])
    assert stats.kstest(drawn, "uniform").pvalue > 1e-3
    # Of 1999 pairs of independent numbers, |correlation| stays below 3 / sqrt(1999).
    assert abs(np.corrcoef(drawn[1:], drawn[:-1])[0, 1]) < 0.067


@pytest.mark.parametrize("seed", [-1, 2**31])
def test_a_seed_out_of_range_is_refused(seed):
    with pytest.raises(ValueError, match="`seed` must be"):
        seeds.check_seed(seed)
