"""Divergences against float64 NumPy, SciPy and published values."""

import numpy as np
import pytest
from keras import ops
from numpy.testing import assert_allclose
from oracles import divergence as symmetric_oracles
from oracles import logits as oracles
from oracles import reference
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy

from keras_kd import metrics

METRICS = {
    "reverse_kl": (metrics.reverse_kl, lambda t, s: oracles.kl_divergence(s, t)),
    "jensen_shannon": (metrics.jensen_shannon, symmetric_oracles.jensen_shannon),
    "total_variation": (metrics.total_variation, symmetric_oracles.total_variation),
}
each_metric = pytest.mark.parametrize(
    ("metric", "oracle"), METRICS.values(), ids=METRICS
)


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


@each_metric
@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "float64"])
@pytest.mark.parametrize("shape", [(300, 2), (30, 7, 10), (50, 1000)], ids=str)
@pytest.mark.parametrize("scale", [1e-2, 1.0, 1e4])
def test_others_equal_oracle(metric, oracle, scale, shape, dtype):
    given = [ops.cast(side, dtype) for side in sides(shape, scale)]
    exact = [ops.convert_to_numpy(ops.cast(side, "float64")) for side in given]
    assert_allclose(metric(*given), oracle(*exact).mean(), rtol=1e-5, atol=1e-7)


def test_equals_scipy():
    teacher, student = sides((300, 10))
    want = entropy(oracles.softmax(teacher), oracles.softmax(student), axis=-1).mean()
    assert_allclose(metrics.predictive_kl(teacher, student), want, rtol=1e-6)


def test_jensen_shannon_equals_scipy():
    teacher, student = sides((300, 10))
    distance = jensenshannon(
        oracles.softmax(teacher), oracles.softmax(student), axis=-1
    )
    found = metrics.jensen_shannon(teacher, student)
    assert_allclose(found, np.mean(distance**2), rtol=1e-6)


def test_equals_published_value():
    sides = reference.TEACHER_LOGITS, reference.STUDENT_LOGITS
    assert_allclose(metrics.predictive_kl(*sides), reference.KL[1.0], rtol=1e-7)
    assert_allclose(metrics.reverse_kl(*sides), reference.REVERSE_KL, rtol=1e-7)
    found = metrics.jensen_shannon(*sides)
    assert_allclose(found, reference.JENSEN_SHANNON, rtol=1e-7)


def test_weights_are_those_of_a_mean():
    teacher, student = sides((300, 10))
    weights = np.random.default_rng(1).uniform(size=300)
    want = np.average(oracles.kl_divergence(teacher, student), weights=weights)
    found = metrics.predictive_kl(teacher, student, sample_weight=weights)
    assert_allclose(found, want, rtol=1e-6)


@pytest.mark.parametrize("name", ["predictive_kl", *METRICS])
def test_of_a_model_with_itself_or_shifted_is_zero(name):
    metric, (teacher, _) = getattr(metrics, name), sides((300, 10))
    assert_allclose(metric(teacher, teacher), 0, atol=1e-15)
    assert_allclose(metric(teacher, teacher + 8), 0, atol=1e-12)


@pytest.mark.parametrize("name", ["jensen_shannon", "total_variation"])
def test_symmetric_ones_do_not_ask_who_is_the_teacher(name):
    metric, (teacher, student) = getattr(metrics, name), sides((300, 10))
    assert_allclose(metric(teacher, student), metric(student, teacher), rtol=1e-7)


def test_the_reverse_is_the_forward_with_the_sides_swapped():
    teacher, student = sides((300, 10))
    want = metrics.predictive_kl(student, teacher)
    assert metrics.reverse_kl(teacher, student) == want


def test_opposite_certainties_reach_the_largest_value():
    teacher, student = np.array([[1e4, -1e4]]), np.array([[-np.inf, 0.0]])
    assert_allclose(metrics.jensen_shannon(teacher, student), np.log(2), rtol=1e-6)
    assert metrics.total_variation(teacher, student) == 1


def test_total_variation_bounds_the_disagreement_on_any_event():
    """And Pinsker: at most sqrt(KL / 2), example by example."""
    for teacher, student in zip(*sides((50, 10), 2.0), strict=True):
        distance = float(metrics.total_variation(teacher[None], student[None]))
        gap = oracles.softmax(teacher) - oracles.softmax(student)
        assert_allclose(distance, gap[gap > 0].sum(), rtol=1e-5)
        assert distance <= np.sqrt(oracles.kl_divergence(teacher, student) / 2)


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


@pytest.mark.parametrize("name", ["predictive_kl", *METRICS])
def test_different_class_counts_are_refused(name):
    with pytest.raises(ValueError, match="same rank and number of classes"):
        getattr(metrics, name)(np.zeros((2, 3)), np.zeros((2, 4)))
