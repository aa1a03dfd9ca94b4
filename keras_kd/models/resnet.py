"""Post-activation ResNets: of the CIFAR benchmarks, and ResNet-18 and -50."""

import keras
from keras import layers

from keras_kd._common.checks import check_choice
from keras_kd.models._blocks import (
    batch_norm,
    check_depth,
    convolution,
    dense,
    global_pooling,
    image_input,
    max_pooling,
    norm_relu,
    residual_stages,
    tap,
    zero_padding,
)

CIFAR_WIDTHS = {1: (16, 16, 32, 64), 4: (32, 64, 128, 256)}  # stem, then the stages
WIDTHS = (64, 128, 256, 512)
STEMS = {"imagenet": (224, 224, 3), "cifar": (32, 32, 3)}  # and its usual image


def CIFARResNet(depth, width=1, num_classes=100, *, input_shape=(32, 32, 3), name=None):
    """Post-activation ResNet of the CIFAR-100 distillation benchmarks.

    Three stages of basic blocks; a shortcut that changes shape is a 1x1 convolution
    with normalization. `CIFARResNet(8, width=4)` is their "resnet8x4". Names of
    layers: see `keras_kd.models`; what a block gives before its last ReLU is
    `"stage2_block1_sum"`, for losses on features before activation.

    Args:
        depth: 6n+2: 8, 14, 20, 26, 32, ..., 110.
        width: 1 (default; stem 16, stages 16, 32 and 64) or 4 (stem 32, stages 64, 128
            and 256).
        num_classes: Number of logits. Defaults to 100.
        input_shape: `(height, width, channels)`, channels last. The last map is
            averaged whole, so any size goes.
        name: Name of the model. Defaults to `"resnet20"` or `"resnet8x4"`.

    Returns:
        A functional `keras.Model` from `(batch, *input_shape)` to logits
        `(batch, num_classes)`.

    Example:

    >>> model = keras_kd.models.CIFARResNet(8, width=4)
    >>> model.get_layer("stage1").output.shape
    (None, 32, 32, 64)

    Reference: He et al. 2016a, section 4.2; Tian et al. 2020, released code
    (RepDistiller), whose shortcuts are projections.
    """
    images = image_input(input_shape, num_classes)
    blocks = check_depth(depth, 6, 2, "8, 14, 20, 26, 32, ..., 110")
    if width not in list(CIFAR_WIDTHS):
        raise ValueError(
            "`width` of a CIFARResNet must be 1 or 4, the published ones. Received: "
            f"width={width!r}. WideResNet takes any width."
        )
    stem, *widths = CIFAR_WIDTHS[width]
    x = tap(norm_relu(convolution(images, stem, 3, "stem_conv"), "stem"), "stem")
    x = residual_stages(x, _basic_block, widths, [blocks] * 3)
    logits = dense(global_pooling(x), num_classes, "logits")
    name = name or f"resnet{depth}" + (f"x{width}" if width > 1 else "")
    return keras.Model(images, logits, name=name)


def ResNet18(num_classes=1000, stem="imagenet", *, input_shape=None, name=None):
    """ResNet-18: four stages of two basic blocks, stride on the first.

    Args:
        num_classes: Number of logits. Defaults to 1000.
        stem: `"imagenet"` (default): 7x7 convolution of stride 2 and max pooling;
            `"cifar"`: 3x3 convolution of stride 1, for small images.
        input_shape: `(height, width, channels)`, channels last. Defaults to
            (224, 224, 3), with the CIFAR stem to (32, 32, 3).
        name: Name of the model. Defaults to `"resnet18"`.

    Returns:
        A functional `keras.Model` from `(batch, *input_shape)` to logits
        `(batch, num_classes)`. Weights are random; names of layers: see
        `keras_kd.models`.

    Example:

    >>> model = keras_kd.models.ResNet18(num_classes=100, stem="cifar")
    >>> model.get_layer("features").output.shape
    (None, 512)

    Reference: He et al. 2016a, table 1.
    """
    name = name or "resnet18"
    blocks = (2, 2, 2, 2)
    return _imagenet_resnet(_basic_block, blocks, num_classes, stem, input_shape, name)


def ResNet50(num_classes=1000, stem="imagenet", *, input_shape=None, name=None):
    """ResNet-50: four stages of 3, 4, 6 and 3 bottleneck blocks.

    The stride is on the 3x3 convolution ("v1.5") and convolutions have no bias, as in
    torchvision. keras.applications.ResNet50 differs in both; it is the one with
    trained weights, and a `TeacherEnsemble` takes it as it is when built with
    `classifier_activation=None`.

    Args:
        num_classes: Number of logits. Defaults to 1000.
        stem: `"imagenet"` (default): 7x7 convolution of stride 2 and max pooling;
            `"cifar"`: 3x3 convolution of stride 1, for small images.
        input_shape: `(height, width, channels)`, channels last. Defaults to
            (224, 224, 3), with the CIFAR stem to (32, 32, 3).
        name: Name of the model. Defaults to `"resnet50"`.

    Returns:
        A functional `keras.Model` from `(batch, *input_shape)` to logits
        `(batch, num_classes)`. Weights are random; names of layers: see
        `keras_kd.models`.

    Example:

    >>> model = keras_kd.models.ResNet50(num_classes=100)
    >>> model.get_layer("stage4").output.shape
    (None, 7, 7, 2048)

    Reference: He et al. 2016a, table 1.
    """
    name = name or "resnet50"
    blocks = (3, 4, 6, 3)
    return _imagenet_resnet(
        _bottleneck_block, blocks, num_classes, stem, input_shape, name
    )


def _imagenet_resnet(block, blocks, num_classes, stem, input_shape, name):
    check_choice("stem", stem, list(STEMS))
    images = image_input(input_shape or STEMS[stem], num_classes)
    if stem == "imagenet":
        x = convolution(images, WIDTHS[0], 7, "stem_conv", strides=2)
        # Zeros at the border are as good as PyTorch's -inf: nothing is below 0.
        x = zero_padding(norm_relu(x, "stem"), 1, "stem_pool_pad")
        x = max_pooling(x, "stem_pool", size=3)
    else:
        x = norm_relu(convolution(images, WIDTHS[0], 3, "stem_conv"), "stem")
    x = residual_stages(tap(x, "stem"), block, WIDTHS, blocks)
    logits = dense(global_pooling(x), num_classes, "logits")
    return keras.Model(images, logits, name=name)


def _basic_block(x, filters, strides, name):
    shortcut = _shortcut(x, filters, strides, name)
    x = norm_relu(convolution(x, filters, 3, f"{name}_conv1", strides=strides), name, 1)
    x = batch_norm(convolution(x, filters, 3, f"{name}_conv2"), f"{name}_norm2")
    x = layers.Add(name=f"{name}_sum")([x, shortcut])
    return layers.ReLU(name=name)(x)


def _bottleneck_block(x, filters, strides, name):
    shortcut = _shortcut(x, 4 * filters, strides, name)
    x = norm_relu(convolution(x, filters, 1, f"{name}_conv1"), name, 1)
    x = norm_relu(convolution(x, filters, 3, f"{name}_conv2", strides=strides), name, 2)
    x = batch_norm(convolution(x, 4 * filters, 1, f"{name}_conv3"), f"{name}_norm3")
    x = layers.Add(name=f"{name}_sum")([x, shortcut])
    return layers.ReLU(name=name)(x)


def _shortcut(x, filters, strides, name):
    if strides == 1 and x.shape[-1] == filters:
        return x
    x = convolution(x, filters, 1, f"{name}_shortcut_conv", strides=strides)
    return batch_norm(x, f"{name}_shortcut_norm")
