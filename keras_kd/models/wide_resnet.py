"""Wide ResNet for CIFAR-size images."""

import keras
from keras import layers

from keras_kd._common.checks import check_whole_number
from keras_kd.models._blocks import (
    check_depth,
    convolution,
    dense,
    global_pooling,
    image_input,
    norm_relu,
    residual_stages,
)

STEM = 16
WIDTHS = (16, 32, 64)


def WideResNet(depth, width, num_classes=100, *, input_shape=(32, 32, 3), name=None):
    """Wide ResNet "WRN-depth-width": pre-activation basic blocks, `width` times wider.

    A shortcut that changes shape is a bare 1x1 convolution of the normalized,
    activated input (`PreActResNet` takes the raw one). No dropout, as in the
    distillation benchmarks. Names of layers: see `keras_kd.models`; stages are raw
    sums, before normalization and ReLU, and can be negative.

    Args:
        depth: 6n+4: 10, 16, 22, 28, 34, 40, ...
        width: Whole factor of the stages' widths 16, 32 and 64.
        num_classes: Number of logits. Defaults to 100.
        input_shape: `(height, width, channels)`, channels last. The last map is
            averaged whole, so any size goes.
        name: Name of the model. Defaults to `"wrn_16_2"` for depth 16, width 2.

    Returns:
        A functional `keras.Model` from `(batch, *input_shape)` to logits
        `(batch, num_classes)`.

    Example:

    >>> model = keras_kd.models.WideResNet(16, 2)
    >>> model.get_layer("stage3").output.shape
    (None, 8, 8, 128)

    Reference: Zagoruyko and Komodakis 2016, table 1; Tian et al. 2020, released code.
    """
    images = image_input(input_shape, num_classes)
    blocks = check_depth(depth, 6, 4, "10, 16, 22, 28, 34, 40 and so on")
    width = check_whole_number("width", width, at_least=1)
    x = convolution(images, STEM, 3, "stem")
    widths = [stage * width for stage in WIDTHS]
    x = residual_stages(x, _block, widths, [blocks] * 3)
    x = global_pooling(norm_relu(x, "final"))
    logits = dense(x, num_classes, "logits", zero_bias=True)
    return keras.Model(images, logits, name=name or f"wrn_{depth}_{width}")


def _block(x, filters, strides, name):
    activated = norm_relu(x, name, 1)
    shortcut = x
    if x.shape[-1] != filters:
        shortcut = convolution(
            activated, filters, 1, f"{name}_shortcut", strides=strides
        )
    x = convolution(activated, filters, 3, f"{name}_conv1", strides=strides)
    x = convolution(norm_relu(x, name, 2), filters, 3, f"{name}_conv2")
    return layers.Add(name=name)([x, shortcut])
