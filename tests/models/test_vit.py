"""ViT against DeiT's counts, a float64 NumPy network, and its attention scores."""

import functools

import keras
import numpy as np
import pytest
from image_networks import (
    arrays,
    assert_normal,
    assert_uniform,
    counts,
    images,
    scatter,
    shapes,
)
from numpy.testing import assert_allclose
from oracles import networks

from keras_kd.models import ViT

slow = pytest.mark.slow


@pytest.fixture(scope="module")
def built():
    """A model for tests that only look, built once."""
    return functools.cache(ViT)


@pytest.mark.parametrize(
    ("size", "patch_size", "trainable"),
    [  # facebookresearch/deit (tiny, small, base); torchvision's vit_b_32
        ("tiny", 16, 5_717_416),
        pytest.param("small", 16, 22_050_664, marks=slow),
        pytest.param("base", 16, 86_567_656, marks=slow),
        pytest.param("base", 32, 88_224_232, marks=slow),
    ],
)
def test_counts_are_the_published_ones(built, size, patch_size, trainable):
    assert counts(built(size, patch_size)) == (trainable, 0)


@pytest.fixture(scope="module")
def model():
    return scatter(ViT("tiny", 8, 5, input_shape=(16, 16, 3)))


def test_layers_have_the_shapes_of_the_paper(model):
    names = ("stem", "stage1_block1", "stage1", "features", "logits")
    assert shapes(model, names) == [(5, 192)] * 3 + [(192,), (5,)]
    assert shapes(model, ["stage1_block12_attention_scores"]) == [(3, 5, 5)]


def test_logits_equal_a_numpy_network(model):
    x = images(model)
    want = numpy_logits(x, arrays(model), heads=3)
    assert_allclose(model(x), want, rtol=1e-4, atol=1e-5)


def numpy_logits(x, weights, heads):
    def dense(x, name):
        return x @ weights[name]["kernel"] + weights[name]["bias"]

    def norm(x, name):
        return networks.layer_norm(x, **weights[name])

    def attention(x, name):
        query, key, value = np.split(dense(x, f"{name}_qkv"), 3, axis=-1)
        mixed = []
        by_head = (np.split(a, heads, axis=-1) for a in (query, key, value))
        for q, k, v in zip(*by_head, strict=True):
            scores = networks.softmax(q @ k.transpose(0, 2, 1) / np.sqrt(q.shape[-1]))
            mixed.append(scores @ v)
        return dense(np.concatenate(mixed, axis=-1), name)

    kernel, bias = weights["patch_embedding"].values()
    side = len(kernel)
    patches = [
        np.tensordot(x[:, i : i + side, j : j + side], kernel, 3) + bias
        for i in range(0, x.shape[1], side)
        for j in range(0, x.shape[2], side)
    ]
    token = np.tile(weights["class_token"]["kernel"][0], (len(x), 1, 1))
    x = np.concatenate([token, np.stack(patches, axis=1)], axis=1)
    x = x + weights["position_embedding"]["kernel"]
    for i in range(1, 13):
        name = f"stage1_block{i}"
        x = x + attention(norm(x, f"{name}_norm1"), f"{name}_attention")
        hidden = networks.gelu(dense(norm(x, f"{name}_norm2"), f"{name}_mlp1"))
        x = x + dense(hidden, f"{name}_mlp2")
    return dense(norm(x, "final_norm")[:, 0], "logits")


def test_attention_scores_are_a_distribution_over_keys(model):
    names = [f"stage1_block{i}_attention_scores" for i in (1, 12)]
    outputs = [model.get_layer(name).output for name in names]
    for scores in keras.Model(model.input, outputs)(images(model)):
        scores = np.array(scores)
        assert scores.shape == (2, 3, 5, 5)
        assert_allclose(scores.sum(axis=-1), 1.0, rtol=1e-5)
        assert np.ptp(scores) > 0


def test_class_token_and_positions_are_learnt(model):
    weights = arrays(model)
    assert weights["class_token"]["kernel"].shape == (1, 1, 192)
    assert weights["position_embedding"]["kernel"].shape == (1, 5, 192)


def test_weights_start_as_in_deit(built):
    weights = arrays(built("tiny", 16))
    stem = weights.pop("patch_embedding")
    kernels = {name: w["kernel"] for name, w in weights.items() if "kernel" in w}
    assert len(kernels) == 12 * 4 + 3  # and class token, positions, logits
    assert_normal({name: kernel / 0.02 for name, kernel in kernels.items()})
    assert all(not w["bias"].any() for w in weights.values() if "bias" in w)
    for values in stem.values():
        assert_uniform(values, (16 * 16 * 3) ** -0.5)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"size": "smal"}, "size='smal'.*mean 'small'"),
        ({"patch_size": 5}, r"must divide.*patch_size=5.*\(32, 32, 3\).*4"),
        ({"patch_size": 0}, "`patch_size`.*at least 1"),
    ],
)
def test_bad_arguments_are_answered(arguments, says):
    with pytest.raises(ValueError, match=says):
        ViT(**{"size": "tiny", "input_shape": (32, 32, 3), **arguments})
