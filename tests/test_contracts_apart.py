"""What test_contracts.py shows of metrics, for those whose result is several numbers.

They take other arguments, give arrays or a dict, or keep examples outside of graphs.
"""

from typing import NamedTuple

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose
from two_devices import on_two_devices

from keras_kd import metrics


class Case(NamedTuple):
    own: dict  # arguments that are not the defaults
    inputs: str  # of update_state: y labels, t and s sides, m members
    compiles: bool = True


CASES = {
    "AgreementByConfidence": Case({"num_bins": 4}, "ts"),
    "ConfidenceExaggeration": Case(
        {"num_resamples": 7, "level": 0.5, "seed": 3}, "ts", compiles=False
    ),
    "DisagreementKinds": Case({"dtype": "float64"}, "yts"),
    "EnsembleDiversity": Case({"dtype": "float64"}, "m"),
    "EqualMassCalibrationError": Case({"num_bins": 4}, "ys", compiles=False),
}
each_metric = pytest.mark.parametrize("name", CASES)
SIZE = 203


def inputs(name, rows=slice(None)):
    """What a metric's `update_state` takes, for these rows of a set."""
    rng = np.random.default_rng(0)
    teacher, student = rng.normal(size=(2, SIZE, 4)).astype("float32")
    labels = np.argmax(student + rng.gumbel(size=student.shape), axis=-1)
    student = teacher + student
    parts = {"y": labels, "t": 2 * teacher, "s": 3 * student}
    given = [parts[k][rows] for k in CASES[name].inputs if k in parts]
    members = [(teacher[rows], student[rows])] if CASES[name].inputs == "m" else []
    return *given, *members


def make(name, own=False):
    return getattr(metrics, name)(**(CASES[name].own if own else {}))


def numbers(metric):
    found = keras.tree.flatten(metric.result())
    return np.concatenate([np.ravel(np.asarray(f, "float64")) for f in found])


def value_of(metric, *arguments):
    metric.reset_state()
    metric.update_state(*arguments)
    return numbers(metric)


@each_metric
def test_config_gives_an_equal_object(name):
    metric = make(name, own=True)
    copy = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(metric)
    )
    assert copy.get_config() == metric.get_config()
    assert copy.get_config() == {**copy.get_config(), **CASES[name].own}
    want = value_of(metric, *inputs(name))
    assert_allclose(value_of(copy, *inputs(name)), want, rtol=0)


@each_metric
@pytest.mark.parametrize("weigh", [False, True], ids=["plain", "weighted"])
def test_any_batching_and_order_gives_the_value_of_the_whole_set(name, weigh):
    weights = np.random.default_rng(1).uniform(size=SIZE)
    whole = value_of(make(name), *inputs(name), *([weights] if weigh else []))
    order = np.random.default_rng(2).permutation(SIZE)
    metric = make(name)
    for part in [*np.array_split(order, 9), np.zeros(0, int)]:
        metric.update_state(*inputs(name, part), *([weights[part]] if weigh else []))
    assert_allclose(numbers(metric), whole, rtol=1e-6)


@each_metric
def test_whole_weights_count_as_so_many_examples(name):
    weights = np.arange(SIZE) % 3
    repeated = np.repeat(np.arange(SIZE), weights)
    want = value_of(make(name), *inputs(name, repeated))
    assert_allclose(value_of(make(name), *inputs(name), weights), want, rtol=1e-6)


@each_metric
def test_weight_zero_removes_an_example_even_if_it_is_nan(name):
    weights = np.random.default_rng(1).integers(0, 2, size=SIZE)
    want = value_of(make(name), *inputs(name, weights == 1))
    arguments = keras.tree.map_structure(
        lambda a: np.where(weights[:, None], a, np.nan) if a.ndim > 1 else a,
        inputs(name),
    )
    assert_allclose(value_of(make(name), *arguments, weights), want, rtol=1e-6)


@each_metric
def test_an_empty_set_has_nan_for_values(name):
    for metric in (make(name), make(name)):
        empty = numbers(metric)
        full = value_of(metric, *inputs(name))
        nothing = value_of(metric, *inputs(name), np.zeros(SIZE))
        metric.reset_state()
        for found in (empty, nothing, numbers(metric)):
            counts_or_edges = name == "AgreementByConfidence"
            assert np.isnan(found[-len(full) // 3 :]).all()
            assert counts_or_edges or np.isnan(found).all()


@each_metric
def test_a_compiled_step_gives_the_value_or_says_why_not(name):
    metric, want = make(name), value_of(make(name), *inputs(name))
    step = tf.function(metric.update_state, autograph=False, reduce_retracing=True)
    tensors = keras.tree.map_structure(tf.constant, inputs(name))
    if CASES[name].compiles:
        step(*tensors)
        assert_allclose(numbers(metric), want, rtol=1e-6)
    else:
        with pytest.raises(RuntimeError, match="compile the model with run_eagerly"):
            step(*tensors)


@pytest.mark.distributed
@pytest.mark.parametrize("name", [n for n, case in CASES.items() if case.compiles])
def test_two_replicas_give_the_value_of_one(name):
    want = value_of(make(name), *inputs(name))
    strategy = on_two_devices()
    with strategy.scope():
        metric = make(name)
    data = tf.data.Dataset.from_tensor_slices(inputs(name)).batch(40)
    for batch in strategy.experimental_distribute_dataset(data):
        strategy.run(metric.update_state, args=batch)
    assert_allclose(numbers(metric), want, rtol=1e-6)
