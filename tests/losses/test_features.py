"""Feature matching against float64 NumPy; its projector; what it refuses."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from numpy.testing import assert_allclose
from oracles import features as oracle

from keras_kd import losses

SHAPES = {  # of a batch of features -> the axes that a value averages over
    (6, 5): (1,),
    (6, 4, 5): (2,),
    (6, 4, 3, 5): (1, 2, 3),
    (6, 2, 4, 3, 5): (1, 2, 3, 4),
}


def features(shape, dtype="float64", seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [("float16", 1e-5), ("float32", 1e-5), ("float64", 1e-12)]
)
def test_value_is_the_mean_squared_difference(shape, dtype, tolerance):
    teacher, student = features((2, *shape), dtype)
    values = losses.feature_matching(teacher, student)
    difference = teacher.astype("float64") - student.astype("float64")
    want = np.mean(difference**2, axis=SHAPES[shape])
    assert values.dtype == ("float64" if dtype == "float64" else "float32")
    assert_allclose(values, want, rtol=tolerance)


def test_gradient_equals_closed_form():
    teacher, student = map(tf.constant, features((2, 6, 5)))
    loss = losses.FeatureMatching("t", "s", dtype="float64")
    with tf.GradientTape() as tape:
        tape.watch(student)
        value = loss(teacher, student)
    want = 2 * (student - teacher) / (6 * 5)
    assert_allclose(tape.gradient(value, student), want, atol=1e-12)


def test_masked_tokens_do_not_count():
    teacher, student = features((2, 6, 4, 5), "float32")
    real = np.arange(4) < np.array([[4], [1], [2], [4], [3], [1]])
    masked = keras.layers.Masking()(np.where(real[..., None], student, 0.0))
    want = np.mean((teacher - student)[real] ** 2)
    loss = losses.FeatureMatching("t", "s")
    assert_allclose(loss(teacher, masked), want, rtol=1e-5)


def test_equal_widths_need_no_projector():
    loss = losses.FeatureMatching("t", "s")
    loss.build((None, 4, 4, 5), (None, 4, 4, 5))
    assert loss.projector is None
    assert loss.trainable_layers == []


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_unequal_widths_are_projected_linearly(shape):
    teacher, student = features(shape), features((*shape[:-1], 2), seed=1)
    loss = losses.FeatureMatching("t", "s")
    loss.build((None, *teacher.shape[1:]), (None, *student.shape[1:]))
    assert loss.trainable_layers == [loss.projector]
    (kernel,) = loss.projector.weights  # no bias
    matrix = np.random.default_rng(2).normal(size=(2, 5))
    kernel.assign(matrix.reshape(kernel.shape))
    want = np.mean((teacher - student @ matrix) ** 2, axis=SHAPES[shape])
    assert_allclose(loss.call(teacher, student), want, rtol=1e-5)


def test_building_twice_keeps_the_projector():
    loss = losses.FeatureMatching("t", "s")
    loss.build((None, 5), (None, 2))
    projector = loss.projector
    loss.build((None, 5), (None, 2))
    assert loss.projector is projector


def test_the_projector_computes_in_float32_whatever_the_global_policy():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        loss = losses.FeatureMatching("t", "s")
        loss.build((None, 5), (None, 2))
    finally:
        keras.config.set_dtype_policy("float32")
    teacher, student = features((6, 5), "float16"), features((6, 2), "float16")
    kernel = loss.projector.kernel.numpy().astype("float64")
    want = np.mean((teacher - student.astype("float64") @ kernel) ** 2, axis=1)
    assert_allclose(loss.call(teacher, student), want, rtol=1e-5)


def test_lengths_may_be_unknown_until_the_graph_runs():
    @tf.function(
        input_signature=[tf.TensorSpec((None, None, 5)), tf.TensorSpec((None, 4, 5))]
    )
    def compiled(teacher, student):
        return losses.feature_matching(teacher, student)

    teacher, student = features((2, 6, 4, 5), "float32")
    want = np.mean((teacher - student) ** 2, axis=-1)
    assert_allclose(compiled(teacher, student), want, rtol=1e-5)


@pytest.mark.parametrize(
    ("teacher", "student"),
    [
        ((6, 8, 8, 5), (6, 4, 4, 5)),
        ((6, 4, 4, 5), (6, 7, 5, 5)),
        ((6, 8, 3, 5), (6, 3, 8, 2)),
        ((6, 4, 4, 5), (6, 1, 1, 2)),
        ((6, 2, 4, 3, 5), (6, 2, 2, 4, 2)),
    ],
    ids=str,
)
def test_maps_of_unlike_size_are_pooled(teacher, student):
    given = features(teacher), features(student, seed=1)
    loss = losses.FeatureMatching("t", "s")
    loss.build(teacher, student)
    t, s = oracle.to_common_size(*given)
    if loss.projector is not None:
        s = s @ np.asarray(loss.projector.kernel, "float64")
    want = np.mean((t - s) ** 2, axis=tuple(range(1, len(teacher))))
    assert_allclose(loss.call(*given), want, rtol=1e-5)
    if loss.projector is None:
        assert_allclose(losses.feature_matching(*given), want, rtol=1e-12)


def test_the_size_of_a_map_may_be_unknown_until_the_graph_runs():
    loss = losses.FeatureMatching("t", "s")
    loss.build((None, None, None, 5), (None, 4, None, 5))
    signature = [
        tf.TensorSpec((None, None, None, 5)),
        tf.TensorSpec((None, 4, None, 5)),
    ]
    compiled = tf.function(loss.call, input_signature=signature)
    for size in [(4, 4), (8, 6), (3, 2)]:
        given = features((6, *size, 5), "float32"), features((6, 4, 4, 5), "float32", 1)
        t, s = oracle.to_common_size(*given)
        assert_allclose(compiled(*given), np.mean((t - s) ** 2, (1, 2, 3)), rtol=1e-5)


@pytest.mark.parametrize("rows", [0, 1])
def test_a_batch_may_have_one_example_or_none(rows):
    loss = losses.FeatureMatching("t", "s")
    loss.build((None, 4, 4, 5), (None, 8, 6, 2))
    signature = [tf.TensorSpec((None, 4, 4, 5)), tf.TensorSpec((None, 8, 6, 2))]
    compiled = tf.function(loss.call, input_signature=signature)
    values = compiled(tf.ones((rows, 4, 4, 5)), tf.ones((rows, 8, 6, 2)))
    assert values.shape == (rows,)
    assert np.isfinite(values).all()


@pytest.mark.parametrize(
    ("teacher", "student", "rule"),
    [
        ((6, 5), (6, 4, 5), "same number of axes"),
        ((6, 4, 4, 5), (6, 5), "same number of axes"),
        ((6, 4, 5), (6, 3, 5), "token axes .* must agree"),
        ((6, 4, 5), (6, 1, 5), "token axes .* must agree"),
    ],
    ids=str,
)
def test_unlike_axes_are_refused(teacher, student, rule):
    loss = losses.FeatureMatching("conv4", "conv2")
    with pytest.raises(ValueError, match=rule) as refused:
        loss.build(teacher, student)
    assert "layer 'conv4'" in str(refused.value)
    assert "layer 'conv2'" in str(refused.value)
    with pytest.raises(ValueError, match=rule):
        loss(np.zeros(teacher), np.zeros(student))
    with pytest.raises(ValueError, match=rule):
        losses.feature_matching(np.zeros(teacher), np.zeros(student))


def test_unequal_widths_without_a_projector_are_refused():
    with pytest.raises(ValueError, match="has no projector yet"):
        losses.FeatureMatching("t", "s")(np.zeros((6, 5)), np.zeros((6, 2)))
    with pytest.raises(ValueError, match="must have as many channels"):
        losses.feature_matching(np.zeros((6, 5)), np.zeros((6, 2)))


@pytest.mark.parametrize("bad", ["", 3, ["conv1"]])
@pytest.mark.parametrize("side", ["teacher", "student"])
def test_a_layer_name_is_a_string_or_none(side, bad):
    names = {"teacher_layer_name": None, "student_layer_name": None}
    with pytest.raises(TypeError, match=f"`{side}_layer_name` must be the name"):
        losses.FeatureMatching(**{**names, f"{side}_layer_name": bad})


def test_config_holds_the_layers():
    loss = losses.FeatureMatching("a.b", None, name="hint", reduction="sum")
    copy = losses.FeatureMatching.from_config(loss.get_config())
    assert copy.get_config() == loss.get_config()
    assert (copy.teacher_layer_name, copy.student_layer_name) == ("a.b", None)


def model(hidden):
    return keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(hidden, name="hidden"),
            keras.layers.Dense(3, name="logits"),
        ]
    )


@pytest.mark.parametrize(
    ("teacher_layer", "student_layer", "student_width", "error"),
    [
        ("hidden", "hidden", 8, None),
        ("logits", "logits", 2, None),
        (None, None, 2, None),
        ("hidden", "hidden", 2, "need a projector"),
        ("hidden", "logits", 8, "need a projector"),
        ("hidden", None, 8, "Name both layers"),
        (None, "hidden", 8, "Name both layers"),
        ("absent", "hidden", 8, "No such layer: absent"),
    ],
)
def test_keras_distiller_takes_it_only_where_it_computes_it_right(
    teacher_layer, student_layer, student_width, error
):
    loss = losses.FeatureMatching(teacher_layer, student_layer)
    teacher, student = model(8), model(student_width)
    if error is None:
        keras.distillation.Distiller(teacher, student, loss)
        return
    with pytest.raises(ValueError, match=error):
        keras.distillation.Distiller(teacher, student, loss)


def test_sides_of_unlike_dtypes_meet_in_float32():
    teacher = ops.cast(features((6, 5)), "bfloat16")
    student = features((6, 5), "float32", seed=1)
    exact = ops.convert_to_numpy(ops.cast(teacher, "float64"))
    want = np.mean((exact - student) ** 2, axis=-1)
    assert_allclose(losses.feature_matching(teacher, student), want, rtol=1e-5)
