"""What both sides say of the same examples, resolved once: shapes, labels, masks."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose, assert_array_equal

from keras_kd import UNLABELED
from keras_kd._common.examples import (
    Examples,
    broadcast_weight,
    combined_mask,
    counted_only,
    examples_of,
    weigh,
    weighted,
    weighted_mean,
    weighted_sum,
)

VALUES = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], "float32")
MASK = np.array([[True, True], [True, False], [False, False]])


def sides(*shape):
    return np.random.default_rng(0).normal(size=(2, *shape))


@pytest.mark.parametrize(
    ("dtypes", "want"),
    [
        (("float16", "bfloat16"), "float32"),
        (("float32", "float64"), "float64"),
        (("int32", "float32"), "float32"),
    ],
)
def test_sides_have_one_dtype_of_float32_at_least(dtypes, want):
    given = (keras.ops.cast(s, d) for s, d in zip(sides(4, 3), dtypes, strict=True))
    examples = examples_of(*given)
    assert [s.dtype.name for s in (examples.teacher, examples.student)] == [want] * 2


@pytest.mark.parametrize(
    "form",
    [
        lambda y: y,
        lambda y: y.tolist(),
        lambda y: y[..., None],
        lambda y: np.eye(3)[y] * (y != UNLABELED)[..., None],
    ],
    ids=["indices", "list", "column", "one-hot"],
)
@pytest.mark.parametrize("shape", [(6,), (2, 3)], ids=str)
def test_labels_become_classes_and_whether_there_is_one(form, shape):
    labels = np.array([0, 2, UNLABELED, 1, UNLABELED, 2]).reshape(shape)
    examples = examples_of(*sides(*shape, 3), form(labels))
    assert_array_equal(examples.classes, np.maximum(labels, 0))
    assert_array_equal(examples.labelled, labels >= 0)


def test_masks_of_both_sides_count_unless_one_is_given():
    def masked(logits, mask):
        tensor = keras.ops.convert_to_tensor(logits)
        tensor._keras_mask = keras.ops.convert_to_tensor(mask)
        return tensor

    teacher, student = sides(2, 3, 4)
    first = np.array([[1, 1, 0], [1, 1, 1]], bool)
    second = np.array([[1, 1, 1], [0, 1, 1]], bool)
    both = masked(teacher, first), masked(student, second)
    assert_array_equal(examples_of(*both).mask, first & second)
    assert_array_equal(examples_of(*both, mask=first).mask, first)
    assert examples_of(teacher, student).mask is None
    pooled = masked(student[:, 0], first)  # the outputs have no positions any more
    assert examples_of(teacher[:, 0], pooled).mask is None


@pytest.mark.parametrize(
    ("shapes", "says"),
    [
        ({"teacher": (1, 3)}, r"teacher \(1, 3\), student \(4, 3\)"),
        ({"teacher": (4, 2)}, "same rank and number of classes"),
        ({"teacher": (4, 5, 3)}, "same rank and number of classes"),
        ({"labels": (1,)}, r"\(1, 3\) of labels, \(4, 3\) of logits"),
        ({"labels": (5,)}, r"\(5, 3\) of labels"),
        ({"labels": (4, 2)}, r"\(4, 2\) of labels"),
        ({"sample_weight": (1,)}, r"\(1,\) of sample_weight, \(4,\) of logits"),
        ({"sample_weight": (3, 1)}, r"\(3,\) of sample_weight"),
    ],
    ids=str,
)
def test_shapes_are_compared_before_anything_can_broadcast(shapes, says):
    arrays = {name: np.ones(shape, int) for name, shape in shapes.items()}
    arrays = {"teacher": np.zeros((4, 3)), "student": np.zeros((4, 3))} | arrays
    with pytest.raises(ValueError, match=says):
        examples_of(**arrays)


def test_weights_may_be_of_examples_or_positions_or_one_for_all():
    teacher, student = sides(4, 2, 3)
    for weight in (np.ones(4), np.ones((4, 1)), np.ones((4, 2)), 1.0):
        examples = examples_of(teacher, student, sample_weight=weight)
        assert_array_equal(weigh(examples.student[..., 0], examples).weight, 1.0)


def test_the_mean_is_of_what_weighs():
    teacher, student = sides(6, 3)
    labels = np.array([0, 1, 2, UNLABELED, UNLABELED, 2])
    weight = np.array([1.0, 0.0, 2.0, 3.0, 0.0, 4.0])
    values = np.array([1.0, np.nan, 3.0, 4.0, np.inf, 6.0])
    examples = examples_of(teacher, student, labels, weight)
    found = weigh(keras.ops.convert_to_tensor(values), examples)
    assert_allclose(weighted_mean(found), (1 + 6 + 12 + 24) / 10)
    assert found.size == 6
    found = weigh(keras.ops.convert_to_tensor(values), examples, of_labels=True)
    assert_allclose(weighted_mean(found), (1 + 6 + 24) / 7)
    assert found.size == 4
    none = examples_of(teacher, student, sample_weight=np.zeros(6))
    assert np.isnan(weighted_mean(weigh(keras.ops.ones(6), none)))


@pytest.mark.parametrize(
    ("shape", "values", "want"),
    [
        ((3,), (3,), (3,)),
        ((3, 1), (3,), (3,)),
        ((3, 1, 1), (3,), (3,)),
        ((3,), (3, 2), (3, 2)),
        ((3, 1), (3, 2), (3, 2)),
        ((3, 2), (3, 2), (3, 2)),
        ((3, 2, 1), (3, 2), (3, 2)),
        ((), (3, 2), (3, 2)),
    ],
    ids=str,
)
def test_weights_get_the_shape_of_the_values(shape, values, want):
    weight = np.arange(1.0, 1 + np.prod(shape, dtype=int)).reshape(shape)
    found = broadcast_weight(weight, tf.ones(values))
    assert found.shape == want
    flat = weight.reshape(-1, 1) if weight.size != 6 else weight.reshape(3, 2)
    wide = np.broadcast_to(flat, (3, 2))
    assert_array_equal(found, wide[:, 0] if values == (3,) else wide)


def test_more_weights_than_values_are_refused():
    with pytest.raises(ValueError, match=r"more axes .* shape \(3, 2\) for .* \(3,\)"):
        broadcast_weight(np.ones((3, 2)), tf.ones(3))


def test_integer_and_bool_weights_count_as_numbers():
    for weight in (np.array([0, 1, 2]), np.array([False, True, True])):
        found = broadcast_weight(weight, tf.ones(3))
        assert found.dtype == "float32"
        assert_array_equal(found, weight)


def test_weight_zero_removes_what_is_not_finite_and_its_gradient():
    values = tf.constant([3.0, np.nan, np.inf])
    with tf.GradientTape() as tape:
        tape.watch(values)
        total = tf.reduce_sum(weighted(values, tf.constant([2.0, 0.0, 0.0])))
    assert total == 6
    assert_array_equal(tape.gradient(total, values), [2, 0, 0])


def test_values_without_factors_all_count():
    found = weigh(tf.constant(VALUES), Examples(None, None))
    assert_array_equal(found.weight, np.ones((3, 2)))
    assert found.size == 6
    assert weighted_sum(found) == VALUES.sum()


def test_weights_scale_values_and_what_is_no_data_leaves_the_size():
    resolved = Examples(
        None,
        None,
        sample_weight=np.array([2.0, 3.0, 4.0]),
        mask=tf.constant(MASK),
        labelled=np.array([1.0, 0.0, 1.0]),
    )
    found = weigh(tf.constant(VALUES), resolved, of_labels=True)
    assert_array_equal(found.weight, [[2, 2], [0, 0], [0, 0]])
    assert found.size == 2  # as Keras: weights scale a loss, masks shorten the batch
    assert weighted_sum(found) == 2 * (1 + 2)
    of_teacher = weigh(tf.constant(VALUES), resolved)
    assert of_teacher.size == 3  # distillation has no labels to miss


def test_a_mask_of_positions_does_not_apply_to_values_of_examples():
    resolved = Examples(None, None, mask=tf.constant(MASK))
    found = weigh(tf.constant(VALUES[:, 0]), resolved)
    assert_array_equal(found.weight, [1, 1, 1])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 3e38])
def test_what_does_not_count_reaches_no_gradient(bad):
    x = tf.constant([[1.0, 2.0], [bad, 3.0], [bad, bad]])
    weight = np.array([1.0, 0.0, 0.0])

    @tf.function
    def gradient():
        with tf.GradientTape() as tape:
            tape.watch(x)
            kept = counted_only(x, None, weight)
            total = tf.reduce_sum(tf.constant(weight, "float32") * kept[:, 0] ** 2)
        return kept, tape.gradient(total, x)

    kept, found = gradient()
    assert_array_equal(kept, [[1, 2], [0, 3], [0, 0]])
    assert_array_equal(found, [[2, 0], [0, 0], [0, 0]])


def with_mask(mask):
    """A tensor on which Keras left a mask."""
    rows = np.where(mask[..., None], 1.0, 0.0).astype("float32")
    return keras.layers.Masking()(np.repeat(rows, 4, axis=-1))


def test_masks_are_combined_where_there_are_any():
    other = np.array([[False, True], [True, True], [True, True]])
    assert combined_mask(tf.ones(3), tf.ones(3)) is None
    assert_array_equal(combined_mask(tf.ones(3), with_mask(MASK)), MASK)
    assert_array_equal(combined_mask(with_mask(other), with_mask(MASK)), MASK & other)
