"""Ops that are applied to a share of the views."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from image_views import draws, examples, noise, uniform_p, unit
from scipy import stats

from keras_kd import data
from keras_kd.data import ops


def test_share_of_views_is_p():
    apply = draws(ops.RandomApply(ops.GaussianBlur(), p=0.3))["apply"]
    assert stats.binomtest(int(apply.sum()), len(apply), 0.3).pvalue > 1e-3


def test_all_ops_are_applied_or_none():
    group = ops.RandomApply(
        [ops.RandomHorizontalFlip(1.0), ops.RandomVerticalFlip(1.0)]
    )
    image, views = noise(5, 6, 3), []
    for i in range(20):
        seed = tf.constant([0, i], tf.int64)
        view, apply = group(image, seed), bool(group.draw(seed)["apply"])
        np.testing.assert_array_equal(view, image[::-1, ::-1] if apply else image)
        views.append(apply)
    assert 0 < sum(views) < 20


def test_two_like_ops_of_a_group_and_the_group_share_no_draw():
    group = ops.RandomApply([ops.RandomRotation(), ops.RandomRotation()], p=0.5)
    drawn = draws(group)
    first, second = (
        np.array([group.ops[i].draw(s)["degrees"] for s in drawn["seeds"][:1500, i]])
        for i in range(2)
    )
    chosen = drawn["apply"][:1500]
    for angles in (first, second, first[chosen], second[chosen]):
        assert uniform_p(angles, -20, 20) > 1e-3
    correlations = np.corrcoef([first, second, chosen]) - np.eye(3)
    assert np.abs(correlations).max() < 4 / np.sqrt(1500)


def test_a_group_in_a_graph_gives_the_pixels_of_the_group_outside():
    group = ops.RandomApply([ops.ColorJitter(), ops.RandomRotation()], p=0.5)
    policy = data.AugmentationPolicy([group])
    images = noise(12, 8, 8, 3)
    outside = policy(images, seed=1, index=np.arange(12), view=0)
    inside = examples(images).apply(data.augment(policy, seed=1)).batch(12)
    np.testing.assert_array_equal(next(iter(inside))["image"], outside)


def test_a_layer_with_weights_may_be_in_a_group():
    layer = keras.layers.Normalization(mean=[0.1, 0.2, 0.3], variance=[4.0, 4.0, 4.0])
    group = ops.RandomApply(ops.LayerOp(layer), p=0.5)
    policy = data.AugmentationPolicy([group])
    image = unit(4, 4, 3)
    views = examples(np.stack([image] * 12)).apply(data.augment(policy)).batch(12)
    views = next(iter(views))["image"].numpy()
    normal = np.clip((image - [0.1, 0.2, 0.3]) / 2, 0, 1)
    applied = [np.allclose(view, normal, atol=1e-6) for view in views]
    assert 0 < sum(applied) < 12
    np.testing.assert_array_equal(views[~np.array(applied)] - image, 0)


def test_an_op_that_changes_the_shape_is_refused_in_a_graph():
    policy = data.AugmentationPolicy([ops.RandomApply(ops.Resize(4))])
    with pytest.raises(ValueError, match="must keep the shape.*8, 8, 3"):
        examples(noise(2, 8, 8, 3)).apply(data.augment(policy))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["flip"], "Received: 'flip' of type str"),
        (keras.layers.RandomFlip(), "Wrap it: `keras_kd.data.ops.LayerOp"),
    ],
)
def test_what_is_no_op_is_refused(given, says):
    with pytest.raises(TypeError, match=says):
        ops.RandomApply(given)
