"""VGG and PlainVGG16 against published counts and a float64 NumPy network."""

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

from keras_kd.models import VGG, PlainVGG16

slow = pytest.mark.slow
BLOCKS = ("stem", "stage1", "stage2", "stage3", "stage4")


@pytest.fixture(scope="module")
def built():
    """A model for tests that only look, built once."""
    return functools.cache(lambda build, *arguments: build(*arguments))


@pytest.mark.parametrize(
    ("depth", "trainable", "statistics"),
    [  # vgg*_bn of megvii-research/mdistiller under torch 2.13
        (8, 3_965_028, 2_944),
        pytest.param(11, 9_277_284, 5_504, marks=slow),
        (13, 9_462_180, 5_888),
        pytest.param(16, 14_774_436, 8_448, marks=slow),
        pytest.param(19, 20_086_692, 11_008, marks=slow),
    ],
)
def test_counts_are_those_of_the_benchmarks(built, depth, trainable, statistics):
    assert counts(built(VGG, depth)) == (trainable, statistics)


@pytest.mark.parametrize(
    ("num_classes", "trainable"),
    [(100, 15_291_300), pytest.param(10, 15_245_130, marks=slow)],
)
def test_counts_are_those_of_the_released_code(built, num_classes, trainable):
    # samuelstanton/gnosis under torch 2.13
    assert counts(built(PlainVGG16, num_classes)) == (trainable, 0)


def test_stages_have_the_shapes_of_the_benchmarks(built):
    model = built(VGG, 13)
    sides, channels = (32, 16, 8, 4, 4), (64, 128, 256, 512, 512)
    want = [(s, s, c) for s, c in zip(sides, channels, strict=True)]
    assert shapes(model, BLOCKS) == want
    assert shapes(model, ["features"]) == [(512,)]
    assert shapes(built(PlainVGG16, 100), BLOCKS)[-1] == (2, 2, 512)


@pytest.mark.parametrize(("side", "last"), [(8, 1), (63, 7), (64, 4)])
def test_fourth_block_is_pooled_from_64_pixels_on(side, last):
    model = VGG(8, 10, input_shape=(side, side, 3))
    assert shapes(model, ["stage4"]) == [(last, last, 512)]


@pytest.mark.parametrize(
    ("build", "convolutions", "pools"),
    [
        (lambda: VGG(8, 5, input_shape=(16, 16, 3)), (1, 1, 1, 1, 1), 3),
        pytest.param(
            lambda: VGG(11, 5, input_shape=(8, 8, 1)), (1, 1, 2, 2, 2), 3, marks=slow
        ),
        pytest.param(lambda: PlainVGG16(5), (2, 2, 3, 3, 3), 5, marks=slow),
    ],
    ids=["vgg8", "vgg11", "plain_vgg16"],
)
def test_logits_equal_a_numpy_network(build, convolutions, pools):
    model = scatter(build())
    x = images(model)
    want = numpy_logits(x, arrays(model), convolutions, pools)
    assert_allclose(model(x), want, rtol=1e-4, atol=1e-4 * np.abs(want).max())


def numpy_logits(x, weights, convolutions, pools):
    def dense(x, name):
        return x @ weights[name]["kernel"] + weights[name]["bias"]

    for number, (block, count) in enumerate(zip(BLOCKS, convolutions, strict=True)):
        for i in range(1, count + 1):
            x = networks.convolution(x, **weights[f"{block}_block{i}_conv"])
            if f"{block}_block{i}_norm" in weights:
                x = networks.batch_norm(x, **weights[f"{block}_block{i}_norm"])
            x = networks.relu(x)
        x = networks.tiles(x, 2, np.max) if number < pools else x
    x = x.mean(axis=(1, 2))  # of one pixel where all five blocks are pooled
    for name in ("dense1", "dense2"):
        x = networks.relu(dense(x, name)) if name in weights else x
    return dense(x, "logits")


def test_weights_start_as_in_the_benchmarks(built):
    model = built(VGG, 8)
    assert_normal(he_samples(model))
    weights = arrays(model)
    assert_normal({"logits": weights["logits"]["kernel"] / 0.01})
    assert all(not w["bias"].any() for w in weights.values() if "bias" in w)


def test_weights_start_as_in_the_released_code(built):
    model = built(PlainVGG16, 100)
    weights = arrays(model)
    convolutions = he_samples(model)
    assert_normal(convolutions)
    assert all(not weights[name]["bias"].any() for name in convolutions)
    for name in ("dense1", "dense2", "logits"):
        assert_uniform(weights[name]["kernel"], 512**-0.5)
        assert_uniform(weights[name]["bias"], 512**-0.5)


def test_plain_vgg_drops_half_of_each_dense_input_in_training_only(built):
    model = built(PlainVGG16, 100)
    x = images(model)
    assert [model.get_layer(f"dropout{i}").rate for i in (1, 2)] == [0.5, 0.5]
    assert_array_equal(model(x), model(x))
    assert np.any(np.array(model(x, training=True)) != model(x))


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: VGG(12), r"`depth` must be one of \[8, 11, 13, 16, 19\].*depth=12"),
        (lambda: VGG([8]), "`depth` must be one of"),
        (lambda: VGG(8, input_shape=(4, 4, 3)), r"`input_shape\[0\]`.*at least 8"),
        (lambda: PlainVGG16(input_shape=(32, 16, 3)), r"`input_shape\[1\]`.*least 32"),
    ],
)
def test_bad_arguments_are_answered(call, says):
    with pytest.raises(ValueError, match=says):
        call()
