"""MobileNetV2 against published counts and a float64 NumPy network."""

import functools

import numpy as np
import pytest
from image_networks import (
    arrays,
    assert_normal,
    counts,
    he_samples,
    images,
    scatter,
    shapes,
)
from numpy.testing import assert_allclose, assert_array_equal
from oracles import networks

from keras_kd.models import MobileNetV2

TAPS = ("stem", "stage1", "stage2", "stage3", "stage4", "features")


@pytest.fixture(scope="module")
def built():
    """A model for tests that only look, built once."""
    return functools.cache(MobileNetV2)


def test_count_is_that_of_the_benchmarks(built):
    # mobile_half of megvii-research/mdistiller under torch 2.13
    assert counts(built()) == (812_836, 18_368)


@pytest.mark.slow
def test_count_at_full_width_is_that_of_torchvision_and_one_convolution():
    # torchvision's mobilenet_v2 has 3,504,872 and does not expand in its first block,
    # where the benchmarks have a 1x1 convolution of 32 channels with a norm.
    trainable, _ = counts(MobileNetV2(1000, width=1.0))
    assert trainable == 3_504_872 + 32 * 32 + 2 * 32


def test_stages_have_the_shapes_of_the_benchmarks(built):
    sides, channels = (16, 16, 8, 4, 2), (16, 12, 16, 48, 160)
    want = [(s, s, c) for s, c in zip(sides, channels, strict=True)]
    assert shapes(built(), TAPS) == [*want, (1280,)]


def test_logits_equal_a_numpy_network():
    model = scatter(MobileNetV2(5))
    x = images(model)
    want = numpy_logits(x, arrays(model))
    assert_allclose(model(x), want, rtol=1e-4, atol=1e-4 * np.abs(want).max())


def numpy_logits(x, weights):
    def norm(x, name):
        return networks.batch_norm(x, **weights[name])

    def convolution(x, name, stride=1):
        return networks.convolution(x, **weights[name], stride=stride)

    def block(x, name, stride):
        y = networks.relu(norm(convolution(x, f"{name}_conv1"), f"{name}_norm1"))
        y = networks.depthwise_convolution(
            y, weights[f"{name}_conv2"]["kernel"], stride=stride
        )
        y = networks.relu(norm(y, f"{name}_norm2"))
        y = norm(convolution(y, f"{name}_conv3"), f"{name}_norm3")
        return x + y if stride == 1 and x.shape[-1] == y.shape[-1] else y

    x = networks.relu(norm(convolution(x, "stem_conv", 2), "stem_norm"))
    # Blocks of each stage, and those that halve the image (Sandler et al., table 2,
    # with stride 1 in the first group of 24 channels).
    for stage, blocks, strided in (
        (1, 3, ()),
        (2, 3, (1,)),
        (3, 7, (1,)),
        (4, 4, (1,)),
    ):
        for i in range(1, blocks + 1):
            x = block(x, f"stage{stage}_block{i}", 2 if i in strided else 1)
    x = networks.relu(norm(convolution(x, "final_conv"), "final_norm"))
    logits = weights["logits"]
    return x.mean(axis=(1, 2)) @ logits["kernel"] + logits["bias"]


def test_weights_start_as_in_the_benchmarks(built):
    model = built()
    weights = arrays(model)
    samples = {k: v for k, v in he_samples(model).items() if v.shape[-1] > 1}
    assert_normal(samples)
    depthwise = {
        name: w["kernel"] / np.sqrt(2 / (9 * w["kernel"].shape[2]))
        for name, w in weights.items()
        if name.endswith("_conv2")
    }
    assert len(depthwise) == 17
    assert_normal(depthwise)
    assert_normal({"logits": weights["logits"]["kernel"] / 0.01})
    assert_array_equal(weights["logits"]["bias"], 0.0)


@pytest.mark.parametrize("width", [0, 0.01, float("nan")])
def test_width_that_leaves_no_channels_is_answered(width):
    with pytest.raises(ValueError, match="`width` must be.*>= 0.0625"):
        MobileNetV2(width=width)
