"""Ctrl-C in the midst of a model's call: the models are what they were, and work."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from small_models import digest, scattered

import keras_kd
from keras_kd import probes

IMAGES = np.random.default_rng(0).normal(size=(8, 6, 6, 1)).astype("float32")
LABELS = np.arange(8) % 3
QUIET = {"verbose": 0}


class Stop(layers.Layer):
    """Identity; raises at a chosen call of its graph, or while it is traced."""

    armed = None

    def call(self, inputs):
        if self.armed == "trace":
            raise KeyboardInterrupt
        if self.armed == "run" and isinstance(inputs, tf.Tensor):
            tf.py_function(self._stop, [], [])
        return inputs

    def _stop(self):
        raise KeyboardInterrupt


def network(seed):
    stop = Stop(name="stop")
    model = keras.Sequential(
        [
            keras.Input((6, 6, 1)),
            layers.Conv2D(3, 3, name="maps"),
            layers.BatchNormalization(momentum=0.9),
            layers.ReLU(),
            stop,
            layers.GlobalAveragePooling2D(),
            layers.Dropout(0.5, seed=seed),
            layers.Dense(3, name="logits"),
        ],
        name=f"net{seed}",
    )
    return scattered(model, seed)


PROBES = {
    "surface": lambda t, s: probes.loss_surface(t, s, IMAGES, resolution=2, **QUIET),
    "surface, statistics": lambda t, s: probes.loss_surface(
        t, s, IMAGES, resolution=2, reestimate_statistics=True, **QUIET
    ),
    "path": lambda t, s: probes.interpolation_path(t, s, IMAGES, points=3, **QUIET),
    "eigenvalues": lambda t, s: probes.top_eigenvalues(
        probes.LossHessian(s, IMAGES, LABELS), 1, tolerance=0.1, **QUIET
    ),
    "trace of distillation": lambda t, s: probes.hessian_trace(
        probes.LossHessian(s, IMAGES, teacher=t), 3, **QUIET
    ),
    "maps": lambda t, s: probes.attention_maps(
        s, IMAGES, layer="maps", method="grad_cam"
    ),
    "fidelity": lambda t, s: keras_kd.evaluate_fidelity(
        t, s, (IMAGES, LABELS), **QUIET
    ),
}


def state(*models):
    """All that a probe could leave behind."""
    kept = []
    for model in models:
        attributes = [sorted(vars(x)) for x in model._flatten_layers()]
        calls = [vars(x).get("call") for x in model._flatten_layers()]
        kept.append((digest(model), attributes, calls, model.trainable))
    return kept


@pytest.mark.parametrize("when", ["trace", "run"])
@pytest.mark.parametrize("name", PROBES)
def test_models_are_bit_identical_after_an_interrupt(name, when, monkeypatch):
    teacher, student = network(0), network(1)
    outputs = [np.asarray(m(IMAGES)) for m in (teacher, student)]
    before = state(teacher, student)
    with monkeypatch.context() as patch:
        patch.setattr(student.get_layer("stop"), "armed", when, raising=False)
        with pytest.raises((KeyboardInterrupt, tf.errors.OpError)):
            PROBES[name](teacher, student)
    assert state(teacher, student) == before
    PROBES[name](teacher, student)  # to its end this time
    assert state(teacher, student) == before
    for model, want in zip((teacher, student), outputs, strict=True):
        np.testing.assert_array_equal(model(IMAGES), want)
