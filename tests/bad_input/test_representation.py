"""One row for each mistake that a user can make with features, maps and views."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from bad_input import Row, check
from keras_kd import metrics
from keras_kd.probes import attention_maps

IMAGES = np.zeros((3, 8, 8, 1), "float32")
DATASET = tf.data.Dataset.from_tensor_slices(IMAGES)


def network(*head):
    """Maps of 3 channels, then `head`."""
    first = [keras.Input((8, 8, 1)), keras.layers.Conv2D(3, 3, name="maps")]
    return keras.Sequential([*first, *head], name="small")


def pooled():
    pool = keras.layers.GlobalAveragePooling2D(name="features")
    return network(pool, keras.layers.Dense(4, name="logits"))


def flat():
    return network(keras.layers.Flatten(), keras.layers.Dense(4))


def with_scores():
    scores = keras.layers.Softmax(name="block1_attention_scores")
    return network(scores, keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(4))


def seen(*shapes):
    metric = metrics.LinearCKA()
    for teacher, student in shapes:
        metric.update_state(np.zeros(teacher), np.zeros(student))


ROWS = [
    Row(
        "features of different examples",
        lambda: metrics.linear_cka(np.zeros((5, 2)), np.zeros((6, 2))),
        ValueError,
        ["same examples", r"\[5, 6\]"],
    ),
    Row(
        "features of different examples, with a kernel",
        lambda: metrics.rbf_cka(np.zeros((5, 2)), np.zeros((6, 2))),
        ValueError,
        ["same examples", "5 and 6"],
    ),
    Row(
        "features without an axis of features",
        lambda: metrics.linear_cka(np.zeros(5), np.zeros(5)),
        ValueError,
        [r"\(n, ..., d\)", r"shape \(5,\)"],
    ),
    Row(
        "what becomes of positions",
        lambda: metrics.LinearCKA(spatial="means"),
        ValueError,
        ["spatial='means'", "mean 'mean'"],
    ),
    Row(
        "no layers",
        lambda: metrics.cka_matrix([], [np.zeros((5, 2))]),
        ValueError,
        ["`teacher_layers`", "at least one layer"],
    ),
    Row(
        "layers of other widths than before",
        lambda: seen(((5, 2), (5, 3)), ((5, 2), (5, 4))),
        ValueError,
        [r"\(2,\), \(3,\)", r"\(2,\), \(4,\)", "a metric for each pair"],
    ),
    Row(
        "layers too wide for sums",
        lambda: seen(((1, 20_000), (1, 20_000))),
        ValueError,
        [r"8\.9 GiB", "spatial='mean'", "`linear_cka`"],
    ),
    Row(
        "bandwidth",
        lambda: metrics.rbf_cka(np.zeros((5, 2)), np.zeros((5, 2)), bandwidth=0),
        ValueError,
        ["`bandwidth`", "> 0"],
    ),
    Row(
        "vectors for the released code's CKA",
        lambda: metrics.released_cka(np.zeros((5, 2)), np.zeros((5, 2))),
        ValueError,
        [r"\(n, height, width, channels\)", r"\(5, 2\)"],
    ),
    Row(
        "threshold that nothing exceeds",
        lambda: metrics.AttentionIoU(threshold=1),
        ValueError,
        ["below 1", "threshold=1"],
    ),
    Row(
        "threshold above 1",
        lambda: metrics.AttentionIoU(threshold=40),
        ValueError,
        ["`threshold`", "<= 1", "40"],
    ),
    Row(
        "maps of different sizes",
        lambda: metrics.attention_iou(np.zeros((2, 4, 4)), np.zeros((2, 8, 8))),
        ValueError,
        [r"\(2, 4, 4\), \(2, 8, 8\)", "attention_maps"],
    ),
    Row(
        "form of affinity",
        lambda: metrics.augmentation_affinity([0], [[1.0, 0]], [[1.0, 0]], form="rate"),
        ValueError,
        ["form='rate'", "mean 'ratio'"],
    ),
    Row(
        "whole history for a loss",
        lambda: metrics.augmentation_diversity([0.9, 0.5], [0.8, 0.3]),
        TypeError,
        ["`augmented_loss`", "last epoch"],
    ),
    Row(
        "views of different class counts",
        lambda: metrics.self_agreement(np.zeros((2, 3)), np.zeros((2, 4))),
        ValueError,
        ["number of classes"],
    ),
    Row(
        "method of attention",
        lambda: attention_maps(pooled(), IMAGES, "gradcam"),
        ValueError,
        ["method='gradcam'", "mean 'grad_cam'"],
    ),
    Row(
        "layer without maps",
        lambda: attention_maps(pooled(), IMAGES, layer="features"),
        ValueError,
        ["'features' gives no maps", r"\(3, 3\)", "before the pooling"],
    ),
    Row(
        "layer without maps, by gradient",
        lambda: attention_maps(pooled(), IMAGES, "grad_cam", layer="logits"),
        ValueError,
        ["'logits' gives no maps", "before the pooling"],
    ),
    Row(
        "layer of attention scores as maps",
        lambda: attention_maps(
            with_scores(), IMAGES, "grad_cam", layer="block1_attention_scores"
        ),
        ValueError,
        ["gives no maps", "attention scores"],
    ),
    Row(
        "unknown layer",
        lambda: attention_maps(pooled(), IMAGES, layer="map"),
        ValueError,
        ["no layer 'map'", "mean 'maps'"],
    ),
    Row(
        "class activation without a global pooling",
        lambda: attention_maps(flat(), IMAGES),
        ValueError,
        ["global average pooling", "'grad_cam'"],
    ),
    Row(
        "class activation without a dense layer",
        lambda: attention_maps(network(keras.layers.GlobalMaxPooling2D()), IMAGES),
        ValueError,
        ["global average pooling", "ends differently", "'grad_cam'"],
    ),
    Row(
        "class activation of a transformer",
        lambda: attention_maps(with_scores(), IMAGES),
        ValueError,
        ["global average pooling", "'rollout'"],
    ),
    Row(
        "Grad-CAM of a transformer",
        lambda: attention_maps(with_scores(), IMAGES, "grad_cam"),
        ValueError,
        ["tokens, not maps", "'rollout'", "`layer=`"],
    ),
    Row(
        "rollout of a convolutional network",
        lambda: attention_maps(pooled(), IMAGES, "rollout"),
        ValueError,
        ["attention_scores", "'small' has none", "'cam'"],
    ),
    Row(
        "rollout to a layer without scores",
        lambda: attention_maps(with_scores(), IMAGES, "rollout", layer="maps"),
        ValueError,
        ["ends at a layer of attention scores", "layer='maps'"],
    ),
    Row(
        "class that the model lacks",
        lambda: attention_maps(pooled(), IMAGES, "grad_cam", classes=4),
        ValueError,
        ["from 0 to 3", "Received: 4"],
    ),
    Row(
        "fewer classes than images",
        lambda: attention_maps(pooled(), IMAGES, "grad_cam", classes=[0, 1]),
        ValueError,
        ["2 `classes`", "3 images"],
    ),
    Row(
        "classes for a map of all classes",
        lambda: attention_maps(pooled(), IMAGES, classes=1),
        ValueError,
        ["no single class", "'predicted_cam'"],
    ),
    Row(
        "one image without its batch",
        lambda: attention_maps(pooled(), IMAGES[0]),
        ValueError,
        [r"\(n, height, width, channels\)", r"\(8, 8, 1\)"],
    ),
    Row(
        "no images",
        lambda: attention_maps(pooled(), IMAGES[:0]),
        ValueError,
        ["empty", "at least one image"],
    ),
    Row(
        "images without end",
        lambda: attention_maps(pooled(), DATASET.batch(2).repeat()),
        ValueError,
        ["repeats without end", r"`dataset\.take\(n\)`"],
    ),
    Row(
        "dicts without images",
        lambda: attention_maps(pooled(), DATASET.map(lambda x: {"x": x}).batch(2)),
        ValueError,
        ["as 'image'", r"\['x'\]", "Map the set"],
    ),
    Row(
        "images in batches of none",
        lambda: attention_maps(pooled(), IMAGES, batch_size=0),
        ValueError,
        ["batch_size", "at least 1"],
    ),
    Row(
        "other images than those of the maps",
        lambda: attention_maps(pooled(), IMAGES).plot(IMAGES[:2]),
        ValueError,
        [r"\(3, 8, 8\)", r"\(2, 8, 8, 1\)"],
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=[row.mistake for row in ROWS])
def test_the_error_says_what_came_the_rule_and_the_fix(row):
    check(row)
