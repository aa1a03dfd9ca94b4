"""Where a model looks: class activation maps, Grad-CAM and attention rollout."""

import dataclasses

import keras
import numpy as np
import tensorflow as tf

from keras_kd._common.calls import unchanged
from keras_kd._common.checks import check_choice
from keras_kd._common.output_kind import output_kind
from keras_kd._common.table import InTable
from keras_kd._common.taps import find_layer, output_of, record_outputs
from keras_kd.probes._image_sets import all_images
from keras_kd.probes._map_layers import (
    attention_layers,
    check_layer_gives_maps,
    check_layer_may_give_maps,
    class_weights,
    last_maps,
    maps_before_pooling,
    not_pooled,
)

METHODS = ("cam", "predicted_cam", "grad_cam", "rollout")


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class AttentionMaps(InTable):
    """What `attention_maps` found.

    Attributes:
        maps: `(n, height, width)` float32 array of the size of the images, each map
            stretched to [0, 1]; 0 where it is constant.
        method: `"cam"`, `"predicted_cam"`, `"grad_cam"` or `"rollout"`.
        layer: The layer that was read; of a rollout the last one.
        classes: `(n,)` classes that the maps are of; None for `"cam"` and `"rollout"`,
            which are of no single class.

    Example:

    >>> maps = keras_kd.probes.AttentionMaps(np.eye(4)[None], "cam", "conv")
    >>> maps.plot().get_title()
    'cam of conv'
    """

    maps: np.ndarray
    method: str
    layer: str
    classes: np.ndarray | None = None

    def plot(self, images=None, ax=None, *, count=8, opacity=0.5):
        """Draw the first maps in a row, over their images where given.

        Args:
            images: `(n, height, width, channels)` array, 1 or 3 channels, any range.
            ax: Matplotlib axes. Defaults to new ones.
            count: Maps at most. Defaults to 8.
            opacity: Of the maps over images. Defaults to 0.5.

        Returns:
            The axes.
        """
        import matplotlib.pyplot as plt

        maps = self.maps[:count]
        if ax is None:
            _, ax = plt.subplots(figsize=(1.6 * max(len(maps), 1), 1.8))
        if images is not None:
            images = np.asarray(images, "float32")[: len(maps)]
            if images.shape[:3] != maps.shape:
                raise ValueError(
                    f"The maps are of images {self.maps.shape}; `images` must be as "
                    "many, (n, height, width, channels). Received: shape "
                    f"{images.shape}."
                )
            low, high = images.min(), images.max()
            row = np.concatenate((images - low) / max(high - low, 1e-12), axis=1)
            ax.imshow(row[..., 0] if row.shape[-1] == 1 else row, cmap="gray")
        alpha = 1.0 if images is None else opacity
        row = np.concatenate(maps, axis=1)
        ax.imshow(row, cmap="inferno", vmin=0, vmax=1, alpha=alpha)
        ax.set_axis_off()
        ax.set_title(f"{self.method} of {self.layer}", fontsize=9)
        return ax


def attention_maps(
    model, images, method="cam", *, layer=None, classes=None, batch_size=64
):
    """Where a model looks in each image.

    `"cam"` weighs the last feature maps by the weights of the last layer, summed over
    all classes: the map of Guo et al. `"predicted_cam"` takes those of one class. Both
    need a global average pooling followed by one `Dense` layer. `"grad_cam"` weighs any
    layer's maps by the mean gradient of a class's logit and drops what is negative. (Of
    a model that ends in a softmax: the gradient of the log-probability.) `"rollout"`
    is for `keras_kd.models.ViT` and others whose attention scores are outputs of layers
    named `"..._attention_scores"`: what the class token sees through all blocks, with
    attention and skip connection counted half each.

    Args:
        model: `keras.Model` from images `(batch, height, width, channels)` to logits
            `(batch, classes)`. It stays as it is, bit by bit.
        images: Array `(n, height, width, channels)`, or a `tf.data.Dataset`,
            `keras.utils.PyDataset` or generator of batches: images, `(images, ...)`, or
            dicts with "image" as `keras_kd.data` gives.
        method: `"cam"` (default), `"predicted_cam"`, `"grad_cam"` or `"rollout"`.
        layer: Name of the layer to read, dotted in a nested model. Defaults to the one
            before the pooling, for Grad-CAM to the last one with maps. A rollout ends
            at it; by default at the last block.
        classes: Class, or `(n,)` classes, of `"predicted_cam"` and `"grad_cam"`.
            Defaults to what the model predicts.
        batch_size: Images at a time. Defaults to 64.

    Returns:
        `AttentionMaps`: small maps enlarged bilinearly to the size of the images.

    Raises:
        ValueError: For a layer without maps, a model that the method does not fit,
            an unknown class, and an empty or endless set.

    Example:

    >>> model = keras_kd.models.CIFARResNet(8, num_classes=10)
    >>> images = np.random.default_rng(0).normal(size=(2, 32, 32, 3))
    >>> found = keras_kd.probes.attention_maps(model, images)
    >>> found.maps.shape, found.layer
    ((2, 32, 32), 'stage3')

    References: Zhou et al. 2016; Selvaraju et al. 2017; Abnar and Zuidema 2020; Guo et
    al. 2024 (arXiv 2405.00739).
    """
    check_choice("method", method, METHODS)
    model = getattr(model, "student", model)  # a Distiller stands for its student
    if classes is not None and method not in ("predicted_cam", "grad_cam"):
        raise ValueError(
            f"Maps of method={method!r} are of no single class. Leave `classes` out, "
            "or take 'predicted_cam' or 'grad_cam'."
        )
    name, small_maps = _MAKERS[method](model, layer)
    enlarged = _enlarged(small_maps)
    maps, of_classes, done = [], [], 0
    for batch in _batches(images, batch_size):
        wanted = _wanted(classes, done, len(batch))
        results = enlarged(batch, tf.constant(wanted))
        found, chosen, sound = (x.numpy() for x in results)
        if not sound:
            raise ValueError(not_pooled(model, name))
        _check_known(wanted, chosen)
        maps.append(found)
        of_classes.append(chosen)
        done += len(batch)
    if not done:
        raise ValueError("`images` is empty. Give at least one image.")
    if classes is not None and np.ndim(classes) and len(classes) != done:
        raise ValueError(f"{len(classes)} `classes` were given for {done} images.")
    has_classes = method in ("predicted_cam", "grad_cam")
    return AttentionMaps(
        np.concatenate(maps),
        method,
        name,
        np.concatenate(of_classes) if has_classes else None,
    )


def _enlarged(small_maps):
    @tf.function(autograph=False, reduce_retracing=True)
    def enlarged(x, classes):
        small, classes, sound = small_maps(x, classes)
        maps = tf.image.resize(tf.cast(small, "float32")[..., None], tf.shape(x)[1:3])
        maps = maps[..., 0]
        low = tf.reduce_min(maps, axis=(1, 2), keepdims=True)
        spread = tf.reduce_max(maps, axis=(1, 2), keepdims=True) - low
        return tf.math.divide_no_nan(maps - low, spread), classes, sound

    return enlarged


def _class_activation(model, layer, *, one_class):
    """Maps weighed by the last layer; its bias adds what stretching takes away."""
    dense, path = maps_before_pooling(model, layer)
    tapped = find_layer(model, path, "model")

    def small_maps(x, classes):
        outputs, record = _forward(model, x, [tapped, dense])
        maps = output_of(record, tapped, path)
        check_layer_gives_maps(path, maps)
        kernel, sound = class_weights(dense, maps, record)
        maps = tf.cast(maps, "float32")
        if not one_class:
            return tf.einsum("bhwc,ck->bhw", maps, kernel), classes, sound
        classes = _chosen(classes, outputs)
        weights = tf.gather(kernel, classes, axis=1)
        return tf.einsum("bhwc,cb->bhw", maps, weights), classes, sound

    return path, small_maps


def _grad_cam(model, layer):
    path = last_maps(model) if layer is None else layer
    check_layer_may_give_maps(model, path)
    tapped = find_layer(model, path, "model")
    as_score = tf.math.log if output_kind(model) == "probabilities" else tf.identity

    def small_maps(x, classes):
        with tf.GradientTape() as tape:
            tape.watch(x)
            outputs, record = _forward(model, x, [tapped])
            classes = _chosen(classes, outputs)
            score = tf.gather(as_score(outputs), classes, axis=1, batch_dims=1)
        maps = output_of(record, tapped, path)
        check_layer_gives_maps(path, maps)
        gradient = tape.gradient(score, maps)
        if gradient is None:
            raise ValueError(
                f"The output of {model.name!r} does not depend on layer {path!r} in a "
                "way that has a gradient. Name a layer before the output."
            )
        weights = tf.reduce_mean(gradient, axis=(1, 2))
        small = tf.nn.relu(tf.einsum("bhwc,bc->bhw", maps, weights))
        return small, classes, tf.constant(True)

    return path, small_maps


def _rollout(model, layer):
    paths = attention_layers(model, layer)
    tapped = [find_layer(model, path, "model") for path in paths]

    def small_maps(x, classes):
        _, record = _forward(model, x, tapped)
        reached = None
        for path, one in zip(paths, tapped, strict=True):
            scores = tf.cast(output_of(record, one, path), "float32")
            seen = tf.reduce_mean(scores, axis=1)
            seen = (seen + tf.eye(seen.shape[-1])) / 2
            reached = seen if reached is None else seen @ reached
        return _on_grid(reached[:, 0, 1:], x), classes, tf.constant(True)

    return paths[-1], small_maps


def _on_grid(tokens, x):
    """Patches as a map with the proportions of the image."""
    count, (height, width) = tokens.shape[-1], x.shape[1:3]
    rows = max(round((count * height / width) ** 0.5), 1)
    if rows * (count // rows) != count:
        raise ValueError(
            f"{count} tokens beside the class token are no grid of patches of an image "
            f"of {height} x {width} pixels. A rollout needs one class token, first, "
            "and one token a patch."
        )
    return tf.reshape(tokens, (-1, rows, count // rows))


_MAKERS = {
    "cam": lambda model, layer: _class_activation(model, layer, one_class=False),
    "predicted_cam": lambda model, layer: _class_activation(
        model, layer, one_class=True
    ),
    "grad_cam": _grad_cam,
    "rollout": _rollout,
}


def _forward(model, x, layers):
    """Logits in float32, and what `layers` gave on the way."""
    with unchanged(model), record_outputs(layers) as record:
        outputs = model(x, training=False)
    leaves = keras.tree.flatten(outputs)
    if len(leaves) != 1 or len(leaves[0].shape) != 2:
        raise ValueError(
            "Attention maps are of a model with one output (batch, classes). "
            f"{model.name!r} gives {[tuple(leaf.shape) for leaf in leaves]}."
        )
    return tf.cast(leaves[0], "float32"), record


def _chosen(classes, outputs):
    """The classes that were asked for, in place of -1 what the model predicts."""
    predicted = tf.argmax(outputs, axis=-1, output_type=tf.int32)
    known = tf.minimum(classes, outputs.shape[-1] - 1)  # a larger one: `_check_known`
    return tf.where(classes < 0, predicted, known)


def _check_known(wanted, found):
    unknown = (wanted >= 0) & (wanted != found)
    if unknown.any():
        raise ValueError(
            f"`classes` must be from 0 to {found[unknown][0]}, the last class of the "
            f"model. Received: {wanted[unknown][0]}."
        )


def _wanted(classes, start, count):
    """The part of `classes` for a batch; -1 where the model is to choose."""
    if classes is None:
        return np.full(count, -1, "int32")
    classes = np.asarray(classes)
    if classes.ndim > 1 or classes.dtype.kind not in "iu" or (classes < 0).any():
        raise ValueError(
            "`classes` must be a class index, or one for each image, from 0 on. "
            f"Received: {classes!r}."
        )
    if classes.ndim == 0:
        return np.full(count, classes, "int32")
    part = classes[start : start + count].astype("int32")
    if len(part) < count:
        raise ValueError(
            f"{len(classes)} `classes` were given for {start + count} images or more."
        )
    return part


def _batches(images, batch_size):
    for batch in all_images(images, batch_size):
        if len(batch.shape) != 4:
            raise ValueError(
                "`images` must be (n, height, width, channels). Received: batches of "
                f"shape {tuple(batch.shape)}."
            )
        yield tf.cast(batch, "float32")
