"""Running means against NumPy in float64, over streams where float32 gives up."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose

from keras_kd._common.streaming import StreamingMean, SumOfMeans, SumsOfMeans, add_to

jit_or_not = pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "XLA"])


@jit_or_not
def test_a_long_stream_keeps_its_digits(jit_compile):
    """20,000 batches, each of them below the last digit of the first."""
    batches, first, rest = 20_000, 3e7, 0.7
    metric = StreamingMean("mean")

    @tf.function(jit_compile=jit_compile)
    def stream():
        metric.add([first])
        for _ in tf.range(batches):
            metric.add([rest])

    stream()
    want = (first + batches * np.float64(np.float32(rest))) / (batches + 1)
    naive = np.float32(first)
    for _ in range(batches):
        naive += np.float32(rest)
    assert abs(naive / (batches + 1) / want - 1) > 1e-4  # what must not happen
    assert_allclose(metric.result(), want, rtol=2e-7)
    assert metric.count == batches + 1


@jit_or_not
def test_add_to_loses_nothing(jit_compile):
    rng = np.random.default_rng(0)
    addends = (rng.normal(size=(500, 8)) * 10 ** rng.uniform(-6, 6, (500, 8))).astype(
        "float32"
    )
    total, error = tf.Variable(tf.zeros(8)), tf.Variable(tf.zeros(8))

    @tf.function(jit_compile=jit_compile)
    def add(addend):
        add_to(total, error, addend)

    for addend in addends:
        add(addend)
    found = total.numpy().astype("float64") + error.numpy()
    scale = np.abs(addends).sum(axis=0, dtype="float64")
    assert_allclose(
        (found - addends.sum(axis=0, dtype="float64")) / scale, 0, atol=1e-12
    )


def test_mean_weighs_every_value_of_every_batch():
    metric, rng = StreamingMean("mean"), np.random.default_rng(0)
    values, weights = rng.normal(size=(100, 3)), rng.uniform(size=100)
    for part in np.array_split(np.arange(100), 7):
        metric.add(values[part], weights[part])
    weights = np.repeat(weights[:, None], 3, axis=1)
    assert_allclose(metric.result(), np.average(values, weights=weights), rtol=1e-6)
    assert_allclose(metric.count, weights.sum(), rtol=1e-6)


def test_a_value_of_weight_zero_may_be_anything():
    metric = StreamingMean("mean")
    metric.add([2.0, np.nan, np.inf], [1.0, 0.0, 0.0])
    assert metric.result() == 2.0


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_an_infinite_value_makes_the_mean_infinite(value):
    metric = StreamingMean("mean")
    for batch in ([1.0], [value], [1.0]):
        metric.add(batch)
    assert metric.result() == value


def test_mean_of_nothing_is_nan():
    metric = StreamingMean("mean")
    assert np.isnan(metric.result())
    metric.add([1.0, 2.0], [0.0, 0.0])
    assert np.isnan(metric.result())
    metric.add([3.0])
    assert metric.result() == 3.0
    metric.reset_state()
    assert np.isnan(metric.result())


def test_sums_of_means_divide_each_by_its_own_count():
    metric = SumsOfMeans({"loss": 2, "part": 1})
    metric.update_state({"loss": ([6.0, 1.0], [3.0, 1.0]), "part": ([2.0], [4.0])})
    metric.update_state({"loss": ([0.0, 5.0], [1.0, 2.0])})
    assert_allclose(metric.result(), 6 / 4 + 6 / 3)
    part = SumOfMeans("part", metric)
    assert_allclose(part.result(), 0.5)
    assert part.variables == []
    metric.reset_state()
    assert part.result() == 0


def test_sums_of_means_are_finite_or_as_stated_where_nothing_counts():
    metric = SumsOfMeans({"loss": 2, "share": 1}, empty={"share": float("nan")})
    assert metric.result() == 0
    assert np.isnan(metric.results()["share"])
    metric.update_state({"loss": ([0.0, 5.0], [0.0, 2.0])})
    assert_allclose(metric.result(), 2.5)
    assert np.isnan(metric.results()["share"])


@pytest.mark.parametrize("floatx", ["float16", "float32"])
def test_sums_of_means_keep_the_digits_of_a_long_stream(floatx):
    before = keras.config.floatx()
    keras.config.set_floatx(floatx)
    try:
        metric = SumsOfMeans({"loss": 1})
    finally:
        keras.config.set_floatx(before)

    @tf.function
    def stream():
        metric.update_state({"loss": ([3e7], [1.0])})
        for _ in tf.range(2_000):
            metric.update_state({"loss": ([0.7], [1.0])})

    stream()
    want = (3e7 + 2_000 * np.float64(np.float32(0.7))) / 2_001
    assert_allclose(metric.result(), want, rtol=2e-7)
