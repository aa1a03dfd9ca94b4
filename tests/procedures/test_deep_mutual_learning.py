"""Deep mutual learning against its equations in float64 NumPy, and on the digits."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose
from oracles.logits import log_softmax, softmax
from small_models import TraceCounter, mlp, sparse_cross_entropy, toy_data

from keras_kd.procedures import DeepMutualLearning

X, Y = toy_data(12)
RATE = 0.3


def linear(name, seed):
    init = keras.initializers.GlorotUniform(seed=seed)
    dense = keras.layers.Dense(3, use_bias=False, kernel_initializer=init)
    return keras.Sequential([keras.Input((4,)), dense], name=name)


def build(names=("a", "b", "c"), weight=0.5, **arguments):
    students = [linear(name, seed) for seed, name in enumerate(names)]
    procedure = DeepMutualLearning(students, student_loss_weight=weight)
    procedure.compile(
        keras.optimizers.SGD(RATE), loss=sparse_cross_entropy(), **arguments
    )
    return procedure


def step(kernels, w):
    """Equations 4 to 8: each in turn, seeing those before it as they now are."""
    kernels, losses = list(kernels), []
    for i in range(len(kernels)):
        logits = [X.astype("float64") @ kernel for kernel in kernels]
        peers = [z for k, z in enumerate(logits) if k != i]
        own, probs = log_softmax(logits[i]), softmax(logits[i])
        nll = -own[np.arange(len(Y)), Y].mean()
        kls = [(softmax(z) * (log_softmax(z) - own)).sum(axis=1).mean() for z in peers]
        losses.append(w * nll + (1 - w) * np.mean(kls))
        gap = w * (probs - np.eye(3)[Y])
        gap = gap + (1 - w) * np.mean([probs - softmax(z) for z in peers], axis=0)
        kernels[i] = kernels[i] - RATE * X.T.astype("float64") @ gap / len(X)
    return kernels, losses


@pytest.mark.parametrize("weight", [0.5, 0.2])
@pytest.mark.parametrize("names", ["ab", "abc"])
def test_steps_are_those_of_the_paper(names, weight):
    procedure = build(names, weight)
    kernels = [s.get_weights()[0].astype("float64") for s in procedure.students]
    history = procedure.fit(X, Y, batch_size=12, epochs=3, verbose=0).history
    for epoch in range(3):
        kernels, losses = step(kernels, weight)
        found = [history[f"{name}_loss"][epoch] for name in names]
        assert_allclose(found, losses, rtol=1e-5)
    for student, kernel in zip(procedure.students, kernels, strict=True):
        assert_allclose(student.get_weights()[0], kernel, rtol=1e-4, atol=1e-6)


def test_evaluation_changes_nothing_and_logs_every_student():
    procedure = build()
    before = [s.get_weights()[0] for s in procedure.students]
    logs = procedure.evaluate(X, Y, return_dict=True, verbose=0)
    for student, weights in zip(procedure.students, before, strict=True):
        assert_allclose(student.get_weights()[0], weights, rtol=0)
        assert np.isfinite(logs[f"{student.name}_agreement"])
    assert set(procedure.predict(X, verbose=0)) == {"a", "b", "c"}


def test_a_step_is_traced_once():
    counter = TraceCounter()
    students = [mlp("a", extra=[counter]), mlp("b", seed=1)]
    procedure = DeepMutualLearning(students)
    procedure.compile("adam", loss=sparse_cross_entropy())
    procedure.fit(X, Y, batch_size=5, epochs=1, verbose=0)
    counter.reset()
    procedure.fit(X, Y, batch_size=5, epochs=2, verbose=0)
    assert (counter.traces, counter.runs > 0) == (0, True)


def test_a_checkpoint_holds_students_and_optimizers(tmp_path):
    first, second = (build() for _ in range(2))
    for procedure in (first, second):
        procedure.optimizer.learning_rate = RATE
    first.fit(X, Y, epochs=2, verbose=0)
    first.save_weights(tmp_path / "peers.weights.h5")
    second.load_weights(tmp_path / "peers.weights.h5")
    for ours, theirs in zip(first.distillers, second.distillers, strict=True):
        assert int(theirs.optimizer.iterations) == int(ours.optimizer.iterations) == 2
    rest = [p.fit(X, Y, epochs=1, verbose=0).history for p in (first, second)]
    assert rest[0] == rest[1]


@pytest.mark.distributed
def test_two_replicas_give_the_numbers_of_one():
    histories = []
    two = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    for strategy in (tf.distribute.get_strategy(), two):
        with strategy.scope():
            procedure = build("ab")
        histories.append(procedure.fit(X, Y, batch_size=8, epochs=2, verbose=0).history)
    for name, values in histories[0].items():
        assert_allclose(histories[1][name], values, rtol=1e-5, err_msg=name)


def test_peers_learn_the_digits():
    from sklearn.datasets import load_digits

    data = load_digits()
    x, y = (data.data / 16).astype("float32"), data.target
    peers = [
        mlp(n, seed=i, units=24, classes=10, features=64) for i, n in enumerate("ab")
    ]
    procedure = DeepMutualLearning(peers)
    procedure.compile(
        keras.optimizers.Adam(1e-2), loss=sparse_cross_entropy(), metrics=["accuracy"]
    )
    logs = procedure.fit(x, y, batch_size=64, epochs=4, verbose=0).history
    for name in "ab":
        assert logs[f"{name}_accuracy"][-1] > 0.9
    assert logs["a_agreement"][-1] > logs["a_agreement"][0]
