"""LeNet-5 for MNIST-size images."""

import keras
from keras import layers

from keras_kd.models._blocks import CHANNELS_LAST, dense, fan_in_uniform, image_input


def LeNet5(num_classes=10, *, input_shape=(28, 28, 1), name=None):
    """LeNet-5 with ReLU and average pooling, of Stanton et al., figure 2.

    `"stem"` and `"stage1"` are the two convolutions after ReLU, before their pooling;
    `"features"` is the last hidden layer of 84 units.

    Args:
        num_classes: Number of logits. Defaults to 10.
        input_shape: `(height, width, channels)`, channels last, sides of at least 12.
            Away from 28 the first dense layer changes.
        name: Name of the model. Defaults to `"lenet5"`.

    Returns:
        A functional `keras.Model` from `(batch, *input_shape)` to logits
        `(batch, num_classes)`.

    Example:

    >>> model = keras_kd.models.LeNet5()
    >>> model.count_params()
    61706

    Reference: LeCun et al. 1998; Stanton et al. 2021, figure 2 and released code.
    """
    images = image_input(input_shape, num_classes, smallest=12)
    x = _convolution(images, 6, "same", "stem")
    x = _convolution(_pooling(x, "stem_pool"), 16, "valid", "stage1")
    x = _pooling(x, "stage1_pool")
    x = layers.Flatten(data_format=CHANNELS_LAST, name="flat")(x)
    x = layers.ReLU(name="dense1_relu")(dense(x, 120, "dense1"))
    x = layers.ReLU(name="features")(dense(x, 84, "dense2"))
    logits = dense(x, num_classes, "logits")
    return keras.Model(images, logits, name=name or "lenet5")


def _convolution(x, filters, padding, name):
    x = layers.Conv2D(
        filters,
        5,
        padding=padding,
        kernel_initializer=fan_in_uniform(25 * x.shape[-1]),
        bias_initializer=fan_in_uniform(25 * x.shape[-1]),
        data_format=CHANNELS_LAST,
        name=f"{name}_conv",
    )(x)
    return layers.ReLU(name=name)(x)


def _pooling(x, name):
    return layers.AveragePooling2D(2, data_format=CHANNELS_LAST, name=name)(x)
