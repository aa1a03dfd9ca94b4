"""MobileNetV2 for CIFAR-size images."""

import keras
from keras import layers

from keras_kd._common.checks import check_number
from keras_kd.models._blocks import (
    CHANNELS_LAST,
    batch_norm,
    convolution,
    global_pooling,
    image_input,
    narrow_logits,
    norm_relu,
    tap,
    zero_padding,
)

STEM, LAST = 32, 1280
STAGES = (  # rows of (expansion, channels, blocks, stride) that a stage groups
    ((1, 16, 1, 1), (6, 24, 2, 1)),
    ((6, 32, 3, 2),),
    ((6, 64, 4, 2), (6, 96, 3, 1)),
    ((6, 160, 3, 2), (6, 320, 1, 1)),
)


def MobileNetV2(num_classes=100, width=0.5, *, input_shape=(32, 32, 3), name=None):
    """MobileNetV2 as the CIFAR-100 benchmarks run it ("mobile half").

    It differs from keras.applications.MobileNetV2 in strides that suit 32 pixels,
    ReLU in place of ReLU6, channels rounded down to whole numbers and not to eights,
    and no dropout. The seven groups of blocks form four stages, cut where the
    benchmarks tap them. Names of layers: see `keras_kd.models`.

    Args:
        num_classes: Number of logits. Defaults to 100.
        width: Factor of all channels but the last 1280, which only grow. At least
            0.0625 (one channel in 16). Defaults to 0.5.
        input_shape: `(height, width, channels)`, channels last. The last map is
            averaged whole, so any size goes.
        name: Name of the model. Defaults to `"mobilenet_v2"`.

    Returns:
        A functional `keras.Model` from `(batch, *input_shape)` to logits
        `(batch, num_classes)`.

    Example:

    >>> model = keras_kd.models.MobileNetV2()
    >>> model.get_layer("stage4").output.shape
    (None, 2, 2, 160)

    Reference: Sandler et al. 2018, table 2; Tian et al. 2020, released code.
    """
    images = image_input(input_shape, num_classes)
    width = check_number("width", width, at_least=1 / 16)
    x = convolution(images, int(STEM * width), 3, "stem_conv", strides=2)
    x = tap(norm_relu(x, "stem"), "stem")
    for stage, rows in enumerate(STAGES, start=1):
        x = _stage(x, rows, width, f"stage{stage}")
    x = convolution(x, int(LAST * max(width, 1.0)), 1, "final_conv")
    x = global_pooling(norm_relu(x, "final"))
    logits = narrow_logits(x, num_classes)
    return keras.Model(images, logits, name=name or "mobilenet_v2")


def _stage(x, rows, width, name):
    number = 0
    for expansion, channels, blocks, first_strides in rows:
        for i in range(blocks):
            number += 1
            strides = first_strides if i == 0 else 1
            filters = int(channels * width)
            x = _block(x, expansion, filters, strides, f"{name}_block{number}")
    return tap(x, name)


def _block(x, expansion, filters, strides, name):
    """Inverted residual: 1x1 up, 3x3 of each channel alone, 1x1 down without ReLU."""
    inner = expansion * x.shape[-1]
    y = norm_relu(convolution(x, inner, 1, f"{name}_conv1"), name, 1)
    y = norm_relu(_depthwise(y, strides, f"{name}_conv2"), name, 2)
    y = batch_norm(convolution(y, filters, 1, f"{name}_conv3"), f"{name}_norm3")
    if strides == 1 and x.shape[-1] == filters:
        return layers.Add(name=name)([x, y])
    return tap(y, name)


def _depthwise(x, strides, name):
    if strides > 1:
        x = zero_padding(x, 1, f"{name}_pad")
    # The benchmarks count all filters, though each sees one channel: N(0, 2 / (9 C)).
    stddev = (2 / (9 * x.shape[-1])) ** 0.5
    return layers.DepthwiseConv2D(
        3,
        strides=strides,
        padding="same" if strides == 1 else "valid",
        use_bias=False,
        depthwise_initializer=keras.initializers.RandomNormal(stddev=stddev),
        data_format=CHANNELS_LAST,
        name=name,
    )(x)
