"""Layers and checks that the image models share, with PyTorch's padding and defaults.

The papers' networks were written in PyTorch, whose strided convolutions pad both sides
alike; Keras's "same" pads an even image at the bottom and the right only.
"""

import keras
from keras import layers

from keras_kd._common.checks import check_whole_number

CHANNELS_LAST = "channels_last"  # whatever keras.config says: the norms take axis -1


def he_normal():
    """N(0, 2 / (k k filters)), not truncated: "kaiming normal, fan out"."""
    return keras.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal")


def fan_in_uniform(fan_in):
    """U(-1/sqrt(fan_in), 1/sqrt(fan_in)): PyTorch's default for weights and biases."""
    bound = fan_in**-0.5
    return keras.initializers.RandomUniform(-bound, bound)


def convolution(x, filters, kernel_size, name, *, strides=1, use_bias=False):
    """He-initialised convolution with kernel_size // 2 zeros on every side."""
    if strides > 1 and kernel_size > 1:
        x = zero_padding(x, kernel_size // 2, f"{name}_pad")
    return layers.Conv2D(
        filters,
        kernel_size,
        strides=strides,
        padding="same" if strides == 1 else "valid",  # at stride 1 both sides alike
        use_bias=use_bias,
        kernel_initializer=he_normal(),
        data_format=CHANNELS_LAST,
        name=name,
    )(x)


def zero_padding(x, width, name):
    return layers.ZeroPadding2D(width, data_format=CHANNELS_LAST, name=name)(x)


def max_pooling(x, name, *, size=2):
    return layers.MaxPooling2D(size, strides=2, data_format=CHANNELS_LAST, name=name)(x)


def batch_norm(x, name):
    """Momentum 0.9 and epsilon 1e-5, PyTorch's 0.1 and 1e-5.

    Keras keeps the biased variance of a batch, PyTorch the unbiased one.
    """
    return layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=name)(x)


def norm_relu(x, name, number=""):
    """Batch normalization, then ReLU: `{name}_norm{number}`, `{name}_relu{number}`."""
    x = batch_norm(x, f"{name}_norm{number}")
    return layers.ReLU(name=f"{name}_relu{number}")(x)


def residual_stages(x, block, widths, blocks_per_stage):
    """Stages of residual blocks; each but the first halves height and width."""
    for stage, (width, blocks) in enumerate(
        zip(widths, blocks_per_stage, strict=True), start=1
    ):
        for i in range(1, blocks + 1):
            strides = 2 if stage > 1 and i == 1 else 1
            x = block(x, width, strides=strides, name=f"stage{stage}_block{i}")
        x = tap(x, f"stage{stage}")
    return x


def tap(x, name):
    """A second name for `x`, so that a stage ends in a layer of its own name."""
    return layers.Identity(name=name)(x)


def global_pooling(x):
    return layers.GlobalAveragePooling2D(data_format=CHANNELS_LAST, name="features")(x)


def dense(x, units, name, *, zero_bias=False):
    """Dense layer with PyTorch's default initialisation, of the bias too if wanted."""
    return layers.Dense(
        int(units),  # Keras refuses NumPy's whole numbers
        kernel_initializer=fan_in_uniform(x.shape[-1]),
        bias_initializer="zeros" if zero_bias else fan_in_uniform(x.shape[-1]),
        name=name,
    )(x)


def narrow_logits(x, num_classes):
    """Logits with weights from N(0, 0.01^2) and no bias at the start."""
    initializer = keras.initializers.RandomNormal(stddev=0.01)
    return layers.Dense(
        int(num_classes), kernel_initializer=initializer, name="logits"
    )(x)


def image_input(input_shape, num_classes, *, smallest=1):
    """Check what every image model takes, and return its `keras.Input`."""
    check_whole_number("num_classes", num_classes, at_least=2)
    try:
        height, width, channels = input_shape
    except (TypeError, ValueError):
        raise ValueError(
            "`input_shape` must be (height, width, channels), without the batch, as in "
            f"(32, 32, 3). Received: input_shape={input_shape!r}."
        ) from None
    height = check_whole_number("input_shape[0]", height, at_least=smallest)
    width = check_whole_number("input_shape[1]", width, at_least=smallest)
    channels = check_whole_number("input_shape[2]", channels, at_least=1)
    return keras.Input((height, width, channels), name="images")


def check_depth(depth, step, rest, examples):
    """Return n of `depth` = step n + rest, n >= 1, or raise with valid depths."""
    check_whole_number("depth", depth, at_least=1)
    blocks, left = divmod(depth - rest, step)
    if left or blocks < 1:
        raise ValueError(
            f"`depth` must be {step}n+{rest}: {examples}. Received: depth={depth!r}."
        )
    return int(blocks)
