"""Sample weights, masks and missing labels as one factor."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose, assert_array_equal

from keras_kd._common import examples, weights

VALUES = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], "float32")
MASK = np.array([[True, True], [True, False], [False, False]])


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
    found = examples.broadcast_weight(weight, tf.ones(values))
    assert found.shape == want
    flat = weight.reshape(-1, 1) if weight.size != 6 else weight.reshape(3, 2)
    wide = np.broadcast_to(flat, (3, 2))
    assert_array_equal(found, wide[:, 0] if values == (3,) else wide)


def test_more_weights_than_values_are_refused():
    with pytest.raises(ValueError, match=r"more axes .* shape \(3, 2\) for .* \(3,\)"):
        examples.broadcast_weight(np.ones((3, 2)), tf.ones(3))


def test_integer_and_bool_weights_count_as_numbers():
    for weight in (np.array([0, 1, 2]), np.array([False, True, True])):
        found = examples.broadcast_weight(weight, tf.ones(3))
        assert found.dtype == "float32"
        assert_array_equal(found, weight)


def test_weight_zero_removes_what_is_not_finite_and_its_gradient():
    values = tf.constant([3.0, np.nan, np.inf])
    with tf.GradientTape() as tape:
        tape.watch(values)
        total = tf.reduce_sum(weights.weighted(values, tf.constant([2.0, 0.0, 0.0])))
    assert total == 6
    assert_array_equal(tape.gradient(total, values), [2, 0, 0])


def test_values_without_factors_all_count():
    found = examples.weigh(tf.constant(VALUES), examples.Examples(None, None))
    assert_array_equal(found.weight, np.ones((3, 2)))
    assert found.size == 6
    assert examples.weighted_sum(found) == VALUES.sum()


def test_weights_scale_values_and_what_is_no_data_leaves_the_size():
    resolved = examples.Examples(
        None,
        None,
        sample_weight=np.array([2.0, 3.0, 4.0]),
        mask=tf.constant(MASK),
        labelled=np.array([1.0, 0.0, 1.0]),
    )
    found = examples.weigh(tf.constant(VALUES), resolved, of_labels=True)
    assert_array_equal(found.weight, [[2, 2], [0, 0], [0, 0]])
    assert found.size == 2  # as Keras: weights scale a loss, masks shorten the batch
    assert examples.weighted_sum(found) == 2 * (1 + 2)
    of_teacher = examples.weigh(tf.constant(VALUES), resolved)
    assert of_teacher.size == 3  # distillation has no labels to miss


def test_a_mask_of_positions_does_not_apply_to_values_of_examples():
    resolved = examples.Examples(None, None, mask=tf.constant(MASK))
    found = examples.weigh(tf.constant(VALUES[:, 0]), resolved)
    assert_array_equal(found.weight, [1, 1, 1])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 3e38])
def test_what_does_not_count_reaches_no_gradient(bad):
    x = tf.constant([[1.0, 2.0], [bad, 3.0], [bad, bad]])
    weight = np.array([1.0, 0.0, 0.0])

    @tf.function
    def gradient():
        with tf.GradientTape() as tape:
            tape.watch(x)
            kept = examples.counted_only(x, None, weight)
            total = tf.reduce_sum(tf.constant(weight, "float32") * kept[:, 0] ** 2)
        return kept, tape.gradient(total, x)

    kept, found = gradient()
    assert_array_equal(kept, [[1, 2], [0, 3], [0, 0]])
    assert_array_equal(found, [[2, 0], [0, 0], [0, 0]])


def test_mean_over_positions_leaves_one_value_an_example():
    assert_array_equal(weights.mean_over_positions(VALUES), [1.5, 3.5, 5.5])
    assert_array_equal(weights.mean_over_positions(VALUES[:, 0]), VALUES[:, 0])


def masked(mask):
    """A tensor on which Keras left a mask."""
    rows = np.where(mask[..., None], 1.0, 0.0).astype("float32")
    return keras.layers.Masking()(np.repeat(rows, 4, axis=-1))


def test_masks_are_combined_where_there_are_any():
    other = np.array([[False, True], [True, True], [True, True]])
    assert examples.combined_mask(tf.ones(3), tf.ones(3)) is None
    assert_array_equal(examples.combined_mask(tf.ones(3), masked(MASK)), MASK)
    assert_array_equal(
        examples.combined_mask(masked(other), masked(MASK)), MASK & other
    )


def test_position_weight_is_none_where_all_count_alike():
    logits = tf.ones((3, 2, 4))
    assert weights.position_weight(None, None, logits) is None
    weight = np.array([1.0, 2.0, 3.0])
    assert weights.position_weight(weight, None, logits) is weight
    mask = tf.constant(MASK)
    assert_array_equal(weights.position_weight(None, mask, logits), MASK)
    found = weights.position_weight(weight, mask, logits)
    assert_allclose(found, MASK * weight[:, None])
