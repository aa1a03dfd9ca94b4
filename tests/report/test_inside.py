"""What a report says of layers and attention: of which networks, and how."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_kd
from keras_kd.report import compare

IMAGES = np.random.default_rng(0).random((12, 8, 6, 1), "float32")
FAST = {"num_resamples": 20}


def conv_net(name, seed):
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.Input((8, 6, 1)),
            layers.Conv2D(4, 3, activation="relu", name="maps"),
            layers.GlobalAveragePooling2D(name="pool"),
            layers.Dense(3, name="logits"),
        ],
        name=name,
    )


def transformer(name, seed, tokens=13, width=6):
    """One block with attention scores by name, as keras_kd.models.ViT has them."""
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((8, 6, 1))
    x = layers.Conv2D(width, 2, strides=2)(inputs)
    x = layers.Reshape((tokens - 1, width))(x)
    x = layers.Concatenate(axis=1)([ops.ones_like(x[:, :1]), x])
    q = layers.Dense(width)(x)[:, None]  # one head
    scores = ops.matmul(q, ops.swapaxes(layers.Dense(width)(x)[:, None], -1, -2))
    scores = layers.Softmax(name="block1_attention_scores")(scores)
    x = x + ops.matmul(scores, q)[:, 0]
    return keras.Model(inputs, layers.Dense(3, name="logits")(x[:, 0]), name=name)


def reported(folder, teacher, student, images=IMAGES):
    report = compare(teacher, student, images, out=folder, **FAST)
    return report.numbers["data"], report.page.read_text(encoding="utf-8")


def test_of_an_ensemble_the_first_member_is_seen_and_the_page_says_so(tmp_path):
    first, other, student = (conv_net(n, i) for i, n in enumerate(("one", "b", "s")))
    numbers, page = reported(tmp_path, [first, other], student)
    alone, page_alone = reported(tmp_path, first, student)
    assert numbers["cka"] == alone["cka"]
    assert numbers["attention_iou"] == alone["attention_iou"]
    said = "Of the teacher, an ensemble, this is the first member, one."
    assert page.count(said) == 3  # layers: text alternative and caption; maps
    assert said not in page_alone


def test_transformers_are_compared_by_the_rollout_of_their_attention(tmp_path):
    models = [transformer(name, i) for i, name in enumerate("ts")]
    numbers, page = reported(tmp_path, *models)
    maps = [keras_kd.probes.attention_maps(m, IMAGES, "rollout").maps for m in models]
    want = float(keras_kd.metrics.attention_iou(*maps))
    assert numbers["attention_iou"]["student"] == pytest.approx(want)
    assert "by rollout" in page
    assert "Class activation maps" not in page


def test_maps_made_in_unlike_ways_are_left_out(tmp_path):
    numbers, page = reported(tmp_path, transformer("t", 0), conv_net("s", 1))
    assert "attention_iou" not in numbers
    assert "the teacher has attention scores, the student has feature maps" in page
    assert np.isfinite(numbers["cka"]["student"]["cka"]).any()


def test_tokens_have_no_attention_maps_and_the_page_says_so(tmp_path):
    def dense(seed):
        keras.utils.set_random_seed(seed)
        return keras.Sequential([keras.Input((5,)), layers.Dense(3)])

    x = np.random.default_rng(0).random((12, 5), "float32")
    numbers, page = reported(tmp_path, dense(0), dense(1), x)
    assert "attention_iou" not in numbers
    assert "Attention maps: the inputs are not images." in page
