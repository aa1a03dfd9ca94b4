"""Hints against float64 loops; the regressor's shape, its making, and one's own."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from feature_cases import features
from logit_sides import central_differences, gradients, rounded
from numpy.testing import assert_allclose
from oracles import features as oracle

from keras_kd.losses import HintLoss, hint_loss

DTYPES = ["float16", "bfloat16", "float32", "float64"]
SHAPES = [(6, 5), (6, 4, 3, 5), (6, 2, 4, 3, 5)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_value_is_half_the_squared_distance(shape, dtype):
    given, exact = rounded(dtype, *features((2, *shape)))
    values = hint_loss(*given)
    assert values.dtype == ("float64" if dtype == "float64" else "float32")
    tolerance = 1e-10 if dtype == "float64" else 1e-5
    assert_allclose(values, oracle.hint(*exact), rtol=tolerance)


def test_each_token_has_a_value():
    teacher, student = features((2, 6, 4, 5))
    want = [oracle.hint(t, s) for t, s in zip(teacher, student, strict=True)]
    assert_allclose(hint_loss(teacher, student), want, rtol=1e-10)


def test_maps_of_unlike_size_are_pooled():
    teacher, student = features((2, 8, 3, 5)), features((2, 4, 6, 5), seed=1)
    want = oracle.hint(*oracle.to_common_size(teacher, student))
    assert_allclose(hint_loss(teacher, student), want, rtol=1e-10)


@pytest.mark.parametrize("student", [(2, 2, 2, 3), (2, 4, 2, 3)], ids=str)
def test_gradient_equals_finite_differences(student):
    sides = features((2, 2, 3, 3)), features(student, seed=1)
    pooled = lambda t, s: oracle.hint(*oracle.to_common_size(t, s))  # noqa: E731
    for found, want in zip(
        gradients(hint_loss, *sides), central_differences(pooled, *sides), strict=True
    ):
        assert_allclose(found, want, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_equal_sides_have_no_loss_and_no_gradient(shape):
    side = features(shape, dtype="float32")
    assert not np.any(hint_loss(side, side))
    assert not np.any(gradients(hint_loss, side, side))


def test_large_features_stay_finite():
    sides = 1e4 * np.sign(features((2, 3, 4, 4, 5), dtype="float32"))
    assert np.isfinite(hint_loss(*sides)).all()
    assert np.isfinite(gradients(hint_loss, *sides)).all()


@pytest.mark.parametrize(
    ("teacher", "student", "kernel"),
    [
        ((4, 4, 5), (4, 4, 2), (2, 5)),
        ((4, 4, 5), (6, 5, 2), (3, 2, 2, 5)),  # shrinks to 4x4 by itself
        ((4, 4, 5), (7, 8, 2), (2, 5)),  # too large: pooled first
        ((4, 4, 5), (6, 8, 2), (3, 1, 2, 5)),  # one axis of each kind
        ((4, 4, 5), (2, 3, 2), (2, 5)),  # the teacher's is pooled
        ((4, 4, 5), (5, 2, 2), (2, 1, 2, 5)),
        ((2, 2, 5), (3, 3, 2), (2, 2, 2, 5)),
        ((1, 1, 5), (3, 3, 2), (2, 5)),
        ((3, 2, 4, 5), (4, 2, 4, 2), (2, 1, 1, 2, 5)),
    ],
    ids=str,
)
def test_a_regressor_of_maps_is_a_convolution(teacher, student, kernel):
    """Of a kernel of 1, a dense layer."""
    loss = HintLoss("t", "s")
    loss.build((None, *teacher), (None, *student))
    weight, bias = loss.regressor.weights
    assert weight.shape == kernel
    bias.assign(features((5,), seed=2))
    given = features((3, *teacher)), features((3, *student), seed=1)
    weight = np.reshape(weight, (*[1] * (len(student) + 1 - len(kernel)), *kernel))
    regressed = oracle.convolution(given[1], weight, bias)
    want = oracle.hint(*oracle.to_common_size(given[0], regressed))
    assert_allclose(loss.call(*given), want, rtol=1e-5)
    assert_allclose(loss(*given), want.mean(), rtol=1e-5)


@pytest.mark.parametrize("shape", [(), (4,)], ids=["vector", "tokens"])
def test_a_regressor_of_vectors_and_tokens_is_dense(shape):
    teacher, student = features((3, *shape, 5)), features((3, *shape, 2), seed=1)
    loss = HintLoss("t", "s")
    loss.build(teacher.shape, student.shape)
    kernel, bias = (
        weight.numpy().astype("float64") for weight in loss.regressor.weights
    )
    want = 0.5 * np.sum((teacher - student @ kernel - bias) ** 2, axis=-1)
    assert_allclose(loss.call(teacher, student), want, rtol=1e-5)


def test_sizes_may_be_unknown_until_the_graph_runs():
    loss = HintLoss("t", "s")
    loss.build((None, None, None, 5), (None, None, 8, 2))
    assert loss.regressor.weights[0].shape == (2, 5)
    signature = [
        tf.TensorSpec((None, None, None, 5)),
        tf.TensorSpec((None, None, 8, 2)),
    ]
    compiled = tf.function(loss.call, input_signature=signature)
    given = features((3, 4, 4, 5)), features((3, 6, 8, 2), seed=1)
    kernel, bias = loss.regressor.weights
    regressed = oracle.convolution(given[1], np.reshape(kernel, (1, 1, 2, 5)), bias)
    want = oracle.hint(*oracle.to_common_size(given[0], regressed))
    found = compiled(*(side.astype("float32") for side in given))
    assert_allclose(found, want, rtol=1e-5)


@pytest.mark.parametrize("rows", [0, 1])
def test_a_batch_may_have_one_example_or_none(rows):
    """Not of maps that a convolution shrinks: TensorFlow's own fails on an empty batch,
    on a CPU, and that of the student before it."""
    loss = HintLoss("t", "s")
    loss.build((None, 4, 4, 5), (None, 8, 8, 2))
    signature = [tf.TensorSpec((None, 4, 4, 5)), tf.TensorSpec((None, 8, 8, 2))]
    compiled = tf.function(loss.call, input_signature=signature)
    values = compiled(tf.ones((rows, 4, 4, 5)), tf.ones((rows, 8, 8, 2)))
    assert values.shape == (rows,)
    assert np.isfinite(values).all()


def test_before_it_is_built_features_of_one_width_are_compared_as_they_are():
    teacher, student = features((2, 6, 5))
    loss = HintLoss("t", "s")
    assert loss.trainable_layers == []
    want = oracle.hint(teacher, student).mean()
    assert_allclose(loss(teacher, student), want, rtol=1e-5)
    with pytest.raises(ValueError, match="has no regressor yet"):
        loss(teacher, student[:, :3])


@keras.saving.register_keras_serializable(package=__name__)
class BuiltInCall(keras.layers.Layer):
    """Its inner layer is built by the first call: it has no `build`."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inner = keras.layers.Conv2D(5, 3, activation="relu")

    def call(self, x):
        return self.inner(x)


OWN = {
    "layer": lambda: keras.layers.Conv2D(5, 3, activation="relu"),
    "Sequential": lambda: keras.Sequential(
        [keras.layers.Conv2D(5, 3), keras.layers.ReLU()]
    ),
    "no build": BuiltInCall,
}


@pytest.mark.parametrize("kind", OWN)
def test_a_regressor_of_your_own_is_trained(kind):
    """On maps that it shrinks from 10x10 to 8x8; the pooling to 4x4 comes behind."""
    loss = HintLoss("t", "s", regressor=OWN[kind]())
    loss.build((None, 4, 4, 5), (None, 10, 10, 2))
    regressor = loss.regressor
    loss.build((None, 4, 4, 5), (None, 10, 10, 2))
    assert loss.trainable_layers == [regressor]
    weights = regressor.trainable_weights
    given = features((3, 4, 4, 5)), features((3, 10, 10, 2), seed=1)
    regressed = np.maximum(oracle.convolution(given[1], *weights), 0)
    want = oracle.hint(*oracle.to_common_size(given[0], regressed))
    assert_allclose(loss.call(*given), want, rtol=1e-5)


@pytest.mark.parametrize("kind", OWN)
@pytest.mark.parametrize("built", [True, False])
def test_made_layers_are_copies_of_a_regressor_of_your_own(kind, built):
    given = OWN[kind]()
    loss = HintLoss("t", "s", regressor=given)
    if built:
        given(np.zeros((1, 10, 10, 2)))
    for _ in range(2):  # a second distiller starts like the first
        (copy,) = loss.make_layers((None, 4, 4, 5), (None, 10, 10, 2))
        assert copy is not given
        assert (type(copy), copy.name) == (type(given), given.name)
        assert len(copy.trainable_weights) == 2
        if built:
            for ours, theirs in zip(copy.weights, given.weights, strict=True):
                assert_allclose(ours, theirs)
        copy.set_weights([1 + weight for weight in copy.get_weights()])
    assert loss.trainable_layers == [given]
    assert given.built == built or kind == "no build"


def test_a_regressor_that_does_not_fit_is_refused_when_it_is_copied():
    built = keras.layers.Conv2D(5, 1)
    built(np.zeros((1, 4, 4, 2)))
    loss = HintLoss("t", "s", regressor=built)
    with pytest.raises(
        ValueError, match=r"built for other .*\(1, 1, 2, 5\).*not built"
    ):
        loss.make_layers((None, 4, 4, 5), (None, 4, 4, 3))
    with pytest.raises(ValueError, match="Give its last layer 6 units"):
        loss.make_layers((None, 4, 4, 6), (None, 4, 4, 2))


@pytest.mark.parametrize("kind", OWN)
def test_a_config_holds_a_regressor_of_your_own(kind):
    loss = HintLoss("t", "s", regressor=OWN[kind](), name="hint", reduction="sum")
    copy = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(loss)
    )
    assert copy.get_config() == loss.get_config()
    assert type(copy.regressor) is type(loss.regressor)
    assert copy.regressor is not loss.regressor
    copy.build((None, 4, 4, 5), (None, 10, 10, 2))
    assert len(copy.regressor.trainable_weights) == 2


def test_a_config_without_one_makes_one():
    loss = HintLoss("a.b", None, name="hint", dtype="float64")
    loss.build((None, 5), (None, 2))
    copy = HintLoss.from_config(loss.get_config())
    assert copy.regressor is None
    assert copy.get_config() == loss.get_config()
