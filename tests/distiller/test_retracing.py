"""A step is traced once: over epochs, partial batches and changed settings."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose
from small_models import (
    AtEpochEnd,
    TraceCounter,
    mlp,
    scattered,
    sparse_cross_entropy,
    toy_data,
)

import keras_kd
from keras_kd.losses import FeatureMatching, KnowledgeDistillation

X, Y = toy_data(21)
BATCH = 8


def build(counter, rate=0.05, **compile_arguments):
    teacher = scattered(mlp("teacher", units=10), seed=5)
    student = mlp(
        "student", seed=1, units=6, norm="batch", dropout=0.2, extra=[counter]
    )
    losses = [KnowledgeDistillation(), FeatureMatching("hidden", "features")]
    distiller = keras_kd.Distiller(teacher, student, losses)
    distiller.compile(
        keras.optimizers.SGD(rate),
        loss=sparse_cross_entropy(),
        metrics=["accuracy"],
        **compile_arguments,
    )
    return distiller


DATA = {
    "arrays": lambda: {"x": X, "y": Y, "batch_size": BATCH},
    "tf.data": lambda: {"x": tf.data.Dataset.from_tensor_slices((X, Y)).batch(BATCH)},
}


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("arrays", {}),
        ("tf.data", {"steps_per_execution": 2}),
    ],
    ids=str,
)
def test_no_trace_after_the_first_epoch(kind, options):
    counter = TraceCounter()
    distiller = build(counter, **options)
    traces = AtEpochEnd(lambda: counter.traces)
    fit = {**DATA[kind](), "validation_data": (X[:5], Y[:5]), "verbose": 0}
    distiller.fit(**fit, epochs=4, callbacks=[traces])
    assert traces.seen[0] > 0
    assert set(traces.seen) == {traces.seen[0]}
    before = counter.traces
    distiller.fit(**fit, epochs=2)
    distiller.evaluate(X, Y, verbose=0)
    assert counter.traces == before


def test_changed_settings_take_effect_without_a_trace():
    """Temperature, student_loss_weight and loss weights, between fits."""
    counter = TraceCounter()
    distiller = build(counter, rate=0.0)
    distiller.evaluate(X, Y, verbose=0)  # traced here
    traces = counter.traces

    def logs():
        return distiller.evaluate(X, Y, return_dict=True, verbose=0)

    before = logs()
    distiller.student_loss_weight = 0.9
    distiller.distillation_loss_weights = [0.25, 2.0]
    distiller.distillation_losses[0].temperature = 20.0
    after = logs()
    assert counter.traces == traces
    assert distiller.distillation_loss_weights == [0.25, 2.0]
    fresh = build(TraceCounter(), rate=0.0)
    fresh.student.set_weights(distiller.student.get_weights())
    kd = KnowledgeDistillation(temperature=20.0)
    want = float(kd(distiller.teacher(X), distiller.student(X)))
    assert_allclose(after["knowledge_distillation"], want, rtol=1e-5)
    assert (
        abs(after["knowledge_distillation"] - before["knowledge_distillation"]) > 1e-3
    )
    distillation = 0.25 * want + 2.0 * before["feature_matching"]
    assert_allclose(after["distillation_loss"], distillation, rtol=1e-5)
    total = 0.9 * before["student_loss"] + 0.1 * distillation
    assert_allclose(after["loss"], total, rtol=1e-5)


def test_settings_changed_between_fits_change_the_training():
    counter = TraceCounter()
    distiller = build(counter)
    fit = {"x": X, "y": Y, "batch_size": 21, "shuffle": False, "verbose": 0}
    distiller.fit(**fit)
    traces, start = counter.traces, distiller.student.get_weights()
    ends = []
    for temperature, weight in [(4.0, 0.5), (1.0, 0.5), (4.0, 0.1)]:
        distiller.student.set_weights(start)
        distiller.distillation_losses[0].temperature = temperature
        distiller.student_loss_weight = weight
        distiller.fit(**fit)
        ends.append(
            np.concatenate([w.ravel() for w in distiller.student.get_weights()])
        )
    assert counter.traces == traces
    assert np.abs(ends[0] - ends[1]).max() > 1e-5
    assert np.abs(ends[0] - ends[2]).max() > 1e-5


def test_compile_again_replaces_loss_and_metrics():
    distiller = build(TraceCounter())
    distiller.fit(X, Y, verbose=0)
    distiller.compile(
        "sgd",
        loss=keras.losses.CategoricalCrossentropy(from_logits=True),
        metrics=[keras.metrics.TopKCategoricalAccuracy(2, name="top2")],
    )
    history = distiller.fit(X, np.eye(3)[Y], verbose=0).history
    assert "top2" in history
    assert "accuracy" not in history
