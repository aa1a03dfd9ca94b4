"""Ensemble diversity against loops over pairs, closed forms and identities."""

import numpy as np
import pytest
from keras import ops
from numpy.testing import assert_allclose
from oracles import diversity as oracles

from keras_kd import metrics


def members(count=4, shape=(200, 6), seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=shape) + 1.5 * rng.normal(size=(count, *shape))


def as_floats(found):
    return {name: float(value) for name, value in found.items()}


@pytest.mark.parametrize("count", [2, 3, 5])
@pytest.mark.parametrize("shape", [(200, 6), (40, 5, 6)], ids=str)
def test_equals_oracle(shape, count):
    given = members(count, shape)
    found = as_floats(metrics.ensemble_diversity(given))
    assert found == pytest.approx(oracles.ensemble_diversity(given), rel=1e-6)


def test_a_list_is_as_good_as_an_array_and_weights_count():
    given = members()
    weights = np.random.default_rng(1).uniform(size=200)
    found = metrics.ensemble_diversity(list(given), sample_weight=weights)
    want = oracles.ensemble_diversity(given, weights)
    assert as_floats(found) == pytest.approx(want, rel=1e-6)


def test_equal_members_have_none():
    given = np.repeat(members(1), 3, axis=0)
    assert_allclose(list(metrics.ensemble_diversity(given).values()), 0, atol=1e-12)


def test_the_order_of_members_does_not_matter():
    given = members()
    want = as_floats(metrics.ensemble_diversity(given))
    found = as_floats(metrics.ensemble_diversity(given[[2, 0, 3, 1]]))
    assert found == pytest.approx(want, rel=1e-6)


def test_members_that_are_sure_of_different_classes():
    """Variance of M different one-hot rows: 1 - 1 / M; every pair disagrees."""
    for count in (2, 3, 5):
        found = metrics.ensemble_diversity(1e3 * np.eye(count)[:, None])
        assert_allclose(found["variance"], 1 - 1 / count, rtol=1e-6)
        assert found["disagreement"] == 1
        assert found["kl"] == 1e3


def test_a_pair_agrees_as_agreement_and_divergence_say():
    first, second = members(2)
    found = metrics.ensemble_diversity([first, second])
    want = 1 - metrics.agreement(first, second)
    assert_allclose(found["disagreement"], want, rtol=1e-5)
    both = [f(first, second) for f in (metrics.predictive_kl, metrics.reverse_kl)]
    assert_allclose(found["kl"], np.mean(both), rtol=1e-6)


def test_half_precision_is_computed_in_float32():
    given = [ops.cast(m, "bfloat16") for m in members()]
    exact = np.stack([ops.convert_to_numpy(ops.cast(g, "float64")) for g in given])
    found = as_floats(metrics.ensemble_diversity(given))
    assert found == pytest.approx(oracles.ensemble_diversity(exact), rel=1e-6)


@pytest.mark.parametrize(
    "bad",
    [members(1), [np.zeros((2, 3)), np.zeros((2, 4))], np.zeros((2, 3))],
    ids=["one member", "other classes", "no members' axis"],
)
def test_other_shapes_are_refused(bad):
    with pytest.raises(ValueError, match=r"`member_logits` must be \(members, batch"):
        metrics.ensemble_diversity(bad)
