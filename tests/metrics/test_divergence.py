"""Predictive KL against float64 NumPy, SciPy and a published value."""

import numpy as np
import pytest
from keras import ops
from numpy.testing import assert_allclose
from oracles import logits as oracles
from oracles import reference
from scipy.stats import entropy

from keras_kd import metrics


def sides(shape, scale=1.0):
    return scale * np.random.default_rng(0).normal(size=(2, *shape))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("shape", [(300, 2), (300, 1000), (30, 7, 10)], ids=str)
@pytest.mark.parametrize("scale", [1e-2, 1.0, 30.0, 1e4])
def test_equals_oracle(shape, scale, dtype):
    given = [ops.cast(side, dtype) for side in sides(shape, scale)]
    exact = [ops.convert_to_numpy(ops.cast(side, "float64")) for side in given]
    want = oracles.kl_divergence(*exact).mean()
    assert_allclose(metrics.predictive_kl(*given), want, rtol=1e-5, atol=1e-7)


def test_equals_scipy():
    teacher, student = sides((300, 10))
    want = entropy(oracles.softmax(teacher), oracles.softmax(student), axis=-1).mean()
    assert_allclose(metrics.predictive_kl(teacher, student), want, rtol=1e-6)


def test_equals_published_value():
    sides = reference.TEACHER_LOGITS, reference.STUDENT_LOGITS
    assert_allclose(metrics.predictive_kl(*sides), reference.KL[1.0], rtol=1e-7)


def test_weights_are_those_of_a_mean():
    teacher, student = sides((300, 10))
    weights = np.random.default_rng(1).uniform(size=300)
    want = np.average(oracles.kl_divergence(teacher, student), weights=weights)
    found = metrics.predictive_kl(teacher, student, sample_weight=weights)
    assert_allclose(found, want, rtol=1e-6)


def test_of_a_model_with_itself_or_shifted_is_zero():
    teacher, _ = sides((300, 10))
    assert metrics.predictive_kl(teacher, teacher) == 0
    assert_allclose(metrics.predictive_kl(teacher, teacher + 8), 0, atol=1e-12)


def test_a_class_that_the_teacher_excludes_adds_nothing():
    teacher, student = sides((300, 10))
    teacher[:, 3] = -np.inf
    want = oracles.kl_divergence(teacher, student).mean()
    assert_allclose(metrics.predictive_kl(teacher, student), want, rtol=1e-6)


def test_a_class_that_only_the_student_excludes_costs_infinity():
    metric = metrics.PredictiveKL()
    metric.update_state(np.zeros((1, 2)), np.array([[0.0, -np.inf]]))
    metric.update_state(np.zeros((1, 2)), np.zeros((1, 2)))
    assert metric.result() == np.inf


def test_different_class_counts_are_refused():
    with pytest.raises(ValueError, match="same rank and number of classes"):
        metrics.predictive_kl(np.zeros((2, 3)), np.zeros((2, 4)))
