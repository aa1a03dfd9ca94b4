"""Attention transfer against float64 loops, in the paper's form and the released."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from feature_cases import features
from hypothesis import given, settings
from hypothesis import strategies as st
from logit_sides import central_differences, gradients, rounded
from numpy.testing import assert_allclose
from oracles import features as oracle
from oracles import reference

from keras_kd import losses

FORMS = {  # class, function, oracle
    "paper": (
        losses.AttentionTransfer,
        losses.attention_transfer,
        oracle.attention_transfer,
    ),
    "released": (
        losses.SquaredAttentionTransfer,
        losses.squared_attention_transfer,
        oracle.squared_attention_transfer,
    ),
}
each_form = pytest.mark.parametrize(
    ("make", "function", "want"), FORMS.values(), ids=FORMS
)
DTYPES = ["float16", "bfloat16", "float32", "float64"]


def sides(positions=(4, 3), dtype="float64"):
    """Rectified, as activations are; of unlike channels."""
    teacher = np.maximum(features((6, *positions, 5)), 0)
    student = np.maximum(features((6, *positions, 2), seed=1), 0)
    return teacher.astype(dtype), student.astype(dtype)


@each_form
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("positions", [(4, 3), (7,), (2, 4, 3), (1, 1)], ids=str)
def test_equals_oracle(make, function, want, positions, dtype):
    tolerance = 1e-10 if dtype == "float64" else 1e-5
    inputs, exact = rounded(dtype, *sides(positions))
    values = function(*inputs)
    assert values.dtype == ("float64" if dtype == "float64" else "float32")
    assert_allclose(values, want(*exact), rtol=tolerance, atol=tolerance)
    loss = make("t", "s", dtype=dtype)
    assert_allclose(loss.call(*inputs), want(*exact), rtol=tolerance, atol=tolerance)


@each_form
@pytest.mark.parametrize("p", [1, 1.5, 3, 4])
def test_any_power_equals_oracle(make, function, want, p):
    teacher, student = features((6, 4, 3, 5)), features((6, 4, 3, 2), seed=1)  # signed
    expected = want(teacher, student, p)
    assert_allclose(function(teacher, student, p=p), expected, rtol=1e-10)
    assert_allclose(make("t", "s", p=p)(teacher, student), expected.mean(), rtol=1e-5)


def test_values_equal_the_published_ones():
    maps = reference.TEACHER_MAPS, reference.STUDENT_MAPS
    for function, want in [
        (losses.attention_transfer, reference.ATTENTION_TRANSFER),
        (losses.squared_attention_transfer, reference.SQUARED_ATTENTION_TRANSFER),
    ]:
        assert_allclose(np.mean(function(*maps)), want, atol=5e-9)


@each_form
def test_maps_of_unlike_size_are_pooled_before_they_are_squared(make, function, want):
    teacher, student = features((3, 8, 3, 5)), features((3, 3, 6, 2), seed=1)
    expected = want(*oracle.to_common_size(teacher, student))
    assert_allclose(function(teacher, student), expected, rtol=1e-10)
    assert_allclose(make("t", "s")(teacher, student), expected.mean(), rtol=1e-5)


def test_a_map_has_norm_1_and_the_shape_of_the_positions():
    teacher, _ = sides()
    maps = losses.attention_map(teacher).numpy()
    assert maps.shape == (6, 4, 3)
    assert_allclose(np.linalg.norm(maps.reshape(6, -1), axis=1), 1, rtol=1e-12)
    want = [oracle.attention_vector(example, 2) for example in teacher]
    assert_allclose(maps.reshape(6, -1), want, rtol=1e-10)


@each_form
@pytest.mark.parametrize("p", [1, 2, 3])
def test_gradient_equals_finite_differences(make, function, want, p):
    del make
    pair = features((2, 4, 2, 3)), features((2, 2, 2, 2), seed=1)

    def pooled(teacher, student):
        return want(*oracle.to_common_size(teacher, student), p)

    found = gradients(lambda t, s: function(t, s, p=p), *pair)
    for ours, theirs in zip(found, central_differences(pooled, *pair), strict=True):
        assert_allclose(ours, theirs, rtol=1e-5, atol=1e-8)


@each_form
def test_one_position_has_one_attention(make, function, want):
    """Its gradient is 0, also where the norm is exactly 1 after scaling."""
    del make, want
    pair = features((3, 1, 1, 1), dtype="float32"), features((3, 1, 1, 1), 1, "float32")
    assert_allclose(function(*pair), 0, atol=1e-7)
    assert_allclose(gradients(function, *pair), 0, atol=1e-6)


@each_form
def test_equal_sides_have_no_loss_and_no_gradient(make, function, want):
    del make, want
    teacher, _ = sides(dtype="float32")
    assert not np.any(function(teacher, teacher))
    assert not np.any(gradients(function, teacher, teacher))


@each_form
def test_dead_maps_give_0_and_finite_gradients(make, function, want):
    del make
    alive, _ = sides(dtype="float32")
    dead, nearly = np.zeros_like(alive), np.float32(1e-20) * alive
    assert not np.any(losses.attention_map(dead))
    for pair in [(alive, dead), (dead, alive), (dead, dead), (alive, nearly)]:
        exact = [dead if side is nearly else side for side in pair]
        assert_allclose(function(*pair), want(*exact), rtol=1e-5)
        assert np.isfinite(gradients(function, *pair)).all()


@each_form
@pytest.mark.parametrize("p", [1, 2, 4])
@pytest.mark.parametrize("scale", [1e-4, 1e4, 1e8])
def test_scale_does_not_matter(make, function, want, p, scale):
    """|a|^p of 1e8 and its square are no float32."""
    del make
    teacher, student = sides(dtype="float32")
    values = function(teacher, np.float32(scale) * student, p=p)
    assert_allclose(values, want(teacher, student, p), rtol=1e-5, atol=1e-7)
    pair = teacher, np.float32(scale) * student
    found = gradients(lambda t, s: function(t, s, p=p), *pair)
    assert all(np.isfinite(side).all() for side in found)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.integers(0, 10_000), st.floats(1, 6))
def test_values_lie_within_their_bounds(seed, p):
    pair = features((4, 3, 3, 2), seed), features((4, 3, 3, 1), seed + 1)
    distance = losses.attention_transfer(*pair, p=p).numpy()
    assert (distance >= 0).all()
    assert (distance <= np.sqrt(2) + 1e-9).all()
    squared = losses.squared_attention_transfer(*pair, p=p).numpy()
    assert_allclose(squared, distance**2 / 9, rtol=1e-9)


@each_form
@pytest.mark.parametrize("rows", [0, 1])
def test_a_batch_may_have_one_example_or_none(make, function, want, rows):
    del make, want
    signature = [tf.TensorSpec((None, 4, 4, 5)), tf.TensorSpec((None, 8, 6, 2))]
    compiled = tf.function(lambda t, s: function(t, s), input_signature=signature)
    values = compiled(tf.ones((rows, 4, 4, 5)), tf.ones((rows, 8, 6, 2)))
    assert_allclose(values, np.zeros(rows), atol=1e-6)


@each_form
def test_padded_tokens_neither_count_nor_enter_a_norm(make, function, want):
    del function
    teacher, student = sides((7,))
    lengths = [7, 3, 1, 5, 2, 6]
    mask = np.arange(7) < np.array(lengths)[:, None]
    rows = zip(teacher, student, lengths, strict=True)
    expected = [want(t[None, :n], s[None, :n])[0] for t, s, n in rows]
    values = make("t", "s", dtype="float64").call(
        tf.constant(teacher), tf.constant(student), mask=tf.constant(mask)
    )
    assert_allclose(values, expected, rtol=1e-10, atol=1e-12)
    nothing = make("t", "s").call(teacher, student, mask=tf.zeros((6, 7), "bool"))
    assert not np.any(nothing)


@each_form
def test_a_mask_of_other_axes_is_none_of_a_map(make, function, want):
    del function
    teacher, student = sides()
    values = make("t", "s").call(teacher, student, mask=tf.ones((6, 4), "bool"))
    assert_allclose(values, want(teacher, student), rtol=1e-5)


@each_form
def test_masks_reach_it_in_a_distiller(make, function, want):
    """Through Keras's mask of an embedding."""
    del function
    import keras_kd

    def model(name, units):
        tokens = keras.Input((5,), dtype="int32", name="tokens")
        x = keras.layers.Embedding(9, units, mask_zero=True, name="words")(tokens)
        x = keras.layers.Dense(units, activation="relu", name="hidden")(x)
        x = keras.layers.GlobalAveragePooling1D()(x)
        return keras.Model(tokens, keras.layers.Dense(3)(x), name=name)

    teacher, student = model("teacher", 6), model("student", 4)
    distiller = keras_kd.Distiller(
        teacher, student, make("hidden", "hidden", name="at"), student_loss_weight=0.0
    )
    distiller.compile("sgd")
    x = np.array([[1, 2, 3, 4, 5], [6, 7, 0, 0, 0], [8, 1, 3, 0, 0]])
    logs = distiller.evaluate(x, verbose=0, return_dict=True)
    maps = [
        keras.Model(m.input, m.get_layer("hidden").output)(x)
        for m in (teacher, student)
    ]
    expected = [
        want(*(np.asarray(m)[i : i + 1, :n] for m in maps))[0]
        for i, n in enumerate([5, 2, 3])
    ]
    assert_allclose(logs["distillation_loss"], np.mean(expected), rtol=1e-5)


@each_form
def test_config_holds_the_power(make, function, want):
    del function, want
    loss = make("a", "b", p=4, name="at", dtype="float64")
    copy = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(loss)
    )
    assert copy.get_config() == loss.get_config()
    assert copy.p == 4
