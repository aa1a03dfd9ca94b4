"""IoU of attention maps against sets of pixels."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from oracles import attention as oracles

from keras_kd import metrics


def maps(count=2, n=40, size=(9, 7)):
    common = np.random.default_rng(0).normal(size=(n, *size))
    return common + np.random.default_rng(1).normal(size=(count, n, *size))


@pytest.mark.parametrize("threshold", [0.0, 0.4, 0.7])
@pytest.mark.parametrize("count", [2, 3, 4])
def test_equals_sets_of_pixels(count, threshold):
    sides = maps(count)
    shared, union = oracles.overlaps(sides, threshold)
    found = metrics.attention_iou(*sides, threshold=threshold)
    assert_allclose(found, np.mean(shared / union), rtol=1e-6)
    pooled = metrics.attention_iou(*sides, threshold=threshold, pooled=True)
    assert_allclose(pooled, shared.sum() / union.sum(), rtol=1e-6)


@pytest.mark.parametrize("pooled", [False, True])
def test_of_a_model_with_itself_is_one_and_of_disjoint_maps_zero(pooled):
    first = maps()[0]
    assert metrics.attention_iou(first, first, pooled=pooled) == 1
    assert metrics.attention_iou(first, 5 * first - 3, pooled=pooled) == 1
    left = np.zeros((3, 4, 4))
    left[:, :, :2] = 1
    assert metrics.attention_iou(left, 1 - left, pooled=pooled) == 0


@pytest.mark.parametrize("pooled", [False, True])
def test_streaming_and_weights_give_the_value_of_the_whole(pooled):
    first, second, third = maps(3)
    weights = np.arange(40) % 4
    shared, union = oracles.overlaps((first, second, third))
    weights_of = weights * (union if pooled else 1)
    want = np.average(shared / union, weights=weights_of)
    metric = metrics.AttentionIoU(pooled=pooled)
    for part in np.split(np.arange(40), [1, 17, 17, 30]):
        metric.update_state(first[part], second[part], weights[part], [third[part]])
    assert_allclose(metric.result(), want, rtol=1e-6)


def test_an_image_without_any_stress_does_not_count():
    first, second = maps()
    want = metrics.attention_iou(first[1:], second[1:])
    first[0], second[0] = 1.0, 2.0
    assert_allclose(metrics.attention_iou(first, second), want, rtol=1e-6)
    second[0, 0, 0] = 9.0  # one of the two stresses something
    shared, union = oracles.overlaps((first, second))
    assert shared[0] == 0
    found = metrics.attention_iou(first, second)
    assert_allclose(found, np.mean(shared / union), rtol=1e-6)


def test_a_map_with_nan_makes_the_value_nan():
    first, second = maps()
    second[3, 2, 1] = np.nan
    assert np.isnan(metrics.attention_iou(first, second))
    first[3] = second[3] = np.nan
    assert np.isnan(metrics.attention_iou(first, second))
    weights = np.arange(40) != 3
    found = metrics.attention_iou(first, second, sample_weight=weights)
    want = metrics.attention_iou(*(np.delete(m, 3, axis=0) for m in (first, second)))
    assert_allclose(found, want, rtol=1e-6)


@pytest.mark.parametrize("shape", [(1, 9, 7), (40, 9, 1), (40, 9), (40,)])
def test_maps_of_other_images_or_sizes_are_refused(shape):
    with pytest.raises(ValueError, match="same images and of one shape"):
        metrics.attention_iou(maps()[0], np.zeros(shape))


def test_a_place_at_the_threshold_is_not_stressed():
    first, second = np.array([[[1.0, 0.5, 0.0]]]), np.array([[[1.0, 0.75, 0.0]]])
    assert metrics.attention_iou(first, second, threshold=0.5) == 0.5
