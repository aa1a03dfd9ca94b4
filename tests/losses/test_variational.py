"""Variational information distillation against float64 loops; mean and variances."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from feature_cases import features
from keras import ops
from logit_sides import central_differences, gradients, rounded
from numpy.testing import assert_allclose
from oracles import features as oracle
from oracles import reference

from keras_kd.losses import VID, vid

DTYPES = ["float16", "bfloat16", "float32", "float64"]
SHAPES = [(6, 5), (6, 4, 3, 5), (6, 2, 4, 3, 5)]
VARIANCE = np.array([0.1, 5.0, 1.0, 2.0, 30.0])


@pytest.mark.parametrize("variance", [5.0, VARIANCE], ids=["one", "one a channel"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_equals_oracle(shape, dtype, variance):
    given, exact = rounded(dtype, *features((2, *shape)))
    values = vid(*given, variance=variance)
    assert values.dtype == ("float64" if dtype == "float64" else "float32")
    tolerance = 1e-10 if dtype == "float64" else 1e-5
    want = oracle.variational(*exact, variance)
    assert_allclose(values, want, rtol=tolerance, atol=tolerance)


def test_value_equals_the_published_one():
    values = vid(reference.PREDICTED_MAPS, reference.PREDICTED_MEAN, variance=5.0)
    assert_allclose(np.mean(values), reference.VID_AT_VARIANCE_5, atol=5e-9)


def test_each_token_has_a_value():
    teacher, mean = features((2, 6, 4, 5))
    pairs = zip(teacher, mean, strict=True)
    want = [oracle.variational(t, m, VARIANCE) for t, m in pairs]
    assert_allclose(vid(teacher, mean, variance=VARIANCE), want, rtol=1e-10)


def test_maps_of_unlike_size_are_pooled():
    teacher, mean = features((2, 8, 3, 5)), features((2, 4, 6, 5), seed=1)
    want = oracle.variational(*oracle.to_common_size(teacher, mean), VARIANCE)
    assert_allclose(vid(teacher, mean, variance=VARIANCE), want, rtol=1e-10)


def test_gradient_equals_finite_differences():
    sides = features((2, 2, 3, 5)), features((2, 2, 2, 5), seed=1)

    def pooled(teacher, mean):
        return oracle.variational(*oracle.to_common_size(teacher, mean), VARIANCE)

    found = gradients(lambda t, m: vid(t, m, variance=VARIANCE), *sides)
    for ours, theirs in zip(found, central_differences(pooled, *sides), strict=True):
        assert_allclose(ours, theirs, rtol=1e-5, atol=1e-8)


def test_gradient_of_the_variance_vanishes_at_the_mean_squared_error():
    """The best variance of a channel is what the prediction misses there."""
    teacher, mean = features((2, 50, 5))
    variance = tf.constant(np.mean((teacher - mean) ** 2, axis=0))
    with tf.GradientTape() as tape:
        tape.watch(variance)
        value = tf.reduce_mean(vid(teacher, mean, variance=variance))
    assert_allclose(tape.gradient(value, variance), 0, atol=1e-12)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_equal_sides_have_the_entropy_term_alone(shape):
    side = features(shape, dtype="float32")
    assert_allclose(vid(side, side), 0.5 * np.log(5), rtol=1e-6)
    assert_allclose(vid(side, side, variance=0.01), 0.5 * np.log(0.01), rtol=1e-6)
    assert not np.any(gradients(vid, side, side))


def test_large_features_stay_finite():
    sides = 1e4 * np.sign(features((2, 3, 4, 4, 5), dtype="float32"))
    function = lambda t, m: vid(t, m, variance=1e-5)  # noqa: E731
    assert np.isfinite(function(*sides)).all()
    assert np.isfinite(gradients(function, *sides)).all()


@pytest.mark.parametrize(
    ("teacher", "student"),
    [
        ((5,), (2,)),
        ((4, 5), (4, 2)),
        ((4, 4, 5), (4, 4, 5)),  # mu is there where the widths agree, too
        ((8, 3, 5), (4, 6, 2)),
        ((2, 4, 3, 5), (2, 2, 3, 2)),
    ],
    ids=str,
)
def test_mean_and_variance_are_of_the_students_features(teacher, student):
    loss = VID("t", "s")
    loss.build((None, *teacher), (None, *student))
    scale, *kernels = (w.numpy().astype("float64") for w in loss.regressor.weights)
    assert [kernel.shape[-2:] for kernel in kernels] == [
        (student[-1], 5),
        (5, 5),
        (5, 5),
    ]
    assert_allclose(scale, 4.99323, rtol=1e-6)
    scale = features((5,), seed=3)
    loss.regressor.scale.assign(scale)
    given = features((3, *teacher)), features((3, *student), seed=1)
    pooled = oracle.to_common_size(*given) if len(teacher) > 2 else given
    kernels = [kernel.reshape(kernel.shape[-2:]) for kernel in kernels]
    mean = oracle.mean_network(pooled[1], kernels)
    variance = np.log1p(np.exp(scale)) + 1e-5
    if len(teacher) == 2:
        pairs = zip(pooled[0], mean, strict=True)
        want = [oracle.variational(t, m, variance) for t, m in pairs]
    else:
        want = oracle.variational(pooled[0], mean, variance)
    assert_allclose(loss.call(*given), want, rtol=1e-5)


@pytest.mark.parametrize("initial", [2e-5, 0.1, 5.0, 1000.0])
def test_every_channel_starts_at_the_initial_variance(initial):
    loss = VID("t", "s", initial_variance=initial)
    loss.build((None, 5), (None, 2))
    _, variance = loss.regressor(np.ones((1, 2)))
    assert_allclose(variance, np.full(5, initial), rtol=1e-5)


def test_all_of_it_trains():
    loss = VID("t", "s")
    loss.build((None, 4, 4, 5), (None, 4, 4, 2))
    (layer,) = loss.trainable_layers
    teacher, student = features((3, 4, 4, 5)), features((3, 4, 4, 2), seed=1)
    with tf.GradientTape() as tape:
        value = loss(teacher, student)
    found = tape.gradient(value, [w.value for w in layer.trainable_weights])
    assert len(found) == 4
    assert all(np.any(gradient) for gradient in found)


def test_the_variance_stays_positive_and_finite_however_far_it_moves():
    loss = VID("t", "s")
    loss.build((None, 5), (None, 2))
    for scale in (-1e4, -100.0, 0.0, 1e4):
        loss.regressor.scale.assign(np.full(5, scale))
        _, variance = loss.regressor(np.ones((1, 2)))
        assert (ops.convert_to_numpy(variance) >= 1e-5).all()
        assert np.isfinite(loss(np.ones((1, 5)), np.ones((1, 2))))


def test_before_it_is_built_the_mean_is_the_student():
    teacher, student = features((2, 6, 5))
    loss = VID("t", "s", initial_variance=2.0)
    assert loss.trainable_layers == []
    want = oracle.variational(teacher, student, 2.0).mean()
    assert_allclose(loss(teacher, student), want, rtol=1e-5)
    with pytest.raises(ValueError, match="has no regressor yet"):
        loss(teacher, student[:, :3])


@pytest.mark.parametrize("rows", [0, 1])
def test_a_batch_may_have_one_example_or_none(rows):
    loss = VID("t", "s")
    loss.build((None, 4, 4, 5), (None, 8, 6, 2))
    signature = [tf.TensorSpec((None, 4, 4, 5)), tf.TensorSpec((None, 8, 6, 2))]
    compiled = tf.function(loss.call, input_signature=signature)
    values = compiled(tf.ones((rows, 4, 4, 5)), tf.ones((rows, 8, 6, 2)))
    assert values.shape == (rows,)
    assert np.isfinite(values).all()


def test_config_holds_the_initial_variance():
    loss = VID("a", None, initial_variance=2.5, name="own", dtype="float64")
    copy = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(loss)
    )
    assert copy.get_config() == loss.get_config()
    assert copy.initial_variance == 2.5
