"""PreActResNet against counts of the released code and a float64 NumPy network."""

import functools

import keras
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

from keras_kd.models import PreActResNet

TAPS = ("stem", "stage1", "stage2", "stage3", "features")


@pytest.fixture(scope="module")
def built():
    """A model for tests that only look, built once."""
    return functools.cache(PreActResNet)


@pytest.mark.parametrize(
    ("depth", "num_classes", "normalization", "trainable", "statistics"),
    [  # The classes of samuelstanton/gnosis, instantiated under torch 2.13
        (20, 100, "batch", 278_132, 1_376),
        (20, 10, "batch", 272_282, 1_376),
        (20, 100, "layer", 278_132, 0),
        (20, 100, None, 278_132 - 1_376, 0),  # a gain and a bias for each statistic
        (56, 100, "batch", 613_556, 8_096),
        pytest.param(56, 10, "batch", 590_426, 8_096, marks=pytest.mark.slow),
        pytest.param(110, 100, "batch", 1_169_972, 16_160, marks=pytest.mark.slow),
        pytest.param(110, 10, "batch", 1_146_842, 16_160, marks=pytest.mark.slow),
    ],
)
def test_counts_are_those_of_the_released_code(
    built, depth, num_classes, normalization, trainable, statistics
):
    model = built(depth, num_classes, normalization)
    assert counts(model) == (trainable, statistics)


def test_bottlenecks_are_four_times_as_wide(built):
    basic, bottleneck = built(20, 100, "batch"), built(56, 100, "batch")
    assert shapes(basic, TAPS) == [
        (32, 32, 16),
        (32, 32, 16),
        (16, 16, 32),
        (8, 8, 64),
        (64,),
    ]
    assert shapes(bottleneck, TAPS) == [
        (32, 32, 16),
        (32, 32, 64),
        (16, 16, 128),
        (8, 8, 256),
        (256,),
    ]
    for model, blocks in ((basic, 3), (bottleneck, 6)):
        last = model.get_layer(f"stage3_block{blocks}")
        assert model.get_layer("stage3").input is last.output
    assert (basic.name, bottleneck.name) == ("preact_resnet20", "preact_resnet56")


@pytest.mark.parametrize(
    ("depth", "normalization"),
    [(14, "batch"), (14, "layer"), (14, None), (47, "batch")],
)
def test_logits_equal_a_numpy_network(depth, normalization):
    model = PreActResNet(depth, 5, normalization, input_shape=(16, 16, 3))
    x = images(scatter(model))
    want = numpy_logits(x, arrays(model), depth, tile=4)
    assert_allclose(model(x), want, rtol=1e-4, atol=1e-4 * np.abs(want).max())


def numpy_logits(x, weights, depth, tile):
    bottleneck = depth >= 44
    expansion, blocks = (4, (depth - 2) // 9) if bottleneck else (1, (depth - 2) // 6)

    def norm_relu(x, name):
        norm = weights.get(name, {})
        if len(norm) == 4:
            x = networks.batch_norm(x, **norm)
        elif len(norm) == 2:
            x = networks.one_group_norm(x, **norm)
        return networks.relu(x)

    def convolution(x, name, stride=1):
        return networks.convolution(x, **weights[name], stride=stride)

    def block(x, name, stride, filters):
        shortcut = x  # the raw input, also where it is projected
        if stride != 1 or x.shape[-1] != filters:
            shortcut = convolution(x, f"{name}_shortcut", stride)
        count, strided = (3, 2) if bottleneck else (2, 1)
        for i in range(1, count + 1):
            x = norm_relu(x, f"{name}_norm{i}")
            x = convolution(x, f"{name}_conv{i}", stride if i == strided else 1)
        return x + shortcut

    x = convolution(x, "stem")
    for stage in (1, 2, 3):
        for i in range(blocks):
            stride = 2 if stage > 1 and i == 0 else 1
            filters = 16 * 2 ** (stage - 1) * expansion
            x = block(x, f"stage{stage}_block{i + 1}", stride, filters)
    x = networks.tiles(norm_relu(x, "final_norm"), tile, np.mean).reshape(len(x), -1)
    return x @ weights["logits"]["kernel"] + weights["logits"]["bias"]


def test_stride_two_sees_the_first_row_and_column():
    """With Keras's "same", which pads the other sides, [0, 0] would be kernel[0, 0]."""
    model = PreActResNet(8, 10, None, input_shape=(8, 8, 3))
    strided = keras.Model(
        model.get_layer("stage1").output,
        model.get_layer("stage2_block1_conv1").output,
    )
    impulse = np.zeros((1, 8, 8, 16), "float32")
    impulse[0, 0, 0] = 1.0
    kernel = arrays(model)["stage2_block1_conv1"]["kernel"].sum(axis=2)
    response = np.array(strided(impulse))
    assert_allclose(response[0, 0, 0], kernel[1, 1], atol=1e-6)  # the centre of 3x3
    assert not response[0, 1:].any()
    assert not response[0, :, 1:].any()


def test_weights_start_as_in_the_paper(built):
    model = built(20, 100, "batch")
    assert_normal(he_samples(model))
    weights = arrays(model)
    assert_uniform(weights["logits"]["kernel"], 1 / 8)  # 1 / sqrt(64)
    assert_uniform(weights["logits"]["bias"], 1 / 8)
    for name, values in weights.items():
        if "norm" in name:
            assert_array_equal(values["gamma"], 1.0)
            assert_array_equal(values["beta"], 0.0)
    assert all("bias" not in weights[name] for name in he_samples(model))


def test_batch_norms_have_the_momentum_and_epsilon_of_pytorch():
    norms = [la for la in PreActResNet(8).layers if "norm" in la.name]
    assert {(norm.momentum, norm.epsilon) for norm in norms} == {(0.9, 1e-5)}


@pytest.mark.parametrize(("side", "tiles"), [(8, 1), (28, 1), (32, 1), (64, 4)])
def test_features_grow_with_the_tiles_of_large_images(side, tiles):
    model = PreActResNet(8, 10, input_shape=(side, side, 1))
    assert shapes(model, ["features", "logits"]) == [(64 * tiles,), (10,)]


def test_one_group_teacher_and_student_with_equal_weights_agree_in_training_too():
    """Stanton et al., section 6.2: with batch norms they would not."""
    gaps = {}
    for normalization in ("layer", "batch"):
        teacher = scatter(PreActResNet(8, 10, normalization, input_shape=(8, 8, 3)))
        student = PreActResNet(8, 10, normalization, input_shape=(8, 8, 3))
        student.set_weights(teacher.get_weights())
        x = images(teacher, batch=4)
        want = np.array(teacher(x, training=False))
        assert_array_equal(student(x, training=False), want)
        gaps[normalization] = np.abs(student(x, training=True) - want).max()
    assert gaps["layer"] == 0
    assert gaps["batch"] > 0.1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"depth": 21}, r"must be 6n\+2: 8, 14, 20, .* 9n\+2: 47.*depth=21"),
        ({"depth": 2}, r"must be 6n\+2"),
        ({"depth": 50}, r"must be 9n\+2: 47, 56, 65, .*depth=50"),
        ({"depth": 44}, r"must be 9n\+2"),  # n of 6n+2, but bottlenecks start here
        ({"normalization": "group"}, "one of .*'batch', 'layer', None.*'group'"),
        ({"num_classes": 1}, "`num_classes`.*at least 2"),
        ({"input_shape": (48, 48, 3)}, r"multiples of 32.*\(48, 48, 3\).*[Rr]esize"),
        ({"input_shape": (32, 32)}, r"\(height, width, channels\).*\(32, 32\)"),
    ],
)
def test_bad_arguments_are_answered(arguments, says):
    with pytest.raises(ValueError, match=says):
        PreActResNet(**{"depth": 8, **arguments})
