"""CIFARResNet, ResNet18 and ResNet50 against published counts and a NumPy network."""

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
from numpy.testing import assert_allclose
from oracles import networks

from keras_kd.models import CIFARResNet, ResNet18, ResNet50

TAPS = ("stem", "stage1", "stage2", "stage3")
slow = pytest.mark.slow


@pytest.fixture(scope="module")
def built():
    """A model for tests that only look, built once."""
    return functools.cache(lambda build, *arguments: build(*arguments))


@pytest.mark.parametrize(
    ("depth", "width", "trainable", "statistics"),
    [  # megvii-research/mdistiller and HobbitLong/RepDistiller under torch 2.13
        (8, 1, 83_892, 672),
        (14, 1, 181_108, 1_120),
        (20, 1, 278_324, 1_568),
        (32, 1, 472_756, 2_464),
        pytest.param(44, 1, 667_188, 3_360, marks=slow),
        pytest.param(56, 1, 861_620, 4_256, marks=slow),
        pytest.param(110, 1, 1_736_564, 8_288, marks=slow),
        (8, 4, 1_233_540, 2_752),
        (32, 4, 7_433_860, 9_920),
    ],
)
def test_counts_are_those_of_the_benchmarks(built, depth, width, trainable, statistics):
    assert counts(built(CIFARResNet, depth, width)) == (trainable, statistics)


@pytest.mark.parametrize(
    ("build", "arguments", "trainable", "statistics"),
    [  # with the ImageNet stem torchvision's, with the CIFAR stem mdistiller's
        (ResNet18, (), 11_689_512, 9_600),
        (ResNet18, (100, "cifar"), 11_220_132, 9_600),
        pytest.param(ResNet50, (), 25_557_032, 53_120, marks=slow),
        pytest.param(
            ResNet50,
            (100, "cifar"),
            23_705_252,
            53_120,
            marks=slow,
        ),
    ],
)
def test_counts_are_the_published_ones(built, build, arguments, trainable, statistics):
    assert counts(built(build, *arguments)) == (trainable, statistics)


@pytest.mark.parametrize(
    ("width", "channels"), [(1, (16, 16, 32, 64)), (4, (32, 64, 128, 256))]
)
def test_stages_have_the_shapes_of_the_benchmarks(built, width, channels):
    model = built(CIFARResNet, 8, width)
    sides = (32, 32, 16, 8)
    want = [(s, s, c) for s, c in zip(sides, channels, strict=True)]
    assert shapes(model, TAPS) == want
    assert shapes(model, ["features"]) == [channels[-1:]]
    assert model.name == ("resnet8" if width == 1 else "resnet8x4")


@pytest.mark.parametrize(
    ("build", "arguments", "sides", "expansion"),
    [
        (ResNet18, (), (56, 56, 28, 14, 7), 1),
        (ResNet18, (100, "cifar"), (32, 32, 16, 8, 4), 1),
        pytest.param(ResNet50, (100, "cifar"), (32, 32, 16, 8, 4), 4, marks=slow),
    ],
)
def test_stages_of_the_larger_nets_have_the_published_shapes(
    built, build, arguments, sides, expansion
):
    model = built(build, *arguments)
    channels = (64, *(width * expansion for width in (64, 128, 256, 512)))
    want = [(s, s, c) for s, c in zip(sides, channels, strict=True)]
    assert shapes(model, (*TAPS, "stage4")) == want
    assert shapes(model, ["features"]) == [(512 * expansion,)]


@pytest.mark.parametrize(
    ("model", "blocks"),
    [
        (lambda: CIFARResNet(14, 1, 5, input_shape=(16, 16, 3)), (2, 2, 2)),
        (lambda: CIFARResNet(8, 4, 5, input_shape=(8, 8, 1)), (1, 1, 1)),
        (lambda: ResNet18(5, input_shape=(32, 32, 3)), (2, 2, 2, 2)),
        pytest.param(
            lambda: ResNet18(5, "cifar", input_shape=(8, 8, 3)),
            (2, 2, 2, 2),
            marks=slow,
        ),
        pytest.param(
            lambda: ResNet50(5, input_shape=(64, 64, 3)), (3, 4, 6, 3), marks=slow
        ),
    ],
    ids=["resnet14", "resnet8x4", "resnet18", "resnet18_cifar", "resnet50"],
)
def test_logits_equal_a_numpy_network(model, blocks):
    model = scatter(model())
    x = images(model)
    want = numpy_logits(x, arrays(model), blocks)
    assert_allclose(model(x), want, rtol=1e-4, atol=1e-4 * np.abs(want).max())


def numpy_logits(x, weights, blocks):
    def convolution(x, name, stride=1):
        return networks.convolution(x, **weights[name], stride=stride)

    def norm(x, name):
        return networks.batch_norm(x, **weights[name])

    def block(x, name, stride):
        bottleneck = f"{name}_conv3" in weights
        count, strided = (3, 2) if bottleneck else (2, 1)
        y = x
        for i in range(1, count + 1):
            y = convolution(y, f"{name}_conv{i}", stride if i == strided else 1)
            y = norm(y, f"{name}_norm{i}")
            y = networks.relu(y) if i < count else y
        if stride != 1 or x.shape[-1] != y.shape[-1]:
            x = convolution(x, f"{name}_shortcut_conv", stride)
            x = norm(x, f"{name}_shortcut_norm")
        return networks.relu(x + y)

    large_stem = len(weights["stem_conv"]["kernel"]) == 7
    x = convolution(x, "stem_conv", stride=2 if large_stem else 1)
    x = networks.relu(norm(x, "stem_norm"))
    x = networks.max_pooling_3x3(x) if large_stem else x
    for stage, count in enumerate(blocks, start=1):
        for i in range(count):
            stride = 2 if stage > 1 and i == 0 else 1
            x = block(x, f"stage{stage}_block{i + 1}", stride)
    logits = weights["logits"]
    return x.mean(axis=(1, 2)) @ logits["kernel"] + logits["bias"]


def test_weights_start_as_in_the_benchmarks(built):
    model = built(CIFARResNet, 20, 1)
    assert_normal(he_samples(model))
    assert_uniform(arrays(model)["logits"]["kernel"], 1 / 8)
    assert_uniform(arrays(model)["logits"]["bias"], 1 / 8)


def test_features_before_activation_can_be_tapped():
    model = CIFARResNet(8, input_shape=(8, 8, 3))
    for name in ("stage1_block1", "stage2_block1", "stage3_block1"):
        assert model.get_layer(name).input is model.get_layer(f"{name}_sum").output


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: CIFARResNet(18), r"must be 6n\+2: 8, 14, 20, .*depth=18"),
        (lambda: CIFARResNet(8, 2), "must be 1 or 4.*width=2.*WideResNet"),
        (lambda: CIFARResNet(8, [4]), "must be 1 or 4"),
        (lambda: ResNet18(stem="cifar10"), "stem='cifar10'.*mean 'cifar'"),
        (lambda: ResNet50(num_classes=0), "`num_classes`.*at least 2"),
    ],
)
def test_bad_arguments_are_answered(call, says):
    with pytest.raises(ValueError, match=says):
        call()
