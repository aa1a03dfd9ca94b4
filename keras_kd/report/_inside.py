"""A second look at a sample: inner layers by CKA, and where the models look."""

import re

import keras
import numpy as np
import tensorflow as tf

from keras_kd._common.calls import inputs_for, unchanged
from keras_kd._common.taps import find_layer, record_outputs, sublayers
from keras_kd.metrics import attention_iou, cka_matrix
from keras_kd.probes import attention_maps
from keras_kd.probes._map_layers import attention_layer_paths

MAX_LAYERS = 8
MAX_WIDTH = 4096
IOU_THRESHOLD = 0.4


def first_network(model):
    """The network of a side whose layers are read: of an ensemble its first member."""
    return model.members[0]


def representation(networks, sample):
    """`{side: {"teacher_layers", "layers", "cka"}}` of all sides but the teacher."""
    features = {side: _features(model, sample) for side, model in networks.items()}
    found = {}
    for side in features:
        if side == "teacher":
            continue
        rows, columns = _layers_to_compare(
            networks["teacher"], features["teacher"], networks[side], features[side]
        )
        matrix = cka_matrix(
            {name: features["teacher"][name] for name in rows},
            {name: features[side][name] for name in columns},
        )
        found[side] = {
            "teacher_layers": rows,
            "layers": columns,
            "cka": keras.ops.convert_to_numpy(matrix).tolist(),
        }
    return found


def _layers_to_compare(teacher, of_teacher, student, of_student):
    """Layers of names that both chose to give, else a few of each, evenly spaced."""
    named = [
        name
        for name in of_teacher
        if name in of_student and not _named_by_keras(find_layer(teacher, name, ""))
    ]
    if len(named) >= 2:
        return _spread(named), _spread(named)
    return _spread(list(of_teacher)), _spread(list(of_student))


def _named_by_keras(layer):
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(layer).__name__).lower()
    name = layer.name
    plain = snake.replace("_", "")
    return re.sub(r"(_\d+)?$", "", name).replace("_", "") == plain


def _spread(names):
    if len(names) <= MAX_LAYERS:
        return names
    places = np.linspace(0, len(names) - 1, MAX_LAYERS).round().astype(int)
    return [names[i] for i in places]


def _features(model, sample):
    """`{layer: (n, width)}` of layers with features, means over positions."""
    layers = {layer.name: layer for layer in sublayers(model) if _may_tell(layer)}

    def features(x):
        with unchanged(model), record_outputs(list(layers.values())) as record:
            model(inputs_for(model, x), training=False)
        calls = {name: record.get(id(layer), []) for name, layer in layers.items()}
        outputs = {name: of[0] for name, of in calls.items() if len(of) == 1}
        return {n: _pooled(v) for n, v in outputs.items() if _is_rows(v)}

    traced = tf.function(features, autograph=False)
    features = traced.get_concrete_function(_spec(sample))
    batches = [
        features(keras.tree.map_structure(tf.convert_to_tensor, x)) for x in sample
    ]
    return {
        name: np.concatenate([b[name].numpy() for b in batches]) for name in batches[0]
    }


def _spec(batches):
    """One for all batches: open where their shapes differ, and in the batch axis."""

    def spec(*parts):
        shapes = zip(*(part.shape[1:] for part in parts), strict=True)
        sizes = [s[0] if len(set(s)) == 1 else None for s in shapes]
        return tf.TensorSpec((None, *sizes), parts[0].dtype)

    return keras.tree.map_structure(spec, *batches)


def _may_tell(layer):
    """Layers that only reshape or drop, or prepare the input, tell nothing new."""
    kinds = keras.layers
    plain = (kinds.InputLayer, kinds.Flatten, kinds.Reshape, kinds.Dropout)
    return not isinstance(layer, (*plain, kinds.Rescaling, kinds.TextVectorization))


def _is_rows(output):
    return (
        tf.is_tensor(output)
        and output.dtype.is_floating
        and output.shape.rank is not None
        and output.shape.rank >= 2
        and output.shape[-1] is not None
        and 1 < output.shape[-1] <= MAX_WIDTH
    )


def _pooled(output):
    axes = list(range(1, output.shape.rank - 1))
    output = tf.cast(output, "float32")
    return tf.reduce_mean(output, axis=axes) if axes else output


def attention(networks, sample, shown):
    """How maps were made, those of all networks on `shown` images, and their overlap.

    Raises ValueError where a network has no such maps.
    """
    method = _method(networks)
    images = np.concatenate([shown, *(np.asarray(x, "float32") for x in sample)])
    size, at_once = len(images), min(64, len(images))
    padding = np.repeat(images[-1:], -size % at_once, axis=0)  # batches of one size
    images = np.concatenate([images, padding])
    maps = {
        side: attention_maps(model, images, method, batch_size=at_once).maps[:size]
        for side, model in networks.items()
    }
    first, threshold = len(shown), {"threshold": IOU_THRESHOLD}
    overlap = {
        side: float(attention_iou(maps["teacher"][first:], own[first:], **threshold))
        for side, own in maps.items()
        if side != "teacher"
    }
    return method, {side: own[:first] for side, own in maps.items()}, overlap


def _method(networks):
    """One for all: maps that are made in unlike ways do not compare."""
    rolls = {side: bool(attention_layer_paths(m)) for side, m in networks.items()}
    if len(set(rolls.values())) > 1:
        reads = ", ".join(
            f"the {side} has {'attention scores' if of else 'feature maps'}"
            for side, of in rolls.items()
        )
        raise ValueError(f"where they look cannot be compared: {reads}.")
    return "rollout" if all(rolls.values()) else "cam"
