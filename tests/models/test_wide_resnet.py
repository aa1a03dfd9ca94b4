"""WideResNet against counts of the benchmarks and a float64 NumPy network."""

import functools

import numpy as np
import pytest
from image_networks import (
    arrays,
    assert_normal,
    assert_uniform,
    counts,
    he_samples,
    images,
    scatter,
    shapes,
)
from numpy.testing import assert_allclose, assert_array_equal
from oracles import networks

from keras_kd.models import WideResNet


@pytest.fixture(scope="module")
def built():
    """A model for tests that only look, built once."""
    return functools.cache(WideResNet)


@pytest.mark.parametrize(
    ("depth", "width", "trainable", "statistics"),
    [  # megvii-research/mdistiller and HobbitLong/RepDistiller under torch 2.13
        (16, 1, 180_916, 928),
        (16, 2, 703_284, 1_824),
        pytest.param(40, 1, 569_780, 2_720, marks=pytest.mark.slow),
        (40, 2, 2_255_156, 5_408),
    ],
)
def test_counts_are_those_of_the_benchmarks(built, depth, width, trainable, statistics):
    assert counts(built(depth, width)) == (trainable, statistics)


def test_stages_have_the_shapes_of_the_benchmarks(built):
    model = built(16, 2)
    names = ("stem", "stage1", "stage2", "stage3", "features")
    want = [(32, 32, 16), (32, 32, 32), (16, 16, 64), (8, 8, 128), (128,)]
    assert shapes(model, names) == want
    assert model.name == "wrn_16_2"


@pytest.mark.parametrize("width", [1, 2])
def test_logits_equal_a_numpy_network(width):
    model = scatter(WideResNet(16, width, 5, input_shape=(16, 16, 3)))
    x = images(model)
    want = numpy_logits(x, arrays(model), blocks=2)
    assert_allclose(model(x), want, rtol=1e-4, atol=1e-4 * np.abs(want).max())


def numpy_logits(x, weights, blocks):
    def norm_relu(x, name):
        return networks.relu(networks.batch_norm(x, **weights[name]))

    def convolution(x, name, stride=1):
        return networks.convolution(x, **weights[name], stride=stride)

    def block(x, name, stride):
        activated = norm_relu(x, f"{name}_norm1")
        y = convolution(activated, f"{name}_conv1", stride)
        y = convolution(norm_relu(y, f"{name}_norm2"), f"{name}_conv2")
        if x.shape[-1] != y.shape[-1]:  # where it is projected, it is activated first
            x = convolution(activated, f"{name}_shortcut", stride)
        return x + y

    x = convolution(x, "stem")
    for stage in (1, 2, 3):
        for i in range(blocks):
            stride = 2 if stage > 1 and i == 0 else 1
            x = block(x, f"stage{stage}_block{i + 1}", stride)
    x = norm_relu(x, "final_norm").mean(axis=(1, 2))
    return x @ weights["logits"]["kernel"] + weights["logits"]["bias"]


def test_weights_start_as_in_the_benchmarks(built):
    model = built(16, 2)
    assert_normal(he_samples(model))
    logits = arrays(model)["logits"]
    assert_uniform(logits["kernel"], 128**-0.5)
    assert_array_equal(logits["bias"], 0.0)


@pytest.mark.parametrize(
    ("depth", "width", "error", "says"),
    [
        (18, 2, ValueError, r"must be 6n\+4: 10, 16, 22, .*depth=18"),
        (4, 2, ValueError, r"must be 6n\+4"),
        (16, 0, ValueError, "`width`.*at least 1"),
        (16, 1.5, TypeError, "`width` must be a whole number"),
        ("16", 2, TypeError, "`depth` must be a whole number"),
    ],
)
def test_bad_arguments_are_answered(depth, width, error, says):
    with pytest.raises(error, match=says):
        WideResNet(depth, width)
