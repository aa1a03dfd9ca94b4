"""Find the layers whose outputs are maps of an image, and the weights of their sum."""

import keras
import tensorflow as tf

from keras_kd._common.taps import find_layer, layer_paths, output_of

SCORES = "attention_scores"  # how the layers of attention scores end
_CLASS_ACTIVATION = (
    "A class activation map needs a global average pooling followed by one Dense layer"
)


def maps_before_pooling(model, path):
    """The last Dense layer, and the name of the layer whose maps are pooled for it."""
    dense = [x for x in model._flatten_layers() if isinstance(x, keras.layers.Dense)]
    if not dense or attention_layer_paths(model):
        raise ValueError(
            f"{_CLASS_ACTIVATION}; {model.name!r} ends differently. Take "
            f"method='{'rollout' if dense else 'grad_cam'}'."
        )
    if path is not None:
        check_layer_may_give_maps(model, path)
        return dense[-1], path
    try:
        tensor = dense[-1].input
        while not is_map(tensor.shape):
            tensor = tensor._keras_history.operation.input
        operation = tensor._keras_history.operation
        found = not isinstance(operation, keras.layers.InputLayer)
    except (AttributeError, ValueError):  # several inputs, several calls, or no graph
        found = False
    if not found or operation.name not in layer_paths(model):
        raise ValueError(
            f"{_CLASS_ACTIVATION}, and in {model.name!r} no layer is found that gives "
            "the pooled maps. Name it by `layer=`, or take method='grad_cam'."
        )
    return dense[-1], operation.name


def class_weights(dense, maps, record):
    """Weights `(channels, classes)` of the maps in the logits, and whether that holds.

    It does where the means of these maps give the output of the last layer.
    """
    kernel = tf.cast(dense.kernel, "float32")
    given = tf.cast(output_of(record, dense, dense.name), "float32")
    if kernel.shape[0] != maps.shape[-1] or len(given.shape) != 2:
        return tf.zeros((maps.shape[-1], given.shape[-1])), tf.constant(False)
    logits = tf.reduce_mean(tf.cast(maps, "float32"), axis=(1, 2)) @ kernel
    if dense.use_bias:
        logits += tf.cast(dense.bias, "float32")
    if dense.activation is not None:
        logits = dense.activation(logits)
    is_half = keras.backend.standardize_dtype(maps.dtype) in ("float16", "bfloat16")
    error = tf.reduce_max(tf.abs(logits - given))
    bound = (5e-2 if is_half else 1e-3) * tf.reduce_max(tf.abs(given))
    return kernel, error <= bound


def not_pooled(model, path):
    """What to say where `class_weights` does not hold."""
    return (
        f"{_CLASS_ACTIVATION}. The means of the maps of layer {path!r} are not what "
        f"the last Dense layer of {model.name!r} reads. Name the layer before the "
        "pooling by `layer=`, or take method='grad_cam'."
    )


def last_maps(model):
    """Name of the last layer that gives maps: for Grad-CAM."""
    if attention_layer_paths(model):
        raise ValueError(
            f"{model.name!r} reads tokens, not maps. Take method='rollout', or name a "
            "layer that gives maps by `layer=`."
        )
    names = [
        layer.name
        for layer in getattr(model, "layers", [])
        if not isinstance(layer, keras.layers.InputLayer)
        and is_map(getattr(getattr(layer, "output", None), "shape", ()))
    ]
    if not names:
        raise ValueError(
            f"No layer of {model.name!r} is found that gives maps (batch, height, "
            "width, channels). Name one by `layer=`."
        )
    return names[-1]


def attention_layers(model, last):
    """Names of the layers of attention scores, first block first, up to `last`."""
    paths = attention_layer_paths(model)
    if not paths:
        raise ValueError(
            f"A rollout reads layers named '..._{SCORES}', of shape (batch, heads, "
            f"queries, keys), as keras_kd.models.ViT has them; {model.name!r} has "
            "none. For a convolutional network take 'cam' or 'grad_cam'."
        )
    if last is None:
        return paths
    find_layer(model, last, "model")
    if last not in paths:
        raise ValueError(
            f"A rollout ends at a layer of attention scores: {paths}. Received: "
            f"layer={last!r}."
        )
    return paths[: paths.index(last) + 1]


def attention_layer_paths(model):
    return [path for path in layer_paths(model) if path.endswith(SCORES)]


def check_layer_may_give_maps(model, path):
    find_layer(model, path, "model")
    if path.endswith(SCORES):
        raise ValueError(_no_maps(path, "attention scores"))


def check_layer_gives_maps(path, output):
    shape = getattr(output, "shape", None)
    if shape is None or len(shape) != 4:
        raise ValueError(_no_maps(path, "several outputs" if shape is None else shape))


def is_map(shape):
    """Whether it is (batch, height, width, channels), of more than one pixel."""
    return len(shape) == 4 and (None in shape[1:3] or shape[1] * shape[2] > 1)


def _no_maps(path, what):
    return (
        f"Layer {path!r} gives no maps (batch, height, width, channels), but {what}. "
        "Name a layer before the pooling."
    )
