"""The fused kernel gives what Keras's own operations give, and only where it fits."""

import threading

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose

from keras_kd._common.fused_batch_norm import fused_batch_norm

Norm = keras.layers.BatchNormalization
FUSED = {"FusedBatchNormV3"}


def norm_of(shape, *, seed=0, **options):
    """A layer with weights and statistics away from where they start."""
    layer = Norm(**options)
    layer.build((None, *shape[1:]))
    rng = np.random.default_rng(seed)
    for variable in layer.variables:
        variable.assign(rng.uniform(0.5, 1.5, variable.shape))
    return layer


def step_of(layer, *, training, fused, **call):
    """A compiled function of a batch: outputs, and gradients of a weighted sum."""

    @tf.function(autograph=False)
    def step(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            if fused:
                with fused_batch_norm():
                    y = layer(x, training=training, **call)
            else:
                y = layer(x, training=training, **call)
            upstream = tf.random.stateless_normal(tf.shape(y), (1, 2))
            loss = tf.reduce_sum(tf.cast(y, tf.float32) * upstream)
        weights = [weight.value for weight in layer.trainable_variables]
        return y, tape.gradient(loss, [x, *weights])

    return step


def kinds_of_operation(function, x):
    return {op.type for op in function.get_concrete_function(x).graph.get_operations()}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    ("dtype", "rtol"),
    [("float32", 1e-5), ("mixed_bfloat16", 2e-2), ("mixed_float16", 2e-3)],
)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"momentum": 0.9, "epsilon": 1e-6},
        {"center": False},
        {"scale": False, "trainable": False},
    ],
)
def test_outputs_gradients_and_statistics_are_those_of_keras(
    training, dtype, rtol, options
):
    shape = (6, 5, 4, 3)
    x = np.random.default_rng(1).normal(2.0, 3.0, shape).astype("float32")
    x = tf.constant(x, keras.DTypePolicy(dtype).compute_dtype)
    layers = [norm_of(shape, dtype=dtype, **options) for _ in range(2)]
    plain = step_of(layers[0], training=training, fused=False)
    fused = step_of(layers[1], training=training, fused=True)
    assert FUSED <= kinds_of_operation(fused, x)
    for _ in range(3):
        (y, gradients), (y_fused, gradients_fused) = plain(x), fused(x)
        assert y_fused.dtype == y.dtype
        assert_allclose(np.float32(y_fused), np.float32(y), rtol=rtol, atol=rtol)
        for one, of_fused in zip(gradients, gradients_fused, strict=True):
            size = np.abs(np.float32(one)).max()
            assert_allclose(
                np.float32(of_fused), np.float32(one), rtol=rtol, atol=rtol * size
            )
    for one, of_fused in zip(*(layer.variables for layer in layers), strict=True):
        assert_allclose(of_fused.numpy(), one.numpy(), rtol=1e-5, err_msg=one.path)


@pytest.mark.parametrize("shape", [(1, 1, 1, 3), (7, 1, 1, 3), (2, 1, 3, 3)])
def test_the_moving_variance_is_of_the_biased_one(shape):
    x = np.random.default_rng(2).normal(size=shape).astype("float32")
    layer = norm_of(shape, momentum=0.75)
    before = layer.moving_variance.numpy()
    step_of(layer, training=True, fused=True)(tf.constant(x))
    variance = x.astype("float64").var((0, 1, 2))
    expected = 0.75 * before + 0.25 * variance
    assert_allclose(layer.moving_variance.numpy(), expected, rtol=1e-5)


def test_large_numbers_in_half_precision_do_not_overflow():
    x = np.random.default_rng(3).normal(3e4, 1e3, (4, 8, 8, 3))
    x = tf.constant(np.float16(x))
    layer = norm_of(x.shape, dtype="mixed_float16", momentum=0.0)
    y, _ = step_of(layer, training=True, fused=True)(x)
    exact = np.float64(x.numpy())
    assert_allclose(layer.moving_variance.numpy(), exact.var((0, 1, 2)), rtol=1e-3)
    assert np.isfinite(np.float32(y)).all()


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((6, 3), {}),
        ((6, 4, 3), {}),
        ((2, 2, 2, 2, 3), {}),
        ((6, 5, 4, 3), {"axis": 1}),
        ((6, 5, 4, 3), {"renorm": True}),
        ((6, 5, 4, 3), {"synchronized": True}),
        ((6, 5, 4, 3), {"dtype": "float64"}),
    ],
    ids=str,
)
def test_what_the_kernel_does_not_fit_runs_as_always(shape, options):
    layers = [norm_of(shape, **options) for _ in range(2)]
    x = np.random.default_rng(4).normal(size=shape)
    x = tf.constant(x, layers[0].compute_dtype)
    steps = [
        step_of(layer, training=True, fused=fused)
        for layer, fused in zip(layers, (False, True), strict=True)
    ]
    assert not FUSED & kinds_of_operation(steps[1], x)
    assert_allclose(steps[1](x)[0], steps[0](x)[0], rtol=1e-6)


def test_a_mask_and_a_subclass_run_as_always():
    class Doubled(Norm):
        def call(self, inputs, training=None, mask=None):
            return 2.0 * super().call(inputs, training=training, mask=mask)

    x = tf.constant(np.random.default_rng(5).normal(size=(6, 5, 4, 3)), tf.float32)
    doubled = Doubled()
    doubled.build(x.shape)
    step = step_of(doubled, training=True, fused=True)
    assert not FUSED & kinds_of_operation(step, x)
    mask = tf.ones((6, 5, 4), tf.bool)
    masked = step_of(norm_of(x.shape), training=True, fused=True, mask=mask)
    assert not FUSED & kinds_of_operation(masked, x)


def test_keras_is_left_as_found_after_an_error_too():
    own = Norm.call

    def fail():
        with tf.Graph().as_default(), fused_batch_norm(), fused_batch_norm():
            assert Norm.call is not own
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert Norm.call is own
    with fused_batch_norm():  # eagerly
        assert Norm.call is own


def test_another_thread_meanwhile_runs_keras_own_operations():
    x = tf.constant(np.random.default_rng(6).normal(size=(6, 5, 4, 3)), tf.float32)
    found = []

    def elsewhere():
        step = step_of(norm_of(x.shape), training=True, fused=False)
        found.append(kinds_of_operation(step, x))

    thread = threading.Thread(target=elsewhere)
    with tf.Graph().as_default(), fused_batch_norm():
        thread.start()
        thread.join()
    assert found
    assert not FUSED & found[0]


def test_keras_still_does_not_fuse():
    """When this fails, Keras does it itself: then the scope may go."""
    x = tf.zeros((2, 4, 4, 3))
    step = step_of(norm_of(x.shape), training=True, fused=False)
    assert not FUSED & kinds_of_operation(step, x)
