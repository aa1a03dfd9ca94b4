"""Vision Transformer with a class token, of plain Keras layers."""

import keras
from keras import layers, ops

from keras_kd._common.checks import check_choice, check_whole_number
from keras_kd.models._blocks import CHANNELS_LAST, fan_in_uniform, image_input

WIDTHS = {"tiny": 192, "small": 384, "base": 768}
DEPTH = 12
HEAD_WIDTH = 64
MLP_FACTOR = 4


def ViT(size, patch_size=16, num_classes=1000, *, input_shape=(224, 224, 3), name=None):
    """Vision Transformer of DeiT's sizes: 12 blocks, class token, learnt positions.

    Its one stage has twelve blocks, `"stage1_block1"` to `"stage1_block12"`, that give
    `(batch, 1 + patches, width)` each, the class token first. `"stem"` is the sequence
    that enters the first block, `"features"` the class token after the last
    normalization. The attention of a block, a softmax over keys, is the output of
    `"stage1_block1_attention_scores"`, `(batch, heads, queries, keys)`. There is no
    dropout and no stochastic depth.

    Args:
        size: `"tiny"` (width 192, 3 heads), `"small"` (384, 6) or `"base"` (768, 12).
        patch_size: Side of the square patches; must divide both sides of the image.
            Defaults to 16.
        num_classes: Number of logits. Defaults to 1000.
        input_shape: `(height, width, channels)`, channels last.
        name: Name of the model. Defaults to `"vit_tiny_patch16"` and so on.

    Returns:
        A functional `keras.Model` from `(batch, *input_shape)` to logits
        `(batch, num_classes)`.

    Example:

    >>> model = keras_kd.models.ViT("tiny", patch_size=4, input_shape=(32, 32, 3))
    >>> model.get_layer("stage1_block12_attention_scores").output.shape
    (None, 3, 65, 65)

    Reference: Dosovitskiy et al. 2021, section 3.1; Touvron et al. 2021 (DeiT), table 1
    and released code.
    """
    check_choice("size", size, list(WIDTHS))
    width = WIDTHS[size]
    images = image_input(input_shape, num_classes)
    x = _patches(images, width, _check_patch_size(patch_size, input_shape))
    x = _with_class_token_and_positions(x)
    for i in range(1, DEPTH + 1):
        x = _block(x, width, f"stage1_block{i}")
    x = layers.Identity(name="stage1")(x)
    x = _layer_norm(x, "final_norm")
    x = layers.Identity(name="features")(x[:, 0])
    logits = _dense(x, num_classes, "logits")
    name = name or f"vit_{size}_patch{patch_size}"
    return keras.Model(images, logits, name=name)


def _check_patch_size(patch_size, input_shape):
    patch_size = check_whole_number("patch_size", patch_size, at_least=1)
    if any(side % patch_size for side in input_shape[:2]):
        raise ValueError(
            "`patch_size` must divide height and width of the image. Received: "
            f"patch_size={patch_size}, input_shape={tuple(input_shape)}. For 224 "
            "pixels take 16 or 32, for 32 pixels 4."
        )
    return patch_size


def _patches(images, width, patch_size):
    fan_in = patch_size**2 * images.shape[-1]
    x = layers.Conv2D(
        width,
        patch_size,
        strides=patch_size,
        kernel_initializer=fan_in_uniform(fan_in),
        bias_initializer=fan_in_uniform(fan_in),
        data_format=CHANNELS_LAST,
        name="patch_embedding",
    )(images)
    return layers.Reshape((-1, width), name="patches")(x)


def _with_class_token_and_positions(x):
    _, patches, width = x.shape
    one = ops.ones_like(x[:, 0, :1])
    token = _learnt(one, 1, width, "class_token")
    x = layers.Concatenate(axis=1, name="tokens")([token, x])
    positions = _learnt(one, patches + 1, width, "position_embedding")
    return layers.Add(name="stem")([x, positions])


def _learnt(one, length, width, name):
    """Weights as an output: plain Keras, so that a model loads without keras_kd."""
    return layers.EinsumDense(
        "bi,inw->bnw", (length, width), kernel_initializer=_normal(), name=name
    )(one)


def _block(x, width, name):
    y = _layer_norm(x, f"{name}_norm1")
    y = _attention(y, width, f"{name}_attention")
    x = layers.Add(name=f"{name}_sum1")([x, y])
    y = _layer_norm(x, f"{name}_norm2")
    y = _dense(y, MLP_FACTOR * width, f"{name}_mlp1")
    y = layers.Activation("gelu", name=f"{name}_gelu")(y)
    y = _dense(y, width, f"{name}_mlp2")
    return layers.Add(name=name)([x, y])


def _attention(x, width, name):
    """Self-attention whose scores are the output of a layer of their own."""
    tokens, heads = x.shape[1], width // HEAD_WIDTH
    x = _dense(x, 3 * width, f"{name}_qkv")
    x = layers.Reshape((tokens, 3, heads, HEAD_WIDTH), name=f"{name}_split")(x)
    x = layers.Permute((2, 3, 1, 4), name=f"{name}_heads")(x)
    query, key, value = x[:, 0], x[:, 1], x[:, 2]
    scores = ops.matmul(query * HEAD_WIDTH**-0.5, ops.swapaxes(key, -1, -2))
    scores = layers.Softmax(name=f"{name}_scores")(scores)
    x = ops.matmul(scores, value)  # (batch, heads, tokens, HEAD_WIDTH)
    x = layers.Permute((2, 1, 3), name=f"{name}_tokens")(x)
    x = layers.Reshape((tokens, width), name=f"{name}_merge")(x)
    return _dense(x, width, name)


def _dense(x, units, name):
    return layers.Dense(int(units), kernel_initializer=_normal(), name=name)(x)


def _layer_norm(x, name):
    return layers.LayerNormalization(epsilon=1e-6, name=name)(x)


def _normal():
    # DeiT truncates at 2, which is 100 standard deviations: not at all.
    return keras.initializers.RandomNormal(stddev=0.02)
