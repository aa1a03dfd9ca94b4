"""Float32 where the textbook formulas lose their digits; losses test the rest."""

import numpy as np
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose
from oracles import logits as oracles

from keras_kd._common import numerics


@pytest.mark.parametrize(
    ("dtypes", "common"),
    [
        (["float16"], "float32"),
        (["bfloat16", "float16"], "float32"),
        (["float32", "bfloat16"], "float32"),
        (["int32", "float16"], "float32"),
        (["float64", "float16"], "float64"),
    ],
    ids=str,
)
def test_sides_meet_in_float32_or_wider(dtypes, common):
    given = [tf.cast([1.0, 2.0], dtype) for dtype in dtypes]
    for tensor in numerics.at_least_float32(*given):
        assert tensor.dtype == common
        assert_allclose(tensor, [1.0, 2.0])


@pytest.mark.parametrize("distance", [1e-1, 1e-2, 1e-3, 1e-4])
@pytest.mark.parametrize("classes", [2, 10, 1000])
def test_kl_of_near_neighbours_keeps_its_relative_precision(classes, distance):
    """About distance^2 / 8, of which the textbook form knows no digit below 1e-7."""
    p = np.random.default_rng(0).normal(size=(32, classes)).astype("float32")
    q = p + np.float32(distance) * (-1) ** np.arange(classes)
    found = numerics.kl_divergence(p, q.astype("float32"))
    want = oracles.kl_divergence(p, q.astype("float32"))
    assert_allclose(found, want, rtol=1e-6 / distance)


@pytest.mark.parametrize("distance", [1e-8, 1e-7, 1e-6])
def test_kl_below_the_last_digit_is_not_negative(distance):
    p, step = np.random.default_rng(0).normal(size=(2, 4096, 3))
    q = (p + distance * step).astype("float32")
    assert np.min(numerics.kl_divergence(p.astype("float32"), q)) >= 0


def test_kl_switches_forms_without_a_jump():
    """Its two forms meet where |log p/q| is 1."""
    gaps = np.linspace(0.5, 3.0, 200)
    q = np.stack([gaps, np.zeros(200)], axis=1).astype("float32")
    found = numerics.kl_divergence(np.zeros_like(q), q)
    assert_allclose(found, oracles.kl_divergence(np.zeros_like(q), q), rtol=1e-6)


@pytest.mark.parametrize("gap", [1.0, 10.0, 16.0, 20.0, 60.0])
def test_cross_entropy_of_a_sure_pair_equals_log1p(gap):
    logits = np.array([[0.0, -gap]], "float32")
    want = np.log1p(np.exp(-gap)) + gap * np.exp(-gap) / (1 + np.exp(-gap))
    assert_allclose(numerics.cross_entropy(logits, logits), [want], rtol=1e-5)


@pytest.mark.parametrize("ties", [2, 3, 5])
def test_cross_entropy_of_ties_is_the_log_of_their_number(ties):
    logits = np.where(np.arange(5) < ties, 0.0, -200.0)[None].astype("float32")
    found = numerics.cross_entropy(logits, logits)
    assert_allclose(found, [np.log(ties)], rtol=1e-6)


@pytest.mark.parametrize("function", [numerics.kl_divergence, numerics.cross_entropy])
def test_gradients_are_finite_where_probabilities_underflow(function):
    p = tf.constant([[0.0, -1e4, 1e4], [0.0, -np.inf, 3.0], [1e4, 1e4, -1e4]])
    q = tf.constant([[1e4, 0.0, -1e4], [0.0, -1e4, 3.0], [-1e4, 1e4, 1e4]])
    with tf.GradientTape() as tape:
        tape.watch([p, q])
        values = function(p, q)
    for gradient in tape.gradient(values, [p, q]):
        assert np.isfinite(gradient).all()
    assert np.isfinite(values).all()
