"""Weights of models as vectors, set for a while."""

import contextlib

import keras
import numpy as np
import pytest
from numpy.testing import assert_allclose
from small_models import digest, mlp, scattered

from keras_kd.probes import filter_normalized_direction, temporary_weights


@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt])
def test_weights_come_back_to_the_bit(error):
    model = scattered(mlp("m", norm="batch"))
    other = scattered(mlp("other", norm="batch"), seed=1)
    model.get_layer("hidden").kernel.assign(np.full((4, 8), np.nan))
    before = digest(model)
    expected = pytest.raises(error) if error else contextlib.nullcontext()
    with expected, temporary_weights(model, other):
        assert digest(model) == digest(other)
        if error:
            raise error
    assert digest(model) == before


def test_weights_come_back_when_setting_them_fails(monkeypatch):
    model = mlp("m")
    before = digest(model)
    original = model.set_weights
    calls = []

    def set_weights(weights):
        calls.append(weights)
        original(weights)
        if len(calls) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(model, "set_weights", set_weights)
    with pytest.raises(KeyboardInterrupt), temporary_weights(model, mlp("n", seed=1)):
        pass
    assert digest(model) == before


def test_directions_have_the_norm_of_each_filter_and_leave_the_rest():
    layers = [
        keras.Input((8, 8, 3)),
        keras.layers.Conv2D(5, 3, bias_initializer="ones"),
        keras.layers.BatchNormalization(),
        keras.layers.Flatten(),
        keras.layers.Dense(2),
    ]
    model = keras.Sequential(layers)
    direction = filter_normalized_direction(model, seed=1)
    for weight, found, variable in zip(
        model.get_weights(), direction, model.weights, strict=True
    ):
        assert found.dtype == weight.dtype
        if "kernel" not in variable.path:
            assert not found.any()
            continue
        axes = tuple(range(weight.ndim - 1))
        norms = [
            np.sqrt(np.sum(w.astype("float64") ** 2, axes)) for w in (found, weight)
        ]
        assert_allclose(*norms, rtol=1e-5)
    again = filter_normalized_direction(model, seed=1)
    assert all(np.array_equal(a, b) for a, b in zip(direction, again, strict=True))
