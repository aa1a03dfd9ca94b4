"""Brier score against NumPy, scikit-learn and closed forms."""

import numpy as np
import pytest
from keras import ops
from numpy.testing import assert_allclose
from oracles import calibration as oracles
from oracles import logits as logit_oracles
from sklearn.metrics import brier_score_loss

from keras_kd import UNLABELED, metrics


def labelled(shape=(500, 10), seed=0):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=shape)
    return np.argmax(logits + rng.gumbel(size=shape), axis=-1), 2 * logits


@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "float64"])
@pytest.mark.parametrize("shape", [(500, 2), (500, 100), (60, 7, 10)], ids=str)
def test_equals_oracle(shape, dtype):
    labels, logits = labelled(shape)
    given = ops.cast(logits, dtype)
    exact = ops.convert_to_numpy(ops.cast(given, "float64"))
    want = oracles.brier_score(labels, exact)
    assert_allclose(metrics.brier_score(labels, given), want, rtol=1e-6)


def test_equals_scikit_learn():
    labels, logits = labelled()
    probs = logit_oracles.softmax(logits)
    want = brier_score_loss(labels, probs, labels=range(10), scale_by_half=False)
    assert_allclose(metrics.brier_score(labels, logits), want, rtol=1e-6)


def test_weights_are_those_of_a_mean():
    labels, logits = labelled()
    weights = np.random.default_rng(1).uniform(size=len(labels))
    want = oracles.brier_score(labels, logits, weights)
    found = metrics.brier_score(labels, logits, sample_weight=weights)
    assert_allclose(found, want, rtol=1e-6)


def test_extremes_are_zero_and_two():
    sure = np.array([[1e4, -1e4]])
    assert metrics.brier_score([0], sure) == 0
    assert metrics.brier_score([1], sure) == 2


def test_knowing_nothing_costs_one_less_a_share():
    for classes in (2, 5, 100):
        found = metrics.brier_score([0], np.zeros((1, classes)))
        assert_allclose(found, 1 - 1 / classes, rtol=1e-6)


def test_one_hot_labels_and_missing_ones():
    labels, logits = labelled()
    known = np.arange(500) % 3 > 0
    want = oracles.brier_score(labels[known], logits[known])
    for given in (
        np.where(known, labels, UNLABELED),
        np.eye(10)[labels] * known[:, None],
    ):
        assert_allclose(metrics.brier_score(given, logits), want, rtol=1e-6)
