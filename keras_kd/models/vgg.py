"""VGG for CIFAR-size images: with batch normalization, and Stanton's without."""

import keras
from keras import layers

from keras_kd._common.checks import check_choice
from keras_kd.models._blocks import (
    CHANNELS_LAST,
    batch_norm,
    convolution,
    dense,
    global_pooling,
    image_input,
    max_pooling,
    narrow_logits,
    tap,
)

WIDTHS = (64, 128, 256, 512, 512)
CONVOLUTIONS = {  # of each of the five blocks
    8: (1, 1, 1, 1, 1),
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}
BLOCKS = ("stem", "stage1", "stage2", "stage3", "stage4")


def VGG(depth, num_classes=100, *, input_shape=(32, 32, 3), name=None):
    """VGG with batch normalization and one dense layer, of the CIFAR-100 benchmarks.

    The five blocks of convolutions are named `"stem"` and `"stage1"` to `"stage4"`, so
    that stages pair with those of the other families as in the benchmarks; each is
    tapped before its pooling. Their last block is not pooled but averaged, and the one
    before it is pooled only for images of 64 pixels and more.

    Args:
        depth: 8, 11, 13, 16 or 19.
        num_classes: Number of logits. Defaults to 100.
        input_shape: `(height, width, channels)`, channels last, sides of at least 8.
        name: Name of the model. Defaults to `"vgg8"` for depth 8.

    Returns:
        A functional `keras.Model` from `(batch, *input_shape)` to logits
        `(batch, num_classes)`.

    Example:

    >>> model = keras_kd.models.VGG(8)
    >>> model.get_layer("stage4").output.shape
    (None, 4, 4, 512)

    Reference: Simonyan and Zisserman 2015, table 1; Tian et al. 2020, released code.
    """
    check_choice("depth", depth, list(CONVOLUTIONS))
    images = image_input(input_shape, num_classes, smallest=8)
    pooled = [True, True, True, min(input_shape[:2]) >= 64, False]
    x = _convolutions(images, CONVOLUTIONS[depth], pooled, norm=True)
    logits = narrow_logits(global_pooling(x), num_classes)
    return keras.Model(images, logits, name=name or f"vgg{depth}")


def PlainVGG16(num_classes=100, *, input_shape=(32, 32, 3), name=None):
    """VGG-16 without normalization and with dropout, of Stanton et al., figure 13.

    Thirteen convolutions with biases, all five blocks max-pooled, then two dense layers
    of 512 units with dropout of 0.5 before each. Blocks are named as in `VGG`;
    `"features"` is the second dense layer, which the logits read.

    Args:
        num_classes: Number of logits. Defaults to 100.
        input_shape: `(height, width, channels)`, channels last, sides of at least 32.
            Above 32 the first dense layer grows.
        name: Name of the model. Defaults to `"plain_vgg16"`.

    Returns:
        A functional `keras.Model` from `(batch, *input_shape)` to logits
        `(batch, num_classes)`.

    Example:

    >>> model = keras_kd.models.PlainVGG16(num_classes=10)
    >>> model.count_params()
    15245130

    Reference: Stanton et al. 2021, figure 13 and released code.
    """
    images = image_input(input_shape, num_classes, smallest=32)
    x = _convolutions(images, CONVOLUTIONS[16], [True] * 5, norm=False)
    x = layers.Flatten(data_format=CHANNELS_LAST, name="flat")(x)
    for number, output in ((1, "dense1_relu"), (2, "features")):
        x = layers.Dropout(0.5, name=f"dropout{number}")(x)
        x = layers.ReLU(name=output)(dense(x, 512, f"dense{number}"))
    logits = dense(x, num_classes, "logits")
    return keras.Model(images, logits, name=name or "plain_vgg16")


def _convolutions(x, convolutions, pooled, norm):
    for block, width, count, pool in zip(
        BLOCKS, WIDTHS, convolutions, pooled, strict=True
    ):
        for i in range(1, count + 1):
            name = f"{block}_block{i}"
            x = convolution(x, width, 3, f"{name}_conv", use_bias=True)
            x = batch_norm(x, f"{name}_norm") if norm else x
            x = layers.ReLU(name=name)(x)
        x = tap(x, block)
        x = max_pooling(x, f"{block}_pool") if pool else x
    return x
