"""Spectrally normalised layers, against NumPy's singular values."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose, assert_array_equal

from keras_kd.models import SpectralConv2D, SpectralDense

CASES = [
    (SpectralConv2D(7, 3, padding="same"), (2, 6, 6, 5)),
    (SpectralConv2D(4, 1), (2, 3, 3, 9)),
    (SpectralDense(6), (3, 11)),
]
each_layer = pytest.mark.parametrize(("template", "shape"), CASES)


def fresh(template):
    return type(template).from_config(template.get_config())


def matrix_of(layer, kernel):
    return np.asarray(kernel, "float64").reshape(-1, layer.kernel.shape[-1])


def power_iteration(matrix, right, times):
    """Algorithm 1 of Miyato et al. in float64, from the layer's first vector."""
    for _ in range(times):
        left = matrix @ right
        left /= np.linalg.norm(left)
        right = matrix.T @ left
        right /= np.linalg.norm(right)
    return left @ matrix @ right


@each_layer
@pytest.mark.parametrize("calls", [1, 2, 5])
def test_each_training_call_is_one_step_of_the_power_iteration(template, shape, calls):
    layer = fresh(template)
    layer.build(shape)
    matrix = matrix_of(layer, layer.kernel)
    norm = power_iteration(matrix, np.asarray(layer.right_vector, "float64"), calls)
    for _ in range(calls):
        layer(np.ones(shape, "float32"), training=True)
    normalized = matrix_of(layer, layer.normalized_kernel())
    assert_allclose(normalized, matrix / norm, rtol=2e-5, atol=1e-6)


@each_layer
def test_the_normalized_kernel_has_spectral_norm_one(template, shape):
    layer = fresh(template)
    for _ in range(300):
        layer(np.ones(shape, "float32"), training=True)
    normalized = matrix_of(layer, layer.normalized_kernel())
    assert_allclose(np.linalg.norm(normalized, 2), 1, rtol=1e-3)


@each_layer
def test_the_output_is_that_of_the_plain_layer_with_the_divided_kernel(template, shape):
    layer = fresh(template)
    x = np.random.default_rng(0).normal(size=shape).astype("float32")
    layer(x, training=True)
    layer.bias.assign(np.arange(layer.bias.shape[0], dtype="float32"))
    plain = type(layer).__mro__[2].from_config(layer.get_config())
    plain.build(shape)
    plain.set_weights([np.asarray(layer.normalized_kernel()), np.asarray(layer.bias)])
    assert_allclose(layer(x), plain(x), atol=1e-5)


@each_layer
def test_inference_changes_no_variable(template, shape):
    layer = fresh(template)
    layer.build(shape)
    before = [np.asarray(v) for v in layer.variables]
    layer(np.ones(shape, "float32"), training=False)
    for old, new in zip(before, layer.variables, strict=True):
        assert_array_equal(old, new)


def test_training_leaves_the_kernel_alone_which_kerass_wrapper_does_not():
    """The reason for a layer of our own; once Keras's passes, it may go."""
    x = np.ones((2, 4), "float32")
    ours = SpectralDense(3)
    theirs = keras.layers.SpectralNormalization(keras.layers.Dense(3))
    for layer, kernel in ((ours, lambda: ours.kernel), (theirs, lambda: theirs.kernel)):
        layer(x)
        before = np.asarray(kernel())
        layer(x, training=True)
        same = np.array_equal(before, np.asarray(kernel()))
        assert same is (layer is ours)


def test_the_gradient_passes_through_the_norm():
    """By Miyato et al., equation 10: no gradient along the kernel itself."""
    layer = SpectralDense(5, use_bias=False)
    x = np.random.default_rng(1).normal(size=(8, 4)).astype("float32")
    for _ in range(200):  # the vectors must be singular vectors for it
        layer(x, training=True)
    target = np.random.default_rng(2).normal(size=(8, 5)).astype("float32")
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(x, training=False) * target)
    gradient = tape.gradient(loss, layer.kernel.value)
    along = np.sum(np.asarray(gradient) * np.asarray(layer.kernel))
    assert abs(along) < 1e-3 * np.linalg.norm(gradient) * np.linalg.norm(layer.kernel)


@each_layer
def test_a_saved_layer_comes_back_with_its_vectors(template, shape, tmp_path):
    model = keras.Sequential([keras.Input(shape[1:]), fresh(template)])
    x = np.random.default_rng(0).normal(size=shape).astype("float32")
    model(x, training=True)
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    assert_array_equal(model(x), loaded(x))
