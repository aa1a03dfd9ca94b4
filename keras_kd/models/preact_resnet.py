"""Pre-activation ResNet of Stanton et al. (2021), for CIFAR-size images."""

import keras
from keras import layers

from keras_kd._common.checks import check_choice, check_whole_number
from keras_kd.models._blocks import (
    CHANNELS_LAST,
    batch_norm,
    check_depth,
    convolution,
    dense,
    image_input,
    residual_stages,
)

WIDTHS = (16, 32, 64)
NORMALIZATIONS = ("batch", "layer", None)


def PreActResNet(
    depth,
    num_classes=100,
    normalization="batch",
    *,
    input_shape=(32, 32, 3),
    name=None,
):
    """Pre-activation ResNet: the teachers and students of Stanton et al.

    Below depth 44 the blocks are basic (two 3x3 convolutions), from 44 on they are
    bottlenecks of four times the width. A shortcut that changes shape is a bare 1x1
    convolution of the block's raw input. Names of layers: see `keras_kd.models`;
    stages are raw sums, before normalization and ReLU, and can be negative.

    Args:
        depth: 6n+2 below 44 (8, 14, 20, 26, 32, 38), 9n+2 from 44 on (47, 56, 65,
            ..., 110). The paper has 20, 56 and 110.
        num_classes: Number of logits. Defaults to 100.
        normalization: `"batch"` (default); `"layer"`, the paper's name for group
            normalization with one group, which is the same in training and inference
            and has no statistics to track; or None.
        input_shape: `(height, width, channels)`, channels last. The last map is pooled
            in tiles of 8x8, so sides above 32 must be multiples of 32, and "features"
            then grows by (side / 32)^2, as in the paper's code; smaller images are
            pooled whole.
        name: Name of the model. Defaults to `"preact_resnet"` and the depth.

    Returns:
        A functional `keras.Model` from `(batch, *input_shape)` to logits
        `(batch, num_classes)`.

    Example:

    >>> model = keras_kd.models.PreActResNet(8, num_classes=10)
    >>> model.get_layer("stage3").output.shape
    (None, 8, 8, 64)

    Reference: Stanton et al. 2021, appendix A.2 and released code; He et al. 2016b.
    """
    images = image_input(input_shape, num_classes)
    _check_sides(input_shape)
    block, blocks = _blocks_of(depth)
    norm_relu = _norm_relu_of(normalization)

    def build_block(x, filters, strides, name):
        return block(x, filters, strides, name, norm_relu)

    x = convolution(images, WIDTHS[0], 3, "stem")
    x = residual_stages(x, build_block, WIDTHS, [blocks] * 3)
    x = _pool_tiles(norm_relu(x, "final"))
    logits = dense(x, num_classes, "logits")
    return keras.Model(images, logits, name=name or f"preact_resnet{depth}")


def _blocks_of(depth):
    check_whole_number("depth", depth, at_least=1)
    if depth < 44:
        examples = "8, 14, 20, 26, 32 or 38, and from 44 on 9n+2: 47, 56, 65, ..., 110"
        return _basic_block, check_depth(depth, 6, 2, examples)
    examples = "47, 56, 65, ..., 110, and below 44 6n+2: 8, 14, 20, 26, 32 or 38"
    return _bottleneck_block, check_depth(depth, 9, 2, examples)


def _norm_relu_of(normalization):
    check_choice("normalization", normalization, NORMALIZATIONS)

    def norm_relu(x, name, number=""):
        if normalization == "batch":
            x = batch_norm(x, f"{name}_norm{number}")
        elif normalization == "layer":
            x = layers.GroupNormalization(
                groups=1, epsilon=1e-5, name=f"{name}_norm{number}"
            )(x)
        return layers.ReLU(name=f"{name}_relu{number}")(x)

    return norm_relu


def _basic_block(x, filters, strides, name, norm_relu):
    shortcut = _shortcut(x, filters, strides, name)
    x = norm_relu(x, name, 1)
    x = convolution(x, filters, 3, f"{name}_conv1", strides=strides)
    x = norm_relu(x, name, 2)
    x = convolution(x, filters, 3, f"{name}_conv2")
    return layers.Add(name=name)([x, shortcut])


def _bottleneck_block(x, filters, strides, name, norm_relu):
    shortcut = _shortcut(x, 4 * filters, strides, name)
    x = norm_relu(x, name, 1)
    x = convolution(x, filters, 1, f"{name}_conv1")
    x = norm_relu(x, name, 2)
    x = convolution(x, filters, 3, f"{name}_conv2", strides=strides)
    x = norm_relu(x, name, 3)
    x = convolution(x, 4 * filters, 1, f"{name}_conv3")
    return layers.Add(name=name)([x, shortcut])


def _shortcut(x, filters, strides, name):
    if strides == 1 and x.shape[-1] == filters:
        return x
    return convolution(x, filters, 1, f"{name}_shortcut", strides=strides)


def _check_sides(input_shape):
    if any(side > 32 and side % 32 for side in input_shape[:2]):
        raise ValueError(
            "PreActResNet pools in tiles of 8x8, so sides above 32 must be multiples "
            f"of 32: 32, 64, 96, ... Received: input_shape={tuple(input_shape)}. "
            "Resize or pad the images."
        )


def _pool_tiles(x):
    tile = [min(8, side) for side in x.shape[1:3]]
    x = layers.AveragePooling2D(tile, data_format=CHANNELS_LAST, name="pool")(x)
    return layers.Flatten(data_format=CHANNELS_LAST, name="features")(x)
