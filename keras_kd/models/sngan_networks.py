"""Generator and discriminator of the papers' SN-GAN."""

import keras
from keras import layers

from keras_kd._common.checks import check_whole_number
from keras_kd.models.spectral import SpectralConv2D, SpectralDense

_XAVIER = "glorot_uniform"  # gain 1: 3x3 convolutions and dense layers


def up_blocks(image_size):
    """How often the generator doubles the size: until at least 4 pixels are left.

    `image_size` is a multiple of 4 times a power of two; the generator starts at the
    size that is left after halving it as long as 4 or more whole pixels remain.
    """
    count = 0
    while image_size % 2 == 0 and image_size >= 8:
        image_size //= 2
        count += 1
    return count


def sngan_generator(
    image_shape=(32, 32, 3),
    latent_dim=128,
    width=256,
    num_classes=None,
    name="generator",
):
    """SN-GAN's generator: residual blocks that double the image, then tanh.

    Plain Keras layers only, so that its `.keras` file loads without keras_kd.

    Args:
        image_shape: `(height, width, channels)` of the images; height and width equal,
            a multiple of 4. Defaults to `(32, 32, 3)`.
        latent_dim: Length of the latent vector. Defaults to 128.
        width: Channels of every block. Defaults to 256.
        num_classes: With a number, the model takes `[latent, labels]`; a learnt vector
            of the label stands beside the latent one. Defaults to None: latent only.
        name: Name of the model.

    Returns:
        A `keras.Model` from `(batch, latent_dim)` [and `(batch,)` labels] to images in
        [-1, 1]. With the defaults it has 4,079,363 trainable parameters.

    Example:

    >>> generator = keras_kd.models.sngan_generator((8, 8, 1), latent_dim=4, width=8)
    >>> generator(np.zeros((2, 4), "float32")).shape
    TensorShape([2, 8, 8, 1])

    Reference: Stanton et al. 2021, appendix A.2, and its released code.
    """
    height, channels = check_image_shape(image_shape)
    blocks = up_blocks(height)
    start = height // 2**blocks

    latent = keras.Input((latent_dim,), name="latent")
    inputs, x = latent, latent
    if num_classes is not None:
        label = keras.Input((), dtype="int32", name="label")
        inputs = [latent, label]
        embedded = layers.Embedding(num_classes, latent_dim, name="class")(label)
        x = layers.Concatenate(name="latent_and_class")([latent, embedded])
    x = _dense(start * start * width, x, "start")
    x = layers.Reshape((start, start, width), name="start_map")(x)
    for i in range(1, blocks + 1):
        x = _up_block(x, width, f"block{i}")
    x = _norm_relu(x, "end")
    x = layers.Conv2D(
        channels,
        3,
        padding="same",
        kernel_initializer=_XAVIER,
        bias_initializer=_torch_bias(9 * width),
        activation="tanh",
        # So that pixels keep their range when the rest computes in half precision.
        dtype="float32",
        name="image",
    )(x)
    return keras.Model(inputs, x, name=name)


def sngan_discriminator(
    image_shape=(32, 32, 3), width=128, num_classes=None, name="discriminator"
):
    """SN-GAN's discriminator: residual blocks, every kernel spectrally normalised.

    Args:
        image_shape: `(height, width, channels)` as in `sngan_generator`.
        width: Channels of every block. Defaults to 128.
        num_classes: With a number, the model takes `[image, labels]` and adds the inner
            product of the label's vector and the features (Miyato and Koyama 2018).
        name: Name of the model.

    Returns:
        A `keras.Model` from images in [-1, 1] to scores `(batch, 1)`, high for real.
        With the defaults it has 1,037,313 trainable parameters.

    Example:

    >>> model = keras_kd.models.sngan_discriminator((8, 8, 1), width=8)
    >>> model(np.zeros((2, 8, 8, 1), "float32")).shape
    TensorShape([2, 1])

    Reference: Stanton et al. 2021, appendix A.2, and its released code.
    """
    height, channels = check_image_shape(image_shape)
    image = keras.Input((height, height, channels), name="image")
    x = _first_block(image, channels, width)
    for i in range(2, max(2, up_blocks(height) - 1) + 1):
        x = _block(x, width, f"down{i}", down=True)
    for i in (1, 2):
        x = _block(x, width, f"block{i}", down=False)
    x = layers.ReLU(name="end_relu")(x)
    features = layers.GlobalAveragePooling2D(name="features")(x)
    score = _spectral_dense(1, features, "score")
    if num_classes is None:
        return keras.Model(image, score, name=name)
    label = keras.Input((), dtype="int32", name="label")
    one_hot = layers.CategoryEncoding(num_classes, "one_hot", name="one_hot")(
        layers.Reshape((1,), name="label_column")(label)
    )
    vector = SpectralDense(
        width, use_bias=False, kernel_initializer=_XAVIER, name="class"
    )(one_hot)
    match = layers.Dot(axes=1, name="class_match")([vector, features])
    total = layers.Add(name="total")([score, match])
    return keras.Model([image, label], total, name=name)


def check_image_shape(image_shape):
    """`(size, channels)` of a square image shape that the networks can make."""
    shape = tuple(image_shape)
    if len(shape) != 3 or shape[0] != shape[1] or shape[0] % 4 or shape[0] < 4:
        raise ValueError(
            "`image_shape` must be (size, size, channels) with a size that is a "
            "multiple of 4, e.g. (8, 8, 1), (28, 28, 1), (32, 32, 3) or (64, 64, 3). "
            f"Received: image_shape={image_shape}. Resize or pad the images first."
        )
    channels = check_whole_number("image_shape[2]", shape[2], at_least=1)
    return int(shape[0]), channels


def _up_block(x, width, name):
    skip = _double(x, f"{name}_skip")
    x = _double(_norm_relu(x, f"{name}_1"), f"{name}_up")
    x = _conv(width, x, f"{name}_conv1")
    x = _conv(width, _norm_relu(x, f"{name}_2"), f"{name}_conv2")
    return layers.Add(name=name)([skip, x])


def _double(x, name):
    return layers.UpSampling2D(2, interpolation="bilinear", name=name)(x)


def _norm_relu(x, name):
    x = layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"{name}_norm")(x)
    return layers.ReLU(name=f"{name}_relu")(x)


def _conv(width, x, name):
    return layers.Conv2D(
        width,
        3,
        padding="same",
        kernel_initializer=_XAVIER,
        bias_initializer=_torch_bias(9 * x.shape[-1]),
        name=name,
    )(x)


def _dense(units, x, name):
    return layers.Dense(
        units,
        kernel_initializer=_XAVIER,
        bias_initializer=_torch_bias(x.shape[-1]),
        name=name,
    )(x)


def _first_block(image, channels, width):
    """No ReLU before its first convolution: pixels, not features, come in."""
    x = _spectral_conv(width, 3, image, "down1_conv1", _XAVIER)
    x = layers.ReLU(name="down1_relu")(x)
    x = _spectral_conv(width, 3, x, "down1_conv2", _XAVIER)
    x = layers.AveragePooling2D(2, name="down1_pool")(x)
    gain_sqrt_2 = keras.initializers.VarianceScaling(2.0, "fan_avg", "uniform")
    skip = _spectral_conv(width, 1, image, "down1_skip", gain_sqrt_2)
    skip = layers.AveragePooling2D(2, name="down1_skip_pool")(skip)
    return layers.Add(name="down1")([skip, x])


def _block(x, width, name, down):
    skip = x
    for i in (1, 2):
        x = layers.ReLU(name=f"{name}_relu{i}")(x)
        x = _spectral_conv(width, 3, x, f"{name}_conv{i}", _XAVIER)
    if down:
        x = layers.AveragePooling2D(2, name=f"{name}_pool")(x)
        skip = layers.AveragePooling2D(2, name=f"{name}_skip_pool")(skip)
    return layers.Add(name=name)([skip, x])


def _spectral_conv(width, size, x, name, initializer):
    return SpectralConv2D(
        width,
        size,
        padding="same",
        kernel_initializer=initializer,
        bias_initializer=_torch_bias(size * size * x.shape[-1]),
        name=name,
    )(x)


def _spectral_dense(units, x, name):
    return SpectralDense(
        units,
        kernel_initializer=_XAVIER,
        bias_initializer=_torch_bias(x.shape[-1]),
        name=name,
    )(x)


def _torch_bias(fan_in):
    """PyTorch's default, in which the papers' runs started."""
    return keras.initializers.RandomUniform(-(fan_in**-0.5), fan_in**-0.5)
