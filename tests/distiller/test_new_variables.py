"""Variables that are missing when a step starts do not have it traced twice."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.testing import assert_array_equal
from small_models import TraceCounter, mlp, sparse_cross_entropy, toy_data

import keras_kd
from keras_kd.distiller.new_variables import made_outside
from keras_kd.losses import FeatureMatching, KnowledgeDistillation

X, Y = toy_data(12)


def test_a_function_that_makes_a_variable_outside_is_traced_once():
    traces, made = [], []

    @tf.function
    def function():
        traces.append(1)
        if not made:
            with made_outside():
                made.append(tf.Variable([1.0, 2.0]))
        return made[0].assign_add([1.0, 1.0])

    assert_array_equal(function(), [2.0, 3.0])
    assert_array_equal(function(), [3.0, 4.0])
    assert len(traces) == 1


def test_tensorflow_still_traces_twice_what_makes_variables():
    """When this fails, `made_outside` may go for `tf.init_scope`."""
    traces, made = [], []

    @tf.function
    def function():
        traces.append(1)
        if not made:
            with tf.init_scope():
                made.append(tf.Variable(1.0))
        return made[0].assign_add(1.0)

    function()
    assert len(traces) == 2


@pytest.mark.parametrize(
    "losses",
    [
        KnowledgeDistillation(),
        [KnowledgeDistillation(), FeatureMatching("hidden", "features")],
    ],
    ids=["logits", "layers"],
)
def test_fit_traces_a_step_once(losses):
    counter = TraceCounter()
    student = mlp("student", seed=1, units=6, extra=[counter])
    distiller = keras_kd.Distiller(mlp("teacher", units=10), student, losses)
    distiller.compile("adam", sparse_cross_entropy(), metrics=["accuracy"])
    counter.reset()
    history = distiller.fit(X, Y, batch_size=5, verbose=0).history
    assert counter.traces == 1
    assert set(history) > {"loss", "accuracy"}
    assert distiller.optimizer.built
    accuracy = distiller.evaluate(X, Y, verbose=0, return_dict=True)["accuracy"]
    predicted = np.argmax(distiller.predict(X, verbose=0), axis=-1)
    assert accuracy == pytest.approx((predicted == Y).mean())


def test_the_optimizer_is_built_for_what_trains_when_training_starts():
    """Layers may be frozen between `compile` and `fit`."""
    student = mlp("student", seed=1)
    distiller = keras_kd.Distiller(mlp("teacher"), student, KnowledgeDistillation())
    distiller.compile(keras.optimizers.SGD(0.1, momentum=0.9), sparse_cross_entropy())
    student.get_layer("hidden").trainable = False
    before = student.get_layer("hidden").get_weights()
    distiller.fit(X, Y, verbose=0)
    for old, new in zip(before, student.get_layer("hidden").get_weights(), strict=True):
        assert_array_equal(old, new)
    momenta = [v for v in distiller.optimizer.variables if "momentum" in v.path]
    assert len(momenta) == 2
