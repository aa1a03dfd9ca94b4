"""A trained generator of images, called from within a pipeline."""

import os

import keras
import numpy as np
import tensorflow as tf

from keras_kd._common.calls import input_spec, trace
from keras_kd._common.checks import check_choice


class Generator:
    """Images in [-1, 1] from latent vectors, with the weights of the time it was made.

    The pipeline holds copies of the weights, not the model's variables: those may live
    on several replicas, and change when the generator is trained on. (As constants of
    the graph they would cost half a second at the start of each pass.)

    Args:
        model: A built `keras.Model`, or the path of a saved one.
        num_classes: Of a conditional generator; None for one without labels.
        device: Where TensorFlow runs it; None leaves that to `tf.data`: the CPU.
    """

    def __init__(self, model, num_classes=None, device=None):
        self._model = _loaded(model)
        self._num_classes = num_classes
        self._device = _check_device(device)
        self._spec, self._latent, self._label = _inputs(self._model, num_classes)
        self.image_shape = _image_shape(self._model, self._spec)
        with tf.device("CPU:0"):  # where `tf.data` reads them
            self._weights = [
                (variable, tf.constant(keras.ops.convert_to_numpy(variable)))
                for variable in self._model.variables
            ]

    def __call__(self, count, latent_seed, label_seed):
        """`(count, h, w, c)` float32, for stateless seeds."""
        latent, label = self._latent, self._label
        # At least one, since not every layer takes an empty batch.
        size = tf.maximum(count, 1)
        given = {
            latent.name: tf.random.stateless_normal(
                [size, latent.shape[-1]], latent_seed
            )
        }
        if label is not None:
            shape = [size, *label.shape[1:]]
            given[label.name] = tf.random.stateless_uniform(
                shape, label_seed, 0, self._num_classes, tf.int32
            )
        inputs = keras.tree.map_structure(
            lambda spec: tf.cast(given[spec.name], spec.dtype), self._spec
        )
        with tf.device(self._device):
            with keras.StatelessScope(state_mapping=self._weights):
                images = self._model(inputs, training=False)
            images = tf.cast(images, tf.float32)
        return tf.ensure_shape(images[:count], (None, *self.image_shape))


def _loaded(model):
    if isinstance(model, (str, os.PathLike)):
        if not os.path.exists(model):
            raise ValueError(
                f"There is no generator at {os.fspath(model)!r}. Save one with "
                "`generator.save('generator.keras')`."
            )
        model = keras.models.load_model(model, compile=False)
    if not isinstance(model, keras.Model):
        raise TypeError(
            "`generator` must be a keras.Model or the path of a saved one. Received: "
            f"{model!r} of type {type(model).__name__}."
        )
    return model


def _check_device(device):
    """The name of a device that is there: TensorFlow would take the CPU silently."""
    names = [d.name.removeprefix("/device:") for d in tf.config.list_logical_devices()]
    if device is not None:
        check_choice("device", str(device).upper().removeprefix("/"), names)
    return device


def _inputs(model, num_classes):
    """Specs of the inputs, in the model's structure, of the latent and of the label."""
    spec = input_spec(model)
    if spec is None:
        raise ValueError(
            f"Generator {model.name!r} was never built, so it makes noise. Train it, "
            "or load its weights, before it gives samples."
        )
    numbers = iter(range(100))
    spec = keras.tree.map_structure(
        lambda s: tf.TensorSpec(s.shape, s.dtype, name=f"input{next(numbers)}"), spec
    )
    flat = keras.tree.flatten(spec)
    expected = 1 if num_classes is None else 2
    shapes = [f"{tuple(s.shape)} {s.dtype.name}" for s in flat]
    if len(flat) != expected:
        raise ValueError(
            f"With num_classes={num_classes}, a generator takes {expected} input(s): "
            "latent vectors, and labels where it is conditional. Generator "
            f"{model.name!r} takes {shapes}. Pass `num_classes` for a conditional "
            "generator, and only for one."
        )
    # In a dict the order says nothing: whole numbers are labels.
    flat = sorted(flat, key=lambda s: s.dtype.is_integer)
    latent = flat[0]
    if latent.shape.rank != 2 or latent.shape[-1] is None:
        raise ValueError(
            f"A generator takes latent vectors of shape (batch, latent_dim). Generator "
            f"{model.name!r} takes {shapes}."
        )
    return spec, latent, flat[1] if expected == 2 else None


def _image_shape(model, spec):
    unnamed = keras.tree.map_structure(lambda s: tf.TensorSpec(s.shape, s.dtype), spec)
    output = trace(model, lambda x: model(x, training=False), unnamed)
    shape = getattr(output, "shape", None)
    if shape is None or len(shape) != 4 or None in tuple(shape[1:]):
        raise ValueError(
            "A generator gives images of shape (batch, height, width, channels). "
            f"Generator {model.name!r} gives {output}."
        )
    return tuple(shape[1:])


def sample(generator, size, seeds, batch_size):
    """`size` images as one array; `seeds(i)` gives both seeds of the i-th batch."""
    numbers = tf.data.Dataset.range(-(-size // batch_size))
    images = numbers.map(lambda i: generator(batch_size, *seeds(i)))
    return np.concatenate(list(images.as_numpy_iterator()))[:size]
